package booking

import (
	"hash/maphash"
	"slices"
	"sync"

	"github.com/lastunit/lastunit/order"
)

// joins are the attempts under way in this process, by order ID, so that a second
// click joins the first one. They are spread over shards, as every booking passes.
type joins struct {
	seed   maphash.Seed
	shards [64]struct {
		mu       sync.Mutex
		attempts map[string]*attempt
		_        [48]byte // a cache line of its own
	}
}

func newJoins() *joins {
	j := &joins{seed: maphash.MakeSeed()}
	for i := range j.shards {
		j.shards[i].attempts = make(map[string]*attempt)
	}
	return j
}

// join returns the attempt under way that asks for the same, with a channel that
// is closed at its end. If there is none, the own one is joined from now on, until
// it leaves; but for one with the same ID that asks for something else: Postgres
// tells them apart.
func (j *joins) join(own *attempt) (first *attempt, done <-chan struct{}) {
	shard := &j.shards[maphash.String(j.seed, own.order.ID)%uint64(len(j.shards))]
	shard.mu.Lock()
	defer shard.mu.Unlock()
	first = shard.attempts[own.order.ID]
	switch {
	case first == nil:
		shard.attempts[own.order.ID] = own
		return nil, nil
	case !first.asksFor(own.order, own.ttl > 0):
		return nil, nil
	case first.done == nil:
		first.done = make(chan struct{})
	}
	return first, first.done
}

// leave lets nobody else join, and those who did have the answer.
func (j *joins) leave(own *attempt, answer order.Order, err error) {
	shard := &j.shards[maphash.String(j.seed, own.order.ID)%uint64(len(j.shards))]
	shard.mu.Lock()
	defer shard.mu.Unlock()
	if shard.attempts[own.order.ID] == own {
		delete(shard.attempts, own.order.ID)
	}
	if own.done != nil {
		// A copy: what the first caller got is its own to change.
		own.answer, own.err = clone(answer), err
		close(own.done)
	}
}

func clone(o order.Order) *order.Order {
	o.Lines, o.Draws = slices.Clone(o.Lines), slices.Clone(o.Draws)
	return &o
}

// asksFor says whether the attempt asks for the very content.
func (a *attempt) asksFor(o order.Order, held bool) bool {
	return a.order.Customer == o.Customer && (a.ttl > 0) == held && slices.Equal(a.order.Lines, o.Lines)
}
