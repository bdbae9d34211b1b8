package booking_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/booking"
	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

// Of a cart in which several lines fall short, the refusal names all of them, and what
// is left of each: by whichever server refuses, and however often.
func TestSeveralShortLines(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, s stores) {
		both := &spread{InventoryRepository: s.inventory}
		shop := open(t, s)
		shops := map[string]*booking.Service{
			"Redis": shop, "Postgres alone": open(t, stores{orders: s.orders}),
			"Postgres while Redis is down": sellsDirect(t, stores{inventory: both, orders: s.orders}),
		}
		both.lose("front", "hall", "side", "top")
		require.NoError(t, shop.PutOnSale(t.Context(),
			order.Item{SKU: "front", Capacity: 9}, order.Item{SKU: "side", Capacity: 4},
			order.Item{SKU: "hall", Capacity: 3}, order.Item{SKU: "top", Capacity: 9, Draws: lines("hall", 1)}))
		cart := []order.Line{{SKU: "front", Quantity: 2}, {SKU: "side", Quantity: 3}, {SKU: "top", Quantity: 2}}
		late, err := shop.Hold(t.Context(), booking.Request{ID: "late", Customer: "c", Lines: cart}, time.Millisecond)
		require.NoError(t, err)
		expire(t, s, late)
		for sku, quantity := range map[string]int64{"side": 2, "hall": 2} {
			_, err := book(shop, booking.Request{ID: sku, Customer: "c", Lines: lines(sku, quantity)})
			require.NoError(t, err)
		}
		names := func(err error, want ...inventory.StockError) {
			t.Helper()
			require.ErrorIs(t, err, inventory.ErrSoldOut)
			var short *inventory.StockError
			require.ErrorAs(t, err, &short)
			var got []inventory.StockError
			for _, each := range short.All() {
				got = append(got, inventory.StockError{SKU: each.SKU, Requested: each.Requested, Available: each.Available})
				assert.ErrorContains(t, err, `"`+each.SKU+`"`)
			}
			assert.ElementsMatch(t, want, got)
		}
		someLeft := []inventory.StockError{{SKU: "side", Requested: 3, Available: 2}, {SKU: "hall", Requested: 2, Available: 1}}
		for name, shop := range shops {
			_, err := book(shop, booking.Request{ID: name, Customer: "c", Lines: cart})
			names(err, someLeft...)
		}
		_, err = shop.Reclaim(t.Context(), "late")
		names(err, someLeft...)

		_, err = book(shop, booking.Request{ID: "the rest", Customer: "c", Lines: lines("side", 2)})
		require.NoError(t, err)
		for name, shop := range shops {
			for _, id := range []string{name, name, ""} { // once from what the process remembers
				_, err := book(shop, booking.Request{ID: id, Customer: "c", Lines: cart})
				names(err, inventory.StockError{SKU: "side", Requested: 3}, someLeft[1])
			}
			_, err := book(shop, booking.Request{ID: name, Customer: "c", Lines: []order.Line{{SKU: "front", Quantity: 10}}})
			names(err, inventory.StockError{SKU: "front", Requested: 10, Available: 9})
		}
		books(t, shop, s, "front", "hall", "side", "top")
	})
}
