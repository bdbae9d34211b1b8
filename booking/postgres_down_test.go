package booking_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/booking"
	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

// A Postgres that hangs costs the first callers the time that they have. After that
// they are refused at once, and take nothing; what the first ones took is sold once
// it answers again.
func TestRefusedQuicklyWithoutPostgres(t *testing.T) {
	t.Parallel()
	s, _, postgres := private(t)
	shop := open(t, s, func(c *booking.Config) { c.Timeout = time.Second })
	eventually(t, func() error { return shop.PutOnSale(t.Context(), order.Item{SKU: "floor", Capacity: 10}) })
	_, err := book(shop, request("floor", 0))
	require.NoError(t, err)
	taken := func() int64 {
		stocks, err := s.inventory.Stock(context.Background(), "floor")
		require.NoError(t, err)
		return stocks[0].Taken
	}
	postgres.Pause()
	eventually(t, func() error {
		began, before := time.Now(), taken()
		_, err := shop.Book(context.Background(), request("floor", 1))
		require.ErrorIs(t, err, order.ErrOutcomeUnknown)
		require.NotErrorIs(t, err, inventory.ErrSoldOut)
		if took := time.Since(began); took > 300*time.Millisecond {
			return fmt.Errorf("the caller waited for %v", took)
		}
		require.ErrorIs(t, err, order.ErrUnavailable)
		require.LessOrEqual(t, taken(), before, "nobody takes what can't be committed")
		return nil
	})
	postgres.Resume()
	background(t, shop)
	for i := range 10 {
		o, err := book(shop, request("floor", i))
		require.NoError(t, err)
		assert.Equal(t, order.Confirmed, o.Status)
	}
	exact(t, shop)
	assert.EqualValues(t, 10, sold(t, s, "floor"))
}

// Those who come while others wait are refused soon, and those who wait are served.
func TestRefusedWhilePostgresHangs(t *testing.T) {
	t.Parallel()
	s, _, postgres := private(t)
	shop := open(t, s)
	require.NoError(t, shop.PutOnSale(t.Context(), order.Item{SKU: "floor", Capacity: 10}))
	_, err := bookOnce(shop, request("floor", 0))
	require.NoError(t, err)
	postgres.Pause()
	first := make(chan error, 1)
	ctx := patiently(t)
	go func() {
		_, err := shop.Book(ctx, request("floor", 1))
		first <- err
	}()
	eventually(t, func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
		defer cancel()
		_, err := shop.Book(ctx, request("floor", 2))
		require.Error(t, err)
		if ctx.Err() != nil {
			return fmt.Errorf("it had to wait: %w", err)
		}
		require.ErrorIs(t, err, order.ErrOutcomeUnknown)
		require.ErrorIs(t, err, order.ErrUnavailable)
		return nil
	})
	require.Empty(t, first)
	postgres.Resume()
	require.NoError(t, <-first)
	background(t, shop)
	eventually(t, func() error { _, err := shop.Book(t.Context(), request("floor", 2)); return err })
	exact(t, shop)
	assert.EqualValues(t, 3, sold(t, s, "floor"))
}
