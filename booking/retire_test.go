package booking_test

import (
	"context"
	"errors"
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

// isRetired checks an error about a SKU that was retired.
func isRetired(t testing.TB, err error, sku string) {
	t.Helper()
	require.ErrorIs(t, err, order.ErrRetired)
	require.ErrorIs(t, err, inventory.ErrClosed)
	require.NotErrorIs(t, err, order.ErrOutcomeUnknown)
	var of *order.SKUError
	require.ErrorAs(t, err, &of)
	require.Equal(t, sku, of.SKU)
}

// keyGone waits until Redis has nothing of the test.
func keyGone(t testing.TB, s stores) {
	t.Helper()
	eventually(t, func() error {
		keys, err := s.client.Keys(context.Background(), s.prefix+":*:stock").Result()
		if err == nil && len(keys) > 0 {
			err = fmt.Errorf("Redis has %v", keys)
		}
		return err
	})
}

// A sale goes on in two processes while its SKU is retired: what was sold before stays,
// nothing is sold after it, everybody hears what became of their order, and nothing is
// left in Redis.
func TestRetireUnderLoad(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, s stores) {
		shops := []*booking.Service{open(t, s), open(t, s)}
		require.NoError(t, shops[0].PutOnSale(t.Context(), order.Item{SKU: "floor", Capacity: 1_000_000}))
		for _, shop := range shops {
			background(t, shop)
		}
		var sold, late atomic.Int64
		var done atomic.Bool // Retire has returned
		enough := make(chan struct{})
		var once sync.Once
		var buyers sync.WaitGroup
		for b := range 8 {
			buyers.Go(func() {
				ctx, shop := context.Background(), shops[b%2]
				for i := 0; ; i++ {
					r := booking.Request{ID: fmt.Sprint(b, "-", i), Customer: "c", Lines: lines("floor", 1)}
					after := done.Load()
					var o order.Order
					var err error
					switch i % 3 {
					case 0:
						o, err = shop.Book(ctx, r)
					case 1:
						o, err = shop.Hold(ctx, r, time.Hour)
					default:
						var receipt booking.Receipt
						if receipt, err = shop.Accept(ctx, r); err == nil {
							o, err = receipt.Wait(ctx)
						}
					}
					switch {
					case err == nil && after:
						late.Add(1)
					case err == nil:
						if i%7 == 0 {
							_, err = shop.Cancel(ctx, o.ID)
							assert.NoError(t, err)
						}
						if sold.Add(1) == 100 {
							once.Do(func() { close(enough) })
						}
					case errors.Is(err, order.ErrRetired):
						return
					case errors.Is(err, inventory.ErrTryAgain), errors.Is(err, order.ErrOutcomeUnknown): // by a slow machine
					default:
						assert.NoError(t, err)
						return
					}
				}
			})
		}
		<-enough
		require.NoError(t, shops[1].Retire(t.Context(), "floor"))
		done.Store(true)
		buyers.Wait()
		assert.Zero(t, late.Load(), "nothing is sold any more")
		keyGone(t, s)
		exact(t, shops[0])

		stock, err := shops[0].Stock(t.Context(), "floor")
		require.NoError(t, err)
		assert.False(t, stock.RetiredAt.IsZero())
		assert.Zero(t, stock.Available)
		before := stock.Allocated
		assert.Positive(t, before)
		again, err := shops[0].Book(t.Context(), booking.Request{ID: "0-0", Customer: "c", Lines: lines("floor", 1)})
		if !errors.Is(err, order.ErrCancelled) {
			require.NoError(t, err, "what was sold is found")
			assert.Equal(t, "0-0", again.ID)
		}
		_, err = shops[1].Confirm(t.Context(), "0-1")
		require.NoError(t, err)
		_, err = shops[0].Cancel(t.Context(), "0-1")
		require.NoError(t, err)
		stock, err = shops[0].Stock(t.Context(), "floor")
		require.NoError(t, err)
		assert.Equal(t, before-1, stock.Allocated)

		_, err = book(shops[0], booking.Request{ID: "new", Customer: "c", Lines: lines("floor", 1)})
		isRetired(t, err, "floor")
		isRetired(t, shops[0].PutOnSale(t.Context(), order.Item{SKU: "floor", Capacity: 1_000_000}), "floor")
		isRetired(t, shops[0].Resume(t.Context(), "floor"), "floor")
		isRetired(t, shops[0].Rebuild(t.Context(), "floor"), "floor")
		require.NoError(t, shops[0].Retire(t.Context(), "floor"), "once more")
		require.ErrorIs(t, shops[0].Retire(t.Context(), "none"), order.ErrUnknownSKU)
		keyGone(t, s)
		exact(t, shops[1])
	})
}

// A process that retires a SKU dies half-way: whoever runs removes what is in Redis, once
// the accepted order there is refused and its caller could be told. So it is with a load
// that comes late.
func TestRetiredHalfWay(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, s stores) {
		ctx := t.Context()
		other := open(t, s)
		require.NoError(t, other.PutOnSale(ctx, order.Item{SKU: "floor", Capacity: 10}, order.Item{SKU: "on", Capacity: 10}))
		c, err := s.orders.Counters(ctx, "floor")
		require.NoError(t, err)
		deduct := func(id string) inventory.Deduction {
			d, err := s.inventory.Deduct(ctx, inventory.Request{SKU: "floor", Store: c[0].Store, Attempt: "of " + id, OrderID: id, Customer: "c", Quantity: 1})
			require.NoError(t, err)
			return d
		}
		deduct("left behind")
		accepted := deduct("accepted")
		_, err = s.inventory.Accept(ctx, `{"id":"accepted","customer":"c","lines":[{"sku":"floor","quantity":1}]}`, accepted)
		require.NoError(t, err)
		_, err = s.orders.Retire(ctx, "floor") // and no more
		require.NoError(t, err)
		differences, err := other.Reconcile(ctx, booking.DryRun, "floor")
		require.NoError(t, err)
		require.Equal(t, booking.KindRetired, differences[0].Kind)

		told := make(chan error, 10)
		shop, err := booking.New(booking.Config{
			Inventory: s.inventory, Orders: s.orders, Logger: quiet, SweepAfter: sweepAfter, CheckEvery: 50 * time.Millisecond,
			OnRefused: func(_ context.Context, refused order.Order, why error) {
				assert.Equal(t, "accepted", refused.ID)
				told <- why
			},
		})
		require.NoError(t, err)
		background(t, shop)
		require.ErrorIs(t, <-told, order.ErrRetired)
		gone := func() {
			t.Helper()
			eventually(t, func() error {
				stocks, err := s.inventory.Stock(ctx, "floor", "on")
				if err == nil && (stocks[0].Why != inventory.WhyMissing || stocks[1].Why != "") {
					err = fmt.Errorf("Redis has %+v", stocks)
				}
				return err
			})
		}
		gone()
		require.NoError(t, s.inventory.Load(ctx, c[0].Supply()), "it was sent before")
		gone()
		exact(t, shop)
		_, err = shop.Book(ctx, booking.Request{ID: "accepted", Customer: "c", Lines: lines("floor", 1)})
		require.ErrorIs(t, err, order.ErrRefused)
		require.ErrorIs(t, err, order.ErrRetired)
	})
}

// A retired SKU costs nothing in the background, once no load of it can be on its way.
func TestRetiredCostsNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		s := stores{inventory: inventory.NewMemory(), orders: order.NewMemory()}
		shop := open(t, s)
		require.NoError(t, shop.PutOnSale(ctx, order.Item{SKU: "floor", Capacity: 10}, order.Item{SKU: "on", Capacity: 10}))
		stop := background(t, shop)
		require.NoError(t, shop.Retire(ctx, "floor"))
		time.Sleep(2 * time.Minute)
		page, err := s.orders.Scan(ctx, order.AllPartitions, "", 10)
		require.NoError(t, err)
		require.Len(t, page, 1)
		assert.Equal(t, "on", page[0].SKU)
		_, err = shop.Book(ctx, booking.Request{ID: "1", Customer: "c", Lines: lines("floor", 1)})
		isRetired(t, err, "floor")
		_, err = shop.Accept(ctx, booking.Request{ID: "1", Customer: "c", Lines: []order.Line{{SKU: "on", Quantity: 1}, {SKU: "floor", Quantity: 1}}})
		isRetired(t, err, "floor")
		exact(t, shop)
		stop()

		// Postgres alone.
		alone, err := booking.New(booking.Config{Orders: s.orders, Logger: quiet})
		require.NoError(t, err)
		require.NoError(t, alone.Retire(ctx, "on"))
		_, err = alone.Book(ctx, booking.Request{ID: "1", Customer: "c", Lines: lines("on", 1)})
		isRetired(t, err, "on")
	})
}
