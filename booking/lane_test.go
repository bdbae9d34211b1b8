package booking_test

import (
	"context"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/internal/servertest"
	"github.com/lastunit/lastunit/internal/testdb"
	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

// An idle transaction of somebody else keeps one SKU's row locked: its buyers
// wait, and those of a SKU in another lane don't, or they would until their time is over.
func TestOneLockedSKU(t *testing.T) {
	t.Parallel()
	database := testdb.New(t, servertest.SharedPostgres(t))
	s := at(t, servertest.SharedRedis(t).Client(t), order.NewPostgres(connect(t, database)))
	shop := open(t, s)
	for _, sku := range []string{"locked", "other"} {
		require.NoError(t, shop.PutOnSale(t.Context(), order.Item{SKU: sku, Capacity: 100}))
		_, err := bookOnce(shop, request(sku, 0))
		require.NoError(t, err)
	}
	somebody, err := connect(t, database).Begin(t.Context())
	require.NoError(t, err)
	_, err = somebody.Exec(t.Context(), "select from lastunit.skus where sku = 'locked' for update")
	require.NoError(t, err)

	waiting, leave := context.WithCancel(t.Context())
	defer leave()
	var group sync.WaitGroup
	for i := range 4 {
		group.Go(func() {
			for waiting.Err() == nil {
				_, err := shop.Book(waiting, request("locked", 1+i))
				assert.ErrorIs(t, err, order.ErrOutcomeUnknown)
				assert.NotErrorIs(t, err, inventory.ErrSoldOut)
			}
		})
	}
	for i := range 20 {
		_, err := shop.Book(t.Context(), request("other", 1+i))
		require.NoError(t, err, "while the other SKU is locked")
	}
	leave()
	group.Wait()

	require.NoError(t, somebody.Rollback(t.Context()))
	background(t, shop)
	for i := range 4 {
		_, err := book(shop, request("locked", 1+i))
		require.NoError(t, err)
	}
	exact(t, shop)
	assert.EqualValues(t, 5, sold(t, s, "locked"))
}
