package booking_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/booking"
	"github.com/lastunit/lastunit/internal/servertest"
	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

// By default those who come are refused soon although Redis only hangs, and those who
// waited are served once it answers.
func TestRefusedWhileRedisHangs(t *testing.T) {
	t.Parallel()
	s, server := onPrivateRedis(t)
	shop := open(t, s)
	background(t, shop)
	require.NoError(t, shop.PutOnSale(t.Context(), order.Item{SKU: "floor", Capacity: 100}))
	server.Pause()
	first := make(chan error, 1)
	ctx := patiently(t)
	go func() { // it waits for as long as a call may take, and again
		first <- soon(func() error { _, err := shop.Book(ctx, request("floor", 0)); return err })
	}()
	eventually(t, func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
		defer cancel()
		_, err := shop.Book(ctx, request("floor", 1))
		require.Error(t, err)
		if ctx.Err() != nil {
			return fmt.Errorf("it had to wait: %w", err)
		}
		require.ErrorIs(t, err, order.ErrOutcomeUnknown)
		require.ErrorIs(t, err, inventory.ErrUnavailable)
		return nil
	})
	require.Empty(t, first)
	server.Resume()
	require.NoError(t, <-first)
	eventually(t, func() error { _, err := shop.Book(t.Context(), request("floor", 1)); return err })
	exact(t, shop)
	assert.EqualValues(t, 2, sold(t, s, "floor"))
}

// With SellDirect losers are told soon, too: neither those who look for other tries at
// their order, nor who finds out whether it is still sold out, waits for Redis.
func TestLosersWhileRedisHangs(t *testing.T) {
	t.Parallel()
	s, server := onPrivateRedis(t)
	shop := sellsDirect(t, s)
	require.NoError(t, shop.PutOnSale(t.Context(), order.Item{SKU: "floor", Capacity: 1}))
	_, err := shop.Book(t.Context(), request("floor", 0))
	require.NoError(t, err)
	server.Pause()
	soon, n := 0, 1
	eventually(t, func() error {
		began := time.Now()
		n++
		_, err := shop.Book(context.Background(), request("floor", n))
		require.ErrorIs(t, err, inventory.ErrSoldOut)
		if took := time.Since(began); took > 300*time.Millisecond {
			return fmt.Errorf("it had to wait for %v", took)
		}
		if soon++; soon < 20 {
			return fmt.Errorf("%d losers were told soon", soon)
		}
		return nil
	})
	_, err = shop.Book(t.Context(), request("floor", 1))
	require.ErrorIs(t, err, inventory.ErrSoldOut)
	o, err := shop.Book(t.Context(), request("floor", 0))
	require.NoError(t, err)
	assert.Equal(t, order.Confirmed, o.Status)
}

// With SellDirect an order waits for Redis once, not for each of its lines; and a few orders
// do, not one for each SKU.
func TestManySKUsWhileRedisHangs(t *testing.T) {
	t.Parallel()
	inABubble(t, manySKUsWhileRedisHangs)
}

// hanging is an inventory that does not answer while it hangs.
type hanging struct {
	inventory.InventoryRepository
	hangs atomic.Bool
}

func (h *hanging) wait(ctx context.Context) error {
	if !h.hangs.Load() {
		return nil
	}
	<-ctx.Done()
	return fmt.Errorf("%w: %w", inventory.ErrUnavailable, ctx.Err())
}

func (h *hanging) Deduct(ctx context.Context, r inventory.Request) (inventory.Deduction, error) {
	if err := h.wait(ctx); err != nil {
		return inventory.Deduction{}, err
	}
	return h.InventoryRepository.Deduct(ctx, r)
}

func (h *hanging) Settle(ctx context.Context, supply inventory.Supply, deductions ...inventory.Deduction) error {
	if err := h.wait(ctx); err != nil {
		return err
	}
	return h.InventoryRepository.Settle(ctx, supply, deductions...)
}

func (h *hanging) Push(ctx context.Context, supply inventory.Supply) error {
	return h.Settle(ctx, supply)
}

func (h *hanging) Stock(ctx context.Context, skus ...string) ([]inventory.Stock, error) {
	if err := h.wait(ctx); err != nil {
		return nil, err
	}
	return h.InventoryRepository.Stock(ctx, skus...)
}

func manySKUsWhileRedisHangs(t *testing.T, s stores) {
	redis := &hanging{InventoryRepository: s.inventory}
	s.inventory = redis
	const skus = 40
	var items []order.Item
	r := request("row", 1)
	r.Lines = nil
	for i := range skus {
		sku := fmt.Sprint("row-", i)
		items = append(items, order.Item{SKU: sku, Capacity: 2})
		r.Lines = append(r.Lines, order.Line{SKU: sku, Quantity: 1})
	}
	require.NoError(t, sellsDirect(t, s).PutOnSale(t.Context(), items...))
	redis.hangs.Store(true)
	began := time.Now()
	o, err := sellsDirect(t, s).Book(t.Context(), r)
	require.NoError(t, err)
	assert.Len(t, o.Lines, skus)
	assert.LessOrEqual(t, time.Since(began), 500*time.Millisecond)

	shop := sellsDirect(t, s)
	began = time.Now()
	for i, item := range items {
		_, err := shop.Book(t.Context(), request(item.SKU, i))
		require.NoError(t, err)
	}
	assert.LessOrEqual(t, time.Since(began), time.Second, "two SKUs' first callers wait, until the server is known to hang")
}

// Nobody wants to buy for a while, and meanwhile the server comes back: the next buyer
// is served.
func TestServerBackWithNobodyThere(t *testing.T) {
	t.Parallel()
	s, redisServer, postgres := private(t)
	for name, server := range map[string]interface {
		Kill()
		Restart()
	}{"Redis": redisServer, "Postgres": postgres} {
		var log servertest.Output
		shop, err := booking.New(booking.Config{
			Inventory: s.inventory, Orders: s.orders, Logger: slog.New(slog.NewTextHandler(&log, nil)), CheckEvery: 50 * time.Millisecond,
		})
		require.NoError(t, err)
		stop := background(t, shop)
		require.NoError(t, shop.PutOnSale(t.Context(), order.Item{SKU: "floor of " + name, Capacity: 10}))
		_, err = shop.Book(t.Context(), request("floor of "+name, 0))
		require.NoError(t, err)
		server.Kill()
		eventually(t, func() error {
			_, err := shop.Book(context.Background(), request("floor of "+name, 1))
			require.ErrorIs(t, err, order.ErrOutcomeUnknown)
			if !strings.Contains(err.Error(), "it has not answered for a while") {
				return err
			}
			return nil
		})
		server.Restart()
		eventually(t, func() error {
			if !strings.Contains(log.String(), "lastunit: "+name+" answers again") {
				return fmt.Errorf("%s is not asked", name)
			}
			return nil
		})
		_, err = shop.Book(t.Context(), request("floor of "+name, 1))
		require.NoError(t, err, name)
		stop()
	}
}
