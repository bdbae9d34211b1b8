package order_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/internal/servertest"
	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

// check is what a check finds, as "severity where: what=found", sorted. It leaves out
// that the shared server runs without fsync, unless it is that of DATABASE_URL.
func check(t testing.TB, pool *pgxpool.Pool) (brief []string, up inventory.Checkup) {
	t.Helper()
	up, err := order.NewPostgres(pool).Check(t.Context())
	require.NoError(t, err)
	brief = []string{}
	for _, f := range up.Findings {
		for _, text := range []string{f.Where, f.What, f.Means, f.Advice} {
			assert.NotEmpty(t, text, "%+v", f)
		}
		brief = append(brief, fmt.Sprintf("%s %s: %s=%s", f.Severity, f.Where, f.What, f.Found))
	}
	brief = slices.DeleteFunc(brief, func(line string) bool { return line == "problem PostgreSQL: fsync=off" })
	slices.Sort(brief)
	return brief, up
}

func TestCheckOfThePool(t *testing.T) {
	t.Parallel()
	url := newDatabase(t)
	for name, test := range map[string]struct {
		configure []func(*pgxpool.Config)
		want      []string
	}{
		"as it should be": {nil, []string{}},
		"one connection":  {[]func(*pgxpool.Config){maxConns(1)}, []string{"notice pgx: MaxConns=1"}},
		"too many":        {[]func(*pgxpool.Config){maxConns(100_000)}, []string{"notice pgx: MaxConns=100000"}},
		"impatient":       {[]func(*pgxpool.Config){set("statement_timeout", "999ms")}, []string{"notice PostgreSQL: statement_timeout=999ms"}},
		"won't wait":      {[]func(*pgxpool.Config){set("lock_timeout", "10ms")}, []string{"notice PostgreSQL: lock_timeout=10ms"}},
		"patient":         {[]func(*pgxpool.Config){set("statement_timeout", "1s")}, []string{}},
		"not flushed":     {[]func(*pgxpool.Config){set("synchronous_commit", "off")}, []string{"notice PostgreSQL: synchronous_commit=off"}},
		"not replicated":  {[]func(*pgxpool.Config){set("synchronous_commit", "local")}, []string{"notice PostgreSQL: synchronous_commit=local"}},
		"odd": {[]func(*pgxpool.Config){
			set("default_transaction_read_only", "on"), set("default_transaction_isolation", "serializable"), set("search_path", "nowhere"),
		}, []string{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, _ := check(t, newPool(t, url, test.configure...))
			assert.Equal(t, test.want, got)
		})
	}
}

func TestCheckInEveryMode(t *testing.T) {
	t.Parallel()
	url := newDatabase(t)
	for m, configure := range queryModes {
		t.Run(m, func(t *testing.T) {
			t.Parallel()
			got, up := check(t, newPool(t, url, configure))
			assert.Empty(t, got)
			require.Len(t, up.Clocks, 1)
			// It is the clock of this very machine.
			assert.LessOrEqual(t, up.Clocks[0].Apart(inventory.Clock{}), 10*time.Millisecond)
		})
	}
}

func TestCheckOfARoleWithFewConnections(t *testing.T) {
	t.Parallel()
	database := newDatabase(t)
	url := newRole(t, database, readmeGrants(t, true)+"alter role ROLE connection limit 5;")
	got, _ := check(t, newPool(t, url, maxConns(5)))
	assert.Empty(t, got)
	got, up := check(t, newPool(t, url, maxConns(6)))
	assert.Equal(t, []string{"notice pgx: MaxConns=6"}, got)
	assert.Contains(t, fmt.Sprint(up.Findings), "lets this role have, 5:")
}

func TestCheckOfAServer(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		settings, want []string
	}{
		"as it should be": {[]string{"fsync=on"}, nil},
		"may lose orders": {[]string{"fsync=off"}, []string{"problem fsync"}},
		"careless":        {[]string{"fsync=on", "full_page_writes=off", "autovacuum=off"}, []string{"notice full_page_writes", "notice autovacuum"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pool := newPool(t, servertest.StartPostgres(t, test.settings...).URL())
			require.NoError(t, order.Migrate(t.Context(), pool))
			up, err := order.NewPostgres(pool).Check(t.Context())
			require.NoError(t, err)
			var found []string
			for _, f := range up.Findings {
				found = append(found, string(f.Severity)+" "+f.What)
			}
			assert.ElementsMatch(t, test.want, found)
			if slices.Contains(found, "problem fsync") {
				require.ErrorContains(t, up.Findings.Err(), "fsync is off")
			} else {
				require.NoError(t, up.Findings.Err())
			}
		})
	}
}

func TestCheckOfTheSchema(t *testing.T) {
	t.Parallel()
	_, texts := migrationTexts(t)
	for name, test := range map[string]struct{ sql, want string }{
		"none":       {"drop schema lastunit cascade", "SCHEMA lastunit=missing"},
		"no table":   {"drop table lastunit.fences", "TABLE lastunit.fences=missing"},
		"no column":  {"alter table lastunit.store drop column ledger", "COLUMN lastunit.store.ledger=missing"},
		"no version": {"drop table lastunit.migrations", "TABLE lastunit.migrations=missing"},
		"old":        {"drop function lastunit.balance", "FUNCTION lastunit.balance=missing"},
		"older":      {"drop schema lastunit cascade;" + strings.Join(texts[:4], "\n"), "schema version=4, want " + last(t)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := newDatabase(t)
			execute(t, url, test.sql)
			got, up := check(t, newPool(t, url))
			require.Equal(t, []string{"problem PostgreSQL: " + test.want}, got)
			require.ErrorIs(t, up.Findings.Err(), order.ErrNotMigrated)
			// What Migrate would mend is what it is called for.
			advised := strings.HasSuffix(up.Findings.Err().Error(), "; call order.Migrate")
			assert.Equal(t, name == "none" || name == "no version" || name == "older", advised, up.Findings.Err())
		})
	}
}

// The functions, which PUBLIC may execute unless somebody revoked it.
func TestCheckOfFunctions(t *testing.T) {
	t.Parallel()
	database := newDatabase(t)
	pool := newPool(t, newRole(t, database, readmeGrants(t, true)))
	execute(t, database, "revoke execute on function lastunit.enter, lastunit.reopen from public")
	got, up := check(t, pool)
	assert.Equal(t, []string{"problem PostgreSQL: EXECUTE ON FUNCTION lastunit.enter=missing"}, got)
	require.ErrorIs(t, up.Findings.Err(), order.ErrUnavailable)

	// Many at once are one.
	execute(t, database, "revoke execute on all functions in schema lastunit from public")
	got, _ = check(t, pool)
	assert.Equal(t, []string{"problem PostgreSQL: EXECUTE ON ALL FUNCTIONS IN SCHEMA lastunit=missing"}, got)
	execute(t, database, "grant execute on all functions in schema lastunit to public; revoke execute on function lastunit.enter from public")

	store := order.NewPostgres(pool)
	_, _, err := store.PutOnSale(t.Context(), order.Item{SKU: "floor", Capacity: 1})
	require.ErrorIs(t, err, order.ErrUnavailable)
	execute(t, database, "grant execute on function lastunit.enter to "+strings.ToLower("role_"+t.Name()))
	got, _ = check(t, pool)
	assert.Empty(t, got)
	putOnSale(t, store, "floor", 1)
	_, _, err = store.Commit(t.Context(), []order.Commit{direct("1", "floor")})
	require.NoError(t, err)
	_, _, err = void(t.Context(), store, "1")
	require.NoError(t, err, "the trigger fires without a right to its function")
}

// The advice is what an administrator can paste, whatever the role is called.
func TestCheckAdvisesGrants(t *testing.T) {
	t.Parallel()
	const name = "Role of TestCheckAdvisesGrants"
	for _, role := range []string{pgx.Identifier{name}.Sanitize(), "role_testcheckadvisesgrants"} {
		database := newDatabase(t)
		execute(t, database, fmt.Sprintf(`create role %s login password 'secret-of-%s'; revoke execute on function lastunit.enter from public`, role, strings.Trim(role, `"`)))
		t.Cleanup(func() { execute(t, database, fmt.Sprintf("drop owned by %s; drop role %[1]s", role)) })
		pool := newPool(t, as(t, database, strings.Trim(role, `"`)))
		_, up := check(t, pool)
		granted := 0
		for _, f := range up.Findings {
			if f.Found != "missing" {
				continue // the shared server runs without fsync
			}
			require.Equal(t, fmt.Sprintf("GRANT %s TO %s;", f.What, role), f.Advice)
			execute(t, database, f.Advice)
			granted++
		}
		require.Greater(t, granted, 18, "every right")
		got, _ := check(t, pool)
		assert.Empty(t, got)
	}
}

func TestCheckOfAStandby(t *testing.T) {
	t.Parallel()
	server := servertest.StartPostgres(t)
	migrate(t, server.URL())
	server.Stop()
	// It waits for a primary for good, and answers meanwhile.
	require.NoError(t, os.WriteFile(filepath.Join(server.Dir(), "standby.signal"), nil, 0o644))
	server.Restart()
	got, _ := check(t, newPool(t, server.URL()))
	assert.Equal(t, []string{"problem PostgreSQL: pg_is_in_recovery=true"}, got)
}

func TestCheckOfAPostgresThatIsNotThere(t *testing.T) {
	t.Parallel()
	proxy := servertest.StartProxy(t, servertest.SharedPostgres(t).Addr())
	pool := newPool(t, proxy.URL(newDatabase(t)), mode(pgx.QueryExecModeExec)) // which sends the text each time
	store := order.NewPostgres(pool)
	_, err := store.Check(t.Context())
	require.NoError(t, err)
	for _, statement := range []string{"pg_is_in_recovery", "has_schema_privilege", "to_jsonb(m)", "convert_to", "clock_timestamp"} {
		proxy.CutBefore(1, contains(statement))
		_, err = store.Check(t.Context())
		require.ErrorIs(t, err, order.ErrUnavailable, statement)
		proxy.Reset()
	}
}

// It is there, but turns this pool away, until somebody changes one or the other: a
// Problem and no error, and no secret is told.
func TestCheckOfAPostgresThatRefusesTheConnection(t *testing.T) {
	t.Parallel()
	database := newDatabase(t)
	good := newRole(t, database, readmeGrants(t, true))
	role := "role_" + strings.ToLower(t.Name())
	for name, url := range map[string]string{
		"password": strings.Replace(good, "secret-of-", "wrong-secret-of-", 1),
		"user":     strings.Replace(good, role+":", "nobody_"+role+":", 1),
		"database": strings.Replace(good, "?", "x?", 1),
	} {
		t.Run(name, func(t *testing.T) {
			require.NotEqual(t, good, url)
			got, up := check(t, newPool(t, url))
			assert.Equal(t, []string{"problem PostgreSQL: connection=refused"}, got)
			require.ErrorIs(t, up.Findings.Err(), order.ErrUnavailable)
			assert.NotContains(t, up.Findings.Err().Error(), "secret")
		})
	}
	execute(t, database, "revoke connect on database "+name(t, database)+" from public")
	got, _ := check(t, newPool(t, good))
	assert.Equal(t, []string{"problem PostgreSQL: connection=refused"}, got)
}

// name is the name of a database.
func name(t testing.TB, database string) string {
	t.Helper()
	config, err := pgx.ParseConfig(database)
	require.NoError(t, err)
	return config.Database
}

// Every commit waits for standbys of which none is there: nothing would be sold, and
// nobody would know why.
func TestCheckOfStandbysThatAreNotThere(t *testing.T) {
	t.Parallel()
	server := servertest.StartPostgres(t)
	migrate(t, server.URL())
	execute(t, server.URL(), "alter system set synchronous_standby_names = 'one, two'")
	execute(t, server.URL(), "select pg_reload_conf()")
	pool := newPool(t, server.URL())
	require.NoError(t, servertest.Eventually(time.Minute, func() error { // it is reloaded a moment later
		got, _ := check(t, pool)
		if !slices.Equal(got, []string{"problem PostgreSQL: synchronous_standby_names=one, two"}) {
			return fmt.Errorf("it finds %v", got)
		}
		return nil
	}))
}
