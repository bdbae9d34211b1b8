package order

import (
	"context"
	"time"

	"github.com/lastunit/lastunit/inventory"
)

// PutOnSale implements Store.
func (m *Memory) PutOnSale(ctx context.Context, items ...Item) ([]Counters, []bool, error) {
	if err := checkItems(items); err != nil {
		return nil, nil, err
	}
	if err := m.enter(ctx); err != nil {
		return nil, nil, err
	}
	defer m.mu.Unlock()
	known := make(map[string][]Line)
	for _, item := range items {
		for _, draw := range item.Draws {
			if s := m.skus[draw.SKU]; s != nil {
				known[draw.SKU] = s.Draws
			}
		}
		if s := m.skus[item.SKU]; s != nil {
			known[item.SKU] = s.Draws
		}
	}
	retired := func(sku string) bool { s := m.skus[sku]; return s != nil && s.Retired() }
	if err := checkRetired(items, retired, known); err != nil {
		return nil, nil, err
	}
	draws, err := pools(items, known)
	if err != nil {
		return nil, nil, err
	}

	// All are looked at before the first is made: all or none.
	for _, item := range items {
		if s := m.skus[item.SKU]; s != nil {
			if err := item.differs(s.Counters, draws[item.SKU]); err != nil {
				return nil, nil, err
			}
		}
	}
	counters, made := make([]Counters, len(items)), make([]bool, len(items))
	for i, item := range items {
		s := m.skus[item.SKU]
		if s == nil {
			made[i] = true
			s = &memorySKU{Counters: Counters{
				SKU: item.SKU, Store: m.id, Capacity: item.Capacity, Epoch: nextEpoch(0), Version: 1, Recorded: m.ledger,
				Terms: item.Terms(), Draws: draws[item.SKU], PoolOnly: item.PoolOnly,
			}}
			m.skus[item.SKU] = s
			m.move(s, Movement{Kind: MovedOnSale, Quantity: item.Capacity, At: clock()})
		}
		counters[i] = s.read()
	}
	return counters, made, nil
}

func nextEpoch(epoch int64) int64 { return max(epoch+1, time.Now().UnixMilli()) }

// alter changes a SKU.
func (m *Memory) alter(ctx context.Context, sku string, change func(*memorySKU)) (Counters, error) {
	if err := inventory.CheckID("sku", sku); err != nil {
		return Counters{}, err
	}
	if err := m.enter(ctx); err != nil {
		return Counters{}, err
	}
	defer m.mu.Unlock()
	s := m.skus[sku]
	if s == nil {
		return Counters{}, &SKUError{sku, ErrUnknownSKU}
	}
	change(s)
	return s.read(), nil
}

// setTerms makes the terms what they shall be. Only if that changes something,
// it is a new version.
func (m *Memory) setTerms(ctx context.Context, sku string, change func(*memorySKU, *inventory.Terms)) (Counters, error) {
	return m.alter(ctx, sku, func(s *memorySKU) {
		terms := s.Terms
		change(s, &terms)
		if terms != s.Terms {
			s.Terms = terms
			s.Version++
		}
	})
}

// SetLimit implements Store.
func (m *Memory) SetLimit(ctx context.Context, sku string, limit int64) (Counters, error) {
	if err := checkCustomerLimit(limit); err != nil {
		return Counters{}, err
	}
	return m.setTerms(ctx, sku, func(_ *memorySKU, t *inventory.Terms) { t.CustomerLimit = limit })
}

// SetWindow implements Store.
func (m *Memory) SetWindow(ctx context.Context, sku string, opensAt, closesAt time.Time) (Counters, error) {
	item := Item{SKU: sku, OpensAt: opensAt, ClosesAt: closesAt}
	if err := item.Check(); err != nil {
		return Counters{}, err
	}
	terms := item.Terms()
	return m.setTerms(ctx, sku, func(_ *memorySKU, t *inventory.Terms) { t.OpensAt, t.ClosesAt = terms.OpensAt, terms.ClosesAt })
}

// SetPaused implements Store.
func (m *Memory) SetPaused(ctx context.Context, sku string, paused bool) (Counters, error) {
	c, err := m.setTerms(ctx, sku, func(s *memorySKU, t *inventory.Terms) { t.Paused = paused || s.Retired() })
	if err == nil && c.Retired() && !paused {
		return Counters{}, &SKUError{sku, ErrRetired}
	}
	return c, err
}

// movedBy is what a kind of adjustment is in the ledger.
var movedBy = map[AdjustmentKind]MovementKind{SetCapacity: MovedCapacity, Restock: MovedRestock, WriteOff: MovedWriteOff}

// Adjust implements Store.
func (m *Memory) Adjust(ctx context.Context, adjustment Adjustment) (Counters, error) {
	if err := adjustment.Check(); err != nil {
		return Counters{}, err
	}
	if err := m.enter(ctx); err != nil {
		return Counters{}, err
	}
	defer m.mu.Unlock()
	s := m.skus[adjustment.SKU]
	if s == nil {
		return Counters{}, &SKUError{adjustment.SKU, ErrUnknownSKU}
	}
	if done, ok := m.adjustments[adjustment.ID]; ok {
		if done != adjustment {
			return Counters{}, &AdjustmentError{adjustment.ID, ErrIdempotencyConflict}
		}
		if adjustment.Kind == SetCapacity && s.Capacity != adjustment.Units {
			return Counters{}, &AdjustmentError{adjustment.ID, ErrSuperseded}
		}
		return s.read(), nil
	}
	if err := adjustment.checkAdjusted(s.Capacity); err != nil {
		return Counters{}, err
	}
	m.adjustments[adjustment.ID] = adjustment
	if by := adjustment.adjusted(s.Capacity) - s.Capacity; by != 0 {
		before := s.Left()
		s.Capacity += by
		s.came(before)
		s.Version++
		m.move(s, Movement{
			Kind: movedBy[adjustment.Kind], Quantity: by, Reference: adjustment.Reference, Reason: adjustment.Reason, At: clock(),
		})
	}
	return s.read(), nil
}

// maxFollowed is above all epochs that BeginEpoch begins another one above: see
// begin_epoch in the migrations.
const maxFollowed = 1 << 51

// BeginEpoch implements Store.
func (m *Memory) BeginEpoch(ctx context.Context, sku string, seen int64) (_ Counters, begun bool, _ error) {
	c, err := m.alter(ctx, sku, func(s *memorySKU) {
		follows := s.Epoch == seen || s.Epoch < seen && seen < maxFollowed
		if begun = follows && !s.Retired(); begun {
			m.beginEpoch(s, seen)
		}
	})
	return c, begun, err
}

// beginEpoch begins an epoch above the one that was seen.
func (m *Memory) beginEpoch(s *memorySKU, seen int64) {
	s.Epoch = nextEpoch(seen)
	s.Version++
	s.Admitted, s.TopSeq = 0, 0
	for f := range m.fences {
		if f.sku == s.SKU {
			delete(m.fences, f)
		}
	}
}
