package soak_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lastunit/lastunit/booking"
	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

// outcome is what the caller of an order was told last: a byte, so that to remember
// all of them takes the same memory from the beginning to the end.
type outcome byte

// The outcomes.
const (
	none      outcome = iota // nobody asked, or it was refused: it must not be there
	confirmed                // and the others must be there, in this status
	cancelled
	expired // it was held, and nobody did anything
)

// buyers are all buyers of a run, each with an order of its own.
type buyers struct {
	s        *soak
	outcomes []outcome // by number
	made     atomic.Int64
	sold     atomic.Int64 // orders that somebody got
	refused  atomic.Int64
	again    atomic.Int64 // calls after which the buyer had to ask again

	mu    sync.Mutex
	wrong []string // answers that nobody may get
}

func newBuyers(s *soak, length time.Duration) *buyers {
	return &buyers{s: s, outcomes: make([]outcome, int(length.Seconds()*buyersPerSecond)+2*buyersPerSecond)}
}

// complain takes note of an answer that must not be.
func (b *buyers) complain(format string, arguments ...any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.wrong) < 20 {
		b.wrong = append(b.wrong, fmt.Sprintf(format, arguments...))
	}
}

// holdFor is long enough for what a buyer does with a hold.
const holdFor = 10 * time.Minute

// buy is what buyer n does: by turns, each of what there is.
func (b *buyers) buy(n int) {
	b.made.Add(1)
	shop := b.s.shops[n%2]
	r := booking.Request{ID: name("order", n), Customer: name("customer", n), Lines: []order.Line{{SKU: floor, Quantity: 1}}}
	booked := none
	switch n / 2 % 10 {
	case 0:
		booked = b.took(n, shop, r, shop.Book)
	case 1: // it comes back
		if booked = b.took(n, shop, r, shop.Book); booked == confirmed {
			booked = b.then(n, cancelled, func(ctx context.Context) (order.Order, error) { return b.other(n).Cancel(ctx, r.ID) })
		}
	case 2:
		r.Lines = append(r.Lines, order.Line{SKU: balcony, Quantity: 1 + int64(n/20%2)})
		if booked = b.took(n, shop, r, shop.Book); booked == confirmed {
			booked = b.then(n, cancelled, func(ctx context.Context) (order.Order, error) { return shop.Cancel(ctx, r.ID) })
		}
	case 3:
		if booked = b.took(n, shop, r, b.hold(shop, holdFor)); booked == confirmed {
			b.then(n, confirmed, func(ctx context.Context) (order.Order, error) { return shop.Extend(ctx, r.ID, holdFor) })
			booked = b.then(n, confirmed, func(ctx context.Context) (order.Order, error) { return b.other(n).Confirm(ctx, r.ID) })
		}
	case 4:
		if booked = b.took(n, shop, r, b.hold(shop, holdFor)); booked == confirmed {
			booked = b.then(n, cancelled, func(ctx context.Context) (order.Order, error) { return shop.Cancel(ctx, r.ID) })
		}
	case 5:
		if booked = b.took(n, shop, r, b.hold(shop, 100*time.Millisecond)); booked == confirmed {
			booked = expired
		}
	case 6, 7:
		booked = b.took(n, shop, r, b.accept(shop))
	case 8: // leaves, and comes again
		ctx, cancel := context.WithTimeout(context.Background(), rand.N(2*time.Millisecond))
		_, _ = shop.Book(ctx, r)
		cancel()
		booked = b.took(n, b.other(n), r, b.other(n).Book)
	case 9: // as one of few, who have a limit
		r.Customer = name("regular", n/20%50)
		r.Lines[0].SKU = box
		if booked = b.took(n, shop, r, shop.Book); booked == confirmed {
			booked = b.then(n, cancelled, func(ctx context.Context) (order.Order, error) { return shop.Cancel(ctx, r.ID) })
		}
	}
	b.outcomes[n] = booked
}

// other is the service that the buyer did not ask first.
func (b *buyers) other(n int) *shop { return b.s.shops[1-n%2] }

type take func(context.Context, booking.Request) (order.Order, error)

func (b *buyers) hold(shop *shop, ttl time.Duration) take {
	return func(ctx context.Context, r booking.Request) (order.Order, error) { return shop.Hold(ctx, r, ttl) }
}

// accept waits for what becomes of the order.
func (b *buyers) accept(shop *shop) take {
	return func(ctx context.Context, r booking.Request) (order.Order, error) {
		receipt, err := shop.Accept(ctx, r)
		if err != nil {
			return order.Order{}, err
		}
		return receipt.Wait(ctx)
	}
}

// took asks for an order until the answer is definite: confirmed if there is one, held
// or confirmed, else what is there in its place.
func (b *buyers) took(n int, shop *shop, r booking.Request, take take) outcome {
	o, err := b.ask(func(ctx context.Context) (order.Order, error) { return take(ctx, r) })
	var expiry *order.HoldExpiredError
	switch {
	case err == nil:
		b.sold.Add(1)
		return confirmed
	case errors.As(err, &expiry): // a short hold of which the answer was lost
		return expired
	case errors.Is(err, order.ErrRefused):
		b.refused.Add(1)
		return cancelled
	case errors.Is(err, inventory.ErrSoldOut), errors.Is(err, inventory.ErrLimitExceeded):
		b.refused.Add(1)
		return none
	}
	b.complain("buyer %d asks for %+v, is told %v, and has %+v", n, r, err, o)
	return none
}

// then changes an order until the answer is definite.
func (b *buyers) then(n int, becomes outcome, change func(context.Context) (order.Order, error)) outcome {
	o, err := b.ask(change)
	if err != nil {
		b.complain("buyer %d changes an order, is told %v, and has %+v", n, err, o)
	}
	return becomes
}

// ask makes a call until the answer is definite.
func (b *buyers) ask(call func(context.Context) (order.Order, error)) (o order.Order, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for {
		o, err = call(ctx)
		again := errors.Is(err, inventory.ErrTryAgain) || errors.Is(err, order.ErrOutcomeUnknown) ||
			errors.Is(err, order.ErrBusy) || errors.Is(err, booking.ErrOverloaded)
		if !again || ctx.Err() != nil {
			return o, err
		}
		b.again.Add(1)
		time.Sleep(20 * time.Millisecond) // between tries, as a caller would
	}
}
