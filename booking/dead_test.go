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
