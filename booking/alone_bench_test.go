package booking_test

import (
	"context"
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/booking"
	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

// BenchmarkBookAlone is what Book itself costs: its two sides say yes at once.
func BenchmarkBookAlone(b *testing.B) {
	for _, callers := range []int{1, 1000} {
		b.Run(strconv.Itoa(callers)+" callers", func(b *testing.B) {
			shop, err := booking.New(booking.Config{Inventory: &yesInventory{}, Orders: yesOrders{}})
			require.NoError(b, err)
			ids := make([]string, b.N)
			for i := range ids {
				ids[i] = "order-" + strconv.Itoa(i)
			}
			var next atomic.Int64
			b.ReportAllocs()
			b.ResetTimer()
			crowd(b, callers, func() {
				request := booking.Request{ID: ids[(next.Add(1)-1)%int64(len(ids))], Customer: "c", Lines: lines("floor", 1)}
				if _, err := shop.Book(b.Context(), request); err != nil {
					b.Error(err)
				}
			})
		})
	}
}

// yesInventory grants every deduction.
type yesInventory struct {
	inventory.InventoryRepository
	seq atomic.Int64
}

func (y *yesInventory) Deduct(_ context.Context, r inventory.Request) (inventory.Deduction, error) {
	return inventory.Deduction{
		SKU: r.SKU, Store: r.Store, Attempt: r.Attempt, OrderID: r.OrderID, Quantity: r.Quantity,
		Epoch: 1, Version: 1, Seq: y.seq.Add(1),
	}, nil
}

func (*yesInventory) Settle(context.Context, inventory.Supply, ...inventory.Deduction) error {
	return nil
}

// yesOrders books every order.
type yesOrders struct{ order.Store }

var yesCounters = []order.Counters{{SKU: "floor", Store: "store", Capacity: 1, Epoch: 1, Version: 1}}

func (yesOrders) Counters(context.Context, ...string) ([]order.Counters, error) {
	return yesCounters, nil
}

func (yesOrders) Commit(_ context.Context, commits []order.Commit) ([]order.Outcome, []order.Counters, error) {
	outcomes := make([]order.Outcome, len(commits))
	consumed := make([]bool, len(commits))
	for i := range consumed {
		consumed[i] = true
	}
	for i, c := range commits {
		outcomes[i] = order.Outcome{Verdict: order.VerdictBooked, Order: c.Order, Consumed: consumed[i : i+1]}
		outcomes[i].Order.Status = order.Confirmed
	}
	return outcomes, yesCounters, nil
}
