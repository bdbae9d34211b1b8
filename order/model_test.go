package order_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

// model is a store written once more, as plainly as can be: what it knows is
// what the comments of order.Store say. Epochs are 0, 1, 2 and so on. It has no
// clock: a hold is over or it isn't.
type model struct {
	skus        map[string]*modelSKU
	orders      map[string]*modelOrder
	adjustments map[string]order.Adjustment
	fences      map[modelIdentity]bool
}

func newModel() *model {
	return &model{
		skus: make(map[string]*modelSKU), orders: make(map[string]*modelOrder),
		adjustments: make(map[string]order.Adjustment), fences: make(map[modelIdentity]bool),
	}
}

type modelSKU struct {
	capacity, admitted, epoch, limit int64
	paused                           bool
	draws                            map[string]int64 // pools of pools included
}

type modelOrder struct {
	content, customer string // empty if it was cancelled before it was booked
	units             []order.Line
	status            order.Status
	over              bool // the hold's time is
	consumed          []modelIdentity
}

type modelIdentity struct {
	sku        string
	epoch, seq int64
}

// ask is a commit in the words of the model.
type ask struct {
	id, customer string
	lines        []order.Line
	units        []order.Line
	draws        map[string]int64
	held, over   bool
	identities   []modelIdentity // one a unit, or none at all; seq 0 is no deduction
}

func (a ask) content() string { return fmt.Sprint(a.customer, a.lines, a.held) }

// answer is an outcome that both can be asked for.
type answer struct {
	verdict  order.Verdict
	status   order.Status
	consumed []bool
	again    []bool
	unit     int
	left     int64
	used     int64
	err      error
}

// allocated is what live orders have of a SKU.
func (m *model) allocated(sku string) (units int64) {
	return m.of(sku, func(o *modelOrder) bool { return o.status.Live() })
}

// has is what a customer's live orders have of a SKU.
func (m *model) has(customer, sku string) (units int64) {
	return m.of(sku, func(o *modelOrder) bool { return o.status.Live() && o.customer == customer })
}

func (m *model) of(sku string, which func(*modelOrder) bool) (units int64) {
	for _, o := range m.orders {
		for _, unit := range o.units {
			if unit.SKU == sku && which(o) {
				units += unit.Quantity
			}
		}
	}
	return units
}

func (m *model) left(sku string) int64 { return m.skus[sku].capacity - m.allocated(sku) }

// drawsOf is what lines draw on pools, as far as their SKUs are there.
func (m *model) drawsOf(lines []order.Line) map[string]int64 {
	sums := make(map[string]int64)
	for _, line := range lines {
		if sku := m.skus[line.SKU]; sku != nil {
			for pool, units := range sku.draws {
				sums[pool] += units * line.Quantity
			}
		}
	}
	return sums
}

func (m *model) look(a ask) answer {
	out := answer{verdict: order.VerdictNew, consumed: make([]bool, len(a.identities))}
	o := m.orders[a.id]
	if o == nil {
		return out
	}
	for i, identity := range a.identities {
		out.consumed[i] = identity.seq != 0 && slices.Contains(o.consumed, identity)
	}
	if o.content != "" && o.content != a.content() {
		out.verdict = order.VerdictConflict
		return out
	}
	out.verdict, out.status = order.VerdictExisting, o.status
	return out
}

func (m *model) commit(a ask) answer {
	out := m.look(a)
	if out.verdict != order.VerdictNew {
		return out
	}
	for i, unit := range a.units {
		if m.skus[unit.SKU] == nil {
			return answer{verdict: order.VerdictUnknown, unit: i, consumed: out.consumed}
		}
	}
	wrong := !maps.Equal(a.draws, m.drawsOf(a.lines))
	dead := make([]bool, len(a.identities))
	for i, identity := range a.identities {
		dead[i] = identity.seq != 0 && (wrong || identity.epoch != m.skus[identity.sku].epoch || m.fences[identity])
	}
	if wrong || slices.Contains(dead, true) {
		out.verdict, out.again = order.VerdictAgain, dead
		return out
	}
	for i, unit := range a.units {
		sku := m.skus[unit.SKU]
		out.unit = i
		switch used := m.has(a.customer, unit.SKU); {
		case sku.paused:
			out.verdict, out.err = order.VerdictClosed, inventory.ErrPaused
			return out
		case sku.limit > 0 && used+unit.Quantity > sku.limit:
			out.verdict, out.err, out.used = order.VerdictLimited, inventory.ErrLimitExceeded, used
			return out
		case m.left(unit.SKU) < unit.Quantity:
			out.verdict, out.err, out.left = order.VerdictFull, inventory.ErrSoldOut, max(0, m.left(unit.SKU))
			return out
		}
	}
	o := &modelOrder{content: a.content(), customer: a.customer, units: a.units, status: order.Confirmed, over: a.over}
	if a.held {
		o.status = order.Held
	}
	for i, identity := range a.identities {
		if identity.seq != 0 {
			m.skus[identity.sku].admitted += a.units[i].Quantity
			o.consumed = append(o.consumed, identity)
			out.consumed[i] = true
		}
	}
	m.orders[a.id] = o
	out.verdict, out.status, out.unit = order.VerdictBooked, o.status, 0
	return out
}

// act is what an action makes of an order, or why not.
func (m *model) act(id string, action order.Action) (order.Status, error) {
	o := m.orders[id]
	if o == nil {
		if action != order.Void {
			return "", order.ErrNotFound
		}
		m.orders[id] = &modelOrder{status: order.Cancelled}
		return order.Cancelled, nil
	}
	late := action == order.ConfirmLate || action == order.Reclaim
	switch {
	case action == order.Cancel || action == order.Void:
		o.status = order.Cancelled
	case action == order.Expire && o.status == order.Held && o.over:
		o.status = order.Expired
	case action == order.Expire || action == order.Count:
	case o.status == order.Cancelled:
		return o.status, order.ErrCancelled
	case o.status == order.Held && o.over && !late:
		return o.status, order.ErrHoldExpired
	case o.status == order.Held && action != order.Extend:
		o.status = order.Confirmed
	case o.status == order.Expired && action != order.Reclaim:
		return o.status, order.ErrHoldExpired
	case o.status == order.Expired:
		for _, unit := range o.units {
			if limit := m.skus[unit.SKU].limit; limit > 0 && m.has(o.customer, unit.SKU)+unit.Quantity > limit {
				return o.status, inventory.ErrLimitExceeded
			}
			if m.left(unit.SKU) < unit.Quantity {
				return o.status, inventory.ErrSoldOut
			}
		}
		o.status = order.Confirmed
	}
	return o.status, nil
}

func (m *model) adjust(a order.Adjustment) error {
	sku := m.skus[a.SKU]
	if sku == nil {
		return order.ErrUnknownSKU
	}
	if done, ok := m.adjustments[a.ID]; ok {
		if done != a {
			return order.ErrIdempotencyConflict
		}
		if a.Kind == order.SetCapacity && a.Units != sku.capacity {
			return order.ErrSuperseded
		}
		return nil
	}
	capacity := map[order.AdjustmentKind]int64{
		order.SetCapacity: a.Units, order.Restock: sku.capacity + a.Units, order.WriteOff: sku.capacity - a.Units,
	}[a.Kind]
	if capacity < 0 {
		return inventory.ErrInvalid
	}
	m.adjustments[a.ID] = a
	sku.capacity = capacity
	return nil
}

func (m *model) fence(id string, identity modelIdentity) bool {
	if o := m.orders[id]; o != nil {
		return slices.Contains(o.consumed, identity)
	}
	if sku := m.skus[identity.sku]; sku != nil && sku.epoch == identity.epoch {
		m.fences[identity] = true
	}
	return false
}

// kind is which of the errors that the model knows of an error is.
func kind(err error) error {
	for _, known := range []error{
		nil, order.ErrNotFound, order.ErrCancelled, order.ErrHoldExpired, order.ErrUnknownSKU, order.ErrIdempotencyConflict, order.ErrSuperseded,
		order.ErrAlreadyOnSale, inventory.ErrInvalid, inventory.ErrSoldOut, inventory.ErrLimitExceeded, inventory.ErrPaused,
	} {
		if errors.Is(err, known) {
			return known
		}
	}
	return err
}
