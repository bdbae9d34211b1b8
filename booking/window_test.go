package booking_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/booking"
	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

// clockOf is the store's clock, which decides.
func clockOf(t testing.TB, s stores, sku string) time.Time {
	t.Helper()
	c, err := s.orders.Counters(context.Background(), sku)
	require.NoError(t, err)
	require.Len(t, c, 1)
	return c[0].At
}

// isShut requires a refusal by the window, with its times.
func isShut(t *testing.T, err, why error, opensAt, closesAt time.Time) {
	t.Helper()
	require.ErrorIs(t, err, why)
	var window *inventory.WindowError
	require.ErrorAs(t, err, &window)
	assert.Equal(t, "floor", window.SKU)
	assert.True(t, window.OpensAt.Equal(opensAt.Truncate(time.Microsecond)), "%v %v", window.OpensAt, opensAt)
	assert.True(t, window.ClosesAt.Equal(closesAt.Truncate(time.Microsecond)), "%v %v", window.ClosesAt, closesAt)
}

// A sale begins when it is told to, in all processes, and ends so.
func TestWindowIsSet(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, s stores) {
		shop, other := open(t, s), open(t, s)
		now := clockBefore(t, s, shop)
		opensAt, closesAt := now.Add(time.Hour), now.Add(2*time.Hour)
		require.NoError(t, shop.PutOnSale(t.Context(), order.Item{SKU: "floor", Capacity: 10, OpensAt: opensAt, ClosesAt: closesAt}))
		for i, shop := range []*booking.Service{shop, other} {
			_, err := shop.Book(t.Context(), request("floor", i))
			isShut(t, err, inventory.ErrNotOpen, opensAt, closesAt)
			_, err = shop.Hold(t.Context(), request("floor", i), time.Hour)
			isShut(t, err, inventory.ErrNotOpen, opensAt, closesAt)
		}
		stock, err := shop.Stock(t.Context(), "floor")
		require.NoError(t, err)
		assert.EqualValues(t, 10, stock.Available, "what there would be")
		assert.True(t, stock.OpensAt.Equal(opensAt.Truncate(time.Microsecond)))

		require.NoError(t, shop.SetWindow(t.Context(), "floor", now.Add(-time.Hour), closesAt))
		booked, err := bookOnce(other, request("floor", 0))
		require.NoError(t, err, "it is open")
		held, err := other.Hold(t.Context(), request("floor", 1), time.Hour)
		require.NoError(t, err)
		late, err := shop.Hold(t.Context(), request("floor", 2), time.Millisecond)
		require.NoError(t, err)
		expire(t, s, late)

		require.NoError(t, shop.SetWindow(t.Context(), "floor", time.Time{}, now))
		for _, shop := range []*booking.Service{shop, other} {
			_, err = shop.Book(t.Context(), request("floor", 5))
			isShut(t, err, inventory.ErrClosed, time.Time{}, now)
			again, err := bookOnce(shop, request("floor", 0))
			require.NoError(t, err, "a second click gets its order")
			assert.Equal(t, booked.ID, again.ID)
			again, err = shop.Hold(t.Context(), request("floor", 1), time.Hour)
			require.NoError(t, err)
			assert.Equal(t, held.ID, again.ID)
		}
		_, err = other.Extend(t.Context(), held.ID, 2*time.Hour)
		require.NoError(t, err)
		_, err = other.Confirm(t.Context(), held.ID)
		require.NoError(t, err, "what is held can be confirmed")
		o, err := other.Reclaim(t.Context(), late.ID)
		require.NoError(t, err, "and what was, reclaimed")
		assert.Equal(t, order.Confirmed, o.Status)

		require.NoError(t, other.SetWindow(t.Context(), "floor", time.Time{}, time.Time{}))
		_, err = bookOnce(shop, request("floor", 5))
		require.NoError(t, err, "without a window it is open")
		assert.EqualValues(t, 4, sold(t, s, "floor"))
		books(t, shop, s, "floor")
		ledger(t, s, "floor")
	})
}

// clockBefore is the store's clock where nothing is on sale yet.
func clockBefore(t testing.TB, s stores, shop *booking.Service) time.Time {
	t.Helper()
	require.NoError(t, shop.PutOnSale(context.Background(), order.Item{SKU: "clock", Capacity: 0}))
	return clockOf(t, s, "clock")
}

// Times that neither server keeps to the nanosecond are no difference, and terms that
// somebody wrote into Redis are one.
func TestTermsDiffer(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, s stores) {
		shop := open(t, s)
		opens := time.Now().Truncate(time.Millisecond).Add(-time.Hour - 1)
		closes := opens.Add(2*time.Hour + 2) // a nanosecond past a millisecond
		require.NoError(t, shop.PutOnSale(t.Context(), order.Item{SKU: "floor", Capacity: 5, CustomerLimit: 2, OpensAt: opens, ClosesAt: closes}))
		exact(t, shop)
		require.NoError(t, shop.SetWindow(t.Context(), "floor", opens.Add(1), closes.Add(time.Millisecond)))
		exact(t, shop)
		for field, value := range map[string]any{
			"customer_limit": 1, "paused": 1, "opens_at": 5, "closes_at": time.Now().Add(2 * time.Hour).UnixMilli(),
		} {
			require.NoError(t, s.client.HSet(t.Context(), s.prefix+":{floor}:stock", field, value).Err())
			differences, err := shop.ReconcileAll(t.Context(), booking.Repair)
			require.NoError(t, err)
			require.Len(t, differences, 1, field)
			assert.Equal(t, booking.KindTerms, differences[0].Kind, field)
			exact(t, shop)
		}
		_, err := bookOnce(shop, request("floor", 1))
		require.NoError(t, err)
	})
}

// The doors open and close by the clock alone: whoever keeps asking gets in, and
// nobody a moment too soon or too late.
func TestWindowByTheClock(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, s stores) {
		const buyers = 20
		shops := []*booking.Service{open(t, s), open(t, s)}
		now := clockBefore(t, s, shops[0])
		require.NoError(t, shops[0].PutOnSale(t.Context(), order.Item{SKU: "floor", Capacity: 1_000_000, OpensAt: now.Add(time.Hour)}))
		var group sync.WaitGroup
		var mu sync.Mutex
		var booked []order.Order
		var early atomic.Int64
		in := make(chan struct{}, buyers)
		for b := range buyers {
			group.Go(func() {
				first := true
				for i := 0; ; i++ {
					o, err := book(shops[b%2], request("floor", b*1_000_000+i))
					mu.Lock()
					switch {
					case err == nil:
						booked = append(booked, o)
						if first {
							first = false
							in <- struct{}{}
						}
					case errors.Is(err, inventory.ErrNotOpen):
						early.Add(1)
						assert.True(t, first, "not open, after it was open")
					default:
						assert.ErrorIs(t, err, inventory.ErrClosed)
						mu.Unlock()
						return
					}
					mu.Unlock()
				}
			})
		}
		eventually(t, func() error {
			if n := early.Load(); n < buyers {
				return fmt.Errorf("%d came too early", n)
			}
			return nil
		})
		opensAt := clockOf(t, s, "floor").Add(100 * time.Millisecond).Truncate(time.Microsecond)
		require.NoError(t, shops[1].SetWindow(t.Context(), "floor", opensAt, time.Time{}))
		for range buyers {
			<-in
		}
		closesAt := clockOf(t, s, "floor").Add(100 * time.Millisecond).Truncate(time.Microsecond)
		require.NoError(t, shops[1].SetWindow(t.Context(), "floor", opensAt, closesAt))
		// On a slow machine it was not before now that anybody knew.
		if known := clockOf(t, s, "floor"); known.After(closesAt) {
			closesAt = known
		}
		group.Wait()
		t.Logf("%d came too early, %d booked", early.Load(), len(booked))
		for _, o := range booked {
			assert.False(t, o.CreatedAt.Before(opensAt), "booked at %v, opened at %v", o.CreatedAt, opensAt)
			assert.True(t, o.CreatedAt.Before(closesAt), "booked at %v, closed at %v", o.CreatedAt, closesAt)
		}
		assert.EqualValues(t, len(booked), sold(t, s, "floor"))
		background(t, shops[0])
		books(t, shops[0], s, "floor")
	})
}

// A pause stops the sale at once: when it returns, nothing more is committed. It
// goes on where it stopped.
func TestPause(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, s stores) {
		shop, other := open(t, s), open(t, s)
		require.NoError(t, shop.PutOnSale(t.Context(), order.Item{SKU: "floor", Capacity: 1_000_000}))
		held, err := shop.Hold(t.Context(), request("floor", 1), time.Hour)
		require.NoError(t, err)
		late, err := shop.Hold(t.Context(), request("floor", 2), time.Millisecond)
		require.NoError(t, err)
		expire(t, s, late)
		throng := gather(t, "floor", 10, []error{inventory.ErrPaused}, shop, other)
		throng.buys(t, 50)
		require.NoError(t, other.Pause(t.Context(), "floor"))
		then := sold(t, s, "floor")
		throng.hears(t, 40)
		assert.Equal(t, then, sold(t, s, "floor"), "nothing was sold since")
		_, err = shop.Book(t.Context(), request("floor", 3))
		isShut(t, err, inventory.ErrPaused, time.Time{}, time.Time{})
		o, err := other.Hold(t.Context(), request("floor", 1), time.Hour)
		require.NoError(t, err, "a second click gets its order")
		assert.Equal(t, held.ID, o.ID)
		_, err = other.Confirm(t.Context(), held.ID)
		require.NoError(t, err)
		_, err = other.Reclaim(t.Context(), late.ID)
		require.NoError(t, err)
		stock, err := other.Stock(t.Context(), "floor")
		require.NoError(t, err)
		assert.True(t, stock.Paused)
		before := throng.bought.Load()
		require.NoError(t, shop.Resume(t.Context(), "floor"))
		throng.buys(t, before+20)
		throng.leaves(t, s)
		assert.Equal(t, throng.bought.Load()+2, sold(t, s, "floor"))
		background(t, shop)
		books(t, shop, s, "floor")
	})
}

// wrongClock is a Redis that takes a sale for not open yet, until Postgres says
// that it is.
type wrongClock struct {
	inventory.InventoryRepository
	why error
}

func (w *wrongClock) Deduct(ctx context.Context, r inventory.Request) (inventory.Deduction, error) {
	if !r.Cleared {
		stocks, err := w.Stock(ctx, r.SKU)
		if err != nil {
			return inventory.Deduction{}, err
		}
		return inventory.Deduction{}, &inventory.WindowError{SKU: r.SKU, Err: w.why, Epoch: stocks[0].Epoch, Version: stocks[0].Version}
	}
	return w.InventoryRepository.Deduct(ctx, r)
}

// rashClock is a Redis that takes every sale for open.
type rashClock struct{ inventory.InventoryRepository }

func (w *rashClock) Deduct(ctx context.Context, r inventory.Request) (inventory.Deduction, error) {
	r.Cleared = true
	return w.InventoryRepository.Deduct(ctx, r)
}

// Redis's clock is wrong, either way: only Postgres's counts.
func TestRedisClockDoesNotCount(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, s stores) {
		honest := s.inventory
		shop := open(t, s)
		now := clockBefore(t, s, shop)
		for name, why := range map[string]error{"slow": inventory.ErrNotOpen, "fast": inventory.ErrClosed} {
			require.NoError(t, shop.PutOnSale(t.Context(), order.Item{
				SKU: name, Capacity: 20, OpensAt: now.Add(-time.Hour), ClosesAt: now.Add(time.Hour), CustomerLimit: 1,
			}, order.Item{SKU: name + "-paused", Capacity: 1, OpensAt: now.Add(-time.Hour), ClosesAt: now.Add(time.Hour)}))
			s.inventory = &wrongClock{honest, why}
			wrong := []*booking.Service{open(t, s), open(t, s)}
			var group sync.WaitGroup
			for i := range 30 {
				group.Go(func() {
					var err error
					for again := true; again; again = errors.Is(err, inventory.ErrTryAgain) {
						_, err = wrong[i%2].Book(context.Background(), request(name, i))
						time.Sleep(betweenTries)
					}
					if err != nil {
						assert.ErrorIs(t, err, inventory.ErrSoldOut)
					}
				})
			}
			group.Wait()
			assert.EqualValues(t, 20, sold(t, s, name), name)
			// What Postgres refuses is still refused.
			require.NoError(t, wrong[0].Pause(t.Context(), name+"-paused"))
			_, err := bookOnce(wrong[1], request(name+"-paused", 99))
			require.ErrorIs(t, err, inventory.ErrPaused)
		}

		require.NoError(t, shop.PutOnSale(t.Context(), order.Item{SKU: "floor", Capacity: 20, OpensAt: now.Add(time.Hour)}))
		s.inventory = &rashClock{honest}
		rash := open(t, s)
		for i := range 5 {
			_, err := rash.Book(t.Context(), request("floor", i))
			isShut(t, err, inventory.ErrNotOpen, now.Add(time.Hour), time.Time{})
		}
		require.NoError(t, shop.SetWindow(t.Context(), "floor", time.Time{}, now))
		_, err := rash.Book(t.Context(), request("floor", 5))
		isShut(t, err, inventory.ErrClosed, time.Time{}, now)
		stocks, err := honest.Stock(t.Context(), "floor")
		require.NoError(t, err)
		if stocks[0].Taken != 0 || stocks[0].Unsettled != 0 {
			assert.Fail(t, fmt.Sprintf("units were left behind: %+v", stocks[0]))
		}
		books(t, shop, s, "fast", "floor", "slow")
	})
}
