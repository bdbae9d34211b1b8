package order_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/internal/servertest"
	"github.com/lastunit/lastunit/order"
)

// TestPgBouncer: a pooler that gives each transaction another session breaks pgx's
// prepared statements. Check finds that before the sale; the modes that it advises sell
// exactly.
func TestPgBouncer(t *testing.T) {
	t.Parallel()
	server := servertest.SharedPostgres(t)
	bouncer := servertest.StartPgBouncer(t, server)
	database := server.Database(t)
	url := bouncer.URL(database)

	for range 3 { // processes
		require.NoError(t, order.Migrate(t.Context(), newPool(t, url)))
	}
	pool := newPool(t, url)
	found, up := check(t, pool)
	require.Equal(t, []string{"problem pgx: default_query_exec_mode=cache_statement"}, found)
	require.ErrorContains(t, up.Findings.Err(), "default_query_exec_mode=cache_describe")
	found, _ = check(t, newPool(t, url, mode(pgx.QueryExecModeDescribeExec)))
	require.Equal(t, []string{"problem pgx: default_query_exec_mode=describe_exec"}, found)

	for i, m := range []pgx.QueryExecMode{pgx.QueryExecModeCacheDescribe, pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol} {
		t.Run(m.String(), func(t *testing.T) {
			sku := fmt.Sprint("floor", i)
			found, _ := check(t, newPool(t, url, mode(m)))
			require.Empty(t, found)
			putOnSale(t, order.NewPostgres(newPool(t, url, mode(m))), sku, 50)
			var buyers sync.WaitGroup
			var booked atomic.Int32
			for process := range 2 {
				store := order.NewPostgres(newPool(t, url, mode(m)))
				for buyer := range 4 {
					buyers.Go(func() {
						for n := range 10 {
							o := order.Commit{Order: order.Order{ID: fmt.Sprint(sku, "-", process, "-", buyer, "-", n), Customer: "c", Lines: []order.Line{{SKU: sku, Quantity: 1}}}}
							outcome, err := one(t.Context(), store, o)
							if assert.NoError(t, err) && outcome.Verdict == order.VerdictBooked {
								booked.Add(1)
							}
						}
					})
				}
			}
			buyers.Wait()
			require.EqualValues(t, 50, booked.Load())
			require.Equal(t, []string{"50"}, column(t, database, "select count(*) from lastunit.orders where '"+sku+"' = any(skus)"))
			books(t, order.NewPostgres(newPool(t, url, mode(m))))
		})
	}
}

// TestPgBouncerOfSessions: one that keeps a session for each client is as good as none.
func TestPgBouncerOfSessions(t *testing.T) {
	t.Parallel()
	server := servertest.SharedPostgres(t)
	url := servertest.StartPgBouncer(t, server, "pool_mode=session").URL(newDatabase(t))
	pool := newPool(t, url, maxConns(2))
	found, _ := check(t, pool)
	require.Empty(t, found)
	store := order.NewPostgres(pool)
	putOnSale(t, store, "floor", 1)
	_, err := one(t.Context(), store, direct("1", "floor"))
	require.NoError(t, err)
}
