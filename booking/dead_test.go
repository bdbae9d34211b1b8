package booking_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

// rebuilt are orders whose first commit comes after every SKU was rebuilt.
type rebuilt struct {
	order.Store
	once   atomic.Bool
	before func()
}

func (r *rebuilt) Commit(ctx context.Context, commits []order.Commit) ([]order.Outcome, []order.Counters, error) {
	if r.once.CompareAndSwap(false, true) {
		r.before()
	}
	return r.Store.Commit(ctx, commits)
}

// restores counts calls of Restore.
type restores struct {
	inventory.InventoryRepository
	calls atomic.Int64
}

func (r *restores) Restore(ctx context.Context, deductions ...inventory.Deduction) error {
	r.calls.Add(1)
	return r.InventoryRepository.Restore(ctx, deductions...)
}

// What is dead of an order goes back at once, not unit by unit: a Redis that hangs
// costs its caller one wait.
func TestManyDeadDeductions(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, s stores) {
		other := open(t, s)
		orders, counting := &rebuilt{Store: s.orders}, &restores{InventoryRepository: s.inventory}
		shop := open(t, stores{inventory: counting, orders: orders})
		r := request("row", 1)
		r.Lines = nil
		orders.before = func() {
			for _, line := range r.Lines {
				assert.NoError(t, other.Rebuild(context.Background(), line.SKU))
			}
		}
		var items []order.Item
		for i := range 10 {
			items = append(items, order.Item{SKU: fmt.Sprint("row-", i), Capacity: 1})
			r.Lines = append(r.Lines, order.Line{SKU: items[i].SKU, Quantity: 1})
		}
		require.NoError(t, shop.PutOnSale(t.Context(), items...))
		_, err := book(shop, r)
		require.NoError(t, err)
		assert.EqualValues(t, 1, counting.calls.Load())
		exact(t, shop)
	})
}

// sweeps are orders whose deductions are fenced just before each commit.
type sweeps struct{ order.Store }

func (s sweeps) Commit(ctx context.Context, commits []order.Commit) ([]order.Outcome, []order.Counters, error) {
	for _, c := range commits {
		if len(c.Deductions) > 0 {
			if _, _, err := s.Fence(ctx, c.Deductions); err != nil {
				return nil, nil, err
			}
		}
	}
	return s.Store.Commit(ctx, commits)
}

// What turns out dead again and again is not sold past Redis: nobody could fence that,
// so that it might land after another process has said "sold out".
func TestDeadAgainAndAgain(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, s stores) {
		shop := open(t, stores{inventory: s.inventory, orders: sweeps{s.orders}})
		require.NoError(t, shop.PutOnSale(t.Context(), order.Item{SKU: "floor", Capacity: 1}))
		_, err := shop.Book(t.Context(), request("floor", 1))
		require.ErrorIs(t, err, order.ErrOutcomeUnknown)
		require.ErrorIs(t, err, inventory.ErrUnavailable)
		assert.Contains(t, err.Error(), "swept, 5 times")
		_, err = shop.Order(t.Context(), request("floor", 1).ID)
		require.ErrorIs(t, err, order.ErrNotFound)
		_, err = book(open(t, s), request("floor", 2))
		require.NoError(t, err)
		exact(t, shop)
	})
}
