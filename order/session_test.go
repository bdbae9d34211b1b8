package order_test

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/internal/servertest"
	"github.com/lastunit/lastunit/order"
)

// encoded makes a database of another encoding.
func encoded(t testing.TB, encoding string) (database string) {
	t.Helper()
	server := servertest.SharedPostgres(t)
	name := "encoded_" + strings.ToLower(encoding)
	execute(t, server.URL(), fmt.Sprintf("create database %s template template0 encoding '%s' lc_collate 'C' lc_ctype 'C'", name, encoding))
	t.Cleanup(func() { execute(t, server.URL(), "drop database "+name+" with (force)") })
	u, err := url.Parse(server.URL())
	require.NoError(t, err)
	u.Path = "/" + name
	return u.String()
}

// TestDatabaseThatIsNotUTF8: it can't store every ID, and is refused before the sale,
// also if the migrations were run by psql in the days when it was not.
func TestDatabaseThatIsNotUTF8(t *testing.T) {
	t.Parallel()
	_, texts := migrationTexts(t)
	for _, encoding := range []string{"SQL_ASCII", "LATIN1", "EUC_JP"} {
		t.Run(encoding, func(t *testing.T) {
			t.Parallel()
			database := encoded(t, encoding)
			pool := newPool(t, database)
			require.ErrorContains(t, order.Migrate(t.Context(), pool), "encoded in "+encoding+", want UTF8")
			_, before := check(t, pool)
			require.ErrorIs(t, before.Findings.Err(), order.ErrNotMigrated)
			require.ErrorContains(t, before.Findings.Err(), "it refuses this one")
			require.Equal(t, []string{"0"}, column(t, database, "select count(*) from pg_namespace where nspname = 'lastunit'"))

			execute(t, database, strings.Join(texts[:4], "\n"))
			require.ErrorContains(t, order.Migrate(t.Context(), pool), encoding)
			found, up := check(t, pool)
			assert.Contains(t, found, "problem PostgreSQL: server_encoding="+encoding)
			require.ErrorContains(t, up.Findings.Err(), "ENCODING 'UTF8'")
			conn, err := pgx.Connect(t.Context(), database)
			require.NoError(t, err)
			defer conn.Close(t.Context())
			_, err = conn.PgConn().Exec(t.Context(), texts[4]).ReadAll()
			require.ErrorContains(t, err, "lastunit needs UTF8")
		})
	}
}

// lifeOfOrders sells, looks, refuses, changes and reads, with IDs that other encodings
// lack, in a transaction of the caller's too.
func lifeOfOrders(t *testing.T, pool *pgxpool.Pool, sku string) {
	t.Helper()
	ctx := t.Context()
	store := order.NewPostgres(pool)
	_, _, err := store.PutOnSale(ctx, order.Item{SKU: sku, Capacity: 10}, order.Item{
		SKU: sku + "-limited", Capacity: 10, CustomerLimit: 5, OpensAt: time.Now().Add(-time.Hour), ClosesAt: time.Now().Add(time.Hour),
	})
	require.NoError(t, err)
	booked, held, refused := direct(sku+"-席-ż", sku, sku+"-limited"), direct(sku+"-held", sku), direct(sku+"-refused", sku)
	held.Hold = time.Hour
	for range 2 {
		outcomes, _, err := store.Commit(ctx, []order.Commit{booked, held})
		require.NoError(t, err)
		require.Len(t, outcomes, 2)
		looked, _, err := store.Look(ctx, []order.Commit{booked, held, direct(sku+"-unknown", sku)})
		require.NoError(t, err)
		require.Len(t, looked, 3)
		require.Equal(t, order.VerdictExisting, looked[0].Verdict)
	}
	o, err := store.Order(ctx, sku+"-席-ż")
	require.NoError(t, err)
	require.Equal(t, sku+"-席-ż", o.ID)
	require.Less(t, time.Since(o.CreatedAt).Abs(), time.Hour)

	tx, err := pool.Begin(ctx)
	require.NoError(t, err)
	defer tx.Rollback(ctx) //nolint:errcheck // it is committed
	settings := func() (all string) {
		require.NoError(t, tx.QueryRow(ctx, `select concat_ws(' ', current_setting('datestyle'), current_setting('bytea_output'),
			current_setting('array_nulls'), current_setting('client_encoding'))`).Scan(&all))
		return all
	}
	before := settings()
	o, err = store.ConfirmTx(ctx, tx, held.Order.ID)
	require.NoError(t, err)
	require.Equal(t, order.Confirmed, o.Status)
	require.Equal(t, before, settings(), "the caller's transaction has its settings back")
	require.NoError(t, tx.Commit(ctx))

	_, _, err = cancel(ctx, store, sku+"-席-ż")
	require.NoError(t, err)
	movements, err := store.Movements(ctx, sku, 0, 100)
	require.NoError(t, err)
	require.NotEmpty(t, movements)
	page, err := store.Orders(ctx, order.Query{})
	require.NoError(t, err)
	require.NotEmpty(t, page.Orders)
	refused.Order.Refused = order.Refusal{Why: order.WhySoldOut, SKU: sku}
	_, err = store.Refuse(ctx, []order.Order{refused.Order})
	require.NoError(t, err)
	books(t, store)
}

// TestOddTexts: settings that change how values look as text, in the modes in which pgx
// sends them so, and a client_encoding that is not that of pgx.
func TestOddTexts(t *testing.T) {
	t.Parallel()
	database := newDatabase(t)
	for i, m := range []pgx.QueryExecMode{pgx.QueryExecModeSimpleProtocol, pgx.QueryExecModeExec, pgx.QueryExecModeCacheStatement, pgx.QueryExecModeCacheDescribe} {
		t.Run(m.String(), func(t *testing.T) {
			odd := []func(*pgxpool.Config){mode(m), set("datestyle", "German"), set("bytea_output", "escape"), set("array_nulls", "off")}
			if m != pgx.QueryExecModeSimpleProtocol {
				odd = append(odd, set("client_encoding", "LATIN1"))
			}
			pool := newPool(t, database, odd...)
			sku := fmt.Sprint("sku", i)
			lifeOfOrders(t, pool, sku)
			found, _ := check(t, pool)
			assert.Empty(t, found)
			o, err := order.NewPostgres(newPool(t, database)).Order(t.Context(), sku+"-席-ż")
			require.NoError(t, err, "it has the same ID for everybody")
			require.Equal(t, "c-17", o.Customer)
		})
	}
}

// TestSettingsThatSimpleProtocolCannotHave: pgx sends nothing under them, and Check names
// them.
func TestSettingsThatSimpleProtocolCannotHave(t *testing.T) {
	t.Parallel()
	database := newDatabase(t)
	for name, value := range map[string]string{"standard_conforming_strings": "off", "client_encoding": "LATIN1"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pool := newPool(t, database, mode(pgx.QueryExecModeSimpleProtocol), set(name, value))
			found, up := check(t, pool)
			require.Equal(t, []string{"problem PostgreSQL: " + name + "=" + value}, found)
			_, err := order.NewPostgres(pool).Counters(t.Context(), "floor")
			require.ErrorIs(t, err, order.ErrUnavailable)
			require.ErrorIs(t, up.Findings.Err(), order.ErrUnavailable)

			found, _ = check(t, newPool(t, database, set(name, value)))
			require.Empty(t, found, "in the default mode it is of no matter")
		})
	}
}
