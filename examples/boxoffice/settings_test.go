package main

import (
	"context"
	"net"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/internal/servertest"
)

func environment(values ...string) func(string) string {
	return func(name string) string {
		for _, value := range values {
			if text, ok := strings.CutPrefix(value, name+"="); ok {
				return text
			}
		}
		return ""
	}
}

func TestSettings(t *testing.T) {
	t.Parallel()
	s, err := parse(nil, environment(), &strings.Builder{})
	require.NoError(t, err)
	assert.Equal(t, settings{listen: "127.0.0.1:8080", prefix: "lastunit", capacity: 1000, atOnce: 500}, s)

	s, err = parse([]string{"-redis", "redis://flag"}, environment("REDIS_URL=redis://env", "DATABASE_URL=postgres://env"), &strings.Builder{})
	require.NoError(t, err)
	assert.Equal(t, "redis://flag", s.redis, "flags win")
	assert.Equal(t, "postgres://env", s.postgres)

	s, err = parse([]string{"-postgres", "postgres://flag"}, environment(), &strings.Builder{})
	require.NoError(t, err)
	assert.Equal(t, settings{listen: "127.0.0.1:8080", postgres: "postgres://flag", prefix: "lastunit", capacity: 1000, atOnce: 500}, s, "Redis is no must")

	s, err = parse([]string{"-rush", "5", "-capacity", "3", "-at-once", "2"}, environment(), &strings.Builder{})
	require.NoError(t, err)
	assert.Equal(t, settings{listen: "127.0.0.1:0", prefix: "lastunit", rush: 5, capacity: 3, atOnce: 2}, s)
	s, err = parse([]string{"-rush", "5", "-listen", ":80"}, environment(), &strings.Builder{})
	require.NoError(t, err)
	assert.Equal(t, ":80", s.listen)
}

func TestBadSettings(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		args []string
		env  []string
		want string
	}{
		{args: []string{"-redis", "redis://:hunter2@r"}, want: "but no PostgreSQL"},
		{env: []string{"REDIS_URL=redis://:hunter2@r"}, want: "but no PostgreSQL"},
		{args: []string{"-rush", "0"}, want: "-rush is 0"},
		{args: []string{"-rush", "-5"}, want: "-rush is -5"},
		{args: []string{"-capacity", "5"}, want: "are for -rush"},
		{args: []string{"-rush", "5", "-capacity", "-1"}, want: "-capacity is -1"},
		{args: []string{"-rush", "5", "-at-once", "0"}, want: "-at-once is 0"},
		{args: []string{"redis://:hunter2@r"}, want: "an argument without a flag"},
		{args: []string{"-nosuch"}, want: "flag provided but not defined"},
	} {
		var stdout, stderr strings.Builder
		assert.Equal(t, 2, run(t.Context(), test.args, environment(test.env...), &stdout, &stderr), test)
		assert.Contains(t, stderr.String(), test.want)
		assert.NotContains(t, stderr.String(), "hunter2")
		assert.Empty(t, stdout.String())
	}
}

func TestHelpShowsNoPassword(t *testing.T) {
	t.Parallel()
	var stdout, stderr strings.Builder
	env := environment("REDIS_URL=redis://:hunter2@r", "DATABASE_URL=postgres://u:hunter2@p")
	assert.Equal(t, 0, run(t.Context(), []string{"-help"}, env, &stdout, &stderr))
	assert.Contains(t, stderr.String(), "-at-once")
	assert.NotContains(t, stderr.String(), "hunter2")
}

// Whatever is wrong with a server or its URL, the password is not shown.
func TestErrorsShowNoPassword(t *testing.T) {
	t.Parallel()
	redis := servertest.SharedRedis(t)
	database := servertest.SharedPostgres(t).Database(t)
	closed := closedPort(t)
	ofPostgres := strings.Split(strings.Split(database, "@")[1], "/")[0]

	for name, test := range map[string]struct{ redis, postgres, want string }{
		"no Redis":          {"redis://:hunter2@" + closed, database, "Redis cannot be reached"},
		"no PostgreSQL":     {redis.URL(), "postgres://u:hunter2@" + closed + "/db?sslmode=disable", "PostgreSQL cannot be reached"},
		"wrong password":    {"redis://:hunter2@" + redis.Addr(), database, "Redis cannot be reached"},
		"wrong password 2":  {redis.URL(), "postgres://postgres:hunter2@" + ofPostgres + "/postgres?sslmode=disable", "PostgreSQL cannot be reached"},
		"PostgreSQL alone":  {"", "postgres://u:hunter2@" + closed + "/db?sslmode=disable", "PostgreSQL cannot be reached"},
		"no such database":  {redis.URL(), strings.Replace(database, "?", "x?", 1), "PostgreSQL cannot be reached"},
		"bad Redis URL":     {"redis://:hunter2/@x:y", database, "the URL of Redis is wrong"},
		"bad Redis scheme":  {"http://:hunter2@x", database, "the URL of Redis is wrong"},
		"bad Redis option":  {"redis://:hunter2@x?nosuch=hunter2", database, "the URL of Redis is wrong"},
		"bad PostgreSQL":    {redis.URL(), "postgres://u:hunter2/@x:y/z", "the URL of PostgreSQL is wrong"},
		"bad PostgreSQL 2":  {redis.URL(), "postgres://u:%zzhunter2@x/z", "the URL of PostgreSQL is wrong"},
		"bad PostgreSQL 3":  {redis.URL(), "password=hunter2 host", "the URL of PostgreSQL is wrong"},
		"swapped, in a way": {database, redis.URL(), "the URL of Redis is wrong"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var stdout, stderr strings.Builder
			code := run(t.Context(), []string{"-listen", "127.0.0.1:0", "-redis", test.redis, "-postgres", test.postgres}, environment(), &stdout, &stderr)
			assert.Equal(t, 1, code)
			assert.Contains(t, stderr.String(), test.want)
			for _, secret := range []string{"hunter2", redis.Password(), strings.Split(strings.Split(database, "@")[0], ":")[2]} {
				assert.NotContains(t, stderr.String(), secret)
			}
		})
	}
}

func closedPort(t *testing.T) string {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, listener.Close())
	return listener.Addr().String()
}
