package faults_test

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// watch looks at the books all the time, past the proxies: at no moment may more be
// sold than there is.
type watch struct {
	stop context.CancelFunc
	done chan struct{}

	mu    sync.Mutex
	count int
	found []string
}

// watchEvery is the pause between two looks. Each reads all orders and movements.
func watchEvery() time.Duration { return either(10*time.Millisecond, 100*time.Millisecond) }

// startWatch watches until the audit, or the end of the test.
func (s *sale) startWatch() *watch {
	ctx, cancel := context.WithCancel(context.Background())
	w := &watch{stop: cancel, done: make(chan struct{})}
	s.t.Cleanup(func() { w.end() })
	go func() {
		defer close(w.done)
		for ctx.Err() == nil {
			w.look(ctx, s)
			select {
			case <-time.After(watchEvery()):
			case <-ctx.Done():
			}
		}
	}()
	return w
}

// look compares what is sold with what there is, as of one moment. A Postgres that is
// down sells nothing.
func (w *watch) look(ctx context.Context, s *sale) {
	ctx, cancel := context.WithTimeout(ctx, oneTry)
	defer cancel()
	tallies, err := s.orders.Tally(ctx, floor)
	if err != nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.count++
	for _, t := range tallies {
		if sold := t.Held + t.Confirmed; sold > t.Counters.Capacity && sold > s.mayBeSold.Load() {
			w.found = append(w.found, fmt.Sprintf("%d units were sold at a moment at which there were %d", sold, t.Counters.Capacity))
		}
	}
}

// looks is how often it has looked.
func (w *watch) looks() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.count
}

// end ends the watch and returns what it has found.
func (w *watch) end() []string {
	w.stop()
	<-w.done
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.count == 0 {
		return append(w.found, "the watch never saw the books")
	}
	return w.found
}
