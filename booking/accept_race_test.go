package booking_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/booking"
	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

// halfway is an inventory whose process dies when it has accepted an order in some
// of its SKUs, or has deducted and accepted in none.
type halfway struct {
	inventory.InventoryRepository
	n int // of the deductions that have the order
}

func (h *halfway) Accept(ctx context.Context, accepted string, ds ...inventory.Deduction) (inventory.Acceptance, error) {
	if h.n > 0 {
		if _, err := h.InventoryRepository.Accept(ctx, accepted, ds[:h.n]...); err != nil {
			return inventory.Acceptance{}, err
		}
	}
	return inventory.Acceptance{}, fmt.Errorf("%w: the process is dead", inventory.ErrUnavailable)
}

// A process dies between the SKUs of an order. Its caller was told nothing, so
// that it may be booked or not; but once, and with no unit left behind.
func TestProcessDiesBetweenTheSKUs(t *testing.T) {
	t.Parallel()
	for kept := range 3 {
		t.Run(fmt.Sprint("kept in ", kept), func(t *testing.T) {
			inABubbleAndReal(t, func(t *testing.T, s stores) {
				a, b := fmt.Sprint("a-", kept), fmt.Sprint("b-", kept)
				shop := accepts(t, s, 0)
				require.NoError(t, shop.PutOnSale(t.Context(), order.Item{SKU: a, Capacity: 3}, order.Item{SKU: b, Capacity: 3}))
				r := booking.Request{ID: a + b, Customer: "c", Lines: []order.Line{{SKU: a, Quantity: 1}, {SKU: b, Quantity: 2}}}
				down := &stalled{Store: s.orders}
				dead, err := booking.New(booking.Config{
					Inventory: &halfway{s.inventory, kept}, Orders: down, Logger: quiet, Timeout: 3 * time.Second,
				})
				require.NoError(t, err)
				eventually(t, func() error { _, err := dead.Stock(t.Context(), a); return err })
				down.down.Store(true)
				eventually(t, func() error { // in the time that it has
					_, err = dead.Accept(context.Background(), r)
					stocks, failed := s.inventory.Stock(context.Background(), a, b)
					if failed == nil && (stocks[0].Taken == 0 || stocks[1].Taken == 0) {
						failed = errors.New("it did not get there")
					}
					return failed
				})
				require.ErrorIs(t, err, order.ErrOutcomeUnknown)
				ended, end := context.WithCancel(context.Background())
				end()
				require.NoError(t, dead.Run(ended))

				background(t, shop.Service)
				exact(t, shop.Service)
				o, err := shop.Lookup(t.Context(), r)
				if kept == 0 {
					require.ErrorIs(t, err, order.ErrNotFound)
					o, err = book(shop.Service, r)
				}
				confirmed(t, o, err, r)
				exact(t, shop.Service)
				assert.EqualValues(t, 1, sold(t, s, a))
				assert.EqualValues(t, 2, sold(t, s, b))
				assert.Empty(t, shop.refusals(r.ID))
			})
		})
	}
}

// slowAccept is an inventory of a process that hangs on the way to accept an
// order, after it deducted.
type slowAccept struct {
	inventory.InventoryRepository
	before func()
	after  func()
	once   atomic.Bool
}

func (s *slowAccept) Accept(ctx context.Context, accepted string, ds ...inventory.Deduction) (inventory.Acceptance, error) {
	if s.once.CompareAndSwap(false, true) {
		s.before()
		answer, err := s.InventoryRepository.Accept(context.WithoutCancel(ctx), accepted, ds...)
		s.after()
		return answer, err
	}
	return s.InventoryRepository.Accept(ctx, accepted, ds...)
}

// listed is an inventory that does something between the list of unsettled
// deductions and what is done about them.
type listed struct {
	inventory.InventoryRepository
	found func()
}

func (l *listed) Unsettled(ctx context.Context, store, sku string, age time.Duration, limit int) ([]inventory.Deduction, error) {
	ds, err := l.InventoryRepository.Unsettled(ctx, store, sku, age, limit)
	if err == nil && len(ds) > 0 {
		l.found()
	}
	return ds, err
}

// A process hangs between the deduction and the Accept for so long that a sweep
// takes the deduction for abandoned; and wakes just then. The deduction is fenced,
// the order is accepted, and it is booked all the same.
func TestFencedWhileItIsAccepted(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, s stores) {
		slow, second := s, s
		hanging, wakes, accepted := make(chan struct{}), make(chan struct{}), make(chan struct{})
		slow.inventory = &slowAccept{
			InventoryRepository: s.inventory,
			before:              func() { close(hanging); <-wakes },
			after:               func() { close(accepted) },
		}
		var once atomic.Bool
		second.inventory = &listed{s.inventory, func() {
			if once.CompareAndSwap(false, true) {
				close(wakes)
				<-accepted
			}
		}}
		shop, other := accepts(t, slow, 0), accepts(t, second, 0)
		require.NoError(t, shop.PutOnSale(t.Context(), order.Item{SKU: "floor", Capacity: 1}))
		shop.stalled.down.Store(true)
		r := request("floor", 1)
		answer := make(chan error, 1)
		var receipt booking.Receipt
		go func() {
			var err error
			receipt, err = shop.Accept(context.Background(), r)
			answer <- err
		}()
		<-hanging
		background(t, other.Service)
		require.NoError(t, <-answer)
		require.True(t, once.Load(), "the moment that matters")
		shop.stalled.down.Store(false)
		o, err := waits(t, receipt)
		confirmed(t, o, err, r)
		exact(t, other.Service)
		assert.EqualValues(t, 1, sold(t, s, "floor"))
	})
}

// An Accept is on its way when its caller gives up and asks again, and is refused:
// when it arrives it makes no order.
func TestNoOrderByALateAccept(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, s stores) {
		slow := s
		hanging, wakes, arrived := make(chan struct{}), make(chan struct{}), make(chan struct{})
		var late inventory.Acceptance
		slow.inventory = &lateAccept{InventoryRepository: s.inventory, send: func(send func() (inventory.Acceptance, error)) {
			close(hanging)
			<-wakes
			var err error
			late, err = send()
			assert.NoError(t, err)
			close(arrived)
		}}
		shop, other := accepts(t, slow, 0), accepts(t, s, 0)
		require.NoError(t, shop.PutOnSale(t.Context(), order.Item{SKU: "floor", Capacity: 1}))
		shop.stalled.down.Store(true)
		r := request("floor", 1)
		ctx, leave := context.WithCancel(t.Context())
		go func() { <-hanging; leave() }()
		_, err := shop.Accept(ctx, r)
		require.ErrorIs(t, err, order.ErrOutcomeUnknown)

		require.NoError(t, other.Pause(t.Context(), "floor"))
		_, err = book(other.Service, r)
		require.ErrorIs(t, err, inventory.ErrPaused)
		require.NotErrorIs(t, err, order.ErrRefused, "the same ID may be tried again")
		close(wakes)
		<-arrived
		assert.Equal(t, []inventory.Keeping{inventory.Gone}, late.Keeping)
		require.NoError(t, other.Resume(t.Context(), "floor"))
		_, err = other.Lookup(t.Context(), r)
		require.ErrorIs(t, err, order.ErrNotFound)
		_, err = book(other.Service, request("floor", 2))
		require.NoError(t, err, "the unit came back at once")
		exact(t, other.Service)
	})
}

// The counters are rebuilt, or the deduction swept, between the deduction and the
// Accept: it is deducted and accepted again.
func TestGoneBeforeItIsAccepted(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, s stores) {
		other := accepts(t, s, 0)
		require.NoError(t, other.PutOnSale(t.Context(), order.Item{SKU: "floor", Capacity: 5}, order.Item{SKU: "balcony", Capacity: 5}))
		for name, between := range map[string]func() error{
			"one": func() error { return other.Rebuild(context.Background(), "floor") },
			"all": func() error {
				return errors.Join(other.Rebuild(context.Background(), "floor"), other.Rebuild(context.Background(), "balcony"))
			},
			"wiped": func() error { return s.client.Del(context.Background(), s.prefix+":{floor}:stock").Err() },
		} {
			t.Run(name, func(t *testing.T) {
				slow := s
				slow.inventory = &slowAccept{
					InventoryRepository: s.inventory, before: func() { assert.NoError(t, between()) }, after: func() {},
				}
				shop := accepts(t, slow, 0)
				r := booking.Request{ID: name, Customer: "c", Lines: []order.Line{{SKU: "balcony", Quantity: 1}, {SKU: "floor", Quantity: 1}}}
				receipt := accept(t, shop, r)
				o, err := waits(t, receipt)
				confirmed(t, o, err, r)
				background(t, shop.Service)
				exact(t, shop.Service)
			})
		}
	})
}

// lateAccept is an inventory of a process that dies while an Accept is on its way.
type lateAccept struct {
	inventory.InventoryRepository
	send func(func() (inventory.Acceptance, error))
}

func (l *lateAccept) Accept(ctx context.Context, accepted string, ds ...inventory.Deduction) (inventory.Acceptance, error) {
	ds = append([]inventory.Deduction(nil), ds...)
	go l.send(func() (inventory.Acceptance, error) {
		return l.InventoryRepository.Accept(context.WithoutCancel(ctx), accepted, ds...)
	})
	<-ctx.Done()
	return inventory.Acceptance{}, fmt.Errorf("%w: %w", inventory.ErrUnavailable, ctx.Err())
}

// What is beside a deduction is no order of ours: it does not stop the sweep.
func TestGarbageBesideADeduction(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, s stores) {
		shop := accepts(t, s, 0)
		require.NoError(t, shop.PutOnSale(t.Context(), order.Item{SKU: "floor", Capacity: 5}))
		c, err := s.orders.Counters(t.Context(), "floor")
		require.NoError(t, err)
		for i, garbage := range []string{"no JSON", "{}", `{"id":"another","customer":"c","lines":[{"sku":"floor","quantity":1}]}`, `{"id":"2","customer":"","lines":null}`} {
			d, err := s.inventory.Deduct(t.Context(), inventory.Request{
				Customer: "c", SKU: "floor", Store: c[0].Store, Attempt: fmt.Sprint("a-", i), OrderID: "o", Quantity: 1,
			})
			require.NoError(t, err)
			_, err = s.inventory.Accept(t.Context(), garbage, d)
			require.NoError(t, err)
		}
		background(t, shop.Service)
		exact(t, shop.Service)
		assert.Zero(t, sold(t, s, "floor"))
	})
}
