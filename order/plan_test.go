package order_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/order"
)

// scans is how often a table was read from end to end so far.
func scans(t testing.TB, pool *pgxpool.Pool, table string) (n int64) {
	t.Helper()
	// What a session counted is seen by all only when it says so. The pool has one.
	_, err := pool.Exec(context.Background(), "select pg_stat_force_next_flush()")
	require.NoError(t, err)
	require.NoError(t, pool.QueryRow(context.Background(),
		"select seq_scan from pg_stat_user_tables where schemaname = 'lastunit' and relname = $1", table).Scan(&n))
	return n
}

// rowsRead is how many rows of tables were read so far, by their keys or from end to end.
func rowsRead(t testing.TB, pool *pgxpool.Pool, tables ...string) (n int64) {
	t.Helper()
	_, err := pool.Exec(context.Background(), "select pg_stat_force_next_flush()")
	require.NoError(t, err)
	require.NoError(t, pool.QueryRow(context.Background(), `select sum(i.idx_tup_read + t.seq_tup_read)::bigint
		from pg_stat_user_indexes i join pg_stat_user_tables t on t.relid = i.relid
		where i.schemaname = 'lastunit' and i.relname = any($1) and i.indexrelname like '%_pkey'`, tables).Scan(&n))
	return n
}

// TestNothingScansTheOrders counts the scans of a table with 20,000 orders. Each
// call is made often enough for Postgres to settle on a generic plan.
func TestNothingScansTheOrders(t *testing.T) {
	t.Parallel()
	url := newDatabase(t)
	for _, exec := range []pgx.QueryExecMode{pgx.QueryExecModeCacheStatement, pgx.QueryExecModeExec} {
		pool := newPool(t, url, maxConns(1), mode(exec))
		store := order.NewPostgres(pool)
		ctx := t.Context()
		const sku = "floor"
		counters := putOnSale(t, store, sku, 1_000_000)
		other := fmt.Sprint("other", exec)
		putOnSale(t, store, other, 1)
		seq := counters.TopSeq
		batch := func(name string) []order.Commit {
			commits := make([]order.Commit, order.MaxCommits)
			for i := range commits {
				seq++
				commits[i] = deducted(fmt.Sprintf("%s-%d-%d", name, exec, seq), counters, seq)
			}
			return commits
		}
		for i := range 10 {
			_, _, err := store.Commit(ctx, batch(fmt.Sprint(i)))
			require.NoError(t, err)
		}
		check := func(what string, call func(i int) error) {
			t.Helper()
			before := scans(t, pool, "orders")
			for i := range 8 {
				require.NoError(t, call(i))
			}
			require.Equal(t, before, scans(t, pool, "orders"), "%s, exec mode %v", what, exec)
		}
		checkAll := func(when string) {
			t.Helper()
			var old []order.Commit
			check("commit of 1000 "+when, func(int) error {
				old = batch("check")
				_, _, err := store.Commit(ctx, old)
				return err
			})
			// To find 1000 that are there among 20,000, a scan would be right.
			old = old[:50]
			check("repeated commit "+when, func(int) error { _, _, err := store.Commit(ctx, old); return err })
			check("look "+when, func(int) error { _, _, err := store.Look(ctx, old); return err })
			check("order "+when, func(i int) error { _, err := store.Order(ctx, old[i].Order.ID); return err })
			check("fence "+when, func(i int) error {
				_, _, err := store.Fence(ctx, append(deducted("late", counters, 1<<40+int64(i)).Deductions, old[i].Deductions...))
				return err
			})
			check("cancel "+when, func(i int) error { _, _, err := cancel(ctx, store, old[i].Order.ID); return err })
			check("cancel unknown "+when, func(i int) error {
				_, _, err := void(ctx, store, fmt.Sprint("tombstone", when, exec, i))
				return err
			})
			for _, status := range []order.Status{"", order.Confirmed, order.Cancelled, order.Held} {
				after := ""
				check(fmt.Sprintf("orders %q %s", status, when), func(int) error {
					page, err := store.Orders(ctx, order.Query{Status: status, After: after})
					after = page.Next
					return err
				})
			}
			var held []order.Commit
			check("hold "+when, func(int) error {
				held = batch("held")[:50]
				for i := range held {
					held[i].Hold = time.Hour
				}
				_, _, err := store.Commit(ctx, held)
				return err
			})
			check("changes "+when, func(i int) error {
				changes := make([]order.Change, 0, len(held))
				for n, c := range held {
					changes = append(changes, order.Change{
						ID: c.Order.ID, Action: []order.Action{order.Extend, order.Expire, order.Count, order.Confirm, order.Cancel}[(i+n)%5], Hold: time.Hour,
					})
				}
				_, _, err := store.Change(ctx, changes)
				return err
			})
			check("reclaim "+when, func(i int) error {
				_, _, err := change(ctx, store, old[i].Order.ID, order.Reclaim)
				if errors.Is(err, order.ErrCancelled) {
					err = nil
				}
				return err
			})
			check("due "+when, func(int) error { _, err := store.Due(ctx, time.Hour, 10); return err })
			check("purge "+when, func(int) error { _, err := store.Purge(ctx, time.Unix(0, 0), 10); return err })
			check("uncounted "+when, func(int) error { _, err := store.Uncounted(ctx, "", 10); return err })
			check("adjust "+when, func(i int) error { return restock(ctx, store, fmt.Sprint("L", when, exec, i), other) })
			check("movements "+when, func(i int) error { _, err := store.Movements(ctx, sku, int64(i), 100); return err })
			var cursor order.Cursor
			check("feed "+when, func(int) (err error) { _, cursor, err = store.Feed(ctx, cursor, 100); return err })
			check("counters "+when, func(int) error { _, err := store.Counters(ctx, sku); return err })
			check("scan "+when, func(int) error { _, err := store.Scan(ctx, order.AllPartitions, "", 100); return err })
		}
		checkAll("without statistics")
		_, err := pool.Exec(ctx, "vacuum analyze lastunit.orders, lastunit.skus, lastunit.fences")
		require.NoError(t, err)
		checkAll("with statistics")

		// It does count.
		before := scans(t, pool, "orders")
		_, err = store.TallyAll(ctx)
		require.NoError(t, err)
		require.Greater(t, scans(t, pool, "orders"), before)
	}

	store := order.NewPostgres(newPool(t, url))
	seen, after := 0, ""
	for {
		page, err := store.Orders(t.Context(), order.Query{Size: order.MaxPage, After: after})
		require.NoError(t, err)
		seen += len(page.Orders)
		if after = page.Next; after == "" {
			break
		}
	}
	tallies, err := store.TallyAll(t.Context())
	require.NoError(t, err)
	require.Greater(t, seen, 20_000)
	require.Greater(t, int64(seen), tallies[0].Confirmed, "the cancelled ones too")
	books(t, store)
}

// TestPlansOfAYoungTable: a session that planned its commits while there were few
// orders must not go on with a plan that scans them.
func TestPlansOfAYoungTable(t *testing.T) {
	t.Parallel()
	url := newDatabase(t)
	for _, size := range []int{1, 50, 200} {
		pool := newPool(t, url, maxConns(1))
		store := order.NewPostgres(pool)
		sku := fmt.Sprint("floor", size)
		counters := putOnSale(t, store, sku, 1_000_000)
		seq := int64(0)
		commit := func(times int) {
			for range times {
				commits := make([]order.Commit, size)
				for i := range commits {
					seq++
					commits[i] = deducted(fmt.Sprint(size, "-", seq), counters, seq)
				}
				_, _, err := store.Commit(t.Context(), commits)
				require.NoError(t, err)
			}
		}
		commit(8)
		before := scans(t, pool, "orders")
		commit(20)
		require.Equal(t, before, scans(t, pool, "orders"), "batches of %d", size)
		execute(t, url, "truncate lastunit.orders")
	}
}

// TestLimitsReadTheirCustomer: what a customer has of a SKU with a limit is found
// by the customer, however many others have some.
func TestLimitsReadTheirCustomer(t *testing.T) {
	t.Parallel()
	pool := newPool(t, newDatabase(t), maxConns(1))
	store := order.NewPostgres(pool)
	all, _, err := store.PutOnSale(t.Context(), order.Item{SKU: "floor", Capacity: 1_000_000, CustomerLimit: 2})
	require.NoError(t, err)
	seq := int64(0)
	batch := func(size int) []order.Commit {
		commits := make([]order.Commit, size)
		for i := range commits {
			seq++
			commits[i] = deducted(fmt.Sprint(seq), all[0], seq)
			commits[i].Order.Customer = fmt.Sprint("customer-", seq)
		}
		return commits
	}
	read := func() (n int64) {
		_, err := pool.Exec(t.Context(), "select pg_stat_force_next_flush()")
		require.NoError(t, err)
		require.NoError(t, pool.QueryRow(t.Context(),
			"select idx_tup_read from pg_stat_user_indexes where schemaname = 'lastunit' and indexrelname = 'orders_limited'").Scan(&n))
		return n
	}
	for range 5 {
		_, _, err := store.Commit(t.Context(), batch(order.MaxCommits))
		require.NoError(t, err)
	}
	for what, call := range map[string]func(size int) error{
		"commit": func(size int) error { _, _, err := store.Commit(t.Context(), batch(size)); return err },
		"commit one by one": func(size int) error {
			commits := batch(size)
			commits[0].Deductions[0].Epoch = 1
			_, _, err := store.Commit(t.Context(), commits)
			return err
		},
		"look": func(size int) error { _, _, err := store.Look(t.Context(), batch(size)); return err },
	} {
		before := read()
		require.NoError(t, call(20))
		require.Less(t, read()-before, int64(1000), what)
	}
}

// TestALargeLedgerIsReadInPart: a page costs what it holds, wherever it begins and
// however large the ledger is, also in sessions that first read it while it was small.
func TestALargeLedgerIsReadInPart(t *testing.T) {
	t.Parallel()
	url := newDatabase(t)
	for _, exec := range []pgx.QueryExecMode{pgx.QueryExecModeCacheStatement, pgx.QueryExecModeExec} {
		pool := newPool(t, url, maxConns(1), mode(exec))
		store := order.NewPostgres(pool)
		sku := fmt.Sprint("floor", exec)
		_, before, err := store.Feed(t.Context(), order.Cursor{}, order.MaxMovements)
		require.NoError(t, err)
		putOnSale(t, store, sku, 1_000_000)
		_, end, err := store.Feed(t.Context(), before, order.MaxMovements)
		require.NoError(t, err)
		partition := 0 // of the SKU, in which nothing was before
		for end.Positions[partition] == before.Positions[partition] {
			partition++
		}
		read := func() int64 { return rowsRead(t, pool, "movement_batches", "feed_entries") }
		check := func(rows, each int) {
			t.Helper()
			for i := range 8 { // until Postgres settles on a generic plan
				after := int64(i * rows * each / 8)
				before := read()
				page, err := store.Movements(t.Context(), sku, after, 10)
				require.NoError(t, err)
				require.LessOrEqual(t, read()-before, int64(50), "movements after %d", after)
				require.LessOrEqual(t, len(page), 10)
				before = read()
				cursor := end
				cursor.Positions[partition] = after
				page, _, err = store.Feed(t.Context(), cursor, 10)
				require.NoError(t, err)
				require.LessOrEqual(t, read()-before, int64(200), "feed after %d", after)
				require.LessOrEqual(t, len(page), 10)
			}
		}
		check(1, 1)
		const rows, each = 5000, 3
		execute(t, url, fmt.Sprintf(`insert into lastunit.movement_batches (sku, first_number, last_number, moved_at, kinds, quantities, order_ids)
			select '%s', 2 + (i - 1) * %[2]d, 1 + i * %[2]d, clock_timestamp(), '{held,confirmed,cancelled}', '{1,1,-1}', array[i::text, i::text, i::text]
			from generate_series(1, %[3]d) i; update lastunit.skus set moved = 1 + %[2]d * %[3]d where sku = '%[1]s'`, sku, each, rows))
		check(rows, each)
		execute(t, url, "vacuum analyze lastunit.movement_batches")
		check(rows, each)
	}
}

// TestNothingIsCompiled: tables that were never analyzed look so large that Postgres
// compiles what reads them, which takes seconds.
func TestNothingIsCompiled(t *testing.T) {
	t.Parallel()
	url := newDatabase(t)
	owner := order.NewPostgres(newPool(t, url))
	putOnSale(t, owner, "floor", 10)
	held := direct("1", "floor")
	held.Hold = time.Millisecond
	_, err := one(t.Context(), owner, held)
	require.NoError(t, err)
	execute(t, url, `
		create function public.interpreted() returns boolean language plpgsql as $$
		begin
			if current_setting('jit') = 'on' then raise exception 'it would be compiled'; end if;
			return true;
		end $$;
		alter table lastunit.orders enable row level security;
		alter table lastunit.skus enable row level security;
		create policy own on lastunit.orders using (public.interpreted());
		create policy own on lastunit.skus using (public.interpreted());`)
	store := order.NewPostgres(newPool(t, newRole(t, url, readmeGrants(t, false)), set("jit", "on")))
	for name, read := range map[string]func() error{
		"Tally":     func() error { _, err := store.Tally(t.Context(), "floor"); return err },
		"TallyAll":  func() error { _, err := store.TallyAll(t.Context()); return err },
		"Order":     func() error { _, err := store.Order(t.Context(), "1"); return err },
		"Orders":    func() error { _, err := store.Orders(t.Context(), order.Query{}); return err },
		"Counters":  func() error { _, err := store.Counters(t.Context(), "floor"); return err },
		"Scan":      func() error { _, err := store.Scan(t.Context(), order.AllPartitions, "", 10); return err },
		"Look":      func() error { _, _, err := store.Look(t.Context(), []order.Commit{held}); return err },
		"Due":       func() error { _, err := store.Due(t.Context(), time.Hour, 10); return err },
		"Uncounted": func() error { _, err := store.Uncounted(t.Context(), "", 10); return err },
		"Upkeep":    func() error { _, err := store.Upkeep(t.Context()); return err },
		"Feed":      func() error { _, _, err := store.Feed(t.Context(), order.Cursor{}, 10); return err },
		"Movements": func() error { _, err := store.Movements(t.Context(), "floor", 0, 10); return err },
	} {
		require.NoError(t, read(), name)
	}
}
