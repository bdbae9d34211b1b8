package inventory_test

import (
	"errors"
	"runtime"
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/internal/servertest"
	"github.com/lastunit/lastunit/inventory"
)

// BenchmarkDeduct takes one unit after the other of one SKU, from one caller
// and from many. Nothing is settled: the hash grows.
func BenchmarkDeduct(b *testing.B) {
	b.Run("one caller", func(b *testing.B) {
		s := onSale(b, servertest.SharedRedis(b).Client(b), inventory.MaxCapacity)
		ctx := background(b)
		b.ReportAllocs()
		n := 0
		for b.Loop() {
			n++
			if _, err := s.repo.Deduct(ctx, s.request(strconv.Itoa(n))); err != nil {
				b.Fatal(err)
			}
		}
		require.NoError(b, s.client.Del(ctx, s.key).Err())
	})
	b.Run("1000 callers", func(b *testing.B) {
		s := onSale(b, servertest.SharedRedis(b).Client(b), inventory.MaxCapacity)
		ctx := background(b)
		b.ReportAllocs()
		var n atomic.Int64
		b.SetParallelism((1000 + runtime.GOMAXPROCS(0) - 1) / runtime.GOMAXPROCS(0))
		b.ResetTimer()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if _, err := s.repo.Deduct(ctx, s.request(strconv.FormatInt(n.Add(1), 10))); err != nil {
					b.Error(err)
					return
				}
			}
		})
		b.StopTimer()
		require.NoError(b, s.client.Del(ctx, s.key).Err())
	})
}

// BenchmarkSettle settles full batches.
func BenchmarkSettle(b *testing.B) {
	s := onSale(b, servertest.SharedRedis(b).Client(b), inventory.MaxCapacity)
	ctx := background(b)
	requests := s.many(fullBatch)
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		ds, _, errs := s.repo.DeductTogether(ctx, requests, nil)
		require.NoError(b, errors.Join(errs...))
		b.StartTimer()
		if err := s.repo.Settle(ctx, s.supply, ds...); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*fullBatch), "ns/deduction")
	require.NoError(b, s.client.Del(ctx, s.key).Err())
}

// BenchmarkDeductAndSettle is a sale as it goes on: settles come in batches.
func BenchmarkDeductAndSettle(b *testing.B) {
	const batch = 100
	s := onSale(b, servertest.SharedRedis(b).Client(b), inventory.MaxCapacity)
	ctx := background(b)
	n := 0
	ds := make([]inventory.Deduction, 0, batch)
	for b.Loop() {
		n++
		d, err := s.repo.Deduct(ctx, s.request(strconv.Itoa(n)))
		if err != nil {
			b.Fatal(err)
		}
		if ds = append(ds, d); len(ds) == batch {
			if err := s.repo.Settle(ctx, s.supply, ds...); err != nil {
				b.Fatal(err)
			}
			ds = ds[:0]
		}
	}
	require.NoError(b, s.client.Del(ctx, s.key).Err())
}
