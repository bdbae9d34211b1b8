package robustness

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/lastunit/lastunit/order"
)

// The order of events is found without a search also where an event must be early that
// could be late, or the other way round. Each of these is of a run in which the search
// took too long.
func TestWitness(t *testing.T) {
	t.Parallel()
	at := func(c call, start, end int64) call {
		c.Process, c.Start, c.End = 1, start*int64(time.Millisecond), end*int64(time.Millisecond)
		return c
	}
	asks := func(v verb, id string, got outcome, status order.Status) call {
		return call{Verb: v, ID: id, Customer: customerOf(id), Lines: []order.Line{{SKU: "s", Quantity: 1}}, Outcome: got, Status: status}
	}
	adjusts := func(id string, units, capacity int64) call {
		return call{Verb: setCapacity, ID: id, SKU: "s", Units: units, Outcome: done, Capacity: capacity}
	}
	stored := func(id string, status order.Status) order.Order {
		return order.Order{ID: id, Customer: customerOf(id), Status: status, Lines: []order.Line{{SKU: "s", Quantity: 1}}}
	}
	held := stored("a", order.Cancelled)
	held.ExpiresAt = time.Unix(1, 0)
	for name, h := range map[string]*history{
		"a capacity is set that it has, and then another one": {
			began: map[string]int64{"s": 5}, stocks: map[string]order.Counters{"s": {SKU: "s", Capacity: 1}},
			ledger: map[string][]order.Movement{"s": {
				{Number: 1, Kind: order.MovedOnSale, Quantity: 5},
				{Number: 2, Kind: order.MovedCapacity, Quantity: -4, Reference: "less"},
			}},
			calls: []call{at(adjusts("same", 5, 5), 100, 400), at(adjusts("less", 1, 1), 200, 300)},
		},
		"a hold whose answer was lost is cancelled in a transaction": {
			began: map[string]int64{"s": 5}, stocks: map[string]order.Counters{"s": {SKU: "s", Capacity: 5}},
			orders: map[string]order.Order{"a": held},
			ledger: map[string][]order.Movement{"s": {
				{Number: 1, Kind: order.MovedOnSale, Quantity: 5},
				{Number: 2, Kind: order.MovedHeld, Quantity: 1, OrderID: "a"},
				{Number: 3, Kind: order.MovedCancelled, Quantity: -1, OrderID: "a"},
			}},
			calls: []call{
				at(asks(hold, "a", unknown, ""), 100, 0),
				at(asks(hold, "a", unknown, ""), 110, 0),
				at(asks(cancelTx, "a", done, order.Cancelled), 200, 250),
				at(asks(readOrder, "a", done, order.Cancelled), 400, 410),
			},
		},
		"a booking returns after a pause": {
			began: map[string]int64{"s": 5}, stocks: map[string]order.Counters{"s": {SKU: "s", Capacity: 5, Allocated: 1}},
			orders: map[string]order.Order{"a": stored("a", order.Confirmed)},
			ledger: map[string][]order.Movement{"s": {
				{Number: 1, Kind: order.MovedOnSale, Quantity: 5},
				{Number: 2, Kind: order.MovedBooked, Quantity: 1, OrderID: "a"},
			}},
			calls: []call{
				at(asks(book, "a", done, order.Confirmed), 100, 210),
				at(call{Verb: pause, SKU: "s", Outcome: done}, 150, 200),
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h.skus, h.at = []string{"s"}, int64(time.Second)
			assert.Empty(t, h.check(t, t.TempDir()))
			for _, p := range h.partitions() {
				_, found := h.witnessOf(p)
				assert.True(t, found)
			}
		})
	}
}
