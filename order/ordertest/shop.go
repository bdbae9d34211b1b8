package ordertest

import (
	"context"
	"crypto/rand"
	"errors"
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
	draws  map[string][]order.Line // of each SKU, as its Counters said
	booked map[string]order.Order  // every order that the store acknowledged

	silent bool // the ledger was off for a while, so that movements of orders are missing
}

func newShop(t *testing.T, store order.Store) *shop {
	s := &shop{
		Assertions: require.New(t), t: t, ctx: t.Context(), store: store,
		name: strings.ToLower(rand.Text()[:12]) + ".", booked: make(map[string]order.Order),
		draws: make(map[string][]order.Line),
	}
	t.Cleanup(s.audit)
	return s
}

// item puts a SKU on sale and returns its name, which must begin as the shop's.
func (s *shop) item(item order.Item) string {
	s.t.Helper()
	counters, made, err := s.store.PutOnSale(s.ctx, item)
	s.NoError(err)
	s.Len(counters, 1)
	s.Equal([]bool{true}, made)
	s.own(counters...)
	return item.SKU
}

// sku puts a SKU on sale and returns its name.
func (s *shop) sku(name string, capacity int64) string {
	s.t.Helper()
	return s.item(order.Item{SKU: s.name + name, Capacity: capacity})
}

// own takes SKUs into the shop's books.
func (s *shop) own(counters ...order.Counters) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range counters {
		s.skus = append(s.skus, c.SKU)
		s.draws[c.SKU] = c.Draws
	}
}

func (s *shop) id(name string) string { return s.name + name }

// counters of one SKU, as still makes them.
func (s *shop) counters(sku string) order.Counters {
	s.t.Helper()
	counters, err := s.store.Counters(s.ctx, sku)
	s.NoError(err)
	s.Len(counters, 1)
	return still(counters[0])
}

// still is the counters without the moment at which they were read, so that what
// did not change compares equal.
func still(c order.Counters) order.Counters {
	c.At = time.Time{}
	c.OpensAt, c.ClosesAt = c.OpensAt.UTC(), c.ClosesAt.UTC()
	return c
}

func stills(counters []order.Counters) []order.Counters {
	var all []order.Counters
	for _, c := range counters {
		all = append(all, still(c))
	}
	return all
}

// now is the store's clock.
func (s *shop) now(sku string) time.Time {
	counters, err := s.store.Counters(s.ctx, sku)
	if !assert.NoError(s.t, err) || !assert.Len(s.t, counters, 1) {
		return time.Time{}
	}
	return counters[0].At
}

// patience is how long a test waits for what must come soon.
const patience = 4 * time.Minute

// until polls for what must come soon. Other than Eventually it begins at once,
// and stays in this goroutine.
func (s *shop) until(what string, done func() bool) {
	s.t.Helper()
	for deadline := time.Now().Add(patience); !done(); time.Sleep(time.Millisecond) {
		s.True(time.Now().Before(deadline), what)
	}
}

// past waits until the store's clock says that a moment is over.
func (s *shop) past(sku string, moment time.Time) {
	s.t.Helper()
	s.until("the clock goes on", func() bool { return !s.now(sku).Before(moment) })
}

// direct asks for an order without deductions. It draws what its SKUs draw.
func (s *shop) direct(id string, lines ...order.Line) order.Commit {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	draws, err := order.DrawsOf(lines, func(sku string) []order.Line { return s.draws[sku] })
	if err != nil { // some tests ask for too much
		draws = nil
	}
	return order.Commit{Order: order.Order{ID: s.id(id), Customer: "c-17", Lines: lines, Draws: draws}}
}

// deducted asks for an order with a fresh deduction for each of its units.
func (s *shop) deducted(id string, lines ...order.Line) order.Commit {
	s.t.Helper()
	c := s.direct(id, lines...)
	for _, unit := range c.Order.Units() {
		c.Deductions = append(c.Deductions, s.deduct(c.Order.ID, unit))
	}
	return c
}

// held makes a commit that of a held order.
func held(c order.Commit, hold time.Duration) order.Commit {
	c.Hold = hold
	return c
}

// by makes a commit that of a customer.
func by(customer string, c order.Commit) order.Commit {
	c.Order.Customer = customer
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

// commit commits and checks what is promised of every answer. Where a SKU is
// reopening it waits, and commits again.
func (s *shop) commit(commits ...order.Commit) []order.Outcome {
	s.t.Helper()
	outcomes := s.commitOnce(commits...)
	for {
		var early []int
		var again []order.Commit
		var wait time.Duration
		for i, outcome := range outcomes {
			if outcome.Verdict == order.VerdictReopening {
				early, again, wait = append(early, i), append(again, commits[i]), max(wait, outcome.Wait)
			}
		}
		if early == nil {
			return outcomes
		}
		time.Sleep(wait) // as the store says
		for n, outcome := range s.commitOnce(again...) {
			outcomes[early[n]] = outcome
		}
	}
}

func (s *shop) commitOnce(commits ...order.Commit) []order.Outcome {
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
	var want []string
	for i, outcome := range outcomes {
		s.checkOutcome(commits[i], outcome)
		for _, unit := range commits[i].Order.Units() {
			if s.knows(unit.SKU) {
				want = append(want, unit.SKU)
			}
		}
	}
	s.checkCounters(counters)
	slices.Sort(want)
	s.ElementsMatch(slices.Compact(want), names(counters), "the counters of every SKU that is known")
}

func (s *shop) checkOutcome(c order.Commit, outcome order.Outcome) {
	s.t.Helper()
	s.Len(outcome.Consumed, len(c.Deductions))
	units := c.Order.Units()
	refused := func() order.Line {
		s.t.Helper()
		s.GreaterOrEqual(outcome.Unit, 0)
		s.Less(outcome.Unit, len(units))
		s.NotContains(outcome.Consumed, true)
		return units[outcome.Unit]
	}
	switch outcome.Verdict {
	case order.VerdictBooked:
		o := outcome.Order
		s.Equal(c.Order.ID, o.ID)
		s.Equal(c.Order.Customer, o.Customer)
		s.Equal(c.Order.Lines, o.Lines)
		s.Equal(c.Order.Draws, o.Draws)
		s.False(o.CreatedAt.IsZero())
		s.True(o.ChangedAt.Equal(o.CreatedAt))
		if c.Hold == 0 {
			s.Equal(order.Confirmed, o.Status)
			s.True(o.ExpiresAt.IsZero(), "it was never held")
		} else {
			s.Equal(order.Held, o.Status)
			s.WithinDuration(o.CreatedAt.Add(c.Hold), o.ExpiresAt, time.Minute)
			s.False(o.ExpiresAt.Before(o.CreatedAt.Add(c.Hold-time.Millisecond)), "for that long")
		}
		for l, d := range c.Deductions {
			s.Equal(d != inventory.Deduction{}, outcome.Consumed[l], "a booked order consumed its deductions")
		}
	case order.VerdictExisting:
		s.Equal(c.Order.ID, outcome.Order.ID)
	case order.VerdictAgain:
		s.Len(outcome.Again, len(c.Deductions))
		for l, dead := range outcome.Again {
			s.False(dead && c.Deductions[l] == inventory.Deduction{}, "what is dead is a deduction")
		}
		s.NotContains(outcome.Consumed, true)
	case order.VerdictUnknown:
		s.False(s.knows(refused().SKU))
	case order.VerdictFull:
		s.Less(outcome.Left, refused().Quantity)
		s.GreaterOrEqual(outcome.Left, int64(0))
		var short *inventory.StockError
		s.ErrorAs(outcome.Err, &short)
		s.Equal(order.Line{SKU: short.SKU, Quantity: short.Requested}, refused())
		s.Equal(outcome.Left, short.Available)
	case order.VerdictReopening:
		s.NotEmpty(refused().SKU)
		s.Positive(outcome.Wait)
		s.LessOrEqual(outcome.Wait, order.Reopening)
	case order.VerdictClosed:
		if errors.Is(outcome.Err, order.ErrRetired) {
			s.retired(outcome.Err, refused().SKU)
			break
		}
		var window *inventory.WindowError
		s.ErrorAs(outcome.Err, &window)
		s.Equal(refused().SKU, window.SKU)
		s.Zero(window.Epoch)
		s.Zero(window.Version)
	case order.VerdictLimited:
		s.Positive(s.limited(outcome.Err, refused()).Limit)
	case order.VerdictFailed:
		s.Error(outcome.Err)
	case order.VerdictNew:
		s.NotContains(outcome.Consumed, true)
	case order.VerdictConflict:
	}
}

// limited checks that a customer can't have so much more.
func (s *shop) limited(err error, unit order.Line) *inventory.LimitError {
	s.t.Helper()
	s.ErrorIs(err, inventory.ErrLimitExceeded)
	var limit *inventory.LimitError
	s.ErrorAs(err, &limit)
	s.Equal(unit.SKU, limit.SKU)
	s.Equal(unit.Quantity, limit.Requested)
	s.Greater(limit.Used+limit.Requested, limit.Limit)
	s.Zero(limit.InFlight)
	s.Zero(limit.Epoch)
	s.Zero(limit.Version)
	return limit
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
	for _, c := range counters {
		s.False(c.At.IsZero(), "they say when they were read")
	}
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

// change changes, and checks what is promised of every answer.
func (s *shop) change(changes ...order.Change) ([]order.Changed, []order.Counters) {
	s.t.Helper()
	answers, counters, err := s.store.Change(s.ctx, changes)
	s.NoError(err)
	s.Len(answers, len(changes))
	var want []string
	for i, answer := range answers {
		if errors.Is(answer.Err, order.ErrNotFound) {
			s.Zero(answer.Order)
			continue
		}
		s.Equal(changes[i].ID, answer.Order.ID)
		for _, unit := range answer.Order.Units() {
			want = append(want, unit.SKU)
		}
	}
	slices.Sort(want)
	s.ElementsMatch(slices.Compact(want), names(counters), "the counters of every SKU of the orders, sorted")
	s.checkCounters(counters)
	return answers, counters
}

// act does one thing to an order of the shop.
func (s *shop) act(id string, action order.Action) (order.Order, error) {
	s.t.Helper()
	c := order.Change{ID: s.id(id), Action: action}
	if action == order.Extend {
		c.Hold = time.Hour
	}
	answers, _ := s.change(c)
	return answers[0].Order, answers[0].Err
}

// done does one thing to an order of the shop, which must succeed.
func (s *shop) done(id string, action order.Action) order.Order {
	s.t.Helper()
	o, err := s.act(id, action)
	s.NoError(err)
	return o
}

// cancel cancels an order of the shop.
func (s *shop) cancel(id string) (order.Order, []order.Counters) {
	s.t.Helper()
	return s.cancelBy(order.Cancel, id)
}

// void cancels an order of the shop, or its ID if there is none.
func (s *shop) void(id string) (order.Order, []order.Counters) {
	s.t.Helper()
	return s.cancelBy(order.Void, id)
}

func (s *shop) cancelBy(action order.Action, id string) (order.Order, []order.Counters) {
	s.t.Helper()
	answers, counters := s.change(order.Change{ID: s.id(id), Action: action})
	s.NoError(answers[0].Err)
	return answers[0].Order, stills(counters)
}

// expire lets the hold of an order of the shop run out, and makes it expired.
func (s *shop) expire(o order.Order) order.Order {
	s.t.Helper()
	s.past(o.Lines[0].SKU, o.ExpiresAt)
	answers, _ := s.change(order.Change{ID: o.ID, Action: order.Expire})
	s.NoError(answers[0].Err)
	s.Equal(order.Expired, answers[0].Order.Status)
	return answers[0].Order
}

// adjust changes a capacity, under an ID that is new.
func (s *shop) adjust(sku string, kind order.AdjustmentKind, units int64) order.Counters {
	s.t.Helper()
	c, err := s.store.Adjust(s.ctx, order.Adjustment{ID: s.fresh("adjust"), SKU: sku, Kind: kind, Units: units})
	s.NoError(err)
	s.Equal(sku, c.SKU)
	return still(c)
}

// fresh is an ID that was not used before.
func (s *shop) fresh(name string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seq++
	return fmt.Sprint(s.name, name, s.seq)
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
	s.True(want.ExpiresAt.Equal(got.ExpiresAt), "expires at")
	want.CreatedAt, want.ChangedAt, want.ExpiresAt = got.CreatedAt, got.ChangedAt, got.ExpiresAt
	s.Equal(want, got)
}
