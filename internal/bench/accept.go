package main

import (
	"context"
	"errors"
	"time"

	"github.com/lastunit/lastunit/booking"
	"github.com/lastunit/lastunit/inventory"
)

// accept is booking.Service.Accept. Who is told that too many wait tries again
// after a moment, in the same call. It is measured beside the commits that come
// behind it, so in the long run it can't be faster than these.
type accept struct{ *shop }

func openAccept(ctx context.Context, c *cell, capacity int64) (contender, error) {
	s, err := sellFloor(ctx, c, capacity)
	return &accept{s}, err
}

const overloadedPause = 2 * time.Millisecond

func (s *accept) call(ctx context.Context, caller, n int) (answer, error) {
	r := request(caller, n, floor)
	for {
		_, err := s.service.Accept(ctx, r)
		switch {
		case err == nil:
			return booked, nil
		case errors.Is(err, inventory.ErrSoldOut):
			return refused, nil
		case errors.Is(err, booking.ErrOverloaded):
			if err := sleepUntil(ctx, time.Now().Add(overloadedPause)); err != nil {
				return 0, err
			}
		case !errors.Is(err, inventory.ErrTryAgain):
			return 0, err
		}
	}
}

// audit waits for what was accepted and is not booked yet: nothing was lost here,
// so all of it must be.
func (s *accept) audit(ctx context.Context, told *told) error {
	for until := time.Now().Add(s.patience); time.Now().Before(until); {
		stored, err := number(ctx, s.pool, "select count(*) from lastunit.orders")
		if err != nil {
			return err
		}
		if stored == told.count(booked) {
			break
		}
		if err := sleepUntil(ctx, time.Now().Add(50*time.Millisecond)); err != nil {
			return err
		}
	}
	return s.auditFloor(ctx, told)
}
