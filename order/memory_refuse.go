package order

import (
	"context"
	"slices"
)

// Refuse implements Store.
func (m *Memory) Refuse(ctx context.Context, orders []Order) ([]Outcome, error) {
	if err := checkRefused(orders); err != nil {
		return nil, err
	}
	if err := m.enter(ctx); err != nil {
		return nil, err
	}
	defer m.mu.Unlock()
	outcomes := make([]Outcome, len(orders))
	for i, o := range orders {
		c := Commit{Order: o}
		verdict := VerdictRefused
		if r := m.orders[o.ID]; r != nil {
			verdict = r.answer(c, digest(m.key, c)).Verdict
		} else {
			r := m.tombstone(o.ID)
			r.Customer, r.Lines, r.Refused, r.digest = o.Customer, slices.Clone(o.Lines), o.Refused, digest(m.key, c)
			if len(o.Draws) > 0 {
				r.Draws = slices.Clone(o.Draws)
			}
		}
		outcomes[i] = m.orders[o.ID].answer(c, digest(m.key, c))
		outcomes[i].Verdict = verdict
	}
	return outcomes, nil
}
