package inventory_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/lastunit/lastunit/inventory"
)

// model is the plainest InventoryRepository, written from the comments alone:
// what the scripts and Memory are compared with.
type model struct {
	mu     sync.Mutex
	skus   map[string]*modelStock
	canary inventory.Canary
	looks  map[int]int64
}

type modelStock struct {
	inventory.Stock
	open    map[string]inventory.Deduction // by attempt
	came    time.Time                      // when units came to counters that had none
	counted map[string]string              // the customers of those that count for one, by attempt
}

// reopen ends what is kept of a SKU.
func (m *model) reopen(sku string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if c := m.skus[sku]; c != nil {
		c.came = time.Time{}
	}
}

func newModel() *model { return &model{skus: make(map[string]*modelStock)} }

// usable returns the counters of a SKU, unless they are missing or foreign.
func (m *model) usable(sku, store string) (*modelStock, error) {
	c, ok := m.skus[sku]
	if !ok {
		return nil, &inventory.NotLoadedError{SKU: sku, Why: inventory.WhyMissing}
	}
	if c.Store != store {
		return nil, &inventory.NotLoadedError{SKU: sku, Why: inventory.WhyForeign}
	}
	return c, nil
}

// check returns the first of the errors, or says that the caller is gone.
func check(ctx context.Context, errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	if err := ctx.Err(); err != nil {
		return errors.Join(inventory.ErrUnavailable, err)
	}
	return nil
}

func within(field string, n, low, high int64) error {
	if n < low || n > high {
		return &inventory.InvalidError{Field: field, Reason: fmt.Sprint("is ", n)}
	}
	return nil
}

const highest = 1 << 52

func checkSupply(ctx context.Context, s inventory.Supply) error {
	if s.Replaces != 0 {
		if err := within("replaces", s.Replaces, s.Epoch+1, highest); err != nil {
			return err
		}
	}
	return check(ctx, inventory.CheckID("sku", s.SKU), inventory.CheckID("store", s.Store),
		within("epoch", s.Epoch, 1, highest), within("version", s.Version, 1, highest),
		within("units", s.Units, -highest, highest), within("admitted", s.Admitted, 0, highest),
		within("customer_limit", s.CustomerLimit, 0, inventory.MaxQuantity),
		ofThisEra("opens_at", s.OpensAt), ofThisEra("closes_at", s.ClosesAt), inOrder(s.OpensAt, s.ClosesAt))
}

func ofThisEra(field string, at time.Time) error {
	if at.IsZero() {
		return nil
	}
	if at.Year() < 1970 || at.After(time.UnixMilli(highest)) {
		return &inventory.InvalidError{Field: field, Reason: "is of another era"}
	}
	return nil
}

func inOrder(opens, closes time.Time) error {
	if !opens.IsZero() && !closes.IsZero() && opens.Compare(closes) >= 0 {
		return &inventory.InvalidError{Field: "closes_at", Reason: "is too early"}
	}
	return nil
}

func checkDeductions(ctx context.Context, ds []inventory.Deduction) error {
	for _, d := range ds {
		if err := check(ctx, inventory.CheckID("sku", d.SKU), inventory.CheckID("store", d.Store),
			inventory.CheckID("attempt", d.Attempt),
			within("epoch", d.Epoch, 1, highest), within("seq", d.Seq, 1, highest)); err != nil {
			return err
		}
	}
	return nil
}

func (m *model) Load(ctx context.Context, supplies ...inventory.Supply) error {
	for _, s := range supplies {
		if err := checkSupply(ctx, s); err != nil {
			return err
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range supplies {
		if c, err := m.usable(s.SKU, s.Store); err == nil && c.Epoch >= s.Epoch && c.Epoch != s.Replaces {
			continue
		}
		old, _ := m.usable(s.SKU, s.Store)
		m.skus[s.SKU] = &modelStock{
			Stock:   inventory.Stock{SKU: s.SKU, Store: s.Store, Epoch: s.Epoch, Version: s.Version, Supply: s.Units, Terms: s.Terms},
			open:    make(map[string]inventory.Deduction),
			counted: make(map[string]string),
		}
		if old == nil && s.Version > 2 || old != nil && old.Available() <= 0 {
			m.skus[s.SKU].came = time.Now()
		}
		if old != nil {
			m.skus[s.SKU].carryOver(old)
		}
	}
	return nil
}

// carryOver deducts anew what accepted orders had.
func (c *modelStock) carryOver(old *modelStock) {
	for attempt, d := range old.open {
		if d.Accepted != "" {
			c.Seq++
			d.Epoch, d.Seq = c.Epoch, c.Seq
			c.open[attempt] = d
			c.Taken += d.Quantity
			c.Unsettled += d.Quantity
		}
	}
}

func (m *model) Remove(ctx context.Context, store, sku string, epoch int64) (accepted int64, _ error) {
	var bad error
	if epoch < 1 || epoch > 1<<52 {
		bad = &inventory.InvalidError{Field: "epoch", Reason: "is out of range"}
	}
	if err := check(ctx, inventory.CheckID("store", store), inventory.CheckID("sku", sku), bad); err != nil {
		return 0, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	c, err := m.usable(sku, store)
	if err != nil || c.Epoch > epoch {
		return 0, nil
	}
	for _, d := range c.open {
		if d.Accepted != "" {
			accepted++
		}
	}
	if accepted == 0 {
		delete(m.skus, sku)
	}
	return accepted, nil
}

func (m *model) Accept(ctx context.Context, accepted string, ds ...inventory.Deduction) (inventory.Acceptance, error) {
	if err := check(ctx, within("accepted", int64(len(accepted)), 1, inventory.MaxAccepted),
		within("deductions", int64(len(ds)), 1, highest), checkDeductions(ctx, ds)); err != nil {
		return inventory.Acceptance{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	var answer inventory.Acceptance
	for _, d := range ds {
		keeping := inventory.Gone
		if c, err := m.usable(d.SKU, d.Store); err == nil {
			if on, ok := c.open[d.Attempt]; ok && on.Identity() == d.Identity() {
				if on.Accepted != "" && on.Accepted != accepted {
					return inventory.Acceptance{}, &inventory.InvalidError{Field: "accepted", Reason: "is another"}
				}
				if keeping = inventory.DecideFirst; c.counted[d.Attempt] == "" {
					keeping = inventory.Kept
					on.Accepted = accepted
					c.open[d.Attempt] = on
				}
			}
		}
		answer.Keeping = append(answer.Keeping, keeping)
	}
	return answer, nil
}

// customers is the units in flight that count, by customer.
func (c *modelStock) customers() map[string]int64 {
	sums := make(map[string]int64)
	for attempt, customer := range c.counted {
		sums[customer] += c.open[attempt].Quantity
	}
	return sums
}

// allows says what the terms have against a request.
func (c *modelStock) allows(r inventory.Request) error {
	now := time.Now()
	var why error
	switch opens, closes := c.OpensAt, c.ClosesAt; {
	case c.Paused:
		why = inventory.ErrPaused
	case r.Cleared:
	case opens.After(now):
		why = inventory.ErrNotOpen
	case !closes.IsZero() && !closes.After(now):
		why = inventory.ErrClosed
	}
	if why != nil {
		return &inventory.WindowError{
			SKU: r.SKU, OpensAt: c.OpensAt, ClosesAt: c.ClosesAt, Err: why, Unsettled: c.Unsettled, Epoch: c.Epoch, Version: c.Version,
		}
	}
	if theirs := c.customers()[r.Customer]; c.CustomerLimit > 0 && theirs+r.Quantity > c.CustomerLimit {
		return &inventory.LimitError{
			SKU: r.SKU, Limit: c.CustomerLimit, Requested: r.Quantity, InFlight: theirs, Unsettled: c.Unsettled, Epoch: c.Epoch, Version: c.Version,
		}
	}
	return nil
}

func (m *model) Push(ctx context.Context, s inventory.Supply) error { return m.Settle(ctx, s) }

func (m *model) Deduct(ctx context.Context, r inventory.Request) (inventory.Deduction, error) {
	if err := check(ctx, inventory.CheckID("sku", r.SKU), inventory.CheckID("store", r.Store),
		inventory.CheckID("attempt", r.Attempt), inventory.CheckID("order_id", r.OrderID),
		inventory.CheckID("customer", r.Customer), inventory.CheckQuantity("quantity", r.Quantity),
		within("watermark.epoch", r.Watermark.Epoch, 0, highest), within("watermark.seq", r.Watermark.Seq, 0, highest),
	); err != nil {
		return inventory.Deduction{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	c, err := m.usable(r.SKU, r.Store)
	if err != nil {
		return inventory.Deduction{}, err
	}
	if c.Epoch < r.Watermark.Epoch || c.Epoch == r.Watermark.Epoch && c.Seq < r.Watermark.Seq {
		return inventory.Deduction{}, &inventory.NotLoadedError{SKU: r.SKU, Why: inventory.WhyBehind}
	}
	if d, ok := c.open[r.Attempt]; ok {
		customer, counted := c.counted[r.Attempt]
		if d.OrderID != r.OrderID || d.Quantity != r.Quantity || counted && customer != r.Customer {
			return inventory.Deduction{}, &inventory.InvalidError{Field: "attempt", Reason: "is of another request"}
		}
		d.Accepted = ""
		return d, nil
	}
	if err := c.allows(r); err != nil {
		return inventory.Deduction{}, err
	}
	if c.Available() < r.Quantity {
		back := c.Available() + c.Unsettled // if all come back
		return inventory.Deduction{}, &inventory.StockError{
			SKU: r.SKU, Requested: r.Quantity, Available: max(0, c.Available()),
			InFlight: max(0, min(c.Unsettled, back)), Over: max(0, -c.Available()), Epoch: c.Epoch, Version: c.Version,
		}
	}
	if wait := 51*time.Millisecond - time.Since(c.came); wait > 0 {
		return inventory.Deduction{}, &inventory.ReopeningError{SKU: r.SKU, Wait: wait}
	}
	c.Seq++
	c.Taken += r.Quantity
	c.Unsettled += r.Quantity
	d := inventory.Deduction{
		SKU: r.SKU, Store: r.Store, Epoch: c.Epoch, Seq: c.Seq, Attempt: r.Attempt, OrderID: r.OrderID,
		Quantity: r.Quantity, Version: c.Version, At: time.Now(),
	}
	c.open[r.Attempt] = d
	if c.CustomerLimit > 0 {
		c.counted[r.Attempt] = r.Customer
	}
	return d, nil
}

func (m *model) Settle(ctx context.Context, s inventory.Supply, ds ...inventory.Deduction) error {
	if err := check(ctx, checkSupply(ctx, s), checkDeductions(ctx, ds)); err != nil {
		return err
	}
	for _, d := range ds {
		if d.SKU != s.SKU {
			return &inventory.InvalidError{Field: "sku", Reason: "is another"}
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	c, err := m.usable(s.SKU, s.Store)
	if err != nil {
		return err
	}
	if c.Epoch > s.Epoch {
		return nil
	}
	if c.Epoch < s.Epoch {
		return &inventory.NotLoadedError{SKU: s.SKU, Why: inventory.WhyBehind}
	}
	for _, d := range ds {
		c.drop(d)
	}
	if s.Version > c.Version {
		if s.Units > c.Supply && c.Available() <= 0 {
			c.came = time.Now()
		}
		c.Version, c.Supply, c.Terms = s.Version, s.Units, s.Terms
	}
	if c.Taken < s.Admitted {
		return &inventory.NotLoadedError{SKU: s.SKU, Why: inventory.WhyLost}
	}
	return nil
}

// drop drops a deduction if it is on record, and returns its units.
func (c *modelStock) drop(d inventory.Deduction) int64 {
	on, ok := c.open[d.Attempt]
	if !ok || on.Identity() != d.Identity() || on.Store != d.Store {
		return 0
	}
	delete(c.open, d.Attempt)
	delete(c.counted, d.Attempt)
	c.Unsettled -= on.Quantity
	return on.Quantity
}

func (m *model) Restore(ctx context.Context, ds ...inventory.Deduction) error {
	if err := check(ctx, checkDeductions(ctx, ds)); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, d := range ds {
		if c, err := m.usable(d.SKU, d.Store); err == nil && (d.Accepted != "" || c.open[d.Attempt].Accepted == "") {
			c.Taken -= c.drop(d)
		}
	}
	return nil
}

func (m *model) Unsettled(ctx context.Context, store, sku string, age time.Duration, limit int) ([]inventory.Deduction, error) {
	if err := check(ctx, inventory.CheckID("store", store), inventory.CheckID("sku", sku),
		within("age", int64(age), 0, math.MaxInt64), within("limit", int64(limit), 1, highest)); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	c, err := m.usable(sku, store)
	if err != nil {
		return nil, err
	}
	var ds []inventory.Deduction
	for _, d := range c.open {
		if time.Since(d.At) > age && len(ds) < limit {
			ds = append(ds, d)
		}
	}
	return ds, nil
}

func (m *model) Stock(ctx context.Context, skus ...string) ([]inventory.Stock, error) {
	for _, sku := range skus {
		if err := check(ctx, inventory.CheckID("sku", sku)); err != nil {
			return nil, err
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	stocks := make([]inventory.Stock, len(skus))
	for i, sku := range skus {
		if c, ok := m.skus[sku]; ok {
			stocks[i] = c.Stock
		} else {
			stocks[i] = inventory.Stock{SKU: sku, Why: inventory.WhyMissing}
		}
	}
	return stocks, nil
}

func (m *model) Name() string { return "the model" }

func (m *model) Canaries(ctx context.Context, store string, watcher int) ([]inventory.Canary, error) {
	err := within("watcher", int64(watcher), 0, inventory.Watchers-1)
	if store != "" {
		err = errors.Join(err, inventory.CheckID("store", store))
	}
	if err := check(ctx, err); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	c := m.canary
	c.Found = m.looks[watcher]
	if store != "" && store == m.canary.Store {
		m.looks[watcher]++
	}
	c.Beats = m.looks[watcher]
	return []inventory.Canary{c}, nil
}

func (m *model) Plant(ctx context.Context, store string, seen inventory.Canary) error {
	if err := check(ctx, inventory.CheckID("store", store), within("epoch", seen.Epoch, 0, highest)); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.canary.Store != seen.Store || m.canary.Epoch != seen.Epoch {
		return nil
	}
	if seen.Whole {
		m.canary.Whole = m.canary.Whole || store == seen.Store
		return nil
	}
	m.canary = inventory.Canary{Store: store, Format: inventory.Format, Epoch: seen.Epoch + 1}
	m.looks = make(map[int]int64)
	return nil
}
