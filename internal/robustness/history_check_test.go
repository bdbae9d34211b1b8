package robustness

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/lastunit/lastunit/order"
)

// A history of one SKU of capacity 1, times in milliseconds: z had the unit until it
// was cancelled, a is booked since, and b was refused.
func pastOfOne() *history {
	ms := func(n int64) int64 { return n * int64(time.Millisecond) }
	made := func(v verb, id string, start, end int64, got outcome, status order.Status) call {
		c := call{Process: 1, Verb: v, ID: id, Customer: customerOf(id), Lines: []order.Line{{SKU: "s", Quantity: 1}}, Start: ms(start), End: ms(end), Outcome: got, Status: status}
		if got == soldOut {
			c.Short = "s"
		}
		return c
	}
	stored := func(id string, status order.Status) order.Order {
		return order.Order{ID: id, Customer: customerOf(id), Status: status, Lines: []order.Line{{SKU: "s", Quantity: 1}}}
	}
	return &history{
		skus: []string{"s"}, began: map[string]int64{"s": 1}, at: ms(1000), planted: true,
		calls: []call{
			made(book, "z", 10, 20, done, order.Confirmed),
			made(book, "b", 200, 210, soldOut, ""),
			made(cancel, "z", 300, 310, done, order.Cancelled),
			made(book, "a", 400, 410, done, order.Confirmed),
			made(book, "b", 600, 610, soldOut, ""),
		},
		orders: map[string]order.Order{"z": stored("z", order.Cancelled), "a": stored("a", order.Confirmed)},
		ledger: map[string][]order.Movement{"s": {
			{Number: 1, Kind: order.MovedOnSale, Quantity: 1},
			{Number: 2, Kind: order.MovedBooked, Quantity: 1, OrderID: "z"},
			{Number: 3, Kind: order.MovedCancelled, Quantity: -1, OrderID: "z"},
			{Number: 4, Kind: order.MovedBooked, Quantity: 1, OrderID: "a"},
		}},
		stocks: map[string]order.Counters{"s": {SKU: "s", Capacity: 1, Allocated: 1}},
	}
}

// What is wrong with a whole history is found, and nothing else.
func TestHistory(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		change func(h *history)
		want   sort
	}{
		"right":             {func(*history) {}, ""},
		"an unknown answer": {func(h *history) { h.calls[3].Outcome, h.calls[3].Status = unknown, "" }, ""},
		"a call that never returned": {func(h *history) {
			h.calls[3].Outcome, h.calls[3].Status, h.calls[3].End = unknown, "", 0
			h.calls[3].Process, h.killed = 2, map[int]int64{2: h.calls[3].Start}
		}, ""},
		"an order is lost": {func(h *history) {
			delete(h.orders, "a")
			h.ledger["s"] = h.ledger["s"][:3]
			h.stocks["s"] = order.Counters{SKU: "s", Capacity: 1}
		}, lost},
		"an order that nobody asked for": {func(h *history) { h.orders["x"] = order.Order{ID: "x", Status: order.Cancelled} }, wrongOrder},
		"an order of other lines": {func(h *history) {
			o := h.orders["a"]
			o.Lines = []order.Line{{SKU: "s", Quantity: 2}}
			h.orders["a"] = o
		}, wrongOrder},
		"sold twice": {func(h *history) {
			l := h.ledger["s"]
			l[2], l[3] = l[3], l[2]
			l[2].Number, l[3].Number = 3, 4
		}, oversold},
		"confirmed twice": {func(h *history) {
			h.ledger["s"] = append(h.ledger["s"], order.Movement{Number: 5, Kind: order.MovedConfirmed, Quantity: 1, OrderID: "a"})
		}, wrongLedger},
		"a counter is wrong":  {func(h *history) { h.stocks["s"] = order.Counters{SKU: "s", Capacity: 2, Allocated: 1} }, wrongLedger},
		"refused with a unit": {func(h *history) { h.calls[1].Start, h.calls[1].End = h.calls[2].End+1e6*60, h.calls[2].End+1e6*61 }, notLinearizable},
		"a little later":      {func(h *history) { h.calls[1].Start, h.calls[1].End = h.calls[2].End+1e6*40, h.calls[2].End+1e6*41 }, ""},
		"a second click":      {func(h *history) { h.calls[4].ID = "a" }, notLinearizable},
		"refused and booked":  {func(h *history) { h.calls[3].Outcome, h.calls[3].Short = soldOut, "s" }, notLinearizable},
		"refused, booked later": {func(h *history) {
			h.calls[3].Outcome, h.calls[3].Start, h.calls[3].End, h.calls[1].ID = unknown, 1e6*30, 1e6*40, "a"
		}, notLinearizable},
		"refused as the units came back, and booked by another try": {func(h *history) {
			late := h.calls[3]
			h.calls[3].Outcome, h.calls[3].Start, h.calls[3].End = unknown, 1e6*30, 1e6*40
			h.calls[1].ID, h.calls[1].Start, h.calls[1].End = "a", 1e6*50, 1e6*320
			h.calls[4] = call{Process: 1, Verb: readOrder, ID: "a", Lines: late.Lines, Start: 1e6 * 330, End: 1e6 * 340, Outcome: notFound}
			more := call{Process: 1, Verb: restock, ID: "more", SKU: "s", Units: 1, Start: 1e6 * 312, End: 1e6 * 314, Outcome: done}
			h.calls = append(h.calls, late, more)
			l := h.ledger["s"]
			booked := l[3]
			booked.Number = 5
			h.ledger["s"] = append(l[:3], order.Movement{Number: 4, Kind: order.MovedRestock, Quantity: 1, Reference: "more"}, booked)
			h.stocks["s"] = order.Counters{SKU: "s", Capacity: 2, Allocated: 1}
		}, ""},
		"refused by the way, and booked": {func(h *history) {
			h.calls[3].Outcome, h.calls[3].Start, h.calls[3].End, h.calls[3].Process, h.calls[1].ID = unknown, 1e6*30, 0, 2, "a"
		}, ""},
		"an answer like no other": {func(h *history) { h.calls[4].Outcome = unexplained }, wrongAnswer},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := pastOfOne()
			tt.change(h)
			for i := range h.calls { // to change an ID is to change who asks
				h.calls[i].Customer = customerOf(h.calls[i].ID)
			}
			problems := h.check(t, t.TempDir())
			if tt.want == "" {
				assert.Empty(t, problems)
				return
			}
			assert.True(t, slices.ContainsFunc(problems, func(p problem) bool { return p.sort == tt.want }), "%v", problems)
		})
	}
}

func TestTooThin(t *testing.T) {
	t.Parallel()
	assert.Empty(t, tooThin(minSuccesses, 1))
	assert.Len(t, tooThin(minSuccesses-1, 1), 1)
	assert.Len(t, tooThin(minSuccesses, 0), 1)
}

// A seed always gives the same schedule, in which nothing is left out.
func TestSchedule(t *testing.T) {
	t.Parallel()
	drawn := func() []string {
		var texts []string
		for _, s := range schedule(rand.New(rand.NewPCG(7, 1)), all, time.Minute) { //nolint:gosec // not a secret
			texts = append(texts, s.String())
		}
		return texts
	}
	first := drawn()
	assert.Equal(t, first, drawn())
	names := make(map[string]bool)
	for _, s := range schedule(rand.New(rand.NewPCG(7, 1)), all, time.Minute)[:len(all)] { //nolint:gosec // not a secret
		names[s.fault.name] = true
	}
	assert.Len(t, names, len(all))
}
