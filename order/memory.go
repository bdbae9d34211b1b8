package order

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/lastunit/lastunit/inventory"
)

// Memory is a Store that behaves as Postgres does and keeps nothing: for
// examples and for tests, in one process. Make one with NewMemory.
type Memory struct {
	id  string
	key []byte

	mu      sync.Mutex
	skus    map[string]*Counters
	orders  map[string]*record
	last    int64 // number of the last order
	fences  map[fence]bool
	claimed [Partitions]time.Time // on the monotonic clock, which is never set
}

type fence struct {
	sku string
	inventory.Identity
}

var _ Store = (*Memory)(nil)

// NewMemory makes an empty store.
func NewMemory() *Memory {
	key := make([]byte, 32)
	rand.Read(key)
	return &Memory{
		id: "memory-" + rand.Text(), key: key,
		skus: make(map[string]*Counters), orders: make(map[string]*record), fences: make(map[fence]bool),
	}
}

// enter begins every method: it locks unless the context has ended.
func (m *Memory) enter(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	m.mu.Lock()
	return nil
}

// PutOnSale implements Store.
func (m *Memory) PutOnSale(ctx context.Context, item Item) (Counters, error) {
	if err := item.Check(); err != nil {
		return Counters{}, err
	}
	if err := m.enter(ctx); err != nil {
		return Counters{}, err
	}
	defer m.mu.Unlock()
	sku := m.skus[item.SKU]
	if sku == nil {
		sku = &Counters{SKU: item.SKU, Store: m.id, Capacity: item.Capacity, Epoch: nextEpoch(0), Version: 1}
		m.skus[item.SKU] = sku
	}
	if sku.Capacity != item.Capacity {
		return Counters{}, &SKUError{item.SKU, ErrAlreadyOnSale}
	}
	return *sku, nil
}

// clock is the time as Postgres would keep it.
func clock() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }

func nextEpoch(epoch int64) int64 { return max(epoch+1, time.Now().UnixMilli()) }

// SetCapacity implements Store.
func (m *Memory) SetCapacity(ctx context.Context, sku string, capacity int64) (Counters, error) {
	if err := (Item{sku, capacity}).Check(); err != nil {
		return Counters{}, err
	}
	return m.change(ctx, sku, func(c *Counters) {
		if c.Capacity != capacity {
			c.Capacity = capacity
			c.Version++
		}
	})
}

func (m *Memory) change(ctx context.Context, sku string, change func(*Counters)) (Counters, error) {
	if err := inventory.CheckID("sku", sku); err != nil {
		return Counters{}, err
	}
	if err := m.enter(ctx); err != nil {
		return Counters{}, err
	}
	defer m.mu.Unlock()
	c := m.skus[sku]
	if c == nil {
		return Counters{}, &SKUError{sku, ErrUnknownSKU}
	}
	change(c)
	return *c, nil
}

// Commit implements Store.
func (m *Memory) Commit(ctx context.Context, commits []Commit) ([]Outcome, []Counters, error) {
	if err := checkCommits(commits); err != nil {
		return nil, nil, err
	}
	if err := m.enter(ctx); err != nil {
		return nil, nil, err
	}
	defer m.mu.Unlock()
	outcomes := make([]Outcome, len(commits))
	for i, c := range commits {
		outcomes[i] = m.decide(c)
	}
	return outcomes, m.countersOf(skusOf(commits)), nil
}

// decide is what commit_orders in 001_core.sql does for one order.
func (m *Memory) decide(c Commit) Outcome {
	sum := digest(m.key, c.Order)
	if r := m.orders[c.Order.ID]; r != nil {
		return r.answer(c, sum)
	}
	outcome := Outcome{Verdict: VerdictBooked, Consumed: make([]bool, len(c.Deductions)), Again: make([]bool, len(c.Deductions))}
	for i, line := range c.Order.Lines {
		sku := m.skus[line.SKU]
		if sku == nil {
			return Outcome{Verdict: VerdictUnknown, Line: i, Consumed: outcome.Consumed}
		}
		if id := c.identity(i); id != (inventory.Identity{}) && (id.Epoch != sku.Epoch || m.fences[fence{line.SKU, id}]) {
			outcome.Verdict = VerdictAgain
			outcome.Again[i] = true
		}
		if outcome.Verdict == VerdictBooked && sku.Allocated+line.Quantity > sku.Capacity {
			outcome.Verdict, outcome.Line, outcome.Left = VerdictFull, i, max(0, sku.Left())
		}
	}
	if outcome.Verdict != VerdictBooked {
		return outcome
	}

	now := clock()
	m.last++
	r := &record{Order: c.Order, number: m.last, digest: sum}
	r.Lines = slices.Clone(c.Order.Lines)
	r.Status, r.CreatedAt, r.ChangedAt = Confirmed, now, now
	for i, line := range c.Order.Lines {
		sku, id := m.skus[line.SKU], c.identity(i)
		sku.Allocated += line.Quantity
		if id == (inventory.Identity{}) {
			sku.Version++
			continue
		}
		sku.Admitted += line.Quantity
		sku.TopSeq = max(sku.TopSeq, id.Seq)
		r.consumed = append(r.consumed, consumption{i, id})
		outcome.Consumed[i] = true
	}
	m.orders[c.Order.ID] = r
	outcome.Order = r.copy()
	return outcome
}

// countersOf are the counters of the SKUs, sorted, each once.
func (m *Memory) countersOf(skus []string) []Counters {
	var counters []Counters
	for _, sku := range slices.Compact(slices.Sorted(slices.Values(skus))) {
		if c := m.skus[sku]; c != nil {
			counters = append(counters, *c)
		}
	}
	return counters
}

// Look implements Store.
func (m *Memory) Look(ctx context.Context, commits []Commit) ([]Outcome, []Counters, error) {
	if err := checkCommits(commits); err != nil {
		return nil, nil, err
	}
	if err := m.enter(ctx); err != nil {
		return nil, nil, err
	}
	defer m.mu.Unlock()
	outcomes := make([]Outcome, len(commits))
	for i, c := range commits {
		if r := m.orders[c.Order.ID]; r != nil {
			outcomes[i] = r.answer(c, digest(m.key, c.Order))
		} else {
			outcomes[i].Consumed = make([]bool, len(c.Deductions))
		}
	}
	return outcomes, m.countersOf(skusOf(commits)), nil
}

// Cancel implements Store.
func (m *Memory) Cancel(ctx context.Context, id string) (Order, []Counters, error) {
	if err := inventory.CheckID("id", id); err != nil {
		return Order{}, nil, err
	}
	if err := m.enter(ctx); err != nil {
		return Order{}, nil, err
	}
	defer m.mu.Unlock()
	r := m.orders[id]
	if r == nil {
		m.last++
		now := clock()
		r = &record{Order: Order{ID: id, Status: Cancelled, Lines: []Line{}, CreatedAt: now, ChangedAt: now}, number: m.last}
		m.orders[id] = r
	}
	var skus []string
	for _, line := range r.Lines {
		skus = append(skus, line.SKU)
		if r.Status.Live() {
			m.skus[line.SKU].Allocated -= line.Quantity
			m.skus[line.SKU].Version++
		}
	}
	if r.Status.Live() {
		r.Status, r.ChangedAt = Cancelled, clock()
	}
	return r.copy(), m.countersOf(skus), nil
}

// Fence implements Store.
func (m *Memory) Fence(ctx context.Context, deductions []inventory.Deduction) ([]bool, []Counters, error) {
	if err := checkFence(deductions); err != nil {
		return nil, nil, err
	}
	if err := m.enter(ctx); err != nil {
		return nil, nil, err
	}
	defer m.mu.Unlock()
	consumed := make([]bool, len(deductions))
	var skus []string
	for i, d := range deductions {
		skus = append(skus, d.SKU)
		if r := m.orders[d.OrderID]; r != nil {
			consumed[i] = r.consumes(d)
		} else if sku := m.skus[d.SKU]; sku != nil && sku.Epoch == d.Epoch {
			m.fences[fence{d.SKU, d.Identity()}] = true
		}
	}
	return consumed, m.countersOf(skus), nil
}

// Order implements Store.
func (m *Memory) Order(ctx context.Context, id string) (Order, error) {
	if err := inventory.CheckID("id", id); err != nil {
		return Order{}, err
	}
	if err := m.enter(ctx); err != nil {
		return Order{}, err
	}
	defer m.mu.Unlock()
	r := m.orders[id]
	if r == nil {
		return Order{}, &OrderError{id, ErrNotFound}
	}
	return r.copy(), nil
}

// Orders implements Store. It looks at every order.
func (m *Memory) Orders(ctx context.Context, query Query) (Page, error) {
	if err := query.check(); err != nil {
		return Page{}, err
	}
	before, _ := query.before()
	if err := m.enter(ctx); err != nil {
		return Page{}, err
	}
	defer m.mu.Unlock()
	var records []record
	for _, r := range m.orders {
		if r.number < before && (query.Status == "" || query.Status == r.Status) {
			records = append(records, record{Order: r.copy(), number: r.number})
		}
	}
	slices.SortFunc(records, func(a, b record) int { return cmp.Compare(b.number, a.number) })
	return query.page(records), nil
}

// Counters implements Store.
func (m *Memory) Counters(ctx context.Context, skus ...string) ([]Counters, error) {
	if err := checkSKUs(skus); err != nil {
		return nil, err
	}
	if err := m.enter(ctx); err != nil {
		return nil, err
	}
	defer m.mu.Unlock()
	return m.countersOf(skus), nil
}

// Scan implements Store.
func (m *Memory) Scan(ctx context.Context, partition int, after string, limit int) ([]Counters, error) {
	if err := checkScan(partition, after, limit); err != nil {
		return nil, err
	}
	if err := m.enter(ctx); err != nil {
		return nil, err
	}
	defer m.mu.Unlock()
	var counters []Counters
	for _, c := range m.skus {
		if c.SKU > after && (partition == AllPartitions || partition == partitionOf(c.SKU)) {
			counters = append(counters, *c)
		}
	}
	slices.SortFunc(counters, func(a, b Counters) int { return strings.Compare(a.SKU, b.SKU) })
	return counters[:min(limit, len(counters))], nil
}

// BeginEpoch implements Store.
func (m *Memory) BeginEpoch(ctx context.Context, sku string, seen int64) (_ Counters, begun bool, _ error) {
	c, err := m.change(ctx, sku, func(c *Counters) {
		if c.Epoch != seen {
			return
		}
		begun = true
		c.Epoch = nextEpoch(c.Epoch)
		c.Version++
		c.Admitted, c.TopSeq = 0, 0
		for f := range m.fences {
			if f.sku == sku {
				delete(m.fences, f)
			}
		}
	})
	return c, begun, err
}

// Claim implements Store.
func (m *Memory) Claim(ctx context.Context, period time.Duration, limit int) ([]int, error) {
	if err := checkClaim(period, limit); err != nil {
		return nil, err
	}
	if err := m.enter(ctx); err != nil {
		return nil, err
	}
	defer m.mu.Unlock()
	now := time.Now()
	var due []int
	for p, claimed := range m.claimed {
		if !claimed.After(now.Add(-period)) {
			due = append(due, p)
		}
	}
	// Those that were left the longest come first, so that a small limit starves nobody.
	slices.SortStableFunc(due, func(a, b int) int { return m.claimed[a].Compare(m.claimed[b]) })
	due = due[:min(limit, len(due))]
	for _, p := range due {
		m.claimed[p] = now
	}
	return due, nil
}

// Tally implements Store.
func (m *Memory) Tally(ctx context.Context, skus ...string) ([]Tally, error) {
	if err := checkSKUs(skus); err != nil {
		return nil, err
	}
	if err := m.enter(ctx); err != nil {
		return nil, err
	}
	defer m.mu.Unlock()
	tallies := make(map[string]*Tally)
	for _, c := range m.skus {
		if len(skus) == 0 || slices.Contains(skus, c.SKU) {
			tallies[c.SKU] = &Tally{Counters: *c}
		}
	}
	for _, r := range m.orders {
		for _, line := range r.Lines {
			tally := tallies[line.SKU]
			switch {
			case tally == nil:
			case r.Status == Held:
				tally.Held += line.Quantity
			case r.Status == Confirmed:
				tally.Confirmed += line.Quantity
			}
		}
	}
	var sorted []Tally
	for _, tally := range tallies {
		sorted = append(sorted, *tally)
	}
	slices.SortFunc(sorted, func(a, b Tally) int { return strings.Compare(a.Counters.SKU, b.Counters.SKU) })
	return sorted, nil
}

// Recount implements Store.
func (m *Memory) Recount(ctx context.Context, sku string) (Counters, error) {
	return m.change(ctx, sku, func(c *Counters) {
		var live int64
		for _, r := range m.orders {
			for _, line := range r.Lines {
				if r.Status.Live() && line.SKU == sku {
					live += line.Quantity
				}
			}
		}
		if live != c.Allocated {
			c.Allocated = live
			c.Version++
		}
	})
}
