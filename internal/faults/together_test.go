package faults_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/booking"
	"github.com/lastunit/lastunit/internal/servertest"
	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

// Row 25: ten processes sell one SKU, and each rebuilds it all the time in the second
// case. In the short tests they are fewer: each of them takes half a second to start.
func manyProcesses(t *testing.T, m *measured) {
	for name, rebuild := range map[string]bool{"selling": false, "rebuilding": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := begin(t, setup{})
			before := s.counters()
			processes := either(10, 3)
			// The rush leaves a third of the units to the processes, who ask for more.
			each := int(s.capacity) / processes
			s.rushWith(m, rush{buyers: 2 * int(s.capacity/3)}, func() {
				var started []*servertest.Child
				for i := range processes {
					j := s.job(late+i*each, each, 4)
					j.Rebuild = rebuild
					started = append(started, s.start(j))
				}
				for _, c := range started {
					s.collect(c)
				}
			})
			assert.Equal(t, rebuild, s.counters().Epoch > before.Epoch, "whether it was rebuilt")
		})
	}
}

// Row 26: rebuilds, changes of the capacity and cancels under full load. Who is refused
// while the capacity is lowered asks again, as people do.
func churn(t *testing.T, m *measured) {
	s := begin(t, setup{})
	s.mayBeSold.Store(s.capacity)
	var churning atomic.Bool
	churning.Store(true)
	persistent := func(ctx context.Context, shop *booking.Service, r booking.Request) (order.Order, error) {
		o, err := shop.Book(ctx, r)
		if churning.Load() && errors.Is(err, inventory.ErrSoldOut) {
			return o, fmt.Errorf("%w, they say while it changes", inventory.ErrTryAgain)
		}
		return o, err
	}
	s.rushWith(m, rush{buy: persistent}, func() {
		for i := range either(300, 12) {
			shop, other := s.shops[i%2], s.shops[1-i%2]
			s.surely(func(ctx context.Context) error { return shop.Rebuild(ctx, floor) })
			s.setCapacity(shop, fmt.Sprint("down-", i), s.capacity/3+rand.N(s.capacity/3))
			r := request(floor, late+i)
			s.surely(func(ctx context.Context) error {
				_, err := shop.Book(ctx, r)
				if errors.Is(err, inventory.ErrSoldOut) {
					err = nil
				}
				return err
			})
			s.surely(func(ctx context.Context) error {
				_, err := other.Void(ctx, r.ID) // it may have been sold out
				return err
			})
			s.setCapacity(other, fmt.Sprint("up-", i), s.capacity)
		}
		lasts(2 * order.Reopening) // a process may say "sold out" from memory for half of that
		churning.Store(false)
	})
}

// surely makes a call until it succeeds.
func (s *sale) surely(call func(context.Context) error) {
	s.t.Helper()
	eventually(s.t, func() error {
		ctx, cancel := context.WithTimeout(context.Background(), oneTry)
		defer cancel()
		return call(ctx)
	})
}

func (s *sale) setCapacity(shop *booking.Service, id string, capacity int64) {
	s.t.Helper()
	s.surely(func(ctx context.Context) error {
		return shop.SetCapacity(ctx, order.Adjustment{ID: id, SKU: floor, Units: capacity})
	})
}

// holds makes so many holds.
func (s *sale) holds(n int, ttl func(i int) time.Duration) []order.Order {
	s.t.Helper()
	held := make([]order.Order, n)
	together(n, func(i int) {
		o, err := s.ask(s.shops[i%2], request(floor, late+i), func(ctx context.Context, shop *booking.Service, r booking.Request) (order.Order, error) {
			return shop.Hold(ctx, r, ttl(i))
		})
		assert.NoError(s.t, err)
		held[i] = o
		s.told.mu.Lock()
		delete(s.told.booked, o.ID) // it is for the row to say what becomes of it
		s.told.mu.Unlock()
	})
	return held
}

// together does something for each number up to n, many at once.
func together(n int, do func(i int)) {
	var all sync.WaitGroup
	places := make(chan struct{}, 100)
	for i := range n {
		places <- struct{}{}
		all.Go(func() {
			defer func() { <-places }()
			do(i)
		})
	}
	all.Wait()
}

// Row 27: a thousand holds, in a short test fewer, are confirmed at the moment at which
// they expire. The first and the last ones make sure that both happen.
func confirmRacesExpiry(t *testing.T, m *measured) {
	holds := either(1000, 300)
	s := begin(t, setup{capacity: int64(holds)})
	held := s.holds(holds, func(i int) time.Duration {
		if i < holds/10 {
			return time.Hour
		}
		return 3 * time.Second
	})
	var confirmed, expired atomic.Int64
	together(holds, func(i int) {
		o, shop := held[i], s.shops[rand.N(2)]
		switch {
		case i < holds/10:
		case i >= 9*holds/10:
			s.surely(func(ctx context.Context) error {
				is, err := s.orders.Order(ctx, o.ID)
				if err == nil && is.Status != order.Expired {
					err = fmt.Errorf("order %s is %s", o.ID, is.Status)
				}
				return err
			})
		default:
			lasts(time.Until(o.ExpiresAt.Add(rand.N(20*time.Millisecond) - 10*time.Millisecond)))
		}
		s.surely(func(ctx context.Context) error {
			is, err := shop.Confirm(ctx, o.ID)
			switch {
			case err == nil && is.Status == order.Confirmed:
				confirmed.Add(1)
				s.told.acknowledge(is)
				assert.True(t, is.ChangedAt.Before(is.ExpiresAt), "%+v was confirmed after its time", is)
			case errors.Is(err, order.ErrHoldExpired):
				expired.Add(1)
				s.told.refuse(o.ID)
			default:
				return fmt.Errorf("order %s is told %w and is %+v", o.ID, err, is)
			}
			return nil
		})
	})
	t.Logf("%d were confirmed, %d expired", confirmed.Load(), expired.Load())
	assert.Positive(t, confirmed.Load())
	assert.Positive(t, expired.Load())
	s.exact()
	assert.Equal(t, confirmed.Load(), s.sold(), "what was confirmed is sold, and the rest is back")
	s.recover(m, s.sellTheRest)
}

// Row 27: cancel and confirm of one order at the same moment. Whoever comes first, a
// cancel is for good.
func cancelRacesConfirm(t *testing.T, m *measured) {
	s := begin(t, setup{})
	held := s.holds(100, func(int) time.Duration { return time.Hour })
	var confirmed atomic.Int64
	together(2*len(held), func(i int) {
		o, shop := held[i/2], s.shops[rand.N(2)]
		s.surely(func(ctx context.Context) error {
			if i%2 == 0 {
				_, err := shop.Cancel(ctx, o.ID)
				return err
			}
			_, err := shop.Confirm(ctx, o.ID)
			if err == nil {
				confirmed.Add(1)
			}
			if errors.Is(err, order.ErrCancelled) {
				err = nil
			}
			return err
		})
	})
	t.Logf("%d were confirmed first", confirmed.Load())
	s.exact()
	assert.Zero(t, s.sold(), "all are cancelled")
	s.recover(m, s.sellTheRest)
}

// Row 27: both services sweep the same deductions, which nobody commits, again and
// again; and somebody gives each back, twice.
func sweptAndReleasedTwice(t *testing.T, m *measured) {
	s := begin(t, setup{idle: true}) // nobody sweeps before all are there
	const sold = 50                  // or nobody could tell if too much came back
	for i := range sold {
		_, err := s.ask(s.shops[i%2], request(floor, late+100+i), book)
		require.NoError(t, err)
	}
	s.exact()
	var deductions []inventory.Deduction
	c := s.counters()
	for i := range 50 {
		r := request(floor, late+i)
		d, err := s.inventory.Deduct(t.Context(), inventory.Request{
			SKU: floor, Store: c.Store, Attempt: "abandoned-" + r.ID, OrderID: r.ID, Customer: r.Customer, Quantity: 2,
		})
		require.NoError(t, err)
		deductions = append(deductions, d)
	}
	require.EqualValues(t, sold+100, s.stock().Taken)
	s.work()
	s.sweptByAll(deductions)
	s.exact()
	assert.EqualValues(t, sold, s.stock().Taken, "each came back once")
	assert.Zero(t, s.stock().Unsettled)
	assert.Equal(t, c.Epoch, s.counters().Epoch, "there was nothing to rebuild")
	s.recover(m, s.sellTheRest)
}

// sweptByAll sweeps deductions from both services at once until none is left, and restores
// what they fenced, and so can't be an order any more, twice more.
func (s *sale) sweptByAll(deductions []inventory.Deduction) {
	s.t.Helper()
	eventually(s.t, func() error {
		together(8, func(i int) {
			_, err := s.shops[i%2].Reconcile(context.Background(), booking.Repair, floor)
			assert.NoError(s.t, err)
		})
		return missing(int(s.stock().Unsettled), "units to be swept")
	})
	consumed, _, err := s.orders.Fence(context.Background(), deductions)
	require.NoError(s.t, err)
	assert.NotContains(s.t, consumed, true, "no order has them")
	together(2*len(deductions), func(i int) {
		assert.NoError(s.t, s.inventory.Restore(context.Background(), deductions[i/2]))
	})
}
