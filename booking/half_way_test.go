package booking_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

// halfWay is an inventory whose user may not write while it restores.
type halfWay struct {
	inventory.InventoryRepository
	admin *redis.Client
	left  atomic.Int64 // how many calls it is so for
}

func (h *halfWay) Restore(ctx context.Context, deductions ...inventory.Deduction) error {
	if h.left.Add(-1) < 0 {
		return h.InventoryRepository.Restore(ctx, deductions...)
	}
	if err := h.admin.Do(ctx, "ACL", "SETUSER", "default", "-hset").Err(); err != nil {
		return err
	}
	err := h.InventoryRepository.Restore(ctx, deductions...)
	return errors.Join(err, h.admin.Do(ctx, "ACL", "SETUSER", "default", "+hset").Err())
}

// A right that Redis's user loses in the middle of a sale ends a script between two
// of its writes: the records are gone, and their units still unsettled. That is found
// and mended, so that the units are sold.
func TestRightTakenInTheMiddleOfAScript(t *testing.T) {
	t.Parallel()
	s, server := onPrivateRedis(t)
	inner := &halfWay{InventoryRepository: s.inventory, admin: server.Client(t)}
	s.inventory = inner
	shop := open(t, s)
	const capacity = 20
	require.NoError(t, shop.PutOnSale(t.Context(), order.Item{SKU: "floor", Capacity: capacity}))
	inner.left.Store(2)
	tries := 0
	eventually(t, func() error {
		tries++
		r := request("void", tries)
		r.Lines = lines("floor", 1)
		_, err := shop.Void(t.Context(), r.ID)
		require.NoError(t, err)
		// It deducts, and gives back. Only where Redis was so slow that its circuit is open, it
		// does neither for a while, or leaves to the sweep what was deducted.
		_, err = book(shop, r)
		require.ErrorIs(t, err, order.ErrCancelled)
		if left := inner.left.Load(); left > 0 {
			return fmt.Errorf("%d are to be restored half-way", left)
		}
		return nil
	})
	stock, err := shop.Stock(t.Context(), "floor")
	require.NoError(t, err)
	require.GreaterOrEqual(t, stock.InFlight, int64(2))

	background(t, shop)
	for i := range capacity {
		eventually(t, func() error { _, err := book(shop, request("floor", 10+i)); return err })
	}
	exact(t, shop)
	assert.EqualValues(t, capacity, sold(t, s, "floor"))
}
