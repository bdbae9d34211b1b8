package booking_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/booking"
	"github.com/lastunit/lastunit/internal/servertest"
	"github.com/lastunit/lastunit/internal/testdb"
	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

// Two clicks on the last unit, in two processes, with nothing else going on:
// neither is told "sold out", as the order is there. (TestLookDuringACommit in
// package order has the one moment that matters.)
func TestTwoClicksOnTheLastUnit(t *testing.T) {
	t.Parallel()
	database := testdb.New(t, servertest.SharedPostgres(t))
	first := at(t, servertest.SharedRedis(t).Client(t), order.NewPostgres(connect(t, database)))
	second := first
	second.orders = order.NewPostgres(connect(t, database))
	shops := []*booking.Service{open(t, first), open(t, second)}
	var refused atomic.Int64
	var group sync.WaitGroup
	for worker := range 8 {
		group.Go(func() {
			for i := range 60 {
				sku := fmt.Sprintf("%d-%d", worker, i)
				if !assert.NoError(t, shops[0].PutOnSale(context.Background(), order.Item{SKU: sku, Capacity: 1})) {
					return
				}
				var both sync.WaitGroup
				for _, shop := range shops {
					both.Go(func() {
						if _, err := book(shop, request(sku, 1)); errors.Is(err, inventory.ErrSoldOut) {
							refused.Add(1)
						}
					})
				}
				both.Wait()
			}
		})
	}
	group.Wait()
	assert.Zero(t, refused.Load(), "second clicks that were refused, of 480")
}

// lateCommit are orders of which one commit seems to fail and lands when the
// test says so.
type lateCommit struct {
	order.Store
	armed     atomic.Bool
	land      func() error
	meanwhile func()
}

func (l *lateCommit) Commit(ctx context.Context, commits []order.Commit) ([]order.Outcome, []order.Counters, error) {
	if !l.armed.CompareAndSwap(true, false) {
		return l.Store.Commit(ctx, commits)
	}
	late := make([]order.Commit, len(commits))
	for i, c := range commits {
		late[i] = order.Commit{Order: c.Order, Deductions: append([]inventory.Deduction(nil), c.Deductions...)}
	}
	l.land = func() error {
		_, _, err := l.Store.Commit(context.Background(), late)
		return err
	}
	l.meanwhile()
	return nil, nil, fmt.Errorf("%w: connection lost", order.ErrOutcomeUnknown)
}

// A commit is on its way when the capacity is lowered, its buyer is refused, and
// the capacity is raised again: it must not land behind the buyer's back.
func TestNoOrderAfterARefusal(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, s stores) {
		for name, callAgain := range map[string]bool{"in one call": false, "in two calls": true} {
			t.Run(name, func(t *testing.T) {
				sku := "floor " + name
				admin := open(t, s)
				late := &lateCommit{Store: s.orders}
				shop := open(t, stores{inventory: s.inventory, orders: late})
				require.NoError(t, shop.PutOnSale(t.Context(), order.Item{SKU: sku, Capacity: 1}))
				ctx, leave := context.WithCancel(t.Context())
				defer leave()
				late.meanwhile = func() {
					require.NoError(t, admin.SetCapacity(context.Background(), anAdjustment(sku, 0)))
					if callAgain {
						leave()
					}
				}
				late.armed.Store(true)
				_, err := shop.Book(ctx, request(sku, 1))
				if callAgain {
					require.ErrorIs(t, err, order.ErrOutcomeUnknown)
					_, err = admin.Book(t.Context(), request(sku, 1))
				}
				require.ErrorIs(t, err, inventory.ErrSoldOut)
				require.NoError(t, admin.SetCapacity(t.Context(), anAdjustment(sku, 1)))
				require.NoError(t, late.land())
				_, err = admin.Order(t.Context(), request(sku, 1).ID)
				require.ErrorIs(t, err, order.ErrNotFound, "it landed")
				_, err = book(admin, request(sku, 2))
				require.NoError(t, err, "the unit came back at once")
				exact(t, admin)
			})
		}
	})
}

// Garbage where an order ID should be is repaired as any other.
func TestGarbageInADeduction(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, s stores) {
		shop := open(t, s)
		require.NoError(t, shop.PutOnSale(t.Context(), order.Item{SKU: "floor", Capacity: 5}))
		require.NoError(t, s.client.HSet(t.Context(), s.prefix+":{floor}:stock",
			"taken", 1, "unsettled", 1, "seq", 1, "d:x", "1:1:1:1:a\x01b").Err())
		background(t, shop)
		exact(t, shop)
		stock, err := shop.Stock(t.Context(), "floor")
		require.NoError(t, err)
		assert.EqualValues(t, 5, stock.Available)
	})
}

// Postgres's clock was set back by an hour: the background work goes on.
func TestPostgresClockSetBack(t *testing.T) {
	t.Parallel()
	pool := migrated(t, servertest.SharedPostgres(t))
	s := at(t, servertest.SharedRedis(t).Client(t), order.NewPostgres(pool))
	shop := open(t, s)
	require.NoError(t, shop.PutOnSale(t.Context(), order.Item{SKU: "floor", Capacity: 1}))
	c, err := s.orders.Counters(t.Context(), "floor")
	require.NoError(t, err)
	_, err = s.inventory.Deduct(t.Context(), inventory.Request{Customer: "c", SKU: "floor", Store: c[0].Store, Attempt: "dead", OrderID: "dead", Quantity: 1})
	require.NoError(t, err)
	_, err = pool.Exec(t.Context(), "update lastunit.partitions set claimed_at = clock_timestamp() + interval '1 hour'")
	require.NoError(t, err)
	background(t, shop)
	eventually(t, func() error { // the dead process's unit comes back
		_, err := shop.Book(t.Context(), request("floor", 1))
		return err
	})
}

// Redis is gone: a second click gets its order all the same.
func TestSecondClickWithoutRedis(t *testing.T) {
	t.Parallel()
	s, server := onPrivateRedis(t)
	shop := open(t, s)
	require.NoError(t, shop.PutOnSale(t.Context(), order.Item{SKU: "floor", Capacity: 2}))
	first, err := bookOnce(shop, request("floor", 1))
	require.NoError(t, err)
	server.Kill()
	again, err := shop.Book(t.Context(), request("floor", 1))
	require.NoError(t, err)
	assert.Equal(t, first.ID, again.ID)
}

// forEver is a client of a server that waits for each answer for ever.
func forEver(t *testing.T, server *servertest.Redis) *redis.Client {
	return server.Client(t, func(o *redis.Options) { o.ReadTimeout = -1 })
}

// Redis hangs: calls that Postgres has carried out don't wait for it, or they would
// until their time is over.
func TestRedisHangs(t *testing.T) {
	t.Parallel()
	s, server := onPrivateRedis(t)
	s.inventory = inventory.NewRedis(forEver(t, server), inventory.WithKeyPrefix(s.prefix))
	shop := open(t, s)
	require.NoError(t, shop.PutOnSale(t.Context(), order.Item{SKU: "floor", Capacity: 2}))
	_, err := bookOnce(shop, request("floor", 1))
	require.NoError(t, err)
	server.Pause()
	defer server.Resume()
	for name, call := range map[string]func(context.Context) error{
		"Stock": func(ctx context.Context) error { _, err := shop.Stock(ctx, "floor"); return err },
		"SetCapacity": func(ctx context.Context) error {
			return shop.SetCapacity(ctx, anAdjustment("floor", 3))
		},
		"Cancel":    func(ctx context.Context) error { _, err := shop.Cancel(ctx, request("floor", 1).ID); return err },
		"PutOnSale": func(ctx context.Context) error { return shop.PutOnSale(ctx, order.Item{SKU: "other", Capacity: 3}) },
	} {
		require.NoError(t, call(t.Context()), name)
	}
}
