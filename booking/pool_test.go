package booking_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
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

// Early birds and regular guests share a hall: together never more than fit, and
// exactly so many while somebody asks.
func TestPoolUnderLoad(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, s stores) {
		const hall, early, buyers = 120, 100, 300
		shops := []*booking.Service{open(t, s), open(t, s)}
		background(t, shops[0])
		require.NoError(t, shops[0].PutOnSale(t.Context(), order.Item{SKU: "hall", Capacity: hall}))
		require.NoError(t, shops[0].PutOnSale(t.Context(),
			order.Item{SKU: "early", Capacity: early, Draws: lines("hall", 1)},
			order.Item{SKU: "regular", Capacity: hall, Draws: lines("hall", 1)}))
		var booked [2]atomic.Int64
		var over atomic.Int64
		next := make(chan int)
		var group sync.WaitGroup
		for range 30 {
			group.Go(func() {
				for i := range next {
					// Two of three want the early ticket; one in seven wants two at once.
					which, quantity := min(i%3, 1), int64(1)
					if i%7 == 0 {
						quantity = 2
					}
					sku := [...]string{"early", "regular"}[which]
					r := booking.Request{ID: fmt.Sprint("guest-", i), Customer: fmt.Sprint(i), Lines: lines(sku, quantity)}
					o, err := book(shops[i/7%2], r)
					if err != nil {
						assert.ErrorIs(t, err, inventory.ErrSoldOut)
						continue
					}
					assert.Equal(t, lines("hall", quantity), o.Draws)
					booked[which].Add(quantity)
					if c, err := s.orders.Counters(context.Background(), "hall"); err == nil && c[0].Allocated > hall {
						over.Add(1)
					}
				}
			})
		}
		for i := range buyers {
			next <- i
		}
		close(next)
		group.Wait()
		for i := range 2 { // whoever wanted two left one behind, maybe
			r := booking.Request{ID: fmt.Sprint("last-", i), Customer: "last", Lines: lines("regular", 1)}
			if _, err := book(shops[i%2], r); err == nil {
				booked[1].Add(1)
			}
		}
		t.Logf("%d early, %d regular", booked[0].Load(), booked[1].Load())
		assert.Zero(t, over.Load())
		assert.EqualValues(t, hall, booked[0].Load()+booked[1].Load())
		assert.LessOrEqual(t, booked[0].Load(), int64(early))
		assert.EqualValues(t, hall, sold(t, s, "hall"))
		assert.Equal(t, booked[0].Load(), sold(t, s, "early"))
		assert.Equal(t, booked[1].Load(), sold(t, s, "regular"))
		_, err := book(shops[0], request("regular", 999))
		var short *inventory.StockError
		require.ErrorAs(t, err, &short)
		require.ErrorIs(t, err, inventory.ErrSoldOut)
		assert.Equal(t, "hall", short.SKU)
		assert.Zero(t, short.Available)
		books(t, shops[0], s, "early", "hall", "regular")
		for _, sku := range []string{"early", "hall", "regular"} {
			ledger(t, s, sku)
		}
	})
}

// available requires what can be had of SKUs, once nothing is in flight.
func available(t *testing.T, shop *booking.Service, want map[string]int64) {
	t.Helper()
	for sku, units := range want {
		var stock booking.Stock
		eventually(t, func() (err error) {
			if stock, err = shop.Stock(context.Background(), sku); err == nil && stock.InFlight != 0 {
				err = fmt.Errorf("%+v is in flight", stock)
			}
			return err
		})
		require.Equal(t, units, stock.Available, "%+v", stock)
	}
}

// A bundle takes of two pools, of both or of none, and gives back to both.
func TestBundle(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, s stores) {
		shop, other := open(t, s), open(t, s)
		require.NoError(t, shop.PutOnSale(t.Context(),
			order.Item{SKU: "bundle", Capacity: 50, Draws: []order.Line{{SKU: "table", Quantity: 1}, {SKU: "chair", Quantity: 2}}},
			order.Item{SKU: "chair", Capacity: 7}, order.Item{SKU: "table", Capacity: 10}))
		available(t, shop, map[string]int64{"bundle": 3, "chair": 7, "table": 10})
		r := booking.Request{ID: "two", Customer: "c", Lines: lines("bundle", 2)}
		o, err := bookOnce(shop, r)
		require.NoError(t, err)
		assert.Equal(t, lines("bundle", 2), o.Lines)
		assert.Equal(t, []order.Line{{SKU: "chair", Quantity: 4}, {SKU: "table", Quantity: 2}}, o.Draws)
		again, err := bookOnce(other, r)
		require.NoError(t, err)
		assert.Equal(t, o.Draws, again.Draws)
		available(t, other, map[string]int64{"bundle": 1, "chair": 3, "table": 8})

		short := func(shop *booking.Service, id string, wanted []order.Line, sku string, requested, left int64) {
			t.Helper()
			_, err := book(shop, booking.Request{ID: id, Customer: "c", Lines: wanted})
			require.ErrorIs(t, err, inventory.ErrSoldOut)
			var short *inventory.StockError
			require.ErrorAs(t, err, &short)
			assert.Equal(t, sku, short.SKU)
			assert.Equal(t, requested, short.Requested)
			assert.Equal(t, left, short.Available)
		}
		for i, shop := range []*booking.Service{shop, other} {
			short(shop, fmt.Sprint("short-", i), lines("bundle", 2), "chair", 4, 3)
			// With a line of the pool's own: what it takes there is summed.
			short(shop, fmt.Sprint("sum-", i), []order.Line{{SKU: "bundle", Quantity: 1}, {SKU: "chair", Quantity: 2}}, "chair", 4, 3)
		}
		// Nothing was stranded, in any of them.
		available(t, shop, map[string]int64{"bundle": 1, "chair": 3, "table": 8})
		exact(t, shop)
		mixed, err := book(other, booking.Request{ID: "mixed", Customer: "c", Lines: []order.Line{{SKU: "bundle", Quantity: 1}, {SKU: "chair", Quantity: 1}}})
		require.NoError(t, err)
		assert.Equal(t, []order.Line{{SKU: "bundle", Quantity: 1}, {SKU: "chair", Quantity: 3}, {SKU: "table", Quantity: 1}}, mixed.Units())
		available(t, shop, map[string]int64{"bundle": 0, "chair": 0, "table": 7})
		short(shop, "none", lines("bundle", 1), "chair", 2, 0)

		_, err = shop.Cancel(t.Context(), "two")
		require.NoError(t, err)
		available(t, shop, map[string]int64{"bundle": 2, "chair": 4, "table": 9})
		held, err := shop.Hold(t.Context(), booking.Request{ID: "late", Customer: "c", Lines: lines("bundle", 2)}, time.Millisecond)
		require.NoError(t, err)
		available(t, shop, map[string]int64{"bundle": 0, "chair": 0, "table": 7})
		expire(t, s, held)
		available(t, shop, map[string]int64{"bundle": 2, "chair": 4, "table": 9})
		_, err = book(other, booking.Request{ID: "chair", Customer: "c", Lines: lines("chair", 1)})
		require.NoError(t, err)
		_, err = other.Reclaim(t.Context(), "late")
		require.ErrorIs(t, err, inventory.ErrSoldOut)
		var gone *inventory.StockError
		require.ErrorAs(t, err, &gone)
		assert.Equal(t, inventory.StockError{SKU: "chair", Requested: 4, Available: 3}, *gone)
		require.NoError(t, shop.Restock(t.Context(), anAdjustment("chair", 1)))
		_, err = other.Reclaim(t.Context(), "late")
		require.NoError(t, err)
		require.NoError(t, shop.SetCapacity(t.Context(), anAdjustment("bundle", 3)))
		require.NoError(t, shop.Restock(t.Context(), anAdjustment("chair", 9)))
		short(shop, "own", lines("bundle", 1), "bundle", 1, 0) // the pools have enough
		books(t, shop, s, "bundle", "chair", "table")
		for _, sku := range []string{"bundle", "chair", "table"} {
			ledger(t, s, sku)
		}
	})
}

// A pool that can only be drawn on is not bought by its name: not alone, nor beside
// what draws on it, whichever way the order takes; not from a process that does not know
// of it yet, nor one that knows that it is sold out.
func TestPoolOnly(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, s stores) {
		shop := open(t, s)
		background(t, shop)
		hall := order.Item{SKU: "hall", Capacity: 3, PoolOnly: true}
		require.NoError(t, shop.PutOnSale(t.Context(), hall, order.Item{SKU: "seat", Capacity: 9, Draws: lines("hall", 1)}))
		require.NoError(t, shop.PutOnSale(t.Context(), hall))
		require.ErrorIs(t, shop.PutOnSale(t.Context(), order.Item{SKU: "hall", Capacity: 3}), order.ErrAlreadyOnSale)
		_, err := shop.Hold(t.Context(), booking.Request{ID: "mixed", Customer: "c", Lines: lines("seat", 1)}, time.Hour)
		require.NoError(t, err)
		refused := func() {
			t.Helper()
			direct := stores{orders: s.orders}
			for _, shop := range []*booking.Service{shop, open(t, s), open(t, direct)} {
				for i, wanted := range [][]order.Line{lines("hall", 1), append(lines("hall", 1), lines("seat", 1)...), lines("hall", 99)} {
					r := booking.Request{ID: fmt.Sprint("named-", i), Customer: "c", Lines: wanted}
					_, booked := shop.Book(t.Context(), r)
					_, held := shop.Hold(t.Context(), r, time.Hour)
					_, accepted := shop.Accept(t.Context(), r)
					for _, err := range []error{booked, held, accepted} {
						require.ErrorIs(t, err, order.ErrPoolOnly)
						var named *order.SKUError
						require.ErrorAs(t, err, &named)
						assert.Equal(t, "hall", named.SKU)
					}
				}
			}
		}
		refused()
		stocks, err := shop.Stocks(t.Context(), "hall", "seat")
		require.NoError(t, err)
		assert.True(t, stocks[0].PoolOnly)
		assert.False(t, stocks[1].PoolOnly)
		assert.EqualValues(t, 1, stocks[0].Allocated)
		_, err = book(shop, booking.Request{ID: "rest", Customer: "c", Lines: lines("seat", 2)})
		require.NoError(t, err)
		for i := range 3 {
			_, err = book(shop, request("seat", i))
			require.ErrorIs(t, err, inventory.ErrSoldOut)
		}
		refused()
		books(t, shop, s, "hall", "seat")
	})
}

// An order of a SKU that was accepted, and became a pool only by a hand in the tables
// before Postgres had it, is refused for good, and its units come back.
func TestAcceptedOfAPoolOnly(t *testing.T) {
	t.Parallel()
	url := testdb.New(t, servertest.SharedPostgres(t))
	pool := connect(t, url)
	shop := accepts(t, at(t, servertest.SharedRedis(t).Client(t), order.NewPostgres(pool)), 0)
	require.NoError(t, shop.PutOnSale(t.Context(), order.Item{SKU: "hall", Capacity: 3}))
	shop.stalled.down.Store(true)
	receipt := accept(t, shop, request("hall", 1))
	_, err := pool.Exec(t.Context(), "update lastunit.skus set pool_only = true, draw_skus = '{}', draw_quantities = '{}'")
	require.NoError(t, err)
	shop.stalled.down.Store(false)
	_, err = waits(t, receipt)
	require.ErrorIs(t, err, order.ErrRefused)
	require.ErrorIs(t, err, order.ErrPoolOnly)
	exact(t, shop.Service)
}

// A pool may have a pool: what is taken of the one is taken of the other. A
// pause of a pool stops all that draws on it.
func TestPoolsOfPools(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, s stores) {
		shop, other := open(t, s), open(t, s)
		require.NoError(t, shop.PutOnSale(t.Context(), order.Item{SKU: "hall", Capacity: 12}))
		require.NoError(t, shop.PutOnSale(t.Context(), order.Item{SKU: "block", Capacity: 5, Draws: lines("hall", 1)}))
		item := order.Item{SKU: "pair", Capacity: 100, Draws: lines("block", 2)}
		require.NoError(t, shop.PutOnSale(t.Context(), item))
		require.NoError(t, other.PutOnSale(t.Context(), item), "it is there as it says")
		require.ErrorIs(t, other.PutOnSale(t.Context(), order.Item{SKU: "pair", Capacity: 100, Draws: lines("block", 1)}), order.ErrAlreadyOnSale)
		available(t, shop, map[string]int64{"pair": 2, "block": 5, "hall": 12})
		o, err := other.Hold(t.Context(), booking.Request{ID: "a", Customer: "c", Lines: lines("pair", 1)}, time.Hour)
		require.NoError(t, err)
		assert.Equal(t, []order.Line{{SKU: "block", Quantity: 2}, {SKU: "hall", Quantity: 2}}, o.Draws)
		require.NoError(t, shop.SetCapacity(t.Context(), anAdjustment("hall", 3)))
		available(t, shop, map[string]int64{"pair": 0, "block": 1, "hall": 1})
		_, err = book(shop, booking.Request{ID: "b", Customer: "c", Lines: lines("pair", 1)})
		require.ErrorIs(t, err, inventory.ErrSoldOut)
		var short *inventory.StockError
		require.ErrorAs(t, err, &short)
		assert.Equal(t, "hall", short.SKU)
		assert.EqualValues(t, 1, short.Available)
		_, err = shop.Confirm(t.Context(), "a")
		require.NoError(t, err)

		require.NoError(t, other.Pause(t.Context(), "hall"))
		_, err = bookOnce(shop, booking.Request{ID: "d", Customer: "c", Lines: lines("block", 1)})
		require.ErrorIs(t, err, inventory.ErrPaused)
		var window *inventory.WindowError
		require.ErrorAs(t, err, &window)
		assert.Equal(t, "hall", window.SKU)
		require.NoError(t, other.Resume(t.Context(), "hall"))
		_, err = bookOnce(shop, booking.Request{ID: "d", Customer: "c", Lines: lines("block", 1)})
		require.NoError(t, err)
		_, err = shop.Cancel(t.Context(), "a")
		require.NoError(t, err)
		available(t, shop, map[string]int64{"pair": 1, "block": 2, "hall": 2})

		// Whoever says that it draws less is not believed.
		outcomes, _, err := s.orders.Commit(t.Context(), []order.Commit{{Order: order.Order{ID: "e", Customer: "c", Lines: lines("pair", 1)}}})
		require.NoError(t, err)
		assert.Equal(t, order.VerdictAgain, outcomes[0].Verdict)
		books(t, shop, s, "block", "hall", "pair")
		assert.Equal(t, kinds(order.MovedHeld, order.MovedConfirmed, order.MovedCancelled), ledger(t, s, "hall")["a"])
	})
}
