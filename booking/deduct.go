package booking

import (
	"context"
	"crypto/rand"
	"errors"
	"time"

	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

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

// deductLine deducts one line. Where Redis is not up to date it brings it up to
// date, and where the units are in flight it waits for them, both in bounds.
func (a *attempt) deductLine(ctx context.Context, l int, line order.Line) (*order.Outcome, error) {
	began, wait := time.Now(), firstWait
	var lookedAt int64 // the epoch that Redis does not have yet
	var looks int
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
			if lookedAt != k.Epoch {
				lookedAt, looks = k.Epoch, 0
			}
			if looks++; !k.loaded && looks <= maxLooks {
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
