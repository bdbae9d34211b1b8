package booking_test

import (
	"context"
	"fmt"
	"strings"
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

// passes waits until a hold's time is over by the store's clock.
func passes(t testing.TB, s stores, held order.Order) {
	t.Helper()
	eventually(t, func() error {
		c, err := s.orders.Counters(context.Background(), held.Lines[0].SKU)
		if err == nil && c[0].At.Before(held.ExpiresAt) {
			err = fmt.Errorf("it is %v, the hold ends at %v", c[0].At, held.ExpiresAt)
		}
		return err
	})
}

// expire makes a hold expire, as Run does, once its time is over.
func expire(t testing.TB, s stores, held order.Order) {
	t.Helper()
	passes(t, s, held)
	changed, _, err := s.orders.Change(context.Background(), []order.Change{{ID: held.ID, Action: order.Expire}})
	require.NoError(t, err)
	require.NoError(t, changed[0].Err)
	require.Equal(t, order.Expired, changed[0].Order.Status)
}

func kinds(kinds ...order.MovementKind) []order.MovementKind { return kinds }

// What a hold that is over had is sold to somebody else, and whoever comes late
// is told when it ended and what is left.
func TestExpiredUnitsFindABuyer(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, s stores) {
		shop, other := open(t, s), open(t, s)
		require.NoError(t, shop.PutOnSale(t.Context(), order.Item{SKU: "floor", Capacity: 3}))
		r := request("floor", 1)
		r.Lines = lines("floor", 2)
		began := time.Now()
		held, err := shop.Hold(t.Context(), r, 50*time.Millisecond)
		require.NoError(t, err)
		assert.Equal(t, order.Held, held.Status)
		assert.WithinDuration(t, began.Add(50*time.Millisecond), held.ExpiresAt, 30*time.Second)
		assert.Equal(t, 50*time.Millisecond, held.ExpiresAt.Sub(held.CreatedAt))
		assert.EqualValues(t, 2, sold(t, s, "floor"), "a hold has its units")

		// Nobody has made it expire, and yet it can't be confirmed any more.
		passes(t, s, held)
		late := func(left int64) {
			t.Helper()
			for name, call := range map[string]func() (order.Order, error){
				"Confirm": func() (order.Order, error) { return other.Confirm(t.Context(), held.ID) },
				"Extend":  func() (order.Order, error) { return other.Extend(t.Context(), held.ID, time.Hour) },
			} {
				o, err := call()
				require.ErrorIs(t, err, order.ErrHoldExpired, name)
				var expired *order.HoldExpiredError
				require.ErrorAs(t, err, &expired)
				assert.Equal(t, order.HoldExpiredError{ID: held.ID, ExpiredAt: held.ExpiresAt, Left: lines("floor", left)}, *expired, name)
				assert.Equal(t, held.ID, o.ID, name)
				assert.Equal(t, held.Lines, o.Lines, name)
			}
		}
		late(1) // what it holds is not left
		background(t, shop)
		ends(t, s, held.ID, order.Expired)
		late(3)
		again, err := shop.Hold(t.Context(), r, time.Hour)
		require.ErrorIs(t, err, order.ErrHoldExpired, "a hold that is asked for again")
		assert.Equal(t, order.Expired, again.Status)
		assert.True(t, again.ExpiresAt.Equal(held.ExpiresAt))

		r2 := request("floor", 2)
		r2.Lines = lines("floor", 3)
		_, err = book(other, r2)
		require.NoError(t, err)
		late(0)
		o, err := shop.Cancel(t.Context(), held.ID)
		require.NoError(t, err)
		assert.Equal(t, order.Cancelled, o.Status)
		_, err = shop.Reclaim(t.Context(), held.ID)
		require.ErrorIs(t, err, order.ErrCancelled, "for good")
		books(t, shop, s, "floor")
		happened := ledger(t, s, "floor")
		assert.Equal(t, kinds(order.MovedHeld, order.MovedExpired), happened[held.ID])
		assert.Equal(t, kinds(order.MovedBooked), happened[r2.ID])
	})
}

// An ID is held or booked, and never both; the time is not part of the content.
func TestHoldAndBookWithOneID(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, s stores) {
		shop, other := open(t, s), open(t, s)
		require.NoError(t, shop.PutOnSale(t.Context(), order.Item{SKU: "floor", Capacity: 2}))
		held, err := shop.Hold(t.Context(), request("floor", 1), time.Hour)
		require.NoError(t, err)
		booked, err := bookOnce(shop, request("floor", 2))
		require.NoError(t, err)
		assert.Zero(t, booked.ExpiresAt)
		for _, shop := range []*booking.Service{shop, other} { // all is sold
			again, err := shop.Hold(t.Context(), request("floor", 1), time.Minute)
			require.NoError(t, err)
			assert.Equal(t, order.Held, again.Status)
			assert.True(t, held.ExpiresAt.Equal(again.ExpiresAt), "to ask again extends nothing")
			_, err = bookOnce(shop, request("floor", 1))
			require.ErrorIs(t, err, order.ErrIdempotencyConflict)
			_, err = shop.Hold(t.Context(), request("floor", 2), time.Minute)
			require.ErrorIs(t, err, order.ErrIdempotencyConflict)
			changed := request("floor", 1)
			changed.Lines = lines("floor", 2)
			_, err = shop.Hold(t.Context(), changed, time.Hour)
			require.ErrorIs(t, err, order.ErrIdempotencyConflict)
		}
		confirmed, err := other.Confirm(t.Context(), held.ID)
		require.NoError(t, err)
		assert.Equal(t, order.Confirmed, confirmed.Status)
		again, err := shop.Hold(t.Context(), request("floor", 1), time.Hour)
		require.NoError(t, err, "what it became")
		assert.Equal(t, order.Confirmed, again.Status)
		for range 2 { // and so they stay
			for _, id := range []string{held.ID, booked.ID} {
				o, err := shop.Confirm(t.Context(), id)
				require.NoError(t, err)
				assert.Equal(t, order.Confirmed, o.Status)
				o, err = shop.Extend(t.Context(), id, time.Hour)
				require.NoError(t, err)
				assert.Equal(t, order.Confirmed, o.Status)
			}
		}
		_, err = shop.Cancel(t.Context(), held.ID)
		require.NoError(t, err)
		o, err := shop.Hold(t.Context(), request("floor", 1), time.Hour)
		require.ErrorIs(t, err, order.ErrCancelled)
		assert.Equal(t, order.Cancelled, o.Status)
		for _, id := range []string{held.ID, "never-booked"} {
			_, err = shop.Void(t.Context(), id)
			require.NoError(t, err)
			_, err = shop.Confirm(t.Context(), id)
			require.ErrorIs(t, err, order.ErrCancelled)
		}
		_, err = shop.Confirm(t.Context(), "nobody's")
		require.ErrorIs(t, err, order.ErrNotFound)
		_, err = shop.Extend(t.Context(), "nobody's", time.Hour)
		require.ErrorIs(t, err, order.ErrNotFound)
		books(t, shop, s, "floor")
		happened := ledger(t, s, "floor")
		assert.Equal(t, kinds(order.MovedHeld, order.MovedConfirmed, order.MovedCancelled), happened[held.ID])
		assert.Equal(t, kinds(order.MovedBooked), happened[booked.ID])
	})
}

// An extension never shortens a hold.
func TestExtend(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, s stores) {
		shop := open(t, s)
		require.NoError(t, shop.PutOnSale(t.Context(), order.Item{SKU: "floor", Capacity: 1000}))
		held, err := shop.Hold(t.Context(), request("floor", 1), time.Hour)
		require.NoError(t, err)
		o, err := shop.Extend(t.Context(), held.ID, time.Minute)
		require.NoError(t, err)
		assert.True(t, held.ExpiresAt.Equal(o.ExpiresAt), "sooner than before")
		o, err = shop.Extend(t.Context(), held.ID, order.MaxHold)
		require.NoError(t, err)
		assert.WithinDuration(t, held.CreatedAt.Add(order.MaxHold), o.ExpiresAt, time.Minute)

		// Run goes by the new time too.
		var short, longer order.Order
		i := 1
		eventually(t, func() error { // the machine may take longer than that for two calls
			i++
			short, err = shop.Hold(t.Context(), request("floor", i), 100*time.Millisecond)
			require.NoError(t, err)
			longer, err = shop.Extend(t.Context(), short.ID, 400*time.Millisecond)
			return err
		})
		background(t, shop)
		o = ends(t, s, short.ID, order.Expired)
		assert.True(t, o.ExpiresAt.Equal(longer.ExpiresAt))
		assert.False(t, o.ChangedAt.Before(longer.ExpiresAt), "it expired at %v, before %v", o.ChangedAt, longer.ExpiresAt)
		assert.Equal(t, order.Held, orderOf(t, s, held.ID).Status)
		books(t, shop, s, "floor")
		assert.Equal(t, kinds(order.MovedHeld, order.MovedExpired), ledger(t, s, "floor")[short.ID], "an extension moves nothing")
	})
}

// A payment that came too late books the order again, if that is possible.
func TestReclaim(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, s stores) {
		shop := open(t, s)
		hold := func(t *testing.T, sku string, ttl time.Duration) order.Order {
			t.Helper()
			held, err := shop.Hold(t.Context(), booking.Request{ID: sku + "-late", Customer: "c", Lines: lines(sku, 2)}, ttl)
			require.NoError(t, err)
			return held
		}
		for name, test := range map[string]func(*testing.T, string){
			"units left": func(t *testing.T, sku string) {
				held := hold(t, sku, time.Millisecond)
				expire(t, s, held)
				for range 2 {
					o, err := shop.Reclaim(t.Context(), held.ID)
					require.NoError(t, err)
					assert.Equal(t, order.Confirmed, o.Status)
					assert.Equal(t, held.Lines, o.Lines)
				}
				// Whoever wanted to end it before comes late.
				_, _, err := s.orders.Change(t.Context(), []order.Change{{ID: held.ID, Action: order.Expire}})
				require.NoError(t, err)
				assert.Equal(t, kinds(order.MovedHeld, order.MovedExpired, order.MovedReclaimed), ledger(t, s, sku)[held.ID])
				assert.EqualValues(t, 2, sold(t, s, sku))
				stock, err := shop.Stock(t.Context(), sku)
				require.NoError(t, err)
				assert.EqualValues(t, 1, stock.Available)
			},
			"units gone": func(t *testing.T, sku string) {
				held := hold(t, sku, time.Millisecond)
				expire(t, s, held)
				r := request(sku, 1)
				r.Lines = lines(sku, 2)
				_, err := book(shop, r)
				require.NoError(t, err)
				o, err := shop.Reclaim(t.Context(), held.ID)
				require.ErrorIs(t, err, inventory.ErrSoldOut)
				var short *inventory.StockError
				require.ErrorAs(t, err, &short)
				assert.Equal(t, inventory.StockError{SKU: sku, Requested: 2, Available: 1}, *short)
				assert.Equal(t, held.ID, o.ID)
				assert.Equal(t, order.Expired, o.Status)
				_, err = shop.Cancel(t.Context(), r.ID)
				require.NoError(t, err)
				_, err = shop.Reclaim(t.Context(), held.ID)
				require.NoError(t, err, "they came back")
			},
			"limit exceeded": func(t *testing.T, sku string) {
				require.NoError(t, shop.SetLimit(t.Context(), sku, 2))
				held := hold(t, sku, time.Millisecond)
				expire(t, s, held)
				other := booking.Request{ID: sku + "-other", Customer: "c", Lines: lines(sku, 1)}
				_, err := book(shop, other)
				require.NoError(t, err)
				o, err := shop.Reclaim(t.Context(), held.ID)
				require.ErrorIs(t, err, inventory.ErrLimitExceeded)
				var limit *inventory.LimitError
				require.ErrorAs(t, err, &limit)
				assert.Equal(t, inventory.LimitError{SKU: sku, Limit: 2, Requested: 2, Used: 1}, *limit)
				assert.Equal(t, order.Expired, o.Status)
				_, err = shop.Cancel(t.Context(), other.ID)
				require.NoError(t, err)
				_, err = shop.Reclaim(t.Context(), held.ID)
				require.NoError(t, err, "the allowance came back")
			},
			"cancelled": func(t *testing.T, sku string) {
				held := hold(t, sku, time.Hour)
				_, err := shop.Cancel(t.Context(), held.ID)
				require.NoError(t, err)
				o, err := shop.Reclaim(t.Context(), held.ID)
				require.ErrorIs(t, err, order.ErrCancelled)
				assert.Equal(t, held.ID, o.ID)
				assert.Equal(t, order.Cancelled, o.Status)
				assert.Zero(t, sold(t, s, sku))
			},
			"still held": func(t *testing.T, sku string) {
				held := hold(t, sku, time.Hour)
				o, err := shop.Reclaim(t.Context(), held.ID)
				require.NoError(t, err)
				assert.Equal(t, order.Confirmed, o.Status)
				assert.Equal(t, kinds(order.MovedHeld, order.MovedConfirmed), ledger(t, s, sku)[held.ID])
			},
			"over and still held": func(t *testing.T, sku string) {
				held := hold(t, sku, time.Millisecond)
				passes(t, s, held)
				o, err := shop.Reclaim(t.Context(), held.ID)
				require.NoError(t, err)
				assert.Equal(t, order.Confirmed, o.Status)
				assert.Equal(t, kinds(order.MovedHeld, order.MovedConfirmed), ledger(t, s, sku)[held.ID])
			},
			"unknown": func(t *testing.T, sku string) {
				_, err := shop.Reclaim(t.Context(), sku+" unknown")
				require.ErrorIs(t, err, order.ErrNotFound)
			},
		} {
			t.Run(name, func(t *testing.T) {
				require.NoError(t, shop.PutOnSale(t.Context(), order.Item{SKU: name, Capacity: 3}))
				test(t, name)
				books(t, shop, s, name)
				ledger(t, s, name)
			})
		}
	})
}

// Late payments of several customers and fresh buyers run for the last units.
func TestReclaimersAndBuyersRush(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, s stores) {
		const capacity, late, fresh = 30, 40, 40
		shops := []*booking.Service{open(t, s), open(t, s)}
		require.NoError(t, shops[0].PutOnSale(t.Context(), order.Item{SKU: "floor", Capacity: late}))
		var last order.Order
		for i := range late {
			held, err := shops[0].Hold(t.Context(), request("floor", i), time.Millisecond)
			require.NoError(t, err)
			last = held
			expire(t, s, last)
		}
		require.NoError(t, shops[0].SetCapacity(t.Context(), anAdjustment("floor", capacity)))
		var reclaimed, bought atomic.Int64
		var group sync.WaitGroup
		for i := range late + fresh {
			group.Go(func() {
				if i < late {
					_, err := shops[i%2].Reclaim(context.Background(), request("floor", i).ID)
					if err == nil {
						reclaimed.Add(1)
					} else {
						assert.ErrorIs(t, err, inventory.ErrSoldOut)
					}
					return
				}
				if _, err := book(shops[i%2], request("floor", i)); err == nil {
					bought.Add(1)
				} else {
					assert.ErrorIs(t, err, inventory.ErrSoldOut)
				}
			})
		}
		group.Wait()
		t.Logf("%d reclaimed, %d bought", reclaimed.Load(), bought.Load())
		assert.EqualValues(t, capacity, reclaimed.Load()+bought.Load())
		assert.EqualValues(t, capacity, sold(t, s, "floor"))
		background(t, shops[0])
		books(t, shops[0], s, "floor")
		ledger(t, s, "floor")
	})
}

// asked is what a payment provider knows, and how it was asked.
type asked struct {
	mu     sync.Mutex
	now    map[string]int // by order ID: how many ask at this moment
	times  map[string]int
	twice  []string
	answer func(ctx context.Context, held order.Order) booking.Expiry
}

func (a *asked) before(ctx context.Context, held order.Order) booking.Expiry {
	a.mu.Lock()
	if a.now == nil {
		a.now, a.times = make(map[string]int), make(map[string]int)
	}
	a.times[held.ID]++
	// A call that never returns is given up, and another one made after ten seconds.
	if a.now[held.ID]++; a.now[held.ID] > 1 && !strings.HasPrefix(held.ID, "deaf") {
		a.twice = append(a.twice, held.ID)
	}
	a.mu.Unlock()
	defer func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.now[held.ID]--
	}()
	return a.answer(ctx, held)
}

func (a *asked) count(id string) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.times[id]
}

// asking is a service that asks before a hold ends.
func asking(t *testing.T, s stores, grace time.Duration, before func(context.Context, order.Order) booking.Expiry) *booking.Service {
	t.Helper()
	return open(t, s, func(c *booking.Config) {
		c.CheckEvery, c.BeforeExpire, c.HoldGrace = 40*time.Millisecond, before, grace
	})
}

// Two processes ask before they end a hold: what was paid is confirmed, late as
// it is, what was not expires, and what is not known stays. Those that hang count
// as not known, and hold up the others for no longer than their time.
func TestBeforeExpire(t *testing.T) {
	t.Parallel()
	all, database := several(t, 2)
	pool := connect(t, database)
	never := make(chan struct{})
	t.Cleanup(func() { close(never) })
	var ended atomic.Int64
	provider := &asked{answer: func(ctx context.Context, held order.Order) booking.Expiry {
		switch word, _, _ := strings.Cut(held.ID, "-"); word {
		case "paid":
			return booking.ConfirmPaid
		case "unpaid":
			return booking.Expire
		case "hangs":
			<-ctx.Done()
			ended.Add(1)
			return booking.Expire // too late to be heard
		case "deaf":
			<-never
			return booking.Expire
		}
		return booking.NotYet
	}}
	shops := []*booking.Service{asking(t, all[0], 0, provider.before), asking(t, all[1], 0, provider.before)}
	const each = 10
	require.NoError(t, shops[0].PutOnSale(t.Context(), order.Item{SKU: "floor", Capacity: 1000}))
	hold := func(word string, n int) {
		for i := range n {
			held, err := shops[0].Hold(t.Context(), booking.Request{ID: fmt.Sprint(word, "-", i), Customer: "c", Lines: lines("floor", 1)}, time.Millisecond)
			require.NoError(t, err)
			passes(t, all[0], held)
		}
	}
	hold("hangs", 2)
	hold("deaf", 2)
	hold("unknown", each)
	for _, shop := range shops {
		background(t, shop)
	}
	eventually(t, func() error { // both may be stuck with the first ones now
		if provider.count("hangs-0") == 0 || provider.count("deaf-0") == 0 {
			return fmt.Errorf("nobody has asked")
		}
		return nil
	})
	hold("paid", each)
	hold("unpaid", each)
	for i := range each {
		ends(t, all[0], fmt.Sprint("paid-", i), order.Confirmed)
		ends(t, all[0], fmt.Sprint("unpaid-", i), order.Expired)
	}
	// What is not known is asked for again: the wait for it is cut short here.
	eventually(t, func() error {
		if n := provider.count("unknown-0"); n < 3 {
			_, err := pool.Exec(t.Context(), "update lastunit.orders set due_at = clock_timestamp() where id like 'unknown-%' and due_at > clock_timestamp() + interval '5 seconds'")
			require.NoError(t, err)
			return fmt.Errorf("asked %d times", n)
		}
		return nil
	})
	eventually(t, func() error {
		if ended.Load() < 2 {
			return fmt.Errorf("%d of those that hang were told that it is over", ended.Load())
		}
		return nil
	})
	for id, o := range allOrders(t, all[0]) {
		switch word, _, _ := strings.Cut(id, "-"); word {
		case "hangs", "deaf", "unknown":
			assert.Equal(t, order.Held, o.Status, id)
		}
	}
	assert.EqualValues(t, each+each+4, sold(t, all[0], "floor"))
	provider.mu.Lock()
	assert.Empty(t, provider.twice, "holds that two processes asked about at once")
	provider.mu.Unlock()
	happened := ledger(t, all[0], "floor")
	assert.Equal(t, kinds(order.MovedHeld, order.MovedConfirmed), happened["paid-0"])
	assert.Equal(t, kinds(order.MovedHeld, order.MovedExpired), happened["unpaid-0"])
	assert.Equal(t, kinds(order.MovedHeld), happened["unknown-0"])
	books(t, shops[0], all[0], "floor")
}

// changes are orders that tell when a hold was asked to end.
type changes struct {
	order.Store
	asked atomic.Int64
}

func (c *changes) Change(ctx context.Context, all []order.Change) ([]order.Changed, []order.Counters, error) {
	changed, counters, err := c.Store.Change(ctx, all)
	for _, one := range all {
		if one.Action == order.Expire {
			c.asked.Add(1)
		}
	}
	return changed, counters, err
}

// While nobody knows whether it was paid, a hold stays.
func TestNotYetKeepsTheHold(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, s stores) {
		watched := &changes{Store: s.orders}
		s.orders = watched
		provider := &asked{answer: func(context.Context, order.Order) booking.Expiry { return booking.NotYet }}
		shop := asking(t, s, time.Hour, provider.before)
		require.NoError(t, shop.PutOnSale(t.Context(), order.Item{SKU: "floor", Capacity: 1}))
		held, err := shop.Hold(t.Context(), request("floor", 1), time.Millisecond)
		require.NoError(t, err)
		background(t, shop)
		eventually(t, func() error {
			if watched.asked.Load() == 0 {
				return fmt.Errorf("nobody looked at the hold")
			}
			return nil
		})
		assert.Positive(t, provider.count(held.ID))
		assert.Equal(t, order.Held, orderOf(t, s, held.ID).Status)
		_, err = bookOnce(shop, request("floor", 2))
		require.ErrorIs(t, err, inventory.ErrSoldOut)
		books(t, shop, s, "floor")
	})
}

// A hold about which nobody ever knows ends after the grace, and not before.
func TestHoldGrace(t *testing.T) {
	t.Parallel()
	const grace = 700 * time.Millisecond
	all, database := several(t, 1)
	s, pool := all[0], connect(t, database)
	provider := &asked{answer: func(context.Context, order.Order) booking.Expiry { return booking.NotYet }}
	shop := asking(t, s, grace, provider.before)
	require.NoError(t, shop.PutOnSale(t.Context(), order.Item{SKU: "floor", Capacity: 1}))
	held, err := shop.Hold(t.Context(), request("floor", 1), time.Millisecond)
	require.NoError(t, err)
	background(t, shop)
	var ended order.Order
	eventually(t, func() error {
		// The wait between two questions is cut short here.
		_, err := pool.Exec(t.Context(), "update lastunit.orders set due_at = clock_timestamp() where due_at > clock_timestamp()")
		require.NoError(t, err)
		if ended = orderOf(t, s, held.ID); ended.Status != order.Expired {
			return fmt.Errorf("it is %s", ended.Status)
		}
		return nil
	})
	assert.GreaterOrEqual(t, ended.ChangedAt.Sub(held.ExpiresAt), grace)
	assert.Positive(t, provider.count(held.ID))
	_, err = book(shop, request("floor", 2))
	require.NoError(t, err, "its unit is for sale")
	books(t, shop, s, "floor")
}

// Times and terms out of bounds are refused, and nothing is changed.
func TestBadHoldsAndTerms(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, s stores) {
		shop := open(t, s)
		require.NoError(t, shop.PutOnSale(t.Context(), order.Item{SKU: "floor", Capacity: 5}))
		held, err := shop.Hold(t.Context(), request("floor", 1), time.Hour)
		require.NoError(t, err)
		exact(t, shop)
		before, err := s.orders.Counters(t.Context(), "floor")
		require.NoError(t, err)
		for _, ttl := range []time.Duration{0, -1, -time.Hour, 999 * time.Microsecond, order.MaxHold + 1} {
			_, err := shop.Hold(t.Context(), request("floor", 2), ttl)
			requireInvalid(t, "ttl", err)
			_, err = shop.Extend(t.Context(), held.ID, ttl)
			requireInvalid(t, "ttl", err)
		}
		now := time.Now()
		requireInvalid(t, "closes_at", shop.SetWindow(t.Context(), "floor", now, now))
		requireInvalid(t, "closes_at", shop.SetWindow(t.Context(), "floor", now, now.Add(-time.Second)))
		requireInvalid(t, "opens_at", shop.SetWindow(t.Context(), "floor", time.Unix(-1, 0), time.Time{}))
		requireInvalid(t, "closes_at", shop.PutOnSale(t.Context(), order.Item{SKU: "new", Capacity: 1, OpensAt: now, ClosesAt: now.Add(-1)}))
		for _, limit := range []int64{-1, -2, inventory.MaxQuantity + 1} {
			require.ErrorIs(t, shop.SetLimit(t.Context(), "floor", limit), inventory.ErrInvalid, limit)
		}
		requireInvalid(t, "customer_limit", shop.PutOnSale(t.Context(), order.Item{SKU: "new", Capacity: 1, CustomerLimit: -1}))
		requireInvalid(t, "customer_limit", shop.PutOnSale(t.Context(), order.Item{SKU: "new", Capacity: 1, CustomerLimit: inventory.MaxQuantity + 1}))

		// Pools that are not there, or form a circle.
		draw := func(sku string, pools ...string) order.Item {
			item := order.Item{SKU: sku, Capacity: 1}
			for _, pool := range pools {
				item.Draws = append(item.Draws, order.Line{SKU: pool, Quantity: 1})
			}
			return item
		}
		require.ErrorIs(t, shop.PutOnSale(t.Context(), draw("new", "nowhere")), order.ErrUnknownSKU)
		requireInvalid(t, "draws", shop.PutOnSale(t.Context(), draw("new", "new")))
		requireInvalid(t, "draws", shop.PutOnSale(t.Context(), draw("new", "newer"), draw("newer", "newest"), draw("newest", "new")))
		for _, sku := range []string{"new", "newer", "newest"} {
			_, err := shop.Stock(t.Context(), sku)
			require.ErrorIs(t, err, order.ErrUnknownSKU, sku)
		}
		for _, call := range []func(context.Context, string) error{
			shop.Pause, shop.Resume,
			func(ctx context.Context, sku string) error { return shop.SetLimit(ctx, sku, 1) },
			func(ctx context.Context, sku string) error { return shop.SetWindow(ctx, sku, now, time.Time{}) },
		} {
			require.ErrorIs(t, call(t.Context(), "nowhere"), order.ErrUnknownSKU)
			require.ErrorIs(t, call(t.Context(), ""), inventory.ErrInvalid)
		}

		after, err := s.orders.Counters(t.Context(), "floor")
		require.NoError(t, err)
		after[0].At = before[0].At
		assert.Equal(t, before, after, "nothing was changed")
		assert.True(t, held.ExpiresAt.Equal(orderOf(t, s, held.ID).ExpiresAt))
		_, err = shop.Order(t.Context(), request("floor", 2).ID)
		require.ErrorIs(t, err, order.ErrNotFound)
		books(t, shop, s, "floor")
	})
}
