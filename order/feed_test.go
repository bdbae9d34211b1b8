package order_test

import (
	"context"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/internal/servertest"
	"github.com/lastunit/lastunit/order"
)

// feedAll reads the feed from a cursor to its end, by SKU.
func feedAll(t testing.TB, store order.Store, cursor order.Cursor, limit int) (fed map[string][]order.Movement, end order.Cursor) {
	t.Helper()
	fed = make(map[string][]order.Movement)
	for {
		page, next, err := store.Feed(context.Background(), cursor, limit)
		require.NoError(t, err)
		if len(page) == 0 {
			return fed, next
		}
		for _, m := range page {
			fed[m.SKU] = append(fed[m.SKU], m)
		}
		cursor = next
	}
}

// TestAFeedWithoutNews: what it costs, and how large its cursor is, does not depend on
// how many SKUs there are.
func TestAFeedWithoutNews(t *testing.T) {
	t.Parallel()
	store, pool := newStore(t, maxConns(1))
	const skus = 2 * order.MaxItems
	for from := 0; from < skus; from += order.MaxItems {
		items := make([]order.Item, order.MaxItems)
		for i := range items {
			items[i] = order.Item{SKU: fmt.Sprint("sku-", from+i), Capacity: 1}
		}
		_, _, err := store.PutOnSale(t.Context(), items...)
		require.NoError(t, err)
	}
	fed, end := feedAll(t, store, order.Cursor{}, order.MaxMovements)
	require.Len(t, fed, skus)
	require.Less(t, len(end.String()), 64*len("63:999,")+40)

	one := fed["sku-17"]
	_, _, err := store.Commit(t.Context(), []order.Commit{direct("1", "sku-17")})
	require.NoError(t, err)
	for range 3 {
		before, ends := rowsRead(t, pool, "skus", "movement_batches", "feed_entries"), rowsRead(t, pool, "feed")
		news, next, err := store.Feed(t.Context(), end, 100)
		require.NoError(t, err)
		assert.LessOrEqual(t, rowsRead(t, pool, "skus", "movement_batches", "feed_entries")-before, int64(10))
		assert.LessOrEqual(t, rowsRead(t, pool, "feed")-ends, int64(3*order.Partitions))
		if end == next {
			require.Empty(t, news)
			continue
		}
		require.Len(t, news, 1)
		assert.Equal(t, one[0].Number+1, news[0].Number)
		end = next
	}
}

// TestTheFeedOfAnOlderDatabase: what was written before there were positions comes in
// its order, and what is written later after it.
func TestTheFeedOfAnOlderDatabase(t *testing.T) {
	t.Parallel()
	url := servertest.SharedPostgres(t).Database(t)
	files, err := fs.Glob(order.Migrations(), "*.sql")
	require.NoError(t, err)
	for _, file := range files {
		if strings.HasSuffix(file, "_feed.sql") {
			break
		}
		text, err := fs.ReadFile(order.Migrations(), file)
		require.NoError(t, err)
		execute(t, url, string(text))
	}
	// Three SKUs, two of them in one partition. The clock was set back in between.
	execute(t, url, `insert into lastunit.skus (sku, partition, capacity, epoch, ledger, recorded, moved)
			select 'sku-' || i, i / 2, 100, 1, true, true, 30 from generate_series(1, 3) i;
		insert into lastunit.movement_batches (sku, first_number, last_number, moved_at, kinds, quantities, order_ids)
			select 'sku-' || i, 3 * n - 2, 3 * n, now() - make_interval(hours => abs(5 - n)), '{held,booked,confirmed}', '{1,1,1}', array['x', i::text, n::text]
			from generate_series(1, 3) i, generate_series(1, 10) n order by random()`)
	migrate(t, url)
	store := order.NewPostgres(newPool(t, url))
	for i := range 30 {
		sku := fmt.Sprint("sku-", 1+i%3)
		_, _, err := store.Commit(t.Context(), []order.Commit{direct(fmt.Sprint(i), sku), direct(fmt.Sprint(i, "too"), sku)})
		require.NoError(t, err)
	}
	for _, limit := range []int{1, 7, order.MaxMovements} {
		fed, end := feedAll(t, store, order.Cursor{}, limit)
		require.Len(t, fed, 3)
		for sku, movements := range fed {
			want, err := store.Movements(t.Context(), sku, 0, order.MaxMovements)
			require.NoError(t, err)
			require.Equal(t, want, movements, "by %d", limit)
			require.Len(t, movements, 50)
		}
		require.Equal(t, [2]int64{50, 100}, [2]int64(end.Positions[:2]))
	}
}

// TestAWaitForTheFeedIsNoneForAnOrder: a commit that waits for a partition's row is not
// made anew as one whose orders are there.
func TestAWaitForTheFeedIsNoneForAnOrder(t *testing.T) {
	t.Parallel()
	url := newDatabase(t)
	store, pool := order.NewPostgres(newPool(t, url)), newPool(t, url, maxConns(1))
	putOnSale(t, store, "floor", 10)
	one := order.NewPostgres(pool)
	_, _, err := one.Commit(t.Context(), []order.Commit{direct("0", "floor")}) // the next one does not look
	require.NoError(t, err)

	tx, err := newPool(t, url).Begin(t.Context())
	require.NoError(t, err)
	defer tx.Rollback(context.Background()) //nolint:errcheck // at the end of the test
	_, err = tx.Exec(t.Context(), "select from lastunit.feed for update")
	require.NoError(t, err)
	rolledBack := func() (n int64) {
		require.NoError(t, pool.QueryRow(t.Context(), "select xact_rollback from pg_stat_database where datname = current_database()").Scan(&n))
		return n
	}
	before := rolledBack()
	committed := make(chan error, 1)
	go func() {
		_, _, err := one.Commit(context.Background(), []order.Commit{direct("1", "floor")})
		committed <- err
	}()
	require.NoError(t, servertest.Eventually(time.Minute, func() error {
		var waits bool
		err := tx.QueryRow(t.Context(), `select exists (select from pg_stat_activity
			where datname = current_database() and wait_event_type = 'Lock' and clock_timestamp() - query_start > interval '200 ms')`).Scan(&waits)
		if err == nil && !waits {
			err = fmt.Errorf("it does not wait: %v", waits)
		}
		return err
	}))
	require.NoError(t, tx.Rollback(t.Context()))
	require.NoError(t, <-committed)
	_, err = pool.Exec(t.Context(), "select pg_stat_force_next_flush()")
	require.NoError(t, err)
	assert.Equal(t, before, rolledBack(), "it was not tried again")
}
