package servertest

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestExternalRedis(t *testing.T) {
	t.Parallel()
	private := StartRedis(t)
	ctx := testContext(t)
	key := newKey(t)
	require.NoError(t, private.Client(t).Do(ctx, "ACL", "SETUSER", "ann", "on", ">p@ss-1234", "~*", "+@all").Err())
	address := "redis://ann:p%40ss-1234@" + private.Addr() + "/3"
	s, err := externalRedis(address)
	require.NoError(t, err)
	r := &Redis{controls{t: t, s: s, shared: true}}
	require.Equal(t, []string{address, private.Addr(), "p@ss-1234"}, []string{r.URL(), r.Addr(), r.Password()})
	require.Equal(t, "ann", r.Client(t).Do(ctx, "ACL", "WHOAMI").Val())
	require.NoError(t, r.Client(t).Set(ctx, key, "1", 0).Err())
	require.Zero(t, private.Client(t).Exists(ctx, key).Val(), "it is in database 3")

	v := &verdictOf{TB: t}
	r.t = v
	for _, disturb := range []func(){r.Kill, r.Stop, r.Pause, r.Resume, r.Restart, r.Wipe, func() { r.Dir() }} {
		v.failed = ""
		require.Panics(t, disturb)
		require.Contains(t, v.failed, "share")
	}
	r.t = t
	require.NoError(t, s.end())
	require.Equal(t, "1", r.Client(t).Get(ctx, key).Val(), "it stays")

	private.Kill()
	_, err = externalRedis(address)
	require.ErrorContains(t, err, "cannot use the server of REDIS_URL")
	require.NotContains(t, err.Error(), "ss-1234")
}

func TestExternalPostgres(t *testing.T) {
	t.Parallel()
	private := StartPostgres(t)
	_, err := connect(t, private.URL()).Exec(testContext(t), "CREATE ROLE ann SUPERUSER LOGIN PASSWORD 'p@ss-1234'")
	require.NoError(t, err)
	// What else the URL may say must not lead a test to a database that was there.
	address := "postgresql://ann:p%40ss-1234@" + private.Addr() + "/template1?sslmode=disable&dbname=template1"
	c, err := externalCluster(address)
	require.NoError(t, err)
	p := &Postgres{controls: controls{t: t, s: &c.server, shared: true}, cluster: c}
	require.Equal(t, "postgres://ann:p%40ss-1234@"+private.Addr()+"/postgres?sslmode=disable", p.URL())
	require.Equal(t, "p@ss-1234", p.Password())
	var url string
	t.Run("database", func(t *testing.T) {
		url = p.Database(t)
		require.NotEqual(t, url, p.Database(t))
		var user, database string
		require.NoError(t, connect(t, url).QueryRow(testContext(t), "SELECT user, current_database()").Scan(&user, &database))
		require.Equal(t, "ann", user)
		require.Regexp(t, "^test_", database)
	})
	require.NoError(t, c.end())
	var left int
	require.NoError(t, connect(t, private.URL()).QueryRow(testContext(t),
		"SELECT count(*) FROM pg_database WHERE datname LIKE 'test\\_%'").Scan(&left))
	require.Zero(t, left)

	private.Kill()
	_, err = externalCluster(address)
	require.ErrorContains(t, err, "cannot use the server of DATABASE_URL")
	require.NotContains(t, err.Error(), "ss-1234")
}

func TestExternalURL(t *testing.T) {
	const secret = "p@ss-1234"
	for _, bad := range []string{"%zz:" + secret, "http://u:" + secret + "@h/0", "host=h password=" + secret, "unix://u:" + secret + "@/tmp/s"} {
		_, err := externalRedis(bad)
		require.ErrorContains(t, err, "REDIS_URL is not like")
		require.NotContains(t, err.Error(), secret)
		_, err = externalCluster(bad)
		require.ErrorContains(t, err, "DATABASE_URL is not like")
		require.NotContains(t, err.Error(), secret)
	}

	err := &notFound{program: "redis-server", install: "redis-server", variable: "REDIS_URL"}
	t.Setenv("REDIS_URL", "")
	require.Empty(t, urlInstead(err))
	require.Equal(t, err, noPrivate(err))
	t.Setenv("REDIS_URL", "redis://r")
	require.Equal(t, "redis://r", urlInstead(err))
	t.Setenv(requireVariable, "")
	require.Contains(t, judgeGiveUp(t, noPrivate(err)).skipped, "cannot use that of REDIS_URL")
	other := errors.New("it is installed, and crashed")
	require.Empty(t, urlInstead(other))
	require.Equal(t, other, noPrivate(other))
	require.Empty(t, urlInstead(nil))
}
