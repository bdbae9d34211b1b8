package booking

import (
	"context"
	"crypto/rand"
	"errors"
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

// refuse ends the attempt with an error. Before one that says that nothing was
// taken, it makes sure that nothing will be: no earlier commit of this order may
// still land when its caller has been told that there is no order.
func (a *attempt) refuse(ctx context.Context, refusal error) (order.Order, error) {
	if !isDefinite(refusal) {
		a.giveBack(ctx, a.held...)
		return order.Order{}, refusal
	}
	if a.doubtfulDirect {
		return order.Order{}, order.ErrOutcomeUnknown
	}
	rivals := a.doubtful
	if a.overdrawn {
		others, err := a.rivals(ctx)
		if err != nil {
			return order.Order{}, err
		}
		rivals = append(rivals, others...)
	}
	if len(rivals) > 0 {
		consumed, _, err := a.s.config.Orders.Fence(ctx, rivals)
		if err != nil {
			return order.Order{}, err
		}
		if slices.Contains(consumed, true) {
			found, err := a.s.looks.Do(ctx, order.Commit{Order: a.order})
			if err != nil {
				return order.Order{}, err
			}
			return a.existing(found.Outcome)
		}
		a.inDoubt = false
	}
	a.giveBack(ctx, append(rivals, a.held...)...)
	return order.Order{}, refusal
}

// rivals are the unsettled deductions of other tries at this order.
func (a *attempt) rivals(ctx context.Context) ([]inventory.Deduction, error) {
	var rivals []inventory.Deduction
	for _, line := range a.order.Lines {
		k, err := a.s.know(ctx, line.SKU)
		if err != nil {
			return nil, err
		}
		unsettled, err := a.s.config.Inventory.Unsettled(ctx, k.store, line.SKU, 0, maxQueue)
		if err != nil && !errors.Is(err, inventory.ErrNotLoaded) { // what was lost was of an epoch that ends
			return nil, err
		}
		for _, d := range unsettled {
			if d.OrderID == a.order.ID && !slices.Contains(a.held, d) {
				rivals = append(rivals, d)
			}
		}
	}
	return rivals, nil
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

// deduct gets a deduction for every line that has none. If a line falls short,
// it returns what became of the order ID before, if it is not new.
func (a *attempt) deduct(ctx context.Context) (existing *order.Outcome, err error) {
	for l, line := range a.order.Lines {
		if a.held[l] != (inventory.Deduction{}) {
			continue
		}
		if existing, err = a.deductLine(ctx, l, line); existing != nil || err != nil {
			return existing, err
		}
	}
	return nil, nil
}

const (
	// patience is how long a booking waits for units in flight to come back
	// before it says "try again".
	patience  = 250 * time.Millisecond
	firstWait = 2 * time.Millisecond
	maxWait   = 32 * time.Millisecond

	// maxRenewals bounds how often one line brings Redis up to date. Who needs
	// more has a Redis that loses its counters faster than we load them.
	maxRenewals = 10

	// maxLooks bounds how often one line waits for an epoch that somebody else
	// began. If they are dead, nobody else will load it.
	maxLooks = 3
)

func (a *attempt) deductLine(ctx context.Context, l int, line order.Line) (*order.Outcome, error) {
	began, wait := time.Now(), firstWait
	looks := map[int64]int{} // at an epoch that Redis does not have yet
	for renewals := 0; ; {
		k, err := a.s.know(ctx, line.SKU)
		if err != nil {
			return nil, err
		}
		d, err := a.s.config.Inventory.Deduct(ctx, inventory.Request{
			SKU: line.SKU, Store: k.store, Attempt: rand.Text(), OrderID: a.order.ID,
			Quantity: line.Quantity, Watermark: k.Watermark,
		})
		var short *inventory.StockError
		var unusable *inventory.NotLoadedError
		renewed := false
		switch {
		case err == nil:
			a.s.shelf.observeDeduction(d)
			a.held[l] = d
			return nil, nil
		case errors.As(err, &unusable):
			// Unless Redis had this epoch, who began it is probably about to
			// load it. Look again before beginning another one.
			if looks[k.Epoch]++; !k.loaded && looks[k.Epoch] <= maxLooks {
				break
			}
			if err := a.s.reload(ctx, line.SKU, k.Epoch, err.Error()); err != nil {
				return nil, err
			}
			renewed = true
		case errors.As(err, &short):
			var existing *order.Outcome
			var meant error
			if existing, renewed, meant = a.short(ctx, line, short); existing != nil || meant != nil {
				return existing, meant
			}
		default:
			return a.withoutRedis(ctx, err)
		}
		if renewed {
			if renewals++; renewals <= maxRenewals {
				continue
			}
			if short == nil {
				return nil, err
			}
		}
		if short != nil && (renewed || time.Since(began) >= patience) {
			// Postgres may still have units: they are in flight, whatever Redis counts.
			short.InFlight = max(short.InFlight, short.Requested-short.Available)
			return nil, short
		}
		if !pause(ctx, wait) {
			return nil, ctx.Err()
		}
		wait = min(2*wait, maxWait)
	}
}

// withoutRedis is the answer when Redis could not be asked: a second click gets
// its order all the same.
func (a *attempt) withoutRedis(ctx context.Context, cause error) (existing *order.Outcome, _ error) {
	if found, err := a.s.looks.Do(ctx, order.Commit{Order: a.order}); err == nil && found.Verdict != order.VerdictNew {
		return &found.Outcome, nil
	}
	return nil, cause
}

// short finds out what it means that Redis has too few units: the order is
// there already; or they are gone, which is the error; or Redis was not up to
// date and is renewed; or, none of these, they are in flight. Nobody is refused
// before their order ID is known to be new, and Postgres tells that and the
// rest in one round trip.
func (a *attempt) short(ctx context.Context, line order.Line, short *inventory.StockError) (existing *order.Outcome, renewed bool, _ error) {
	found, err := a.s.looks.Do(ctx, order.Commit{Order: a.order})
	if err != nil {
		return nil, false, err
	}
	if found.Verdict != order.VerdictNew {
		return &found.Outcome, false, nil
	}
	c, ok := found.counters[line.SKU]
	switch {
	case !ok:
		return nil, false, &order.SKUError{SKU: line.SKU, Err: order.ErrUnknownSKU}
	case c.Left() < line.Quantity && c.Version == short.Version:
		a.overdrawn = a.overdrawn || short.Over > 0
		return nil, false, &inventory.StockError{SKU: line.SKU, Requested: line.Quantity, Available: max(0, c.Left()), Over: max(0, -c.Left())}
	case c.Epoch > short.Epoch:
		// Redis is behind, as the next deduction will find: it knows of c now.
		return nil, false, nil
	case c.Epoch < short.Epoch || c.Version < short.Version:
		return nil, true, a.s.reload(ctx, line.SKU, c.Epoch, "they are ahead of Postgres")
	case c.Version > short.Version:
		a.s.bring(ctx, c)
		return nil, true, nil
	case errors.Is(short, inventory.ErrSoldOut):
		// By the same supply, what Redis has for sold exceeds what Postgres
		// admitted: counters that never were ours. They are not believed.
		return nil, true, a.s.reload(ctx, line.SKU, c.Epoch, "they have more units settled than Postgres admitted")
	}
	return nil, false, nil
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
