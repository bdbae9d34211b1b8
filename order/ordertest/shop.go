package ordertest

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

// shop is a store with names of its own, and a stand-in for Redis that grants
// deductions without end.
type shop struct {
	*require.Assertions
	t     *testing.T
	ctx   context.Context
	store order.Store
	name  string // begins all SKUs and order IDs

	mu     sync.Mutex
	seq    int64
	skus   []string
	booked map[string]order.Order // every order that the store acknowledged
}

func newShop(t *testing.T, store order.Store) *shop {
	s := &shop{
		Assertions: require.New(t), t: t, ctx: t.Context(), store: store,
		name: strings.ToLower(rand.Text()[:12]) + ".", booked: make(map[string]order.Order),
	}
	t.Cleanup(s.audit)
	return s
}

// audit checks the books, and that every order that was booked is there.
func (s *shop) audit() {
	ctx := context.Background() // the test's own has ended
	if len(s.skus) > 0 {
		tallies, err := s.store.Tally(ctx, s.skus...)
		if assert.NoError(s.t, err) {
			assert.Len(s.t, tallies, len(s.skus))
			checkTallies(s.t, tallies)
			for _, tally := range tallies { // no test leaves a capacity below what is sold
				assert.LessOrEqual(s.t, tally.Counters.Allocated, tally.Counters.Capacity, tally.Counters.SKU)
			}
		}
	}
	for id, booked := range s.booked {
		o, err := s.store.Order(ctx, id)
		if assert.NoError(s.t, err, "an order that was booked") {
			assert.Equal(s.t, booked.Lines, o.Lines)
			assert.Equal(s.t, booked.Customer, o.Customer)
			assert.True(s.t, booked.CreatedAt.Equal(o.CreatedAt), "created at")
		}
	}
}

// checkTallies checks what holds at every moment. Nothing is said of the
// capacity: it may be set below what is sold.
func checkTallies(t testing.TB, tallies []order.Tally) {
	t.Helper()
	for _, tally := range tallies {
		c := tally.Counters
		assert.Equal(t, c.Allocated, tally.Held+tally.Confirmed, "%s: allocated is what live orders hold", c.SKU)
		assert.GreaterOrEqual(t, c.Admitted, int64(0), c.SKU)
	}
}

// sku puts a SKU on sale and returns its name.
func (s *shop) sku(name string, capacity int64) string {
	s.t.Helper()
	sku := s.name + name
	_, err := s.store.PutOnSale(s.ctx, order.Item{SKU: sku, Capacity: capacity})
	s.NoError(err)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.skus = append(s.skus, sku)
	return sku
}

func (s *shop) id(name string) string { return s.name + name }

// counters of one SKU.
func (s *shop) counters(sku string) order.Counters {
	s.t.Helper()
	counters, err := s.store.Counters(s.ctx, sku)
	s.NoError(err)
	s.Len(counters, 1)
	return counters[0]
}

// direct asks for an order without deductions.
func (s *shop) direct(id string, lines ...order.Line) order.Commit {
	return order.Commit{Order: order.Order{ID: s.id(id), Customer: "c-17", Lines: lines}}
}

// deducted asks for an order with a fresh deduction for each line.
func (s *shop) deducted(id string, lines ...order.Line) order.Commit {
	s.t.Helper()
	c := s.direct(id, lines...)
	for _, line := range lines {
		c.Deductions = append(c.Deductions, s.deduct(c.Order.ID, line))
	}
	return c
}

// deduct takes units as Redis would. Of an unknown SKU it has some epoch.
func (s *shop) deduct(id string, line order.Line) inventory.Deduction {
	s.t.Helper()
	counters, err := s.store.Counters(s.ctx, line.SKU)
	s.NoError(err)
	epoch, store := int64(1), "none"
	if len(counters) == 1 {
		epoch, store = counters[0].Epoch, counters[0].Store
	}
	return s.deductIn(epoch, store, id, line)
}

func (s *shop) deductIn(epoch int64, store, id string, line order.Line) inventory.Deduction {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seq++
	return inventory.Deduction{
		SKU: line.SKU, Store: store, Epoch: epoch, Seq: s.seq, Attempt: fmt.Sprintf("%sa%d", s.name, s.seq),
		OrderID: id, Quantity: line.Quantity, Version: 1, At: time.Now(),
	}
}

// commit commits and checks what is promised of every answer.
func (s *shop) commit(commits ...order.Commit) []order.Outcome {
	s.t.Helper()
	outcomes, counters, err := s.store.Commit(s.ctx, commits)
	s.NoError(err)
	s.checkAnswer(commits, outcomes, counters)
	for i, outcome := range outcomes {
		s.NotEqual(order.VerdictNew, outcome.Verdict, "only Look says New")
		if outcome.Verdict == order.VerdictBooked {
			s.mu.Lock()
			s.booked[commits[i].Order.ID] = outcome.Order
			s.mu.Unlock()
		}
	}
	return outcomes
}

// one commits one order.
func (s *shop) one(c order.Commit) order.Outcome {
	s.t.Helper()
	return s.commit(c)[0]
}

// book commits one order, which must be booked.
func (s *shop) book(c order.Commit) order.Order {
	s.t.Helper()
	outcome := s.one(c)
	s.Equal(order.VerdictBooked, outcome.Verdict)
	return outcome.Order
}

// look looks and checks what is promised of every answer.
func (s *shop) look(commits ...order.Commit) []order.Outcome {
	s.t.Helper()
	outcomes, counters, err := s.store.Look(s.ctx, commits)
	s.NoError(err)
	s.checkAnswer(commits, outcomes, counters)
	for _, outcome := range outcomes {
		s.Contains([]order.Verdict{order.VerdictNew, order.VerdictExisting, order.VerdictConflict}, outcome.Verdict)
	}
	return outcomes
}

func (s *shop) checkAnswer(commits []order.Commit, outcomes []order.Outcome, counters []order.Counters) {
	s.t.Helper()
	s.Len(outcomes, len(commits))
	for i, outcome := range outcomes {
		c := commits[i]
		s.Len(outcome.Consumed, len(c.Deductions))
		switch outcome.Verdict {
		case order.VerdictBooked:
			o := outcome.Order
			s.Equal(c.Order.ID, o.ID)
			s.Equal(c.Order.Customer, o.Customer)
			s.Equal(c.Order.Lines, o.Lines)
			s.Equal(order.Confirmed, o.Status)
			s.False(o.CreatedAt.IsZero())
			s.True(o.ChangedAt.Equal(o.CreatedAt))
			for l, d := range c.Deductions {
				s.Equal(d != inventory.Deduction{}, outcome.Consumed[l], "a booked order consumed its deductions")
			}
		case order.VerdictExisting:
			s.Equal(c.Order.ID, outcome.Order.ID)
		case order.VerdictAgain:
			s.Len(outcome.Again, len(c.Deductions))
			s.Contains(outcome.Again, true)
			for l, dead := range outcome.Again {
				s.False(dead && c.Deductions[l] == inventory.Deduction{}, "what is dead is a deduction")
			}
			s.NotContains(outcome.Consumed, true)
		case order.VerdictFull, order.VerdictUnknown:
			s.GreaterOrEqual(outcome.Line, 0)
			s.Less(outcome.Line, len(c.Order.Lines))
			s.NotContains(outcome.Consumed, true)
		case order.VerdictFailed:
			s.Error(outcome.Err)
		case order.VerdictNew:
			s.NotContains(outcome.Consumed, true)
		case order.VerdictConflict:
		}
	}
	s.checkCounters(counters)
	var want []string
	for _, c := range commits {
		for _, line := range c.Order.Lines {
			if s.knows(line.SKU) {
				want = append(want, line.SKU)
			}
		}
	}
	slices.Sort(want)
	s.ElementsMatch(slices.Compact(want), names(counters), "the counters of every SKU that is known")
}

func (s *shop) knows(sku string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Contains(s.skus, sku)
}

func (s *shop) checkCounters(counters []order.Counters) {
	s.t.Helper()
	s.True(slices.IsSorted(names(counters)), "counters are sorted by SKU")
	s.Len(slices.Compact(names(counters)), len(counters), "each SKU once")
}

func names(counters []order.Counters) []string {
	skus := make([]string, len(counters))
	for i, c := range counters {
		skus[i] = c.SKU
	}
	return skus
}

func verdicts(outcomes []order.Outcome) []order.Verdict {
	all := make([]order.Verdict, len(outcomes))
	for i, outcome := range outcomes {
		all[i] = outcome.Verdict
	}
	return all
}

// cancel cancels an order of the shop.
func (s *shop) cancel(id string) (order.Order, []order.Counters) {
	s.t.Helper()
	o, counters, err := s.store.Cancel(s.ctx, s.id(id))
	s.NoError(err)
	s.Equal(s.id(id), o.ID)
	s.checkCounters(counters)
	return o, counters
}

// fence fences, and returns whether each was consumed.
func (s *shop) fence(deductions ...inventory.Deduction) []bool {
	s.t.Helper()
	consumed, counters, err := s.store.Fence(s.ctx, deductions)
	s.NoError(err)
	s.Len(consumed, len(deductions))
	s.checkCounters(counters)
	return consumed
}

// notThere checks that there is no such order.
func (s *shop) notThere(id string) {
	s.t.Helper()
	_, err := s.store.Order(s.ctx, s.id(id))
	s.ErrorIs(err, order.ErrNotFound)
}

func line(sku string, quantity int64) order.Line { return order.Line{SKU: sku, Quantity: quantity} }

// sameOrder compares orders; times are the same moment, be it in another zone.
func (s *shop) sameOrder(want, got order.Order) {
	s.t.Helper()
	s.True(want.CreatedAt.Equal(got.CreatedAt), "created at")
	s.True(want.ChangedAt.Equal(got.ChangedAt), "changed at")
	want.CreatedAt, want.ChangedAt = got.CreatedAt, got.ChangedAt
	s.Equal(want, got)
}
