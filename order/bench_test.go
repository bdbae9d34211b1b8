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
	url := server.Database(b)
	migrate(b, url)
	store := order.NewPostgres(newPool(b, url))
	require.NoError(b, store.SetLedger(context.Background(), ledger))
	counters := putOnSale(b, store, "floor", 1_000_000_000)
	seq := int64(0)
	b.ReportAllocs()
	for b.Loop() {
		commits := make([]order.Commit, size)
		for i := range commits {
			seq++
			commits[i] = deducted(fmt.Sprintf("order-%d", seq), counters, seq)
		}
		outcomes, _, err := store.Commit(context.Background(), commits)
		require.NoError(b, err)
		require.Equal(b, order.VerdictBooked, outcomes[size-1].Verdict)
	}
	b.ReportMetric(float64(seq)/b.Elapsed().Seconds(), "orders/s")
}
