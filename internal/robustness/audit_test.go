package robustness

import (
	"fmt"
	"slices"

	"github.com/lastunit/lastunit/order"
)

// audit checks the books of the end against what the callers were told.
func (h *history) audit() []problem {
	var problems []problem
	found := func(s sort, format string, values ...any) {
		problems = append(problems, problem{s, fmt.Sprintf(format, values...)})
	}
	lines := make(map[string][]order.Line) // asked for, by order
	contents := make(map[asked]bool)
	for _, c := range h.calls {
		if c.Outcome == unexplained {
			found(wrongAnswer, "process %d: %s %s: %s", c.Process, c.Verb, c.ID, c.Why)
		}
		if len(c.Lines) == 0 {
			continue
		}
		lines[c.ID] = c.Lines
		if c.Verb.takes() {
			contents[asked{c.ID, c.content()}] = true
		}
		if _, there := h.orders[c.ID]; c.Outcome == done && !there {
			found(lost, "%s %s was answered with %q", c.Verb, c.ID, c.Status)
		}
	}
	for id, o := range h.orders {
		wanted, there := lines[id]
		switch {
		case !there:
			found(wrongOrder, "%s, which no call named: %+v", id, o)
		case len(o.Lines) == 0 && o.Status == order.Cancelled: // before it was booked
		case !slices.Equal(o.Lines, wanted) || !slices.Equal(o.Units(), unitsOf(wanted)) || !contents[asked{id, contentOf(o)}]:
			found(wrongOrder, "%+v, where %+v was asked for", o, wanted)
		}
	}
	for _, sku := range h.skus {
		problems = append(problems, h.auditLedger(sku)...)
	}
	return append(problems, h.auditTimes()...)
}

// auditLedger goes through the movements of a SKU: they are numbered in the order in
// which things happened.
func (h *history) auditLedger(sku string) []problem {
	var problems []problem
	found := func(s sort, format string, values ...any) {
		problems = append(problems, problem{s, "SKU " + sku + ": " + fmt.Sprintf(format, values...)})
	}
	var capacity, allocated int64
	statuses := make(map[string]order.Status)
	for i, m := range h.ledger[sku] {
		if m.Number != int64(i+1) {
			found(wrongLedger, "movement %d has the number %d", i+1, m.Number)
		}
		was, there := statuses[m.OrderID]
		wrong := false
		switch m.Kind {
		case order.MovedOnSale, order.MovedCapacity, order.MovedRestock, order.MovedWriteOff:
			capacity += m.Quantity
			continue
		case order.MovedBooked, order.MovedHeld:
			if allocated += m.Quantity; allocated > capacity {
				found(oversold, "%d of %d are sold with order %s", allocated, capacity, m.OrderID)
			}
			wrong = there
			statuses[m.OrderID] = order.Confirmed
			if m.Kind == order.MovedHeld {
				statuses[m.OrderID] = order.Held
			}
		case order.MovedReclaimed:
			if allocated += m.Quantity; allocated > capacity {
				found(oversold, "%d of %d are sold with order %s, reclaimed", allocated, capacity, m.OrderID)
			}
			wrong = was != order.Expired
			statuses[m.OrderID] = order.Confirmed
		case order.MovedConfirmed:
			wrong = was != order.Held
			statuses[m.OrderID] = order.Confirmed
		case order.MovedExpired:
			allocated += m.Quantity
			wrong = was != order.Held
			statuses[m.OrderID] = order.Expired
		case order.MovedCancelled:
			allocated += m.Quantity
			wrong = !was.Live()
			statuses[m.OrderID] = order.Cancelled
		default:
			wrong = true
		}
		if wrong {
			found(wrongLedger, "order %s, %q, was moved: %s", m.OrderID, was, m.Kind)
		}
	}
	for id, status := range statuses {
		// An expired order that is cancelled moves nothing.
		if o := h.orders[id]; o.Status != status && (status != order.Expired || o.Status != order.Cancelled) {
			found(wrongLedger, "order %s is %q, by its movements %q", id, o.Status, status)
		}
	}
	if c := h.stocks[sku]; c.Capacity != capacity || c.Allocated != allocated {
		found(wrongLedger, "%d of %d are sold, by the movements %d of %d", c.Allocated, c.Capacity, allocated, capacity)
	}
	return problems
}
