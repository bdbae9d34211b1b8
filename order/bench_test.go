package order_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/internal/servertest"
	"github.com/lastunit/lastunit/order"
)

// BenchmarkCommit commits batches of one-line orders on one SKU, one batch after
// the other, with fsync as it is by default, with the ledger and without.
func BenchmarkCommit(b *testing.B) {
	server := servertest.StartPostgres(b, "fsync=on", "synchronous_commit=on", "max_wal_size=4GB")
	for _, ledger := range []bool{true, false} {
		for _, size := range []int{1, 50, 1000} {
			b.Run(fmt.Sprintf("%d/ledger=%t", size, ledger), func(b *testing.B) { benchmarkCommit(b, server, size, ledger) })
		}
	}
}

func benchmarkCommit(b *testing.B, server *servertest.Postgres, size int, ledger bool) {
	store, next := benchmarkStore(b, server, size)
	require.NoError(b, store.SetLedger(context.Background(), ledger))
	b.ReportAllocs()
	orders := 0
	for b.Loop() {
		commits := next()
		outcomes, _, err := store.Commit(context.Background(), commits)
		require.NoError(b, err)
		require.Equal(b, order.VerdictBooked, outcomes[size-1].Verdict)
		orders += size
	}
	b.ReportMetric(float64(orders)/b.Elapsed().Seconds(), "orders/s")
}

// BenchmarkLook looks up batches of new IDs in a table of 100,000 orders.
func BenchmarkLook(b *testing.B) {
	server := servertest.StartPostgres(b)
	for _, size := range []int{1, 50, 1000} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			store, next := benchmarkStore(b, server, order.MaxCommits)
			for range 100 {
				_, _, err := store.Commit(context.Background(), next())
				require.NoError(b, err)
			}
			b.ReportAllocs()
			orders := 0
			commits := next()
			for b.Loop() {
				from := orders % (len(commits) - size + 1)
				outcomes, _, err := store.Look(context.Background(), commits[from:from+size])
				require.NoError(b, err)
				require.Equal(b, order.VerdictNew, outcomes[size-1].Verdict)
				orders += size
			}
			b.ReportMetric(float64(orders)/b.Elapsed().Seconds(), "orders/s")
		})
	}
}

// benchmarkStore makes a store with one SKU, and batches for it.
func benchmarkStore(b *testing.B, server *servertest.Postgres, size int) (_ *order.Postgres, next func() []order.Commit) {
	url := server.Database(b)
	migrate(b, url)
	store := order.NewPostgres(newPool(b, url))
	counters := putOnSale(b, store, "floor", 1_000_000_000)
	seq := int64(0)
	return store, func() []order.Commit {
		commits := make([]order.Commit, size)
		for i := range commits {
			seq++
			commits[i] = deducted(fmt.Sprintf("order-%d", seq), counters, seq)
		}
		return commits
	}
}
