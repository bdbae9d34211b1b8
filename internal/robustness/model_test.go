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

	// A hold expires between these two moments: the call that made it so tells no
	// more. notAfter is forever if that call never returned.
	notBefore, notAfter int64
}

const forever = math.MaxInt64

// live is how many units the orders hold.
func (s state) live() (units int64) {
	for _, o := range s.orders {
		if o.status.Live() {
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
	ttl      time.Duration
	units    int64

	start, end int64 // of the call; end is forever if it never returned
	id         string
}

// Events that are no calls.
const (
	expiring  verb = "expires"     // start is the moment from which on its hold may be over
	refusing  verb = "is refused"  // after it was accepted
	exhausted verb = "has too few" // the moment at which an accepted order was decided
	settling  verb = "ends"        // the last event: all that there is
)

// told is what the caller was told.
type told struct {
	outcome             outcome
	status              order.Status
	capacity, allocated int64
	all                 []life // of settling: number, status and refused
}

// model is the sequential specification, for a SKU that was put on sale with a
// capacity.
func model(capacity int64) porcupine.Model {
	return porcupine.Model{
		Init: func() any { return state{capacity: capacity} },
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
	case confirm, extend:
		return s.confirmOrExtend(e, t, o)
	case cancel:
		return s.cancel(e, t, o)
	case expiring:
		if o != nil && o.status == order.Held && o.notBefore <= e.start {
			return true, s.with(o.ended(order.Expired))
		}
		return true, s
	case refusing:
		if o == nil {
			return true, s.with(life{number: e.number, status: order.Cancelled, refused: true})
		}
		return true, s
	case exhausted:
		return s.live()+e.quantity > s.capacity, s
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
	case readStock:
		return s.capacity == t.capacity && s.live() == t.allocated, s
	case settling:
		return s.capacity == t.capacity && s.live() == t.allocated && slices.EqualFunc(s.orders, t.all, func(a, b life) bool {
			return a.number == b.number && a.status == b.status && a.refused == b.refused
		}), s
	}
	return false, s
}

// request is a call that asks for units.
func (s state) request(e step, t told, o *life) (bool, state) {
	switch t.outcome {
	case done, unknown:
		if o != nil { // a second click gets its order
			return t.outcome == unknown || o.status.Live() && o.status == t.status, s
		}
		if s.live()+e.quantity > s.capacity {
			return t.outcome == unknown, s
		}
		made := life{number: e.number, status: order.Confirmed, booked: true, quantity: e.quantity}
		if e.verb == hold {
			made.status, made.notBefore, made.notAfter = order.Held, e.start+int64(e.ttl), later(e.end, e.ttl)
		}
		return t.outcome == unknown || made.status == t.status, s.with(made)
	case soldOut:
		// Nobody is refused whose order was ever booked; one that was cancelled or
		// refused before may be told either.
		return (o == nil || !o.booked) && s.live()+e.quantity > s.capacity, s
	case cancelled:
		return o != nil && o.status == order.Cancelled && !o.refused, s
	case refused:
		return o != nil && o.refused, s
	case expired:
		return o != nil && o.status == order.Expired, s
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
	if e.verb == confirm {
		o.status, o.notBefore, o.notAfter = order.Confirmed, 0, 0
		return o
	}
	o.notBefore = max(o.notBefore, e.start+int64(e.ttl))
	o.notAfter = max(o.notAfter, later(e.end, e.ttl))
	return o
}

// cancel gives the units of a live order back, and makes an unknown ID unusable.
func (s state) cancel(e step, t told, o *life) (bool, state) {
	after := life{number: e.number, status: order.Cancelled}
	if o != nil {
		after = *o
		if o.status.Live() {
			after = o.ended(order.Cancelled)
		}
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
	for _, o := range s.orders {
		fmt.Fprintf(&text, ", #%d %s", o.number, o.status)
		if o.refused {
			text.WriteString(" (refused)")
		}
		if o.lapsed {
			text.WriteString(" (over)")
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
