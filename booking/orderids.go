package booking

import (
	"context"
	"slices"
	"sync/atomic"

	"github.com/lastunit/lastunit/order"
)

const (
	// maxFilters bounds the memory of all filters of a process, in bytes: of some
	// 32 million orders. A SKU that finds no room has none.
	maxFilters = 64 << 20

	// maxFiltered bounds the orders of a SKU with a filter.
	maxFiltered = 4 << 20
)

// orderIDs are the IDs of a SKU's orders, as far as its movements were read. Only
// one goroutine at a time reads on.
type orderIDs struct {
	store  string
	filter *filter // nil before the first order
	number int64   // of the last movement that was read
	many   bool    // there are too many orders
}

// read reads the movements up to now, and returns a filter that has all orders
// that the counters count, or nil if there is none: the movements don't tell of all
// orders, or there are too many. The memory of all filters is in used.
func (o *orderIDs) read(ctx context.Context, store order.Store, c order.Counters, used *atomic.Int64) (*filter, error) {
	if !c.Recorded {
		return nil, nil
	}
	if o.store != c.Store { // the database was made anew
		o.drop(used)
		*o = orderIDs{store: c.Store}
	}
	for !o.many {
		page, err := store.Movements(ctx, c.SKU, o.number, order.MaxMovements)
		if err != nil {
			return nil, err
		}
		anew := slices.ContainsFunc(page, func(m order.Movement) bool { return !o.take(m, c.Capacity, used) })
		if !anew && len(page) < order.MaxMovements {
			break
		}
	}
	if o.many {
		return nil, nil
	}
	if o.filter == nil { // it has a capacity of nothing
		o.filter = newFilter(0)
		used.Add(o.filter.bytes())
	}
	return o.filter, nil
}

// take takes note of a movement. If there is no room for it, all are to be read
// again into a larger filter, and it reports false.
func (o *orderIDs) take(m order.Movement, capacity int64, used *atomic.Int64) bool {
	o.number = m.Number
	if m.Kind != order.MovedHeld && m.Kind != order.MovedBooked || o.filter != nil && o.filter.add(m.OrderID) {
		return true
	}
	*o = orderIDs{store: o.store, filter: o.grown(capacity, used)}
	o.many = o.filter == nil
	return false
}

// drop gives the memory back.
func (o *orderIDs) drop(used *atomic.Int64) {
	if o.filter != nil {
		used.Add(-o.filter.bytes())
	}
}

// grown is an empty filter with more room; nil if there is no memory for it.
func (o *orderIDs) grown(capacity int64, used *atomic.Int64) *filter {
	room := min(capacity+64, maxFiltered)
	if o.filter != nil {
		o.drop(used)
		if room = 4 * o.filter.size; room > maxFiltered {
			return nil
		}
	}
	f := newFilter(room)
	if used.Add(f.bytes()) > maxFilters {
		used.Add(-f.bytes())
		return nil
	}
	return f
}
