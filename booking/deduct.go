package booking

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/lastunit/lastunit/internal/gather"
	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

// deduct gets a deduction for every unit that has none. If one falls short, it
// returns what became of the order ID before, if it is not new. A unit that Redis
// can't be asked for is left without where Postgres may sell by itself.
func (a *attempt) deduct(ctx context.Context) (existing *order.Outcome, err error) {
	for u := range a.units {
		if isThere(a.held[u]) {
			continue
		}
		existing, err = a.deductUnit(ctx, u)
		if a.s.sellsWithout(err) && ctx.Err() == nil {
			if errors.Is(err, errTooLong) {
				return nil, nil // the order has waited enough, and leaves the others without too
			}
			continue
		}
		if existing != nil || err != nil {
			return existing, err
		}
	}
	return nil, nil
}

// requestOf asks Redis for a unit.
func (a *attempt) requestOf(unit order.Line, k known, cleared bool) inventory.Request {
	return inventory.Request{
		SKU: unit.SKU, Store: k.store, Attempt: a.attemptName(), OrderID: a.order.ID, Customer: a.order.Customer,
		Quantity: unit.Quantity, Watermark: k.Watermark, Cleared: cleared,
	}
}

// attemptName names the try at a deduction.
func (a *attempt) attemptName() string {
	if a.name != "" {
		return a.name
	}
	return a.s.names.next()
}

const (
	// patience is how long a booking waits for units that are in flight to come back,
	// before it returns inventory.ErrTryAgain. Time in which it waits for anything
	// else, such as a rebuild, does not count: only the deadline bounds that.
	patience  = 250 * time.Millisecond
	firstWait = 2 * time.Millisecond
	maxWait   = 32 * time.Millisecond

	// maxRenewals bounds how often one unit brings Redis up to date. Who needs
	// more has a Redis that loses its counters faster than we load them.
	maxRenewals = 10

	// maxLooks bounds how often one unit waits for an epoch that somebody else
	// began. If they are dead, nobody else will load it.
	maxLooks = 3
)

// deductUnit deducts one unit. Where Redis is not up to date it brings it up to
// date, and where the units are in flight it waits for them, both in bounds.
func (a *attempt) deductUnit(ctx context.Context, u int) (*order.Outcome, error) {
	unit := a.units[u]
	wait := firstWait
	var inFlightSince time.Time // all answers since then were that the units are in flight; zero for none
	var reopening time.Duration // waited for units that came back and were kept
	var lookedAt int64          // the epoch that Redis does not have yet
	var looks int
	cleared := false // Postgres found the sale open, whatever Redis's clock says
	for renewals := 0; ; {
		k, err := a.s.know(ctx, unit.SKU)
		if err != nil {
			return nil, err
		}
		if k.retired {
			return a.retired(ctx, unit.SKU)
		}
		var d inventory.Deduction
		err = a.s.askRedis(ctx, unit.SKU, func(ctx context.Context) (err error) {
			d, err = a.s.config.Inventory.Deduct(ctx, a.requestOf(unit, k, cleared))
			a.sent = a.sent || !errors.Is(err, gather.ErrNotSent)
			return err
		})
		if err == nil {
			a.s.shelf.observeDeduction(d)
			a.held[u] = d
			return nil, nil
		}
		var kept *inventory.ReopeningError
		if errors.As(err, &kept) {
			if reopening >= 2*patience {
				return nil, err // it is sold out again and again
			}
			if !pause(ctx, kept.Wait) {
				return nil, ctx.Err()
			}
			reopening += kept.Wait
			inFlightSince = time.Time{}
			continue
		}
		renewed := false
		var inFlight error // what to say if the units don't come back in time
		var unusable *inventory.NotLoadedError
		if errors.As(err, &unusable) {
			// Unless Redis had this epoch, who began it is probably about to
			// load it. Look again before beginning another one.
			if lookedAt != k.Epoch {
				lookedAt, looks = k.Epoch, 0
			}
			if looks++; k.loaded || looks > maxLooks {
				if err := a.s.reload(ctx, unit.SKU, k.Epoch, err.Error()); err != nil && !errors.Is(err, order.ErrRetired) {
					return nil, err
				}
				renewed = true
			}
		} else {
			refused, ok := refusalOf(err)
			if !ok {
				return a.withoutRedis(ctx, err)
			}
			meaning, err := a.ask(ctx, u, refused)
			if meaning.existing != nil || err != nil {
				return meaning.existing, err
			}
			cleared = cleared || meaning.cleared
			renewed, inFlight = meaning.renewed || meaning.cleared, meaning.inFlight
		}
		if renewed {
			if renewals++; renewals > maxRenewals {
				return nil, cmp.Or(inFlight, err)
			}
			inFlightSince = time.Time{}
			continue
		}
		switch {
		case inFlight == nil:
			inFlightSince = time.Time{}
		case inFlightSince.IsZero():
			inFlightSince = time.Now()
		case time.Since(inFlightSince) >= patience:
			return nil, inFlight
		}
		if !pause(ctx, wait) {
			return nil, ctx.Err()
		}
		wait = min(2*wait, maxWait)
	}
}

// sellsWithout says whether an order is to be committed without the deduction that
// failed so.
func (s *Service) sellsWithout(err error) bool {
	return s.config.WhenRedisDown == SellDirect && (errors.Is(err, inventory.ErrUnavailable) || errors.Is(err, inventory.ErrNotLoaded))
}

// withoutRedis is the answer when Redis could not be asked: a second click gets
// its order all the same.
func (a *attempt) withoutRedis(ctx context.Context, cause error) (existing *order.Outcome, _ error) {
	if a.s.sellsWithout(cause) {
		return nil, cause // the commit will see
	}
	if found, err := a.look(ctx); err == nil && found.Verdict != order.VerdictNew {
		return &found.Outcome, nil
	}
	return nil, cause
}
