package booking_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/lastunit/lastunit/booking"
	"github.com/lastunit/lastunit/internal/servertest"
	"github.com/lastunit/lastunit/internal/testdb"
	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

// No goroutine is left after Run returns, and what was in hand is finished.
// Not parallel, as it looks at all goroutines.
func TestRunLeavesNothingBehind(t *testing.T) {
	ignore := []goleak.Option{goleak.IgnoreCurrent(), goleak.IgnoreAnyFunction(servertest.WaitFunction)}
	server := miniredis.NewMiniRedis()
	require.NoError(t, server.Start())
	client := redis.NewClient(&redis.Options{Addr: server.Addr()})
	s := at(t, client, order.NewMemory())
	shop := open(t, s)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- shop.Run(ctx) }()
	require.NoError(t, shop.PutOnSale(t.Context(), order.Item{SKU: "floor", Capacity: 500}))
	var group sync.WaitGroup
	for i := range 500 {
		group.Go(func() {
			_, err := shop.Book(context.Background(), request("floor", i))
			assert.NoError(t, err)
		})
	}
	group.Wait()
	cancel()
	require.NoError(t, <-ended)
	stocks, err := s.inventory.Stock(context.Background(), "floor")
	require.NoError(t, err)
	assert.Zero(t, stocks[0].Unsettled, "everything in hand was settled")
	assert.EqualValues(t, 500, stocks[0].Taken)
	require.NoError(t, client.Close())
	server.Close()
	goleak.VerifyNone(t, ignore...)
}

// Callers that leave at any moment leave no goroutine behind, and strand nothing.
// Not parallel, as it looks at all goroutines.
func TestCallersThatLeave(t *testing.T) {
	ignore := []goleak.Option{goleak.IgnoreCurrent(), goleak.IgnoreAnyFunction(servertest.WaitFunction)}
	server := miniredis.NewMiniRedis()
	require.NoError(t, server.Start())
	client := redis.NewClient(&redis.Options{Addr: server.Addr()})
	s := at(t, client, order.NewMemory())
	shop := open(t, s)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- shop.Run(ctx) }()
	require.NoError(t, shop.PutOnSale(t.Context(), order.Item{SKU: "floor", Capacity: 300}))
	var group sync.WaitGroup
	var left atomic.Int64
	for i := range 600 {
		group.Go(func() {
			ctx, leave := context.WithTimeout(context.Background(), time.Duration(i%30)*time.Millisecond)
			defer leave()
			if _, err := shop.Book(ctx, request("floor", i%400)); errors.Is(err, order.ErrOutcomeUnknown) || errors.Is(err, booking.ErrNotSent) {
				left.Add(1)
			}
		})
	}
	group.Wait()
	assert.Positive(t, left.Load(), "some left")
	for i := range 400 { // everybody asks again
		_, err := book(shop, request("floor", i))
		if err != nil {
			require.ErrorIs(t, err, inventory.ErrSoldOut)
		}
	}
	exact(t, shop)
	assert.EqualValues(t, 300, sold(t, s, "floor"))
	cancel()
	require.NoError(t, <-ended)
	require.NoError(t, client.Close())
	server.Close()
	goleak.VerifyNone(t, ignore...)
}

// Whatever happens to Redis with nobody buying, Run repairs.
func TestRunRepairs(t *testing.T) {
	t.Parallel()
	key := func(s stores) string { return s.prefix + ":{floor}:stock" }
	set := func(field string, value any) func(*testing.T, stores) {
		return func(t *testing.T, s stores) {
			require.NoError(t, s.client.HSet(t.Context(), key(s), field, value).Err())
		}
	}
	for kind, damage := range map[booking.Kind]func(*testing.T, stores){
		booking.KindMissing: func(t *testing.T, s stores) { s.wipe(t) },
		booking.KindForeign: set("store", "another"),
		booking.KindGarbage: func(t *testing.T, s stores) {
			s.wipe(t)
			require.NoError(t, s.client.Set(t.Context(), key(s), "a string", 0).Err())
		},
		booking.KindFormat: func(t *testing.T, s stores) { // of a build from before there were formats
			require.NoError(t, s.client.HDel(t.Context(), key(s), "format").Err())
		},
		booking.KindEpoch: set("epoch", 7),
		booking.KindVersion: func(t *testing.T, s stores) { // a push was lost
			_, err := s.orders.Adjust(t.Context(), order.Adjustment{ID: "8", SKU: "floor", Kind: order.SetCapacity, Units: 8})
			require.NoError(t, err)
		},
		booking.KindSupply: set("supply", 1000),
		booking.KindTerms:  set("paused", 1),
		booking.KindLost:   set("taken", 1),
		booking.KindStuck:  set("taken", 4),
		booking.KindUnsettled: func(t *testing.T, s stores) { // its process died
			c, err := s.orders.Counters(t.Context(), "floor")
			require.NoError(t, err)
			_, err = s.inventory.Deduct(t.Context(), inventory.Request{Customer: "c", SKU: "floor", Store: c[0].Store, Attempt: "a", OrderID: "o", Quantity: 2})
			require.NoError(t, err)
		},
	} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			onBoth(t, func(t *testing.T, s stores) {
				shop := open(t, s)
				require.NoError(t, shop.PutOnSale(t.Context(), order.Item{SKU: "floor", Capacity: 5}))
				for i := range 3 {
					_, err := bookOnce(shop, request("floor", i))
					require.NoError(t, err)
				}
				exact(t, shop)
				damage(t, s)
				none, err := shop.Reconcile(t.Context(), booking.Repair)
				require.NoError(t, err)
				require.Empty(t, none, "no SKUs are none")
				differences, err := shop.Reconcile(t.Context(), booking.DryRun, "floor")
				require.NoError(t, err)
				require.Len(t, differences, 1)
				assert.Equal(t, kind, differences[0].Kind)
				all, err := shop.ReconcileAll(t.Context(), booking.DryRun)
				require.NoError(t, err)
				assert.Equal(t, differences, all)
				background(t, shop)
				exact(t, shop)
				counters, err := s.orders.Counters(t.Context(), "floor")
				require.NoError(t, err)
				stocks, err := s.inventory.Stock(t.Context(), "floor")
				require.NoError(t, err)
				assert.Equal(t, counters[0].Left(), stocks[0].Available(), "available = capacity - sold")
			})
		})
	}
}

// Postgres's own counter was tampered with.
func TestReconcileRecounts(t *testing.T) {
	t.Parallel()
	database := testdb.New(t, servertest.SharedPostgres(t))
	pool := connect(t, database)
	s := at(t, servertest.SharedRedis(t).Client(t), order.NewPostgres(pool))
	shop := open(t, s)
	require.NoError(t, shop.PutOnSale(t.Context(), order.Item{SKU: "floor", Capacity: 5}))
	_, err := bookOnce(shop, request("floor", 0))
	require.NoError(t, err)
	exact(t, shop)
	_, err = pool.Exec(t.Context(), "update lastunit.skus set allocated = 4")
	require.NoError(t, err)
	differences, err := shop.ReconcileAll(t.Context(), booking.Repair)
	require.NoError(t, err)
	require.NotEmpty(t, differences)
	assert.Equal(t, booking.Difference{SKU: "floor", Kind: booking.KindAllocated, Redis: 4, Postgres: 1}, differences[0])
	exact(t, shop)
	_, err = shop.Reconcile(t.Context(), booking.DryRun, "nothing")
	require.ErrorIs(t, err, order.ErrUnknownSKU)
}

// A unit that a dead process holds is neither sold nor gone: buyers are told to
// try again, not that it is sold out, and then get it.
func TestAbandonedUnitIsNotSoldOut(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, s stores) {
		shop := open(t, s)
		require.NoError(t, shop.PutOnSale(t.Context(), order.Item{SKU: "floor", Capacity: 1}))
		c, err := s.orders.Counters(t.Context(), "floor")
		require.NoError(t, err)
		_, err = s.inventory.Deduct(t.Context(), inventory.Request{Customer: "c", SKU: "floor", Store: c[0].Store, Attempt: "a", OrderID: "o", Quantity: 1})
		require.NoError(t, err)
		_, err = shop.Book(t.Context(), request("floor", 0))
		require.ErrorIs(t, err, inventory.ErrTryAgain)
		require.NotErrorIs(t, err, inventory.ErrSoldOut)
		background(t, shop)
		_, err = book(shop, request("floor", 0))
		require.NoError(t, err)
		_, err = bookOnce(shop, request("floor", 1))
		require.ErrorIs(t, err, inventory.ErrSoldOut)
		exact(t, shop)
	})
}

// A push that was lost does not make anybody sold out: Postgres is asked before
// that is said.
func TestLostPushIsNotSoldOut(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, s stores) {
		shop := open(t, s) // and no background work
		require.NoError(t, shop.PutOnSale(t.Context(), order.Item{SKU: "floor", Capacity: 1}))
		_, err := bookOnce(shop, request("floor", 0))
		require.NoError(t, err)
		_, err = s.orders.Adjust(t.Context(), order.Adjustment{ID: "2", SKU: "floor", Kind: order.SetCapacity, Units: 2}) // nobody tells Redis
		require.NoError(t, err)
		_, err = bookOnce(shop, request("floor", 1))
		require.NoError(t, err)
		exact(t, shop)
	})
}

// Several processes share the background work: each SKU is looked at about once
// a period by all of them together, not by each.
func TestBackgroundWorkIsShared(t *testing.T) {
	t.Parallel()
	s := embedded(t)
	looked := &scans{Store: s.orders}
	plant(t, s)
	for i := range 20 {
		_, _, err := s.orders.PutOnSale(t.Context(), order.Item{SKU: fmt.Sprint("sku-", i), Capacity: 1})
		require.NoError(t, err)
	}
	s.orders = looked
	var stops []func()
	for range 5 {
		shop, err := booking.New(booking.Config{Inventory: s.inventory, Orders: s.orders, Logger: quiet, CheckEvery: time.Hour})
		require.NoError(t, err)
		stops = append(stops, background(t, shop))
	}
	eventually(t, func() error {
		if n := looked.count(); n < order.Partitions {
			return fmt.Errorf("%d partitions were looked at", n)
		}
		return nil
	})
	for _, stop := range stops {
		stop()
	}
	assert.Equal(t, order.Partitions, looked.count(), "each partition once")
}

type scans struct {
	order.Store
	mu sync.Mutex
	n  int
}

func (s *scans) Scan(ctx context.Context, partition int, after string, limit int) ([]order.Counters, error) {
	s.mu.Lock()
	s.n++
	s.mu.Unlock()
	return s.Store.Scan(ctx, partition, after, limit)
}

func (s *scans) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.n
}

// movesOn begins a new epoch between the two looks of a comparison.
type movesOn struct {
	order.Store
	once sync.Once
}

func (m *movesOn) Counters(ctx context.Context, skus ...string) ([]order.Counters, error) {
	m.once.Do(func() {
		if c, err := m.Store.Counters(ctx, skus...); err == nil {
			_, _, _ = m.BeginEpoch(ctx, c[0].SKU, c[0].Epoch)
		}
	})
	return m.Store.Counters(ctx, skus...)
}

// A difference is not explained away because Postgres moved on meanwhile: the
// two sides are compared anew.
func TestReconcileComparesAnew(t *testing.T) {
	t.Parallel()
	s := embedded(t)
	shop := open(t, s)
	require.NoError(t, shop.PutOnSale(t.Context(), order.Item{SKU: "floor", Capacity: 5}))
	require.NoError(t, s.client.HSet(t.Context(), s.prefix+":{floor}:stock", "taken", 4).Err())
	s.orders = &movesOn{Store: s.orders}
	differences, err := open(t, s).Reconcile(t.Context(), booking.DryRun, "floor")
	require.NoError(t, err)
	require.NotEmpty(t, differences)
	assert.Equal(t, booking.KindEpoch, differences[0].Kind)
}

// watched counts how often stocks are read.
type watched struct {
	inventory.InventoryRepository
	reads atomic.Int64
}

func (w *watched) Stock(ctx context.Context, skus ...string) ([]inventory.Stock, error) {
	w.reads.Add(1)
	return w.InventoryRepository.Stock(ctx, skus...)
}

// Redis hangs, and its client waits for ever: Run ends all the same.
func TestRunEndsWhileRedisHangs(t *testing.T) {
	t.Parallel()
	server := servertest.StartRedis(t)
	all := &watched{InventoryRepository: inventory.NewRedis(server.Client(t, func(o *redis.Options) { o.ReadTimeout = -1 }))}
	shop, err := booking.New(booking.Config{
		Inventory: all, Orders: order.NewMemory(), Logger: quiet, Timeout: time.Second, CheckEvery: 20 * time.Millisecond,
	})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- shop.Run(ctx) }()
	require.NoError(t, shop.PutOnSale(t.Context(), order.Item{SKU: "floor", Capacity: 10}))
	_, err = bookOnce(shop, request("floor", 0))
	require.NoError(t, err)
	exact(t, shop)
	server.Pause()
	resume := sync.OnceFunc(server.Resume)
	t.Cleanup(resume)
	before := all.reads.Load()
	eventually(t, func() error {
		if all.reads.Load() == before {
			return fmt.Errorf("Run does not look at Redis")
		}
		return nil
	})
	cancel()
	select {
	case err := <-ended:
		require.NoError(t, err)
	case <-time.After(time.Minute):
		t.Error("Run does not return")
	}
	resume()
}
