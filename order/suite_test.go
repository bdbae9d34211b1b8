package order_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/internal/servertest"
	"github.com/lastunit/lastunit/order"
	"github.com/lastunit/lastunit/order/ordertest"
)

func TestMemory(t *testing.T) {
	t.Parallel()
	ordertest.Run(t, ordertest.New)
}

// oddSettings are defaults that a promise must not depend on.
var oddSettings = map[string]string{
	"default_transaction_isolation":  "serializable",
	"default_transaction_read_only":  "on",
	"default_transaction_deferrable": "on",
	"synchronous_commit":             "off",
	"search_path":                    "nowhere",
	"plan_cache_mode":                "force_generic_plan",
	"TimeZone":                       "Asia/Kathmandu",
}

func TestPostgres(t *testing.T) {
	t.Parallel()
	odd := func(c *pgxpool.Config) {
		for name, value := range oddSettings {
			set(name, value)(c)
		}
	}
	for name, configure := range map[string][]func(*pgxpool.Config){
		"Default":       nil,
		"Simple":        {mode(pgx.QueryExecModeSimpleProtocol)},
		"Exec":          {mode(pgx.QueryExecModeExec)},
		"CacheDescribe": {mode(pgx.QueryExecModeCacheDescribe)},
		"OddSettings":   {odd},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store, _ := newStore(t, configure...)
			ordertest.Run(t, func(testing.TB) order.Store { return store })
		})
	}
}

// grants are the rights that everything but Migrate needs.
const grants = `
grant usage on schema lastunit to ROLE;
grant select, update (ledger) on lastunit.store to ROLE;
grant select, insert, update on lastunit.skus, lastunit.orders to ROLE;
grant select, insert on lastunit.adjustments, lastunit.movement_batches to ROLE;
grant select, insert, delete on lastunit.fences to ROLE;
grant select, update on lastunit.partitions to ROLE;
`

// newRole makes a role that has nothing but the given rights, and those that
// everybody has: to execute functions and to use types. It returns a URL for it.
func newRole(t testing.TB, database, grants string) (url string) {
	t.Helper()
	role := "role_" + strings.ReplaceAll(strings.ToLower(t.Name()), "/", "_")
	execute(t, database, fmt.Sprintf(`create role %s login password 'secret-of-%[1]s';`, role)+strings.ReplaceAll(grants, "ROLE", role))
	t.Cleanup(func() { execute(t, database, fmt.Sprintf("drop owned by %s; drop role %[1]s", role)) })
	return as(t, database, role)
}

func TestOrdinaryRole(t *testing.T) {
	t.Parallel()
	database := newDatabase(t)
	url := newRole(t, database, grants)
	// The odd defaults once more, now of the role.
	for name, value := range oddSettings {
		execute(t, database, fmt.Sprintf("alter role role_testordinaryrole set %s = '%s'", name, value))
	}
	store := order.NewPostgres(newPool(t, url))
	ordertest.Run(t, func(testing.TB) order.Store { return store })
}

func TestOneRightFewer(t *testing.T) {
	t.Parallel()
	database := newDatabase(t)
	admin := order.NewPostgres(newPool(t, database, maxConns(1)))
	putOnSale(t, admin, "floor", 1000)
	pool := newPool(t, newRole(t, database, grants), maxConns(1))
	for i, right := range []struct{ right, of string }{
		{"usage", "schema lastunit"},
		{"select", "lastunit.store"},
		{"update (ledger)", "lastunit.store"},
		{"select", "lastunit.skus"},
		{"insert", "lastunit.skus"},
		{"update", "lastunit.skus"},
		{"select", "lastunit.orders"},
		{"insert", "lastunit.orders"},
		{"update", "lastunit.orders"},
		{"select", "lastunit.adjustments"},
		{"insert", "lastunit.adjustments"},
		{"select", "lastunit.movement_batches"},
		{"insert", "lastunit.movement_batches"},
		{"select", "lastunit.fences"},
		{"insert", "lastunit.fences"},
		{"delete", "lastunit.fences"},
		{"select", "lastunit.partitions"},
		{"update", "lastunit.partitions"},
	} {
		execute(t, database, fmt.Sprintf("revoke %s on %s from role_testonerightfewer", right.right, right.of))
		counters, err := admin.Counters(t.Context(), "floor") // the epoch moves
		require.NoError(t, err)
		err = useAll(order.NewPostgres(pool), counters[0], int64(i)+1)
		require.ErrorIs(t, err, order.ErrUnavailable, "%v", right)
		_, name, _ := strings.Cut(right.of, "lastunit")
		require.ErrorContains(t, err, strings.TrimPrefix(name, "."), "the error names it")
		require.ErrorContains(t, err, "permission denied")
		execute(t, database, fmt.Sprintf("grant %s on %s to role_testonerightfewer", right.right, right.of))
	}
	c, err := admin.Counters(context.Background(), "floor")
	require.NoError(t, err)
	require.NoError(t, useAll(order.NewPostgres(pool), c[0], 1000))
}

// useAll uses everything that a store needs a right for.
func useAll(store order.Store, of order.Counters, n int64) error {
	ctx := context.Background()
	if _, _, err := store.PutOnSale(ctx, order.Item{SKU: fmt.Sprint("sku", n), Capacity: 1}); err != nil {
		return err
	}
	if err := restock(ctx, store, fmt.Sprint("L", n), of.SKU); err != nil {
		return err
	}
	id := fmt.Sprint(n)
	if _, _, err := store.Commit(ctx, []order.Commit{deducted(id, of, 2*n)}); err != nil {
		return err
	}
	if _, _, err := store.Fence(ctx, deducted("late"+id, of, 2*n+1).Deductions); err != nil {
		return err
	}
	if _, _, err := store.BeginEpoch(ctx, of.SKU, of.Epoch); err != nil {
		return err
	}
	if _, _, err := cancel(ctx, store, id); err != nil {
		return err
	}
	if _, err := store.Movements(ctx, of.SKU, 0, 1); err != nil {
		return err
	}
	_, err := store.Claim(ctx, 1, 1)
	return err
}

// TestSynchronousCommit looks at the setting from inside the transaction that
// stores an order.
func TestSynchronousCommit(t *testing.T) {
	t.Parallel()
	for given, want := range map[string]string{
		"off": "on", "local": "on", "on": "on", "remote_write": "remote_write", "remote_apply": "remote_apply",
	} {
		t.Run(given, func(t *testing.T) {
			t.Parallel()
			url := servertest.SharedPostgres(t).Database(t)
			migrate(t, url)
			execute(t, url, `
				create table public.seen (setting text, isolation text);
				create function public.look() returns trigger language plpgsql as $$
				begin
					insert into public.seen values (current_setting('synchronous_commit'), current_setting('transaction_isolation'));
					return null;
				end $$;
				create trigger look after insert on lastunit.orders execute function public.look()`)
			pool := newPool(t, url, set("synchronous_commit", given), set("default_transaction_isolation", "repeatable read"))
			store := order.NewPostgres(pool)
			putOnSale(t, store, "floor", 1)
			outcomes, _, err := store.Commit(t.Context(), []order.Commit{direct("1", "floor")})
			require.NoError(t, err)
			require.Equal(t, order.VerdictBooked, outcomes[0].Verdict)
			var setting, isolation string
			require.NoError(t, pool.QueryRow(t.Context(), "select * from public.seen").Scan(&setting, &isolation))
			require.Equal(t, want, setting)
			require.Equal(t, "read committed", isolation)
			require.NoError(t, pool.QueryRow(t.Context(), "show synchronous_commit").Scan(&setting))
			require.Equal(t, given, setting, "the caller's session stays as it was")
		})
	}
}
