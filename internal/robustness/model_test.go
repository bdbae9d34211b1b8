package robustness

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/lastunit/lastunit/order"
)

// The model is one SKU as the promises of the library describe it: a capacity, and
// the orders that there are. It knows nothing of Redis, deductions or epochs.

// state is a SKU at one moment. It is never changed, only replaced.
type state struct {
	capacity int64
	limit    int64 // of each customer; 0 for none
	opensAt  int64 // as now tells
	paused   bool
	adjusted uint64 // the adjustments that were made, a bit each
	orders   []life // those that there are, sorted by number
}

// life is an order at one moment.
type life struct {
	number   int
	status   order.Status
	refused  bool // cancelled, as it was refused after it had been accepted
	booked   bool // its units were taken once, whatever became of it since
	lapsed   bool // held, and somebody was told that its time is over
	quantity int64
	customer string
	content  string // what a repeated ID must agree with; empty if it has none

	// uncounted is of an order that was cancelled in a transaction of somebody's own:
	// its units come back a little later.
	uncounted bool

	// A hold expires between these two moments: the call that made it so tells no
	// more. notAfter is forever if that call never returned.
	notBefore, notAfter int64
}

const forever = math.MaxInt64

// live is how many units the orders hold.
func (s state) live() (units int64) {
	for _, o := range s.orders {
		if o.status.Live() || o.uncounted {
			units += o.quantity
		}
	}
	return units
}

// of is how many units a customer has in live orders.
func (s state) of(customer string) (units int64) {
	for _, o := range s.orders {
		if o.status.Live() && o.customer == customer {
			units += o.quantity
		}
	}
	return units
}

// find is the order of a number, nil if it is not there.
func (s state) find(number int) *life {
	at, there := s.place(number)
	if !there {
		return nil
	}
	return &s.orders[at]
}

func (s state) place(number int) (int, bool) {
	return slices.BinarySearchFunc(s.orders, number, func(o life, number int) int { return o.number - number })
}

// with is the state with an order in place of what it was before.
func (s state) with(o life) state {
	at, there := s.place(o.number)
	s.orders = slices.Clone(s.orders)
	if there {
		s.orders[at] = o
	} else {
		s.orders = slices.Insert(s.orders, at, o)
	}
	return s
}

// step is an event of the history of one SKU: most often a call.
type step struct {
	verb     verb
	number   int // of the order or the adjustment
	quantity int64
	customer string
	content  string
	ttl      time.Duration
	units    int64
	opensAt  int64

	start, end int64 // of the call; end is forever if it never returned
	id         string
}

// Events that are no calls.
const (
	expiring  verb = "expires"      // start is the moment from which on its hold may be over
	refusing  verb = "is refused"   // after it was accepted
	refusable verb = "can't be had" // the moment at which an accepted order was decided; the outcome says why
	counting  verb = "is counted"   // what was cancelled in a transaction comes back
	settling  verb = "ends"         // the last event: all that there is
)

// told is what the caller was told.
type told struct {
	outcome             outcome
	status              order.Status
	capacity, allocated int64
	all                 []life // of settling: number, status and refused
}

// model is the sequential specification, for a SKU that was put on sale with a
// capacity, and a limit for each customer; 0 for none.
func model(capacity, limit int64) porcupine.Model {
	return porcupine.Model{
		Init: func() any { return state{capacity: capacity, limit: limit} },
		Step: func(before, input, output any) (bool, any) {
			possible, after := before.(state).take(input.(step), output.(told))
			return possible, after
		},
		Equal:             func(a, b any) bool { return same(a.(state), b.(state)) },
		DescribeOperation: func(input, output any) string { return describe(input.(step), output.(told)) },
		DescribeState:     func(s any) string { return s.(state).String() },
	}
}

// take says whether the event is possible now, with what was told of it, and what
// comes out. A call whose outcome is unknown is possible at any time.
func (s state) take(e step, t told) (bool, state) {
	o := s.find(e.number)
	switch e.verb {
	case book, hold, accept:
		return s.request(e, t, o)
	case confirm, confirmTx, extend:
		return s.confirmOrExtend(e, t, o)
	case reclaim:
		return s.reclaim(e, t, o)
	case cancel, cancelTx, void:
		return s.cancel(e, t, o)
	case expiring:
		if o != nil && o.status == order.Held && o.notBefore <= e.start {
			return true, s.with(o.ended(order.Expired))
		}
		return true, s
	case refusing:
		if o == nil {
			return true, s.with(life{number: e.number, status: order.Cancelled, refused: true, customer: e.customer, content: e.content})
		}
		return true, s
	case refusable:
		return s.refuses(e, t.outcome), s
	case counting:
		if o != nil && o.uncounted {
			after := *o
			after.uncounted = false
			return true, s.with(after)
		}
		return true, s
	case setWindow:
		s.opensAt = e.opensAt
		return true, s
	case pause, resume:
		s.paused = e.verb == pause
		return true, s
	case setCapacity, restock:
		if bit := uint64(1) << e.number; s.adjusted&bit == 0 {
			s.adjusted |= bit
			if e.verb == restock {
				s.capacity += e.units
			} else {
				s.capacity = e.units
			}
		}
		return true, s
	case readOrder:
		if t.outcome == notFound {
			return o == nil, s
		}
		return o != nil && o.status == t.status, s
	case lookup:
		return s.lookup(e, t, o)
	case readStock:
		return s.capacity == t.capacity && s.live() == t.allocated, s
	case settling:
		return s.capacity == t.capacity && s.live() == t.allocated && slices.EqualFunc(s.orders, t.all, func(a, b life) bool {
			return a.number == b.number && a.status == b.status && a.refused == b.refused
		}), s
	}
	return false, s
}

// refuses says whether the units can't be had now, for a reason. The time is any
// within the call.
func (s state) refuses(e step, why outcome) bool {
	switch why {
	case soldOut:
		return s.live()+e.quantity > s.capacity
	case limited:
		return s.limit > 0 && s.of(e.customer)+e.quantity > s.limit
	case isPaused:
		return s.paused
	case notOpen:
		return e.start < s.opensAt
	}
	return false
}

// sells says whether the units can be had now.
func (s state) sells(e step) bool {
	return !s.refuses(e, soldOut) && !s.refuses(e, limited) && !s.paused && e.end >= s.opensAt
}

// conflicts says whether the ID is that of something else.
func (o *life) conflicts(e step) bool { return o != nil && o.content != "" && o.content != e.content }

// request is a call that asks for units.
func (s state) request(e step, t told, o *life) (bool, state) {
	switch t.outcome {
	case done, unknown:
		if o != nil { // a second click gets its order
			return t.outcome == unknown || o.status.Live() && o.status == t.status && !o.conflicts(e), s
		}
		if !s.sells(e) {
			return t.outcome == unknown, s
		}
		made := life{number: e.number, status: order.Confirmed, booked: true, quantity: e.quantity, customer: e.customer, content: e.content}
		if e.verb == hold {
			made.status, made.notBefore, made.notAfter = order.Held, e.start+int64(e.ttl), later(e.end, e.ttl)
		}
		return t.outcome == unknown || made.status == t.status, s.with(made)
	case soldOut, limited, isPaused, notOpen:
		// Nobody is refused whose order was ever booked; one that was cancelled or
		// refused before may be told either, and so may something else under its ID.
		return (o == nil || !o.booked || o.conflicts(e)) && s.refuses(e, t.outcome), s
	case conflict:
		return o.conflicts(e), s
	case cancelled:
		return o != nil && o.status == order.Cancelled && !o.refused && !o.conflicts(e), s
	case refused:
		return o != nil && o.refused && !o.conflicts(e), s
	case expired:
		return o != nil && o.status == order.Expired && !o.conflicts(e), s
	}
	return false, s
}

// lookup tells what request would be told, and takes nothing.
func (s state) lookup(e step, t told, o *life) (bool, state) {
	switch {
	case t.outcome == unknown: // it is under way
		return true, s
	case t.outcome == notFound || o == nil:
		return t.outcome == notFound && o == nil, s
	}
	return s.request(e, t, o)
}

// reclaim confirms, also what has expired if its units can still be had.
func (s state) reclaim(e step, t told, o *life) (bool, state) {
	if o == nil {
		return t.outcome == notFound || t.outcome == unknown, s
	}
	e.customer, e.quantity = o.customer, o.quantity
	switch t.outcome {
	case done, unknown:
		gone := o.status == order.Expired && (s.refuses(e, soldOut) || s.refuses(e, limited))
		if o.status == order.Cancelled || gone {
			return t.outcome == unknown, s
		}
		after := s
		if o.status != order.Confirmed {
			after = s.with(o.ended(order.Confirmed))
		}
		return t.outcome == unknown || t.status == order.Confirmed, after
	case soldOut, limited:
		return o.status == order.Expired && s.refuses(e, t.outcome), s
	case cancelled:
		return o.status == order.Cancelled, s
	}
	return false, s
}

// confirmOrExtend is what needs an order that is live, and its hold not over.
func (s state) confirmOrExtend(e step, t told, o *life) (bool, state) {
	inTime := o != nil && o.status == order.Held && !o.lapsed && e.start < o.notAfter
	switch t.outcome {
	case done:
		if o != nil && o.status == order.Confirmed {
			return t.status == order.Confirmed, s
		}
		if !inTime {
			return false, s
		}
		after := o.confirmedOrExtended(e)
		return after.status == t.status, s.with(after)
	case unknown:
		if inTime {
			return true, s.with(o.confirmedOrExtended(e))
		}
		return true, s
	case expired:
		if o == nil || o.status != order.Held {
			return o != nil && o.status == order.Expired, s
		}
		// Its time was over at some moment before the call ended.
		after := *o
		after.lapsed = true
		return e.end >= o.notBefore, s.with(after)
	case cancelled:
		return o != nil && o.status == order.Cancelled, s
	case notFound:
		return o == nil, s
	}
	return false, s
}

// ended is the order once it is over.
func (o life) ended(status order.Status) life {
	o.status, o.lapsed, o.notBefore, o.notAfter = status, false, 0, 0
	return o
}

func (o life) confirmedOrExtended(e step) life {
	if e.verb != extend {
		o.status, o.notBefore, o.notAfter = order.Confirmed, 0, 0
		return o
	}
	o.notBefore = max(o.notBefore, e.start+int64(e.ttl))
	o.notAfter = max(o.notAfter, later(e.end, e.ttl))
	return o
}

// cancel gives the units of a live order back, and makes an expired one final; to void
// makes an unknown ID unusable.
func (s state) cancel(e step, t told, o *life) (bool, state) {
	if o == nil && e.verb != void {
		return t.outcome == notFound || t.outcome == unknown, s
	}
	after := life{number: e.number, status: order.Cancelled}
	if o != nil && o.status == order.Cancelled {
		after = *o
	} else if o != nil {
		after = o.ended(order.Cancelled)
		after.uncounted = o.status.Live() && e.verb == cancelTx
	}
	return t.outcome == unknown || t.outcome == done && t.status == after.status, s.with(after)
}

// later is a moment and a time after it, forever if the moment is.
func later(moment int64, by time.Duration) int64 {
	if moment == forever {
		return forever
	}
	return moment + int64(by)
}

func (s state) String() string {
	var text strings.Builder
	fmt.Fprintf(&text, "%d of %d", s.live(), s.capacity)
	if s.paused {
		text.WriteString(", paused")
	}
	for _, o := range s.orders {
		fmt.Fprintf(&text, ", #%d %s", o.number, o.status)
		if o.refused {
			text.WriteString(" (refused)")
		}
		if o.lapsed {
			text.WriteString(" (over)")
		}
		if o.uncounted {
			text.WriteString(" (uncounted)")
		}
		if s.limit > 0 {
			fmt.Fprintf(&text, " of %s", o.customer)
		}
	}
	return text.String()
}

func describe(e step, t told) string {
	var text strings.Builder
	fmt.Fprintf(&text, "%s %s", e.verb, e.id)
	switch {
	case e.verb.adjusts():
		fmt.Fprintf(&text, " %d", e.units)
	case e.quantity > 0:
		fmt.Fprintf(&text, " (#%d, %d units)", e.number, e.quantity)
	}
	if t.outcome != "" {
		fmt.Fprintf(&text, ": %s", t.outcome)
	}
	if t.status != "" {
		fmt.Fprintf(&text, ", %s", t.status)
	}
	if e.verb == readStock || e.verb == settling {
		fmt.Fprintf(&text, ", %d of %d", t.allocated, t.capacity)
	}
	return text.String()
}
