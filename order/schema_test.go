package order_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/internal/servertest"
	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

// migrationTexts are the files of migrations, by version.
func migrationTexts(t testing.TB) (names, texts []string) {
	t.Helper()
	names, err := fs.Glob(order.Migrations(), "*.sql")
	require.NoError(t, err)
	require.NotEmpty(t, names)
	for _, name := range names {
		text, err := fs.ReadFile(order.Migrations(), name)
		require.NoError(t, err)
		texts = append(texts, string(text))
	}
	return names, texts
}

// versions are those of all migrations, and last is the last of them.
func versions(t testing.TB) (all []string) {
	t.Helper()
	names, _ := migrationTexts(t)
	for i := range names {
		all = append(all, strconv.Itoa(i+1))
	}
	return all
}

func last(t testing.TB) string {
	t.Helper()
	all := versions(t)
	return all[len(all)-1]
}

func sha(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// TestMigrationHashes: each file from 005 on ends with the line that records its
// version and the hash of all above it; 005 has the hashes of the files before it, which
// are frozen.
func TestMigrationHashes(t *testing.T) {
	t.Parallel()
	names, texts := migrationTexts(t)
	for i, text := range texts {
		version := i + 1
		require.True(t, strings.HasPrefix(names[i], fmt.Sprintf("%03d_", version)), names[i])
		if version < 5 {
			require.Contains(t, texts[4], fmt.Sprintf("(%d, '%s')", version, sha(text)), "%s is frozen", names[i])
			continue
		}
		above := text[:strings.LastIndex(strings.TrimSuffix(text, "\n"), "\n")+1]
		want := fmt.Sprintf("insert into lastunit.migrations (version, hash) values (%d, '%s');\n", version, sha(above))
		require.Equal(t, want, strings.TrimPrefix(text, above), "the last line of %s must be\n%s", names[i], want)
	}
}

// TestEveryFunctionIsCompared: a migration spells its functions so that Migrate and Check
// find them: "create or replace function lastunit.name(" to "as $$", and "$$;" at the end.
func TestEveryFunctionIsCompared(t *testing.T) {
	t.Parallel()
	require.Equal(t, column(t, newDatabase(t), `select distinct proname collate "C" from pg_proc
		where pronamespace = 'lastunit'::regnamespace order by 1`), order.DefinedFunctions())
}

// TestEveryTriggerAndTableIsCompared: likewise "create trigger name" to "on lastunit.table",
// and "create table lastunit.name".
func TestEveryTriggerAndTableIsCompared(t *testing.T) {
	t.Parallel()
	url := newDatabase(t)
	require.ElementsMatch(t, column(t, url, `select tgname from pg_trigger g join pg_class c on c.oid = g.tgrelid
		where c.relnamespace = 'lastunit'::regnamespace and not g.tgisinternal`), order.DefinedTriggers())
	require.ElementsMatch(t, column(t, url, `select relname from pg_class
		where relnamespace = 'lastunit'::regnamespace and relkind in ('r', 'p')`), order.DefinedTables())
}

// replaceOnce replaces what must be there.
func replaceOnce(t testing.TB, text, old, with string) string {
	t.Helper()
	require.Contains(t, text, old)
	return strings.Replace(text, old, with, 1)
}

// TestDatabaseOfAnotherBuild: the first four migrations were changed in place before
// they were frozen, and their number alone does not tell.
func TestDatabaseOfAnotherBuild(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		file      int
		old, with string
		names     string
	}{
		"body":    {3, "v_capacity <> s.capacity then", "v_capacity > s.capacity then", "adjust_capacity"},
		"setting": {2, "returns text language plpgsql set enable_seqscan = off ", "returns text language plpgsql ", "change_in_transaction"},
		"column":  {0, "    reopens_at      timestamptz,", "", "column skus.reopens_at timestamptz"},
		"type":    {0, "    moved           bigint ", "    moved           integer", "column skus.moved int8 not null"},
		"null":    {0, "    changed_at timestamptz not null,", "    changed_at timestamptz,", "column orders.changed_at timestamptz not null"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := servertest.SharedPostgres(t).Database(t)
			_, texts := migrationTexts(t)
			texts[test.file] = replaceOnce(t, texts[test.file], test.old, test.with)
			execute(t, url, strings.Join(texts[:4], "\n"))
			pool := newPool(t, url)
			before := schema(t, url)
			err := order.Migrate(t.Context(), pool)
			require.ErrorIs(t, err, order.ErrOtherBuild)
			require.ErrorContains(t, err, test.names)
			require.Equal(t, before, schema(t, url), "nothing was changed")

			found, up := check(t, pool)
			require.ErrorIs(t, up.Findings.Err(), order.ErrOtherBuild)
			require.Contains(t, strings.Join(found, "\n"), test.names)

			// psql is refused as well.
			conn, err := pgx.Connect(t.Context(), url)
			require.NoError(t, err)
			defer conn.Close(t.Context())
			_, err = conn.PgConn().Exec(t.Context(), texts[4]).ReadAll()
			require.ErrorContains(t, err, "made by another build of lastunit")
		})
	}
}

// TestMigrateInPlace: a database that the four frozen migrations made goes on with its
// orders, whatever was added to it.
func TestMigrateInPlace(t *testing.T) {
	t.Parallel()
	url := servertest.SharedPostgres(t).Database(t)
	_, texts := migrationTexts(t)
	execute(t, url, strings.Join(texts[:4], "\n"))
	execute(t, url, `
		alter table lastunit.orders add column mine text, add constraint mine check (customer <> 'blocked');
		alter function lastunit.commit_orders set work_mem = '8MB';
		create function lastunit.enter(text) returns void language sql as 'select';
		select lastunit.put_on_sale(id, '{floor}', '{0}', '{10}', '{null}', '{null}', '{null}', '{}', '{}', '{}') from lastunit.store;
		insert into lastunit.orders (id, customer, status, counted, skus, quantities, consumed, created_at, changed_at)
			values ('before', 'c', 'confirmed', 'confirmed', '{floor}', '{3}', '{}', now(), now());
		update lastunit.skus set allocated = 3`)
	pool := newPool(t, url)
	store := order.NewPostgres(pool)
	_, err := store.Counters(t.Context(), "floor")
	require.ErrorIs(t, err, order.ErrNotMigrated)
	found, up := check(t, pool)
	require.Equal(t, []string{"problem PostgreSQL: schema version=4, want " + last(t)}, found)
	require.ErrorIs(t, up.Findings.Err(), order.ErrNotMigrated)

	migrate(t, url)
	require.Equal(t, versions(t), column(t, url, "select version from lastunit.migrations order by version"))
	for i, text := range texts[:4] {
		require.Equal(t, []string{sha(text)}, column(t, url, fmt.Sprintf("select hash from lastunit.migrations where version = %d", i+1)))
	}
	found, _ = check(t, pool)
	require.Empty(t, found)
	o, err := store.Order(t.Context(), "before")
	require.NoError(t, err)
	require.Equal(t, order.Confirmed, o.Status)
	_, err = one(t.Context(), store, direct("after", "floor"))
	require.NoError(t, err)
}

// TestSchemaChangedByHand: a function's body, a file that is another, a migration that
// is not recorded.
func TestSchemaChangedByHand(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ sql, want string }{
		"body": {
			"create or replace function lastunit.next_epoch(p_epoch bigint) returns bigint language sql as 'select p_epoch + 1'",
			"FUNCTION lastunit.next_epoch=another one",
		},
		"setting":          {"alter function lastunit.commit_orders reset enable_seqscan", "FUNCTION lastunit.commit_orders=another one"},
		"file":             {"update lastunit.migrations set hash = 'x' where version = 2", "migration 002_commit.sql=another file"},
		"trigger disabled": {"alter table lastunit.movement_batches disable trigger user", "TRIGGER movement_batches_feed ON lastunit.movement_batches=disabled"},
		"trigger dropped":  {"drop trigger skus_deleted on lastunit.skus", "TRIGGER skus_deleted ON lastunit.skus=missing"},
		"constraint":       {"alter table lastunit.orders drop constraint orders_pkey", "CONSTRAINT lastunit.orders_pkey=missing"},
		"unlogged":         {"alter table lastunit.fences set unlogged", "TABLE lastunit.fences=unlogged"},
		"rows":             {"delete from lastunit.feed where partition = 3", "TABLE lastunit.feed=without some of its rows"},
		"not recorded":     {"delete from lastunit.migrations where version = 3", "migration 003_change.sql=not recorded"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := newDatabase(t)
			pool := newPool(t, url)
			execute(t, url, test.sql)
			found, up := check(t, pool)
			assert.Equal(t, []string{"problem PostgreSQL: " + test.want}, found)
			require.ErrorIs(t, up.Findings.Err(), order.ErrOtherBuild)
			err := order.Migrate(t.Context(), pool)
			require.ErrorIs(t, err, order.ErrOtherBuild)
			require.ErrorContains(t, err, strings.Replace(test.want, "=", " is ", 1))
		})
	}
}

// TestNewerSchema: a version that this build does not know is refused by Migrate and
// Check, and another format by every call, in a process that runs too.
func TestNewerSchema(t *testing.T) {
	t.Parallel()
	url := newDatabase(t)
	pool := newPool(t, url)
	running := order.NewPostgres(pool)
	counters := putOnSale(t, running, "floor", 100)
	newer := func() {
		t.Helper()
		err := order.Migrate(t.Context(), pool)
		require.ErrorIs(t, err, order.ErrNewerSchema)
		require.ErrorContains(t, err, "1000")
		found, up := check(t, pool)
		require.Equal(t, []string{"problem PostgreSQL: schema version=1000, newer than " + last(t)}, found)
		require.ErrorIs(t, up.Findings.Err(), order.ErrNewerSchema)
	}
	execute(t, url, "insert into lastunit.migrations (version, hash) values (1000, 'x')")
	newer()
	require.NoError(t, useAll(running, counters, 1), "the format is the same")
	require.NoError(t, useAll(order.NewPostgres(pool), counters, 2))

	// The next format: what the older builds call goes.
	execute(t, url, `update lastunit.store set format = format + 1;
		alter function lastunit.commit_orders rename to commit_orders_2; alter function lastunit.fence_deductions rename to fences_2`)
	newer()
	refused := func(store *order.Postgres, name string, call func() error) {
		t.Helper()
		err := call()
		require.ErrorIs(t, err, order.ErrNewerSchema, name)
		require.NotErrorIs(t, err, order.ErrNotMigrated, name)
		require.NotErrorIs(t, err, order.ErrOutcomeUnknown, name)
	}
	for name, store := range map[string]*order.Postgres{"running": running, "started": order.NewPostgres(pool)} {
		refused(store, name, func() error { _, _, err := store.Commit(t.Context(), []order.Commit{direct("1", "floor")}); return err })
		refused(store, name, func() error {
			_, _, err := store.Fence(t.Context(), []inventory.Deduction{{SKU: "floor", OrderID: "1", Epoch: 1, Seq: 1}})
			return err
		})
		refused(store, name, func() error { _, err := store.Counters(t.Context(), "floor"); return err })
		refused(store, name, func() error { _, err := store.Order(t.Context(), "1"); return err })
	}
}

// TestVerdictOfANewerSchema: an answer that this build does not know, as a newer schema of
// the same format may have, is an error of that order alone.
func TestVerdictOfANewerSchema(t *testing.T) {
	t.Parallel()
	url := newDatabase(t)
	execute(t, url, `do $$ begin
		execute replace(pg_get_functiondef('lastunit.decide_orders'::regproc), '''full''', '''frozen''');
		execute replace(pg_get_functiondef('lastunit.change_orders'::regproc), 'v_verdict := ''cancelled''', 'v_verdict := ''frozen''');
		execute replace(pg_get_functiondef('lastunit.change_in_transaction'::regproc), 'when ''cancelled'' then ''cancelled''', 'when ''cancelled'' then ''frozen''');
	end $$`)
	pool := newPool(t, url)
	store := order.NewPostgres(pool)
	putOnSale(t, store, "floor", 2)
	isNewer := func(err error) {
		t.Helper()
		require.ErrorIs(t, err, order.ErrNewerSchema)
		require.ErrorContains(t, err, `"frozen"`)
	}
	commits := []order.Commit{direct("a", "floor"), direct("b", "floor"), direct("c", "floor")}
	commits[1].Order.Lines[0].Quantity = 2
	outcomes, _, err := store.Commit(t.Context(), commits)
	require.NoError(t, err)
	require.Equal(t, order.VerdictBooked, outcomes[0].Verdict)
	require.Equal(t, order.VerdictFailed, outcomes[1].Verdict)
	isNewer(outcomes[1].Err)
	require.Equal(t, order.VerdictBooked, outcomes[2].Verdict)

	_, _, err = cancel(t.Context(), store, "a")
	require.NoError(t, err)
	answers, _, err := store.Change(t.Context(), []order.Change{{ID: "a", Action: order.Confirm}, {ID: "c", Action: order.Confirm}})
	require.NoError(t, err)
	isNewer(answers[0].Err)
	require.NoError(t, answers[1].Err)
	_, err = store.ConfirmTx(t.Context(), begin(t, pool, pgx.ReadCommitted), "a")
	isNewer(err)
}
