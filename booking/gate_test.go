package booking_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

// gate holds every call of a service to its stores until the walk decides what
// becomes of it. Once it is open, calls pass.
type gate struct {
	mu      sync.Mutex
	open    bool
	waiting []*gatedCall
	late    []*gatedCall
}

// gatedCall is a call that waits at the gate.
type gatedCall struct {
	name    string
	run     func(context.Context) error
	inDoubt error // what the caller gets when its answer is lost
	refused error // what the caller gets when nothing was done
	fate    chan fate
}

// fate is what becomes of a call.
type fate int

const (
	carriedOut     fate = iota
	answerLost          // it is carried out, but its caller isn't told
	carriedOutLate      // its caller isn't told, and it is carried out some day
	notCarriedOut
)

var errInjected = errors.New("injected")

func (g *gate) pass(ctx context.Context, c *gatedCall) error {
	g.mu.Lock()
	if g.open {
		g.mu.Unlock()
		return c.run(ctx)
	}
	c.fate = make(chan fate, 1)
	g.waiting = append(g.waiting, c)
	g.mu.Unlock()

	switch <-c.fate {
	case answerLost:
		_ = c.run(ctx) // nobody learns how it went
		return c.inDoubt
	case carriedOutLate:
		g.mu.Lock()
		defer g.mu.Unlock()
		g.late = append(g.late, c)
		return c.inDoubt
	case notCarriedOut:
		return c.refused
	}
	return c.run(ctx)
}

// decide lets one of the waiting calls have a fate, and returns its name.
func (g *gate) decide(r *rand.Rand, faults bool) string {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.waiting) == 0 {
		return ""
	}
	i := r.IntN(len(g.waiting))
	c := g.waiting[i]
	g.waiting = append(g.waiting[:i], g.waiting[i+1:]...)
	what := carriedOut
	if faults && r.IntN(6) == 0 {
		what = fate(1 + r.IntN(3))
	}
	c.fate <- what
	return fmt.Sprintf("%s: %s", c.name, [...]string{"carried out", "answer lost", "late", "not carried out"}[what])
}

// carryOutLate carries one of the late calls out, at random.
func (g *gate) carryOutLate(r *rand.Rand) string {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.late) == 0 {
		return ""
	}
	i := r.IntN(len(g.late))
	c := g.late[i]
	if r.IntN(3) > 0 { // else there is another copy of it on its way
		g.late = append(g.late[:i], g.late[i+1:]...)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return fmt.Sprintf("late %s: %v", c.name, c.run(ctx))
}

// openUp lets everything pass from now on.
func (g *gate) openUp() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.open = true
	for _, c := range g.waiting {
		c.fate <- carriedOut
	}
	g.waiting = nil
}

func (g *gate) count() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.waiting)
}

// gatedInventory and gatedOrders are a process's view of the stores.
type gatedInventory struct {
	inventory.InventoryRepository
	gate *gate
	name string
}

func (i gatedInventory) call(ctx context.Context, what string, run func(context.Context) error) error {
	return i.gate.pass(ctx, &gatedCall{
		name: i.name + " " + what, run: run,
		inDoubt: fmt.Errorf("%w: %w", inventory.ErrUnavailable, errInjected),
		refused: fmt.Errorf("%w: %w", inventory.ErrUnavailable, errInjected),
	})
}

func (i gatedInventory) Load(ctx context.Context, supplies ...inventory.Supply) error {
	return i.call(ctx, fmt.Sprintf("loads %+v", supplies), func(ctx context.Context) error {
		return i.InventoryRepository.Load(ctx, supplies...)
	})
}

func (i gatedInventory) Push(ctx context.Context, supply inventory.Supply) error {
	return i.call(ctx, fmt.Sprintf("pushes %+v", supply), func(ctx context.Context) error {
		return i.InventoryRepository.Push(ctx, supply)
	})
}

func (i gatedInventory) Deduct(ctx context.Context, request inventory.Request) (inventory.Deduction, error) {
	granted := make(chan inventory.Deduction, 8)
	err := i.call(ctx, fmt.Sprintf("deducts %+v", request), func(ctx context.Context) error {
		d, err := i.InventoryRepository.Deduct(ctx, request)
		select {
		case granted <- d:
		default: // one of many late copies
		}
		return err
	})
	if err != nil {
		return inventory.Deduction{}, err
	}
	return <-granted, nil
}

func (i gatedInventory) Settle(ctx context.Context, supply inventory.Supply, deductions ...inventory.Deduction) error {
	return i.call(ctx, fmt.Sprintf("settles %+v %+v", supply, deductions), func(ctx context.Context) error {
		return i.InventoryRepository.Settle(ctx, supply, deductions...)
	})
}

func (i gatedInventory) Restore(ctx context.Context, deductions ...inventory.Deduction) error {
	return i.call(ctx, fmt.Sprintf("restores %+v", deductions), func(ctx context.Context) error {
		return i.InventoryRepository.Restore(ctx, deductions...)
	})
}

type gatedOrders struct {
	order.Store
	gate *gate
	name string
}

func (o gatedOrders) call(ctx context.Context, what string, run func(context.Context) error) error {
	return o.gate.pass(ctx, &gatedCall{
		name: o.name + " " + what, run: run,
		inDoubt: fmt.Errorf("%w: %w", order.ErrOutcomeUnknown, errInjected),
		refused: fmt.Errorf("%w: %w", order.ErrUnavailable, errInjected),
	})
}

func (o gatedOrders) Commit(ctx context.Context, commits []order.Commit) (outcomes []order.Outcome, counters []order.Counters, _ error) {
	// The caller may reuse what it passed once it has its answer.
	asked := make([]order.Commit, len(commits))
	for i, c := range commits {
		asked[i] = order.Commit{Order: c.Order, Deductions: append([]inventory.Deduction(nil), c.Deductions...)}
	}
	type answer struct {
		outcomes []order.Outcome
		counters []order.Counters
	}
	answers := make(chan answer, 8)
	err := o.call(ctx, fmt.Sprintf("commits %+v", asked), func(ctx context.Context) error {
		outcomes, counters, err := o.Store.Commit(ctx, asked)
		select {
		case answers <- answer{outcomes, counters}:
		default:
		}
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	a := <-answers
	return a.outcomes, a.counters, nil
}

func (o gatedOrders) Look(ctx context.Context, commits []order.Commit) (outcomes []order.Outcome, counters []order.Counters, err error) {
	// A look changes nothing, so a late one is of no interest.
	outcomes, counters, err = o.Store.Look(ctx, commits)
	return outcomes, counters, errors.Join(err, o.call(ctx, "looks", func(context.Context) error { return nil }))
}

func (o gatedOrders) BeginEpoch(ctx context.Context, sku string, seen int64) (order.Counters, bool, error) {
	type answer struct {
		counters order.Counters
		begun    bool
	}
	answers := make(chan answer, 8)
	err := o.call(ctx, fmt.Sprintf("begins an epoch of %s after %d", sku, seen), func(ctx context.Context) error {
		c, begun, err := o.Store.BeginEpoch(ctx, sku, seen)
		select {
		case answers <- answer{c, begun}:
		default:
		}
		return err
	})
	if err != nil {
		return order.Counters{}, false, err
	}
	a := <-answers
	return a.counters, a.begun, nil
}
