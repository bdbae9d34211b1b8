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

	// Abreast is how many batches are under way at once at most; 0 is one. A
	// batch goes beside another one only if at least half of Batch waits: with
	// fewer, to gather more is worth more than to go now. Batches set out in the
	// order of their calls, but may arrive in any.
	Abreast int
}

// Gather carries calls of one kind. Make one with New. It is safe for
// concurrent use. It has goroutines only while there are calls.
type Gather[In, Out any] struct {
	config Config
	send   func(context.Context, []In) ([]Out, error)
	spare  sync.Pool // of calls that ended

	mu       sync.Mutex
	queue    []*call[In, Out]
	waiting  int           // calls in the queue that did not leave
	underway int           // batches; while it is 0 nothing waits
	idle     chan struct{} // is closed when nothing is under way any more
}

// New makes a Gather. send carries a batch out; it returns an answer for each
// call, in the same order, or one error for all of them.
func New[In, Out any](config Config, send func(context.Context, []In) ([]Out, error)) *Gather[In, Out] {
	return &Gather[In, Out]{config: config, send: send}
}

// call is one call. It is used again for another one, unless its caller left:
// then the queue or a batch may still have it.
type call[In, Out any] struct {
	in   In
	out  Out
	err  error
	sent bool          // or its caller left the queue; guarded by Gather.mu
	done chan struct{} // takes one value, when out and err are there; nil if nobody waits
}

// Do waits until the call was carried out with others.
func (g *Gather[In, Out]) Do(ctx context.Context, in In) (Out, error) {
	if err := ctx.Err(); err != nil {
		var none Out
		return none, fmt.Errorf("%w: %w", ErrNotSent, err)
	}
	c, _ := g.spare.Get().(*call[In, Out])
	if c == nil {
		c = &call[In, Out]{done: make(chan struct{}, 1)}
	}
	c.in = in
	if !g.enqueue(c) {
		return c.out, fmt.Errorf("%w: %d calls are waiting", ErrNotSent, g.config.Queue)
	}
	select {
	case <-c.done:
		return g.answer(c)
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
		return g.answer(c)
	default:
		return none, fmt.Errorf("%w: %w", ErrLeft, ctx.Err())
	}
}

// answer takes the answer of a call that is done, and spares the call: nobody
// else has it any more.
func (g *Gather[In, Out]) answer(c *call[In, Out]) (Out, error) {
	out, err := c.out, c.err
	*c = call[In, Out]{done: c.done}
	g.spare.Put(c)
	return out, err
}

// Post hands a call over that nobody waits for. It reports whether there was
// room in the queue.
func (g *Gather[In, Out]) Post(in In) bool {
	return g.enqueue(&call[In, Out]{in: in})
}

// Wait returns once nothing is queued and nothing is under way, or with the
// context's error.
func (g *Gather[In, Out]) Wait(ctx context.Context) error {
	g.mu.Lock()
	underway, idle := g.underway, g.idle
	g.mu.Unlock()
	if underway == 0 {
		return nil
	}
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// setOut counts a batch that goes. Its caller holds the lock.
func (g *Gather[In, Out]) setOut() {
	if g.underway++; g.underway == 1 {
		g.idle = make(chan struct{})
	}
}

// arrive counts a batch that was carried out, and tells whether another one goes
// in its place, and is counted. Its caller holds the lock.
func (g *Gather[In, Out]) arrive() (next bool) {
	g.underway--
	if g.due() {
		g.underway++ // whoever waits for all to end waits for this one too
		return true
	}
	if g.underway == 0 {
		g.queue = nil // let the array go, and those in it who left
		close(g.idle)
	}
	return false
}

// due says whether a batch is to go now. Its caller holds the lock.
func (g *Gather[In, Out]) due() bool {
	if g.underway == 0 {
		return g.waiting > 0
	}
	return g.underway < g.config.Abreast && g.waiting >= max(1, g.config.Batch/2)
}

func (g *Gather[In, Out]) enqueue(c *call[In, Out]) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.waiting >= g.config.Queue {
		return false
	}
	g.queue = append(g.queue, c)
	g.waiting++
	if g.due() {
		g.setOut()
		go g.carry()
	}
	return true
}

// carry sends the batch that set out, and others as long as one is due.
func (g *Gather[In, Out]) carry() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for next := true; next; next = g.arrive() {
		batch := g.take()
		g.mu.Unlock()
		if len(batch) > 0 { // they may all have left
			g.carryOne(batch)
		}
		g.mu.Lock()
	}
}

// take takes a batch from the queue. Its caller holds the lock.
func (g *Gather[In, Out]) take() []*call[In, Out] {
	batch := make([]*call[In, Out], 0, min(g.waiting, g.config.Batch))
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
	g.queue = g.queue[taken:]
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
		if c.done != nil {
			c.done <- struct{}{} // from here on the call is its caller's
		}
	}
}
