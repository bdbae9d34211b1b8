package order_test

import (
	"context"
	"io/fs"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/internal/servertest"
	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

func TestMigrateFromManyAtOnce(t *testing.T) {
	t.Parallel()
	url := servertest.SharedPostgres(t).Database(t)
	for range 2 {
		var callers sync.WaitGroup
		for range 10 {
			pool := newPool(t, url, maxConns(1))
			callers.Go(func() { assert.NoError(t, order.Migrate(context.Background(), pool)) })
		}
		callers.Wait()
	}
	require.Equal(t, versions(t), column(t, url, "select version from lastunit.migrations order by version"))
	require.Equal(t, []string{"1"}, column(t, url, "select count(*) from lastunit.store"))
	require.Equal(t, []string{"64"}, column(t, url, "select count(*) from lastunit.partitions"))
}

func TestMigrateUnderOddSettings(t *testing.T) {
	t.Parallel()
	plain, odd := newDatabase(t), servertest.SharedPostgres(t).Database(t)
	pool := newPool(t, odd, mode(pgx.QueryExecModeSimpleProtocol), set("search_path", "nowhere"),
		set("default_transaction_isolation", "serializable"), set("synchronous_commit", "off"))
	require.NoError(t, order.Migrate(t.Context(), pool))
	require.NoError(t, order.Migrate(t.Context(), pool), "it only looks")
	require.Equal(t, schema(t, plain), schema(t, odd))
}

// TestExportedMigrations: with a tool of one's own it comes out the same.
func TestExportedMigrations(t *testing.T) {
	t.Parallel()
	want := schema(t, newDatabase(t))
	files, err := fs.Glob(order.Migrations(), "*.sql")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for name, run := range map[string]func(t *testing.T, url, sql string){
		"one simple query": func(t *testing.T, url, sql string) { execute(t, url, sql) },
		"psql -1": func(t *testing.T, url, sql string) {
			psql := exec.Command(servertest.Psql(t), "-1", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", url, "-f", "-")
			psql.Stdin = strings.NewReader(sql)
			out, err := psql.CombinedOutput()
			require.NoError(t, err, "%s", out)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := servertest.SharedPostgres(t).Database(t)
			for _, file := range files {
				sql, err := fs.ReadFile(order.Migrations(), file)
				require.NoError(t, err)
				run(t, url, string(sql))
			}
			require.Equal(t, want, schema(t, url))
			made := column(t, url, "select id::text from lastunit.store")
			migrate(t, url)
			require.Equal(t, want, schema(t, url))
			require.Equal(t, made, column(t, url, "select id::text from lastunit.store"), "it did nothing")
			require.Equal(t, versions(t), column(t, url, "select version from lastunit.migrations order by version"))
		})
	}
}

// column reads the only column of a query, as text.
func column(t testing.TB, url, sql string) []string {
	t.Helper()
	conn, err := pgx.Connect(context.Background(), url)
	require.NoError(t, err)
	defer conn.Close(context.Background())
	result := conn.PgConn().ExecParams(context.Background(), sql, nil, nil, nil, nil).Read()
	require.NoError(t, result.Err)
	var values []string
	for _, row := range result.Rows {
		values = append(values, string(row[0]))
	}
	return values
}

// schema describes everything in our schema.
func schema(t testing.TB, url string) []string {
	t.Helper()
	lines := column(t, url, `
		select concat_ws(' ', 'column', c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
			a.attidentity, a.attnum, l.collname, pg_get_expr(d.adbin, d.adrelid), c.reloptions)
		from pg_class c join pg_attribute a on a.attrelid = c.oid left join pg_attrdef d on d.adrelid = c.oid and d.adnum = a.attnum
			left join pg_collation l on l.oid = a.attcollation
		where c.relnamespace = 'lastunit'::regnamespace and a.attnum > 0
		union all select 'index ' || indexdef from pg_indexes where schemaname = 'lastunit'
		union all select concat_ws(' ', 'constraint', conrelid::regclass, conname, pg_get_constraintdef(oid))
			from pg_constraint where connamespace = 'lastunit'::regnamespace
		union all select pg_get_functiondef(oid) from pg_proc where pronamespace = 'lastunit'::regnamespace
		union all select concat_ws(' ', 'enum', enumtypid::regtype, enumsortorder, enumlabel) from pg_enum
		order by 1`)
	require.Greater(t, len(lines), 50)
	return lines
}

func TestNotMigrated(t *testing.T) {
	t.Parallel()
	notMigrated := func(t testing.TB, url string) {
		t.Helper()
		store := order.NewPostgres(newPool(t, url, maxConns(1)))
		ctx := t.Context()
		c := direct("1", "floor")
		for name, call := range map[string]func() error{
			"PutOnSale": func() error { _, _, err := store.PutOnSale(ctx, order.Item{SKU: "floor", Capacity: 1}); return err },
			"Adjust":    func() error { return restock(ctx, store, "L-1", "floor") },
			"SetLimit":  func() error { _, err := store.SetLimit(ctx, "floor", 1); return err },
			"SetWindow": func() error { _, err := store.SetWindow(ctx, "floor", time.Now(), time.Time{}); return err },
			"SetPaused": func() error { _, err := store.SetPaused(ctx, "floor", true); return err },
			"SetLedger": func() error { return store.SetLedger(ctx, true) },
			"Commit":    func() error { _, _, err := store.Commit(ctx, []order.Commit{c}); return err },
			"Look":      func() error { _, _, err := store.Look(ctx, []order.Commit{c}); return err },
			"Cancel":    func() error { _, _, err := cancel(ctx, store, "1"); return err },
			"Confirm":   func() error { _, _, err := change(ctx, store, "1", order.Confirm); return err },
			"Due":       func() error { _, err := store.Due(ctx, time.Hour, 1); return err },
			"Uncounted": func() error { _, err := store.Uncounted(ctx, "", 1); return err },
			"Movements": func() error { _, err := store.Movements(ctx, "floor", 0, 1); return err },
			"Feed":      func() error { _, _, err := store.Feed(ctx, order.Cursor{}, 1); return err },
			"Fence": func() error {
				_, _, err := store.Fence(ctx, []inventory.Deduction{{SKU: "floor", OrderID: "1", Epoch: 1, Seq: 1}})
				return err
			},
			"Order":      func() error { _, err := store.Order(ctx, "1"); return err },
			"Orders":     func() error { _, err := store.Orders(ctx, order.Query{}); return err },
			"Counters":   func() error { _, err := store.Counters(ctx, "floor"); return err },
			"Scan":       func() error { _, err := store.Scan(ctx, order.AllPartitions, "", 1); return err },
			"BeginEpoch": func() error { _, _, err := store.BeginEpoch(ctx, "floor", 1); return err },
			"Claim":      func() error { _, err := store.Claim(ctx, time.Second, 1, 1); return err },
			"TallyAll":   func() error { _, err := store.TallyAll(ctx); return err },
			"Recount":    func() error { _, err := store.Recount(ctx, "floor"); return err },
		} {
			err := call()
			require.ErrorIs(t, err, order.ErrNotMigrated, name)
			require.NotErrorIs(t, err, order.ErrOutcomeUnknown, name)
		}
	}
	url := servertest.SharedPostgres(t).Database(t)
	notMigrated(t, url)
	execute(t, url, "create schema lastunit")
	notMigrated(t, url)
	execute(t, url, "drop schema lastunit")
	migrate(t, url)

	// Old tables.
	store := order.NewPostgres(newPool(t, url))
	putOnSale(t, store, "floor", 1)
	execute(t, url, "alter table lastunit.skus drop column top_seq")
	_, err := order.NewPostgres(newPool(t, url)).Counters(t.Context(), "floor")
	require.ErrorIs(t, err, order.ErrNotMigrated)
}

// TestMadeAnew: a database that is made anew under a store has another name and
// another key, and the store finds out.
func TestMadeAnew(t *testing.T) {
	t.Parallel()
	url := newDatabase(t)
	pool := newPool(t, url)
	store := order.NewPostgres(pool)
	before := putOnSale(t, store, "floor", 10)
	_, err := one(t.Context(), store, deducted("1", before, 1))
	require.NoError(t, err)

	execute(t, url, "drop schema lastunit cascade")
	migrate(t, url)
	pool.Reset() // its sessions remember statements about tables that are gone
	after := putOnSale(t, store, "floor", 10)
	require.NotEqual(t, before.Store, after.Store)
	require.Greater(t, after.Epoch, before.Epoch)
	outcome, err := one(t.Context(), store, deducted("1", before, 1))
	require.NoError(t, err)
	require.Equal(t, order.VerdictAgain, outcome.Verdict, "a deduction of its former life")
	other := order.NewPostgres(newPool(t, url))
	c := deducted("1", after, 1)
	outcome, err = one(t.Context(), store, c)
	require.NoError(t, err)
	require.Equal(t, order.VerdictBooked, outcome.Verdict)
	outcome, err = one(t.Context(), other, c)
	require.NoError(t, err)
	require.Equal(t, order.VerdictExisting, outcome.Verdict, "both have the same key")
}

// TestFencesGo: they are of no use once their epoch is over, and must not pile up.
func TestFencesGo(t *testing.T) {
	t.Parallel()
	url := newDatabase(t)
	store := order.NewPostgres(newPool(t, url))
	for _, sku := range []string{"floor", "other"} {
		counters := putOnSale(t, store, sku, 10)
		for seq := range int64(5) {
			_, _, err := store.Fence(t.Context(), deducted("late", counters, seq+1).Deductions)
			require.NoError(t, err)
		}
		if sku == "floor" {
			require.Equal(t, []string{"5"}, column(t, url, "select count(*) from lastunit.fences"))
			_, _, err := store.BeginEpoch(t.Context(), sku, counters.Epoch)
			require.NoError(t, err)
			// Of an epoch that is over, none is written.
			_, _, err = store.Fence(t.Context(), deducted("late", counters, 1).Deductions)
			require.NoError(t, err)
			require.Equal(t, []string{"0"}, column(t, url, "select count(*) from lastunit.fences"))
		}
	}
	require.Equal(t, []string{"5"}, column(t, url, "select count(*) from lastunit.fences where sku = 'other'"))
}

// TestRecountRepairs books that somebody spoiled.
func TestRecountRepairs(t *testing.T) {
	t.Parallel()
	url := newDatabase(t)
	store := order.NewPostgres(newPool(t, url))
	putOnSale(t, store, "floor", 10)
	_, err := one(t.Context(), store, direct("1", "floor"))
	require.NoError(t, err)
	execute(t, url, "update lastunit.skus set allocated = 7")
	tallies, err := store.Tally(t.Context(), "floor")
	require.NoError(t, err)
	require.Equal(t, int64(7), tallies[0].Counters.Allocated)
	require.Equal(t, int64(1), tallies[0].Confirmed)
	c, err := store.Recount(t.Context(), "floor")
	require.NoError(t, err)
	require.Equal(t, int64(1), c.Allocated)
	require.Greater(t, c.Version, tallies[0].Counters.Version, "the supply changed")
	books(t, store)
}

// TestMigrateBehindAReport: while somebody's report reads a table that is to be changed,
// the sale goes on; the migration is made once the report has ended.
func TestMigrateBehindAReport(t *testing.T) {
	t.Parallel()
	url := servertest.SharedPostgres(t).Database(t)
	_, texts := migrationTexts(t)
	execute(t, url, strings.Join(texts[:9], "\n")) // the next one alters skus
	pool := newPool(t, url)
	report := begin(t, pool, pgx.RepeatableRead)
	_, err := report.Exec(t.Context(), "select count(*) from lastunit.skus")
	require.NoError(t, err)
	migrated, migrating := make(chan error, 1), newPool(t, url)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { migrated <- order.Migrate(ctx, migrating) }()
	waiting(t, url)
	cancel()
	require.ErrorIs(t, <-migrated, context.Canceled)

	go func() { migrated <- order.Migrate(t.Context(), migrating) }()
	waiting(t, url)
	execute(t, url, "begin; select from lastunit.skus for update; commit") // what every commit does, behind Migrate
	select {
	case err := <-migrated:
		require.Fail(t, "migrated beside the report", "%v", err)
	default:
	}
	require.NoError(t, report.Rollback(t.Context()))
	require.NoError(t, <-migrated)
	require.Equal(t, versions(t), column(t, url, "select version from lastunit.migrations order by version"))
}
