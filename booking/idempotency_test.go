package booking_test

import (
	"context"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/booking"
	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

// A second click gets the order of the first one: at once, after it was settled,
// after the last unit is sold, after Redis was wiped, and in another process.
func TestSameRequestSameAnswer(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, s stores) {
		shop := open(t, s)
		background(t, shop)
		require.NoError(t, shop.PutOnSale(t.Context(), order.Item{SKU: "floor", Capacity: 2}))
		first, err := bookOnce(shop, request("floor", 0))
		require.NoError(t, err)
		same := func(when string, by *booking.Service) {
			t.Helper()
			again, err := bookOnce(by, request("floor", 0))
			require.NoError(t, err, when)
			assert.Equal(t, first.ID, again.ID, when)
			assert.Equal(t, first.Lines, again.Lines, when)
			assert.Equal(t, first.Status, again.Status, when)
			assert.True(t, first.CreatedAt.Equal(again.CreatedAt), when)
		}
		same("at once", shop)
		exact(t, shop)
		same("after it was settled", shop)
		same("in another process", open(t, s))
		_, err = bookOnce(shop, request("floor", 1))
		require.NoError(t, err)
		same("after the last unit is sold", shop)
		same("after the last unit is sold, in another process", open(t, s))
		s.wipe(t)
		same("after Redis was wiped", shop)
		s.wipe(t)
		same("after Redis was wiped, in another process", open(t, s))
		exact(t, shop)
		assert.EqualValues(t, 2, sold(t, s, "floor"))
	})
}

// Many second clicks at once, in several processes: one order.
func TestSecondClicksDuringTheFirst(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, s stores) {
		shops := []*booking.Service{open(t, s), open(t, s), open(t, s)}
		background(t, shops[0])
		require.NoError(t, shops[0].PutOnSale(t.Context(), order.Item{SKU: "floor", Capacity: 10}))
		var wg sync.WaitGroup
		for i := range 90 {
			wg.Go(func() {
				o, err := book(shops[i%3], request("floor", i%5))
				assert.NoError(t, err)
				assert.Equal(t, order.Confirmed, o.Status)
			})
		}
		wg.Wait()
		exact(t, shops[0])
		assert.EqualValues(t, 5, sold(t, s, "floor"))
	})
}

func TestSameIDOtherContentIsAConflict(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, s stores) {
		shop := open(t, s)
		require.NoError(t, shop.PutOnSale(t.Context(), order.Item{SKU: "floor", Capacity: 2}))
		require.NoError(t, shop.PutOnSale(t.Context(), order.Item{SKU: "balcony", Capacity: 2}))
		first := request("floor", 0)
		_, err := bookOnce(shop, first)
		require.NoError(t, err)
		for name, change := range map[string]func(*booking.Request){
			"customer":  func(r *booking.Request) { r.Customer = "somebody else" },
			"quantity":  func(r *booking.Request) { r.Lines = lines("floor", 2) },
			"SKU":       func(r *booking.Request) { r.Lines = lines("balcony", 1) },
			"more":      func(r *booking.Request) { r.Lines = append(lines("balcony", 1), r.Lines...) },
			"far more":  func(r *booking.Request) { r.Lines = lines("floor", 1000) },
			"the whole": func(r *booking.Request) { r.Customer, r.Lines = "x", lines("balcony", 2) },
		} {
			other := first
			change(&other)
			got, err := bookOnce(shop, other)
			require.ErrorIs(t, err, order.ErrIdempotencyConflict, name)
			assert.Zero(t, got, "nothing is told of an order that may be another customer's")
			var detail *order.OrderError
			require.ErrorAs(t, err, &detail)
			assert.Equal(t, first.ID, detail.ID)
		}
		exact(t, shop)
		assert.EqualValues(t, 1, sold(t, s, "floor"))
		assert.EqualValues(t, 0, sold(t, s, "balcony"))
	})
}

// Lines of one SKU are added up, so this is the same request.
func TestSummedLinesAreTheSameRequest(t *testing.T) {
	t.Parallel()
	shop := open(t, embedded(t))
	require.NoError(t, shop.PutOnSale(t.Context(), order.Item{SKU: "a", Capacity: 5}))
	require.NoError(t, shop.PutOnSale(t.Context(), order.Item{SKU: "b", Capacity: 5}))
	one, err := bookOnce(shop, booking.Request{ID: "1", Customer: "c", Lines: []order.Line{{SKU: "b", Quantity: 1}, {SKU: "a", Quantity: 2}, {SKU: "b", Quantity: 2}}})
	require.NoError(t, err)
	assert.Equal(t, []order.Line{{SKU: "a", Quantity: 2}, {SKU: "b", Quantity: 3}}, one.Lines)
	two, err := bookOnce(shop, booking.Request{ID: "1", Customer: "c", Lines: []order.Line{{SKU: "a", Quantity: 2}, {SKU: "b", Quantity: 3}}})
	require.NoError(t, err)
	assert.Equal(t, one.Lines, two.Lines)
}

func TestCancel(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, s stores) {
		shop := open(t, s)
		background(t, shop)
		require.NoError(t, shop.PutOnSale(t.Context(), order.Item{SKU: "floor", Capacity: 1}))
		_, err := bookOnce(shop, request("floor", 0))
		require.NoError(t, err)
		for range 3 {
			o, err := shop.Cancel(t.Context(), "floor-0")
			require.NoError(t, err)
			assert.Equal(t, order.Cancelled, o.Status)
		}
		o, err := bookOnce(shop, request("floor", 0))
		require.ErrorIs(t, err, order.ErrCancelled)
		assert.Equal(t, order.Cancelled, o.Status, "the order comes beside the error")

		_, err = shop.Cancel(t.Context(), "never booked")
		require.ErrorIs(t, err, order.ErrNotFound, "a typo, say")
		_, err = shop.Order(t.Context(), "never booked")
		require.ErrorIs(t, err, order.ErrNotFound, "nothing was stored")
		for range 2 {
			o, err = shop.Void(t.Context(), "never booked")
			require.NoError(t, err)
			assert.Equal(t, order.Cancelled, o.Status)
		}
		o, err = shop.Void(t.Context(), "floor-0")
		require.NoError(t, err)
		assert.Equal(t, "customer-0", o.Customer, "it is Cancel for an order that is there")
		_, err = bookOnce(shop, booking.Request{ID: "never booked", Customer: "c", Lines: lines("floor", 1)})
		require.ErrorIs(t, err, order.ErrCancelled, "a late original books nothing")
		exact(t, shop)
		assert.Zero(t, sold(t, s, "floor"))

		_, err = bookOnce(shop, request("floor", 1))
		require.NoError(t, err, "the unit came back, and to cancel three times gave back one")
		_, err = bookOnce(shop, request("floor", 2))
		require.ErrorIs(t, err, inventory.ErrSoldOut)
	})
}

func TestSeveralLinesAllOrNothing(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, s stores) {
		shop := open(t, s)
		background(t, shop)
		require.NoError(t, shop.PutOnSale(t.Context(), order.Item{SKU: "a", Capacity: 5}))
		require.NoError(t, shop.PutOnSale(t.Context(), order.Item{SKU: "b", Capacity: 1}))
		_, err := bookOnce(shop, booking.Request{ID: "1", Customer: "c", Lines: append(lines("a", 2), lines("b", 2)...)})
		require.ErrorIs(t, err, inventory.ErrSoldOut)
		var short *inventory.StockError
		require.ErrorAs(t, err, &short)
		assert.Equal(t, "b", short.SKU)
		assert.EqualValues(t, 1, short.Available)
		exact(t, shop)
		assert.Zero(t, sold(t, s, "a"))

		_, err = bookOnce(shop, booking.Request{ID: "1", Customer: "c", Lines: append(lines("a", 4), lines("b", 1)...)})
		require.NoError(t, err)
		_, err = bookOnce(shop, booking.Request{ID: "2", Customer: "c", Lines: append(lines("a", 1), lines("nothing", 1)...)})
		require.ErrorIs(t, err, order.ErrUnknownSKU)
		exact(t, shop)
		assert.EqualValues(t, 4, sold(t, s, "a"))
	})
}

// A SKU that Redis doesn't know is loaded once, however many callers meet it.
func TestUnknownToRedisIsLoadedOnce(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, s stores) {
		c, _, err := s.orders.PutOnSale(t.Context(), order.Item{SKU: "floor", Capacity: 1000})
		require.NoError(t, err)
		shop := open(t, s)
		var wg sync.WaitGroup
		for i := range 200 {
			wg.Go(func() {
				_, err := shop.Book(context.Background(), request("floor", i))
				assert.NoError(t, err)
			})
		}
		wg.Wait()
		after, err := s.orders.Counters(t.Context(), "floor")
		require.NoError(t, err)
		assert.Equal(t, c[0].Version+1, after[0].Version, "one new epoch")
		exact(t, shop)
	})
}

func TestSetCapacity(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, s stores) {
		shop, other := open(t, s), open(t, s)
		background(t, shop)
		require.NoError(t, shop.PutOnSale(t.Context(), order.Item{SKU: "floor", Capacity: 2}))
		for i := range 2 {
			_, err := bookOnce(other, request("floor", i))
			require.NoError(t, err)
		}
		require.NoError(t, shop.SetCapacity(t.Context(), anAdjustment("floor", 3)))
		soonBooked(t, other, request("floor", 2))
		require.NoError(t, shop.SetCapacity(t.Context(), anAdjustment("floor", 1)))
		_, err := bookOnce(other, request("floor", 3))
		require.ErrorIs(t, err, inventory.ErrSoldOut, "lowered below what is sold")
		stock, err := other.Stock(t.Context(), "floor")
		require.NoError(t, err)
		assert.Equal(t, booking.Stock{SKU: "floor", Capacity: 1, Allocated: 3, Over: 2}, stock)
		for i := range 2 {
			_, err = shop.Cancel(t.Context(), request("floor", i).ID)
			require.NoError(t, err)
			_, err = bookOnce(other, request("floor", 3))
			require.ErrorIs(t, err, inventory.ErrSoldOut, "not enough came back")
		}
		_, err = shop.Cancel(t.Context(), request("floor", 2).ID)
		require.NoError(t, err)
		soonBooked(t, other, request("floor", 3))
		exact(t, shop)

		require.ErrorIs(t, shop.SetCapacity(t.Context(), anAdjustment("nothing", 1)), order.ErrUnknownSKU)
		require.ErrorIs(t, shop.PutOnSale(t.Context(), order.Item{SKU: "floor", Capacity: 9}), order.ErrAlreadyOnSale)
		require.NoError(t, shop.PutOnSale(t.Context(), order.Item{SKU: "floor", Capacity: 1}))
	})
}
