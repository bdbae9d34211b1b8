package booking

import (
	"context"
	"slices"
	"time"

	"github.com/lastunit/lastunit/order"
)

// Request asks for an order.
type Request struct {
	// ID names the order: 1 to 128 bytes of UTF-8 without control characters. It
	// is the idempotency key: choose it before the first try, and use it for
	// every further one. Left empty, an ID is made, and a call that fails can't
	// be asked about again.
	ID string `json:"id"`

	// Customer is who orders: an ID like the order's. It is part of the content that a
	// repeated ID must agree with.
	Customer string `json:"customer"`

	// Lines are what is ordered: 1 to order.MaxLines, all or nothing. Lines of
	// the same SKU are added up.
	Lines []order.Line `json:"lines"`
}

// order checks the request and makes it an order. A single line is still the
// caller's, so that who is turned away costs little.
func (r Request) order() (order.Order, error) {
	o := order.Order{ID: r.ID, Customer: r.Customer, Lines: r.Lines}
	if o.ID == "" {
		o.ID = mint(time.Now())
	}
	if err := o.Check(); err != nil {
		return o, err
	}
	var err error
	if len(r.Lines) > 1 {
		o.Lines, err = order.SumLines(r.Lines)
	}
	return o, err
}

// Book sells: it returns once the order is confirmed in Postgres. The same
// request again, at any time and in any process, returns the same order.
//
// The errors, and what to do:
//
//	inventory.ErrSoldOut          a refusal: too few units are left (*inventory.StockError, which names
//	                              every SKU that falls short); held ones count as sold, and may come
//	                              back when their hold ends
//	inventory.ErrTryAgain         all that is left is in flight; it waited a quarter of a
//	                              second already: ask again in a second, for some seconds
//	inventory.ErrLimitExceeded    a refusal: the customer would have too much (*inventory.LimitError)
//	inventory.ErrNotOpen, ErrClosed, ErrPaused
//	                              a refusal: not sold at the moment (*inventory.WindowError)
//	order.ErrUnknownSKU           a refusal: never put on sale (*order.SKUError)
//	order.ErrPoolOnly             a refusal: it can only be drawn on by other SKUs (*order.SKUError)
//	order.ErrRetired              a refusal: retired, and sold never again (*order.SKUError); also inventory.ErrClosed
//	order.ErrIdempotencyConflict  the ID was used for another customer or other lines, or for a hold
//	order.ErrCancelled            the order was cancelled; it comes beside the error
//	order.ErrRefused              the order had been accepted, by Accept, and was refused since, for good
//	                              (*order.RefusedError; also the error of the reason); it comes beside the error
//	order.ErrRejected             a constraint, trigger or policy of your own in the database refuses it;
//	                              the cause is its message (also whatever a trigger raises, of any SQLSTATE)
//	inventory.ErrInvalid          a bound is broken (*inventory.InvalidError)
//	order.ErrNotMigrated          call order.Migrate
//	order.ErrNewerSchema          a newer build migrated the database: bring this program up to date
//	ErrNotSent                    the context ended before anything was sent: this call did nothing
//	order.ErrOutcomeUnknown       any other error: ask again with the same ID
//
// After those marked "a refusal" nothing is taken, and the same ID may be tried
// again; order.ErrCancelled and order.ErrRefused are for good.
//
// order.ErrOutcomeUnknown has many causes: see the package's documentation. Not all of
// them mend themselves: alert on it if it lasts.
func (s *Service) Book(ctx context.Context, request Request) (order.Order, error) {
	return s.take(ctx, request, 0)
}

// Hold takes the units as Book does, but only for a time: 1 ms to order.MaxHold.
// It returns once the order is held in Postgres, whose clock counts the time from
// the commit: see its ExpiresAt. Confirm makes it a booking; else it expires, and
// Run gives its units back. The same request again returns the same order,
// whatever became of it and whatever the ttl is then.
//
// The errors are those of Book, and order.ErrHoldExpired if the order was held
// and has expired since (*order.HoldExpiredError); it comes beside the error.
func (s *Service) Hold(ctx context.Context, request Request, ttl time.Duration) (order.Order, error) {
	if err := order.CheckHold("ttl", ttl); err != nil {
		return order.Order{}, err
	}
	held, err := s.take(ctx, request, ttl)
	if err == nil {
		s.needsRun()
	}
	return held, err
}

// take books, or holds if there is a time for it.
func (s *Service) take(ctx context.Context, request Request, ttl time.Duration) (order.Order, error) {
	o, err := request.order()
	if err != nil {
		return order.Order{}, err
	}
	sold, unheardOf := s.turnedAway(&o, request.ID == "")
	if unheardOf {
		return order.Order{}, sold
	}
	if len(o.Lines) == 1 {
		o.Lines = slices.Clone(o.Lines)
	}
	if err := sendable(ctx); err != nil {
		return order.Order{}, err
	}
	caller := ctx
	ctx, cancel := s.bound(ctx)
	defer cancel()
	for {
		a := &attempt{s: s, order: o, ttl: ttl, sold: sold}
		first, done := s.joins.join(a)
		if first == nil {
			booked, err := a.carryOut(ctx)
			return booked, a.unknown(caller, err)
		}
		// A second click joins the first one.
		select {
		case <-done:
			if first.err != nil && isContext(first.err) && ctx.Err() == nil {
				continue // the caller that we joined has left
			}
			return *clone(*first.answer), unknown(first.err)
		case <-ctx.Done():
			return order.Order{}, unknown(ctx.Err())
		}
	}
}

// carryOut makes the attempt, in its caller's goroutine, and lets those who joined
// it have the answer.
func (a *attempt) carryOut(ctx context.Context) (booked order.Order, err error) {
	a.s.inHand.enter()
	defer a.s.inHand.leave()
	err = errPanicked // what those who joined get if it panics
	defer func() { a.s.joins.leave(a, booked, err) }()
	booked, err = a.run(ctx)
	return booked, err
}
