package booking_test

import (
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/booking"
	"github.com/lastunit/lastunit/internal/servertest"
	"github.com/lastunit/lastunit/order"
)

// TestRepairBesideALockedSKU: SKUs that can't be repaired, as somebody keeps their rows
// locked, keep no other from it, and are named.
func TestRepairBesideALockedSKU(t *testing.T) {
	t.Parallel()
	pool := migrated(t, servertest.SharedPostgres(t))
	config := pool.Config()
	config.ConnConfig.RuntimeParams["lock_timeout"] = "50ms"
	impatient, err := pgxpool.NewWithConfig(t.Context(), config)
	require.NoError(t, err)
	t.Cleanup(impatient.Close)
	shop := open(t, at(t, servertest.SharedRedis(t).Client(t), order.NewPostgres(impatient)))
	require.NoError(t, shop.PutOnSale(t.Context(), order.Item{SKU: "a", Capacity: 100}, order.Item{SKU: "b", Capacity: 100}, order.Item{SKU: "c", Capacity: 100}))
	_, err = shop.Book(t.Context(), request("b", 0))
	require.NoError(t, err)
	_, err = pool.Exec(t.Context(), "update lastunit.skus set allocated = allocated + 1")
	require.NoError(t, err)

	tx, err := pool.Begin(t.Context())
	require.NoError(t, err)
	_, err = tx.Exec(t.Context(), "select from lastunit.skus where sku in ('a', 'c') for update")
	require.NoError(t, err)
	_, err = shop.ReconcileAll(t.Context(), booking.Repair)
	require.ErrorIs(t, err, order.ErrUnavailable)
	require.ErrorContains(t, err, `recount SKU "a"`)
	require.ErrorContains(t, err, `recount SKU "c"`)
	require.NoError(t, tx.Rollback(t.Context()))
	found, err := shop.Reconcile(t.Context(), booking.DryRun, "b")
	require.NoError(t, err)
	require.Empty(t, found, "it was repaired")

	_, err = shop.ReconcileAll(t.Context(), booking.Repair)
	require.NoError(t, err)
	exact(t, shop)
}
