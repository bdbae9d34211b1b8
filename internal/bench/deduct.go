package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"

	"github.com/lastunit/lastunit/inventory"
)

// deduct is the fast side alone: inventory.Redis.Deduct. Nothing is settled, so
// Redis keeps a record of each deduction.
type deduct struct {
	repository *inventory.Redis
	supply     inventory.Supply
}

func openDeduct(ctx context.Context, c *cell, capacity int64) (contender, error) {
	s := &deduct{
		inventory.NewRedis(c.goRedis()),
		inventory.Supply{SKU: "floor", Store: rand.Text(), Epoch: 1, Version: 1, Units: capacity},
	}
	return s, s.repository.Load(ctx, s.supply)
}

func (s *deduct) call(ctx context.Context, caller, n int) (answer, error) {
	id := orderID(caller, n)
	d, err := s.repository.Deduct(ctx, inventory.Request{
		SKU: s.supply.SKU, Store: s.supply.Store, Attempt: id, OrderID: id, Customer: customerOf(caller), Quantity: 1,
	})
	switch {
	case err == nil && d.OrderID != id:
		return 0, fmt.Errorf("asked for order %s, got a deduction for %s", id, d.OrderID)
	case errors.Is(err, inventory.ErrSoldOut), errors.Is(err, inventory.ErrTryAgain):
		return refused, nil // unsettled units may come back: here, none does
	}
	return booked, err
}

// listed is up to how many deductions an audit lists one by one.
const listed = 10_000

func (s *deduct) audit(ctx context.Context, told *told) error {
	stocks, err := s.repository.Stock(ctx, s.supply.SKU)
	if err != nil {
		return err
	}
	stock := stocks[0]
	if stock.Why != "" || stock.Unsettled != stock.Taken || stock.Seq != stock.Taken {
		return fmt.Errorf("the counters disagree: %+v", stock)
	}
	if err := told.checkUnits(s.supply.Units, stock.Taken); err != nil || stock.Taken > listed {
		return err
	}
	return told.checkOrders(func(yield func(string) error) error {
		deductions, err := s.repository.Unsettled(ctx, s.supply.Store, s.supply.SKU, 0, listed+1)
		for _, d := range deductions {
			err = errors.Join(err, yield(d.OrderID))
		}
		return err
	})
}

func (s *deduct) close() {}
