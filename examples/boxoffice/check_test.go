package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/internal/servertest"
)

// Problems keep it closed, notices don't.
func TestItStaysClosed(t *testing.T) {
	t.Parallel()
	redis := servertest.StartRedis(t)
	client := redis.Client(t)
	postgres := servertest.StartPostgres(t, "fsync=on")
	opens := func(arguments ...string) (code int, stdout, stderr string) {
		var out, errors strings.Builder
		code = run(t.Context(), append([]string{"-rush", "5", "-capacity", "3"}, arguments...),
			environment("REDIS_URL="+redis.URL(), "DATABASE_URL="+postgres.URL()), &out, &errors)
		assert.NotContains(t, errors.String(), redis.Password())
		assert.NotContains(t, errors.String(), postgres.Password())
		return code, out.String(), errors.String()
	}
	code, stdout, stderr := opens()
	require.Equal(t, 0, code, stderr)
	assert.Contains(t, stdout, "sold=3 oversold=0")
	assert.Contains(t, stderr, "notice: Redis: appendonly is no, without snapshots: ")
	assert.NotContains(t, stderr, "problem: ")
	assert.NotContains(t, stderr, "ContextTimeoutEnabled", "it sets what it should")

	require.NoError(t, client.ConfigSet(t.Context(), "maxmemory", "100mb").Err())
	require.NoError(t, client.ConfigSet(t.Context(), "maxmemory-policy", "allkeys-lru").Err())
	code, stdout, stderr = opens()
	assert.Equal(t, 1, code)
	assert.Empty(t, stdout)
	assert.Contains(t, stderr, "boxoffice: it stays closed (-anyway opens it all the same):\nproblem: Redis: maxmemory-policy is allkeys-lru: ")

	code, stdout, stderr = opens("-anyway")
	require.Equal(t, 0, code, stderr)
	assert.Contains(t, stdout, "sold=3 oversold=0")
	assert.Contains(t, stderr, "problem: Redis: maxmemory-policy is allkeys-lru: ", "it is told all the same")
}
