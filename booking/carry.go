package booking

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

// Carrying an accepted order to Postgres. Several processes may do so at once, for
// the same order: they find the same deductions, under the attempt's name, of which
// Postgres consumes each once. Postgres alone decides: what Redis refuses now is
// committed without a deduction, as the order's units are promised already.

const (
	// carryAgain is the pause before an order is sent again whose commit failed. It
	// doubles up to maxCarryAgain. It is sent until Postgres has decided, however
	// long that takes: the backlog is what bounds the work.
	carryAgain    = 20 * time.Millisecond
	maxCarryAgain = time.Second
)

// carry sends orders on their way to Postgres.
func (s *Service) carry(orders ...*acceptance) {
	for _, e := range orders {
		if !s.carries[s.laneOf(&e.order)].Post(e) {
			s.carryLater([]*acceptance{e}, errors.New("too many orders are on their way"))
		}
	}
}

// carryLater sends orders on their way again after a while, because none can be
// committed.
func (s *Service) carryLater(orders []*acceptance, because error) {
	if s.backlog.failing.CompareAndSwap(false, true) {
		s.log.Warn("lastunit: accepted orders can't be committed; trying on", "orders", len(orders), "error", because)
	}
	s.carryAfterPause(orders...)
}

// carryAfterPause sends orders on their way again after a while, unless they were given
// up by then.
func (s *Service) carryAfterPause(orders ...*acceptance) {
	wait := maxCarryAgain
	for _, e := range orders {
		e.tries++
		if e.tries < 8 {
			wait = min(wait, carryAgain<<e.tries)
		}
	}
	time.AfterFunc(wait, func() {
		for _, e := range orders {
			select {
			case <-e.done:
			default:
				s.carry(e)
			}
		}
	})
}

// carryBatch commits accepted orders.
func (s *Service) carryBatch(ctx context.Context, batch []*acceptance) ([]struct{}, error) {
	commits := make([]order.Commit, len(batch))
	for i, e := range batch {
		commits[i] = e.commitOf(e.deductions())
	}
	outcomes, err := s.commitBatch(ctx, commits)
	if err != nil {
		s.carryLater(batch, err)
		return make([]struct{}, len(batch)), nil
	}
	if s.backlog.failing.CompareAndSwap(true, false) {
		s.log.Info("lastunit: accepted orders are committed again")
	}
	for i, e := range batch {
		if outcomes[i].Verdict != order.VerdictFailed {
			e.tries = 0
		}
		if outcomes[i].Verdict == order.VerdictBooked && e.wholly(outcomes[i].Consumed) {
			e.finish(outcomes[i].Order, nil) // as nearly all
			continue
		}
		s.inHand.enter()
		go func() {
			defer s.inHand.leave()
			ctx, cancel := s.bound(context.Background())
			defer cancel()
			e.hear(ctx, outcomes[i])
		}()
	}
	return make([]struct{}, len(batch)), nil
}

// deductions are what the order would consume: none at all if it has none, or if
// they turned out dead too often.
func (e *acceptance) deductions() []inventory.Deduction {
	if e.rounds >= maxAgain {
		return nil
	}
	return e.attempt.deductions()
}

// wholly says whether all that the order has in Redis was consumed.
func (e *acceptance) wholly(consumed []bool) bool {
	for u := range e.held {
		if u >= len(consumed) || !consumed[u] {
			return false
		}
	}
	return len(e.dead) == 0
}

// hear goes on with what Postgres said.
func (e *acceptance) hear(ctx context.Context, outcome order.Outcome) {
	switch outcome.Verdict {
	case order.VerdictBooked:
		e.drop(ctx, outcome.Consumed)
		e.finish(outcome.Order, nil)
	case order.VerdictExisting, order.VerdictConflict, order.VerdictRefused:
		e.drop(ctx, outcome.Consumed)
		there, err := e.existing(ctx, outcome)
		e.finish(there, unknown(err))
		if outcome.Verdict == order.VerdictRefused || e.refusalInDoubt && errors.Is(err, order.ErrRefused) {
			e.s.tell(ctx, there, err)
		}
	case order.VerdictReopening:
		time.AfterFunc(outcome.Wait, func() { e.s.carry(e) })
	case order.VerdictAgain:
		e.renew(ctx, outcome.Again)
		if err := e.poolOnly(); err != nil { // the SKU was made anew since
			e.hear(ctx, order.Outcome{Verdict: order.VerdictFailed, Err: err})
			return
		}
		e.s.carry(e)
	default:
		refused := e.order
		if refused.Refused = outcome.Refusal(e.units); refused.Refused == (order.Refusal{}) {
			// It alone, as those beside it are committed.
			e.s.warn(ctx, e.order.Lines[0].SKU, "lastunit: an accepted order can't be committed; trying on", "order", e.order.ID, "error", outcome.Err)
			e.s.carryAfterPause(e)
			return
		}
		written, err := e.s.refusals.Do(ctx, refused)
		if err == nil && written.Verdict == order.VerdictFailed {
			if errors.Is(written.Err, order.ErrRejected) {
				e.giveUp(ctx, written.Err)
				return
			}
			err = written.Err
		}
		if err != nil {
			e.refusalInDoubt = e.refusalInDoubt || errors.Is(unknown(err), order.ErrOutcomeUnknown)
			e.s.carryLater([]*acceptance{e}, err)
			return
		}
		e.hear(ctx, written)
	}
}

// giveUp is for an order that the database rejects, and its refusal too, as some
// constraint of its owner's does: it can never be stored. Its deductions are fenced,
// so that this attempt is over, and their units go back.
func (e *acceptance) giveUp(ctx context.Context, why error) {
	if held := thoseThere(append(slices.Clip(e.held), e.dead...)); len(held) > 0 {
		if _, _, err := e.s.config.Orders.Fence(ctx, held); err != nil {
			e.s.carryLater([]*acceptance{e}, err)
			return
		}
	}
	e.s.log.ErrorContext(ctx, "lastunit: the database rejects an accepted order, and its refusal", "order", e.order.ID, "error", why)
	e.drop(ctx, nil)
	e.finish(order.Order{}, why)
	refused := e.order
	refused.Refused = order.Refusal{Why: order.WhyRejected}
	e.s.tell(ctx, refused, why)
}

// refuseBatch writes refusals.
func (s *Service) refuseBatch(ctx context.Context, orders []order.Order) ([]order.Outcome, error) {
	return s.config.Orders.Refuse(ctx, orders)
}

// drop gives back what the order has in Redis beyond what it consumed, now that no
// commit of it can land any more. What it can't drop, a sweep finds.
//
// Before that Redis hears what Postgres has left: if the order was committed without
// a deduction, these units are the ones that it took, and to give them back first
// would let Redis promise them to another accepted order.
func (e *acceptance) drop(ctx context.Context, consumed []bool) {
	left := e.dead
	for u, d := range e.held {
		if u >= len(consumed) || !consumed[u] {
			left = append(left, d)
		}
	}
	e.restoreAfterPush(ctx, left)
}

// renew finds deductions in place of dead ones: after a rebuild they are there
// under another identity.
func (e *acceptance) renew(ctx context.Context, again []bool) {
	e.rounds++
	known := len(e.dead)
	for u, dead := range again {
		if dead {
			e.dead = append(e.dead, e.held[u])
			e.held[u] = inventory.Deduction{}
		}
	}
	if err := e.s.replaceAhead(ctx, e.dead[known:]); err != nil {
		e.s.log.DebugContext(ctx, "lastunit: counters that are ahead of Postgres are not replaced yet", "order", e.order.ID, "error", err)
	}
	if err := e.draw(ctx); err != nil { // only another database draws otherwise
		e.s.log.DebugContext(ctx, "lastunit: what an accepted order draws on pools is not known", "order", e.order.ID, "error", err)
	}
	e.find(ctx)
}

// find finds the deductions of the order that it has not in hand, or makes them.
// What it can't, is committed without. So is one that it finds dead once more: a
// sweep that did not know of the order yet has fenced it. Its units stay taken in
// Redis until the order is dropped.
func (e *acceptance) find(ctx context.Context) {
	var found []inventory.Deduction
	for u, unit := range e.units {
		if isThere(e.held[u]) {
			continue
		}
		d, err := e.findUnit(ctx, unit)
		if err != nil {
			continue
		}
		e.s.shelf.observeDeduction(d)
		d.Accepted = e.payload
		if slices.ContainsFunc(e.dead, func(dead inventory.Deduction) bool { return dead.SKU == d.SKU && dead.Identity() == d.Identity() }) {
			continue
		}
		e.held[u] = d
		found = append(found, d)
	}
	if len(found) > 0 {
		// If it was made anew, Redis lost it, and shall have it again.
		if _, err := e.s.config.Inventory.Accept(ctx, e.payload, found...); err != nil {
			e.s.log.DebugContext(ctx, "lastunit: an accepted order is not beside its deductions", "order", e.order.ID, "error", err)
		}
	}
}

// findUnit finds or makes the deduction of a unit. It waits for units that are
// kept, and for an epoch that somebody has begun and not loaded yet: without a
// deduction the order would take what Redis may promise to others meanwhile.
func (e *acceptance) findUnit(ctx context.Context, unit order.Line) (inventory.Deduction, error) {
	for began := time.Now(); ; {
		k, err := e.s.know(ctx, unit.SKU)
		if err != nil {
			return inventory.Deduction{}, err
		}
		d, err := e.s.config.Inventory.Deduct(ctx, e.requestOf(unit, k, true))
		wait := maxWait
		var reopening *inventory.ReopeningError
		switch {
		case errors.As(err, &reopening):
			wait = reopening.Wait
		case !errors.Is(err, inventory.ErrNotLoaded) || k.retired || time.Since(began) >= e.s.config.Timeout/4:
			return d, err
		}
		if !pause(ctx, wait) {
			return d, err
		}
	}
}

// tell tells Config.OnRefused.
func (s *Service) tell(ctx context.Context, refused order.Order, why error) {
	if s.config.OnRefused == nil {
		return
	}
	defer func() {
		if r := recover(); r != nil {
			// To end the process for one order would leave all others behind.
			s.log.ErrorContext(ctx, "lastunit: Config.OnRefused panics", "order", refused.ID, "panic", r)
		}
	}()
	ctx, cancel := s.bound(context.WithoutCancel(ctx))
	defer cancel()
	s.config.OnRefused(ctx, refused, why)
}
