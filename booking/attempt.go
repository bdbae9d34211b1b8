package booking

import (
	"context"
	"errors"
	"time"

	"github.com/lastunit/lastunit/internal/gather"
	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

// attempt is one try of this process to carry out a request. It shares nothing
// with other tries at the same order: each has deductions of its own, of which
// Postgres takes one.
type attempt struct {
	s     *Service
	order order.Order

	// held are the deductions, one for each line; zero where there is none.
	held []inventory.Deduction

	// inDoubt: a commit was sent whose outcome is unknown, so it may land at
	// any later time. Then nothing is given back: first a fence must be written,
	// by the sweep or before a refusal.
	inDoubt bool
	// doubtful are the deductions that such commits would consume, and
	// doubtfulDirect says that one had none, so that nothing can fence it.
	doubtful       []inventory.Deduction
	doubtfulDirect bool

	// overdrawn: more is taken in Redis than Postgres has. Only then can an
	// earlier try at this order, by whomever, hold a unit while there is none left.
	overdrawn bool
}

const (
	// maxAgain bounds how often deductions may turn out dead. A SKU that is
	// rebuilt faster than we can commit is then sold past Redis.
	maxAgain = 5

	// maxResends bounds how often a commit with an unknown outcome is sent
	// again, to find the outcome out: with the same identities, so that it
	// can't be booked twice.
	maxResends = 3
)

// book carries the request out.
func (s *Service) book(ctx context.Context, o order.Order) (order.Order, error) {
	a := &attempt{s: s, order: o, held: make([]inventory.Deduction, len(o.Lines))}
	for again := 0; ; again++ {
		var deductions []inventory.Deduction
		if again < maxAgain {
			existing, err := a.deduct(ctx)
			if existing != nil {
				a.giveBack(ctx, a.held...)
				return a.existing(*existing)
			}
			if err != nil {
				return a.refuse(ctx, err)
			}
			deductions = a.held
		}
		outcome, err := a.commit(ctx, deductions)
		if err != nil {
			return a.refuse(ctx, err)
		}
		switch outcome.Verdict {
		case order.VerdictAgain:
			a.dropDead(ctx, outcome.Again)
		case order.VerdictBooked:
			if deductions == nil {
				a.giveBack(ctx, a.held...)
			}
			return outcome.Order, nil
		case order.VerdictExisting, order.VerdictConflict:
			for l, consumed := range outcome.Consumed {
				if consumed {
					a.held[l] = inventory.Deduction{} // it is being settled
				}
			}
			a.giveBack(ctx, a.held...)
			return a.existing(outcome)
		case order.VerdictFull:
			line := a.order.Lines[outcome.Line]
			a.overdrawn = true
			return a.refuse(ctx, &inventory.StockError{SKU: line.SKU, Requested: line.Quantity, Available: outcome.Left})
		case order.VerdictUnknown:
			return a.refuse(ctx, &order.SKUError{SKU: a.order.Lines[outcome.Line].SKU, Err: order.ErrUnknownSKU})
		default:
			return a.refuse(ctx, outcome.Err)
		}
	}
}

// existing is the answer for an ID that Postgres has.
func (a *attempt) existing(outcome order.Outcome) (order.Order, error) {
	switch {
	case outcome.Verdict == order.VerdictConflict:
		return order.Order{}, &order.OrderError{ID: a.order.ID, Err: order.ErrIdempotencyConflict}
	case !outcome.Order.Status.Live():
		return outcome.Order, &order.OrderError{ID: a.order.ID, Err: order.ErrCancelled}
	}
	return outcome.Order, nil
}

// commit asks Postgres. Where the outcome is unknown it asks again, as long as
// the caller waits: most often only the connection was lost.
func (a *attempt) commit(ctx context.Context, deductions []inventory.Deduction) (order.Outcome, error) {
	for resends := 0; ; resends++ {
		outcome, err := a.s.lane(a.order).Do(ctx, order.Commit{Order: a.order, Deductions: deductions})
		if err == nil {
			return outcome, nil
		}
		if errors.Is(err, gather.ErrNotSent) || errors.Is(err, order.ErrUnavailable) && !errors.Is(err, order.ErrOutcomeUnknown) {
			return outcome, err // nothing was stored, and nothing will be by this
		}
		a.inDoubt = true
		a.doubtful = append(a.doubtful, deductions...)
		a.doubtfulDirect = a.doubtfulDirect || deductions == nil
		if resends == maxResends || !pause(ctx, time.Duration(1+resends)*50*time.Millisecond) {
			return outcome, err
		}
	}
}

// dropDead gives dead deductions back and forgets them. To deduct again takes
// an attempt of its own name, as the dead one may still be on record.
func (a *attempt) dropDead(ctx context.Context, again []bool) {
	for l, dead := range again {
		if dead {
			a.giveBack(ctx, a.held[l])
			a.held[l] = inventory.Deduction{}
		}
	}
}

// giveBack restores deductions that a definite answer of Postgres has refused
// or replaced, or that were never sent to it. What it can't restore, the sweep does.
func (a *attempt) giveBack(ctx context.Context, deductions ...inventory.Deduction) {
	var held []inventory.Deduction
	for _, d := range deductions {
		if d != (inventory.Deduction{}) {
			held = append(held, d)
		}
	}
	if a.inDoubt || len(held) == 0 {
		return
	}
	// Also when the caller has left: somebody else may be waiting for the units.
	err := a.s.briefly(context.WithoutCancel(ctx), func(ctx context.Context) error {
		return a.s.config.Inventory.Restore(ctx, held...)
	})
	if err != nil {
		a.s.log.DebugContext(ctx, "lastunit: could not restore; the sweep does it", "order", a.order.ID, "error", err)
	}
}

// pause waits, unless the context ends first.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func isContext(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}
