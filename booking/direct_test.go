package booking_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/booking"
	"github.com/lastunit/lastunit/internal/servertest"
	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

// Postgres alone sells to the last unit, to a crowd in two processes, and through
// the loss of all its connections.
func TestDirectSellsToTheLastUnit(t *testing.T) {
	t.Parallel()
	postgres := servertest.StartPostgres(t)
	s := stores{orders: order.NewPostgres(migrated(t, postgres))}
	rush(t, s, func() { postgres.Kill(); postgres.Restart() })
}

// Processes with an Inventory and others without sell one SKU together.
func TestDirectBesideRedis(t *testing.T) {
	t.Parallel()
	s := onServers(t)
	with, without := open(t, s), open(t, stores{orders: s.orders})
	background(t, with)
	background(t, without)
	const capacity, buyers = 200, 600
	require.NoError(t, without.PutOnSale(t.Context(), order.Item{SKU: "floor", Capacity: capacity}))
	answers := make(chan error, buyers)
	for i := range buyers {
		go func() {
			shop := with
			if i%2 == 0 {
				shop = without
			}
			_, err := book(shop, request("floor", i))
			answers <- err
		}()
	}
	booked := 0
	for range buyers {
		if err := <-answers; err == nil {
			booked++
		} else {
			assert.ErrorIs(t, err, inventory.ErrSoldOut)
		}
	}
	assert.Equal(t, capacity, booked)
	assert.Equal(t, int64(capacity), sold(t, s, "floor"))
	exact(t, with)
	exact(t, without)
}

// What a Service can do it does without an Inventory too.
func TestDirectLife(t *testing.T) {
	for name, orders := range map[string]func(*testing.T) order.Store{
		"embedded": func(*testing.T) order.Store { return order.NewMemory() },
		"real": func(t *testing.T) order.Store {
			return order.NewPostgres(migrated(t, servertest.SharedPostgres(t)))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := stores{orders: orders(t)}
			shop := open(t, s)
			background(t, shop)
			ctx := t.Context()
			require.NoError(t, shop.PutOnSale(ctx,
				order.Item{SKU: "house", Capacity: 10},
				order.Item{SKU: "floor", Capacity: 8, CustomerLimit: 3, Draws: []order.Line{{SKU: "house", Quantity: 1}}}))

			two := booking.Request{ID: "two", Customer: "c", Lines: lines("floor", 2)}
			o, err := shop.Hold(ctx, two, time.Minute)
			require.NoError(t, err)
			require.Equal(t, order.Held, o.Status)
			again, err := shop.Hold(ctx, two, time.Hour)
			require.NoError(t, err)
			require.Equal(t, o, again)
			_, err = shop.Book(ctx, two)
			require.ErrorIs(t, err, order.ErrIdempotencyConflict)
			_, err = shop.Book(ctx, booking.Request{ID: "more", Customer: "c", Lines: lines("floor", 2)})
			require.ErrorIs(t, err, inventory.ErrLimitExceeded)
			_, err = shop.Confirm(ctx, "two")
			require.NoError(t, err)

			require.NoError(t, shop.Pause(ctx, "floor"))
			_, err = shop.Book(ctx, request("floor", 1))
			require.ErrorIs(t, err, inventory.ErrPaused)
			require.NoError(t, shop.Resume(ctx, "floor"))
			_, err = shop.Book(ctx, booking.Request{ID: "many", Customer: "many", Lines: lines("house", 8)})
			require.NoError(t, err)
			_, err = shop.Book(ctx, request("floor", 1))
			var short *inventory.StockError
			require.ErrorAs(t, err, &short)
			require.Equal(t, "house", short.SKU)
			require.ErrorIs(t, err, inventory.ErrSoldOut)

			_, err = shop.Cancel(ctx, "many")
			require.NoError(t, err)
			_, err = shop.Book(ctx, request("floor", 1))
			require.NoError(t, err)
			_, err = shop.Hold(ctx, request("house", 2), time.Millisecond)
			require.NoError(t, err)
			eventually(t, func() error {
				if o, err := shop.Order(context.Background(), request("house", 2).ID); err != nil || o.Status != order.Expired {
					return fmt.Errorf("it is %s: %w", o.Status, err)
				}
				return nil
			})
			require.NoError(t, shop.SetCapacity(ctx, anAdjustment("house", 2)))
			stock, err := shop.Stock(ctx, "floor")
			require.NoError(t, err)
			require.Equal(t, int64(3), stock.Allocated)
			require.Zero(t, stock.Available)
			_, err = shop.Book(ctx, request("nothing", 1))
			require.ErrorIs(t, err, order.ErrUnknownSKU)
			require.NoError(t, shop.Rebuild(ctx, "floor"))
			differences, err := shop.ReconcileAll(ctx, booking.Repair)
			require.NoError(t, err)
			require.Empty(t, differences)
		})
	}
}
