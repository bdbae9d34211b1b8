package booking

import (
	"context"
	"crypto/rand"
	"slices"
	"strconv"
	"strings"

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
//	order.ErrUnknownSKU           a refusal: never put on sale (*order.SKUError)
//	order.ErrIdempotencyConflict  the ID was used for another customer or other lines
//	order.ErrCancelled            the order was cancelled; it comes beside the error
//	order.ErrRejected             a constraint of your own in the database refuses it
//	inventory.ErrInvalid          a bound is broken (*inventory.InvalidError)
//	order.ErrNotMigrated          call order.Migrate
//	order.ErrOutcomeUnknown       any other error: ask again with the same ID
//
// After the refusals nothing is taken, and the same ID may be tried again.
func (s *Service) Book(ctx context.Context, request Request) (order.Order, error) {
	o, err := request.order()
	if err != nil {
		return order.Order{}, err
	}
	ctx, cancel := s.bound(ctx)
	defer cancel()

	key := joinKey(o)
	for {
		// A second click joins the first one, and whoever leaves does so at
		// once, whatever the clients below do with a context.
		done := s.joined.DoChan(key, func() (any, error) {
			s.inHand.enter()
			defer s.inHand.leave()
			return s.book(ctx, o)
		})
		select {
		case result := <-done:
			booked, _ := result.Val.(order.Order)
			if result.Shared {
				if result.Err != nil && isContext(result.Err) && ctx.Err() == nil {
					continue // the caller that we joined has left
				}
				booked.Lines = slices.Clone(booked.Lines)
			}
			return booked, unknown(result.Err)
		case <-ctx.Done():
			s.joined.Forget(key) // nobody shall join what may be about to end
			return order.Order{}, unknown(ctx.Err())
		}
	}
}

// joinKey is the same for requests with the same ID and the same content.
func joinKey(o order.Order) string {
	var key strings.Builder
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
