package servertest

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
)

func TestPostgresKeepsDataUntilWiped(t *testing.T) {
	t.Parallel()
	p := StartPostgres(t)
	ctx := testContext(t)
	url := p.Database(t)
	_, err := connect(t, url).Exec(ctx, "CREATE TABLE a (n int); INSERT INTO a VALUES (7)")
	require.NoError(t, err)
	number := func() (n int) {
		require.NoError(t, connect(t, url).QueryRow(ctx, "SELECT n FROM a").Scan(&n))
		return n
	}

	p.Kill()
	_, err = pgx.Connect(ctx, url)
	require.Error(t, err)
	p.Restart()
	require.Equal(t, 7, number())

	p.Restart() // kills by itself
	require.Equal(t, 7, number())

	p.Stop()
	p.Restart()
	require.Equal(t, 7, number())

	p.Kill()
	p.Wipe()
	p.Restart()
	_, err = pgx.Connect(ctx, url)
	require.ErrorContains(t, err, "does not exist")
}

func TestPostgresSettings(t *testing.T) {
	t.Parallel()
	p := StartPostgres(t, "max_connections=37", "max_prepared_transactions=3")
	conn := connect(t, p.URL())
	for name, want := range map[string]string{
		"max_connections":           "37",
		"max_prepared_transactions": "3",
		"fsync":                     "off",
		"autovacuum":                "on",
		"server_encoding":           "UTF8",
		"lc_collate":                "C",
		"listen_addresses":          "127.0.0.1",
	} {
		var got string
		require.NoError(t, conn.QueryRow(testContext(t), "SHOW "+name).Scan(&got))
		require.Equal(t, want, got, name)
	}
	require.NoFileExists(t, p.cluster.template.dir.join("password"))

	config, err := pgx.ParseConfig(p.URL())
	require.NoError(t, err)
	config.Password = "wrong"
	_, err = pgx.ConnectConfig(testContext(t), config)
	require.ErrorContains(t, err, "password authentication failed")
}

// A backend that computes does not look whether the postmaster still lives.
func TestPostgresKillTakesBusyChildren(t *testing.T) {
	t.Parallel()
	p := StartPostgres(t)
	conn := connect(t, p.URL())
	broken := make(chan error, 1)
	go func() {
		_, err := conn.Exec(context.Background(), "SELECT sum(a) FROM generate_series(1, 1e12) a")
		broken <- err
	}()
	watcher := connect(t, p.URL())
	eventually(t, "the query runs", func() bool {
		var n int
		err := watcher.QueryRow(testContext(t),
			"SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%1e12%' AND pid <> pg_backend_pid()").Scan(&n)
		return err == nil && n == 1
	})
	children := childrenOf(t, p.s.proc.pid())
	require.Greater(t, len(children), 2)
	p.Kill()
	requireDead(t, children)
	require.Error(t, <-broken)
	p.Restart()
	require.NoError(t, connect(t, p.URL()).Ping(testContext(t)))
}

func TestPostgresPause(t *testing.T) {
	t.Parallel()
	p := StartPostgres(t)
	conn := connect(t, p.URL())
	p.Pause()
	for _, pid := range childrenOf(t, p.s.proc.pid()) {
		processes, err := readTable()
		require.NoError(t, err)
		require.True(t, processes.byPID[pid].frozen())
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	_, err := pgx.Connect(ctx, p.URL())
	require.Error(t, err)

	answer := make(chan error, 1)
	go func() { answer <- conn.Ping(context.Background()) }()
	select {
	case err := <-answer:
		t.Fatalf("a paused server answered: %v", err)
	case <-time.After(100 * time.Millisecond):
	}
	p.Resume()
	require.NoError(t, <-answer)
}

func TestPostgresKilledWhilePaused(t *testing.T) {
	t.Parallel()
	p := StartPostgres(t)
	p.Pause()
	children := childrenOf(t, p.s.proc.pid())
	p.Kill()
	requireDead(t, children)
	p.Restart()
	require.NoError(t, connect(t, p.URL()).Ping(testContext(t)))
}

func TestPostgresSaysWhyItDoesNotStart(t *testing.T) {
	t.Parallel()
	needPrograms(t)
	_, err := newCluster([]string{"no_such_setting=1"})
	require.ErrorContains(t, err, "postgres did not start")
	require.ErrorContains(t, err, "no_such_setting")
}

func TestPostgresDatabaseGoesWithTest(t *testing.T) {
	t.Parallel()
	p := SharedPostgres(t)
	var url string
	t.Run("database", func(t *testing.T) {
		url = p.Database(t)
		// This connection is still there when the database is dropped.
		conn, err := pgx.Connect(testContext(t), url)
		require.NoError(t, err)
		require.NoError(t, conn.Ping(testContext(t)))
	})
	_, err := pgx.Connect(testContext(t), url)
	require.ErrorContains(t, err, "does not exist")
}

func TestDatabasesInParallel(t *testing.T) {
	t.Parallel()
	for range 8 {
		t.Run("one", func(t *testing.T) {
			t.Parallel()
			conn := connect(t, SharedPostgres(t).Database(t))
			_, err := conn.Exec(testContext(t), "CREATE TABLE a (n int)")
			require.NoError(t, err)
		})
	}
}
