package main

import (
	"context"
	"fmt"
	"sync/atomic"
)

const (
	lastUnits   = 100
	lastCallers = 50
	lastCalls   = 8 // of each caller
)

// toTheLastUnit has a contender sell a few units to a crowd that wants many more,
// and audits it.
func toTheLastUnit(ctx context.Context, c *cell, open opener) error {
	s, err := open(ctx, c, lastUnits)
	if err != nil {
		return err
	}
	defer s.close()
	l, err := crowd(ctx, window{}, lastCallers, func(ctx context.Context, i int, me *caller, stopped *atomic.Bool) error {
		for n := 0; n < lastCalls && !stopped.Load(); n++ {
			a, err := s.call(ctx, i, n)
			if err != nil {
				return err
			}
			me.answers = append(me.answers, a)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := s.audit(ctx, l.told); err != nil {
		return err
	}
	if told := l.told.count(booked); told != lastUnits {
		return fmt.Errorf("%d callers got one of %d units, and %d asked", told, lastUnits, lastCallers*lastCalls)
	}
	return c.empty(ctx)
}
