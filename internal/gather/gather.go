// Package gather lets concurrent calls travel together. A call that finds
// nothing under way goes at once; calls that come while one is under way wait
// for it together, and then go as one batch. There is no timer: an idle system
// adds no latency, and batches grow with the load by themselves.
package gather

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// The errors of Do, for errors.Is.
var (
	// ErrNotSent says that the call left no trace: the queue was full, or the
	// context ended while the call was queued.
	ErrNotSent = errors.New("not sent")
	// ErrLeft says that the context ended while the call was under way: it may
	// be carried out.
	ErrLeft = errors.New("left while the call was under way")
)

// Config says how calls gather.
type Config struct {
	Batch   int           // calls that go together at most
	Queue   int           // calls that wait at most
	Timeout time.Duration // of a batch; the callers' contexts don't reach it

	// CallerCarries lets who finds nothing under way carry the call out alone,
	// which spares two switches of goroutines. It can't leave meanwhile: the
	// deadline of its context ends the call, but not its cancellation.
	CallerCarries bool
}

// Gather carries calls of one kind. Make one with New. It is safe for
// concurrent use. It has a goroutine only while there are calls.
type Gather[In, Out any] struct {
	config Config
	send   func(context.Context, []In) ([]Out, error)

	mu       sync.Mutex
	queue    []*call[In, Out]
	waiting  int // calls in the queue that did not leave
	underway bool
	idle     chan struct{} // is closed when what is under way has ended
}

// New makes a Gather. send carries a batch out; it returns an answer for each
// call, in the same order, or one error for all of them.
func New[In, Out any](config Config, send func(context.Context, []In) ([]Out, error)) *Gather[In, Out] {
	return &Gather[In, Out]{config: config, send: send}
}

type call[In, Out any] struct {
	in   In
	out  Out
	err  error
	sent bool // or its caller left the queue; guarded by Gather.mu
	done chan struct{}
}

// Do waits until the call was carried out with others.
func (g *Gather[In, Out]) Do(ctx context.Context, in In) (Out, error) {
	if err := ctx.Err(); err != nil {
		var none Out
		return none, fmt.Errorf("%w: %w", ErrNotSent, err)
	}
	if g.config.CallerCarries && g.begin() {
		return g.alone(ctx, in)
	}
	c := &call[In, Out]{in: in, done: make(chan struct{})}
	if !g.enqueue(c) {
		return c.out, fmt.Errorf("%w: %d calls are waiting", ErrNotSent, g.config.Queue)
	}
	select {
	case <-c.done:
		return c.out, c.err
	case <-ctx.Done():
	}
	var none Out
	g.mu.Lock()
	defer g.mu.Unlock()
	if !c.sent {
		c.sent = true
		g.waiting--
		return none, fmt.Errorf("%w: %w", ErrNotSent, ctx.Err())
	}
	select {
	case <-c.done:
		return c.out, c.err
	default:
		return none, fmt.Errorf("%w: %w", ErrLeft, ctx.Err())
	}
}

// Post hands a call over that nobody waits for. It reports whether there was
// room in the queue.
func (g *Gather[In, Out]) Post(in In) bool {
	return g.enqueue(&call[In, Out]{in: in, done: make(chan struct{})})
}

// Wait returns once nothing is queued and nothing is under way, or with the
// context's error.
func (g *Gather[In, Out]) Wait(ctx context.Context) error {
	g.mu.Lock()
	underway, idle := g.underway, g.idle
	g.mu.Unlock()
	if !underway {
		return nil
	}
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// begin says that nothing was under way, and that now something is.
func (g *Gather[In, Out]) begin() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.underway {
		return false
	}
	g.underway = true
	g.idle = make(chan struct{})
	return true
}

// alone carries one call out, and lets those that came meanwhile go on.
func (g *Gather[In, Out]) alone(ctx context.Context, in In) (out Out, err error) {
	timeout := g.config.Timeout
	if by, ok := ctx.Deadline(); ok {
		timeout = min(timeout, time.Until(by))
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), timeout)
	defer cancel()
	defer func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		if g.queue != nil {
			go g.carry()
			return
		}
		g.underway = false
		close(g.idle)
	}()
	outs, err := g.send(ctx, []In{in})
	if err == nil && len(outs) != 1 {
		err = fmt.Errorf("%d answers to a call", len(outs))
	}
	if err != nil {
		return out, err
	}
	return outs[0], nil
}

func (g *Gather[In, Out]) enqueue(c *call[In, Out]) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.waiting >= g.config.Queue {
		return false
	}
	g.queue = append(g.queue, c)
	g.waiting++
	if !g.underway {
		g.underway = true
		g.idle = make(chan struct{})
		go g.carry()
	}
	return true
}

// carry sends batch after batch until the queue is empty.
func (g *Gather[In, Out]) carry() {
	for {
		batch := g.next()
		if batch == nil {
			return
		}
		g.carryOne(batch)
	}
}

func (g *Gather[In, Out]) next() []*call[In, Out] {
	g.mu.Lock()
	defer g.mu.Unlock()
	var batch []*call[In, Out]
	taken := 0
	for _, c := range g.queue {
		if len(batch) == g.config.Batch {
			break
		}
		taken++
		if !c.sent {
			c.sent = true
			g.waiting--
			batch = append(batch, c)
		}
	}
	if g.queue = g.queue[taken:]; len(g.queue) == 0 {
		g.queue = nil // let the array go
	}
	if batch == nil {
		g.underway = false
		close(g.idle)
	}
	return batch
}

func (g *Gather[In, Out]) carryOne(batch []*call[In, Out]) {
	ctx, cancel := context.WithTimeout(context.Background(), g.config.Timeout)
	defer cancel()
	ins := make([]In, len(batch))
	for i, c := range batch {
		ins[i] = c.in
	}
	outs, err := g.send(ctx, ins)
	if err == nil && len(outs) != len(ins) {
		err = fmt.Errorf("%d answers to %d calls", len(outs), len(ins))
	}
	for i, c := range batch {
		if c.err = err; err == nil {
			c.out = outs[i]
		}
		close(c.done)
	}
}
