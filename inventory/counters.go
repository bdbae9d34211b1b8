package inventory

import "time"

// counters are what a Memory holds of a SKU, and what the scripts do to a hash.
// Their caller holds the lock.
type counters struct {
	Stock
	records  map[string]record // unsettled deductions, by attempt
	reopened time.Time         // when a supply last came to counters with nothing available
	inFlight map[string]int64  // units by customer, of the records that count for one; never 0
}

// record is a deduction with the customer whose limit it counts for, or none.
type record struct {
	Deduction
	customer string
}

func newCounters(s Supply) *counters {
	c := &counters{
		Stock:    Stock{SKU: s.SKU, Store: s.Store, Epoch: s.Epoch},
		records:  make(map[string]record),
		inFlight: make(map[string]int64),
	}
	c.supply(s)
	if s.Version <= 2 { // it was only just put on sale
		c.reopened = time.Time{}
	}
	return c
}

// supply replaces the supply and its terms.
func (c *counters) supply(s Supply) {
	if s.Units > c.Supply && c.Available() <= 0 {
		c.reopened = wholeMilliseconds(time.Now())
	}
	c.Version, c.Supply = s.Version, s.Units
	c.Terms = s.kept()
}

// adopt deducts anew what accepted orders had in the counters that these replace.
func (c *counters) adopt(old *counters) {
	for _, on := range old.records {
		if on.Accepted == "" {
			continue
		}
		c.Seq++
		c.Taken += on.Quantity
		c.Unsettled += on.Quantity
		on.Epoch, on.Seq = c.Epoch, c.Seq
		c.records[on.Attempt] = on
	}
}

// kept is KEPT of prelude.lua.
const kept = 51 * time.Millisecond

// keep is accept.lua.
func (c *counters) keep(accepted string, d Deduction) (Keeping, error) {
	on, ok := c.records[d.Attempt]
	switch {
	case !ok || on.Identity() != d.Identity():
		return Gone, nil
	case on.customer != "":
		return DecideFirst, nil
	case on.Accepted != "" && on.Accepted != accepted:
		return Gone, errOtherOrder()
	}
	on.Accepted = accepted
	c.records[d.Attempt] = on
	return Kept, nil
}

// deduct is deduct.lua.
func (c *counters) deduct(r Request, now time.Time) (Deduction, error) {
	if c.Epoch < r.Watermark.Epoch || c.Epoch == r.Watermark.Epoch && c.Seq < r.Watermark.Seq {
		return Deduction{}, &NotLoadedError{r.SKU, WhyBehind}
	}
	if on, ok := c.records[r.Attempt]; ok {
		if on.OrderID != r.OrderID || on.Quantity != r.Quantity || on.customer != "" && on.customer != r.Customer {
			return Deduction{}, errOtherRequest()
		}
		again := on.Deduction
		again.Accepted = "" // only Unsettled tells
		return again, nil
	}
	if err := c.refusal(r, now); err != nil {
		return Deduction{}, err
	}
	if c.Seq >= maxCounter || c.Taken+r.Quantity > maxCounter {
		return Deduction{}, &NotLoadedError{r.SKU, WhySpent}
	}
	c.Seq++
	c.Taken += r.Quantity
	c.Unsettled += r.Quantity
	made := record{Deduction: Deduction{
		SKU: r.SKU, Store: r.Store, Epoch: c.Epoch, Seq: c.Seq, Attempt: r.Attempt, OrderID: r.OrderID,
		Quantity: r.Quantity, Version: c.Version, At: now,
	}}
	if c.CustomerLimit > 0 {
		made.customer = r.Customer
		c.inFlight[r.Customer] += r.Quantity
	}
	c.records[r.Attempt] = made
	return made.Deduction, nil
}

// refusal is why the supply and the terms refuse a request, or nil.
func (c *counters) refusal(r Request, now time.Time) error {
	if why := c.shut(now); why != nil && (c.Paused || !r.Cleared) {
		return &WindowError{
			SKU: r.SKU, OpensAt: c.OpensAt, ClosesAt: c.ClosesAt, Err: why,
			Unsettled: c.Unsettled, Epoch: c.Epoch, Version: c.Version,
		}
	}
	if limit, inFlight := c.CustomerLimit, c.inFlight[r.Customer]; limit > 0 && inFlight+r.Quantity > limit {
		return &LimitError{
			SKU: r.SKU, Limit: limit, Requested: r.Quantity, InFlight: inFlight, Unsettled: c.Unsettled, Epoch: c.Epoch, Version: c.Version,
		}
	}
	if c.Available() < r.Quantity {
		return shortOf(r.SKU, r.Quantity, c.Available(), c.Unsettled, c.Epoch, c.Version)
	}
	if wait := kept - now.Sub(c.reopened); wait > 0 && !c.reopened.After(now) {
		return &ReopeningError{r.SKU, wait}
	}
	return nil
}

// drop drops a deduction if it is on record under its identity, and returns its units.
func (c *counters) drop(d Deduction) int64 {
	on, ok := c.records[d.Attempt]
	if !ok || on.Identity() != d.Identity() || on.Store != d.Store {
		return 0
	}
	delete(c.records, d.Attempt)
	c.Unsettled -= on.Quantity
	if on.customer != "" {
		if c.inFlight[on.customer] -= on.Quantity; c.inFlight[on.customer] == 0 {
			delete(c.inFlight, on.customer)
		}
	}
	return on.Quantity
}
