package booking_test

import (
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/booking"
	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

// The stores of untouched panic when they are asked anything.
type (
	untouchedInventory struct{ inventory.InventoryRepository }
	untouchedOrders    struct{ order.Store }
)

func TestBadInputTouchesNothing(t *testing.T) {
	t.Parallel()
	shop, err := booking.New(booking.Config{Inventory: untouchedInventory{}, Orders: untouchedOrders{}})
	require.NoError(t, err)
	good := booking.Request{ID: "1", Customer: "c", Lines: lines("floor", 1)}
	long := strings.Repeat("x", 129)
	for field, change := range map[string]func(*booking.Request){
		"id":                func(r *booking.Request) { r.ID = long },
		"id ":               func(r *booking.Request) { r.ID = "a\x00b" },
		"id  ":              func(r *booking.Request) { r.ID = "a\nb" },
		"id   ":             func(r *booking.Request) { r.ID = "\xff" },
		"customer":          func(r *booking.Request) { r.Customer = "" },
		"customer ":         func(r *booking.Request) { r.Customer = long },
		"lines":             func(r *booking.Request) { r.Lines = nil },
		"lines ":            func(r *booking.Request) { r.Lines = make([]order.Line, 101) },
		"lines[0].sku":      func(r *booking.Request) { r.Lines = lines("", 1) },
		"lines[0].sku ":     func(r *booking.Request) { r.Lines = lines("a\u0085b", 1) },
		"lines[0].quantity": func(r *booking.Request) { r.Lines = lines("floor", 0) },
		"lines[1].quantity": func(r *booking.Request) { r.Lines = append(lines("floor", 1), lines("floor", -1)...) },
		"lines[0].quantity ": func(r *booking.Request) {
			r.Lines = lines("floor", 1_000_001)
		},
		"lines: the sum for SKU \"floor\"": func(r *booking.Request) {
			r.Lines = append(lines("floor", 1_000_000), lines("floor", 1)...)
		},
	} {
		bad := good
		change(&bad)
		_, err := shop.Book(t.Context(), bad)
		requireInvalid(t, strings.TrimRight(field, " "), err)
	}

	// The rest is the stores' to refuse, so here they are real.
	both := embedded(t)
	shop = open(t, both)
	for _, sku := range []string{"", long, "\x7f", "\xc3\x28"} {
		requireInvalid(t, "sku", shop.PutOnSale(t.Context(), order.Item{SKU: sku, Capacity: 1}))
		requireInvalid(t, "sku", shop.Rebuild(t.Context(), sku))
		_, err := shop.Stock(t.Context(), sku)
		requireInvalid(t, "sku", err)
		_, err = shop.Reconcile(t.Context(), booking.DryRun, sku)
		requireInvalid(t, "sku", err)
		_, err = shop.Cancel(t.Context(), sku)
		requireInvalid(t, "id", err)
		_, err = shop.Order(t.Context(), sku)
		requireInvalid(t, "id", err)
	}
	for _, capacity := range []int64{-1, 1_000_000_000_001} {
		requireInvalid(t, "capacity", shop.PutOnSale(t.Context(), order.Item{SKU: "floor", Capacity: capacity}))
		requireInvalid(t, "units", shop.SetCapacity(t.Context(), order.Adjustment{ID: "to", SKU: "floor", Units: capacity}))
	}
	for _, bad := range []struct {
		field string
		query order.Query
	}{
		{"status", order.Query{Status: "booked"}},
		{"size", order.Query{Size: -1}},
		{"size", order.Query{Size: 1001}},
		{"after", order.Query{After: "x"}},
	} {
		_, err := shop.Orders(t.Context(), bad.query)
		requireInvalid(t, bad.field, err)
	}
	tallies, err := both.orders.TallyAll(t.Context())
	require.NoError(t, err)
	assert.Empty(t, tallies)
	assert.Empty(t, both.client.Keys(t.Context(), "*").Val())
	page, err := shop.Orders(t.Context(), order.Query{})
	require.NoError(t, err)
	assert.Empty(t, page.Orders)
}

func requireInvalid(t *testing.T, field string, err error) {
	t.Helper()
	var invalid *inventory.InvalidError
	require.ErrorAs(t, err, &invalid, field)
	require.ErrorIs(t, err, inventory.ErrInvalid)
	assert.Equal(t, field, invalid.Field)
	assert.NotErrorIs(t, err, order.ErrOutcomeUnknown, "it is definite")
}

// IDs may look like anything within the bounds, and never meet each other.
func TestOddIDs(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, s stores) {
		shop := open(t, s)
		background(t, shop)
		odd := []string{"{", "}", "{}", "a}b", "{a}", "%7B", "%", " ", ":", "d:x", "épée 🎫", "null", `"`, "\\", strings.Repeat("é", 64)}
		for _, sku := range odd {
			require.NoError(t, shop.PutOnSale(t.Context(), order.Item{SKU: sku, Capacity: 1}), sku)
		}
		for _, sku := range odd {
			r := booking.Request{ID: sku, Customer: sku, Lines: lines(sku, 1)}
			_, err := shop.Book(t.Context(), r)
			require.NoError(t, err, sku)
			o, err := shop.Order(t.Context(), sku)
			require.NoError(t, err, sku)
			assert.Equal(t, sku, o.Customer)
			assert.Equal(t, lines(sku, 1), o.Lines)
		}
		exact(t, shop)
		for _, sku := range odd {
			assert.EqualValues(t, 1, sold(t, s, sku), sku)
		}
	})
}

func TestConfig(t *testing.T) {
	t.Parallel()
	s := embedded(t)
	for _, bad := range []booking.Config{
		{Inventory: s.inventory},
		{Inventory: (*inventory.Redis)(nil), Orders: s.orders},
		{Inventory: (*inventory.Memory)(nil), Orders: s.orders},
		{Inventory: s.inventory, Orders: (*order.Postgres)(nil)},
		{Inventory: s.inventory, Orders: order.NewPostgres(nil)},
		{Inventory: inventory.NewRedis(nil), Orders: s.orders},
		{Inventory: inventory.NewRedis((*goredis.Client)(nil)), Orders: s.orders},
		{Inventory: s.inventory, Orders: s.orders, SoldOutFor: order.Reopening + 1},
		{Inventory: s.inventory, Orders: s.orders, Timeout: -1},
		{Inventory: s.inventory, Orders: s.orders, SweepAfter: -1},
		{Inventory: s.inventory, Orders: s.orders, CheckEvery: -1},
		{Inventory: s.inventory, Orders: s.orders, CheckEvery: time.Millisecond - 1},
	} {
		_, err := booking.New(bad)
		require.Error(t, err)
	}
}
