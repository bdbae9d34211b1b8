package soak_test

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/lastunit/lastunit/booking"
	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

const balconyCapacity = 40

// changeCapacities restocks the floor with less than is asked for, so that it is sold
// out again and again, and lowers and raises the balcony's capacity.
func (s *soak) changeCapacities(ctx context.Context) {
	for n := range every(ctx, 500*time.Millisecond) {
		s.surely(ctx, func() error {
			return s.shops[n%2].Restock(ctx, order.Adjustment{ID: name("restock", n), SKU: floor, Units: buyersPerSecond / 8})
		})
		capacity := int64(balconyCapacity - 35*(n%2))
		s.surely(ctx, func() error {
			return s.shops[n%2].SetCapacity(ctx, order.Adjustment{ID: name("set", n), SKU: balcony, Units: capacity})
		})
		s.surely(ctx, func() error {
			_, err := s.shops[n%2].Stocks(ctx, skus...)
			return err
		})
	}
}

// rebuild rebuilds one SKU after the other.
func (s *soak) rebuild(ctx context.Context) {
	for n := range every(ctx, 700*time.Millisecond) {
		s.surely(ctx, func() error { return s.shops[n%2].Rebuild(ctx, skus[n%len(skus)]) })
	}
}

// crowd is how many buyers come at once to what is sold out.
const crowd = 100

// crowds sends many buyers at once to what is sold out. The first ones buy it.
func (s *soak) crowds(ctx context.Context) {
	for n := range every(ctx, 300*time.Millisecond) {
		var all sync.WaitGroup
		for i := range crowd {
			all.Go(func() {
				r := booking.Request{ID: name("crowd", crowd*n+i), Customer: "crowd", Lines: []order.Line{{SKU: stage, Quantity: 1}}}
				_, err := s.buyers.ask(func(context.Context) (order.Order, error) {
					return s.shops[i%2].Book(context.WithoutCancel(ctx), r)
				})
				if err != nil && !errors.Is(err, inventory.ErrSoldOut) {
					s.buyers.complain("one of a crowd is told %v", err)
				}
			})
		}
		all.Wait()
	}
}

// surely makes a call until its outcome is known, or the run ends.
func (s *soak) surely(ctx context.Context, call func() error) {
	for ctx.Err() == nil {
		err := call()
		if err == nil {
			return
		}
		if !errors.Is(err, order.ErrOutcomeUnknown) && !errors.Is(err, order.ErrUnavailable) && ctx.Err() == nil {
			s.buyers.complain("a change fails: %v", err)
			return
		}
		s.buyers.again.Add(1)
	}
}
