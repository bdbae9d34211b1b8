package booking_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/booking"
	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

// Orders are purged by two processes while others are booked and cancelled: each that
// ended long ago once, no other one, and the same requests have the same answers.
func TestPurgeBesideTraffic(t *testing.T) {
	t.Parallel()
	all, database := several(t, 2)
	s, pool := all[0], connect(t, database)
	shops := []*booking.Service{open(t, all[0]), open(t, all[1])}
	ctx := t.Context()
	require.NoError(t, shops[0].PutOnSale(ctx, order.Item{SKU: "floor", Capacity: 100_000}))
	background(t, shops[0])
	request := func(name string, i int) booking.Request {
		return booking.Request{ID: fmt.Sprint(name, i), Customer: fmt.Sprint("c", i), Lines: lines("floor", 1)}
	}
	const ended = 1200 // more than a batch
	var buyers sync.WaitGroup
	for b := range 8 {
		buyers.Go(func() {
			for i := b; i < ended; i += 8 {
				_, err := book(shops[b%2], request("old", i))
				assert.NoError(t, err)
				_, err = shops[b%2].Cancel(ctx, fmt.Sprint("old", i))
				assert.NoError(t, err)
			}
		})
	}
	buyers.Wait()
	_, err := book(shops[0], request("live", 0))
	require.NoError(t, err)
	_, err = pool.Exec(ctx, "update lastunit.orders set changed_at = changed_at - interval '2 hours'")
	require.NoError(t, err)

	before := time.Now().Add(-booking.PurgeAfter - time.Minute)
	var purged atomic.Int64
	var purgers sync.WaitGroup
	for _, shop := range shops {
		purgers.Go(func() {
			n, err := shop.Purge(context.Background(), before)
			assert.NoError(t, err)
			purged.Add(int64(n))
		})
	}
	for b := range 4 {
		buyers.Go(func() {
			for i := b; i < 100; i += 4 {
				_, err := book(shops[b%2], request("new", i))
				assert.NoError(t, err)
				_, err = shops[b%2].Book(ctx, request("old", i))
				assert.ErrorIs(t, err, order.ErrCancelled)
			}
		})
	}
	buyers.Wait()
	purgers.Wait()
	n, err := shops[0].Purge(ctx, before) // what was locked meanwhile
	require.NoError(t, err)
	assert.EqualValues(t, ended, purged.Load()+int64(n))

	o, err := shops[0].Order(ctx, "old0")
	require.NoError(t, err)
	assert.Empty(t, o.Customer)
	assert.Empty(t, o.Lines)
	_, err = shops[1].Book(ctx, request("old", ended-1))
	require.ErrorIs(t, err, order.ErrCancelled)
	other := request("old", 0)
	other.Customer = "another"
	_, err = shops[1].Book(ctx, other)
	require.ErrorIs(t, err, order.ErrIdempotencyConflict)
	o, err = shops[1].Book(ctx, request("live", 0))
	require.NoError(t, err)
	assert.Equal(t, "c0", o.Customer)
	books(t, shops[0], s, "floor")
}

// A purged hold can't be reclaimed, and says so; what ended within an hour can't be purged.
func TestPurgedHold(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		shop := open(t, stores{inventory: inventory.NewMemory(), orders: order.NewMemory()})
		stop := background(t, shop)
		require.NoError(t, shop.PutOnSale(ctx, order.Item{SKU: "floor", Capacity: 10}))
		r := booking.Request{ID: "1", Customer: "c", Lines: lines("floor", 1)}
		_, err := shop.Hold(ctx, r, time.Second)
		require.NoError(t, err)
		time.Sleep(time.Minute)
		stop() // nothing is due any more, and a second of its work takes as long as one of a sale
		time.Sleep(booking.PurgeAfter - time.Minute)
		_, err = shop.Purge(ctx, time.Now().Add(-booking.PurgeAfter+time.Second))
		require.ErrorIs(t, err, inventory.ErrInvalid)
		purge := func(want int) {
			t.Helper()
			n, err := shop.Purge(ctx, time.Now().Add(-booking.PurgeAfter))
			require.NoError(t, err)
			require.Equal(t, want, n)
		}
		purge(0) // it ended a moment later
		time.Sleep(time.Minute)
		purge(1)
		purge(0)
		_, err = shop.Reclaim(ctx, "1")
		require.ErrorIs(t, err, order.ErrPurged)
		require.NotErrorIs(t, err, order.ErrOutcomeUnknown)
		_, err = shop.Hold(ctx, r, time.Hour)
		require.ErrorIs(t, err, order.ErrHoldExpired)
		_, err = shop.Confirm(ctx, "1")
		require.ErrorIs(t, err, order.ErrHoldExpired)
		exact(t, shop)
	})
}
