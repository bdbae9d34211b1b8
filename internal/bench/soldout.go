package main

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/lastunit/lastunit/booking"
	"github.com/lastunit/lastunit/order"
)

// soldOut is booking.Service.Book after the last unit was sold. Callers ask for
// new orders of their own, which are refused; and every hundredth time one asks
// again for an order of before, and must get it. Only refusals count.
type soldOut struct {
	*shop
	sold *told // before
}

const (
	soldUnits   = 1000
	soldCallers = 50
	secondClick = 100 // in so many calls, one
)

func openSoldOut(ctx context.Context, c *cell, _ int64) (contender, error) {
	s, err := sellFloor(ctx, c, soldUnits)
	if err != nil {
		return nil, err
	}
	l, err := crowd(ctx, window{}, soldCallers, func(ctx context.Context, i int, me *caller, _ *atomic.Bool) error {
		for n := range soldUnits / soldCallers {
			r := request(i, n, floor)
			a, err := definitely(r.ID, func() (order.Order, error) { return s.service.Book(ctx, r) })
			if err != nil {
				return err
			}
			me.answers = append(me.answers, a)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &soldOut{s, l.told}, nil
}

func (s *soldOut) call(ctx context.Context, caller, n int) (answer, error) {
	r, want := s.request(caller, n)
	got, err := definitely(r.ID, func() (order.Order, error) { return s.service.Book(ctx, r) })
	if err == nil && got != want {
		return 0, fmt.Errorf("order %s: got answer %d, want %d", r.ID, got, want)
	}
	if got == booked {
		got = repeated
	}
	return got, err
}

// request is what a caller asks for, and the answer that it must get.
func (s *soldOut) request(caller, n int) (booking.Request, answer) {
	if n%secondClick != secondClick-1 {
		return request(soldCallers+caller, n, floor), refused
	}
	click := caller + n/secondClick
	return request(click%soldCallers, click/soldCallers%(soldUnits/soldCallers), floor), booked
}

func (s *soldOut) audit(ctx context.Context, told *told) error {
	for caller, answers := range told.Answers {
		for n, got := range answers {
			_, want := s.request(caller, n)
			if (want == booked) != (got == repeated) {
				return fmt.Errorf("call %d of caller %d: got answer %d, want %d", n, caller, got, want)
			}
		}
	}
	return s.auditFloor(ctx, s.sold)
}
