package main

import (
	"context"
	"time"

	"github.com/lastunit/lastunit/booking"
	"github.com/lastunit/lastunit/order"
)

// floor is what most contenders sell: one unit of one SKU.
var floor = []order.Line{{SKU: "floor", Quantity: 1}}

// sellFloor opens a shop that sells one SKU.
func sellFloor(ctx context.Context, c *cell, capacity int64) (*shop, error) {
	return putOnSale(ctx, c, c.goRedis(), order.Item{SKU: "floor", Capacity: capacity})
}

// auditFloor audits a shop that sold one unit of one SKU in each order.
func (s *shop) auditFloor(ctx context.Context, told *told) error {
	if err := told.checkUnits(s.items[0].Capacity, told.count(booked)); err != nil {
		return err
	}
	return s.checkBooks(ctx, told, func(int, int) []order.Line { return floor })
}

// request is the n-th of a caller.
func request(caller, n int, lines []order.Line) booking.Request {
	return booking.Request{ID: orderID(caller, n), Customer: customerOf(caller), Lines: lines}
}

// book is booking.Service.Book.
type book struct{ *shop }

func openBook(ctx context.Context, c *cell, capacity int64) (contender, error) {
	s, err := sellFloor(ctx, c, capacity)
	return &book{s}, err
}

// openDirect is the same without Redis.
func openDirect(ctx context.Context, c *cell, capacity int64) (contender, error) {
	s, err := putOnSale(ctx, c, nil, order.Item{SKU: "floor", Capacity: capacity})
	return &book{s}, err
}

// openBookNoLedger is the same without movements.
func openBookNoLedger(ctx context.Context, c *cell, capacity int64) (contender, error) {
	s, err := sellFloor(ctx, c, capacity)
	if err == nil {
		err = s.orders.SetLedger(ctx, false)
	}
	return &book{s}, err
}

func (s *book) call(ctx context.Context, caller, n int) (answer, error) {
	r := request(caller, n, floor)
	return definitely(r.ID, func() (order.Order, error) { return s.service.Book(ctx, r) })
}

func (s *book) audit(ctx context.Context, told *told) error { return s.auditFloor(ctx, told) }

// holdConfirm is booking.Service.Hold, and then Confirm.
type holdConfirm struct{ *shop }

func openHoldConfirm(ctx context.Context, c *cell, capacity int64) (contender, error) {
	s, err := sellFloor(ctx, c, capacity)
	return &holdConfirm{s}, err
}

func (s *holdConfirm) call(ctx context.Context, caller, n int) (answer, error) {
	r := request(caller, n, floor)
	return definitely(r.ID, func() (order.Order, error) {
		if o, err := s.service.Hold(ctx, r, 10*time.Minute); err != nil {
			return o, err
		}
		return s.service.Confirm(ctx, r.ID)
	})
}

func (s *holdConfirm) audit(ctx context.Context, told *told) error { return s.auditFloor(ctx, told) }
