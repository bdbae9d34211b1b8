package order

import (
	"slices"
	"time"

	"github.com/lastunit/lastunit/inventory"
)

// Commit asks for an order to be stored.
type Commit struct {
	// Order has ID, Customer, Lines, sorted and summed as SumLines does it, and
	// Draws as DrawsOf finds them.
	Order Order

	// Hold makes the order held, for that long by the Store's clock: 1 ms to
	// MaxHold. 0 makes it confirmed. That it is held is part of its content; for
	// how long is not.
	Hold time.Duration

	// Deductions that the order would consume, one for each of Order.Units, in
	// the same order. A zero Deduction commits the units without one, and so
	// shrinks the supply. None at all does that for all of them.
	Deductions []inventory.Deduction
}

// MaxHold bounds how long an order is held at once.
const MaxHold = 30 * 24 * time.Hour

// Verdict is what became of a Commit.
type Verdict int

// The verdicts.
const (
	// VerdictNew: there is no such order. Only Look says so.
	VerdictNew Verdict = iota
	// VerdictBooked: the order was inserted and consumed the deductions.
	VerdictBooked
	// VerdictExisting: an order with this ID and content was there.
	VerdictExisting
	// VerdictConflict: an order with this ID and other content was there.
	VerdictConflict
	// VerdictAgain: nothing was stored. The deductions in Outcome.Again are dead:
	// restore them, deduct those units again, and commit again. Where the order's
	// Draws are not those of its SKUs, or a line is of a SKU that is PoolOnly, all of
	// them are: the Counters have the reason.
	VerdictAgain
	// VerdictFull: nothing was stored, Unit would exceed the capacity. Err is the
	// *inventory.StockError, which names the other units that fall short too.
	VerdictFull
	// VerdictUnknown: nothing was stored, the SKU of Unit was never put on sale.
	VerdictUnknown
	// VerdictFailed: nothing was stored, for the reason in Err. Only this order is
	// concerned: ErrRejected, or ErrNewerSchema for an answer that this build does not
	// know. Or it is ErrUnavailable: another transaction has locked what the order's row
	// needs, or the tables of its SKUs contradict each other.
	VerdictFailed
	// VerdictClosed: nothing was stored, as the SKU of Unit is not sold at the
	// moment. Err is the *inventory.WindowError, or a *SKUError that is ErrRetired.
	VerdictClosed
	// VerdictLimited: nothing was stored, Unit would exceed what one customer may
	// have. Err is the *inventory.LimitError.
	VerdictLimited
	// VerdictReopening: nothing was stored, as units of Unit came back only just
	// now after it was sold out. Commit again after Outcome.Wait. See Reopening.
	VerdictReopening
	// VerdictRefused: this very call stored that the order is refused. Only Refuse
	// says so.
	VerdictRefused
)

// String names the verdict.
func (v Verdict) String() string {
	return [...]string{"new", "booked", "existing", "conflict", "again", "full", "unknown", "failed", "closed", "limited", "reopening", "refused"}[v]
}

// Outcome is the answer to one Commit.
type Outcome struct {
	Verdict Verdict
	Order   Order // as it is now, if Booked, Existing or Refused

	// Consumed says of each of the Deductions whether the order consumed it.
	// Those must be settled. What is false is dead if the verdict is Existing,
	// Conflict, Full, Closed or Limited; restore it unless an earlier commit may
	// still land.
	Consumed []bool

	Again []bool        // of each of the Deductions: it is dead; if the verdict is Again
	Unit  int           // which of Order.Units decided, if Full, Unknown, Closed, Limited or Reopening
	Left  int64         // units left of it, if Full
	Wait  time.Duration // if Reopening: up to Reopening
	Err   error         // if Failed (ErrRejected for instance), Full, Closed or Limited

	// Used is what the customer's live orders have of each of Order.Units that
	// has a CustomerLimit. Only Look tells, and only if one of them has.
	Used []int64
}

// identity of the deduction for a unit; zero for none.
func (c *Commit) identity(unit int) inventory.Identity {
	if len(c.Deductions) == 0 {
		return inventory.Identity{}
	}
	return c.Deductions[unit].Identity()
}

// status is what the order begins as.
func (c *Commit) status() Status {
	if c.Hold > 0 {
		return Held
	}
	return Confirmed
}

// skusOf are the SKUs of the commits, sorted, each once.
func skusOf(commits []Commit) []string {
	var skus []string
	seen := make(map[string]struct{})
	for i := range commits {
		o := &commits[i].Order
		for _, units := range [...][]Line{o.Lines, o.Draws} {
			for _, unit := range units {
				if _, ok := seen[unit.SKU]; !ok {
					seen[unit.SKU] = struct{}{}
					skus = append(skus, unit.SKU)
				}
			}
		}
	}
	slices.Sort(skus)
	return skus
}
