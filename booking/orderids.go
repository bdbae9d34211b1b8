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
	filter    *filter // nil before the first order
	number    int64   // of the last movement that was read
	allocated int64   // units, by these movements
	unknown   bool    // there are orders that no movement tells of, or too many
}

// read reads the movements up to now, and returns a filter that has all orders
// that the counters count, or nil if there is none: the ledger is, or was,
// switched off, or there are too many orders. The memory of all filters is in used.
func (o *orderIDs) read(ctx context.Context, store order.Store, c order.Counters, used *atomic.Int64) (*filter, error) {
	for !o.unknown {
		page, err := store.Movements(ctx, c.SKU, o.number, order.MaxMovements)
		if err != nil {
			return nil, err
		}
		anew := slices.ContainsFunc(page, func(m order.Movement) bool { return !o.take(m, c.Capacity, used) })
		if !anew && len(page) < order.MaxMovements {
			break
		}
	}
	// As they were read after the counters, they may add up to something newer.
	// The next reader finds them equal.
	if o.unknown || o.allocated != c.Allocated {
		return nil, nil
	}
	return o.filter, nil
}

// take takes note of a movement. If there is no room for it, all are to be read
// again into a larger filter, and it reports false.
func (o *orderIDs) take(m order.Movement, capacity int64, used *atomic.Int64) bool {
	o.number = m.Number
	switch m.Kind {
	case order.MovedRecounted:
		o.unknown = true
	case order.MovedReclaimed, order.MovedCancelled, order.MovedExpired:
		o.allocated += m.Quantity
	case order.MovedHeld, order.MovedBooked:
		o.allocated += m.Quantity
		if o.filter != nil && o.filter.add(m.OrderID) {
			return true
		}
		*o = orderIDs{filter: o.grown(capacity, used)}
		o.unknown = o.filter == nil
		return false
	}
	return true
}

// grown is an empty filter with more room; nil if there is no memory for it.
func (o *orderIDs) grown(capacity int64, used *atomic.Int64) *filter {
	room := min(capacity+64, maxFiltered)
	if o.filter != nil {
		used.Add(-o.filter.bytes())
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
