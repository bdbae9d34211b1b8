package booking_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/booking"
	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

// listing is an inventory that tells when a refusal lists its rivals, and does
// something before the first time.
type listing struct {
	inventory.InventoryRepository
	lists  atomic.Int64
	before func() error
}

func (l *listing) Unsettled(ctx context.Context, store, sku string, age time.Duration, limit int) ([]inventory.Deduction, error) {
	if age == 0 && l.lists.Add(1) == 1 {
		if err := l.before(); err != nil {
			return nil, err
		}
	}
	return l.InventoryRepository.Unsettled(ctx, store, sku, age, limit)
}

// heldBack are orders of which one batch of commits waits on its way to Postgres,
// until the test lets it go or ends.
type heldBack struct {
	order.Store
	armed         atomic.Bool
	there, landed chan struct{} // closed when the batch is there, and when it was carried out
	let           func()
	gate          chan struct{}
}

func holdBack(t *testing.T, store order.Store) *heldBack {
	h := &heldBack{Store: store, there: make(chan struct{}), landed: make(chan struct{}), gate: make(chan struct{})}
	h.let = sync.OnceFunc(func() { close(h.gate) })
	t.Cleanup(h.let)
	return h
}

func (h *heldBack) Commit(ctx context.Context, commits []order.Commit) ([]order.Outcome, []order.Counters, error) {
	if h.armed.CompareAndSwap(true, false) {
		close(h.there)
		<-h.gate
		defer close(h.landed)
	}
	return h.Store.Commit(ctx, commits)
}

// leaves books, and leaves once the commit is on its way.
func (h *heldBack) leaves(t *testing.T, shop *booking.Service, r booking.Request) {
	t.Helper()
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	h.armed.Store(true)
	go func() { <-h.there; leave() }()
	_, err := shop.Book(ctx, r)
	require.ErrorIs(t, err, order.ErrOutcomeUnknown)
}

// settled says whether nothing of a SKU is in flight. It may be called in any
// goroutine.
func settled(s stores, sku string) error {
	ctx := context.Background()
	counters, err := s.orders.Counters(ctx, sku)
	if err != nil {
		return err
	}
	unsettled, err := s.inventory.Unsettled(ctx, counters[0].Store, sku, 0, 1000)
	if err == nil && len(unsettled) > 0 {
		err = fmt.Errorf("unsettled: %+v", unsettled)
	}
	return err
}

// A second try finds no order and is refused, and lists its rivals: what an
// earlier try had on its way lands and is settled in between. Then the second one
// is told of its order, and of no refusal.
func TestLandsBeforeTheRivalsAreListed(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, s stores) {
		for name, test := range map[string]struct {
			limit            int64
			refuse, relieved func(shop *booking.Service, sku, other string) error
		}{
			"limit": {
				limit:    1,
				relieved: func(shop *booking.Service, _, other string) error { return cancels(shop, other) },
			},
			"paused": {
				refuse:   func(shop *booking.Service, sku, _ string) error { return shop.Pause(context.Background(), sku) },
				relieved: func(shop *booking.Service, sku, _ string) error { return shop.Resume(context.Background(), sku) },
			},
			"capacity": {
				refuse: func(shop *booking.Service, sku, _ string) error {
					return shop.SetCapacity(context.Background(), anAdjustment(sku, 1))
				},
				relieved: func(shop *booking.Service, _, other string) error { return cancels(shop, other) },
			},
		} {
			t.Run(name, func(t *testing.T) {
				first, second := s, s
				back := holdBack(t, s.orders)
				first.orders = back
				lists := &listing{InventoryRepository: s.inventory}
				second.inventory = lists
				shop, again := open(t, first), open(t, second)
				require.NoError(t, again.PutOnSale(t.Context(), order.Item{SKU: name, Capacity: 10, CustomerLimit: test.limit}))
				other, r := units(name+"-1", name, 1), units(name+"-2", name, 1)
				_, err := book(again, other)
				require.NoError(t, err)
				eventually(t, func() error { return settled(s, name) })

				back.leaves(t, shop, r)
				if test.refuse != nil {
					require.NoError(t, test.refuse(again, name, other.ID))
				}
				lists.before = func() error {
					if err := test.relieved(shop, name, other.ID); err != nil {
						return err
					}
					time.Sleep(order.Reopening) // else it would not land
					back.let()
					<-back.landed
					return soon(func() error { return settled(s, name) })
				}
				o, err := again.Book(t.Context(), r)
				require.Positive(t, lists.lists.Load(), "the moment that matters")
				require.NoError(t, err)
				assert.Equal(t, r.ID, o.ID)
				assert.Equal(t, order.Confirmed, o.Status)
				assert.Equal(t, order.Confirmed, orderOf(t, s, r.ID).Status)
				books(t, again, s, name)
			})
		}
	})
}

func cancels(shop *booking.Service, id string) error {
	_, err := shop.Cancel(context.Background(), id)
	return err
}

// A commit is on its way when a limit is set, its buyer is refused by that, and
// the limit is lifted: it must not land behind the buyer's back.
func TestNoOrderAfterALimit(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, s stores) {
		first := s
		back := holdBack(t, s.orders)
		first.orders = back
		shop, again := open(t, first), open(t, s)
		require.NoError(t, again.PutOnSale(t.Context(), order.Item{SKU: "floor", Capacity: 10}))
		r := units("a", "floor", 2)
		back.leaves(t, shop, r)
		require.NoError(t, again.SetLimit(t.Context(), "floor", 1))
		_, err := book(again, r)
		isLimited(t, err, "floor", 1, 2, 0)
		require.NoError(t, again.SetLimit(t.Context(), "floor", 0))
		back.let()
		<-back.landed
		_, err = again.Order(t.Context(), r.ID)
		require.ErrorIs(t, err, order.ErrNotFound, "it landed")
		books(t, again, s, "floor")
		_, err = book(again, r)
		require.NoError(t, err, "the same ID may be tried again")
		books(t, again, s, "floor")
	})
}

// limited are orders that count those that are refused by a limit.
type limited struct {
	order.Store
	n atomic.Int64
}

func (l *limited) Commit(ctx context.Context, commits []order.Commit) ([]order.Outcome, []order.Counters, error) {
	outcomes, counters, err := l.Store.Commit(ctx, commits)
	for _, outcome := range outcomes {
		if outcome.Verdict == order.VerdictLimited {
			l.n.Add(1)
		}
	}
	return outcomes, counters, err
}

// Many customers have what they may have and try once more, all at once: where
// all that is in flight is listed for each of them, nobody gets an answer.
func TestManyAtTheirLimit(t *testing.T) {
	t.Parallel()
	const customers = 1000
	s := onServers(t)
	raw := s
	refused := &limited{Store: s.orders}
	lists := &listing{InventoryRepository: s.inventory, before: func() error {
		// The others' refusals meet behind this one, however fast the machine is.
		return soon(func() error {
			if n := refused.n.Load(); n < customers {
				return fmt.Errorf("%d of %d were refused", n, customers)
			}
			return nil
		})
	}}
	s.orders, s.inventory = refused, lists
	shop := open(t, s, unhurried)
	require.NoError(t, shop.PutOnSale(t.Context(), order.Item{SKU: "floor", Capacity: 1_000_000, CustomerLimit: 1}))
	customer := func(name string, i int) booking.Request {
		return booking.Request{ID: fmt.Sprint(name, i), Customer: fmt.Sprint("c-", i), Lines: lines("floor", 1)}
	}
	var commits []order.Commit
	for i := range customers {
		r := customer("first-", i)
		commits = append(commits, order.Commit{Order: order.Order{ID: r.ID, Customer: r.Customer, Lines: r.Lines}})
	}
	_, _, err := raw.orders.Commit(t.Context(), commits)
	require.NoError(t, err)

	var callers sync.WaitGroup
	for i := range customers {
		callers.Go(func() {
			_, err := shop.Book(context.Background(), customer("second-", i))
			assert.ErrorIs(t, err, inventory.ErrLimitExceeded)
		})
	}
	callers.Wait()
	assert.EqualValues(t, customers, refused.n.Load())
	t.Log(lists.lists.Load(), "lists for", customers, "refusals")
	assert.Less(t, lists.lists.Load(), int64(customers/10))
	assert.EqualValues(t, customers, sold(t, raw, "floor"))
	background(t, open(t, raw)) // it was sold past Redis
	books(t, shop, raw, "floor")
}
