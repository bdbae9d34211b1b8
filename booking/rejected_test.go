package booking_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/booking"
	"github.com/lastunit/lastunit/internal/servertest"
	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

// refusingSome makes the database refuse what the customer "blocked" does: whatever
// they book, or only what becomes of it. That it raises the code of a lock, a full disk or
// a timeout is its own affair.
const (
	refusingOrders = `
		create function public.refuse() returns trigger language plpgsql as $$ begin
			if new.customer = 'blocked' then raise exception 'no' using errcode = '55000'; end if; return new; end $$;
		create trigger refuse before insert on lastunit.orders for each row execute function public.refuse()`
	refusingOrdersLate = `
		create function public.refuse() returns trigger language plpgsql as $$ begin
			if new.customer = 'blocked' then raise exception 'no' using errcode = '53100'; end if; return null; end $$;
		create constraint trigger refuse after insert on lastunit.orders deferrable initially deferred
			for each row execute function public.refuse()`
	refusingChanges = `
		create function public.refuse() returns trigger language plpgsql as $$ begin
			if new.customer = 'blocked' then raise exception 'no' using errcode = '57014'; end if; return new; end $$;
		create trigger refuse before update on lastunit.orders for each row execute function public.refuse()`
)

// refusing makes stores on real servers whose database refuses some orders.
func refusing(t testing.TB, sql string) stores {
	t.Helper()
	pool := migrated(t, servertest.SharedPostgres(t))
	_, err := pool.Exec(t.Context(), sql)
	require.NoError(t, err)
	return at(t, servertest.SharedRedis(t).Client(t), order.NewPostgres(pool))
}

// together runs a call of each of n customers at once, every tenth of which is blocked.
func together(n int, call func(i int, blocked bool)) {
	var calls sync.WaitGroup
	for i := range n {
		calls.Go(func() { call(i, i%10 == 0) })
	}
	calls.Wait()
}

func blockedRequest(i int, blocked bool) booking.Request {
	r := request("x", i)
	if blocked {
		r.Customer = "blocked"
	}
	return r
}

// TestRejectedAlone: what the database refuses of one order, be it at once or at the
// commit, concerns that order alone.
func TestRejectedAlone(t *testing.T) {
	t.Parallel()
	for name, sql := range map[string]string{"at once": refusingOrders, "at the commit": refusingOrdersLate} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := refusing(t, sql)
			var mu sync.Mutex
			told := make(map[string]error)
			shop, err := booking.New(booking.Config{
				Inventory: s.inventory, Orders: s.orders, Logger: quiet, SweepAfter: sweepAfter, CheckEvery: 50 * time.Millisecond,
				OnRefused: func(_ context.Context, o order.Order, why error) {
					mu.Lock()
					defer mu.Unlock()
					told[o.ID] = why
				},
			})
			require.NoError(t, err)
			require.NoError(t, shop.PutOnSale(t.Context(), order.Item{SKU: "x", Capacity: 1000}))
			background(t, shop)
			for round := range 2 { // in the second one it is known whose orders those are
				together(60, func(i int, blocked bool) {
					o, err := shop.Book(context.Background(), blockedRequest(1000*round+i, blocked))
					if !blocked {
						assert.NoError(t, err)
						return
					}
					assert.Zero(t, o)
					assert.ErrorIs(t, err, order.ErrRejected)
					assert.NotErrorIs(t, err, order.ErrOutcomeUnknown)
					assert.ErrorContains(t, err, "no")
				})
				together(60, func(i int, blocked bool) {
					r := blockedRequest(1000*round+100+i, blocked)
					receipt, err := shop.Accept(context.Background(), r)
					if !assert.NoError(t, err) {
						return
					}
					_, err = receipt.Wait(context.Background())
					if !blocked {
						assert.NoError(t, err)
						return
					}
					var refused *order.RefusedError
					if assert.ErrorAs(t, err, &refused) {
						assert.Equal(t, order.WhyRejected, refused.Why)
					}
					_, err = shop.Book(context.Background(), r)
					assert.Error(t, err)
				})
			}
			eventually(t, func() error {
				mu.Lock()
				defer mu.Unlock()
				if len(told) != 12 {
					return fmt.Errorf("%d were told of as refused", len(told))
				}
				return nil
			})
			exact(t, shop)
			require.Equal(t, int64(216), sold(t, s, "x"))
		})
	}
}

// TestRejectedChangeAlone: an order that the database does not let be confirmed or
// ended keeps nobody else's from it.
func TestRejectedChangeAlone(t *testing.T) {
	t.Parallel()
	s := refusing(t, refusingChanges)
	shop := open(t, s)
	for _, sku := range []string{"x", "y"} {
		require.NoError(t, shop.PutOnSale(t.Context(), order.Item{SKU: sku, Capacity: 1000}))
	}
	together(60, func(i int, blocked bool) {
		_, err := shop.Hold(context.Background(), blockedRequest(i, blocked), time.Hour)
		assert.NoError(t, err)
	})
	for range 2 {
		together(60, func(i int, blocked bool) {
			o, err := shop.Confirm(context.Background(), request("x", i).ID)
			if blocked {
				assert.ErrorIs(t, err, order.ErrRejected)
				assert.ErrorContains(t, err, "no")
				return
			}
			assert.NoError(t, err)
			assert.Equal(t, order.Confirmed, o.Status)
		})
	}
	// Those that can't be ended are due first.
	for i := range 5 {
		_, err := shop.Hold(t.Context(), blockedRequest(100+i, true), time.Millisecond)
		require.NoError(t, err)
	}
	for i := range 20 {
		_, err := shop.Hold(t.Context(), request("y", i), time.Millisecond)
		require.NoError(t, err)
	}
	background(t, shop)
	eventually(t, func() error {
		if held := sold(t, s, "y"); held > 0 {
			return fmt.Errorf("%d units of other holds are not back", held)
		}
		return nil
	})
	require.Equal(t, int64(65), sold(t, s, "x"))
}

// fencing is a Store whose Fence rejects a deduction of one order, as a database does
// that cannot read that order.
type fencing struct {
	order.Store
	rejects string
}

func (f fencing) Fence(ctx context.Context, deductions []inventory.Deduction) ([]bool, []order.Counters, error) {
	for _, d := range deductions {
		if d.OrderID == f.rejects {
			return nil, nil, errors.Join(order.ErrRejected, errors.New("no"))
		}
	}
	return f.Store.Fence(ctx, deductions)
}

func TestSweepBesideARejectedFence(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, s stores) {
		s.orders = fencing{s.orders, "left-3"}
		shop := open(t, s)
		require.NoError(t, shop.PutOnSale(t.Context(), order.Item{SKU: "x", Capacity: 100}))
		_, err := shop.Book(t.Context(), request("x", 1))
		require.NoError(t, err)
		counters, err := s.orders.Counters(t.Context(), "x")
		require.NoError(t, err)
		for i := range 10 {
			_, err := s.inventory.Deduct(t.Context(), inventory.Request{
				SKU: "x", Store: counters[0].Store, Attempt: fmt.Sprint("left-", i), OrderID: fmt.Sprint("left-", i), Customer: "c", Quantity: 1,
			})
			require.NoError(t, err)
		}
		background(t, shop)
		eventually(t, func() error {
			stock, err := s.inventory.Stock(t.Context(), "x")
			if err == nil && stock[0].Unsettled != 1 {
				err = fmt.Errorf("%d units are unsettled", stock[0].Unsettled)
			}
			return err
		})
	})
}

// TestTablesThatContradict: a hand in the tables is blamed on no order; Reconcile finds
// it, and Repair mends it.
func TestTablesThatContradict(t *testing.T) {
	t.Parallel()
	pool := migrated(t, servertest.SharedPostgres(t))
	s := at(t, servertest.SharedRedis(t).Client(t), order.NewPostgres(pool))
	shop := open(t, s)
	require.NoError(t, shop.PutOnSale(t.Context(), order.Item{SKU: "x", Capacity: 10}, order.Item{SKU: "y", Capacity: 10}))
	background(t, shop)
	for i := range 2 {
		_, err := shop.Book(t.Context(), request("x", i))
		require.NoError(t, err)
	}
	_, err := shop.Book(t.Context(), request("y", 1))
	require.NoError(t, err)
	exact(t, shop)
	_, err = pool.Exec(t.Context(), "update lastunit.skus set moved = moved - 1 where sku = 'x'; delete from lastunit.skus where sku = 'y'")
	require.NoError(t, err)

	brief, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	_, err = shop.Book(brief, request("x", 2))
	blameless := func(err error) {
		t.Helper()
		require.ErrorIs(t, err, order.ErrOutcomeUnknown)
		require.NotErrorIs(t, err, order.ErrRejected)
	}
	blameless(err)
	_, err = shop.Cancel(t.Context(), request("x", 1).ID)
	blameless(err)
	require.ErrorContains(t, err, "movement_batches_pkey")
	receipt, err := shop.Accept(t.Context(), request("x", 3))
	require.NoError(t, err)

	found, err := shop.ReconcileAll(t.Context(), booking.Repair)
	require.NoError(t, err)
	require.Contains(t, found, booking.Difference{SKU: "x", Kind: booking.KindNumber, Redis: 1})
	require.Contains(t, found, booking.Difference{SKU: "y", Kind: booking.KindOrphan, Postgres: 1})
	_, err = receipt.Wait(t.Context())
	require.NoError(t, err, "an accepted order waits for the repair")
	_, err = shop.Cancel(t.Context(), request("x", 1).ID)
	require.NoError(t, err)
	_, err = shop.Book(t.Context(), request("x", 2))
	require.NoError(t, err)
	eventually(t, func() error {
		found, err := shop.ReconcileAll(context.Background(), booking.DryRun)
		if err == nil && (len(found) != 1 || found[0].Kind != booking.KindOrphan) {
			err = fmt.Errorf("the two sides differ: %+v", found)
		}
		return err
	})
	err = shop.PutOnSale(t.Context(), order.Item{SKU: "y", Capacity: 10})
	require.ErrorIs(t, err, order.ErrOrphaned)
	require.NotErrorIs(t, err, order.ErrOutcomeUnknown)
	_, err = shop.Book(t.Context(), request("y", 2))
	require.Error(t, err, "nothing is sold of it")
	require.NotErrorIs(t, err, order.ErrRejected)
}
