package order_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/order"
)

// An order that takes the last unit while a look is under way must not look both
// new and sold out: its buyer's second click would be refused. Here the look is
// held up at the counters until the order is there.
func TestLookDuringACommit(t *testing.T) {
	t.Parallel()
	url := newDatabase(t)
	others := newPool(t, url)
	putOnSale(t, order.NewPostgres(others), "floor", 1)
	store := order.NewPostgres(newPool(t, url, maxConns(1)))
	asked := []order.Commit{{Order: order.Order{ID: "x", Customer: "c", Lines: []order.Line{{SKU: "floor", Quantity: 1}}}}}
	_, _, err := store.Look(t.Context(), asked) // prepares its statements, which takes locks too
	require.NoError(t, err)

	booking, err := others.Begin(t.Context())
	require.NoError(t, err)
	_, err = booking.Exec(t.Context(), "lock table lastunit.skus in access exclusive mode")
	require.NoError(t, err)
	type looked struct {
		outcomes []order.Outcome
		counters []order.Counters
		err      error
	}
	done := make(chan looked, 1)
	go func() {
		outcomes, counters, err := store.Look(t.Context(), asked)
		done <- looked{outcomes, counters, err}
	}()
	require.Eventually(t, func() bool {
		var waiting bool
		err := others.QueryRow(t.Context(), `select exists (select from pg_locks l join pg_class c on c.oid = l.relation
			where c.relname = 'skus' and not l.granted)`).Scan(&waiting)
		return err == nil && waiting
	}, patience, 5*time.Millisecond)
	_, err = booking.Exec(t.Context(), `insert into lastunit.orders (id, customer, status, counted, skus, quantities, consumed, created_at, changed_at)
		values ('x', 'c', 'confirmed', 'confirmed', '{floor}', '{1}', '{}', now(), now())`)
	require.NoError(t, err)
	_, err = booking.Exec(t.Context(), "update lastunit.skus set allocated = 1")
	require.NoError(t, err)
	require.NoError(t, booking.Commit(t.Context()))

	got := <-done
	require.NoError(t, got.err)
	require.EqualValues(t, 0, got.counters[0].Left())
	assert.NotEqual(t, order.VerdictNew, got.outcomes[0].Verdict, "an order that the counters count is found")
}
