package order_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/order"
)

// tenWith are ten orders, of which the fifth is of the customer bad.
func tenWith(hold time.Duration) (commits []order.Commit) {
	for i := range 10 {
		c := direct(fmt.Sprint("o-", i), "floor")
		if c.Hold = hold; i == 4 {
			c.Order.Customer = "bad"
		}
		commits = append(commits, c)
	}
	return commits
}

// perCustomer makes a table of the shop's own, and a trigger function that counts there
// what each customer does.
const perCustomer = `
	create table public.customers (id text primary key, n int not null default 0);
	insert into public.customers values ('bad');
	create function public.f() returns trigger language plpgsql as $$ begin
		update public.customers set n = n + 1 where id = new.customer; return new; end $$;`

// TestLockedCustomer: somebody's open transaction has locked what the orders of one
// customer need. Those of all others are booked, changed and due meanwhile.
func TestLockedCustomer(t *testing.T) {
	t.Parallel()
	url := newDatabase(t)
	pool := newPool(t, url)
	store := order.NewPostgres(pool)
	putOnSale(t, store, "floor", 1000)
	execute(t, url, perCustomer+"create trigger f before insert or update on lastunit.orders for each row execute function public.f();")
	lock := func() (release func()) {
		tx := begin(t, pool, pgx.ReadCommitted)
		_, err := tx.Exec(t.Context(), "select from public.customers where id = 'bad' for update")
		require.NoError(t, err)
		return func() { require.NoError(t, tx.Rollback(t.Context())) }
	}
	ctx := bounded(t, patience)

	release := lock()
	outcomes, _, err := store.Commit(ctx, tenWith(time.Hour))
	require.NoError(t, err)
	for i, o := range outcomes {
		if i != 4 {
			require.Equal(t, order.VerdictBooked, o.Verdict, i)
			continue
		}
		require.Equal(t, order.VerdictFailed, o.Verdict)
		unavailable(t, o.Err)
		require.NotErrorIs(t, o.Err, order.ErrRejected, "it is not to blame")
	}
	release()
	outcomes, _, err = store.Commit(ctx, tenWith(time.Hour))
	require.NoError(t, err)
	require.Equal(t, order.VerdictBooked, outcomes[4].Verdict)

	release = lock()
	var changes []order.Change
	for i := range 10 {
		changes = append(changes, order.Change{ID: fmt.Sprint("o-", i), Action: order.Extend, Hold: 2 * time.Hour})
	}
	answers, _, err := store.Change(ctx, changes)
	require.NoError(t, err)
	for i, a := range answers {
		if i != 4 {
			require.NoError(t, a.Err, i)
			continue
		}
		unavailable(t, a.Err)
		require.NotErrorIs(t, a.Err, order.ErrRejected)
	}
	release()
	execute(t, url, "update lastunit.orders set due_at = now() - interval '1 minute'")
	release = lock()
	due, err := store.Due(ctx, time.Minute, 100)
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(due), 9)
	release()
	books(t, store)
}

// TestDroppedRows: a trigger of the owner's drops what is written without an error. The
// order that it is of is rejected, alone, and nothing is counted that is not stored.
func TestDroppedRows(t *testing.T) {
	t.Parallel()
	url := newDatabase(t)
	pool := newPool(t, url)
	store := order.NewPostgres(pool)
	putOnSale(t, store, "floor", 10)
	execute(t, url, `create function public.drop() returns trigger language plpgsql as $$ begin
			if new.customer = 'bad' then return null; end if; return new; end $$;
		create trigger dropped before insert on lastunit.orders for each row execute function public.drop()`)
	dropped := func(err error) {
		t.Helper()
		require.ErrorIs(t, err, order.ErrRejected)
		var answer *pgconn.PgError
		require.ErrorAs(t, err, &answer)
		require.Equal(t, "LU006", answer.Code)
	}
	outcomes, _, err := store.Commit(t.Context(), tenWith(time.Hour))
	require.NoError(t, err)
	for i, o := range outcomes {
		if i != 4 {
			require.Equal(t, order.VerdictBooked, o.Verdict, i)
			continue
		}
		require.Equal(t, order.VerdictFailed, o.Verdict)
		dropped(o.Err)
	}
	books(t, store)

	execute(t, url, "drop trigger dropped on lastunit.orders")
	outcomes, _, err = store.Commit(t.Context(), tenWith(time.Hour))
	require.NoError(t, err)
	require.Equal(t, order.VerdictBooked, outcomes[4].Verdict)
	execute(t, url, "create trigger dropped before update on lastunit.orders for each row execute function public.drop()")
	for _, action := range []order.Action{order.Confirm, order.Cancel} {
		var changes []order.Change
		for i := range 10 {
			changes = append(changes, order.Change{ID: fmt.Sprint("o-", i), Action: action})
		}
		answers, _, err := store.Change(t.Context(), changes)
		require.NoError(t, err)
		for i, a := range answers {
			if i != 4 {
				require.NoError(t, a.Err, i)
				continue
			}
			dropped(a.Err)
		}
	}
	tx := begin(t, pool, pgx.ReadCommitted)
	_, err = store.ConfirmTx(t.Context(), tx, "o-4")
	require.ErrorContains(t, err, "LU006")
	require.NoError(t, tx.Rollback(t.Context()))
	requireStatus(t, store, order.Held, "o-4")
	requireStatus(t, store, order.Cancelled, "o-0", "o-9")
	counters, err := store.Counters(t.Context(), "floor")
	require.NoError(t, err)
	require.Equal(t, int64(1), counters[0].Allocated)
	books(t, store)
}

// TestOrphansOfOtherHands: the row of a SKU that is sold goes in another way than by
// delete, and there is no ledger.
func TestOrphansOfOtherHands(t *testing.T) {
	t.Parallel()
	url := newDatabase(t)
	store := order.NewPostgres(newPool(t, url))
	require.NoError(t, store.SetLedger(t.Context(), false))
	for sku, hand := range map[string]string{
		"truncated": "truncate lastunit.skus",
		"renamed":   "update lastunit.skus set sku = 'another' where sku = 'renamed'",
		"begun anew": `delete from lastunit.skus where sku = 'begun anew';
			insert into lastunit.skus (sku, partition, capacity, epoch, ledger, recorded) values ('begun anew', 1, 1, 1, false, false);
			select lastunit.begin_epoch((select id from lastunit.store), 'begun anew', 1);
			alter table lastunit.skus disable trigger skus_deleted; delete from lastunit.skus where sku = 'begun anew';
			alter table lastunit.skus enable trigger skus_deleted`,
	} {
		putOnSale(t, store, sku, 1)
		outcome, err := one(t.Context(), store, direct(sku, sku))
		require.NoError(t, err)
		require.Equal(t, order.VerdictBooked, outcome.Verdict)
		execute(t, url, hand)
		_, _, err = store.PutOnSale(t.Context(), order.Item{SKU: sku, Capacity: 1})
		require.ErrorIs(t, err, order.ErrOrphaned, sku)
	}
}

// TestHandInTheFeed: somebody moves the feed's position back, or deletes its rows. Nothing
// is sold past that, as the feed would miss it, and to recount mends it.
func TestHandInTheFeed(t *testing.T) {
	t.Parallel()
	for name, hand := range map[string]string{
		"moved back": "update lastunit.feed set position = position - 1 where position > 0",
		"deleted":    "delete from lastunit.feed",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := newDatabase(t)
			store := order.NewPostgres(newPool(t, url))
			putOnSale(t, store, "floor", 10)
			_, err := one(t.Context(), store, direct("1", "floor"))
			require.NoError(t, err)
			execute(t, url, hand)
			_, err = one(t.Context(), store, direct("2", "floor"))
			unavailable(t, err)
			tallies, err := store.TallyAll(t.Context())
			require.NoError(t, err)
			require.Positive(t, tallies[0].Behind)
			_, err = store.Recount(t.Context(), "floor")
			require.NoError(t, err)
			_, err = one(t.Context(), store, direct("2", "floor"))
			require.NoError(t, err)
			movements, _, err := store.Feed(t.Context(), order.Cursor{}, 10)
			require.NoError(t, err)
			require.Len(t, movements, 3, "on sale, and two orders")
			books(t, store)
		})
	}
}
