package order

import (
	"cmp"
	"context"
	"slices"
	"time"
)

// Retire implements Store.
func (m *Memory) Retire(ctx context.Context, sku string) (Counters, error) {
	return m.alter(ctx, sku, func(s *memorySKU) {
		if s.Retired() {
			return
		}
		s.RetiredAt, s.Paused = clock(), true
		m.beginEpoch(s, s.Epoch)
	})
}

// Removed implements Store.
func (m *Memory) Removed(ctx context.Context, skus ...string) error {
	if err := checkSKUs(skus); err != nil {
		return err
	}
	if err := m.enter(ctx); err != nil {
		return err
	}
	defer m.mu.Unlock()
	for _, sku := range skus {
		if s := m.skus[sku]; s != nil && s.Retired() {
			s.removed = true
		}
	}
	return nil
}

// Purge implements Store. It looks at every order.
func (m *Memory) Purge(ctx context.Context, before time.Time, limit int) (int, error) {
	if err := checkPurge(limit); err != nil {
		return 0, err
	}
	if err := m.enter(ctx); err != nil {
		return 0, err
	}
	defer m.mu.Unlock()
	var ended []*record
	for _, r := range m.orders {
		if !r.Status.Live() && len(r.Lines) > 0 && r.ChangedAt.Before(before) {
			ended = append(ended, r)
		}
	}
	slices.SortFunc(ended, func(a, b *record) int {
		return cmp.Or(a.ChangedAt.Compare(b.ChangedAt), cmp.Compare(a.number, b.number))
	})
	ended = ended[:min(limit, len(ended))]
	for _, r := range ended {
		r.Customer, r.Lines, r.Draws, r.consumed = "", []Line{}, nil, nil
	}
	return len(ended), nil
}
