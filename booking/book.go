package booking

import (
	"context"
	"crypto/rand"
	"slices"
	"strconv"
	"strings"
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

// order checks the request and makes it an order.
func (r Request) order() (order.Order, error) {
	o := order.Order{ID: r.ID, Customer: r.Customer, Lines: r.Lines}
	if o.ID == "" {
		o.ID = rand.Text()
	}
	if err := o.Check(); err != nil {
		return o, err
	}
	var err error
	o.Lines, err = order.SumLines(r.Lines)
	return o, err
}

// Book sells: it returns once the order is confirmed in Postgres. The same
// request again, at any time and in any process, returns the same order.
//
// The errors, and what to do:
//
//	inventory.ErrSoldOut          a refusal: too few units are left (*inventory.StockError)
//	inventory.ErrTryAgain         all that is left is in flight; it waited a quarter of a
//	                              second already: ask again in a second, for some seconds
//	inventory.ErrLimitExceeded    a refusal: the customer would have too much (*inventory.LimitError)
//	inventory.ErrNotOpen, ErrClosed, ErrPaused
//	                              a refusal: not sold at the moment (*inventory.WindowError)
//	order.ErrUnknownSKU           a refusal: never put on sale (*order.SKUError)
//	order.ErrIdempotencyConflict  the ID was used for another customer or other lines, or for a hold
//	order.ErrCancelled            the order was cancelled; it comes beside the error
//	order.ErrRejected             a constraint of your own in the database refuses it
//	inventory.ErrInvalid          a bound is broken (*inventory.InvalidError)
//	order.ErrNotMigrated          call order.Migrate
//	order.ErrOutcomeUnknown       any other error: ask again with the same ID
//
// After the refusals nothing is taken, and the same ID may be tried again.
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
	return s.take(ctx, request, ttl)
}

// take books, or holds if there is a time for it.
func (s *Service) take(ctx context.Context, request Request, ttl time.Duration) (order.Order, error) {
	o, err := request.order()
	if err != nil {
		return order.Order{}, err
	}
	ctx, cancel := s.bound(ctx)
	defer cancel()

	key := joinKey(o, ttl > 0)
	for {
		// A second click joins the first one, and whoever leaves does so at
		// once, whatever the clients below do with a context.
		done := s.joined.DoChan(key, func() (any, error) {
			s.inHand.enter()
			defer s.inHand.leave()
			return s.attempt(ctx, o, ttl)
		})
		select {
		case result := <-done:
			booked, _ := result.Val.(order.Order)
			if result.Shared {
				if result.Err != nil && isContext(result.Err) && ctx.Err() == nil {
					continue // the caller that we joined has left
				}
				booked.Lines, booked.Draws = slices.Clone(booked.Lines), slices.Clone(booked.Draws)
			}
			return booked, unknown(result.Err)
		case <-ctx.Done():
			s.joined.Forget(key) // nobody shall join what may be about to end
			return order.Order{}, unknown(ctx.Err())
		}
	}
}

// joinKey is the same for requests with the same ID and the same content.
func joinKey(o order.Order, held bool) string {
	var key strings.Builder
	key.WriteString(strconv.FormatBool(held))
	for _, text := range [...]string{o.ID, o.Customer} {
		key.WriteString(text)
		key.WriteByte(0) // no ID contains it
	}
	for _, line := range o.Lines {
		key.WriteString(line.SKU)
		key.WriteByte(0)
		key.WriteString(strconv.FormatInt(line.Quantity, 10))
		key.WriteByte(0)
	}
	return key.String()
}
