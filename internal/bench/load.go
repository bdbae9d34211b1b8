package main

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// window is when a measurement begins to count, and when it ends. Callers begin
// before it, to warm up, and finish what is under way after it.
type window struct {
	from, to time.Time
}

func newWindow(warmup, length time.Duration) window {
	from := time.Now().Add(warmup)
	return window{from, from.Add(length)}
}

// load is what came of a load.
type load struct {
	told  *told         // to all callers, also outside the window
	took  histogram     // by the answers that count
	ended int64         // of these, those that ended in the window
	width time.Duration // of the window
}

// result is one measurement of a row.
type result struct {
	perSecond float64
	p50, p99  time.Duration
}

func (l *load) result() result {
	return result{
		perSecond: float64(l.ended) / l.width.Seconds(),
		p50:       l.took.quantile(0.50),
		p99:       l.took.quantile(0.99),
	}
}

// caller is one of those who ask.
type caller struct {
	answers []answer
	took    histogram
	ended   int64
}

// crowd makes callers that ask each in a goroutine of its own until the run ends
// or meets trouble. Each has a context of its own, as requests do: with one for
// all, those who derive theirs from it would queue for its lock.
func crowd(ctx context.Context, w window, callers int, run func(ctx context.Context, i int, me *caller, stopped *atomic.Bool) error) (*load, error) {
	var (
		all     = make([]caller, callers)
		stopped atomic.Bool
		once    sync.Once
		trouble error
		wait    sync.WaitGroup
	)
	unhook := context.AfterFunc(ctx, func() { stopped.Store(true) })
	defer unhook()
	for i := range all {
		wait.Go(func() {
			ctx, cancel := context.WithCancel(ctx)
			defer cancel()
			if err := run(ctx, i, &all[i], &stopped); err != nil {
				once.Do(func() { trouble = err })
				stopped.Store(true)
			}
		})
	}
	wait.Wait()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if trouble != nil {
		return nil, trouble
	}
	l := &load{told: &told{Answers: make([][]answer, callers)}, width: w.to.Sub(w.from)}
	for i := range all {
		l.told.Answers[i] = all[i].answers
		l.took.merge(&all[i].took)
		l.ended += all[i].ended
	}
	return l, nil
}

// closedLoop lets callers first to first+callers-1 ask again as soon as they have
// an answer. The latency of all calls that were under way in the window counts: of
// those that end later too, or the slowest would be left out.
func closedLoop(ctx context.Context, s contender, w window, first, callers int, counts answer) (*load, error) {
	return crowd(ctx, w, callers, func(ctx context.Context, i int, me *caller, stopped *atomic.Bool) error {
		begin := time.Now()
		for n := 0; begin.Before(w.to) && !stopped.Load(); n++ {
			a, err := s.call(ctx, first+i, n)
			if err != nil {
				return err
			}
			end := time.Now()
			me.answers = append(me.answers, a)
			if a == counts && end.After(w.from) {
				me.took.record(end.Sub(begin))
				if !end.After(w.to) {
					me.ended++
				}
			}
			begin = end
		}
		return nil
	})
}

// openLoop lets orders arrive at a fixed rate. An order that finds all callers
// busy waits for one; its latency counts from when it was to arrive, and all that
// were to arrive in the window count for it, however late they ended.
func openLoop(ctx context.Context, s contender, w window, callers int, rate float64) (*load, error) {
	began := time.Now()
	var arrivals atomic.Int64
	return crowd(ctx, w, callers, func(ctx context.Context, i int, me *caller, stopped *atomic.Bool) error {
		for n := 0; !stopped.Load(); n++ {
			arrival := began.Add(time.Duration(float64(arrivals.Add(1)-1) / rate * float64(time.Second)))
			if !arrival.Before(w.to) {
				return nil
			}
			if err := sleepUntil(ctx, arrival); err != nil {
				return err
			}
			a, err := s.call(ctx, i, n)
			if err != nil {
				return err
			}
			end := time.Now()
			me.answers = append(me.answers, a)
			if a == booked && !arrival.Before(w.from) {
				me.took.record(end.Sub(arrival))
			}
			if a == booked && end.After(w.from) && !end.After(w.to) {
				me.ended++
			}
		}
		return nil
	})
}

func sleepUntil(ctx context.Context, t time.Time) error {
	d := time.Until(t)
	if d <= 0 {
		return nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
