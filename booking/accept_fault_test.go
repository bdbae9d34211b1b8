package booking_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/booking"
	"github.com/lastunit/lastunit/internal/servertest"
	"github.com/lastunit/lastunit/internal/testdb"
	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

// A process is killed right after it has accepted orders; another one commits all
// of those that it has acknowledged.
func TestProcessKilledAfterAccept(t *testing.T) {
	t.Parallel()
	const buyers, capacity = 300, 400
	redisServer, database := servertest.SharedRedis(t), testdb.New(t, servertest.SharedPostgres(t))
	both := at(t, redisServer.Client(t), order.NewPostgres(connect(t, database)))
	shop := accepts(t, both, 0)
	item := order.Item{SKU: "floor", Capacity: capacity}
	require.NoError(t, shop.PutOnSale(t.Context(), item))
	c := servertest.StartChild(t, seller, job{
		Redis: redisServer.URL(), Postgres: database, Prefix: both.prefix, SKU: "floor", Buyers: buyers, AtOnce: 30, Accept: true,
	})
	s := sale{acknowledged: make(map[string]bool)}
	s.collectSome(t, c, "accepted", buyers/3)
	c.Kill()
	s.collect(c) // what it had printed by then
	require.Empty(t, s.unexpected)
	for id := range s.acknowledged {
		_, err := shop.Order(t.Context(), id)
		require.ErrorIs(t, err, order.ErrNotFound, "none was committed: the process could not")
		break
	}
	background(t, shop.Service)
	for id := range s.acknowledged {
		eventually(t, func() error { _, err := shop.Order(t.Context(), id); return err })
	}
	exact(t, shop.Service)
	assert.GreaterOrEqual(t, sold(t, both, "floor"), int64(len(s.acknowledged)))
	assert.Empty(t, shop.refused)
}

// Redis loses an order that is on its way; the process that accepted it lives, and
// still knows it.
func TestRedisWipedBehindAccept(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, s stores) {
		shop := accepts(t, s, 0)
		background(t, shop.Service)
		require.NoError(t, shop.PutOnSale(t.Context(), order.Item{SKU: "floor", Capacity: 20}))
		shop.stalled.down.Store(true)
		var receipts []booking.Receipt
		for i := range 10 {
			receipts = append(receipts, accept(t, shop, request("floor", i)))
		}
		s.wipe(t)
		shop.stalled.down.Store(false)
		for i, receipt := range receipts {
			o, err := waits(t, receipt)
			confirmed(t, o, err, request("floor", i))
		}
		exact(t, shop.Service)
		assert.EqualValues(t, 10, sold(t, s, "floor"))
	})
}

// FLUSHALL, and the process is dead too: the order is lost, as documented.
func TestFlushAllAndProcessDead(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, s stores) {
		other := accepts(t, s, 0)
		require.NoError(t, other.PutOnSale(t.Context(), order.Item{SKU: "floor", Capacity: 1}))
		dead := request("floor", 1)
		gone(t, s, dead)
		s.wipe(t)
		background(t, other.Service)
		exact(t, other.Service)
		_, err := other.Lookup(t.Context(), dead)
		require.ErrorIs(t, err, order.ErrNotFound)
		_, err = book(other.Service, request("floor", 2))
		require.NoError(t, err, "its unit is sold to another one")
		exact(t, other.Service)
		assert.Empty(t, other.refusals(dead.ID))
	})
}

// gone lets a service accept requests and die: as dead as it can be in this process,
// it has given up on them.
func gone(t testing.TB, s stores, requests ...booking.Request) {
	t.Helper()
	down := &stalled{Store: s.orders}
	// Run drains for the Timeout. But an Accept that runs into it is for Postgres to decide.
	shop, err := booking.New(booking.Config{Inventory: s.inventory, Orders: down, Logger: quiet, Timeout: 2 * time.Second})
	require.NoError(t, err)
	for _, r := range requests {
		eventually(t, func() error { _, err := shop.Stock(context.Background(), r.Lines[0].SKU); return err })
	}
	down.down.Store(true)
	for _, r := range requests {
		eventually(t, func() error { _, err := shop.Accept(context.Background(), r); return err })
	}
	ended, end := context.WithCancel(context.Background())
	end()
	require.NoError(t, shop.Run(ended))
}

// The counters are rebuilt while an order of a dead process is in Redis alone: its
// units stay its own, and the sweep commits it.
func TestRebuiltBehindAccept(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, s stores) {
		shop := accepts(t, s, 0)
		require.NoError(t, shop.PutOnSale(t.Context(), order.Item{SKU: "floor", Capacity: 5}, order.Item{SKU: "balcony", Capacity: 5}))
		r := booking.Request{ID: "1", Customer: "c", Lines: []order.Line{{SKU: "balcony", Quantity: 1}, {SKU: "floor", Quantity: 5}}}
		gone(t, s, r)
		for range 3 {
			require.NoError(t, shop.Rebuild(t.Context(), "floor"))
		}
		_, err := shop.Book(t.Context(), request("floor", 2))
		require.ErrorIs(t, err, inventory.ErrTryAgain, "its units are not for sale")
		background(t, shop.Service)
		o, err := looked(t, shop.Service, r)
		confirmed(t, o, err, r)
		exact(t, shop.Service)
		assert.EqualValues(t, 5, sold(t, s, "floor"))
		assert.EqualValues(t, 1, sold(t, s, "balcony"))
	})
}

// Postgres is down for a while with Accept in use: then the backlog is full, and
// nothing that was accepted is lost.
func TestPostgresDownBehindAccept(t *testing.T) {
	t.Parallel()
	s, _, postgres := private(t)
	const backlog = 50
	shop := accepts(t, s, backlog)
	background(t, shop.Service)
	require.NoError(t, shop.PutOnSale(t.Context(), order.Item{SKU: "floor", Capacity: 1000}))
	_, err := bookOnce(shop.Service, request("floor", 1000))
	require.NoError(t, err)
	postgres.Kill()
	receipts := make(map[int]booking.Receipt)
	for i := range 2 * backlog {
		receipt, err := shop.Accept(t.Context(), request("floor", i))
		if err != nil {
			require.ErrorIs(t, err, booking.ErrOverloaded)
			continue
		}
		receipts[i] = receipt
	}
	require.Len(t, receipts, backlog)
	postgres.Restart()
	for i, receipt := range receipts {
		o, err := waits(t, receipt)
		confirmed(t, o, err, request("floor", i))
	}
	exact(t, shop.Service)
	assert.EqualValues(t, backlog+1, sold(t, s, "floor"))
}
