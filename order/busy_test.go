package order_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/order"
)

// holds makes holds of one unit each.
func holds(t testing.TB, store order.Store, sku string, d time.Duration, ids ...string) {
	t.Helper()
	commits := make([]order.Commit, len(ids))
	for i, id := range ids {
		commits[i] = direct(id, sku)
		commits[i].Hold = d
	}
	outcomes, _, err := store.Commit(t.Context(), commits)
	require.NoError(t, err)
	for _, outcome := range outcomes {
		require.Equal(t, order.VerdictBooked, outcome.Verdict)
	}
}

// numbered are n IDs.
func numbered(name string, n int) []string {
	ids := make([]string, n)
	for i := range ids {
		ids[i] = fmt.Sprintf("%s-%04d", name, i)
	}
	return ids
}

// expires waits until a short hold is over, and ends it.
func expires(t testing.TB, store order.Store, id string) {
	t.Helper()
	until(t, func() bool {
		o, _, err := change(t.Context(), store, id, order.Expire)
		return err == nil && o.Status == order.Expired
	})
}

func requireStatus(t testing.TB, store order.Store, status order.Status, ids ...string) {
	t.Helper()
	for _, id := range ids {
		o, err := store.Order(t.Context(), id)
		require.NoError(t, err)
		require.Equal(t, status, o.Status, id)
	}
}

// begin begins a transaction that is rolled back when the test ends.
func begin(t testing.TB, pool *pgxpool.Pool, level pgx.TxIsoLevel) pgx.Tx {
	t.Helper()
	tx, err := pool.BeginTx(t.Context(), pgx.TxOptions{IsoLevel: level})
	require.NoError(t, err)
	t.Cleanup(func() { _ = tx.Rollback(context.Background()) })
	return tx
}

// TestPoisonousChange: a constraint of the user's own refuses the changes of some
// orders. Those of all others of the batch are made.
func TestPoisonousChange(t *testing.T) {
	t.Parallel()
	url := newDatabase(t)
	execute(t, url, `alter table lastunit.orders add constraint no_poison check (customer <> 'poison' or status = 'held')`)
	store := order.NewPostgres(newPool(t, url))
	putOnSale(t, store, "floor", 1000)
	putOnSale(t, store, "balcony", 1000)
	for _, bad := range [][]int{{0}, {7}, {39}, {3, 4}, {0, 13, 14, 39}} {
		ids := numbered(fmt.Sprint("bad", bad), 40)
		commits, changes := make([]order.Commit, len(ids)), make([]order.Change, len(ids))
		for i, id := range ids {
			commits[i] = direct(id, []string{"floor", "balcony"}[i%2])
			commits[i].Hold = time.Hour
			if slices.Contains(bad, i) {
				commits[i].Order.Customer = "poison"
			}
			changes[i] = order.Change{ID: id, Action: []order.Action{order.Cancel, order.Confirm}[i/2%2]}
		}
		_, _, err := store.Commit(t.Context(), commits)
		require.NoError(t, err)
		answers, counters, err := store.Change(t.Context(), changes)
		require.NoError(t, err, bad)
		for i, id := range ids {
			if !slices.Contains(bad, i) {
				require.NoError(t, answers[i].Err, i)
				want := []order.Status{order.Cancelled, order.Confirmed}[i/2%2]
				require.Equal(t, want, answers[i].Order.Status)
				requireStatus(t, store, want, id)
				continue
			}
			require.ErrorIs(t, answers[i].Err, order.ErrRejected, i)
			var answer *pgconn.PgError
			require.ErrorAs(t, answers[i].Err, &answer)
			require.Equal(t, "no_poison", answer.ConstraintName)
			requireStatus(t, store, order.Held, id)
		}
		require.Len(t, counters, 2, "the counters of every SKU")
		for _, c := range counters {
			now, err := store.Counters(t.Context(), c.SKU)
			require.NoError(t, err)
			require.Equal(t, now[0].Allocated, c.Allocated, "as they are after the whole batch")
		}

		// It alone.
		answers, counters, err = store.Change(t.Context(), changes[bad[0]:bad[0]+1])
		require.NoError(t, err)
		require.ErrorIs(t, answers[0].Err, order.ErrRejected)
		require.Len(t, counters, 1)
		_, _, err = store.Change(t.Context(), changes)
		require.NoError(t, err)
		books(t, store)
	}
}

// TestLockedSKUIsBusyAlone: somebody keeps the row of one SKU locked. Its orders
// are busy, and those of others are changed in the same call meanwhile.
func TestLockedSKUIsBusyAlone(t *testing.T) {
	t.Parallel()
	url := newDatabase(t)
	store := order.NewPostgres(newPool(t, url))
	putOnSale(t, store, "floor", 10)
	putOnSale(t, store, "balcony", 10)
	both := direct("both", "balcony", "floor")
	both.Hold = time.Hour
	_, err := one(t.Context(), store, both)
	require.NoError(t, err)
	holds(t, store, "floor", time.Hour, "floor")
	holds(t, store, "balcony", time.Hour, "balcony-1", "balcony-2")
	release := hold(t, url, "floor")
	all := []order.Change{
		{ID: "balcony-1", Action: order.Confirm},
		{ID: "both", Action: order.Confirm},
		{ID: "floor", Action: order.Cancel},
		{ID: "new", Action: order.Void},
		{ID: "unknown", Action: order.Confirm},
		{ID: "balcony-2", Action: order.Cancel},
	}
	answers, _, err := store.Change(bounded(t, patience), all)
	require.NoError(t, err)
	for i, want := range []error{nil, order.ErrBusy, order.ErrBusy, nil, order.ErrNotFound, nil} {
		require.ErrorIs(t, answers[i].Err, want, all[i].ID)
	}
	requireStatus(t, store, order.Confirmed, "balcony-1")
	requireStatus(t, store, order.Cancelled, "balcony-2", "new")
	requireStatus(t, store, order.Held, "both", "floor")
	books(t, store)

	release()
	until(t, func() bool {
		answers, _, err := store.Change(t.Context(), all[1:3])
		return err == nil && answers[0].Err == nil && answers[1].Err == nil
	})
	requireStatus(t, store, order.Confirmed, "both")
	requireStatus(t, store, order.Cancelled, "floor")
	books(t, store)
}

// TestTxAnswerStays: what ConfirmTx and CancelTx say of an order that needs no
// change, or allows none, is true until the transaction ends.
func TestTxAnswerStays(t *testing.T) {
	t.Parallel()
	store, pool := newStore(t)
	putOnSale(t, store, "floor", 10)
	for _, level := range []pgx.TxIsoLevel{pgx.ReadCommitted, pgx.RepeatableRead, pgx.Serializable} {
		id := func(name string) string { return fmt.Sprint(name, " ", level) }
		confirmed, cancelled, over := id("confirmed"), id("cancelled"), id("over")
		holds(t, store, "floor", time.Hour, confirmed, cancelled)
		holds(t, store, "floor", time.Millisecond, over)
		_, _, err := change(t.Context(), store, confirmed, order.Confirm)
		require.NoError(t, err)
		_, _, err = cancel(t.Context(), store, cancelled)
		require.NoError(t, err)
		expires(t, store, over)

		tx := begin(t, pool, level)
		o, err := store.ConfirmTx(t.Context(), tx, confirmed)
		require.NoError(t, err)
		require.Equal(t, order.Confirmed, o.Status)
		_, err = store.ConfirmTx(t.Context(), tx, over)
		require.ErrorIs(t, err, order.ErrHoldExpired)
		o, err = store.CancelTx(t.Context(), tx, cancelled)
		require.NoError(t, err)
		require.Equal(t, order.Cancelled, o.Status)

		all := []order.Change{{ID: confirmed, Action: order.Cancel}, {ID: cancelled, Action: order.Cancel}, {ID: over, Action: order.Reclaim}}
		answers, _, err := store.Change(t.Context(), all)
		require.NoError(t, err)
		for i, answer := range answers {
			require.ErrorIs(t, answer.Err, order.ErrBusy, all[i].ID)
		}
		require.NoError(t, tx.Commit(t.Context()))
		answers, _, err = store.Change(t.Context(), all)
		require.NoError(t, err)
		for i, answer := range answers {
			require.NoError(t, answer.Err, all[i].ID)
		}
		requireStatus(t, store, order.Cancelled, confirmed, cancelled)
		requireStatus(t, store, order.Confirmed, over)
	}
	books(t, store)
}

// TestTxOnAnOldSnapshot: an order that has changed since the snapshot of the
// transaction is a serialization failure, also where the old one needs no change.
func TestTxOnAnOldSnapshot(t *testing.T) {
	t.Parallel()
	url := newDatabase(t)
	pool := newPool(t, url)
	store := order.NewPostgres(pool)
	putOnSale(t, store, "floor", 100)
	confirm := func(tx pgx.Tx, id string) (order.Order, error) { return store.ConfirmTx(t.Context(), tx, id) }
	drop := func(tx pgx.Tx, id string) (order.Order, error) { return store.CancelTx(t.Context(), tx, id) }
	over := func(id string) { // without waiting for it
		execute(t, url, fmt.Sprintf("update lastunit.orders set expires_at = now() - interval '1 second' where id = '%s'", id))
	}
	done := func(id string, action order.Action) {
		_, _, err := change(t.Context(), store, id, action)
		require.NoError(t, err)
	}
	for _, level := range []pgx.TxIsoLevel{pgx.RepeatableRead, pgx.Serializable} {
		for name, test := range map[string]struct {
			before, meanwhile func(id string)
			ask               func(pgx.Tx, string) (order.Order, error)
		}{
			"over, and has time again": {over, func(id string) {
				execute(t, url, fmt.Sprintf("update lastunit.orders set expires_at = now() + interval '1 hour' where id = '%s'", id))
			}, confirm},
			"confirmed, and is cancelled": {func(id string) { done(id, order.Confirm) }, func(id string) { done(id, order.Cancel) }, confirm},
			"expired, and is reclaimed":   {func(id string) { over(id); done(id, order.Expire) }, func(id string) { done(id, order.Reclaim) }, drop},
			"reclaimed, so confirm":       {func(id string) { over(id); done(id, order.Expire) }, func(id string) { done(id, order.Reclaim) }, confirm},
		} {
			id := fmt.Sprint(name, " ", level)
			holds(t, store, "floor", time.Hour, id)
			test.before(id)
			tx := begin(t, pool, level)
			_, err := tx.Exec(t.Context(), "select from lastunit.store") // its snapshot is of now
			require.NoError(t, err)
			test.meanwhile(id)
			_, err = test.ask(tx, id)
			var failure *pgconn.PgError
			require.ErrorAs(t, err, &failure, id)
			require.Equal(t, "40001", failure.Code, id)
			require.NoError(t, tx.Rollback(t.Context()))
		}
	}
	books(t, store)
}

// TestUncountedSkipsTheLocked: orders whose rows somebody keeps locked can't be
// counted, and don't fill the page that others are to be on.
func TestUncountedSkipsTheLocked(t *testing.T) {
	t.Parallel()
	store, pool := newStore(t)
	putOnSale(t, store, "floor", 1000)
	locked := numbered("a", 20)
	holds(t, store, "floor", time.Hour, append(locked, "z")...)
	tx := begin(t, pool, pgx.ReadCommitted)
	for _, id := range append(locked, "z") {
		_, err := store.CancelTx(t.Context(), tx, id)
		require.NoError(t, err)
	}
	require.NoError(t, tx.Commit(t.Context()))
	tx = begin(t, pool, pgx.ReadCommitted)
	_, err := tx.Exec(t.Context(), "select from lastunit.orders where id like 'a-%' for update")
	require.NoError(t, err)

	ids, err := store.Uncounted(t.Context(), "", 10)
	require.NoError(t, err)
	require.Equal(t, []string{"z"}, ids)
	_, counters, err := change(t.Context(), store, "z", order.Count)
	require.NoError(t, err)
	require.Equal(t, int64(len(locked)), counters[0].Allocated)
	ids, err = store.Uncounted(t.Context(), "", 10)
	require.NoError(t, err)
	require.Empty(t, ids)

	require.NoError(t, tx.Rollback(t.Context()))
	ids, err = store.Uncounted(t.Context(), "", 10)
	require.NoError(t, err)
	require.Equal(t, locked[:10], ids, "they are not forgotten")
	for _, id := range locked {
		_, _, err := change(t.Context(), store, id, order.Count)
		require.NoError(t, err)
	}
	books(t, store)
}

// read is how many entries of its indexes, and rows without one, were read of the
// orders so far.
func read(t testing.TB, pool *pgxpool.Pool) (n int64) {
	t.Helper()
	_, err := pool.Exec(t.Context(), "select pg_stat_force_next_flush()") // as in scans
	require.NoError(t, err)
	require.NoError(t, pool.QueryRow(t.Context(), `
		select (select sum(idx_tup_read) from pg_stat_user_indexes where schemaname = 'lastunit' and relname = 'orders')
			+ (select seq_tup_read from pg_stat_user_tables where schemaname = 'lastunit' and relname = 'orders')`).Scan(&n))
	return n
}

// TestDueReadsOnlyTheDue: to look for holds that are over does not read the
// thousand that are not.
func TestDueReadsOnlyTheDue(t *testing.T) {
	t.Parallel()
	store, pool := newStore(t, maxConns(1))
	putOnSale(t, store, "floor", 10_000)
	holds(t, store, "floor", time.Hour, numbered("later", 1000)...)
	_, err := pool.Exec(t.Context(), "vacuum analyze lastunit.orders")
	require.NoError(t, err)
	before := read(t, pool)
	for range 8 { // often enough for a generic plan
		due, err := store.Due(t.Context(), time.Hour, 1000)
		require.NoError(t, err)
		require.Empty(t, due)
	}
	require.Less(t, read(t, pool)-before, int64(1000), "of 8 looks")
}

// TestReclaimOfAnErasedCustomer: orders whose customers were erased are nobody's,
// and not all of one customer.
func TestReclaimOfAnErasedCustomer(t *testing.T) {
	t.Parallel()
	url := newDatabase(t)
	store := order.NewPostgres(newPool(t, url))
	_, _, err := store.PutOnSale(t.Context(), order.Item{SKU: "floor", Capacity: 10, CustomerLimit: 1})
	require.NoError(t, err)
	for id, d := range map[string]time.Duration{"anna": time.Millisecond, "berta": time.Hour, "clara": time.Millisecond} {
		c := direct(id, "floor")
		c.Order.Customer, c.Hold = id, d
		outcome, err := one(t.Context(), store, c)
		require.NoError(t, err)
		require.Equal(t, order.VerdictBooked, outcome.Verdict)
	}
	expires(t, store, "anna")
	expires(t, store, "clara")
	execute(t, url, "update lastunit.orders set customer = ''")
	for _, id := range []string{"anna", "clara"} {
		o, _, err := change(t.Context(), store, id, order.Reclaim)
		require.NoError(t, err, id)
		require.Equal(t, order.Confirmed, o.Status)
	}
	// Those who are not erased have their limit as ever.
	outcomes, _, err := store.Commit(t.Context(), []order.Commit{direct("dora-1", "floor"), direct("dora-2", "floor")})
	require.NoError(t, err)
	require.Equal(t, order.VerdictBooked, outcomes[0].Verdict)
	require.Equal(t, order.VerdictLimited, outcomes[1].Verdict)
	requireStatus(t, store, order.Confirmed, "anna", "clara")
	books(t, store)
}
