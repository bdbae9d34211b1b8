package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/lastunit/lastunit/booking"
	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
	"github.com/redis/go-redis/v9"
)

// shop is a booking.Service as a program has it, with its background work. Every
// contender of ours is one.
type shop struct {
	service *booking.Service
	orders  *order.Postgres
	pool    *pgxpool.Pool
	items   []order.Item
	stop    func()

	patience time.Duration // with the last settles
}

// newShop opens a shop on the servers, without Redis if there is no client. Several
// may share them.
func newShop(ctx context.Context, client *redis.Client, pool *pgxpool.Pool) (*shop, error) {
	s := &shop{orders: order.NewPostgres(pool), pool: pool}
	if err := order.Migrate(ctx, pool); err != nil {
		return nil, err
	}
	config := booking.Config{
		Orders:  s.orders,
		Logger:  slog.New(slog.DiscardHandler), // what it mends, the audit would find otherwise
		Timeout: time.Minute,
	}
	if client != nil {
		config.Inventory = inventory.NewRedis(client)
	}
	var err error
	s.service, err = booking.New(config)
	if err != nil {
		return nil, err
	}
	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var background sync.WaitGroup
	background.Go(func() { s.service.Run(running) })
	s.stop = sync.OnceFunc(func() {
		cancel()
		background.Wait()
	})
	return s, nil
}

// putOnSale opens a shop for a cell and puts items on sale.
func putOnSale(ctx context.Context, c *cell, client *redis.Client, items ...order.Item) (*shop, error) {
	pool, err := c.database(ctx, "select")
	if err != nil {
		return nil, err
	}
	s, err := newShop(ctx, client, pool)
	if err != nil {
		return nil, err
	}
	c.Cleanup(s.stop)
	s.items, s.patience = items, c.settings.patience
	return s, s.service.PutOnSale(ctx, items...)
}

func (s *shop) close() { s.stop() }

// definitely calls until the answer is definite, as a client does, and says what
// it is.
func definitely(id string, call func() (order.Order, error)) (answer, error) {
	for {
		o, err := call()
		switch {
		case err == nil && (o.ID != id || o.Status != order.Confirmed):
			return 0, fmt.Errorf("asked for order %s, got %s, which is %s", id, o.ID, o.Status)
		case err == nil:
			return booked, nil
		case errors.Is(err, inventory.ErrSoldOut):
			return refused, nil
		case !errors.Is(err, inventory.ErrTryAgain):
			return 0, err
		}
	}
}

// checkBooks makes the audit that all of ours have to pass: the orders that
// Postgres has are those that the callers were told, each confirmed; what each
// SKU has allocated is what these orders have in their lines, within its
// capacity; and orders, counters, movements and Redis agree.
func (s *shop) checkBooks(ctx context.Context, told *told, lines func(caller, n int) []order.Line) error {
	other, err := number(ctx, s.pool, "select count(*) from lastunit.orders where status <> 'confirmed'")
	if err != nil {
		return err
	}
	if other != 0 {
		return fmt.Errorf("%d orders are not confirmed", other)
	}
	if err := told.checkOrders(idsFrom(ctx, s.pool, "select id from lastunit.orders")); err != nil {
		return err
	}
	want := make(map[string]int64)
	for caller, answers := range told.Answers {
		for n, a := range answers {
			if a != booked {
				continue
			}
			for _, line := range lines(caller, n) {
				want[line.SKU] += line.Quantity
			}
		}
	}
	skus := make([]string, len(s.items))
	for i, item := range s.items {
		skus[i] = item.SKU
	}
	counters, err := s.orders.Counters(ctx, skus...)
	if err != nil {
		return err
	}
	for _, c := range counters {
		if c.Allocated != want[c.SKU] || c.Allocated > c.Capacity {
			return fmt.Errorf("SKU %s has %d of %d units allocated, and callers were told that they have %d", c.SKU, c.Allocated, c.Capacity, want[c.SKU])
		}
	}
	return s.awaitExact(ctx)
}

// awaitExact waits until nothing is in flight any more, and fails if the books
// differ then.
func (s *shop) awaitExact(ctx context.Context) error {
	for until := time.Now().Add(s.patience); ; {
		differences, err := s.service.ReconcileAll(ctx, booking.DryRun)
		if err != nil {
			return err
		}
		if len(differences) == 0 {
			return nil
		}
		if time.Now().After(until) {
			return fmt.Errorf("the books differ: %v", differences)
		}
		if err := sleepUntil(ctx, time.Now().Add(50*time.Millisecond)); err != nil {
			return err
		}
	}
}
