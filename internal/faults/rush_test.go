package faults_test

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/booking"
	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

// buy is how a caller gets an order: Service.Book, or something like it.
type buy func(ctx context.Context, shop *booking.Service, r booking.Request) (order.Order, error)

// book is the buy of most rows.
func book(ctx context.Context, shop *booking.Service, r booking.Request) (order.Order, error) {
	return shop.Book(ctx, r)
}

// oneTry bounds one call of a caller in a rush.
const oneTry = 2 * time.Second

// ask asks for an order until the answer is definite, with the same ID, and takes note
// of the answer. It leaves no call before the service does.
func (s *sale) ask(shop *booking.Service, r booking.Request, buy buy) (order.Order, error) {
	return s.askFor(patience, shop, r, buy)
}

// askFor is ask, by a caller who leaves each call after so long.
func (s *sale) askFor(oneTry time.Duration, shop *booking.Service, r booking.Request, buy buy) (order.Order, error) {
	deadline := time.Now().Add(patience)
	for {
		ctx, cancel := context.WithTimeout(context.Background(), oneTry)
		o, err := buy(ctx, shop, r)
		cancel()
		again := errors.Is(err, inventory.ErrTryAgain) || errors.Is(err, order.ErrOutcomeUnknown) ||
			errors.Is(err, booking.ErrOverloaded) || errors.Is(err, booking.ErrNotSent)
		s.told.call(err)
		switch {
		case err == nil:
			s.told.acknowledge(o)
		case errors.Is(err, inventory.ErrSoldOut):
			s.told.refuse(r.ID)
		case again && time.Now().Before(deadline):
			time.Sleep(25 * time.Millisecond) // between tries, as a caller would
			continue
		default:
			s.told.complain("order %s: %v", r.ID, err)
		}
		return o, err
	}
}

// rush is demand above the capacity.
type rush struct {
	first  int // number of the first buyer
	buyers int // defaults to three for each unit
	atOnce int // defaults to 40
	buy    buy // defaults to book

	// prepare is done while the last third of the units is not asked for yet: a fault
	// that takes its time to come about would find all sold.
	prepare func()
}

// rush sends the default rush at the sale with a fault in its middle, and audits.
func (s *sale) rush(m *measured, fault func()) {
	s.t.Helper()
	s.rushWith(m, rush{}, fault)
}

// rushWith sends buyers at the sale, each asking until the answer is definite. When a
// third of the units are acknowledged the fault happens, in the test's goroutine: it
// ends when the function returns. Another third of the demand comes before the fault
// at most, and the rest not before it has begun, so that it always is in the middle.
// Then recovery is measured, and the sale audited.
func (s *sale) rushWith(m *measured, r rush, fault func()) {
	s.t.Helper()
	if r.buyers == 0 {
		r.buyers = int(3 * s.capacity)
	}
	if r.atOnce == 0 {
		r.atOnce = 40
	}
	if r.buy == nil {
		r.buy = book
	}
	third := int(s.capacity / 3)
	begun := make(chan struct{})
	next := make(chan int)
	go func() {
		defer close(next)
		for i := range r.buyers {
			if i == 2*third {
				<-begun
			}
			next <- r.first + i
		}
	}()
	var callers sync.WaitGroup
	for caller := range r.atOnce {
		callers.Go(func() {
			for i := range next {
				_, _ = s.askFor(oneTry, s.shops[caller%len(s.shops)], request(floor, i), r.buy)
			}
		})
	}
	defer func() { // also if the fault ends the test
		select {
		case <-begun:
		default:
			close(begun)
		}
		callers.Wait()
	}()
	eventually(s.t, func() error {
		if s.told.acknowledged() < third {
			return errors.New("the rush does not get going")
		}
		return nil
	})
	require.Less(s.t, s.told.acknowledged(), int(s.capacity), "the fault comes in the middle")
	if r.prepare != nil {
		r.prepare()
	}
	close(begun)
	fault()
	s.recover(m, callers.Wait)
}

// recover is called when a fault is over: it measures how long the services take to
// sell again, waits for what is under way, measures how long the books take to be
// exact, and audits them.
func (s *sale) recover(m *measured, rest func()) {
	s.t.Helper()
	over := time.Now()
	for _, shop := range s.shops {
		s.probes++
		eventually(s.t, func() error {
			ctx, cancel := context.WithTimeout(context.Background(), oneTry)
			defer cancel()
			_, err := shop.Book(ctx, request(probe, s.probes))
			return err
		})
	}
	selling := time.Since(over)
	if rest != nil {
		rest()
	}
	s.exact()
	m.note(selling, time.Since(over))
	s.audit()
}

// noticed waits until more calls ended with an unknown outcome: a fault that no caller
// notices shows nothing.
func (s *sale) noticed() {
	s.t.Helper()
	before := s.told.unknown()
	eventually(s.t, func() error {
		if s.told.unknown() == before {
			return errors.New("no caller has noticed the fault")
		}
		return nil
	})
}

// lasts lets a fault last.
func lasts(d time.Duration) { time.Sleep(d) }
