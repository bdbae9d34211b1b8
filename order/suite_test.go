package order_test

import (
	"context"
	"fmt"
	"os"
	"regexp"
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
	"DateStyle":                      "German, DMY",
	"bytea_output":                   "escape",
	"array_nulls":                    "off",
}

// queryModes are the ways in which pgx can send a statement.
var queryModes = map[string]func(*pgxpool.Config){
	"Default":       mode(pgx.QueryExecModeCacheStatement),
	"Simple":        mode(pgx.QueryExecModeSimpleProtocol),
	"Exec":          mode(pgx.QueryExecModeExec),
	"CacheDescribe": mode(pgx.QueryExecModeCacheDescribe),
}

// The default mode. The others have their turn in TestOrdinaryRoleWithOddSettings and in
// TestPostgresAgainstModel.
func TestPostgres(t *testing.T) {
	t.Parallel()
	store, _ := newStore(t, queryModes["Default"])
	ordertest.Run(t, func(testing.TB) order.Store { return store })
}

// readmeGrants are the README's grants to ROLE: those that everything but Migrate
// needs, and with the version those that are for this alone.
func readmeGrants(t testing.TB, version bool) (grants string) {
	t.Helper()
	readme, err := os.ReadFile("../README.md")
	require.NoError(t, err)
	doc, err := os.ReadFile("doc.go")
	require.NoError(t, err)
	for line := range strings.Lines(string(readme)) {
		grant, ok := strings.CutPrefix(line, "    GRANT ")
		if !ok {
			continue
		}
		require.Contains(t, string(doc), "//\tGRANT "+grant, "the package's documentation says the same")
		if version || !strings.Contains(grant, " -- if ") {
			grants += strings.Replace("GRANT "+grant, " TO shop;", " TO ROLE;", 1)
		}
	}
	require.Equal(t, strings.Count(string(doc), "//\tGRANT "), strings.Count(string(readme), "\n    GRANT "))
	require.NotEmpty(t, grants)
	return grants
}

// granted is one right of several that a line grants, as REVOKE and GRANT take it.
type granted struct{ right, of string }

var grantLine = regexp.MustCompile(`^GRANT (.+) ON (.+) TO ROLE;`)

// each takes the grants apart.
func each(t testing.TB, grants string) (all []granted) {
	t.Helper()
	for line := range strings.Lines(grants) {
		parts := grantLine.FindStringSubmatch(line)
		require.NotNil(t, parts, line)
		for _, on := range strings.Split(parts[2], ", ") {
			for _, right := range strings.Split(parts[1], ", ") {
				all = append(all, granted{right, on})
			}
		}
	}
	return all
}

// newRole makes a role that has nothing but the given rights, and those that
// everybody has: to execute functions and to use types. It returns a URL for it.
func newRole(t testing.TB, database, grants string) (url string) {
	t.Helper()
	role := "role_" + strings.ReplaceAll(strings.ToLower(t.Name()), "/", "_")
	execute(t, database, fmt.Sprintf(`create role %s login password 'secret-of-%[1]s';`, role)+strings.ReplaceAll(grants, "ROLE", role))
	t.Cleanup(func() { execute(t, database, fmt.Sprintf("drop owned by %s; drop role %[1]s", role)) })
	return as(t, database, role)
}

func TestOrdinaryRoleWithOddSettings(t *testing.T) {
	t.Parallel()
	database := newDatabase(t)
	url := newRole(t, database, readmeGrants(t, false))
	// Its defaults are odd, too.
	for name, value := range oddSettings {
		execute(t, database, fmt.Sprintf("alter role role_testordinaryrolewithoddsettings set %s = '%s'", name, value))
	}
	store := order.NewPostgres(newPool(t, url, queryModes["Simple"]))
	ordertest.Run(t, func(testing.TB) order.Store { return store })
}

func TestOneRightFewer(t *testing.T) {
	t.Parallel()
	database := newDatabase(t)
	admin := order.NewPostgres(newPool(t, database, maxConns(1)))
	putOnSale(t, admin, "floor", 1000)
	all := readmeGrants(t, true)
	pool := newPool(t, newRole(t, database, all), maxConns(2))
	found, _ := check(t, pool)
	require.Empty(t, found)
	for i, right := range each(t, all) {
		execute(t, database, fmt.Sprintf("revoke %s on %s from role_testonerightfewer", right.right, right.of))
		found, up := check(t, pool)
		severity := "problem"
		if right.of == "lastunit.migrations" {
			severity = "notice" // only Migrate needs it
		}
		require.Equal(t, []string{fmt.Sprintf("%s PostgreSQL: %s ON %s=missing", severity, right.right, right.of)}, found)
		counters, err := admin.Counters(t.Context(), "floor") // the epoch moves
		require.NoError(t, err)
		err = useAll(order.NewPostgres(pool), counters[0], int64(i)+1)
		if severity == "notice" {
			require.NoError(t, err)
		} else {
			require.ErrorIs(t, up.Findings.Err(), order.ErrUnavailable)
			require.ErrorIs(t, err, order.ErrUnavailable, "%v", right)
			_, name, _ := strings.Cut(right.of, "lastunit")
			require.ErrorContains(t, err, strings.TrimPrefix(name, "."), "the error names it")
			require.ErrorContains(t, err, "permission denied")
		}
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
	if _, _, err := void(ctx, store, id); err != nil {
		return err
	}
	if _, err := store.Movements(ctx, of.SKU, 0, 1); err != nil {
		return err
	}
	if err := store.SetLedger(ctx, true); err != nil {
		return err
	}
	if _, err := store.Pair(ctx, "another", "ours"); err != nil {
		return err
	}
	if _, _, err := store.Feed(ctx, order.Cursor{}, 1); err != nil {
		return err
	}
	_, err := store.Claim(ctx, 1, 1, 1)
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
