package booking_test

import (
	"errors"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/booking"
	"github.com/lastunit/lastunit/internal/servertest"
	"github.com/lastunit/lastunit/order"
)

// BenchmarkBook sells one hot SKU on real servers, fsync on, to one caller and
// to a crowd.
func BenchmarkBook(b *testing.B) {
	for _, callers := range []int{1, 500} {
		b.Run(fmt.Sprint(callers, " callers"), func(b *testing.B) {
			redisServer, postgres := servertest.StartRedis(b), servertest.StartPostgres(b, "fsync=on")
			s := at(b, redisServer.Client(b), order.NewPostgres(migrated(b, postgres)))
			shop := open(b, s)
			background(b, shop)
			require.NoError(b, shop.PutOnSale(b.Context(), order.Item{SKU: "floor", Capacity: 1_000_000_000}))
			b.ReportAllocs()
			b.ResetTimer()
			crowd(b, callers, func() {
				if _, err := shop.Book(b.Context(), booking.Request{Customer: "c", Lines: lines("floor", 1)}); err != nil {
					b.Error(err)
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "bookings/s")
		})
	}
}

// BenchmarkAccept is the same until the receipt, with no more than the default
// backlog: where that is full, a caller waits for the receipt it got last.
func BenchmarkAccept(b *testing.B) {
	for _, callers := range []int{1, 500} {
		b.Run(fmt.Sprint(callers, " callers"), func(b *testing.B) {
			redisServer, postgres := servertest.StartRedis(b), servertest.StartPostgres(b, "fsync=on")
			s := at(b, redisServer.Client(b), order.NewPostgres(migrated(b, postgres)))
			shop := open(b, s)
			background(b, shop)
			require.NoError(b, shop.PutOnSale(b.Context(), order.Item{SKU: "floor", Capacity: 1_000_000_000}))
			b.ReportAllocs()
			b.ResetTimer()
			var last atomic.Pointer[booking.Receipt]
			crowd(b, callers, func() {
				receipt, err := shop.Accept(b.Context(), booking.Request{Customer: "c", Lines: lines("floor", 1)})
				for errors.Is(err, booking.ErrOverloaded) {
					_, _ = last.Load().Wait(b.Context())
					receipt, err = shop.Accept(b.Context(), booking.Request{Customer: "c", Lines: lines("floor", 1)})
				}
				if err != nil {
					b.Error(err)
					return
				}
				last.Store(&receipt)
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "receipts/s")
		})
	}
}

// crowd makes b.N calls, so many at once.
func crowd(b *testing.B, callers int, call func()) {
	var next atomic.Int64
	done := make(chan struct{})
	for range callers {
		go func() {
			defer func() { done <- struct{}{} }()
			for next.Add(1) <= int64(b.N) {
				call()
			}
		}()
	}
	for range callers {
		<-done
	}
}
