package booking_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/booking"
	"github.com/lastunit/lastunit/internal/servertest"
	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

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
		require.NoError(t, other.Restock(t.Context(), anAdjustment("floor", 1)))
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
					return shop.SetCapacity(context.Background(), anAdjustment(sku, 1))
				},
				func(shop *booking.Service, sku string) error {
					return shop.SetCapacity(context.Background(), anAdjustment(sku, 5))
				},
				order.WhySoldOut, inventory.ErrSoldOut,
			},
			"capacity, rebuilt": {
				func(shop *booking.Service, sku string) error {
					return errors.Join(shop.SetCapacity(context.Background(), anAdjustment(sku, 1)), shop.Rebuild(context.Background(), sku))
				},
				func(shop *booking.Service, sku string) error {
					return shop.SetCapacity(context.Background(), anAdjustment(sku, 5))
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
					return shop.SetLimit(context.Background(), sku, 0)
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

// Somebody's constraint rejects an accepted order: it is refused, and told so.
func TestRejectedBehindAccept(t *testing.T) {
	t.Parallel()
	pool := migrated(t, servertest.SharedPostgres(t))
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

// A callback that panics or hangs does not stop the rest.
func TestOnRefusedPanics(t *testing.T) {
	t.Parallel()
	s := embedded(t)
	shop := open(t, s, func(c *booking.Config) {
		c.OnRefused = func(context.Context, order.Order, error) { panic("the test says so") }
	})
	background(t, shop)
	require.NoError(t, shop.PutOnSale(t.Context(), order.Item{SKU: "floor", Capacity: 5}))
	gone(t, s, request("floor", 1))
	require.NoError(t, shop.Pause(t.Context(), "floor"))
	_, err := bookOnce(shop, request("floor", 1))
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
	pool := migrated(t, servertest.SharedPostgres(t))
	_, err := pool.Exec(t.Context(), `create table customers (id text primary key); insert into customers values ('c-17');
		alter table lastunit.orders add constraint known_customer foreign key (customer) references customers (id)`)
	require.NoError(t, err)
	s := at(t, servertest.SharedRedis(t).Client(t), order.NewPostgres(pool))
	told := make(chan error, 100)
	shop := open(t, s, func(c *booking.Config) {
		c.Backlog, c.OnRefused = 5, func(_ context.Context, _ order.Order, why error) { told <- why }
	})
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
