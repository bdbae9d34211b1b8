package order_test

import (
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/order"
)

// TestRetiredByPostgres: no hand in the tables sells a retired SKU again by mistake.
func TestRetiredByPostgres(t *testing.T) {
	t.Parallel()
	url := newDatabase(t)
	store := order.NewPostgres(newPool(t, url))
	putOnSale(t, store, "floor", 10)
	_, err := store.Retire(t.Context(), "floor")
	require.NoError(t, err)
	conn, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	defer conn.Close(t.Context())
	_, err = conn.Exec(t.Context(), "update lastunit.skus set paused = false")
	require.ErrorContains(t, err, "skus_retired")
	outcome, err := one(t.Context(), store, direct("1", "floor"))
	require.NoError(t, err)
	require.Equal(t, order.VerdictClosed, outcome.Verdict)
	require.ErrorIs(t, outcome.Err, order.ErrRetired)
}
