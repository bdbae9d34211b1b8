package order

import (
	"bytes"
	"slices"

	"github.com/lastunit/lastunit/inventory"
)

// record is an order as both stores keep it.
type record struct {
	Order
	counted  Status // the status that the counters and the movements know of
	number   int64  // newest first
	digest   []byte // nil if it was cancelled before it was booked
	consumed []consumption
}

// consumption is an identity that a unit of an order consumed.
type consumption struct {
	unit int // from 0
	inventory.Identity
}

// consumes says whether the order consumed this very deduction. Its status
// doesn't matter: what was consumed is settled, whatever became of the order.
func (r *record) consumes(d inventory.Deduction) bool {
	if len(r.consumed) == 0 {
		return false
	}
	units := r.Units()
	for _, c := range r.consumed {
		if c.Identity == d.Identity() && c.unit < len(units) && units[c.unit].SKU == d.SKU {
			return true
		}
	}
	return false
}

// answer is the outcome of a commit whose order ID is this record's.
func (r *record) answer(c Commit, digest []byte) Outcome {
	outcome := Outcome{Verdict: VerdictExisting, Order: r.copy(), Consumed: make([]bool, len(c.Deductions))}
	for i, d := range c.Deductions {
		outcome.Consumed[i] = r.consumes(d)
	}
	if r.digest != nil && !bytes.Equal(r.digest, digest) {
		outcome.Verdict, outcome.Order = VerdictConflict, Order{}
	}
	return outcome
}

// copy is the order, sharing nothing with the record.
func (r *record) copy() Order {
	o := r.Order
	o.Lines = slices.Clone(o.Lines)
	o.Draws = slices.Clone(o.Draws)
	return o
}
