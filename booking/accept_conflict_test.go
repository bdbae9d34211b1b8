package booking_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/booking"
	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

// slowFor is an inventory that one customer waits for.
type slowFor struct {
	inventory.InventoryRepository
	customer string
	asked    chan struct{} // closed once the customer waits
	goOn     chan struct{} // closed by the test
}

func (s *slowFor) Deduct(ctx context.Context, r inventory.Request) (inventory.Deduction, error) {
	if r.Customer == s.customer {
		close(s.asked)
		<-s.goOn
	}
	return s.InventoryRepository.Deduct(ctx, r)
}

// Whose an ID is, nobody knows while an order is being accepted: it may be refused
// yet, and then the ID books something else.
func TestAcceptOfAnotherContentMeanwhile(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, s stores) {
		first, other := request("floor", 1), request("floor", 1)
		first.Customer, first.Lines = "first", lines("floor", 2) // which are not there
		slow := &slowFor{InventoryRepository: s.inventory, customer: first.Customer, asked: make(chan struct{}), goOn: make(chan struct{})}
		s.inventory = slow
		shop := accepts(t, s, 0)
		background(t, shop.Service)
		require.NoError(t, shop.PutOnSale(t.Context(), order.Item{SKU: "floor", Capacity: 1}))

		refused := make(chan error, 1)
		go func() {
			_, err := shop.Accept(context.Background(), first)
			refused <- err
		}()
		<-slow.asked
		ctx, leave := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer leave()
		_, err := shop.Accept(ctx, other)
		require.ErrorIs(t, err, order.ErrOutcomeUnknown)

		second := make(chan booking.Receipt, 1)
		go func() {
			receipt, err := shop.Accept(context.Background(), other)
			assert.NoError(t, err)
			second <- receipt
		}()
		close(slow.goOn)
		require.ErrorIs(t, <-refused, inventory.ErrSoldOut)
		o, err := waits(t, <-second)
		confirmed(t, o, err, other)
	})
}
