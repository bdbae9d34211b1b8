package booking_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/booking"
	"github.com/lastunit/lastunit/internal/servertest"
	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

// rush sends buyers at a SKU with a capacity, lets a fault happen when half of
// the units are acknowledged, and audits the books afterwards.
func rush(t *testing.T, s stores, fault func()) {
	t.Helper()
	const capacity, buyers, atOnce = 300, 900, 50
	shops := []*booking.Service{open(t, s), open(t, s)}
	background(t, shops[0])
	item := order.Item{SKU: "floor", Capacity: capacity}
	require.NoError(t, shops[0].PutOnSale(t.Context(), item))

	var acknowledged sync.Map
	var count atomic.Int64
	half := make(chan struct{})
	next := make(chan int)
	var group sync.WaitGroup
	for worker := range atOnce {
		group.Go(func() {
			for i := range next {
				o, err := book(shops[worker%2], request("floor", i))
				if err != nil {
					assert.ErrorIs(t, err, inventory.ErrSoldOut)
					continue
				}
				acknowledged.Store(o.ID, true)
				if count.Add(1) == capacity/2 {
					close(half)
				}
			}
		})
	}
	go func() {
		defer close(next)
		for i := range buyers {
			next <- i
		}
	}()
	<-half
	before := count.Load()
	fault()
	require.Less(t, before, int64(capacity), "the fault came in the middle")
	group.Wait()

	audit := sale{acknowledged: make(map[string]bool)}
	acknowledged.Range(func(id, _ any) bool { audit.acknowledged[id.(string)] = true; return true })
	audit.audit(t, shops[0], s, item)
	assert.Len(t, audit.acknowledged, capacity)
}

// private are stores on servers of the test's own, which it may kill.
func private(t *testing.T) (stores, *servertest.Redis, *servertest.Postgres) {
	redisServer, postgres := servertest.StartRedis(t), servertest.StartPostgres(t)
	return at(t, redisServer.Client(t), order.NewPostgres(migrated(t, postgres))), redisServer, postgres
}

// onPrivateRedis are stores on a Redis of the test's own and a shared Postgres.
func onPrivateRedis(t *testing.T) (stores, *servertest.Redis) {
	server := servertest.StartRedis(t)
	return at(t, server.Client(t), order.NewPostgres(migrated(t, servertest.SharedPostgres(t)))), server
}

// Redis is gone: a quick and retryable error, never "sold out".
func TestRedisGone(t *testing.T) {
	t.Parallel()
	s, server := onPrivateRedis(t)
	shop := open(t, s)
	require.NoError(t, shop.PutOnSale(t.Context(), order.Item{SKU: "floor", Capacity: 1}))
	_, err := bookOnce(shop, request("floor", 0))
	require.NoError(t, err)
	server.Kill()
	_, err = shop.Book(t.Context(), request("floor", 1))
	require.ErrorIs(t, err, order.ErrOutcomeUnknown)
	require.ErrorIs(t, err, inventory.ErrUnavailable)
	require.NotErrorIs(t, err, inventory.ErrSoldOut)
	stock, err := shop.Stock(t.Context(), "floor")
	require.NoError(t, err, "Postgres knows it")
	assert.Equal(t, booking.Stock{SKU: "floor", Capacity: 1, Allocated: 1}, stock)
}

// A Postgres that fails must not drain Redis into "sold out".
func TestPostgresGone(t *testing.T) {
	t.Parallel()
	s, _, postgres := private(t)
	shop := open(t, s)
	require.NoError(t, shop.PutOnSale(t.Context(), order.Item{SKU: "floor", Capacity: 5}))
	_, err := bookOnce(shop, request("floor", 0))
	require.NoError(t, err)
	eventually(t, func() error { // it is settled behind the answer
		stocks, err := s.inventory.Stock(t.Context(), "floor")
		if err == nil && stocks[0].Unsettled != 0 {
			err = errors.New("unsettled")
		}
		return err
	})
	postgres.Kill()
	var group sync.WaitGroup
	for i := range 50 {
		group.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
			defer cancel()
			_, err := shop.Book(ctx, request("floor", 1+i))
			if !errors.Is(err, booking.ErrNotSent) { // on a slow machine
				assert.ErrorIs(t, err, order.ErrOutcomeUnknown)
			}
			assert.NotErrorIs(t, err, inventory.ErrSoldOut)
		})
	}
	group.Wait()
	postgres.Restart()
	background(t, shop)
	for i := range 4 {
		_, err := book(shop, request("floor", 1+i))
		require.NoError(t, err)
	}
	exact(t, shop)
	assert.EqualValues(t, 5, sold(t, s, "floor"))
}
