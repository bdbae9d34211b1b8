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
	"github.com/lastunit/lastunit/internal/servertest"
	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

// A process is killed right after it has accepted orders; another one commits all
// of those that it has acknowledged.
func TestProcessKilledAfterAccept(t *testing.T) {
	t.Parallel()
	const buyers, capacity = 300, 400
	redisServer, database := servertest.SharedRedis(t), servertest.SharedPostgres(t).Database(t)
	both := at(t, redisServer.Client(t), order.NewPostgres(migrated(t, database)))
	shop := accepts(t, both, 0)
	item := order.Item{SKU: "floor", Capacity: capacity}
	require.NoError(t, shop.PutOnSale(t.Context(), item))
	c := servertest.StartChild(t, seller, job{
		Redis: redisServer.URL(), Postgres: database, Prefix: both.prefix, SKU: "floor", Buyers: buyers, AtOnce: 30, Accept: true,
	})
	s := sale{acknowledged: make(map[string]bool)}
	s.collectSome(t, c, "accepted", buyers/3)
	c.Kill()
	s.collect(c) // what it had printed by then
	require.Empty(t, s.unexpected)
	for id := range s.acknowledged {
		_, err := shop.Order(t.Context(), id)
		require.ErrorIs(t, err, order.ErrNotFound, "none was committed: the process could not")
		break
	}
	background(t, shop.Service)
	for id := range s.acknowledged {
		eventually(t, func() error { _, err := shop.Order(t.Context(), id); return err })
	}
	exact(t, shop.Service)
	assert.GreaterOrEqual(t, sold(t, both, "floor"), int64(len(s.acknowledged)))
	assert.Empty(t, shop.refused)
}

// Redis loses an order that is on its way; the process that accepted it lives, and
// still knows it.
func TestRedisWipedBehindAccept(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, s stores) {
		shop := accepts(t, s, 0)
		background(t, shop.Service)
		require.NoError(t, shop.PutOnSale(t.Context(), order.Item{SKU: "floor", Capacity: 20}))
		shop.stalled.down.Store(true)
		var receipts []booking.Receipt
		for i := range 10 {
			receipts = append(receipts, accept(t, shop, request("floor", i)))
		}
		s.wipe(t)
		shop.stalled.down.Store(false)
		for i, receipt := range receipts {
			o, err := waits(t, receipt)
			confirmed(t, o, err, request("floor", i))
		}
		exact(t, shop.Service)
		assert.EqualValues(t, 10, sold(t, s, "floor"))
	})
}

// Redis is wiped, and others buy the units before the order is committed: it is
// refused, and told so, for good.
func TestSoldToOthersBehindAccept(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, s stores) {
		shop, other := accepts(t, s, 0), accepts(t, s, 0)
		require.NoError(t, shop.PutOnSale(t.Context(), order.Item{SKU: "floor", Capacity: 1}))
		shop.stalled.down.Store(true)
		r := request("floor", 1)
		receipt := accept(t, shop, r)
		s.wipe(t)
		_, err := book(other.Service, request("floor", 2))
		require.NoError(t, err)
		shop.stalled.down.Store(false)
		refusedForGood(t, []*accepting{shop, other}, receipt, r, order.Refusal{Why: order.WhySoldOut, SKU: "floor"}, inventory.ErrSoldOut)
		require.NoError(t, other.Restock(t.Context(), order.Adjustment{SKU: "floor", Units: 1}))
		_, err = book(other.Service, r)
		require.ErrorIs(t, err, order.ErrRefused, "it is final")
		exact(t, shop.Service)
	})
}

// refusedForGood checks that everybody is told the same about an order that was
// refused, and OnRefused of one process once.
func refusedForGood(t testing.TB, shops []*accepting, receipt booking.Receipt, r booking.Request, want order.Refusal, reason error) {
	t.Helper()
	isRefused := func(o order.Order, err error) {
		t.Helper()
		require.ErrorIs(t, err, order.ErrRefused)
		require.ErrorIs(t, err, reason)
		var refused *order.RefusedError
		require.ErrorAs(t, err, &refused)
		assert.Equal(t, order.RefusedError{ID: r.ID, Refusal: want}, *refused)
		assert.Equal(t, order.Cancelled, o.Status)
		assert.Equal(t, want, o.Refused)
		assert.Equal(t, r.Customer, o.Customer)
		assert.Equal(t, r.Lines, o.Lines)
	}
	if receipt.Done() != nil {
		isRefused(waits(t, receipt))
	}
	told := func() (n int) {
		for _, shop := range shops {
			n += len(shop.refusals(r.ID))
		}
		return n
	}
	eventually(t, func() error {
		if told() == 0 {
			return errors.New("OnRefused was not called")
		}
		return nil
	})
	for _, shop := range shops {
		isRefused(book(shop.Service, r))
		isRefused(shop.Lookup(t.Context(), r))
		receipt, err := shop.Accept(t.Context(), r)
		if err == nil { // units are left, so that nobody asked Postgres first
			isRefused(waits(t, receipt))
		} else {
			require.ErrorIs(t, err, reason)
			require.ErrorIs(t, err, order.ErrRefused)
		}
		conflict := r
		conflict.Customer += "-2"
		_, err = book(shop.Service, conflict)
		require.ErrorIs(t, err, order.ErrIdempotencyConflict)
		for _, err := range shop.refusals(r.ID) {
			require.ErrorIs(t, err, order.ErrRefused)
		}
	}
	assert.Equal(t, 1, told(), "calls of OnRefused")
}

// FLUSHALL, and the process is dead too: the order is lost, as documented.
func TestFlushAllAndProcessDead(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, s stores) {
		other := accepts(t, s, 0)
		require.NoError(t, other.PutOnSale(t.Context(), order.Item{SKU: "floor", Capacity: 1}))
		dead := request("floor", 1)
		gone(t, s, dead)
		s.wipe(t)
		background(t, other.Service)
		exact(t, other.Service)
		_, err := other.Lookup(t.Context(), dead)
		require.ErrorIs(t, err, order.ErrNotFound)
		_, err = book(other.Service, request("floor", 2))
		require.NoError(t, err, "its unit is sold to another one")
		exact(t, other.Service)
		assert.Empty(t, other.refusals(dead.ID))
	})
}

// gone lets a service accept requests and die: as dead as it can be in this process,
// it has given up on them.
func gone(t testing.TB, s stores, requests ...booking.Request) {
	t.Helper()
	down := &stalled{Store: s.orders}
	// Run drains for the Timeout. But an Accept that runs into it is for Postgres to decide.
	shop, err := booking.New(booking.Config{Inventory: s.inventory, Orders: down, Logger: quiet, Timeout: 2 * time.Second})
	require.NoError(t, err)
	for _, r := range requests {
		eventually(t, func() error { _, err := shop.Stock(context.Background(), r.Lines[0].SKU); return err })
	}
	down.down.Store(true)
	for _, r := range requests {
		eventually(t, func() error { _, err := shop.Accept(context.Background(), r); return err })
	}
	ended, end := context.WithCancel(context.Background())
	end()
	require.NoError(t, shop.Run(ended))
}

// The counters are rebuilt while an order of a dead process is in Redis alone: its
// units stay its own, and the sweep commits it.
func TestRebuiltBehindAccept(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, s stores) {
		shop := accepts(t, s, 0)
		require.NoError(t, shop.PutOnSale(t.Context(), order.Item{SKU: "floor", Capacity: 5}, order.Item{SKU: "balcony", Capacity: 5}))
		r := booking.Request{ID: "1", Customer: "c", Lines: []order.Line{{SKU: "balcony", Quantity: 1}, {SKU: "floor", Quantity: 5}}}
		gone(t, s, r)
		for range 3 {
			require.NoError(t, shop.Rebuild(t.Context(), "floor"))
		}
		_, err := shop.Book(t.Context(), request("floor", 2))
		require.ErrorIs(t, err, inventory.ErrTryAgain, "its units are not for sale")
		background(t, shop.Service)
		o, err := looked(t, shop.Service, r)
		confirmed(t, o, err, r)
		exact(t, shop.Service)
		assert.EqualValues(t, 5, sold(t, s, "floor"))
		assert.EqualValues(t, 1, sold(t, s, "balcony"))
	})
}

// The capacity is lowered, or the sale closed or paused, or a limit set, behind an
// accepted order: it is refused for good, its units go back, and all are told, be
// its process alive or dead.
func TestRefusedBehindAccept(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, s stores) {
		for name, test := range map[string]struct {
			change func(shop *booking.Service, sku string) error
			undo   func(shop *booking.Service, sku string) error
			why    order.Why
			reason error
		}{
			"capacity": {
				func(shop *booking.Service, sku string) error {
					return shop.SetCapacity(context.Background(), order.Adjustment{SKU: sku, Units: 1})
				},
				func(shop *booking.Service, sku string) error {
					return shop.SetCapacity(context.Background(), order.Adjustment{SKU: sku, Units: 5})
				},
				order.WhySoldOut, inventory.ErrSoldOut,
			},
			"capacity, rebuilt": {
				func(shop *booking.Service, sku string) error {
					return errors.Join(shop.SetCapacity(context.Background(), order.Adjustment{SKU: sku, Units: 1}), shop.Rebuild(context.Background(), sku))
				},
				func(shop *booking.Service, sku string) error {
					return shop.SetCapacity(context.Background(), order.Adjustment{SKU: sku, Units: 5})
				},
				order.WhySoldOut, inventory.ErrSoldOut,
			},
			"closed": {
				func(shop *booking.Service, sku string) error {
					return shop.SetWindow(context.Background(), sku, time.Time{}, time.Now().Add(-time.Hour))
				},
				func(shop *booking.Service, sku string) error {
					return shop.SetWindow(context.Background(), sku, time.Time{}, time.Time{})
				},
				order.WhyClosed, inventory.ErrClosed,
			},
			"paused": {
				func(shop *booking.Service, sku string) error { return shop.Pause(context.Background(), sku) },
				func(shop *booking.Service, sku string) error { return shop.Resume(context.Background(), sku) },
				order.WhyPaused, inventory.ErrPaused,
			},
			"limit": {
				func(shop *booking.Service, sku string) error { return shop.SetLimit(context.Background(), sku, 1) },
				func(shop *booking.Service, sku string) error {
					return shop.SetLimit(context.Background(), sku, order.NoLimit)
				},
				order.WhyLimited, inventory.ErrLimitExceeded,
			},
		} {
			for _, alive := range []bool{true, false} {
				t.Run(fmt.Sprintf("%s, alive %v", name, alive), func(t *testing.T) {
					sku := fmt.Sprint(name, alive)
					shop, other := accepts(t, s, 0), accepts(t, s, 0)
					require.NoError(t, shop.PutOnSale(t.Context(), order.Item{SKU: sku, Capacity: 5}))
					r := units("refused "+sku, sku, 2)
					var receipt booking.Receipt
					if alive {
						shop.stalled.down.Store(true)
						receipt = accept(t, shop, r)
						require.NoError(t, test.change(other.Service, sku))
						shop.stalled.down.Store(false)
					} else {
						gone(t, s, r)
						require.NoError(t, test.change(other.Service, sku))
						stop := background(t, other.Service)
						defer stop()
						_, err := looked(t, other.Service, r)
						require.ErrorIs(t, err, order.ErrRefused)
					}
					refusedForGood(t, []*accepting{shop, other}, receipt, r, order.Refusal{Why: test.why, SKU: sku}, test.reason)
					require.NoError(t, test.undo(other.Service, sku))
					exact(t, other.Service)
					for i := range 5 {
						_, err := book(other.Service, request(sku, i))
						require.NoError(t, err, "the units came back")
					}
					exact(t, other.Service)
					assert.EqualValues(t, 5, sold(t, s, sku))
				})
			}
		}
	})
}

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
	onBoth(t, func(t *testing.T, s stores) {
		for kept := range 3 {
			t.Run(fmt.Sprint("kept in ", kept), func(t *testing.T) {
				a, b := fmt.Sprint("a-", kept), fmt.Sprint("b-", kept)
				shop := accepts(t, s, 0)
				require.NoError(t, shop.PutOnSale(t.Context(), order.Item{SKU: a, Capacity: 3}, order.Item{SKU: b, Capacity: 3}))
				r := booking.Request{ID: a + b, Customer: "c", Lines: []order.Line{{SKU: a, Quantity: 1}, {SKU: b, Quantity: 2}}}
				down := &stalled{Store: s.orders}
				dead, err := booking.New(booking.Config{
					Inventory: &halfway{s.inventory, kept}, Orders: down, Logger: quiet, Timeout: 500 * time.Millisecond,
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
		}
	})
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

// Somebody's constraint rejects an accepted order: it is refused, and told so.
func TestRejectedBehindAccept(t *testing.T) {
	t.Parallel()
	pool := migrated(t, servertest.SharedPostgres(t).Database(t))
	s := at(t, servertest.SharedRedis(t).Client(t), order.NewPostgres(pool))
	shop := accepts(t, s, 0)
	require.NoError(t, shop.PutOnSale(t.Context(), order.Item{SKU: "floor", Capacity: 5}))
	_, err := pool.Exec(t.Context(), `alter table lastunit.orders add constraint no_robots check (status <> 'confirmed' or customer <> 'robot')`)
	require.NoError(t, err)
	r := booking.Request{ID: "1", Customer: "robot", Lines: lines("floor", 1)}
	fine := request("floor", 2)
	receipt := accept(t, shop, r)
	o, err := waits(t, accept(t, shop, fine))
	confirmed(t, o, err, fine)
	refusedForGood(t, []*accepting{shop}, receipt, r, order.Refusal{Why: order.WhyRejected}, order.ErrRejected)
	exact(t, shop.Service)
}

// Postgres is down for a while with Accept in use: then the backlog is full, and
// nothing that was accepted is lost.
func TestPostgresDownBehindAccept(t *testing.T) {
	t.Parallel()
	s, _, postgres := private(t)
	const backlog = 50
	shop := accepts(t, s, backlog)
	background(t, shop.Service)
	require.NoError(t, shop.PutOnSale(t.Context(), order.Item{SKU: "floor", Capacity: 1000}))
	_, err := shop.Book(t.Context(), request("floor", 1000))
	require.NoError(t, err)
	postgres.Kill()
	receipts := make(map[int]booking.Receipt)
	for i := range 2 * backlog {
		receipt, err := shop.Accept(t.Context(), request("floor", i))
		if err != nil {
			require.ErrorIs(t, err, booking.ErrOverloaded)
			continue
		}
		receipts[i] = receipt
	}
	require.Len(t, receipts, backlog)
	postgres.Restart()
	for i, receipt := range receipts {
		o, err := waits(t, receipt)
		confirmed(t, o, err, request("floor", i))
	}
	exact(t, shop.Service)
	assert.EqualValues(t, backlog+1, sold(t, s, "floor"))
}

// A callback that panics or hangs does not stop the rest.
func TestOnRefusedPanics(t *testing.T) {
	t.Parallel()
	s := embedded(t)
	shop, err := booking.New(booking.Config{
		Inventory: s.inventory, Orders: s.orders, Logger: quiet,
		OnRefused: func(context.Context, order.Order, error) { panic("the test says so") },
	})
	require.NoError(t, err)
	background(t, shop)
	require.NoError(t, shop.PutOnSale(t.Context(), order.Item{SKU: "floor", Capacity: 5}))
	gone(t, s, request("floor", 1))
	require.NoError(t, shop.Pause(t.Context(), "floor"))
	_, err = shop.Book(t.Context(), request("floor", 1))
	require.ErrorIs(t, err, order.ErrRefused, "whoever meets it carries it out")
	require.NoError(t, shop.Resume(t.Context(), "floor"))
	_, err = book(shop, request("floor", 2))
	require.NoError(t, err)
	exact(t, shop)
}

// An order that the database rejects, and its refusal too, is given up: it keeps no
// place in the backlog, no units, and nobody else from being swept.
func TestAcceptedForACustomerThatIsNotThere(t *testing.T) {
	t.Parallel()
	pool := migrated(t, servertest.SharedPostgres(t).Database(t))
	_, err := pool.Exec(t.Context(), `create table customers (id text primary key); insert into customers values ('c-17');
		alter table lastunit.orders add constraint known_customer foreign key (customer) references customers (id)`)
	require.NoError(t, err)
	s := at(t, servertest.SharedRedis(t).Client(t), order.NewPostgres(pool))
	told := make(chan error, 100)
	shop, err := booking.New(booking.Config{
		Inventory: s.inventory, Orders: s.orders, Logger: quiet, Backlog: 5,
		SweepAfter: 200 * time.Millisecond, CheckEvery: 50 * time.Millisecond,
		OnRefused: func(_ context.Context, _ order.Order, why error) { told <- why },
	})
	require.NoError(t, err)
	background(t, shop)
	require.NoError(t, shop.PutOnSale(t.Context(), order.Item{SKU: "floor", Capacity: 10}))
	for i := range 10 {
		receipt, err := shop.Accept(t.Context(), booking.Request{ID: fmt.Sprint("bad-", i), Customer: "c-18", Lines: lines("floor", 1)})
		require.NoError(t, err)
		_, err = waits(t, receipt)
		require.ErrorIs(t, err, order.ErrRejected)
		require.ErrorIs(t, <-told, order.ErrRejected)
	}
	receipt, err := shop.Accept(t.Context(), booking.Request{ID: "good", Customer: "c-17", Lines: lines("floor", 1)})
	require.NoError(t, err)
	_, err = waits(t, receipt)
	require.NoError(t, err)
	exact(t, shop)
	require.EqualValues(t, 1, sold(t, s, "floor"))
}
