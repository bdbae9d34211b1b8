package booking

import (
	"context"
	"errors"
	"fmt"

	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

// refusal is what Redis refused a deduction with.
type refusal struct {
	err            error
	epoch, version int64 // of the supply that it was decided on

	// One of these is there.
	stock  *inventory.StockError
	limit  *inventory.LimitError
	window *inventory.WindowError
}

// refusalOf finds the refusal that an error is, if it is one.
func refusalOf(err error) (refusal, bool) {
	r := refusal{err: err}
	switch {
	case errors.As(err, &r.stock):
		r.epoch, r.version = r.stock.Epoch, r.stock.Version
	case errors.As(err, &r.limit):
		r.epoch, r.version = r.limit.Epoch, r.limit.Version
	case errors.As(err, &r.window):
		r.epoch, r.version = r.window.Epoch, r.window.Version
	default:
		return r, false
	}
	return r, true
}

// meaning is what a refusal of Redis means, if it is not an error: one of these.
// None of them: Redis is of an older epoch, which the next deduction finds.
type meaning struct {
	existing *order.Outcome // the order is there already
	renewed  bool           // Redis was not up to date, and is now
	cleared  bool           // the sale is open by Postgres's clock
	inFlight error          // what is missing is in flight: this is what to say if it doesn't come back
}

// ask finds out what a refusal of Redis means. Nobody is refused before their
// order ID is known to be new, and Postgres tells that and whether the refusal is
// right in one round trip. Only what Postgres says too becomes an error.
func (a *attempt) ask(ctx context.Context, u int, r refusal) (meaning, error) {
	found, err := a.look(ctx)
	if err != nil {
		return meaning{}, err
	}
	if found.Verdict != order.VerdictNew {
		return meaning{existing: &found.Outcome}, nil
	}
	unit := a.units[u]
	c, ok := found.counters[unit.SKU]
	if !ok {
		return meaning{}, &order.SKUError{SKU: unit.SKU, Err: order.ErrUnknownSKU}
	}
	var used int64
	if found.Used != nil {
		used = found.Used[u]
	}
	if err := a.refusedToo(u, r, found, used); err != nil {
		return meaning{}, err
	}
	if c.Epoch > r.epoch {
		return meaning{}, nil // Redis is behind, as the next deduction finds: it knows of c now
	}
	m := meaning{inFlight: r.inFlight(unit, c, used)}
	switch {
	case c.Epoch < r.epoch || c.Version < r.version:
		m.renewed = true
		return m, a.s.reload(ctx, unit.SKU, r.epoch, becauseAhead)
	case c.Version > r.version:
		m.renewed = true
		a.s.bring(ctx, c)
	case r.window != nil:
		m.cleared = true
	case errors.Is(r.err, inventory.ErrSoldOut):
		// By the same supply, what Redis has for sold exceeds what Postgres
		// admitted: counters that never were ours. They are not believed.
		m.renewed = true
		return m, a.s.reload(ctx, unit.SKU, c.Epoch, "they have more units settled than Postgres admitted")
	}
	return m, nil
}

// refusedToo is the error if Postgres refuses the unit too, by the counters that were
// found and by what the customer has.
func (a *attempt) refusedToo(u int, r refusal, found looked, used int64) error {
	unit := a.units[u]
	c := found.counters[unit.SKU]
	if c.Retired() {
		return &order.SKUError{SKU: unit.SKU, Err: order.ErrRetired}
	}
	if err := c.Terms.At(unit.SKU, c.At); err != nil {
		a.rivalled = a.rivalled || r.window == nil || r.window.Unsettled > 0
		return err
	}
	if c.CustomerLimit > 0 && used+unit.Quantity > c.CustomerLimit {
		a.rivalled = a.rivalled || r.limit == nil || r.limit.Unsettled > 0
		return &inventory.LimitError{SKU: unit.SKU, Limit: c.CustomerLimit, Requested: unit.Quantity, Used: used}
	}
	if r.stock != nil && c.Left() < unit.Quantity && c.Version == r.version {
		a.rivalled = a.rivalled || r.stock.Over > 0
		if c.Left() <= 0 {
			a.s.learnSoldOut(unit.SKU, a.s.shelf.spot(unit.SKU))
		}
		return found.short(a.units, u)
	}
	return nil
}

// inFlight is the inventory.ErrTryAgain to say if what is missing does not come
// back: Postgres has it, so it is in flight, whatever Redis counts.
func (r refusal) inFlight(unit order.Line, c order.Counters, used int64) error {
	switch {
	case r.stock != nil:
		short := *r.stock
		short.InFlight = max(short.InFlight, short.Requested-short.Available)
		return &short
	case r.limit != nil:
		return &inventory.LimitError{
			SKU: unit.SKU, Limit: max(c.CustomerLimit, used+unit.Quantity), Requested: unit.Quantity,
			Used: used, InFlight: r.limit.InFlight,
		}
	}
	return fmt.Errorf("%w: SKU %q is on sale by Postgres's clock, and its supply doesn't reach Redis", inventory.ErrUnavailable, unit.SKU)
}
