package booking_test

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/lastunit/lastunit/booking"
	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

// lifeModel is what a Service should do, written once more and as plainly as can
// be: one call after the other, a few maps, and sums over all orders. It knows
// neither Redis nor Postgres. Each method is one of the Service's, at a moment.
type lifeModel struct {
	skus        map[string]*lifeSKU
	orders      map[string]*lifeOrder
	made        []string // order IDs, the oldest first
	adjustments map[string]order.Adjustment

	asks    bool          // BeforeExpire is there
	answers sync.Map      // what it says about an order, by ID; Expire where there is nothing
	grace   time.Duration // Config.HoldGrace

	// remembers: who is told that a SKU is sold out may be told so again, whatever
	// else could be said. See Config.SoldOutFor.
	remembers bool
}

// lifeSKU is an item with the capacity, limit and window that it has now.
type lifeSKU struct {
	order.Item
	paused bool
	draws  []order.Line // of one unit, pools of pools included
	moved  []order.Movement
}

type lifeOrder struct {
	order.Order
	unasked bool      // it was cancelled before it was booked
	hold    bool      // Hold made it
	due     time.Time // when the background work looks at the hold
	takes   []order.Line
}

// lifeAnswer is what a call should return: the order, if one comes, and any one
// of the errors.
type lifeAnswer struct {
	order   *lifeOrder
	errs    []error
	soldOut []error // or one of these, and no order
}

func done(o *lifeOrder) lifeAnswer                  { return lifeAnswer{order: o, errs: []error{nil}} }
func refused(o *lifeOrder, err ...error) lifeAnswer { return lifeAnswer{order: o, errs: err} }

// errLifeInvalid stands for any *inventory.InvalidError.
var errLifeInvalid error = &inventory.InvalidError{Field: "some", Reason: "is out of bounds"}

func newLifeModel() *lifeModel {
	return &lifeModel{
		skus: make(map[string]*lifeSKU), orders: make(map[string]*lifeOrder), adjustments: make(map[string]order.Adjustment),
	}
}

// describe tells errors apart by what a caller may rely on: errors.Is, and the
// facts of the typed ones.
func describe(err error) string {
	var (
		adjustment *order.AdjustmentError
		stock      *inventory.StockError
		limit      *inventory.LimitError
		window     *inventory.WindowError
		expired    *order.HoldExpiredError
		sku        *order.SKUError
		id         *order.OrderError
		invalid    *inventory.InvalidError
	)
	switch {
	case err == nil:
		return "done"
	case errors.Is(err, order.ErrOutcomeUnknown), errors.Is(err, order.ErrUnavailable), errors.Is(err, inventory.ErrUnavailable):
		return "not definite: " + err.Error()
	case errors.As(err, &stock):
		return fmt.Sprintf("%v: %d of %s, %d are available", stock.Unwrap(), stock.Requested, stock.SKU, stock.Available)
	case errors.As(err, &limit):
		return fmt.Sprintf("%v: %d of %s, %d used of %d", limit.Unwrap(), limit.Requested, limit.SKU, limit.Used, limit.Limit)
	case errors.As(err, &window):
		return fmt.Sprintf("%v: %s, from %s to %s", sentinel(err), window.SKU, lifeTime(window.OpensAt), lifeTime(window.ClosesAt))
	case errors.As(err, &expired):
		return fmt.Sprintf("%v: %s at %s, left %v", expired.Unwrap(), expired.ID, lifeTime(expired.ExpiredAt), expired.Left)
	case errors.As(err, &sku):
		return fmt.Sprintf("%v: %s", sentinel(err), sku.SKU)
	case errors.As(err, &id):
		return fmt.Sprintf("%v: %s", sentinel(err), id.ID)
	case errors.As(err, &adjustment):
		return fmt.Sprintf("%v: adjustment %s", sentinel(err), adjustment.ID)
	case errors.As(err, &invalid):
		return inventory.ErrInvalid.Error()
	}
	return "unexpected: " + err.Error()
}

// sentinel is the one of the errors for errors.Is that an error is.
func sentinel(err error) error {
	for _, known := range [...]error{
		inventory.ErrNotOpen, inventory.ErrClosed, inventory.ErrPaused, order.ErrIdempotencyConflict, order.ErrCancelled,
		order.ErrBusy, order.ErrNotFound, order.ErrUnknownSKU, order.ErrAlreadyOnSale, order.ErrSuperseded, order.ErrPoolOnly,
	} {
		if errors.Is(err, known) {
			return known
		}
	}
	return err
}

func lifeTime(at time.Time) string {
	if at.IsZero() {
		return "never"
	}
	return at.UTC().Format("02T15:04:05.999999999")
}

// lifeSum adds lines up, sorted by SKU.
func lifeSum(lines ...order.Line) []order.Line {
	sums := make(map[string]int64)
	for _, line := range lines {
		sums[line.SKU] += line.Quantity
	}
	var sorted []order.Line
	for _, sku := range slices.Sorted(maps.Keys(sums)) {
		sorted = append(sorted, order.Line{SKU: sku, Quantity: sums[sku]})
	}
	return sorted
}

func tooMuch(lines []order.Line) bool {
	return slices.ContainsFunc(lines, func(line order.Line) bool { return line.Quantity < 1 || line.Quantity > inventory.MaxQuantity })
}

// times are what is drawn on pools by so many units.
func times(lines []order.Line, n int64) []order.Line {
	var all []order.Line
	for _, line := range lines {
		all = append(all, order.Line{SKU: line.SKU, Quantity: line.Quantity * n})
	}
	return all
}

func microseconds(at time.Time) time.Time {
	if at.IsZero() {
		return at
	}
	return at.UTC().Truncate(time.Microsecond)
}

func (o *lifeOrder) live() bool { return o.Status == order.Held || o.Status == order.Confirmed }

// units are what the order takes, of pools too.
func (o *lifeOrder) units() []order.Line {
	if o.takes == nil {
		o.takes = lifeSum(slices.Concat(o.Lines, o.Draws)...)
	}
	return o.takes
}

func (o *lifeOrder) unitsOf(sku string) (units int64) {
	for _, unit := range o.units() {
		if unit.SKU == sku {
			units += unit.Quantity
		}
	}
	return units
}

// allocated adds up the live orders that count, all if nothing says which do.
func (m *lifeModel) allocated(sku string, counts func(*lifeOrder) bool) (units int64) {
	for _, o := range m.orders {
		if o.live() && (counts == nil || counts(o)) {
			units += o.unitsOf(sku)
		}
	}
	return units
}

func (m *lifeModel) left(sku string) int64 {
	return m.skus[sku].Capacity - m.allocated(sku, nil)
}

// refusal is why a customer can't have more units of a SKU: the window, if it
// matters, before the limit, before the stock.
func (m *lifeModel) refusal(now time.Time, customer string, unit order.Line, window bool) error {
	s := m.skus[unit.SKU]
	closed := func(why error) error {
		return &inventory.WindowError{SKU: unit.SKU, OpensAt: s.OpensAt, ClosesAt: s.ClosesAt, Err: why}
	}
	if window {
		switch {
		case s.paused:
			return closed(inventory.ErrPaused)
		case !s.OpensAt.IsZero() && now.Before(s.OpensAt):
			return closed(inventory.ErrNotOpen)
		case !s.ClosesAt.IsZero() && !now.Before(s.ClosesAt):
			return closed(inventory.ErrClosed)
		}
	}
	used := m.allocated(unit.SKU, func(o *lifeOrder) bool { return o.Customer == customer })
	if s.CustomerLimit > 0 && used+unit.Quantity > s.CustomerLimit {
		return &inventory.LimitError{SKU: unit.SKU, Limit: s.CustomerLimit, Requested: unit.Quantity, Used: used}
	}
	if left := m.left(unit.SKU); left < unit.Quantity {
		return &inventory.StockError{SKU: unit.SKU, Requested: unit.Quantity, Available: max(0, left)}
	}
	return nil
}

// take is Book, or Hold if it is one.
func (m *lifeModel) take(now time.Time, r booking.Request, hold bool, ttl time.Duration) lifeAnswer {
	now = microseconds(now)
	if hold && (ttl < time.Millisecond || ttl > order.MaxHold) {
		return refused(nil, errLifeInvalid)
	}
	lines := lifeSum(r.Lines...)
	if r.Customer == "" || strings.Contains(r.ID, "\x00") || len(r.Lines) == 0 || tooMuch(r.Lines) || tooMuch(lines) {
		return refused(nil, errLifeInvalid)
	}
	var draws []order.Line
	for _, line := range lines {
		s := m.skus[line.SKU]
		if s == nil {
			return refused(nil, &order.SKUError{SKU: line.SKU, Err: order.ErrUnknownSKU})
		}
		draws = lifeSum(append(draws, times(s.draws, line.Quantity)...)...)
	}
	o := &lifeOrder{Order: order.Order{
		ID: r.ID, Customer: r.Customer, Status: order.Confirmed, Lines: lines, Draws: draws, CreatedAt: now, ChangedAt: now,
	}, hold: hold}
	if tooMuch(o.units()) {
		return refused(nil, errLifeInvalid)
	}
	there := m.orders[r.ID]
	var soldOut []error
	for _, unit := range o.units() {
		has := func(line order.Line) bool { return line.SKU == unit.SKU }
		if m.remembers && m.left(unit.SKU) <= 0 && (there == nil || !slices.ContainsFunc(there.units(), has)) {
			soldOut = append(soldOut, &inventory.StockError{SKU: unit.SKU, Requested: unit.Quantity})
		}
	}
	if there != nil {
		switch {
		case !there.unasked && (there.Customer != r.Customer || there.hold != hold || !slices.Equal(there.Lines, lines)):
			answer := refused(nil, &order.OrderError{ID: r.ID, Err: order.ErrIdempotencyConflict})
			answer.soldOut = soldOut
			return answer
		case !there.live():
			answer := refused(there, m.ended(there))
			answer.soldOut = soldOut
			return answer
		}
		return done(there)
	}
	// Where several units are refused, any of them may be named.
	var errs []error
	for _, unit := range o.units() {
		if err := m.refusal(now, r.Customer, unit, true); err != nil {
			errs = append(errs, err)
		}
	}
	if errs != nil {
		return refused(nil, append(errs, soldOut...)...)
	}
	kind := order.MovedBooked
	if hold {
		kind = order.MovedHeld
		o.Status, o.ExpiresAt = order.Held, microseconds(now.Add(ttl))
		o.due = o.ExpiresAt
	}
	m.insert(o)
	m.move(o, now, kind, 1)
	return done(o)
}

func (m *lifeModel) insert(o *lifeOrder) {
	m.orders[o.ID] = o
	m.made = append(m.made, o.ID)
}

// ended is the error of an order that is cancelled or expired.
func (m *lifeModel) ended(o *lifeOrder) error {
	if o.Status == order.Cancelled {
		return &order.OrderError{ID: o.ID, Err: order.ErrCancelled}
	}
	err := &order.HoldExpiredError{ID: o.ID, ExpiredAt: o.ExpiresAt}
	for _, unit := range o.units() {
		err.Left = append(err.Left, order.Line{SKU: unit.SKU, Quantity: max(0, m.left(unit.SKU))})
	}
	return err
}

// move writes a movement for each unit of an order.
func (m *lifeModel) move(o *lifeOrder, now time.Time, kind order.MovementKind, sign int64) {
	for _, unit := range o.units() {
		m.write(order.Movement{SKU: unit.SKU, Kind: kind, Quantity: sign * unit.Quantity, OrderID: o.ID, At: now})
	}
}

func (m *lifeModel) write(movement order.Movement) {
	s := m.skus[movement.SKU]
	movement.Number = int64(len(s.moved)) + 1
	s.moved = append(s.moved, movement)
}

func (m *lifeModel) become(o *lifeOrder, now time.Time, status order.Status) {
	kinds := map[order.Status]order.MovementKind{
		order.Confirmed: order.MovedConfirmed, order.Cancelled: order.MovedCancelled, order.Expired: order.MovedExpired,
	}
	sign := int64(-1)
	if status == order.Confirmed {
		sign = 1
	}
	o.Status, o.ChangedAt = status, now
	m.move(o, now, kinds[status], sign)
}

// change is Confirm, Extend, Cancel, Void and Reclaim.
func (m *lifeModel) change(now time.Time, action order.Action, id string, ttl time.Duration) lifeAnswer {
	now = microseconds(now)
	o := m.orders[id]
	switch {
	case id == "" || action == order.Extend && (ttl < time.Millisecond || ttl > order.MaxHold):
		return refused(nil, errLifeInvalid)
	case o == nil && action == order.Void:
		o = &lifeOrder{Order: order.Order{ID: id, Status: order.Cancelled, CreatedAt: now, ChangedAt: now}, unasked: true}
		m.insert(o)
		return done(o)
	case o == nil:
		return refused(nil, &order.OrderError{ID: id, Err: order.ErrNotFound})
	case action == order.Cancel || action == order.Void:
		if o.live() {
			m.become(o, now, order.Cancelled)
		} else if o.Status == order.Expired {
			o.Status, o.ChangedAt = order.Cancelled, now // its units are back already
		}
		return done(o)
	case o.Status == order.Confirmed:
		return done(o)
	case o.Status == order.Cancelled:
		return refused(o, m.ended(o))
	case action == order.Reclaim:
		return m.reclaim(now, o)
	case o.Status == order.Expired || !now.Before(o.ExpiresAt):
		return refused(o, m.ended(&lifeOrder{Order: order.Order{
			ID: o.ID, Status: order.Expired, Lines: o.Lines, Draws: o.Draws, ExpiresAt: o.ExpiresAt,
		}}))
	case action == order.Confirm:
		m.become(o, now, order.Confirmed)
	case now.Add(ttl).After(o.ExpiresAt):
		o.ExpiresAt = microseconds(now.Add(ttl))
		o.due = o.ExpiresAt
	}
	return done(o)
}

func (m *lifeModel) reclaim(now time.Time, o *lifeOrder) lifeAnswer {
	if o.Status == order.Held {
		m.become(o, now, order.Confirmed)
		return done(o)
	}
	for _, unit := range o.units() {
		if err := m.refusal(now, o.Customer, unit, false); err != nil {
			return refused(o, err)
		}
	}
	o.Status, o.ChangedAt = order.Confirmed, now
	m.move(o, now, order.MovedReclaimed, 1)
	return done(o)
}

// over are the holds that the background work would look at, in its order.
func (m *lifeModel) over(now time.Time) (over []*lifeOrder) {
	for _, id := range m.made {
		if o := m.orders[id]; o.Status == order.Held && !o.due.After(now) {
			over = append(over, o)
		}
	}
	slices.SortStableFunc(over, func(a, b *lifeOrder) int { return a.due.Compare(b.due) })
	return over
}

// expiry is what BeforeExpire says.
func (m *lifeModel) expiry(id string) booking.Expiry {
	if answer, ok := m.answers.Load(id); ok {
		return answer.(booking.Expiry)
	}
	return booking.Expire
}

// tick is one look of the background work at the holds whose time is over.
func (m *lifeModel) tick(now time.Time) {
	now = microseconds(now)
	for _, o := range m.over(now) {
		answer := booking.Expire
		if m.asks {
			answer = m.expiry(o.ID)
		}
		switch {
		case answer == booking.ConfirmPaid:
			m.become(o, now, order.Confirmed)
		case answer == booking.Expire || !now.Before(o.ExpiresAt.Add(m.grace)):
			m.become(o, now, order.Expired)
		default:
			o.due = now.Add(10 * time.Second)
		}
	}
}

// windowInvalid says whether a sale would close before it opens, in the
// microseconds that are kept, or too early.
func windowInvalid(opensAt, closesAt time.Time) bool {
	opensAt, closesAt = microseconds(opensAt), microseconds(closesAt)
	early := func(at time.Time) bool { return !at.IsZero() && at.Before(time.UnixMilli(0)) }
	return early(opensAt) || early(closesAt) || !opensAt.IsZero() && !closesAt.IsZero() && !closesAt.After(opensAt)
}

// pools is what one unit of a SKU draws, found by following its pools.
func (m *lifeModel) pools(sku string, items map[string]order.Item, trail []string) ([]order.Line, error) {
	item, ok := items[sku]
	switch s := m.skus[sku]; {
	case !ok && s == nil:
		return nil, &order.SKUError{SKU: sku, Err: order.ErrUnknownSKU}
	case !ok:
		return s.draws, nil
	case slices.Contains(trail, sku):
		return nil, errLifeInvalid
	}
	var all []order.Line
	for _, draw := range item.Draws {
		below, err := m.pools(draw.SKU, items, append(trail, sku))
		if err != nil {
			return nil, err
		}
		if all = lifeSum(append(append(all, draw), times(below, draw.Quantity)...)...); tooMuch(all) {
			return nil, errLifeInvalid
		}
	}
	return all, nil
}

func (m *lifeModel) putOnSale(now time.Time, items ...order.Item) error {
	named := make(map[string]order.Item)
	for _, item := range items {
		if _, twice := named[item.SKU]; twice || item.SKU == "" || item.Capacity < 0 || item.Capacity > inventory.MaxCapacity ||
			item.CustomerLimit < 0 || item.CustomerLimit > inventory.MaxQuantity || windowInvalid(item.OpensAt, item.ClosesAt) || tooMuch(item.Draws) {
			return errLifeInvalid
		}
		named[item.SKU] = item
	}
	draws := make(map[string][]order.Line)
	for _, item := range items {
		var err error
		if draws[item.SKU], err = m.pools(item.SKU, named, nil); err != nil {
			return err
		}
	}
	for _, item := range items {
		s := m.skus[item.SKU]
		if s != nil && (s.Capacity != item.Capacity || s.CustomerLimit != item.CustomerLimit || !slices.Equal(s.draws, draws[item.SKU]) ||
			!s.OpensAt.Equal(microseconds(item.OpensAt)) || !s.ClosesAt.Equal(microseconds(item.ClosesAt))) {
			return &order.SKUError{SKU: item.SKU, Err: order.ErrAlreadyOnSale}
		}
	}
	for _, item := range items {
		if m.skus[item.SKU] == nil {
			item.OpensAt, item.ClosesAt = microseconds(item.OpensAt), microseconds(item.ClosesAt)
			m.skus[item.SKU] = &lifeSKU{Item: item, draws: draws[item.SKU]}
			m.write(order.Movement{SKU: item.SKU, Kind: order.MovedOnSale, Quantity: item.Capacity, At: microseconds(now)})
		}
	}
	return nil
}

func (m *lifeModel) adjust(now time.Time, a order.Adjustment) error {
	if a.ID == "" || a.Units < 0 || a.Units > inventory.MaxCapacity || a.Units == 0 && a.Kind != order.SetCapacity {
		return errLifeInvalid
	}
	s := m.skus[a.SKU]
	if s == nil {
		return &order.SKUError{SKU: a.SKU, Err: order.ErrUnknownSKU}
	}
	if before, ok := m.adjustments[a.ID]; ok && before == a && a.Kind == order.SetCapacity && a.Units != s.Capacity {
		return &order.AdjustmentError{ID: a.ID, Err: order.ErrSuperseded}
	} else if ok && before == a {
		return nil
	} else if ok {
		return &order.AdjustmentError{ID: a.ID, Err: order.ErrIdempotencyConflict}
	}
	capacity, kind := a.Units, order.MovedCapacity
	switch a.Kind {
	case order.Restock:
		capacity, kind = s.Capacity+a.Units, order.MovedRestock
	case order.WriteOff:
		capacity, kind = s.Capacity-a.Units, order.MovedWriteOff
	case order.SetCapacity:
	}
	if capacity < 0 || capacity > inventory.MaxCapacity {
		return errLifeInvalid
	}
	m.adjustments[a.ID] = a
	if by := capacity - s.Capacity; by != 0 {
		s.Capacity = capacity
		m.write(order.Movement{SKU: a.SKU, Kind: kind, Quantity: by, Reason: a.Reason, Reference: a.Reference, At: microseconds(now)})
	}
	return nil
}

// alter changes a SKU if the arguments are valid.
func (m *lifeModel) alter(sku string, valid bool, change func(*lifeSKU)) error {
	s := m.skus[sku]
	switch {
	case !valid:
		return errLifeInvalid
	case s == nil:
		return &order.SKUError{SKU: sku, Err: order.ErrUnknownSKU}
	}
	change(s)
	return nil
}

func (m *lifeModel) names() []string { return slices.Sorted(maps.Keys(m.skus)) }

// stock is what Stock should tell while nothing is under way.
func (m *lifeModel) stock(sku string) booking.Stock {
	s, left := m.skus[sku], m.left(sku)
	available := max(0, left)
	for _, draw := range s.draws {
		available = min(available, max(0, m.left(draw.SKU))/draw.Quantity)
	}
	return booking.Stock{
		SKU: sku, Capacity: s.Capacity, Allocated: s.Capacity - left, Over: max(0, -left), Available: available,
		CustomerLimit: s.CustomerLimit, OpensAt: s.OpensAt, ClosesAt: s.ClosesAt, Paused: s.paused, Draws: s.draws,
	}
}

// list are the orders of a status, or of all, the newest first.
func (m *lifeModel) list(status order.Status) (list []*lifeOrder) {
	for _, id := range slices.Backward(m.made) {
		if o := m.orders[id]; status == "" || o.Status == status {
			list = append(list, o)
		}
	}
	return list
}

// moments are when something changes by itself, the next first: a hold is over, a
// sale opens or closes.
func (m *lifeModel) moments(now time.Time) (moments []time.Time) {
	for _, o := range m.orders {
		if o.Status == order.Held {
			moments = append(moments, o.ExpiresAt)
		}
	}
	for _, s := range m.skus {
		moments = append(moments, s.OpensAt, s.ClosesAt)
	}
	moments = slices.DeleteFunc(moments, func(at time.Time) bool { return !at.After(now) })
	slices.SortFunc(moments, func(a, b time.Time) int { return cmp.Compare(a.UnixNano(), b.UnixNano()) })
	return moments
}
