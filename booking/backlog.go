package booking

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/lastunit/lastunit/order"
)

// ErrOverloaded says that this process has accepted Config.Backlog orders that are
// not in Postgres yet. Nothing was taken: let the customer try again, here in some
// seconds or in another process.
var ErrOverloaded = errors.New("too many accepted orders wait to be committed, try again later")

const defaultBacklog = 10_000

// backlog is the accepted orders that this process carries to Postgres: those that
// it accepted, which are bounded, and those of others that it found.
type backlog struct {
	inHand              // each of them
	failing atomic.Bool // they can't be committed, and that was logged

	mu        sync.Mutex
	own       map[string]*acceptance // by order ID, from before they are accepted
	byAttempt map[string]*acceptance // on their way to Postgres
}

// enter takes an order in hand that is to be accepted. If it is in hand already,
// it returns that one, which may have another content. It fails with ErrOverloaded.
func (b *backlog) enter(e *acceptance, bound int) (first *acceptance, _ error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if first := b.own[e.order.ID]; first != nil {
		return first, nil
	}
	if len(b.own) >= bound {
		return nil, fmt.Errorf("%w: %d are waiting", ErrOverloaded, len(b.own))
	}
	if b.own == nil {
		b.own = make(map[string]*acceptance)
	}
	b.own[e.order.ID] = e
	b.inHand.enter()
	return nil, nil
}

// carry notes that an order is on its way. It returns the one that is already, for
// the same attempt.
func (b *backlog) carry(e *acceptance) (first *acceptance) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if first := b.byAttempt[e.name]; first != nil {
		return first
	}
	if b.byAttempt == nil {
		b.byAttempt = make(map[string]*acceptance)
	}
	b.byAttempt[e.name] = e
	if b.own[e.order.ID] != e {
		b.inHand.enter()
	}
	return nil
}

// leave lets an order go, and reports whether it was in hand.
func (b *backlog) leave(e *acceptance) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	there := false
	if b.own[e.order.ID] == e {
		delete(b.own, e.order.ID)
		there = true
	}
	if b.byAttempt[e.name] == e {
		delete(b.byAttempt, e.name)
		there = true
	}
	if there {
		b.inHand.leave()
	}
	return there
}

// has says whether an order is in hand that this process accepted.
func (b *backlog) has(id string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.own[id] != nil
}

// other is what this process has in hand for an attempt's order ID, nil if it is nothing
// or the attempt itself.
func (b *backlog) other(than *attempt) *acceptance {
	b.mu.Lock()
	defer b.mu.Unlock()
	if own := b.own[than.order.ID]; own != nil && &own.attempt != than {
		return own
	}
	return nil
}

func (b *backlog) wait(ctx context.Context) error { return b.inHand.wait(ctx) }

// giveUp lets all go that are on their way: another process finds them.
func (b *backlog) giveUp() {
	b.mu.Lock()
	var left []*acceptance
	for _, e := range b.byAttempt {
		left = append(left, e)
	}
	b.mu.Unlock()
	for _, e := range left {
		e.finish(order.Order{}, fmt.Errorf("%w: this process stops before the order was committed, and another one carries it out", order.ErrOutcomeUnknown))
	}
}
