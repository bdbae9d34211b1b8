package booking

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/lastunit/lastunit/inventory"
)

// RedisDown says what becomes of bookings while Redis can't be asked.
type RedisDown int

// What to do while Redis can't be asked.
const (
	// Refuse refuses with order.ErrOutcomeUnknown, whose cause is
	// inventory.ErrUnavailable: nothing is sold until Redis is back. That spares
	// Postgres a rush that it may not be made for. Callers are refused at once after
	// 200 ms in which every call failed, or 5 seconds in which none returned, and one
	// more did not either; those under way by then wait for as long as they are ready
	// to. When a call fails is the client's to say: go-redis gives a Redis that refuses
	// connections up after some 2 seconds, unless its settings say otherwise (see the
	// documentation of package inventory).
	Refuse RedisDown = iota

	// SellDirect sells through Postgres alone, as with Config.Inventory left nil.
	// Accept is Book with a Receipt then. Callers wait for Redis half a second at
	// most, or half of the time that they have, until it has not answered for a while.
	// What is left is in Redis before it is asked again. An order ID of which another
	// try was under way as Redis went, in another process or given up by its caller, may
	// be told "sold out" here and be booked by that try, if units come back in that moment.
	SellDirect
)

// redisPatience bounds how long a caller waits for Redis where Postgres may sell by
// itself: one that hangs should not cost them the time that they have.
const redisPatience = 500 * time.Millisecond

var errTooLong = fmt.Errorf("%w: no answer in time", inventory.ErrUnavailable)

// patient is for how long a caller waits for Redis.
func (s *Service) patient(ctx context.Context) (context.Context, context.CancelFunc) {
	if s.config.WhenRedisDown != SellDirect {
		return ctx, func() {}
	}
	patience := redisPatience
	if deadline, there := ctx.Deadline(); there {
		patience = min(patience, time.Until(deadline)/2) // the rest is for Postgres
	}
	return context.WithTimeout(ctx, patience)
}

// askRedis runs a call about a SKU that needs Redis, unless a circuit on the way is open.
// There is one for each server, so that what a few SKUs' callers find out holds for those
// of all others on it; and one for each SKU, as one alone may be in trouble.
func (s *Service) askRedis(ctx context.Context, sku string, call func(context.Context) error) (err error) {
	at, began := s.shelf.spot(sku), time.Now()
	on := s.places.of(ctx, sku)
	if at.on.Swap(on) != on {
		on.meet(sku)
	}
	if wrong := s.unpaired(); wrong != nil {
		at.missed.Add(1) // it may be sold past Redis
		return fmt.Errorf("SKU %q: %w", sku, wrong)
	}
	if because := s.tryRedis(ctx, sku, at, on, began); because != nil {
		at.missed.Add(1)
		return fmt.Errorf("%w: SKU %q: it has not answered for a while: %w", inventory.ErrUnavailable, sku, because)
	}
	defer s.shelf.touch(sku, at)
	patient, cancel := s.patient(ctx)
	defer cancel()
	on.circuit.enter(began)
	at.circuit.enter(began)
	answered := false // as if it panics
	defer func() {
		at.circuit.leave(answered)
		on.circuit.leave(answered)
	}()
	if err = s.catchUp(patient, sku, at); err == nil {
		err = call(patient)
	}
	switch answered = !errors.Is(err, inventory.ErrUnavailable) && !isContext(err); {
	case !answered && ctx.Err() != nil && time.Since(began) < redisPatience: // the caller has left too soon to know
	case !answered:
		if patient.Err() != nil && ctx.Err() == nil {
			err = fmt.Errorf("%w: SKU %q: %w", errTooLong, sku, err)
		}
		s.failed(ctx, sku, at, on, began, err)
	case !errors.Is(err, inventory.ErrNotLoaded): // else it will be seen whether it can be loaded
		at.circuit.works()
		on.circuit.works()
	}
	return err
}

// failed takes note of a call to Redis about a SKU that came to nothing.
func (s *Service) failed(ctx context.Context, sku string, at *spot, on *place, began time.Time, err error) {
	now := time.Now()
	if on.circuit.fails(sku, began, now, err) {
		s.cutsPlace(ctx, on, sku, err)
	} else if !on.circuit.cut() && at.circuit.fails(sku, began, now, err) {
		s.cuts(ctx, sku, err)
	}
}

// cuts takes note of a SKU's own circuit that has opened.
func (s *Service) cuts(ctx context.Context, sku string, because error) {
	s.cutOff.Add(1)
	s.places.cut.Store(sku, true)
	s.warn(ctx, sku, "lastunit: Redis does not answer about a SKU: "+s.meanwhile(), "error", because)
}

// meanwhile is what happens while Redis does not answer.
func (s *Service) meanwhile() string {
	if s.config.WhenRedisDown == SellDirect {
		return "Postgres alone sells until it does"
	}
	return "callers are refused until it does"
}

// tryRedis says why Redis is not to be asked about a SKU, nil if it is, and tries it
// where it is time to.
func (s *Service) tryRedis(ctx context.Context, sku string, at *spot, on *place, now time.Time) (because error) {
	if because := s.tryPlace(ctx, on, sku, now); because != nil {
		return because
	}
	try, because := at.circuit.check(now)
	if try {
		s.tryAgain(&at.circuit, func(ctx context.Context) error { return s.bringToRedis(ctx, sku) }, func(after time.Duration) {
			s.cutOff.Add(-1)
			s.places.cut.Delete(sku)
			s.log.Info("lastunit: Redis answers again about a SKU", "sku", sku, "after", after)
		})
	}
	return because
}

// isCut says whether Redis is not to be asked about a SKU at the moment.
func (s *Service) isCut(sku string) bool {
	if s.unpaired() != nil {
		return true
	}
	at := s.shelf.spot(sku)
	if s.cutOff.Load() == 0 || at == nil {
		return false
	}
	on := at.on.Load()
	return on != nil && on.circuit.cut() || at.circuit.cut()
}

// without says whether Redis has no say about a SKU at the moment.
func (s *Service) without(sku string) bool {
	return s.direct() || s.config.WhenRedisDown == SellDirect && s.isCut(sku)
}

// misses takes note that Redis did not hear of a supply: it does before it is asked
// again.
func (s *Service) misses(sku string) {
	if at := s.shelf.spot(sku); at != nil {
		at.missed.Add(1)
	}
}

// catchUp brings Redis the supply of a SKU if it has missed one. Else it might promise
// units to an accepted order that Postgres has sold meanwhile.
func (s *Service) catchUp(ctx context.Context, sku string, at *spot) error {
	if at.missed.Load() == at.caughtUp.Load() {
		return nil // as nearly always
	}
	return s.joinedCall(ctx, &s.catchUps, sku, func(ctx context.Context) error {
		missed := at.missed.Load()
		err := s.bringToRedis(ctx, sku)
		if err == nil {
			at.caughtUp.Store(missed)
		}
		return err
	})
}

// bringToRedis brings the supply to Redis as Postgres has it.
func (s *Service) bringToRedis(ctx context.Context, sku string) error {
	c, err := s.counters(ctx, sku)
	if err != nil {
		return err
	}
	s.shelf.observeCounters(c)
	return s.push(ctx, c)
}
