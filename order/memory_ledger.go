package order

import (
	"context"
	"slices"

	"github.com/lastunit/lastunit/inventory"
)

// move writes a movement of a SKU, under its next number.
func (m *Memory) move(s *memorySKU, movement Movement) {
	if !m.ledger {
		return
	}
	s.moved = append(s.moved, len(m.movements))
	p := partitionOf(s.SKU)
	m.feed[p] = append(m.feed[p], len(m.movements))
	movement.SKU, movement.Number = s.SKU, int64(len(s.moved))
	m.movements = append(m.movements, movement)
}

// moved adds up the movements of a SKU.
func (m *Memory) moved(s *memorySKU) (capacity, allocated int64) {
	for _, i := range s.moved {
		switch movement := m.movements[i]; movement.Kind {
		case MovedOnSale, MovedCapacity, MovedRestock, MovedWriteOff:
			capacity += movement.Quantity
		case MovedHeld, MovedBooked, MovedReclaimed, MovedCancelled, MovedExpired, MovedRecounted:
			allocated += movement.Quantity
		case MovedConfirmed:
		}
	}
	return capacity, allocated
}

// setRight writes what makes the sums of a SKU's movements its counters.
func (m *Memory) setRight(s *memorySKU, reason string) {
	capacity, allocated := m.moved(s)
	now := clock()
	if by := s.Capacity - capacity; by != 0 {
		m.move(s, Movement{Kind: MovedCapacity, Quantity: by, Reason: reason, At: now})
	}
	if by := s.Allocated - allocated; by != 0 {
		m.move(s, Movement{Kind: MovedRecounted, Quantity: by, Reason: reason, At: now})
	}
}

// SetLedger implements Store.
func (m *Memory) SetLedger(ctx context.Context, on bool) error {
	if err := m.enter(ctx); err != nil {
		return err
	}
	defer m.mu.Unlock()
	m.ledger = on
	for _, s := range m.skus {
		if on {
			m.setRight(s, "ledger switched on")
		} else {
			s.Recorded = false
		}
	}
	return nil
}

// Recount implements Store.
func (m *Memory) Recount(ctx context.Context, sku string) (Counters, error) {
	return m.alter(ctx, sku, func(s *memorySKU) {
		var live int64
		for _, r := range m.orders {
			for _, unit := range r.Units() {
				if r.counted.Live() && unit.SKU == sku {
					live += unit.Quantity
				}
			}
		}
		if live != s.Allocated {
			before := s.Left()
			s.Allocated = live
			s.came(before)
			s.Version++
		}
		m.setRight(s, "recounted")
	})
}

// Movements implements Store.
func (m *Memory) Movements(ctx context.Context, sku string, after int64, limit int) ([]Movement, error) {
	if err := inventory.CheckID("sku", sku); err != nil {
		return nil, err
	}
	if err := checkMovements(after, limit); err != nil {
		return nil, err
	}
	if err := m.enter(ctx); err != nil {
		return nil, err
	}
	defer m.mu.Unlock()
	s := m.skus[sku]
	if s == nil || after >= int64(len(s.moved)) {
		return nil, nil
	}
	var movements []Movement
	for _, i := range s.moved[after:min(after+int64(limit), int64(len(s.moved)))] {
		movements = append(movements, m.movements[i])
	}
	return movements, nil
}

// Feed implements Store. The oldest movements come first.
func (m *Memory) Feed(ctx context.Context, after Cursor, limit int) ([]Movement, Cursor, error) {
	if err := after.check(); err != nil {
		return nil, Cursor{}, err
	}
	if err := checkMovements(0, limit); err != nil {
		return nil, Cursor{}, err
	}
	if err := m.enter(ctx); err != nil {
		return nil, Cursor{}, err
	}
	defer m.mu.Unlock()
	if err := m.checkCursor(after); err != nil {
		return nil, Cursor{}, err
	}
	next := after
	next.Store = m.id
	var news []int // indexes into m.movements
	for p, moved := range m.feed {
		from := after.Positions[p]
		news = append(news, moved[from:min(from+int64(limit), int64(len(moved)))]...)
	}
	slices.Sort(news)
	movements := make([]Movement, min(limit, len(news)))
	for n := range movements {
		movements[n] = m.movements[news[n]]
		next.Positions[partitionOf(movements[n].SKU)]++
	}
	return movements, next, nil
}

// checkCursor is the CursorError of a cursor that is none of this feed.
func (m *Memory) checkCursor(c Cursor) error {
	if c.Store != "" && c.Store != m.id {
		return &CursorError{Store: m.id, Of: c.Store}
	}
	for p, moved := range m.feed {
		if end := int64(len(moved)); c.Positions[p] > end {
			return &CursorError{Store: m.id, Of: c.Store, Partition: p, Position: c.Positions[p], End: end}
		}
	}
	return nil
}
