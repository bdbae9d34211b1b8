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
	// 200 ms in which every call failed, or 5 seconds in which none returned; those
	// under way by then wait for as long as they are ready to.
	Refuse RedisDown = iota

	// SellDirect sells through Postgres alone, as with Config.Inventory left nil.
	// Accept is Book with a Receipt then. What is left is in Redis before it is
	// asked again. An order ID that another process had in hand as Redis went may
	// be told "sold out" here and be booked there, if units come back in that moment.
	SellDirect
)

// redisPatience bounds how long a caller waits for Redis where Postgres may sell by
// itself: one that hangs should not cost them the time that they have.
const redisPatience = 500 * time.Millisecond

var errTooLong = fmt.Errorf("%w: no answer within %v", inventory.ErrUnavailable, redisPatience)

// askRedis runs a call about a SKU that needs Redis, unless its circuit is open.
func (s *Service) askRedis(ctx context.Context, sku string, call func(context.Context) error) error {
	at, began := s.shelf.spot(sku), time.Now()
	if at.circuit.hangs(began, errHangs) {
		s.cuts(ctx, sku, errHangs)
	}
	if because := s.tryRedis(sku, at, began); because != nil {
		return fmt.Errorf("%w: SKU %q: it has not answered for a while: %w", inventory.ErrUnavailable, sku, because)
	}
	patient := ctx
	if s.config.WhenRedisDown == SellDirect {
		var cancel context.CancelFunc
		patient, cancel = context.WithTimeout(ctx, redisPatience)
		defer cancel()
	}
	at.circuit.enter(began)
	err := call(patient)
	answered := !errors.Is(err, inventory.ErrUnavailable) && !isContext(err)
	if !answered && patient.Err() != nil && ctx.Err() == nil {
		err = fmt.Errorf("%w: SKU %q: %w", errTooLong, sku, err)
	}
	at.circuit.leave(answered)
	switch {
	case answered:
		at.circuit.works()
	case ctx.Err() == nil || time.Since(began) >= redisPatience: // else the caller has left too soon to know
		if at.circuit.fails(time.Now(), err) {
			s.cuts(ctx, sku, err)
		}
	}
	return err
}

// cuts takes note of a circuit that has opened.
func (s *Service) cuts(ctx context.Context, sku string, because error) {
	s.cutOff.Add(1)
	s.log.WarnContext(ctx, "lastunit: Redis does not answer; it is asked in the background only", "sku", sku, "error", because)
}

// tryRedis says why Redis is not to be asked about a SKU, nil if it is, and tries it
// where it is time to.
func (s *Service) tryRedis(sku string, at *spot, now time.Time) (because error) {
	try, because := at.circuit.check(now)
	if try {
		s.tryAgain(&at.circuit, func(ctx context.Context) error { return s.bringToRedis(ctx, sku) }, func() {
			s.cutOff.Add(-1)
			s.log.Info("lastunit: Redis answers again", "sku", sku)
		})
	}
	return because
}

// without says whether Redis has no say about a SKU at the moment.
func (s *Service) without(sku string) bool {
	return s.direct() || s.config.WhenRedisDown == SellDirect && s.shelf.isCut(sku)
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
