package booking_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/booking"
	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

// slowLoads are counters that take a while to load.
type slowLoads struct {
	inventory.InventoryRepository
	takes  time.Duration
	loaded func(inventory.Supply)
}

func (s *slowLoads) Load(ctx context.Context, supplies ...inventory.Supply) error {
	time.Sleep(s.takes)
	err := s.InventoryRepository.Load(ctx, supplies...)
	if s.loaded != nil {
		s.loaded(supplies[0])
	}
	return err
}

// Patience is for units in flight. The time that a rebuild takes is none of it.
func TestPatience(t *testing.T) {
	t.Parallel()
	// sale has 979 units left, of which Redis has lost its counters.
	sale := func(t *testing.T) (*booking.Service, *slowLoads) {
		slow := &slowLoads{InventoryRepository: inventory.NewMemory()}
		shop, err := booking.New(booking.Config{Inventory: slow, Orders: order.NewMemory(), Logger: quiet})
		require.NoError(t, err)
		require.NoError(t, shop.PutOnSale(t.Context(), order.Item{SKU: "floor", Capacity: 10}))
		require.NoError(t, shop.SetCapacity(t.Context(), order.Adjustment{ID: "more", SKU: "floor", Units: 1000}))
		for i := range 21 {
			_, err := shop.Book(t.Context(), request("floor", i))
			require.NoError(t, err)
		}
		synctest.Wait()
		slow.InventoryRepository, slow.takes = inventory.NewMemory(), time.Second
		return shop, slow
	}
	// taken takes all units, as a booking does that another process has under way.
	taken := func(t *testing.T, counters inventory.InventoryRepository, supply inventory.Supply) inventory.Deduction {
		d, err := counters.Deduct(t.Context(), inventory.Request{
			SKU: supply.SKU, Store: supply.Store, Attempt: "other", OrderID: "other", Customer: "other", Quantity: supply.Units,
		})
		require.NoError(t, err)
		return d
	}
	t.Run("none for a rebuild", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			shop, _ := sale(t)
			_, err := shop.Book(t.Context(), request("floor", 21))
			require.NoError(t, err, "979 units are available")
		})
	})
	t.Run("the whole of it after a rebuild", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			shop, slow := sale(t)
			slow.loaded = func(supply inventory.Supply) {
				time.Sleep(100 * time.Millisecond) // kept, as they came back just now
				d := taken(t, slow.InventoryRepository, supply)
				time.AfterFunc(200*time.Millisecond, func() { assert.NoError(t, slow.Restore(t.Context(), d)) })
			}
			_, err := shop.Book(t.Context(), request("floor", 21))
			require.NoError(t, err, "they come back in time")
		})
	})
	t.Run("bounded", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			shop, slow := sale(t)
			_, err := shop.Book(t.Context(), request("floor", 21))
			require.NoError(t, err)
			stock, err := slow.Stock(t.Context(), "floor")
			require.NoError(t, err)
			taken(t, slow.InventoryRepository, inventory.Supply{SKU: "floor", Store: stock[0].Store, Units: 978})
			began := time.Now()
			_, err = shop.Book(t.Context(), request("floor", 22))
			require.ErrorIs(t, err, inventory.ErrTryAgain)
			assert.InDelta(t, 250, time.Since(began).Milliseconds(), 50, "milliseconds in the bubble")
		})
	})
}
