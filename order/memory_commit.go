package order

import (
	"context"
	"slices"
	"time"

	"github.com/lastunit/lastunit/inventory"
)

// Commit implements Store.
func (m *Memory) Commit(ctx context.Context, commits []Commit) ([]Outcome, []Counters, error) {
	if err := checkCommits(commits); err != nil {
		return nil, nil, err
	}
	if err := m.enter(ctx); err != nil {
		return nil, nil, err
	}
	defer m.mu.Unlock()
	now := clock()
	outcomes := make([]Outcome, len(commits))
	shrunk := make(map[string]bool)
	for i, c := range commits {
		outcomes[i] = m.decide(c, now)
		if outcomes[i].Verdict == VerdictBooked {
			m.insert(c, now, &outcomes[i], shrunk)
		}
	}
	m.newVersions(shrunk)
	return outcomes, m.countersOf(skusOf(commits)), nil
}

// newVersions is for SKUs whose supply was changed, once however often.
func (m *Memory) newVersions(skus map[string]bool) {
	for sku := range skus {
		m.skus[sku].Version++
	}
}

// decide says what becomes of one order. It changes nothing.
func (m *Memory) decide(c Commit, now time.Time) Outcome {
	if r := m.orders[c.Order.ID]; r != nil {
		return r.answer(c, digest(m.key, c))
	}
	outcome := Outcome{Consumed: make([]bool, len(c.Deductions)), Again: make([]bool, len(c.Deductions))}
	units := c.Order.Units()
	refused := func(verdict Verdict, unit int, err error) Outcome {
		outcome.Verdict, outcome.Unit, outcome.Err = verdict, unit, err
		return outcome
	}
	for i, unit := range units {
		if m.skus[unit.SKU] == nil {
			return refused(VerdictUnknown, i, nil)
		}
	}
	// What is dead goes before a refusal: who is refused gives everything back,
	// who is told Again only what is dead.
	wrong := !m.drawsRight(c.Order)
	for i, unit := range units {
		if len(c.Deductions) > 0 {
			id := c.identity(i)
			outcome.Again[i] = id != (inventory.Identity{}) && (wrong || m.dead(unit.SKU, id))
		}
	}
	if wrong || slices.Contains(outcome.Again, true) {
		return refused(VerdictAgain, 0, nil)
	}
	for i, unit := range units {
		s := m.skus[unit.SKU]
		if s.Retired() {
			return refused(VerdictClosed, i, &SKUError{unit.SKU, ErrRetired})
		}
		if err := s.Terms.At(unit.SKU, now); err != nil {
			return refused(VerdictClosed, i, err)
		}
		if err := m.beyondLimit(c.Order.Customer, unit); err != nil {
			return refused(VerdictLimited, i, err)
		}
		if left := s.Left(); left < unit.Quantity {
			outcome.Left = max(0, left)
			return refused(VerdictFull, i, m.short(units, i))
		}
		if wait := s.reopens.Sub(now); wait > 0 && wait <= Reopening {
			outcome.Wait = wait
			return refused(VerdictReopening, i, nil)
		}
	}
	return refused(VerdictBooked, 0, nil)
}

// short is the error of units of which one falls short.
func (m *Memory) short(units []Line, refused int) error {
	counters := make([]Counters, len(units))
	for i, unit := range units {
		counters[i] = m.skus[unit.SKU].Counters
	}
	return NewStockError(units, refused, counters[refused].Left(), counters)
}

// drawsRight says whether the order takes of pools what its SKUs draw, and nothing
// of those that can only be drawn on.
func (m *Memory) drawsRight(o Order) bool {
	if slices.ContainsFunc(o.Lines, func(line Line) bool { return m.skus[line.SKU].PoolOnly }) {
		return false
	}
	draws, err := DrawsOf(o.Lines, func(sku string) []Line { return m.skus[sku].Draws })
	return err == nil && slices.Equal(draws, o.Draws)
}

// dead says whether a deduction must not be consumed.
func (m *Memory) dead(sku string, id inventory.Identity) bool {
	return id.Epoch != m.skus[sku].Epoch || m.fences[fence{sku, id}]
}

// beyondLimit is a *inventory.LimitError if the customer can't have so much more.
func (m *Memory) beyondLimit(customer string, unit Line) error {
	limit, used := m.skus[unit.SKU].CustomerLimit, m.has[share{customer, unit.SKU}]
	if limit == 0 || used+unit.Quantity <= limit {
		return nil
	}
	return &inventory.LimitError{SKU: unit.SKU, Limit: limit, Requested: unit.Quantity, Used: used}
}

// insert stores an order that was found good. It notes the SKUs whose supply it
// shrinks.
func (m *Memory) insert(c Commit, now time.Time, outcome *Outcome, shrunk map[string]bool) {
	m.last++
	r := &record{number: m.last, digest: digest(m.key, c), Order: Order{
		ID: c.Order.ID, Customer: c.Order.Customer, Lines: slices.Clone(c.Order.Lines), CreatedAt: now,
	}}
	if len(c.Order.Draws) > 0 {
		r.Draws = slices.Clone(c.Order.Draws)
	}
	kind := MovedBooked
	if c.Hold > 0 {
		kind = MovedHeld
		r.ExpiresAt = microsecond(now.Add(c.Hold))
	}
	m.become(r, c.status(), now)
	m.allocate(r, kind, 1)
	for i, unit := range r.Units() {
		id := c.identity(i)
		if id == (inventory.Identity{}) {
			shrunk[unit.SKU] = true
			continue
		}
		s := m.skus[unit.SKU]
		s.Admitted += unit.Quantity
		s.TopSeq = max(s.TopSeq, id.Seq)
		r.consumed = append(r.consumed, consumption{i, id})
		outcome.Consumed[i] = true
	}
	m.orders[r.ID] = r
	outcome.Order = r.copy()
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
		outcomes[i].Consumed = make([]bool, len(c.Deductions))
		if r := m.orders[c.Order.ID]; r != nil {
			outcomes[i] = r.answer(c, digest(m.key, c))
		}
		outcomes[i].Used = m.used(c.Order)
	}
	return outcomes, m.countersOf(skusOf(commits)), nil
}

// used is what the customer has of each unit with a limit; nil if none has one.
func (m *Memory) used(o Order) (used []int64) {
	units := o.Units()
	for i, unit := range units {
		if s := m.skus[unit.SKU]; s != nil && s.CustomerLimit > 0 {
			if used == nil {
				used = make([]int64, len(units))
			}
			used[i] = m.has[share{o.Customer, unit.SKU}]
		}
	}
	return used
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
		} else if s := m.skus[d.SKU]; s != nil && s.Epoch == d.Epoch {
			m.fences[fence{d.SKU, d.Identity()}] = true
		}
	}
	return consumed, m.countersOf(skus), nil
}
