package booking_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/booking"
	"github.com/lastunit/lastunit/internal/servertest"
	"github.com/lastunit/lastunit/internal/testdb"
	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

// stores are the two sides that a test's services share.
type stores struct {
	inventory inventory.InventoryRepository
	orders    order.Store

	client *redis.Client
	prefix string // of the keys
}

// wipe loses all that Redis holds of this test.
func (s stores) wipe(t testing.TB) {
	t.Helper()
	keys, err := s.client.Keys(context.Background(), s.prefix+":*").Result()
	require.NoError(t, err)
	require.NotEmpty(t, keys)
	require.NoError(t, s.client.Del(context.Background(), keys...).Err())
}

// plant plants the canaries, as if all SKUs had been compared since.
func plant(t testing.TB, s stores) {
	t.Helper()
	pairing, err := s.orders.Paired(t.Context())
	require.NoError(t, err)
	for range 2 {
		canaries, err := s.inventory.Canaries(t.Context(), pairing.Store, 0)
		require.NoError(t, err)
		for _, c := range canaries {
			c.Whole = c.Store == pairing.Store
			require.NoError(t, s.inventory.Plant(t.Context(), pairing.Store, c))
		}
	}
}

// at makes the stores of a test from its servers.
func at(t testing.TB, client *redis.Client, orders order.Store) stores {
	prefix := "test-" + rand.Text()
	return stores{inventory.NewRedis(client, inventory.WithKeyPrefix(prefix)), orders, client, prefix}
}

// embedded are stores in this process.
func embedded(t testing.TB) stores {
	server := miniredis.RunT(t)
	client := redis.NewClient(&redis.Options{Addr: server.Addr()})
	t.Cleanup(func() { client.Close() })
	return at(t, client, order.NewMemory())
}

// onServers are stores on servers that the package's tests share.
func onServers(t testing.TB) stores {
	return at(t, servertest.SharedRedis(t).Client(t),
		order.NewPostgres(migrated(t, servertest.SharedPostgres(t))))
}

// migrated is a pool on a new database that has the tables.
func migrated(t testing.TB, p *servertest.Postgres) *pgxpool.Pool { return testdb.Pool(t, p, connect) }

func connect(t testing.TB, url string) *pgxpool.Pool {
	config, err := pgxpool.ParseConfig(url)
	require.NoError(t, err)
	config.MaxConns = 8
	pool, err := pgxpool.NewWithConfig(context.Background(), config)
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	return pool
}

// inABubble runs a test on stores in memory, by a clock that stands still while anything
// goes on: no answer is too late.
func inABubble(t *testing.T, test func(*testing.T, stores)) {
	synctest.Test(t, func(t *testing.T) {
		t.Cleanup(func() { time.Sleep(callTimeout) }) // what goes on behind the callers ends
		test(t, stores{inventory: inventory.NewMemory(), orders: order.NewMemory()})
	})
}

// inABubbleAndReal runs a test by a clock that stands still, and on real stores.
func inABubbleAndReal(t *testing.T, test func(*testing.T, stores)) {
	t.Run("embedded", func(t *testing.T) { t.Parallel(); inABubble(t, test) })
	t.Run("real", func(t *testing.T) { t.Parallel(); test(t, onServers(t)) })
}

// onBoth runs a test on embedded stores and on real ones.
func onBoth(t *testing.T, test func(*testing.T, stores)) {
	t.Run("embedded", func(t *testing.T) { t.Parallel(); test(t, embedded(t)) })
	t.Run("real", func(t *testing.T) { t.Parallel(); test(t, onServers(t)) })
}

// quiet is a logger for tests whose faults are meant.
var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

const (
	// sweepAfter is soon, and yet later than a machine commits that stands still for
	// seconds: who is swept five times before that is told that the outcome is unknown.
	sweepAfter = 5 * time.Second

	// callTimeout is longer than any call takes there.
	callTimeout = time.Minute
)

// open makes a service over the stores that sweeps and checks soon. Each change may alter
// its configuration.
func open(t testing.TB, s stores, change ...func(*booking.Config)) *booking.Service {
	t.Helper()
	config := booking.Config{
		Inventory: s.inventory, Orders: s.orders, Logger: quiet, Timeout: callTimeout,
		SweepAfter: sweepAfter, CheckEvery: 50 * time.Millisecond,
	}
	for _, f := range change {
		f(&config)
	}
	shop, err := booking.New(config)
	require.NoError(t, err)
	return shop
}

// background runs the service's background work until the test ends, or until
// the returned function was called.
func background(t testing.TB, shop *booking.Service) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- shop.Run(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		select {
		case err := <-done:
			require.NoError(t, err)
		case <-time.After(patience):
			t.Error("Run does not return")
		}
	}
	t.Cleanup(stop)
	return stop
}

// lines is an order of one SKU.
func lines(sku string, quantity int64) []order.Line {
	return []order.Line{{SKU: sku, Quantity: quantity}}
}

// request is an order of one unit.
func request(sku string, i int) booking.Request {
	return booking.Request{ID: fmt.Sprintf("%s-%d", sku, i), Customer: fmt.Sprint("customer-", i), Lines: lines(sku, 1)}
}

// anAdjustment is one of its own, of so many units.
func anAdjustment(sku string, units int64) order.Adjustment {
	return order.Adjustment{ID: rand.Text(), SKU: sku, Units: units}
}

// eventually polls until the check returns nothing.
func eventually(t testing.TB, check func() error) {
	t.Helper()
	require.NoError(t, soon(check))
}

// patience bounds all waiting for something that must come.
const patience = 5 * time.Minute

// soon polls as eventually does, in any goroutine.
func soon(check func() error) error { return servertest.Eventually(patience, check) }

// patiently is a context with all the time that something may take.
func patiently(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// exact waits until the books are exact: no difference at all, nothing unsettled.
func exact(t testing.TB, shop *booking.Service) {
	t.Helper()
	eventually(t, func() error {
		differences, err := shop.ReconcileAll(context.Background(), booking.DryRun)
		if err == nil && len(differences) > 0 {
			err = fmt.Errorf("the two sides differ: %+v", differences)
		}
		return err
	})
}

// sold is how many units the live orders of a SKU hold, as Postgres counts them.
func sold(t testing.TB, s stores, sku string) int64 {
	t.Helper()
	tallies, err := s.orders.Tally(context.Background(), sku)
	require.NoError(t, err)
	require.Len(t, tallies, 1)
	return tallies[0].Held + tallies[0].Confirmed
}
