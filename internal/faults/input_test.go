package faults_test

import (
	"context"
	"math"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/booking"
	"github.com/lastunit/lastunit/internal/servertest"
	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

// unchanged requires that calls changed nothing, in Postgres and in Redis.
func (s *sale) unchanged(calls func()) {
	s.t.Helper()
	state := func() (any, any, any) {
		s.exact()
		movements, err := s.orders.Movements(context.Background(), floor, 0, order.MaxMovements)
		require.NoError(s.t, err)
		fields, err := s.client.HGetAll(context.Background(), s.stockKey(floor)).Result()
		require.NoError(s.t, err)
		return s.all(), movements, fields
	}
	orders, movements, fields := state()
	calls()
	ordersNow, movementsNow, fieldsNow := state()
	assert.Equal(s.t, orders, ordersNow, "the orders")
	assert.Equal(s.t, movements, movementsNow, "the ledger")
	assert.Equal(s.t, fields, fieldsNow, "the hash in Redis")
}

// refused requires that a request is ErrInvalid, whatever it is for.
func (s *sale) refused(name string, r booking.Request) {
	s.t.Helper()
	for verb, call := range map[string]func() error{
		"book":   func() error { _, err := s.shops[0].Book(s.t.Context(), r); return err },
		"hold":   func() error { _, err := s.shops[0].Hold(s.t.Context(), r, time.Minute); return err },
		"accept": func() error { _, err := s.shops[1].Accept(s.t.Context(), r); return err },
	} {
		err := call()
		assert.ErrorIs(s.t, err, inventory.ErrInvalid, "%s: %s", verb, name)
		assert.NotErrorIs(s.t, err, order.ErrOutcomeUnknown, "%s: %s", verb, name)
		var invalid *inventory.InvalidError
		if assert.ErrorAs(s.t, err, &invalid, "%s: %s", verb, name) {
			assert.NotEmpty(s.t, invalid.Field, "%s: %s", verb, name)
		}
	}
}

// Row 29: quantities and lines that can't be, by the library and straight to the script.
func badQuantities(t *testing.T, m *measured) {
	s := begin(t, setup{})
	_, err := s.ask(s.shops[0], request(floor, late), book) // there is something to change
	require.NoError(t, err)
	s.unchanged(func() {
		for _, quantity := range []int64{0, -1, inventory.MaxQuantity + 1, 1<<53 + 1, math.MaxInt64, math.MinInt64} {
			r := request(floor, late+1)
			r.Lines[0].Quantity = quantity
			s.refused("a quantity", r)
		}
		r := request(floor, late+1)
		r.Lines = nil
		s.refused("no lines", r)
		r.Lines = make([]order.Line, order.MaxLines+1)
		for i := range r.Lines {
			r.Lines[i] = order.Line{SKU: floor, Quantity: 1}
		}
		s.refused("too many lines", r)
		r.Lines = []order.Line{{SKU: floor, Quantity: inventory.MaxQuantity}, {SKU: floor, Quantity: 1}}
		s.refused("a sum above the bound", r)
		_, err := s.shops[0].Hold(t.Context(), request(floor, late+1), 0)
		assert.ErrorIs(t, err, inventory.ErrInvalid)
		s.straightToTheScript()
	})

	// The same SKU twice is summed.
	twice := request(floor, late+2)
	twice.Lines = []order.Line{{SKU: floor, Quantity: 2}, {SKU: floor, Quantity: 3}}
	o, err := s.ask(s.shops[0], twice, book)
	require.NoError(t, err)
	assert.Equal(t, []order.Line{{SKU: floor, Quantity: 5}}, o.Lines)
	s.exact()
	assert.EqualValues(t, 6, s.stock().Taken)
	assert.EqualValues(t, 6, s.sold())
	s.recover(m, s.sellTheRest)
}

// straightToTheScript sends deduct.lua what no caller of the library can.
func (s *sale) straightToTheScript() {
	s.t.Helper()
	var source strings.Builder
	for _, name := range []string{"prelude", "deduct"} {
		text, err := os.ReadFile("../../inventory/lua/" + name + ".lua")
		require.NoError(s.t, err)
		source.Write(text)
	}
	script := redis.NewScript(source.String())
	run := func(key, asked string) error {
		return script.Run(s.t.Context(), s.client, []string{key}, s.counters().Store, "0", "0", "0", asked, "attempt", "order", "customer").Err()
	}
	for _, quantity := range []string{
		"0", "-1", "+1", "01", "1.0", "1e0", "0x1", " 1", "1 ", "", "nan", "-nan", "inf", "1000001", "9007199254740993", "99999999999999999999", "1:1",
	} {
		assert.ErrorContains(s.t, run(s.stockKey(floor), quantity+":0"), "LASTUNIT", "%q", quantity)
	}
	require.NoError(s.t, run(s.prefix+":nowhere", "1:0"), "a good one is none of these errors")
}

// Row 30: names and capacities that can't be, and a capacity below what is sold.
func badNames(t *testing.T, m *measured) {
	s := begin(t, setup{})
	_, err := s.ask(s.shops[0], request(floor, late), book)
	require.NoError(t, err)
	s.unchanged(func() {
		for _, id := range []string{strings.Repeat("x", inventory.MaxIDBytes+1), "a\x00b", "a\nb", "a\u0085b", "\xff", "a\xc3"} {
			ofOrder, ofCustomer, ofSKU := request(floor, late+1), request(floor, late+1), request(id, late+1)
			ofOrder.ID, ofCustomer.Customer, ofSKU.ID = id, id, "fine"
			s.refused("an order ID", ofOrder)
			s.refused("a customer ID", ofCustomer)
			s.refused("a SKU", ofSKU)
			assert.ErrorIs(t, s.shops[0].PutOnSale(t.Context(), order.Item{SKU: id, Capacity: 1}), inventory.ErrInvalid)
			_, err := s.shops[0].Cancel(t.Context(), id)
			assert.ErrorIs(t, err, inventory.ErrInvalid)
		}
		empty := request(floor, late+1)
		empty.Customer = ""
		s.refused("no customer", empty)
		nothing := request("", late+1)
		nothing.ID = "fine"
		s.refused("no SKU", nothing)
		for _, capacity := range []int64{-1, inventory.MaxCapacity + 1, math.MinInt64} {
			assert.ErrorIs(t, s.shops[0].PutOnSale(t.Context(), order.Item{SKU: "new", Capacity: capacity}), inventory.ErrInvalid)
			assert.ErrorIs(t, s.shops[0].SetCapacity(t.Context(), order.Adjustment{ID: "to", SKU: floor, Units: capacity}), inventory.ErrInvalid)
		}
	})

	// What is odd and allowed is sold as anything else.
	for _, sku := range []string{"{", "}", "{}", "}{", "{floor}", "%7Bfloor%7D", "a:b", " ", "☃", "'; drop table lastunit.orders; --"} {
		require.NoError(t, s.shops[0].PutOnSale(t.Context(), order.Item{SKU: sku, Capacity: 1}), sku)
		_, err := s.shops[0].Book(t.Context(), booking.Request{ID: "of " + sku, Customer: sku, Lines: []order.Line{{SKU: sku, Quantity: 1}}})
		require.NoError(t, err, sku)
		s.told.acknowledge(s.all()["of "+sku])
		_, err = s.shops[1].Book(t.Context(), booking.Request{ID: "another of " + sku, Customer: sku, Lines: []order.Line{{SKU: sku, Quantity: 1}}})
		require.ErrorIs(t, err, inventory.ErrSoldOut, sku)
	}

	// Below what is sold it stops selling, and says by how much it is over.
	for i := range 9 {
		_, err := s.ask(s.shops[0], request(floor, late+2+i), book)
		require.NoError(t, err)
	}
	s.mayBeSold.Store(10)
	s.setCapacity(s.shops[0], "below", 4)
	for _, shop := range s.shops {
		_, err = shop.Book(t.Context(), request(floor, late+20))
		require.ErrorIs(t, err, inventory.ErrSoldOut)
		stock, err := shop.Stock(t.Context(), floor)
		require.NoError(t, err)
		assert.EqualValues(t, 6, stock.Over)
		assert.Zero(t, stock.Available)
	}
	s.setCapacity(s.shops[0], "as before", s.capacity)
	for n, shop := range s.shops { // one may say "sold out" from memory for a moment yet
		eventually(t, func() error {
			_, err := s.ask(shop, request(floor, late+30+n), book)
			return err
		})
	}
	s.recover(m, s.sellTheRest)
}

// Row 31: somebody writes into a key of ours.
func garbageInRedis(t *testing.T, m *measured) {
	for name, spoil := range map[string]func(ctx context.Context, s *sale) error{
		"another_type": func(ctx context.Context, s *sale) error { return s.client.Set(ctx, s.stockKey(floor), "x", 0).Err() },
		"a_list": func(ctx context.Context, s *sale) error {
			if err := s.client.Del(ctx, s.stockKey(floor)).Err(); err != nil {
				return err
			}
			return s.client.RPush(ctx, s.stockKey(floor), "x").Err()
		},
		"no_number": func(ctx context.Context, s *sale) error {
			return s.client.HSet(ctx, s.stockKey(floor), "taken", "nan").Err()
		},
		"a_negative": func(ctx context.Context, s *sale) error {
			return s.client.HSet(ctx, s.stockKey(floor), "unsettled", "-1").Err()
		},
		"a_deduction": func(ctx context.Context, s *sale) error {
			// Records are read by the sweep, where there is something to sweep: what a
			// process left that died.
			c := s.counters()
			_, err := s.inventory.Deduct(ctx, inventory.Request{
				SKU: floor, Store: c.Store, Attempt: "dead", OrderID: "dead", Customer: "dead", Quantity: 1,
			})
			if err != nil {
				return err
			}
			return s.client.HSet(ctx, s.stockKey(floor), "d:x", "rubbish").Err()
		},
		"too_much": func(ctx context.Context, s *sale) error {
			return s.client.HSet(ctx, s.stockKey(floor), "supply", "1000000", "taken", "0", "unsettled", "0").Err()
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := begin(t, setup{redis: servertest.SharedRedis(t)})
			before := s.counters()
			s.rush(m, func() {
				// Some are only seen once somebody reads all that is there.
				require.NoError(t, spoil(t.Context(), s))
				eventually(t, func() error { return missing(int(min(1, before.Epoch+1-s.counters().Epoch)), "rebuilds") })
			})
		})
	}
}
