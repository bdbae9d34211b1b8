package faults_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/booking"
	"github.com/lastunit/lastunit/order"
)

// Row 36: a fault of the store's own tables. The number of the last movement is behind
// the ledger, and the row of a SKU with orders is deleted in the middle of a sale.
func tablesContradict(t *testing.T, m *measured) {
	s := begin(t, setup{})
	gone := booking.Request{ID: "gone-1", Customer: "c", Lines: []order.Line{{SKU: "gone", Quantity: 1}}}
	require.NoError(t, s.shops[0].PutOnSale(t.Context(), order.Item{SKU: "gone", Capacity: 1}))
	_, err := s.ask(s.shops[0], gone, book)
	require.NoError(t, err)

	_, err = s.pool.Exec(t.Context(), "update lastunit.skus set moved = moved - 1 where sku = $1", floor)
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), oneTry)
	defer cancel()
	_, err = s.shops[0].Book(ctx, booking.Request{ID: "behind", Customer: "c", Lines: []order.Line{{SKU: floor, Quantity: 1}}})
	require.ErrorIs(t, err, order.ErrOutcomeUnknown)
	require.NotErrorIs(t, err, order.ErrRejected, "no order is to blame")
	found, err := s.shops[0].ReconcileAll(t.Context(), booking.Repair)
	require.NoError(t, err)
	require.Contains(t, found, booking.Difference{SKU: floor, Kind: booking.KindNumber, Redis: 1})

	s.rush(m, func() {
		_, err := s.pool.Exec(t.Context(), `create table public.backup as select * from lastunit.skus where sku = 'gone';
			delete from lastunit.skus where sku = 'gone'`)
		require.NoError(t, err)
		require.ErrorIs(t, s.shops[0].PutOnSale(t.Context(), order.Item{SKU: "gone", Capacity: 1}), order.ErrOrphaned)
		found, err := s.shops[0].ReconcileAll(t.Context(), booking.DryRun)
		require.NoError(t, err)
		assert.Contains(t, found, booking.Difference{SKU: "gone", Kind: booking.KindOrphan, Postgres: 1})
		_, err = s.pool.Exec(t.Context(), "insert into lastunit.skus select * from public.backup")
		require.NoError(t, err)
	})
}
