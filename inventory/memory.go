package inventory

import (
	"context"
	"sync"
	"time"
)

// Memory is an InventoryRepository in this process, for tests and examples. It
// decides what Redis decides, by the clock of time.Now in whole milliseconds, and
// keeps nothing beyond the process. It has no goroutines and no connections, so
// that it works inside a bubble of testing/synctest. Make one with NewMemory.
type Memory struct {
	mu     sync.Mutex
	skus   map[string]*counters
	canary memoryCanary
}

var _ InventoryRepository = (*Memory)(nil)

// NewMemory makes an empty repository.
func NewMemory() *Memory { return &Memory{skus: make(map[string]*counters)} }

// Load implements InventoryRepository.
func (m *Memory) Load(ctx context.Context, supplies ...Supply) error {
	if err := checkLoad(supplies); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, supply := range supplies {
		if err := ctx.Err(); err != nil {
			return unavailable("load", supply.SKU, err)
		}
		if c, err := m.counters(supply.SKU, supply.Store); err == nil && c.Epoch >= supply.Epoch && c.Epoch != supply.Replaces {
			continue
		}
		made := newCounters(supply)
		if c, err := m.counters(supply.SKU, supply.Store); err == nil {
			made.adopt(c)
			if c.Available() > 0 { // nobody was told that it is sold out
				made.reopened = time.Time{}
			}
		}
		m.skus[supply.SKU] = made
	}
	return nil
}

// Push implements InventoryRepository.
func (m *Memory) Push(ctx context.Context, supply Supply) error { return m.Settle(ctx, supply) }

// Deduct implements InventoryRepository.
func (m *Memory) Deduct(ctx context.Context, request Request) (Deduction, error) {
	if err := request.check(); err != nil {
		return Deduction{}, err
	}
	if err := ctx.Err(); err != nil {
		return Deduction{}, unavailable("deduct", request.SKU, err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	c, err := m.counters(request.SKU, request.Store)
	if err != nil {
		return Deduction{}, err
	}
	return c.deduct(request, wholeMilliseconds(time.Now()))
}

// Accept implements InventoryRepository.
func (m *Memory) Accept(ctx context.Context, accepted string, deductions ...Deduction) (Acceptance, error) {
	if err := checkAccept(accepted, deductions); err != nil {
		return Acceptance{}, err
	}
	if err := ctx.Err(); err != nil {
		return Acceptance{}, unavailable("accept", deductions[0].SKU, err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	answer := Acceptance{Keeping: make([]Keeping, len(deductions))}
	for i, d := range deductions {
		c, err := m.counters(d.SKU, d.Store)
		if err != nil {
			continue // it is gone with the counters
		}
		if answer.Keeping[i], err = c.keep(accepted, d); err != nil {
			return Acceptance{}, err
		}
	}
	return answer, nil
}

// Settle implements InventoryRepository.
func (m *Memory) Settle(ctx context.Context, supply Supply, deductions ...Deduction) error {
	if err := checkSettle(supply, deductions); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return unavailable("settle", supply.SKU, err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	c, err := m.counters(supply.SKU, supply.Store)
	switch {
	case err != nil:
		return err
	case c.Epoch > supply.Epoch:
		return nil
	case c.Epoch < supply.Epoch:
		return &NotLoadedError{supply.SKU, WhyBehind}
	}
	for _, d := range deductions {
		c.drop(d)
	}
	if supply.Version > c.Version {
		c.supply(supply)
	}
	if c.Taken < supply.Admitted {
		return &NotLoadedError{supply.SKU, WhyLost}
	}
	return nil
}

// Restore implements InventoryRepository.
func (m *Memory) Restore(ctx context.Context, deductions ...Deduction) error {
	if err := checkRestore(deductions); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, d := range deductions {
		if err := ctx.Err(); err != nil {
			return unavailable("restore", d.SKU, err)
		}
		// Counters that were lost took the deductions with them.
		if c, err := m.counters(d.SKU, d.Store); err == nil {
			if d.Accepted == "" && c.records[d.Attempt].Accepted != "" {
				continue
			}
			c.Taken -= c.drop(d)
		}
	}
	return nil
}

// Unsettled implements InventoryRepository.
func (m *Memory) Unsettled(ctx context.Context, store, sku string, age time.Duration, limit int) ([]Deduction, error) {
	if err := checkUnsettled(store, sku, age, limit); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, unavailable("list unsettled", sku, err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	c, err := m.counters(sku, store)
	if err != nil {
		return nil, err
	}
	now := wholeMilliseconds(time.Now())
	var found []Deduction
	for _, r := range c.records {
		// What is from the future counts as old: the clock was set back.
		if now.Sub(r.At) >= age.Truncate(time.Millisecond) || r.At.After(now.Add(time.Second)) {
			if found = append(found, r.Deduction); len(found) == limit {
				break
			}
		}
	}
	return found, nil
}

// Remove implements InventoryRepository.
func (m *Memory) Remove(ctx context.Context, store, sku string, epoch int64) (accepted int64, _ error) {
	if err := checkRemove(store, sku, epoch); err != nil {
		return 0, err
	}
	if err := ctx.Err(); err != nil {
		return 0, unavailable("remove", sku, err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	c, err := m.counters(sku, store)
	if err != nil || c.Epoch > epoch {
		return 0, nil // nothing of ours, or what must stay
	}
	for _, r := range c.records {
		if r.Accepted != "" {
			accepted++
		}
	}
	if accepted == 0 {
		delete(m.skus, sku)
	}
	return accepted, nil
}

// Stock implements InventoryRepository.
func (m *Memory) Stock(ctx context.Context, skus ...string) ([]Stock, error) {
	if err := checkStock(skus); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	stocks := make([]Stock, len(skus))
	for i, sku := range skus {
		if err := ctx.Err(); err != nil {
			return nil, unavailable("read stock of", sku, err)
		}
		if c, ok := m.skus[sku]; ok {
			stocks[i] = c.Stock
		} else {
			stocks[i] = Stock{SKU: sku, Why: WhyMissing}
		}
	}
	return stocks, nil
}

// counters are those of a SKU, unless they are missing or of another store.
func (m *Memory) counters(sku, store string) (*counters, error) {
	c, ok := m.skus[sku]
	if !ok {
		return nil, &NotLoadedError{sku, WhyMissing}
	}
	if c.Store != store {
		return nil, &NotLoadedError{sku, WhyForeign}
	}
	return c, nil
}

// wholeMilliseconds is what a Redis would keep of a time, by the wall clock.
func wholeMilliseconds(at time.Time) time.Time { return time.UnixMilli(at.UnixMilli()) }
