package booking_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/booking"
	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

func TestSellsToTheLastUnit(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, s stores) {
		shop := open(t, s)
		background(t, shop)
		require.NoError(t, shop.PutOnSale(t.Context(), order.Item{SKU: "floor", Capacity: 3}))
		for i := range 3 {
			o, err := shop.Book(t.Context(), request("floor", i))
			require.NoError(t, err)
			assert.Equal(t, order.Confirmed, o.Status)
		}
		_, err := shop.Book(t.Context(), request("floor", 3))
		require.ErrorIs(t, err, inventory.ErrSoldOut)
		var short *inventory.StockError
		require.ErrorAs(t, err, &short)
		assert.Equal(t, "floor", short.SKU)
		assert.EqualValues(t, 1, short.Requested)
		assert.Zero(t, short.Available)

		cancelled, err := shop.Cancel(t.Context(), "floor-0")
		require.NoError(t, err)
		assert.Equal(t, order.Cancelled, cancelled.Status)
		_, err = book(shop, request("floor", 3))
		require.NoError(t, err, "a refusal is not remembered")
		exact(t, shop)
		assert.EqualValues(t, 3, sold(t, s, "floor"))
	})
}

func TestARushSellsExactlyTheCapacity(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, s stores) {
		const capacity, buyers = 100, 1000
		shop := open(t, s)
		background(t, shop)
		require.NoError(t, shop.PutOnSale(t.Context(), order.Item{SKU: "floor", Capacity: capacity}))
		var mu sync.Mutex
		acknowledged := make(map[string]order.Order)
		var wg sync.WaitGroup
		for i := range buyers {
			wg.Go(func() {
				o, err := book(shop, request("floor", i))
				if err == nil {
					mu.Lock()
					defer mu.Unlock()
					acknowledged[o.ID] = o
					return
				}
				assert.ErrorIs(t, err, inventory.ErrSoldOut)
			})
		}
		wg.Wait()
		assert.Len(t, acknowledged, capacity)
		for id, o := range acknowledged {
			stored, err := shop.Order(t.Context(), id)
			require.NoError(t, err)
			assert.True(t, o.CreatedAt.Equal(stored.CreatedAt), "%v %v", o, stored)
		}
		exact(t, shop)
		assert.EqualValues(t, capacity, sold(t, s, "floor"))
	})
}

// bookOnce books, and asks again only if the outcome is unknown: on a machine that stands
// still for long, Redis may answer too late.
func bookOnce(shop *booking.Service, r booking.Request) (order.Order, error) {
	for began := time.Now(); ; {
		o, err := shop.Book(context.Background(), r)
		if !errors.Is(err, order.ErrOutcomeUnknown) || time.Since(began) > patience {
			return o, err
		}
		time.Sleep(betweenTries)
	}
}

// betweenTries is how long who asks again waits, as a client does: a loop without it would
// take the processor from those that it waits for.
const betweenTries = 5 * time.Millisecond

// book asks until there is a definite answer, as a client does.
func book(shop *booking.Service, r booking.Request) (order.Order, error) {
	for {
		o, err := shop.Book(context.Background(), r)
		if !errors.Is(err, inventory.ErrTryAgain) && !errors.Is(err, order.ErrOutcomeUnknown) {
			return o, err
		}
		time.Sleep(betweenTries)
	}
}
