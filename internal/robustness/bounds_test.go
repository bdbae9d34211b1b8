package robustness

import (
	"cmp"

	"github.com/lastunit/lastunit/order"
)

// The ledger of a SKU says in which order things happened to it, and the callers
// say when: a movement was after the call began that may have made it, and before
// the end of the first call that saw it. So was every movement before that one, and
// after it. That bounds when a call took effect whose outcome is unknown, or an
// event that is no call, which spares the search most of its work. It only ever
// makes the check stricter: an answer that does not fit into the bounds fails it.

// span is between two moments.
type span struct{ from, to int64 }

// deed is what happened to an order, or by an adjustment, in a SKU.
type deed struct {
	sku  string
	id   string
	kind order.MovementKind
}

// readLedger finds out what happened, and when.
func (h *history) readLedger() {
	h.happened = make(map[deed]span)
	h.outside = make(map[string]bool)
	for _, c := range h.calls {
		if c.Verb.inTransaction() && (c.Outcome == done || c.Outcome == unknown) {
			h.outside[c.ID] = true
		}
	}
	for sku, movements := range h.ledger {
		for _, m := range movements {
			h.happened[deed{sku, cmp.Or(m.OrderID, m.Reference), m.Kind}] = span{0, h.at}
		}
	}
	for i := range h.calls {
		h.narrow(&h.calls[i])
	}
	for sku, movements := range h.ledger {
		before := int64(0)
		for _, m := range movements {
			d := deed{sku, cmp.Or(m.OrderID, m.Reference), m.Kind}
			s := h.happened[d]
			s.from = max(s.from, before)
			before = s.from
			h.happened[d] = s
		}
		after := h.at
		for i := len(movements) - 1; i >= 0; i-- {
			d := deed{sku, cmp.Or(movements[i].OrderID, movements[i].Reference), movements[i].Kind}
			s := h.happened[d]
			s.to = min(s.to, after)
			after = s.to
			h.happened[d] = s
		}
	}
}

// narrow narrows the bounds by what a call says.
func (h *history) narrow(c *call) {
	may, saw := c.moves()
	for _, part := range c.parts() {
		for _, kind := range may {
			d := deed{part.SKU, c.ID, kind}
			if s, there := h.happened[d]; there && (s.from == 0 || c.Start < s.from) {
				s.from = c.Start
				h.happened[d] = s
			}
		}
		if c.End == 0 {
			continue
		}
		for _, kind := range saw {
			if h.outside[c.ID] && (kind == order.MovedConfirmed || kind == order.MovedCancelled) {
				continue
			}
			d := deed{part.SKU, c.ID, kind}
			if s, there := h.happened[d]; there {
				s.to = min(s.to, c.End)
				h.happened[d] = s
			}
		}
	}
}

// parts are the SKUs that a call is about, with the units.
func (c *call) parts() []order.Line {
	if c.SKU != "" {
		return []order.Line{{SKU: c.SKU}}
	}
	return unitsOf(c.Lines)
}

// moves are the movements that the call may have made, and those that its answer
// shows to be there, if they ever are.
func (c *call) moves() (may, saw []order.MovementKind) {
	switch c.Verb {
	case book, accept:
		may = []order.MovementKind{order.MovedBooked}
	case hold:
		may = []order.MovementKind{order.MovedHeld}
	case confirm, confirmTx:
		may = []order.MovementKind{order.MovedConfirmed}
	case reclaim:
		may = []order.MovementKind{order.MovedConfirmed, order.MovedReclaimed}
	case cancel, cancelTx, void:
		may = []order.MovementKind{order.MovedCancelled}
	case setCapacity:
		may = []order.MovementKind{order.MovedCapacity}
	case restock:
		may = []order.MovementKind{order.MovedRestock}
	}
	if c.Verb.adjusts() && c.Outcome == done {
		return may, may
	}
	status := c.Status
	switch {
	case c.Outcome == cancelled:
		status = order.Cancelled
	case c.Outcome == expired && c.Verb.takes():
		status = order.Expired
	case c.Outcome == expired:
		status = order.Held // or it has expired
	case c.Outcome != done:
		return may, nil
	}
	switch status {
	case order.Held:
		saw = []order.MovementKind{order.MovedHeld}
	case order.Confirmed:
		saw = []order.MovementKind{order.MovedHeld, order.MovedBooked, order.MovedConfirmed, order.MovedReclaimed}
	case order.Cancelled:
		saw = []order.MovementKind{order.MovedCancelled}
	case order.Expired:
		saw = []order.MovementKind{order.MovedExpired}
	}
	return may, saw
}

// auditTimes finds movements that are numbered in an order in which they can't have
// happened.
func (h *history) auditTimes() (problems []problem) {
	for d, s := range h.happened {
		if s.from > s.to {
			problems = append(problems, problem{wrongLedger, "SKU " + d.sku + ": the movement " + string(d.kind) + " of " + d.id + " is numbered out of order"})
		}
	}
	return problems
}
