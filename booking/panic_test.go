package booking_test

import (
	"context"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

// explosive is an inventory that panics once.
type explosive struct {
	inventory.InventoryRepository
	armed atomic.Bool
}

func (e *explosive) Deduct(ctx context.Context, r inventory.Request) (inventory.Deduction, error) {
	if e.armed.CompareAndSwap(true, false) {
		panic("says the test")
	}
	return e.InventoryRepository.Deduct(ctx, r)
}

// Somebody's repository panics, which an HTTP server survives. The same request again has
// its order, and no Receipt of one that nobody has.
func TestAgainAfterAPanic(t *testing.T) {
	t.Parallel()
	s := embedded(t)
	bomb := &explosive{InventoryRepository: s.inventory}
	s.inventory = bomb
	shop := open(t, s)
	require.NoError(t, shop.PutOnSale(t.Context(), order.Item{SKU: "floor", Capacity: 10}))
	bomb.armed.Store(true)
	assert.Panics(t, func() { _, _ = shop.Accept(t.Context(), request("floor", 1)) })
	receipt, err := shop.Accept(t.Context(), request("floor", 1))
	require.NoError(t, err)
	o, err := receipt.Wait(t.Context())
	require.NoError(t, err)
	assert.Equal(t, order.Confirmed, o.Status)

	bomb.armed.Store(true)
	assert.Panics(t, func() { _, _ = shop.Book(t.Context(), request("floor", 2)) })
	_, err = bookOnce(shop, request("floor", 2))
	require.NoError(t, err)
	background(t, shop)
	exact(t, shop)
}
