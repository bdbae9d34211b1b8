package booking_test

import (
	"context"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/booking"
	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

// fenced is an inventory whose deductions a sweep fences just before an order is
// accepted upon them: it did not know of the order yet. Settles come late. It
// watches what Redis offers when units come back to it.
type fenced struct {
	inventory.InventoryRepository
	orders order.Store
	settle chan struct{} // closed when settles may come
	fences atomic.Int64
	over   atomic.Int64 // units that Redis offered beyond what Postgres had
}

func (f *fenced) Accept(ctx context.Context, accepted string, ds ...inventory.Deduction) (inventory.Acceptance, error) {
	if f.fences.Add(1) == 1 {
		if _, _, err := f.orders.Fence(ctx, ds[len(ds)-1:]); err != nil {
			return inventory.Acceptance{}, err
		}
	}
	return f.InventoryRepository.Accept(ctx, accepted, ds...)
}

func (f *fenced) Settle(ctx context.Context, supply inventory.Supply, ds ...inventory.Deduction) error {
	<-f.settle
	return f.InventoryRepository.Settle(ctx, supply, ds...)
}

func (f *fenced) Restore(ctx context.Context, ds ...inventory.Deduction) error {
	err := f.InventoryRepository.Restore(ctx, ds...)
	for _, d := range ds {
		stock, stockErr := f.Stock(ctx, d.SKU)
		counters, countersErr := f.orders.Counters(ctx, d.SKU)
		if stockErr == nil && countersErr == nil {
			f.over.Add(max(0, stock[0].Available()-counters[0].Left()))
		}
	}
	return err
}

// An accepted order whose deduction was fenced is committed without it, and its
// units in Redis are nobody else's meanwhile.
func TestAcceptedOrderWhoseDeductionIsFenced(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, s stores) {
		f := &fenced{InventoryRepository: s.inventory, orders: s.orders, settle: make(chan struct{})}
		s.inventory = f
		shop := accepts(t, s, 0)
		require.NoError(t, shop.PutOnSale(t.Context(),
			order.Item{SKU: "hall", Capacity: 1}, order.Item{SKU: "floor", Capacity: 5, Draws: []order.Line{{SKU: "hall", Quantity: 1}}}))
		r := request("floor", 1)
		o, err := waits(t, accept(t, shop, r))
		confirmed(t, o, err, r)
		assert.Empty(t, shop.refusals(r.ID))
		assert.LessOrEqual(t, shop.stalled.commits.Load(), int64(2), "it does not wait for a fence to go away")
		close(f.settle)
		background(t, shop.Service)
		exact(t, shop.Service)
		assert.Zero(t, f.over.Load(), "units that Redis could promise to others")
		_, err = book(shop.Service, booking.Request{ID: "2", Customer: "c", Lines: lines("floor", 1)})
		assert.ErrorIs(t, err, inventory.ErrSoldOut)
		assert.EqualValues(t, 1, sold(t, s, "hall"))
	})
}
