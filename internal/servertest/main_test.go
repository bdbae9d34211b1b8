package servertest

import (
	"context"
	"crypto/rand"
	"os"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

// helperVariable makes TestHelper do its work, in a process of its own.
const helperVariable = "SERVERTEST_HELPER"

func TestMain(m *testing.M) {
	var greeting string
	if ChildJob("echo", &greeting) {
		echo(greeting)
		return
	}
	if os.Getenv(helperVariable) != "" {
		os.Exit(m.Run())
	}
	goleak.VerifyTestMain(Wrap(m))
}

// needPrograms leaves out a test that cannot do with external servers.
func needPrograms(t *testing.T) {
	t.Helper()
	_, redisErr := findRedis()
	_, postgresErr := findPostgres()
	for _, err := range []error{redisErr, postgresErr} {
		if err != nil {
			giveUp(t, noPrivate(err))
		}
	}
}

// newKey returns a key that no run has used on a server which stays.
func newKey(t *testing.T) string { return t.Name() + rand.Text() }

func testContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// connect returns a connection that is closed with the test, by force if need
// be.
func connect(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(testContext(t), url)
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = conn.Close(ctx)
	})
	return conn
}

// patience bounds all waiting for something that must come.
const patience = 5 * time.Minute

// eventually is require.Eventually without its goroutine, which may outlive
// the test.
func eventually(t *testing.T, what string, look func() bool) {
	t.Helper()
	err := poll(patience, func() (bool, error) { return look(), nil })
	require.NoError(t, err, what)
}

func childrenOf(t *testing.T, pid int) []int {
	t.Helper()
	processes, err := readTable()
	require.NoError(t, err)
	var pids []int
	for _, r := range processes.children[pid] {
		pids = append(pids, r.pid)
	}
	return pids
}

func requireDead(t *testing.T, pids []int) {
	t.Helper()
	require.NotEmpty(t, pids)
	processes, err := readTable()
	require.NoError(t, err)
	for _, pid := range pids {
		require.False(t, processes.alive(pid), "process %d still runs", pid)
	}
}
