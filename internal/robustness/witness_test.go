package robustness

import (
	"cmp"
	"slices"

	"github.com/anishathalye/porcupine"

	"github.com/lastunit/lastunit/order"
)

// A search through all orders of events takes exponentially long where many calls
// overlap. But the ledger names one: mostly it is easy to find, for each call, a
// moment within it at which its answer was right by that order. Then porcupine
// checks the history with each call at its moment, which takes no search. A history
// that passes so is linearizable, as the moments are within the calls. One that does
// not says nothing yet: then porcupine searches.

// witness is a try at it.
type witness struct {
	outside map[string]bool // see history
	pending []*moment       // sorted by the end of their calls
	moves   []order.Movement
	spans   []span // of the moves
	state   state
	at      int64 // the moment that was reached
	order   []porcupine.Operation
}

// moment is an event that has its place, or not yet.
type moment struct {
	porcupine.Operation
	placed bool
}

// untold says whether nobody was told what came of it.
func (m *moment) untold() bool {
	v := m.Input.(step).verb
	return v == expiring || v == refusing || v == counting || m.Output.(told).outcome == unknown
}

// witnessOf gives the operations of a partition their moments, as the ledger has
// them; false if it finds none for some.
func (h *history) witnessOf(p *partition) ([]porcupine.Operation, bool) {
	for _, eager := range []bool{false, true} {
		if w := h.newWitness(p); w.find(eager) {
			return w.order, true
		}
	}
	return nil, false
}

func (h *history) newWitness(p *partition) *witness {
	w := &witness{state: state{capacity: p.capacity, limit: p.limit}, outside: h.outside}
	for _, m := range h.ledger[p.sku] {
		if m.Kind != order.MovedOnSale && (m.Kind != order.MovedConfirmed || !h.outside[m.OrderID]) {
			w.moves = append(w.moves, m)
			w.spans = append(w.spans, h.happened[deed{p.sku, cmp.Or(m.OrderID, m.Reference), m.Kind}])
		}
	}
	for _, o := range p.operations {
		w.pending = append(w.pending, &moment{Operation: o})
	}
	slices.SortStableFunc(w.pending, func(a, b *moment) int { return cmp.Compare(a.Return, b.Return) })
	return w
}

// find gives each event the latest moment that it can have, but what changes nothing
// the earliest. If it is eager, whatever takes units and has begun before a pause takes
// them before it, too.
func (w *witness) find(eager bool) bool {
	for _, m := range w.pending {
		for len(w.moves) > 0 && w.spans[0].to <= m.Return {
			if !w.reach(w.spans[0].to) || !w.move() {
				return false
			}
		}
		if !w.reach(m.Return) {
			return false
		}
		if eager && m.Input.(step).verb == pause && !m.placed {
			for w.mayMove() && takesUnits(w.moves[0].Kind) && w.move() {
			}
		}
		for !m.placed {
			if w.force(m) {
				break
			}
			if !w.mayMove() || !w.move() {
				return false
			}
		}
	}
	return true
}

func takesUnits(kind order.MovementKind) bool {
	return kind == order.MovedHeld || kind == order.MovedBooked
}

// mayMove says whether the next movement may have happened by now.
func (w *witness) mayMove() bool { return len(w.moves) > 0 && w.spans[0].from <= w.at }

// reach goes on to a moment: whatever has begun by then, was told, and changes
// nothing has its place before that. What nobody was told of may still be needed.
func (w *witness) reach(at int64) bool {
	if at < w.at {
		return false
	}
	w.at = at
	w.placeAll()
	return true
}

func (w *witness) placeAll() {
	for _, m := range w.pending {
		if m.placed || m.Call > w.at || m.untold() {
			continue
		}
		possible, after := w.step(m)
		if !possible {
			continue
		}
		changed := after
		if m.Input.(step).verb == setCapacity && !w.toCome(m) {
			changed.adjusted = w.state.adjusted // the capacity was that already: no movement
		}
		if same(changed, w.state) {
			w.place(m, after)
		}
	}
}

// toCome says whether the ledger has a movement, not reached yet, that the event may make.
func (w *witness) toCome(m *moment) bool {
	e := m.Input.(step)
	return slices.ContainsFunc(w.moves, func(next order.Movement) bool {
		return cmp.Or(next.OrderID, next.Reference) == e.id && makes(e.verb, next.Kind)
	})
}

func (w *witness) step(m *moment) (bool, state) {
	return w.state.take(m.Input.(step), m.Output.(told))
}

func (w *witness) place(m *moment, after state) {
	if w.at < m.Call || w.at > m.Return {
		panic("the moment is not within the call")
	}
	m.placed = true
	w.state = after
	o := m.Operation
	o.Call = int64(len(w.order))
	o.Return = o.Call
	w.order = append(w.order, o)
}

// move finds who made the next movement: first those who were told so.
func (w *witness) move() bool {
	next := w.moves[0]
	id := cmp.Or(next.OrderID, next.Reference)
	if next.Kind == order.MovedCancelled || next.Kind == order.MovedExpired {
		w.beforeItEnds(id)
	}
	if next.Kind == order.MovedCancelled && w.outside[id] {
		w.outsideBefore(id)
	}
	for _, unsure := range []bool{false, true} {
		for _, m := range w.pending {
			e := m.Input.(step)
			if m.placed || m.Call > w.at || e.id != id || e.verb == extend || m.untold() != unsure || !makes(e.verb, next.Kind) {
				continue
			}
			if possible, after := w.step(m); possible && !same(after, w.state) {
				w.moves, w.spans = w.moves[1:], w.spans[1:]
				w.place(m, after)
				w.placeAll()
				return true
			}
		}
	}
	return false
}

// beforeItEnds gives calls their place that went well with an order, and can't any more
// once it has ended.
func (w *witness) beforeItEnds(id string) {
	for _, m := range w.pending {
		switch e := m.Input.(step); {
		case m.placed, m.Call > w.at, e.id != id, m.Output.(told).outcome != done:
		case e.verb == extend, e.verb == confirm, e.verb == confirmTx:
			w.silently(m)
		}
	}
}

// outsideBefore gives the call its place that cancelled an order in a transaction, of
// which the ledger tells only later.
func (w *witness) outsideBefore(id string) {
	for _, m := range w.pending {
		if e := m.Input.(step); !m.placed && m.Call <= w.at && e.id == id && e.verb == cancelTx && w.silently(m) {
			return
		}
	}
}

// makes says whether an event of the history may be a movement of the kind.
func makes(v verb, kind order.MovementKind) bool {
	switch v {
	case expiring:
		return kind == order.MovedExpired
	case counting:
		return kind == order.MovedCancelled
	case confirmTx, cancelTx:
		return false // later
	}
	may, _ := (&call{Verb: v}).moves()
	return slices.Contains(may, kind)
}

// force gives an event its place that has to have one now: also one that changes
// something of which the ledger does not tell, or after another such one.
func (w *witness) force(m *moment) bool {
	if e := m.Input.(step); e.verb == cancelTx {
		w.beforeItEnds(e.id)
	}
	if w.silently(m) {
		return true
	}
	for _, other := range w.pending {
		e := other.Input.(step)
		if other.placed || other.Call > w.at || e.id != m.Input.(step).id && e.verb != pause && e.verb != resume {
			continue
		}
		if other.untold() && w.toCome(other) || !w.silently(other) {
			continue
		}
		if m.placed || w.silently(m) {
			return true
		}
	}
	return false
}

// silently places an event if the ledger says nothing of what it does.
func (w *witness) silently(m *moment) bool {
	possible, after := w.step(m)
	if !possible || after.live() != w.state.live() || after.capacity != w.state.capacity {
		return false
	}
	if !w.outside[m.Input.(step).id] && after.confirmed() != w.state.confirmed() {
		return false
	}
	w.place(m, after)
	w.placeAll()
	return true
}

func (s state) confirmed() (n int) {
	for _, o := range s.orders {
		if o.status == order.Confirmed {
			n++
		}
	}
	return n
}

func same(a, b state) bool {
	return a.capacity == b.capacity && a.adjusted == b.adjusted && a.opensAt == b.opensAt && a.paused == b.paused && slices.Equal(a.orders, b.orders)
}
