package order_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

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

// TestPurgeBesideKeptOrders: orders that somebody's trigger keeps from being stripped keep no
// other one from it, even where they fill whole pages, and are named.
func TestPurgeBesideKeptOrders(t *testing.T) {
	t.Parallel()
	url := newDatabase(t)
	store := order.NewPostgres(newPool(t, url))
	putOnSale(t, store, "floor", 100)
	var commits []order.Commit
	var changes []order.Change
	for i := range 20 {
		c := direct(fmt.Sprint(i), "floor")
		if i < 6 || i == 13 {
			c.Order.Customer = "kept"
		}
		commits, changes = append(commits, c), append(changes, order.Change{ID: c.Order.ID, Action: order.Cancel})
	}
	_, _, err := store.Commit(t.Context(), commits)
	require.NoError(t, err)
	_, _, err = store.Change(t.Context(), changes)
	require.NoError(t, err)
	execute(t, url, `create function public.keep() returns trigger language plpgsql as $$ begin
			if old.customer = 'kept' then raise exception 'no'; end if; return new; end $$;
		update lastunit.orders set changed_at = changed_at - interval '1 day' + id::int * interval '1 second';
		create trigger keep before update on lastunit.orders for each row execute function public.keep()`)
	purged, named := 0, ""
	for {
		n, err := store.Purge(t.Context(), time.Now(), 5)
		if err != nil {
			isRejected(t, err, "a trigger")
			named += err.Error()
		}
		if purged += n; n == 0 {
			break
		}
	}
	require.Equal(t, 13, purged)
	for i, c := range commits {
		require.Equal(t, c.Order.Customer == "kept", strings.Contains(named, fmt.Sprintf("order %q", c.Order.ID)), i)
	}
	books(t, store)
}
