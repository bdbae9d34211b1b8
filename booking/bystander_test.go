package booking_test

import (
	"context"
	"errors"
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

// rejecting are orders that count the calls of Change that are rejected for all
// that they were to change.
type rejecting struct {
	order.Store
	rejected atomic.Int64
}

func (r *rejecting) Change(ctx context.Context, all []order.Change) ([]order.Changed, []order.Counters, error) {
	changed, counters, err := r.Store.Change(ctx, all)
	if errors.Is(err, order.ErrRejected) {
		r.rejected.Add(1)
	}
	return changed, counters, err
}

// The database refuses to let one hold end. It stays, and all others end.
func TestAHoldThatCanNotEnd(t *testing.T) {
	t.Parallel()
	all, database := several(t, 1)
	s, pool := all[0], connect(t, database)
	_, err := pool.Exec(t.Context(), "alter table lastunit.orders add constraint own check (id <> 'floor-2' or status <> 'expired')")
	require.NoError(t, err)
	watched := &rejecting{Store: s.orders}
	s.orders = watched
	shop := open(t, s)
	require.NoError(t, shop.PutOnSale(t.Context(), order.Item{SKU: "floor", Capacity: 100}))
	for i := range 5 {
		held, err := shop.Hold(t.Context(), request("floor", i), time.Millisecond)
		require.NoError(t, err)
		passes(t, s, held)
	}
	background(t, shop) // it finds all of them at once
	for i := range 5 {
		if i != 2 {
			ends(t, s, request("floor", i).ID, order.Expired)
		}
	}
	assert.Equal(t, order.Held, orderOf(t, s, request("floor", 2).ID).Status)
	assert.Zero(t, watched.rejected.Load(), "no call fails for one order")
	assert.EqualValues(t, 1, sold(t, s, "floor"))
	books(t, shop, s, "floor")

	_, err = pool.Exec(t.Context(), "alter table lastunit.orders drop constraint own")
	require.NoError(t, err)
	ends(t, s, request("floor", 2).ID, order.Expired)
	books(t, shop, s, "floor")
}

// Somebody's open transaction keeps the row of one SKU locked: orders of others
// are confirmed, and holds of others end, while it does.
func TestALockedSKUHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	all, database := several(t, 1)
	s, pool := all[0], connect(t, database)
	shop := open(t, s)
	require.NoError(t, shop.PutOnSale(t.Context(), order.Item{SKU: "locked", Capacity: 100}, order.Item{SKU: "free", Capacity: 100}))
	for _, sku := range []string{"locked", "free"} {
		for i := range 4 {
			ttl := time.Hour
			if i == 0 {
				ttl = time.Millisecond
			}
			held, err := shop.Hold(t.Context(), request(sku, i), ttl)
			require.NoError(t, err)
			if i == 0 {
				passes(t, s, held)
			}
		}
	}
	tx, err := pool.Begin(t.Context())
	require.NoError(t, err)
	defer tx.Rollback(context.Background()) //nolint:errcheck // if the test ended early
	_, err = tx.Exec(t.Context(), "select from lastunit.skus where sku = 'locked' for update")
	require.NoError(t, err)
	background(t, shop) // it finds both holds that are over at once

	// Confirmations travel together.
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	var others, clicks sync.WaitGroup
	for i := 1; i < 4; i++ {
		clicks.Go(func() {
			_, err := shop.Confirm(ctx, request("locked", i).ID)
			assert.Error(t, err)
			if !errors.Is(err, order.ErrOutcomeUnknown) { // where it left, or on a slow machine
				assert.ErrorIs(t, err, order.ErrBusy)
			}
		})
		others.Go(func() {
			assert.NoError(t, soon(func() error { // on a slow machine it may take more than its time
				_, err := shop.Confirm(t.Context(), request("free", i).ID)
				return err
			}))
		})
	}
	others.Wait()
	ends(t, s, request("free", 0).ID, order.Expired)
	leave()
	clicks.Wait()
	for i := range 4 {
		assert.Equal(t, order.Held, orderOf(t, s, request("locked", i).ID).Status, "it is locked still")
	}
	require.NoError(t, tx.Rollback(t.Context()))
	ends(t, s, request("locked", 0).ID, order.Expired)
	eventually(t, func() error {
		_, err := shop.Confirm(t.Context(), request("locked", 1).ID)
		return err
	})
	books(t, shop, s, "free", "locked")
}

// clicked are orders that see which changes are asked for together.
type clicked struct {
	order.Store
	entries, repeated atomic.Int64
}

func (c *clicked) Change(ctx context.Context, all []order.Change) ([]order.Changed, []order.Counters, error) {
	seen := make(map[order.Change]bool)
	for _, change := range all {
		if seen[change] {
			c.repeated.Add(1)
		}
		seen[change] = true
	}
	c.entries.Add(int64(len(all)))
	return c.Store.Change(ctx, all)
}

// A thousand clicks on one button at once: the order is changed once for all of
// them, and each has an order of its own to do with as it likes.
func TestManyClicksOnOneButton(t *testing.T) {
	t.Parallel()
	const clicks = 1000
	onBoth(t, func(t *testing.T, s stores) {
		seen := &clicked{Store: s.orders}
		s.orders = seen
		shop := open(t, s)
		require.NoError(t, shop.PutOnSale(t.Context(), order.Item{SKU: "floor", Capacity: 10}))
		held, err := shop.Hold(t.Context(), request("floor", 1), time.Hour)
		require.NoError(t, err)
		other, err := shop.Hold(t.Context(), request("floor", 2), time.Hour)
		require.NoError(t, err)
		var callers sync.WaitGroup
		for i := range clicks {
			callers.Go(func() {
				r := held
				if i == clicks/2 {
					r = other
				}
				o, err := shop.Confirm(context.Background(), r.ID)
				if assert.NoError(t, err) && assert.Equal(t, order.Confirmed, o.Status) && assert.Equal(t, r.ID, o.ID) {
					assert.Equal(t, r.Lines, o.Lines)
					o.Lines[0].Quantity = 0 // the race detector sees whether it is shared
				}
			})
		}
		callers.Wait()
		assert.Zero(t, seen.repeated.Load(), "of %d changes", seen.entries.Load())
		books(t, shop, s, "floor")
	})
}

// bubbled runs a test inside a bubble of testing/synctest, in stores that keep
// nothing, with 300 holds of ten minutes.
func bubbled(t *testing.T, before func(context.Context, order.Order) booking.Expiry, test func(*testing.T, *booking.Service, order.Store)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		orders := order.NewMemory()
		shop, err := booking.New(booking.Config{Inventory: inventory.NewMemory(), Orders: orders, Logger: quiet, CheckEvery: 10 * time.Second, BeforeExpire: before})
		require.NoError(t, err)
		require.NoError(t, shop.PutOnSale(t.Context(), order.Item{SKU: "floor", Capacity: manyHolds}))
		for i := range manyHolds {
			_, err := shop.Hold(t.Context(), request("floor", i), 10*time.Minute)
			require.NoError(t, err)
		}
		time.Sleep(10 * time.Minute) // in the bubble
		test(t, shop, orders)
		synctest.Wait()
		tallies, err := orders.Tally(t.Context(), "floor")
		require.NoError(t, err)
		assert.True(t, tallies[0].Balanced(), "%+v", tallies[0])
	})
}

const manyHolds = 300

// BeforeExpire never returns, whatever its context says: no more calls pile up
// than there may be at once, and none about a hold that it is being asked about.
// Once they return, the holds end.
func TestBeforeExpireThatNeverReturns(t *testing.T) {
	t.Parallel()
	const most = 64
	var never chan struct{} // of the bubble
	var mu sync.Mutex
	underway, twice, highest := make(map[string]bool), 0, 0
	before := func(_ context.Context, held order.Order) booking.Expiry {
		mu.Lock()
		if underway[held.ID] {
			twice++
		}
		underway[held.ID] = true
		highest = max(highest, len(underway))
		mu.Unlock()
		<-never
		mu.Lock()
		defer mu.Unlock()
		delete(underway, held.ID)
		return booking.Expire
	}
	bubbled(t, before, func(t *testing.T, shop *booking.Service, orders order.Store) {
		never = make(chan struct{})
		stop := background(t, shop)
		time.Sleep(2 * time.Minute) // in the bubble
		mu.Lock()
		assert.Zero(t, twice, "calls about a hold that it was being asked about")
		assert.Equal(t, most, highest, "calls under way")
		mu.Unlock()
		tallies, err := orders.Tally(t.Context(), "floor")
		require.NoError(t, err)
		assert.EqualValues(t, manyHolds, tallies[0].Held, "nobody knows of any")

		close(never)
		time.Sleep(2 * time.Minute) // in the bubble
		stop()
		tallies, err = orders.Tally(t.Context(), "floor")
		require.NoError(t, err)
		assert.Zero(t, tallies[0].Held)
		assert.Zero(t, tallies[0].Counters.Allocated)
		assert.Zero(t, twice)
		assert.Empty(t, underway)
	})
}

// BeforeExpire panics about each hold twice: it stays held, the others go on,
// and it is asked about again.
func TestBeforeExpireThatPanics(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	asked := make(map[string]int)
	before := func(_ context.Context, held order.Order) booking.Expiry {
		mu.Lock()
		defer mu.Unlock()
		asked[held.ID]++
		if held.ID == "floor-7" || asked[held.ID] <= 2 {
			panic("of the test")
		}
		return booking.Expire
	}
	bubbled(t, before, func(t *testing.T, shop *booking.Service, orders order.Store) {
		stop := background(t, shop)
		time.Sleep(2 * time.Minute) // in the bubble
		stop()
		mu.Lock()
		defer mu.Unlock()
		for i := range manyHolds {
			o, err := orders.Order(t.Context(), request("floor", i).ID)
			require.NoError(t, err)
			if o.ID == "floor-7" {
				assert.Equal(t, order.Held, o.Status)
				assert.Greater(t, asked[o.ID], 3, "again and again")
				continue
			}
			assert.Equal(t, order.Expired, o.Status, o.ID)
			assert.Equal(t, 3, asked[o.ID], o.ID)
		}
	})
}
