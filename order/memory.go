package order

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/lastunit/lastunit/inventory"
)

// Memory is a Store that behaves as Postgres does and keeps nothing: for
// examples and for tests, in one process, also inside a bubble of
// testing/synctest. It is no TxStore. Make one with NewMemory.
type Memory struct {
	id  string
	key []byte

	mu          sync.Mutex
	skus        map[string]*memorySKU
	orders      map[string]*record
	last        int64                // number of the last order
	due         map[string]time.Time // when held orders are due, by their IDs
	has         map[share]int64      // units in live orders of each customer
	adjustments map[string]Adjustment
	fences      map[fence]bool
	ledger      bool              // movements are written
	movements   []Movement        // of all SKUs, in the order in which things happened
	feed        [Partitions][]int // where those of each partition are in movements, by their positions
	claimed     [Partitions]time.Time
	positions   [Partitions]string // see Claimed.After
	inventory   string             // see Pairing
}

// memorySKU is a SKU: its counters, without the moment, and where its movements
// are in Memory.movements, by their numbers.
type memorySKU struct {
	Counters
	moved   []int
	reopens time.Time // see Reopening
	removed bool      // see Store.Removed
}

// came takes note of units that came back, where there were so many left before.
func (s *memorySKU) came(before int64) {
	if before <= 0 && s.Left() > 0 {
		s.reopens = clock().Add(Reopening)
	}
}

// share is what one customer has of a SKU.
type share struct{ customer, sku string }

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
		id: "memory-" + rand.Text(), key: key, ledger: true,
		skus: make(map[string]*memorySKU), orders: make(map[string]*record), due: make(map[string]time.Time),
		has: make(map[share]int64), adjustments: make(map[string]Adjustment), fences: make(map[fence]bool),
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

// clock is the time as Postgres would keep it.
func clock() time.Time { return microsecond(time.Now()) }

// read is a copy of the counters that says when it was made.
func (s *memorySKU) read() Counters {
	c := s.Counters
	c.Draws = slices.Clone(c.Draws)
	c.At = clock()
	return c
}

// countersOf are the counters of the SKUs, sorted, each once.
func (m *Memory) countersOf(skus []string) []Counters {
	var counters []Counters
	for _, sku := range slices.Compact(slices.Sorted(slices.Values(skus))) {
		if s := m.skus[sku]; s != nil {
			counters = append(counters, s.read())
		}
	}
	return counters
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

// Latest implements Store.
func (m *Memory) Latest(ctx context.Context, skus ...string) ([]Counters, error) {
	return m.Counters(ctx, skus...)
}

// Scan implements Store. It looks at every SKU.
func (m *Memory) Scan(ctx context.Context, partition int, after string, limit int) ([]Counters, error) {
	if err := checkScan(partition, after, limit); err != nil {
		return nil, err
	}
	if err := m.enter(ctx); err != nil {
		return nil, err
	}
	defer m.mu.Unlock()
	var skus []string
	for sku, s := range m.skus {
		if !s.removed && sku > after && (partition == AllPartitions || partition == partitionOf(sku)) {
			skus = append(skus, sku)
		}
	}
	slices.Sort(skus)
	return m.countersOf(skus[:min(limit, len(skus))]), nil
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

// Claim implements Store. It looks at every SKU.
func (m *Memory) Claim(ctx context.Context, period time.Duration, limit, slice int) ([]Claimed, error) {
	if err := checkClaim(period, limit, slice); err != nil {
		return nil, err
	}
	if err := m.enter(ctx); err != nil {
		return nil, err
	}
	defer m.mu.Unlock()
	now := time.Now() // on the monotonic clock, which is never set
	var due []int
	for p, claimed := range m.claimed {
		if !claimed.After(now.Add(-period)) {
			due = append(due, p)
		}
	}
	// Those that were left the longest come first, so that a small limit starves nobody.
	slices.SortStableFunc(due, func(a, b int) int { return m.claimed[a].Compare(m.claimed[b]) })
	due = due[:min(limit, len(due))]
	skus := make(map[int][]string, len(due)) // after the position
	for _, p := range due {
		m.claimed[p] = now
		skus[p] = nil
	}
	for sku, s := range m.skus {
		p := partitionOf(sku)
		if after, is := skus[p]; is && !s.removed && sku > m.positions[p] {
			skus[p] = append(after, sku)
		}
	}
	claimed := make([]Claimed, len(due))
	for i, p := range due {
		claimed[i] = Claimed{p, m.positions[p]}
		m.positions[p] = ""
		if after := skus[p]; len(after) > slice {
			slices.Sort(after)
			m.positions[p] = after[slice-1]
		}
	}
	return claimed, nil
}

// Paired implements Store.
func (m *Memory) Paired(ctx context.Context) (Pairing, error) {
	if err := m.enter(ctx); err != nil {
		return Pairing{}, err
	}
	defer m.mu.Unlock()
	return Pairing{m.id, m.inventory}, nil
}

// Pair implements Store.
func (m *Memory) Pair(ctx context.Context, seen, name string) (Pairing, error) {
	if err := inventory.CheckID("inventory", name); err != nil {
		return Pairing{}, err
	}
	if err := m.enter(ctx); err != nil {
		return Pairing{}, err
	}
	defer m.mu.Unlock()
	if m.inventory == seen {
		m.inventory = name
	}
	return Pairing{m.id, m.inventory}, nil
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
	return m.tally(skus), nil
}

// TallyAll implements Store.
func (m *Memory) TallyAll(ctx context.Context) ([]Tally, error) {
	if err := m.enter(ctx); err != nil {
		return nil, err
	}
	defer m.mu.Unlock()
	return m.tally(slices.Collect(maps.Keys(m.skus))), nil
}

func (m *Memory) tally(skus []string) []Tally {
	tallies := make(map[string]*Tally)
	for _, sku := range skus {
		if s := m.skus[sku]; s != nil && tallies[sku] == nil {
			tally := &Tally{Counters: s.read(), Ledger: m.ledger}
			tally.MovedCapacity, tally.MovedAllocated = m.moved(s)
			tallies[sku] = tally
		}
	}
	for _, r := range m.orders {
		for _, unit := range r.Units() {
			tally := tallies[unit.SKU]
			switch {
			case tally == nil:
			case r.Status == Held:
				tally.Held += unit.Quantity
			case r.Status == Confirmed:
				tally.Confirmed += unit.Quantity
			case r.counted.Live():
				tally.Uncounted += unit.Quantity
			}
		}
	}
	var sorted []Tally
	for _, tally := range tallies {
		sorted = append(sorted, *tally)
	}
	slices.SortFunc(sorted, func(a, b Tally) int { return strings.Compare(a.Counters.SKU, b.Counters.SKU) })
	return sorted
}
