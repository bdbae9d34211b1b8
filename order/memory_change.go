package order

import (
	"cmp"
	"context"
	"slices"
	"time"
)

// Change implements Store.
func (m *Memory) Change(ctx context.Context, changes []Change) ([]Changed, []Counters, error) {
	if err := checkChanges(changes); err != nil {
		return nil, nil, err
	}
	if err := m.enter(ctx); err != nil {
		return nil, nil, err
	}
	defer m.mu.Unlock()
	answers := make([]Changed, len(changes))
	moved := make(map[string]bool) // SKUs whose allocation changed
	var skus []string
	for i, c := range changes {
		r := m.orders[c.ID]
		if r == nil && c.Action == Void {
			r = m.tombstone(c.ID)
		}
		if r == nil {
			answers[i].Err = &OrderError{c.ID, ErrNotFound}
			continue
		}
		answers[i].Err = m.act(r, c, moved)
		answers[i].Order = r.copy()
		for _, unit := range r.Units() {
			skus = append(skus, unit.SKU)
		}
	}
	m.newVersions(moved)
	return answers, m.countersOf(skus), nil
}

// tombstone makes an order that was cancelled before it was booked.
func (m *Memory) tombstone(id string) *record {
	now := clock()
	m.last++
	r := &record{number: m.last, Order: Order{ID: id, Lines: []Line{}, CreatedAt: now}}
	m.become(r, Cancelled, now)
	m.orders[id] = r
	return r
}

// act does to an order what is asked for, or says why not. It notes the SKUs
// whose allocation it changes.
func (m *Memory) act(r *record, c Change, moved map[string]bool) error {
	now := clock()
	over := !now.Before(r.ExpiresAt) // of a held order
	switch c.Action {
	case Confirm, ConfirmLate:
		if err := m.ended(r); err != nil || r.Status == Confirmed {
			return err
		}
		if over && c.Action == Confirm {
			return m.holdExpired(r)
		}
		m.confirm(r, now)
	case Cancel, Void:
		if r.Status.Live() {
			m.end(r, Cancelled, MovedCancelled, now, moved)
		} else if r.Status == Expired {
			m.become(r, Cancelled, now) // its units are back already
		}
	case Expire:
		if r.Status == Held && !now.Before(r.ExpiresAt.Add(c.Hold)) {
			m.end(r, Expired, MovedExpired, now, moved)
		}
	case Extend:
		if err := m.ended(r); err != nil || r.Status == Confirmed {
			return err
		}
		if over {
			return m.holdExpired(r)
		}
		if until := microsecond(now.Add(c.Hold)); until.After(r.ExpiresAt) {
			r.ExpiresAt = until
			m.due[r.ID] = until
		}
	case Reclaim:
		return m.reclaim(r, now, moved)
	case Count: // nothing here runs in somebody's own transaction
	}
	return nil
}

// ended is why nothing more can be done with an order that has ended; nil if it
// is live.
func (m *Memory) ended(r *record) error {
	switch r.Status {
	case Cancelled:
		return &OrderError{r.ID, ErrCancelled}
	case Expired:
		return m.holdExpired(r)
	default:
		return nil
	}
}

func (m *Memory) holdExpired(r *record) error {
	var counters []Counters
	for _, unit := range r.Units() {
		counters = append(counters, m.skus[unit.SKU].Counters)
	}
	return NewHoldExpiredError(r.Order, counters)
}

func (m *Memory) confirm(r *record, now time.Time) {
	m.become(r, Confirmed, now)
	for _, unit := range r.Units() {
		m.move(m.skus[unit.SKU], Movement{Kind: MovedConfirmed, Quantity: unit.Quantity, OrderID: r.ID, At: now})
	}
}

// end gives the units of a live order back.
func (m *Memory) end(r *record, status Status, kind MovementKind, now time.Time, moved map[string]bool) {
	m.become(r, status, now)
	m.allocate(r, kind, -1)
	for _, unit := range r.Units() {
		moved[unit.SKU] = true
	}
}

func (m *Memory) reclaim(r *record, now time.Time, moved map[string]bool) error {
	switch r.Status {
	case Held:
		m.confirm(r, now)
		return nil
	case Cancelled:
		return &OrderError{r.ID, ErrCancelled}
	case Confirmed:
		return nil
	}
	units := r.Units()
	if len(units) == 0 {
		return &OrderError{r.ID, ErrPurged}
	}
	for i, unit := range units {
		if m.skus[unit.SKU].Retired() {
			return &SKUError{unit.SKU, ErrRetired}
		}
		if err := m.beyondLimit(r.Customer, unit); err != nil {
			return err
		}
		if m.skus[unit.SKU].Left() < unit.Quantity {
			return m.short(units, i)
		}
	}
	m.become(r, Confirmed, now)
	m.allocate(r, MovedReclaimed, 1)
	for _, unit := range r.Units() {
		moved[unit.SKU] = true
	}
	return nil
}

// become gives an order a status. What is counted is always the same here.
func (m *Memory) become(r *record, status Status, now time.Time) {
	r.Status, r.counted, r.ChangedAt = status, status, now
	if status == Held {
		m.due[r.ID] = r.ExpiresAt
	} else {
		delete(m.due, r.ID)
	}
}

// allocate takes the units of an order, or gives them back with the sign -1.
func (m *Memory) allocate(r *record, kind MovementKind, sign int64) {
	for _, unit := range r.Units() {
		s, of := m.skus[unit.SKU], share{r.Customer, unit.SKU}
		before := s.Left()
		s.Allocated += sign * unit.Quantity
		s.came(before)
		if m.has[of] += sign * unit.Quantity; m.has[of] == 0 {
			delete(m.has, of)
		}
		m.move(s, Movement{Kind: kind, Quantity: sign * unit.Quantity, OrderID: r.ID, At: r.ChangedAt})
	}
}

// Due implements Store.
func (m *Memory) Due(ctx context.Context, again time.Duration, limit int) ([]Order, error) {
	if err := checkDue(again, limit); err != nil {
		return nil, err
	}
	if err := m.enter(ctx); err != nil {
		return nil, err
	}
	defer m.mu.Unlock()
	now := clock()
	var records []*record
	for id, at := range m.due {
		if !at.After(now) {
			records = append(records, m.orders[id])
		}
	}
	slices.SortFunc(records, func(a, b *record) int {
		return cmp.Or(m.due[a.ID].Compare(m.due[b.ID]), cmp.Compare(a.number, b.number))
	})
	var orders []Order
	for _, r := range records[:min(limit, len(records))] {
		m.due[r.ID] = microsecond(now.Add(again))
		orders = append(orders, r.copy())
	}
	return orders, nil
}

// Uncounted implements Store. Nothing here runs in somebody's own transaction.
func (m *Memory) Uncounted(ctx context.Context, _ string, limit int) ([]string, error) {
	if err := checkLimit(limit); err != nil {
		return nil, err
	}
	if err := m.enter(ctx); err != nil {
		return nil, err
	}
	defer m.mu.Unlock()
	return nil, nil
}
