package order_test

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/lastunit/lastunit/internal/servertest"
	"github.com/lastunit/lastunit/internal/testdb"
	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(servertest.Wrap(m)) }

// newPool makes a pool that is closed with the test.
func newPool(t testing.TB, url string, configure ...func(*pgxpool.Config)) *pgxpool.Pool {
	t.Helper()
	config, err := pgxpool.ParseConfig(url)
	require.NoError(t, err)
	config.MaxConns = 8
	for _, c := range configure {
		c(config)
	}
	pool, err := pgxpool.NewWithConfig(context.Background(), config)
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	return pool
}

// set makes a setting the default of the pool's sessions.
func set(name, value string) func(*pgxpool.Config) {
	return func(c *pgxpool.Config) { c.ConnConfig.RuntimeParams[name] = value }
}

func mode(m pgx.QueryExecMode) func(*pgxpool.Config) {
	return func(c *pgxpool.Config) { c.ConnConfig.DefaultQueryExecMode = m }
}

func maxConns(n int32) func(*pgxpool.Config) {
	return func(c *pgxpool.Config) { c.MaxConns = n }
}

// newDatabase makes a migrated database on the shared server.
func newDatabase(t testing.TB) (url string) {
	t.Helper()
	return testdb.New(t, servertest.SharedPostgres(t))
}

func migrate(t testing.TB, url string) {
	t.Helper()
	pool, err := pgxpool.New(context.Background(), url)
	require.NoError(t, err)
	defer pool.Close()
	require.NoError(t, order.Migrate(context.Background(), pool))
}

// newStore makes a store in a database of its own.
func newStore(t testing.TB, configure ...func(*pgxpool.Config)) (*order.Postgres, *pgxpool.Pool) {
	t.Helper()
	pool := newPool(t, newDatabase(t), configure...)
	return order.NewPostgres(pool), pool
}

// execute runs one statement, or several, in a session of its own.
func execute(t testing.TB, url, sql string) {
	t.Helper()
	conn, err := pgx.Connect(context.Background(), url)
	require.NoError(t, err)
	defer conn.Close(context.Background())
	_, err = conn.PgConn().Exec(context.Background(), sql).ReadAll()
	require.NoError(t, err)
}

// as is the URL for another role.
func as(t testing.TB, server, role string) string {
	t.Helper()
	u, err := url.Parse(server)
	require.NoError(t, err)
	u.User = url.UserPassword(role, "secret-of-"+role)
	return u.String()
}

func putOnSale(t testing.TB, store order.Store, sku string, capacity int64) order.Counters {
	t.Helper()
	c, _, err := store.PutOnSale(context.Background(), order.Item{SKU: sku, Capacity: capacity})
	require.NoError(t, err)
	return c[0]
}

// change does one thing to an order.
func change(ctx context.Context, store order.Store, id string, action order.Action) (order.Order, []order.Counters, error) {
	c := order.Change{ID: id, Action: action}
	if action == order.Extend {
		c.Hold = time.Hour
	}
	answers, counters, err := store.Change(ctx, []order.Change{c})
	if err != nil {
		return order.Order{}, nil, err
	}
	return answers[0].Order, counters, answers[0].Err
}

func cancel(ctx context.Context, store order.Store, id string) (order.Order, []order.Counters, error) {
	return change(ctx, store, id, order.Cancel)
}

// void cancels an order, or its ID if there is none.
func void(ctx context.Context, store order.Store, id string) (order.Order, []order.Counters, error) {
	return change(ctx, store, id, order.Void)
}

// restock adds units, once under an ID.
func restock(ctx context.Context, store order.Store, id, sku string) error {
	_, err := store.Adjust(ctx, order.Adjustment{ID: id, SKU: sku, Kind: order.Restock, Units: 1, Reason: "delivery"})
	return err
}

// direct asks for an order of one unit each, without deductions.
func direct(id string, skus ...string) order.Commit {
	c := order.Commit{Order: order.Order{ID: id, Customer: "c-17"}}
	for _, sku := range skus {
		c.Order.Lines = append(c.Order.Lines, order.Line{SKU: sku, Quantity: 1})
	}
	return c
}

// deducted asks for an order of one unit, with a deduction.
func deducted(id string, of order.Counters, seq int64) order.Commit {
	c := direct(id, of.SKU)
	c.Deductions = []inventory.Deduction{{
		SKU: of.SKU, Store: of.Store, Epoch: of.Epoch, Seq: seq, Attempt: fmt.Sprint("a", seq), OrderID: id, Quantity: 1,
	}}
	return c
}

// books fails the test unless the books of the SKUs are right.
func books(t testing.TB, store order.Store) {
	t.Helper()
	tallies, err := store.TallyAll(context.Background())
	require.NoError(t, err)
	require.NotEmpty(t, tallies)
	for _, tally := range tallies {
		require.True(t, tally.Balanced(), "%+v", tally)
		require.LessOrEqual(t, tally.Counters.Allocated, tally.Counters.Capacity, tally.Counters.SKU)
	}
}

// patience bounds all waiting for something that must come.
const patience = 5 * time.Minute

// until waits for something that must come soon.
func until(t testing.TB, done func() bool) {
	t.Helper()
	require.Eventually(t, done, patience, 2*time.Millisecond)
}

// bounded is a context for what must not take long.
func bounded(t testing.TB, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

func contains(text string) func([]byte) bool {
	return func(request []byte) bool { return strings.Contains(string(request), text) }
}
