package robustness

import (
	"cmp"
	"slices"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/lastunit/lastunit/order"
)

// history is all that is known of a run: what the callers were told, and what the
// database has in the end.
type history struct {
	calls  []call
	killed map[int]int64 // when processes were killed that did not end by themselves
	skus   []string
	began  map[string]int64 // the capacity that each SKU was put on sale with
	direct bool             // Postgres sold by itself

	planted bool // with a bug

	// Of the end.
	at     int64 // when it was read, after all calls
	orders map[string]order.Order
	ledger map[string][]order.Movement // by SKU
	stocks map[string]order.Counters

	happened map[deed]span // what the ledger tells, and when it was

	// outside are the orders that a transaction of somebody's own may have changed: the
	// ledger hears of it later.
	outside map[string]bool
}

// when is when a call took effect in a SKU, by the ledger; false if it never did.
func (h *history) when(sku, id string, kinds ...order.MovementKind) (span, bool) {
	for _, kind := range kinds {
		if s, there := h.happened[deed{sku, id, kind}]; there {
			return s, true
		}
	}
	return span{}, false
}

// memory is for how long a process may say "sold out" without asking again
// (booking.Config.SoldOutFor), and a little, as clocks are cut off. So a moment
// within the call, or so long before it, must explain the answer.
const memory = order.Reopening + time.Millisecond

// prepared are the calls that say something, with the times between which the
// library may have done what they ask for.
func (h *history) prepared() []call {
	calls := slices.Clone(h.calls)
	slices.SortStableFunc(calls, func(a, b call) int { return cmp.Compare(a.Start, b.Start) })
	h.join(calls)
	refusals := h.refusals(calls)
	var prepared []call
	for _, c := range calls {
		switch c.Outcome {
		case tryAgain, nothing:
			continue // nothing was done
		case unknown:
			returned := h.returned(c)
			c.End = forever
			if c.Verb.takes() && !h.direct {
				// Once its caller was refused, it is over: see booking.Service.Book.
				// Not where Postgres sells by itself: see booking.SellDirect, and Config.Inventory.
				for _, r := range refusals[asked{c.ID, c.content()}] {
					if returned < r.Start && r.End < c.End {
						c.End, c.overBy = r.End, r.Short
					}
				}
			}
		case soldOut:
			c.Start -= int64(memory)
		}
		prepared = append(prepared, c)
	}
	return prepared
}

// asked is what calls ask for that join each other.
type asked struct{ id, content string }

// join gives calls for one order ID in one process that overlap the start of the
// first one: in a process they join, so that what the first one finds out is the
// answer for all.
func (h *history) join(calls []call) {
	type place struct {
		process int
		asked
	}
	spans := make(map[place]span)
	for i := range calls {
		c := &calls[i]
		if !c.Verb.takes() {
			continue
		}
		end := h.returned(*c)
		if c.Verb == accept && c.Outcome == unknown {
			end = forever // it stays in hand
		}
		at := place{c.Process, asked{c.ID, c.content()}}
		if s, there := spans[at]; there && c.Start <= s.to {
			c.Start = s.from
			spans[at] = span{s.from, max(s.to, end)}
			continue
		}
		spans[at] = span{c.Start, end}
	}
}

// booksAndSeesMore says whether the call may have booked the order and learned only
// later what had become of it since: it asks again by itself where an answer is lost.
func (c *call) booksAndSeesMore() bool {
	return c.Verb.takes() && (c.Outcome == cancelled || c.Outcome == expired || c.Outcome == done && c.Verb == hold && c.Status != order.Held)
}

// returned is when the call returned, or could not any more.
func (h *history) returned(c call) int64 {
	if c.End != 0 {
		return c.End
	}
	if at, there := h.killed[c.Process]; there {
		return at
	}
	return forever
}

// refusals are the calls that were told that nothing was taken, and nothing will be.
func (h *history) refusals(calls []call) map[asked][]call {
	refusals := make(map[asked][]call)
	for _, c := range calls {
		if c.Verb.takes() && c.Outcome.refusesNow() {
			what := asked{c.ID, c.content()}
			refusals[what] = append(refusals[what], c)
		}
	}
	return refusals
}

// effect is when a call with an unknown outcome may have taken effect in a SKU. If
// the database has nothing of it in the end, it never did. To leave it out then hides
// nothing: whatever somebody was told of its effects must be explained without it.
func (h *history) effect(c call, sku string) (s span, ever bool) {
	o, there := h.orders[c.ID]
	switch {
	case c.Verb.takes() && contentOf(o) != c.content():
		return s, false // somebody else's
	case h.outside[c.ID] && c.Verb != hold && c.Verb != book && c.Verb != accept && c.Verb != extend:
		// When is not known. But an order that was cancelled, or has expired, is so in the end.
		s = span{0, h.at}
		switch c.Verb {
		case cancel, cancelTx, void:
			ever = there && o.Status == order.Cancelled && o.Refused == (order.Refusal{})
		default:
			ever = there && o.Status != order.Held && o.Status != order.Expired
		}
	case c.Verb == setWindow, c.Verb == pause, c.Verb == resume:
		s, ever = span{0, h.at}, true
	case c.Verb == reclaim:
		s, ever = h.when(sku, c.ID, order.MovedReclaimed, order.MovedConfirmed)
	case c.Verb == book, c.Verb == accept:
		s, ever = h.when(sku, c.ID, order.MovedBooked)
	case c.Verb == hold:
		s, ever = h.when(sku, c.ID, order.MovedHeld)
	case c.Verb.cancels():
		if s, ever = h.when(sku, c.ID, order.MovedCancelled); !ever && o.Status == order.Cancelled && o.Refused == (order.Refusal{}) {
			s, ever = h.beforeItWasBooked(c.ID), true
		}
	case c.Verb == confirm:
		s, ever = h.when(sku, c.ID, order.MovedConfirmed)
	case c.Verb == extend:
		// It says nothing more once the hold has ended.
		if s, ever = h.when(sku, c.ID, order.MovedConfirmed, order.MovedCancelled, order.MovedExpired); ever {
			s.from = 0
		}
	case c.Verb.adjusts():
		s, ever = h.when(sku, c.ID, order.MovedCapacity, order.MovedRestock)
	}
	s.from, s.to = max(s.from, c.Start), min(s.to, c.End)
	return s, ever && s.from <= s.to
}

// othersMay says whether another call may have taken a call's effect in a SKU, after
// this one was over.
func (h *history) othersMay(calls []call, c call, sku string) bool {
	return slices.ContainsFunc(calls, func(other call) bool {
		if !other.Verb.takes() || other.ID != c.ID || other.Outcome != done && other.Outcome != unknown || other.End <= c.End {
			return false
		}
		_, may := h.effect(other, sku) // not if it asks for something else than what is there
		return may
	})
}

// beforeItWasBooked is until when an order was cancelled, or refused, that was never
// booked, or had expired: until somebody saw that.
func (h *history) beforeItWasBooked(id string) span {
	s := span{0, h.at}
	for _, c := range h.calls {
		if c.ID == id && (c.Outcome == cancelled || c.Outcome == refused || c.Outcome == done && c.Status == order.Cancelled) {
			s.to = min(s.to, c.End)
		}
	}
	return s
}

// partition is the history of one SKU.
type partition struct {
	sku        string
	capacity   int64
	limit      int64
	operations []porcupine.Operation

	numbers map[string]int // of orders
	amounts map[string]int // of adjustments
	alone   int            // events with a line of their own in the picture
}

const maxAdjustments = 64

const (
	nobody      = -1     // the client of what has no answer, or is no call
	manyClients = 10_000 // are more than there are in a run
)

func (p *partition) add(client int, e step, t told) {
	if e.end < e.start {
		e.end = e.start
	}
	if client == nobody {
		p.alone++
		client = manyClients + p.alone
	}
	p.operations = append(p.operations, porcupine.Operation{ClientId: client, Input: e, Output: t, Call: e.start, Return: e.end})
}

// number numbers IDs as they come.
func number(of map[string]int, id string) int {
	n, there := of[id]
	if !there {
		n = len(of)
		of[id] = n
	}
	return n
}

// partitions is the history by SKU: an order of several is in each of them.
func (h *history) partitions() []*partition {
	bySKU := make(map[string]*partition, len(h.skus))
	var partitions []*partition
	for _, sku := range h.skus {
		p := &partition{sku: sku, capacity: h.began[sku], limit: limitOf(sku), numbers: make(map[string]int), amounts: make(map[string]int)}
		bySKU[sku] = p
		partitions = append(partitions, p)
	}
	clients := make(map[[2]int]int)
	calls := h.prepared()
	for _, c := range calls {
		name := [2]int{c.Process, c.Client}
		if _, there := clients[name]; !there {
			clients[name] = len(clients)
		}
		t := told{outcome: c.Outcome, status: c.Status, capacity: c.Capacity, allocated: c.Allocated}
		for _, part := range c.parts() {
			sku := part.SKU
			p, who := bySKU[sku], clients[name]
			e := step{verb: c.Verb, ttl: c.TTL, units: c.Units, opensAt: c.OpensAt, start: c.Start, end: c.End, id: c.ID}
			if c.Outcome == unknown {
				switch {
				case c.overBy == "":
				case c.overBy != sku:
					continue // the refusal says of that one whether this call booked
				case h.othersMay(calls, c, sku):
					c.End = forever // it may be that this call never took effect
				}
				s, ever := h.effect(c, sku)
				if !ever {
					continue
				}
				who, e.start, e.end = nobody, s.from, s.to
			}
			switch {
			case c.Outcome.refusesNow() && c.Short != sku:
				continue // it says nothing of this one
			case c.Verb.adjusts():
				if e.number = number(p.amounts, c.ID); e.number >= maxAdjustments {
					panic("more adjustments of a SKU than the model has bits for")
				}
			case c.ID != "":
				e.number, e.quantity = number(p.numbers, c.ID), part.Quantity
				e.customer, e.content = c.Customer, c.content()
			}
			p.add(who, e, t)
			if c.booksAndSeesMore() {
				if s, ever := h.effect(c, sku); ever {
					e.start, e.end = s.from, s.to
					p.add(nobody, e, told{outcome: unknown})
				}
			}
		}
	}
	h.addEvents(bySKU, calls)
	for _, p := range partitions {
		p.merge()
		h.addEnd(p, len(clients)+1)
	}
	return partitions
}

// merge makes tries at one thing whose outcome is unknown one event, if one begins
// before the end of another: what they may do, at most one of them does.
func (p *partition) merge() {
	slices.SortStableFunc(p.operations, func(a, b porcupine.Operation) int { return cmp.Compare(a.Call, b.Call) })
	first := make(map[step]int) // by verb and number
	merged := p.operations[:0]
	for _, o := range p.operations {
		e := o.Input.(step)
		if o.Output.(told).outcome == unknown && (e.verb == book || e.verb == accept || e.verb == cancel || e.verb == void) {
			name := step{verb: e.verb, number: e.number, content: e.content}
			if at, there := first[name]; there && o.Call <= merged[at].Return {
				merged[at].Return = max(merged[at].Return, o.Return)
				continue
			}
			first[name] = len(merged)
		}
		merged = append(merged, o)
	}
	p.operations = merged
}

// outcomeOfRefusal is what Book would have been told where an accepted order was refused.
var outcomeOfRefusal = map[order.Why]outcome{
	order.WhySoldOut: soldOut, order.WhyLimited: limited, order.WhyPaused: isPaused, order.WhyNotOpen: notOpen,
}

// addEvents adds what the library does by itself, where the database says that it
// did: a hold expires after its time is over, an accepted order is refused.
func (h *history) addEvents(bySKU map[string]*partition, calls []call) {
	refusals := make(map[string]span) // of orders: from the first call that asked for it, until somebody was told
	for _, c := range calls {
		for _, part := range c.parts() {
			sku := part.SKU
			s, is := h.when(sku, c.ID, order.MovedExpired)
			if !is || c.Verb != hold && c.Verb != extend {
				continue
			}
			p := bySKU[sku]
			begun := c.Start
			if held, is := h.when(sku, c.ID, order.MovedHeld); is && c.Verb == hold {
				begun = max(begun, held.from)
			}
			s.from = max(s.from, begun+int64(c.TTL))
			if s.from <= s.to {
				p.add(nobody, step{verb: expiring, number: number(p.numbers, c.ID), quantity: part.Quantity, start: s.from, end: s.to, id: c.ID}, told{})
			}
		}
	}
	for _, c := range h.calls { // those whose outcome is unknown too
		if !c.Verb.takes() || h.orders[c.ID].Refused == (order.Refusal{}) {
			continue
		}
		s, there := refusals[c.ID]
		if !there {
			s = h.beforeItWasBooked(c.ID)
			s.from = c.Start
		}
		s.from = min(s.from, c.Start)
		refusals[c.ID] = s
	}
	for id, s := range refusals {
		o := h.orders[id]
		for _, unit := range o.Units() {
			p := bySKU[unit.SKU]
			e := step{
				verb: refusing, number: number(p.numbers, id), quantity: unit.Quantity, customer: o.Customer, content: contentOf(o),
				start: s.from, end: s.to, id: id,
			}
			p.add(nobody, e, told{})
			if unit.SKU == o.Refused.SKU {
				e.verb = refusable
				p.add(nobody, e, told{outcome: outcomeOfRefusal[o.Refused.Why]})
			}
		}
	}
	for id := range h.outside {
		for _, unit := range h.orders[id].Units() {
			if s, is := h.when(unit.SKU, id, order.MovedCancelled); is {
				p := bySKU[unit.SKU]
				p.add(nobody, step{verb: counting, number: number(p.numbers, id), quantity: unit.Quantity, start: s.from, end: s.to, id: id}, told{})
			}
		}
	}
}

// addEnd adds what there is in the end.
func (h *history) addEnd(p *partition, client int) {
	var all []life
	for id, n := range p.numbers {
		if o, there := h.orders[id]; there {
			all = append(all, life{number: n, status: o.Status, refused: o.Refused != order.Refusal{}})
		}
	}
	slices.SortFunc(all, func(a, b life) int { return a.number - b.number })
	c := h.stocks[p.sku]
	p.add(client, step{verb: settling, start: h.at, end: h.at}, told{all: all, capacity: c.Capacity, allocated: c.Allocated})
}
