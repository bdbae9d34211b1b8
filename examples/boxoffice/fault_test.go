package main

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/internal/servertest"
	"github.com/lastunit/lastunit/order"
)

// The rush of the fault tests. The fault comes with one of the acknowledged
// orders, while the other buyers' requests are on their way.
const (
	faultBuyers   = 3000
	faultCapacity = 300
	faultAt       = 100
	faultAtOnce   = 100
)

// rushWithFault sends buyers at a service and lets the fault happen in the
// middle. Then it audits both stores, and returns the event's counters.
func rushWithFault(t *testing.T, on *stores, baseURL func() string, fault func()) order.Counters {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), testPatience)
	defer cancel()
	item := order.Item{SKU: "floor", Capacity: faultCapacity}
	var acknowledged atomic.Int64
	middle := make(chan struct{})
	over := make(chan struct{})
	r := &rush{
		baseURL: baseURL, sku: item.SKU, capacity: item.Capacity, buyers: faultBuyers, atOnce: faultAtOnce,
		patience: testPatience, progress: io.Discard,
		booked: func(n int) {
			acknowledged.Store(int64(n))
			if n == faultAt {
				close(middle)
				select { // the fault is the test's, since only a test may fail itself
				case <-over:
				case <-ctx.Done():
				}
			}
		},
	}
	type outcome struct {
		*rushed
		error
	}
	ended := make(chan outcome, 1)
	go func() {
		told, err := r.run(ctx)
		ended <- outcome{told, err}
	}()
	t.Cleanup(cancel) // should the fault fail the test

	within(t, testPatience, "the middle of the rush", middle)
	fault()
	hitAt := acknowledged.Load()
	stored, err := on.orders.Tally(ctx, item.SKU)
	require.NoError(t, err)
	require.Positive(t, hitAt, "the fault came too early")
	require.Less(t, hitAt, item.Capacity, "the fault came too late")
	require.Less(t, stored[0].Confirmed, item.Capacity, "there was nothing left to sell")
	close(over)

	told := within(t, testPatience, "the end of the rush", ended)
	require.NoError(t, told.error)
	require.Empty(t, told.failed)
	assert.Len(t, told.booked, faultCapacity)
	assert.Equal(t, faultBuyers-faultCapacity, told.soldOut)

	a, err := auditSKU(ctx, on, newShop(t, on), item, told.booked)
	require.NoError(t, err)
	assert.Equal(t, "audit: capacity=300 sold=300 oversold=0 lost=0 drift=0", a.String(), a.notes)
	assert.True(t, a.clean(faultBuyers), a.notes)
	t.Logf("the fault came after %d acknowledged orders, %d stored; %.1f s, %d retries; %v",
		hitAt, stored[0].Confirmed, told.seconds, told.retries, a)
	counters, err := on.orders.Counters(ctx, item.SKU)
	require.NoError(t, err)
	return counters[0]
}

// requireLoss makes sure that Redis really lost its counters: then a new epoch
// began, in which only what was left was admitted.
func requireLoss(t *testing.T, c order.Counters) {
	t.Helper()
	require.LessOrEqual(t, c.Admitted, int64(faultCapacity-faultAt))
}

func TestRedisKilledInTheMiddle(t *testing.T) {
	t.Parallel()
	redis := servertest.StartRedis(t) // keeps nothing on disk
	on := outside(t, redis, servertest.SharedPostgres(t).Database(t))
	url := start(t, on, newShop(t, on))
	requireLoss(t, rushWithFault(t, on, func() string { return url }, func() {
		redis.Kill()
		redis.Restart()
	}))
}

func TestRedisFlushedInTheMiddle(t *testing.T) {
	t.Parallel()
	redis := servertest.StartRedis(t)
	on := outside(t, redis, servertest.SharedPostgres(t).Database(t))
	url := start(t, on, newShop(t, on))
	client := redis.Client(t)
	requireLoss(t, rushWithFault(t, on, func() string { return url }, func() {
		require.NoError(t, client.FlushAll(t.Context()).Err())
	}))
}

func TestServiceKilledInTheMiddle(t *testing.T) {
	t.Parallel()
	redis := servertest.StartRedis(t)
	database := servertest.SharedPostgres(t).Database(t)
	on := outside(t, redis, database)

	var url atomic.Value
	first := startProcess(t, redis.URL(), database)
	url.Store(first.url)
	rushWithFault(t, on, func() string { return url.Load().(string) }, func() {
		first.kill(t)
		url.Store(startProcess(t, redis.URL(), database).url)
	})
}

// process is a box office in a process of its own.
type process struct {
	url  string
	cmd  *exec.Cmd
	kill func(testing.TB)
}

// startProcess starts one, and waits until it is open. It ends with the test at
// the latest.
func startProcess(t *testing.T, redisURL, postgresURL string) *process {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(self, "-listen", "127.0.0.1:0", "-prefix", t.Name(), "-anyway") // the servers of tests run without fsync
	// In the environment, where not everybody on the machine can read them.
	cmd.Env = append(os.Environ(), selfVariable+"=1", "REDIS_URL="+redisURL, "DATABASE_URL="+postgresURL)
	var stderr servertest.Output
	cmd.Stderr = &stderr
	_, err = cmd.StdinPipe() // it ends with us; see TestMain
	require.NoError(t, err)
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	p := &process{cmd: cmd}
	var once sync.Once
	p.kill = func(t testing.TB) {
		once.Do(func() {
			if err := cmd.Process.Kill(); !errors.Is(err, os.ErrProcessDone) {
				assert.NoError(t, err)
			}
			cmd.Wait() //nolint:errcheck // it says that the process was killed
		})
	}
	t.Cleanup(func() {
		p.kill(t)
		if t.Failed() {
			t.Logf("process %d said:\n%s", cmd.Process.Pid, stderr.String())
		}
	})

	said := make(chan string, 1)
	go func() {
		line, _ := bufio.NewReader(stdout).ReadString('\n')
		said <- line
	}()
	line := within(t, testPatience, "the process opens", said)
	for _, word := range strings.Fields(line) {
		if strings.HasPrefix(word, "http://") {
			p.url = word
		}
	}
	require.NotEmpty(t, p.url, "it said %q and %q", line, stderr.String())
	return p
}

// A process that is asked to end does so in the orderly way.
func TestProcessEndsOnSignal(t *testing.T) {
	t.Parallel()
	redis := servertest.SharedRedis(t)
	p := startProcess(t, redis.URL(), servertest.SharedPostgres(t).Database(t))
	client := newClient(func() string { return p.url }, 1)
	defer client.close()
	var item order.Item
	require.NoError(t, client.post(t.Context(), "/api/v1/events", order.Item{SKU: "floor", Capacity: 1}, &item))
	require.NoError(t, p.cmd.Process.Signal(os.Interrupt))
	ended := make(chan error, 1)
	go func() { ended <- p.cmd.Wait() }()
	require.NoError(t, within(t, testPatience, "end", ended))
}
