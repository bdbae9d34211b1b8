package booking

import (
	"context"
	"errors"
	"fmt"
	"slices"
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
	ttl   time.Duration         // of a hold; 0 for a booking
	name  string                // of the attempt in every SKU; empty for a name of its own for each deduction
	sold  *inventory.StockError // a SKU is known to be sold out, so the ID is looked up first; nil if none is

	units  []order.Line // of the order: its lines and what they draw on pools
	pooled string       // the SKU of a line that can only be drawn on; empty if none is
	// held are the deductions, one for each unit; zero where there is none.
	held []inventory.Deduction
	one  [1]inventory.Deduction // where held is, of most orders

	// sent: Redis or Postgres was sent something that takes units.
	sent bool

	// inDoubt: a commit was sent whose outcome is unknown, so it may land at
	// any later time. Then nothing is given back: first a fence must be written,
	// by the sweep or before a refusal. doubt is why it is unknown.
	inDoubt bool
	doubt   error
	// doubtful are the deductions that such commits would consume, and
	// doubtfulDirect says that one had none, so that nothing can fence it.
	doubtful       []inventory.Deduction
	doubtfulDirect bool

	// rivalled: an earlier try at this order, by whomever, may have units in
	// Redis although this one is refused. Where nothing is in flight that this one
	// could not have, there is none: then Redis's count of it says so, unless more
	// is taken there than Postgres has.
	rivalled bool

	// For those who join it: see joins.
	done   chan struct{} // nil while there are none
	answer *order.Order
	err    error
}

const (
	// maxAgain bounds how often deductions may turn out dead. With SellDirect a SKU
	// that is rebuilt faster than we can commit is then sold past Redis. Else it is not:
	// a commit without a deduction can't be fenced, so that it might land after another
	// process has refused the order.
	maxAgain = 5

	// maxResends bounds how often a commit with an unknown outcome is sent
	// again, to find the outcome out: with the same identities, so that it
	// can't be booked twice.
	maxResends = 3
)

var errPanicked = fmt.Errorf("%w: the call that carried it out in this process panicked", order.ErrOutcomeUnknown)

var errDead = fmt.Errorf("%w: the SKUs were rebuilt, or swept, %d times before the commit", inventory.ErrUnavailable, maxAgain)

// run carries the request out.
func (a *attempt) run(ctx context.Context) (order.Order, error) {
	if err := a.s.withoutPostgres(); err != nil {
		return a.refuse(ctx, err)
	}
	for again := 0; ; again++ {
		if err := a.draw(ctx); err != nil {
			return a.refuse(ctx, err)
		}
		if err := a.poolOnly(); err != nil {
			return a.refuse(ctx, err)
		}
		if again > 2*maxAgain {
			return a.refuse(ctx, order.ErrUnavailable) // other draws each time
		}
		if again == 0 {
			if known, booked, err := a.soldOut(ctx); known {
				return booked, err
			}
		}
		if again >= maxAgain && !a.s.direct() && a.s.config.WhenRedisDown != SellDirect {
			return a.refuse(ctx, errDead)
		}
		var deductions []inventory.Deduction
		if again < maxAgain && !a.s.direct() {
			existing, err := a.deduct(ctx)
			if existing != nil {
				a.giveBack(ctx, a.held...)
				return a.existing(ctx, *existing)
			}
			if err != nil {
				return a.refuse(ctx, err)
			}
			deductions = a.deductions()
		}
		outcome, err := a.commit(ctx, deductions)
		if err != nil {
			return a.refuse(ctx, err)
		}
		switch outcome.Verdict {
		case order.VerdictAgain:
			if err := a.dropDead(ctx, outcome.Again); err != nil && (ctx.Err() != nil || !a.s.sellsWithout(err)) {
				return a.refuse(ctx, err)
			}
		case order.VerdictBooked:
			if deductions == nil && !a.inDoubt {
				a.restoreAfterPush(ctx, a.held)
			}
			return outcome.Order, nil
		case order.VerdictExisting, order.VerdictConflict:
			for u, consumed := range outcome.Consumed {
				if consumed {
					a.held[u] = inventory.Deduction{} // it is being settled
				}
			}
			a.giveBack(ctx, a.held...)
			return a.existing(ctx, outcome)
		case order.VerdictFull:
			unit := a.units[outcome.Unit]
			a.rivalled = true
			a.s.learnSoldOut(unit.SKU, a.s.shelf.spot(unit.SKU))
			return a.refuse(ctx, outcome.Err)
		case order.VerdictUnknown:
			return a.refuse(ctx, &order.SKUError{SKU: a.units[outcome.Unit].SKU, Err: order.ErrUnknownSKU})
		case order.VerdictClosed, order.VerdictLimited:
			a.rivalled = !errors.Is(outcome.Err, order.ErrRetired) // no other try is ever committed
			return a.refuse(ctx, outcome.Err)
		default:
			return a.refuse(ctx, outcome.Err)
		}
	}
}

// soldOut looks the order ID up where a SKU is known to be sold out, and says
// whether that is the answer.
func (a *attempt) soldOut(ctx context.Context) (known bool, _ order.Order, _ error) {
	if a.sold == nil {
		return false, order.Order{}, nil
	}
	found, err := a.look(ctx)
	switch {
	case err != nil:
		return true, order.Order{}, err
	case found.Verdict != order.VerdictNew:
		booked, err := a.existing(ctx, found.Outcome)
		return true, booked, err
	}
	u := slices.IndexFunc(a.units, func(unit order.Line) bool { return unit.SKU == a.sold.SKU })
	if u < 0 || found.counters[a.sold.SKU].Left() > 0 {
		return false, order.Order{}, nil
	}
	a.rivalled = true // one may have begun since it was known
	booked, err := a.refuse(ctx, found.short(a.units, u))
	return true, booked, err
}

// draw finds out what the lines draw on pools. Where that is not what was drawn
// before, it begins anew: it is another database.
func (a *attempt) draw(ctx context.Context) error {
	drawing := false
	a.pooled = ""
	for _, line := range a.order.Lines {
		k, err := a.s.know(ctx, line.SKU)
		if err != nil {
			return err
		}
		if k.poolOnly {
			a.pooled = line.SKU
		}
		drawing = drawing || k.draws != nil
	}
	var draws []order.Line
	if drawing {
		var err error
		if draws, err = a.s.shelf.drawsOf(a.order.Lines); err != nil {
			return err
		}
	}
	if a.units == nil || !slices.Equal(draws, a.order.Draws) {
		a.giveBack(ctx, a.held...)
		a.order.Draws = draws
		a.units = a.order.Units()
		if a.held == nil && len(a.units) == 1 {
			a.held = a.one[:]
		} else {
			a.held = make([]inventory.Deduction, len(a.units))
		}
	}
	return nil
}

// poolOnly is the error if a line is of a SKU that can only be drawn on.
func (a *attempt) poolOnly() error {
	if a.pooled == "" {
		return nil
	}
	return &order.SKUError{SKU: a.pooled, Err: order.ErrPoolOnly}
}

// existing is the answer for an ID that Postgres has.
func (a *attempt) existing(ctx context.Context, outcome order.Outcome) (order.Order, error) {
	switch {
	case outcome.Verdict == order.VerdictConflict:
		return order.Order{}, &order.OrderError{ID: a.order.ID, Err: order.ErrIdempotencyConflict}
	case outcome.Order.Status == order.Expired:
		return outcome.Order, a.expired(ctx, outcome.Order)
	case outcome.Order.Refused != (order.Refusal{}):
		return outcome.Order, &order.RefusedError{ID: a.order.ID, Refusal: outcome.Order.Refused}
	case !outcome.Order.Status.Live():
		return outcome.Order, &order.OrderError{ID: a.order.ID, Err: order.ErrCancelled}
	}
	return outcome.Order, nil
}

// expired says when the order's hold expired, and what is left.
func (a *attempt) expired(ctx context.Context, o order.Order) error {
	units := o.Units()
	skus := make([]string, len(units))
	for i, unit := range units {
		skus[i] = unit.SKU
	}
	counters, err := a.s.config.Orders.Counters(ctx, skus...)
	if err != nil {
		return err
	}
	return order.NewHoldExpiredError(o, counters)
}

// commitOf is what is committed, or looked up without deductions.
func (a *attempt) commitOf(deductions []inventory.Deduction) order.Commit {
	return order.Commit{Order: a.order, Hold: a.ttl, Deductions: deductions}
}

// look finds out what became of the order, by its ID. Where the database does not let
// it be asked for, that is unknown.
func (a *attempt) look(ctx context.Context) (looked, error) {
	found, err := a.s.looks.Do(ctx, a.commitOf(nil))
	if err == nil && found.Verdict == order.VerdictFailed {
		return looked{}, &outcomeUnknown{found.Err}
	}
	return found, err
}

// commit asks Postgres. Where the outcome is unknown it asks again, as long as
// the caller waits: most often only the connection was lost. Where a SKU is
// reopening it waits for that.
func (a *attempt) commit(ctx context.Context, deductions []inventory.Deduction) (order.Outcome, error) {
	for resends := 0; ; resends++ {
		outcome, err := a.s.lane(&a.order).Do(ctx, a.commitOf(deductions))
		for err == nil && outcome.Verdict == order.VerdictReopening {
			a.sent = true
			if !pause(ctx, outcome.Wait) {
				return outcome, ctx.Err()
			}
			outcome, err = a.s.lane(&a.order).Do(ctx, a.commitOf(deductions))
		}
		if errors.Is(err, gather.ErrNotSent) {
			return outcome, err
		}
		a.sent = true
		if err == nil || storedNothing(err) {
			return outcome, err
		}
		a.inDoubt, a.doubt = true, err
		a.doubtful = append(a.doubtful, thoseThere(deductions)...)
		a.doubtfulDirect = a.doubtfulDirect || deductions == nil
		if resends == maxResends || a.s.postgres.cut() || !pause(ctx, time.Duration(1+resends)*50*time.Millisecond) {
			return outcome, err
		}
	}
}

// storedNothing reports whether an error of a Store's method is its word that nothing was
// changed, and that nothing will be by this call.
func storedNothing(err error) bool {
	return isDefinite(err) || errors.Is(err, order.ErrUnavailable) && !errors.Is(err, order.ErrOutcomeUnknown)
}

// deductions are what the order would consume: none at all if it has none.
func (a *attempt) deductions() []inventory.Deduction {
	if !slices.ContainsFunc(a.held, isThere) {
		return nil
	}
	return a.held
}

// isThere says whether a unit has a deduction.
func isThere(d inventory.Deduction) bool { return d != (inventory.Deduction{}) }

// thoseThere are the deductions of the units that have one.
func thoseThere(deductions []inventory.Deduction) (there []inventory.Deduction) {
	for _, d := range deductions {
		if isThere(d) {
			there = append(there, d)
		}
	}
	return there
}

// dropDead gives dead deductions back and forgets them. To deduct again takes
// an attempt of its own name, as the dead one may still be on record. Where Redis has
// counters of an epoch that Postgres does not have, it replaces them.
func (a *attempt) dropDead(ctx context.Context, again []bool) error {
	var gone []inventory.Deduction
	for u, dead := range again {
		if dead {
			gone = append(gone, a.held[u])
			a.held[u] = inventory.Deduction{}
		}
	}
	a.giveBack(ctx, gone...)
	return a.s.replaceAhead(ctx, gone)
}

// giveBack restores deductions that a definite answer of Postgres has refused
// or replaced, or that were never sent to it. What it can't restore, the sweep does.
func (a *attempt) giveBack(ctx context.Context, deductions ...inventory.Deduction) {
	if !a.inDoubt {
		a.restore(ctx, deductions, false)
	}
}

// restoreAfterPush is for an order that was committed without the deductions: it is
// their units that it took. Redis hears first what Postgres has left, as else it
// could promise them to an accepted order meanwhile.
func (a *attempt) restoreAfterPush(ctx context.Context, deductions []inventory.Deduction) {
	a.restore(ctx, deductions, true)
}

// restore gives back those of the deductions that there are.
func (a *attempt) restore(ctx context.Context, deductions []inventory.Deduction, push bool) {
	held := slices.DeleteFunc(thoseThere(deductions), func(d inventory.Deduction) bool { return a.s.isCut(d.SKU) }) // the sweep does it
	if len(held) == 0 {
		return
	}
	// Also when the caller has left: somebody else may be waiting for the units.
	err := a.s.briefly(context.WithoutCancel(ctx), func(ctx context.Context) error {
		if push {
			if err := a.s.pushOf(ctx, held); err != nil {
				return err
			}
		}
		return a.s.config.Inventory.Restore(ctx, held...)
	})
	if err != nil {
		a.s.log.DebugContext(ctx, "lastunit: could not restore; the sweep does it", "order", a.order.ID, "error", err)
	}
}

// pushOf pushes the supplies of the SKUs that deductions are of.
func (s *Service) pushOf(ctx context.Context, deductions []inventory.Deduction) error {
	skus := make([]string, len(deductions))
	for i, d := range deductions {
		skus[i] = d.SKU
	}
	slices.Sort(skus)
	counters, err := s.config.Orders.Counters(ctx, slices.Compact(skus)...)
	for _, c := range counters {
		if c.Retired() {
			continue
		}
		err = errors.Join(err, s.config.Inventory.Push(ctx, c.Supply()))
	}
	return err
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
