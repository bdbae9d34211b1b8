package booking_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing/synctest"
	"time"

	"github.com/lastunit/lastunit/booking"
	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

type lifeKind struct {
	often int
	do    func(*lifeWalk, context.Context, *booking.Service) error
}

// lifeKinds are the kinds of operations.
var lifeKinds = []lifeKind{
	{24, (*lifeWalk).book},
	{8, (*lifeWalk).bookAgain},
	{9, changing(order.Confirm)},
	{5, changing(order.Extend)},
	{6, changing(order.Cancel)},
	{2, changing(order.Void)},
	{10, changing(order.Reclaim)},
	{9, (*lifeWalk).adjust},
	{4, (*lifeWalk).setLimit},
	{4, (*lifeWalk).setWindow},
	{3, (*lifeWalk).pause},
	{3, (*lifeWalk).resume},
	{4, (*lifeWalk).putOnSale},
	{14, (*lifeWalk).waitABit},
	{8, (*lifeWalk).background},
	{4, (*lifeWalk).pay},
	{3, (*lifeWalk).wipe},
	{3, (*lifeWalk).save},
	{3, (*lifeWalk).rollBack},
	{6, (*lifeWalk).unheard},
	{2, (*lifeWalk).rebuild},
	{3, (*lifeWalk).repair},
	{2, (*lifeWalk).restart},
	{2, (*lifeWalk).read},
	{2, (*lifeWalk).feed},
}

func one[T any](w *lifeWalk, from ...T) T { return from[w.random.IntN(len(from))] }

// rarely is once in so many times.
func (w *lifeWalk) rarely(n int) bool { return w.random.IntN(n) == 0 }

func (w *lifeWalk) sku() string {
	if w.rarely(40) {
		return w.prefix + "unknown"
	}
	return w.prefix + one(w, "a", "b", "c", "hall")
}

func (w *lifeWalk) customer() string {
	if w.rarely(100) {
		return ""
	}
	return one(w, "x", "x", "y")
}

func (w *lifeWalk) ttl() time.Duration {
	switch w.random.IntN(20) {
	case 0:
		return one(w, 0, -time.Second, time.Millisecond-1, order.MaxHold+1)
	case 1:
		return order.MaxHold
	}
	if w.real {
		return one(w, time.Millisecond, 3*time.Millisecond, time.Hour, 2*time.Hour)
	}
	return one(w, time.Millisecond, time.Second, 5*time.Second, time.Duration(1e6+w.random.Int64N(2e10)))
}

func (w *lifeWalk) request() booking.Request {
	r := booking.Request{ID: w.prefix + one(w, "1", "2", "3", "4", "5", "6", "7", "8", "9"), Customer: w.customer()}
	if w.model.orders[r.ID] != nil && !w.rarely(3) {
		r.ID = w.prefix + fmt.Sprint("n", len(w.model.made))
	}
	if w.rarely(30) {
		r.ID = one(w, "", "\x00")
	}
	for range one(w, 1, 1, 1, 2, 3) {
		r.Lines = append(r.Lines, order.Line{SKU: w.sku(), Quantity: one[int64](w, 1, 1, 1, 2, 3)})
	}
	switch w.random.IntN(60) {
	case 0:
		r.Lines = nil
	case 1:
		r.Lines[0].Quantity = one[int64](w, 0, -1, inventory.MaxQuantity, inventory.MaxQuantity+1)
	}
	return r
}

// book is Book and Hold.
func (w *lifeWalk) book(ctx context.Context, shop *booking.Service) error {
	a := lifeAsk{w.request(), w.rarely(2), w.ttl()}
	w.asked = append(w.asked, a)
	return w.take(ctx, shop, a)
}

// bookAgain asks for what was asked for before, or for something else under its ID.
func (w *lifeWalk) bookAgain(ctx context.Context, shop *booking.Service) error {
	if len(w.asked) == 0 {
		return nil
	}
	a := one(w, w.asked...)
	a.request.Lines = slices.Clone(a.request.Lines)
	switch w.random.IntN(8) {
	case 0:
		a.request.Customer = w.customer()
	case 1:
		a.request.Lines = w.request().Lines
	case 2:
		a.hold = !a.hold
	case 3:
		a.ttl = w.ttl()
	case 4:
		slices.Reverse(a.request.Lines)
	}
	return w.take(ctx, shop, a)
}

func (w *lifeWalk) take(ctx context.Context, shop *booking.Service, a lifeAsk) error {
	var o order.Order
	var err error
	if a.hold {
		w.log("hold %+v for %v", a.request, a.ttl)
		o, err = shop.Hold(ctx, a.request, a.ttl)
	} else {
		w.log("book %+v", a.request)
		o, err = shop.Book(ctx, a.request)
	}
	now := w.now()
	if a.request.ID == "" {
		w.names++
		if a.request.ID = o.ID; err != nil {
			a.request.ID = fmt.Sprint("refused ", w.names)
		}
	}
	if err := w.same(o, err, w.model.take(now, a.request, a.hold, a.ttl)); err != nil || !w.real {
		return err
	}
	// A short hold is over before anything else happens.
	for err == nil && o.Status == order.Held && time.Until(o.ExpiresAt) < time.Minute {
		c, failure := w.orders.Counters(ctx, o.Lines[0].SKU)
		if failure != nil {
			return failure
		}
		if !c[0].At.Before(o.ExpiresAt) {
			break
		}
		time.Sleep(time.Millisecond) // between polls
	}
	return nil
}

func changing(action order.Action) func(*lifeWalk, context.Context, *booking.Service) error {
	return func(w *lifeWalk, ctx context.Context, shop *booking.Service) error {
		id := w.prefix + one(w, "1", "2", "3", "4", "5", "6", "7", "8", "9", "10")
		made := w.model.made
		if len(made) == 0 && !w.rarely(10) {
			return w.book(ctx, shop)
		}
		if len(made) > 0 && !w.rarely(15) {
			id = one(w, made...)
			// Rather one with which something can happen.
			for range 5 {
				status := w.model.orders[id].Status
				if status == order.Held || action == order.Cancel && status == order.Confirmed || action == order.Reclaim && status == order.Expired {
					break
				}
				id = one(w, made...)
			}
		}
		if w.rarely(100) {
			id = ""
		}
		ttl := w.ttl()
		var o order.Order
		var err error
		switch action {
		case order.Confirm:
			w.log("confirm %s", id)
			o, err = shop.Confirm(ctx, id)
		case order.Extend:
			w.log("extend %s by %v", id, ttl)
			o, err = shop.Extend(ctx, id, ttl)
		case order.Cancel:
			w.log("cancel %s", id)
			o, err = shop.Cancel(ctx, id)
		case order.Void:
			w.log("void %s", id)
			o, err = shop.Void(ctx, id)
		default:
			w.log("reclaim %s", id)
			o, err = shop.Reclaim(ctx, id)
		}
		return w.same(o, err, w.model.change(w.now(), action, id, ttl))
	}
}

func (w *lifeWalk) adjust(ctx context.Context, shop *booking.Service) error {
	a := order.Adjustment{
		ID: w.prefix + one(w, "d1", "d2", "d3", "d4", "d5", "d6", "d7", "d8"), SKU: w.sku(),
		Kind: one(w, order.SetCapacity, order.Restock, order.WriteOff), Units: w.random.Int64N(6), Reason: one(w, "", "why"),
	}
	switch {
	case w.rarely(8):
		a.ID = ""
	case w.rarely(30):
		a.Units = one[int64](w, -1, inventory.MaxCapacity, inventory.MaxCapacity+1)
	case w.rarely(3) && len(w.adjusted) > 0:
		a = one(w, w.adjusted...)
		if w.rarely(4) {
			a.Kind = one(w, order.SetCapacity, order.Restock, order.WriteOff)
		}
	}
	w.adjusted = append(w.adjusted, a)
	w.log("adjust %+v", a)
	var err error
	switch asked := (order.Adjustment{ID: a.ID, SKU: a.SKU, Units: a.Units, Reason: a.Reason}); a.Kind {
	case order.SetCapacity:
		err = shop.SetCapacity(ctx, asked)
	case order.Restock:
		err = shop.Restock(ctx, asked)
	case order.WriteOff:
		err = shop.WriteOff(ctx, asked)
	}
	return w.sameError(err, w.model.adjust(w.now(), a))
}

func (w *lifeWalk) setLimit(ctx context.Context, shop *booking.Service) error {
	sku, limit := w.sku(), one[int64](w, 0, 1, 2, 3, 4, 5)
	if w.rarely(15) {
		limit = one[int64](w, -1, -2, inventory.MaxQuantity+1)
	}
	w.log("limit %s to %d", sku, limit)
	err := shop.SetLimit(ctx, sku, limit)
	w.now()
	return w.sameError(err, w.model.alter(sku, limit >= 0 && limit <= inventory.MaxQuantity, func(s *lifeSKU) {
		s.CustomerLimit = limit
	}))
}

// window is when something opens and closes: about now.
func (w *lifeWalk) window() (opensAt, closesAt time.Time) {
	now := time.Now()
	moment := func() time.Time {
		if w.real {
			return now.Add(one(w, -2*time.Hour, -time.Hour, time.Hour, 2*time.Hour))
		}
		return now.Add(one(w, 0, time.Microsecond, -time.Microsecond, time.Millisecond, time.Duration(w.random.Int64N(1e10)), -time.Hour, time.Hour))
	}
	if w.rarely(3) {
		opensAt = moment()
	}
	if w.rarely(3) {
		closesAt = moment()
	}
	switch {
	case w.rarely(10) && !opensAt.IsZero():
		opensAt = opensAt.Truncate(time.Microsecond)
		closesAt = opensAt.Add(one(w, -1, 0, 1, time.Microsecond, time.Millisecond))
	case w.rarely(2) && !opensAt.IsZero() && !closesAt.IsZero() && closesAt.Before(opensAt):
		opensAt, closesAt = closesAt, opensAt
	}
	return opensAt, closesAt
}

func (w *lifeWalk) setWindow(ctx context.Context, shop *booking.Service) error {
	sku := w.sku()
	opensAt, closesAt := w.window()
	w.log("sell %s from %s to %s", sku, lifeTime(opensAt), lifeTime(closesAt))
	err := shop.SetWindow(ctx, sku, opensAt, closesAt)
	w.now()
	return w.sameError(err, w.model.alter(sku, !windowInvalid(opensAt, closesAt), func(s *lifeSKU) {
		s.OpensAt, s.ClosesAt = microseconds(opensAt), microseconds(closesAt)
	}))
}

func (w *lifeWalk) pause(ctx context.Context, shop *booking.Service) error {
	sku := w.sku()
	w.log("pause %s", sku)
	err := shop.Pause(ctx, sku)
	w.now()
	return w.sameError(err, w.model.alter(sku, true, func(s *lifeSKU) { s.paused = true }))
}

func (w *lifeWalk) resume(ctx context.Context, shop *booking.Service) error {
	sku := w.sku()
	for _, name := range w.model.names() {
		if w.model.skus[name].paused {
			sku = name
		}
	}
	w.log("resume %s", sku)
	err := shop.Resume(ctx, sku)
	w.now()
	return w.sameError(err, w.model.alter(sku, true, func(s *lifeSKU) { s.paused = false }))
}

// lifeItems are items that a trail tells briefly.
type lifeItems []order.Item

// String tells what differs from the zero Item.
func (items lifeItems) String() string {
	texts := make([]string, len(items))
	for i, item := range items {
		texts[i] = fmt.Sprintf("%d of %s", item.Capacity, item.SKU)
		if item.CustomerLimit != 0 {
			texts[i] += fmt.Sprintf(", %d for each", item.CustomerLimit)
		}
		if !item.OpensAt.IsZero() || !item.ClosesAt.IsZero() {
			texts[i] += fmt.Sprintf(", from %s to %s", lifeTime(item.OpensAt), lifeTime(item.ClosesAt))
		}
		if item.Draws != nil {
			texts[i] += fmt.Sprintf(", draws %v", item.Draws)
		}
	}
	return strings.Join(texts, "; ")
}

func (w *lifeWalk) putOnSale(ctx context.Context, shop *booking.Service) error {
	var items []order.Item
	switch {
	case len(w.items) > 0 && w.rarely(3):
		items = slices.Clone(one(w, w.items...))
	default:
		draws := map[string][]string{"a": {"hall", "b"}, "b": {"hall", "c"}, "c": {"hall"}, "hall": {"a"}, "unknown": nil}
		for _, name := range [...]string{"a", "b", "c", "hall"} {
			if len(w.model.skus) > 0 && !w.rarely(3) {
				continue
			}
			item := order.Item{SKU: w.prefix + name, Capacity: w.random.Int64N(12)}
			if there := w.model.skus[item.SKU]; there != nil && !w.rarely(3) {
				item = there.Item
			} else if len(items) == 0 || w.rarely(2) {
				for _, pool := range draws[name] {
					if w.rarely(3) && (name != "hall" || w.rarely(10)) {
						item.Draws = append(item.Draws, order.Line{SKU: w.prefix + pool, Quantity: one[int64](w, 1, 1, 2, 3)})
					}
				}
			}
			if w.rarely(6) {
				item.CustomerLimit = 1 + w.random.Int64N(4)
			}
			if w.rarely(8) {
				item.OpensAt, item.ClosesAt = w.window()
			}
			if w.rarely(60) {
				item.Capacity = one[int64](w, -1, inventory.MaxCapacity, inventory.MaxCapacity+1)
			}
			items = append(items, item)
		}
		if w.rarely(40) && len(items) > 0 {
			items = append(items, items[0])
		}
	}
	w.random.Shuffle(len(items), func(i, j int) { items[i], items[j] = items[j], items[i] })
	w.items = append(w.items, slices.Clone(items))
	w.log("put on sale %v", lifeItems(items))
	err := shop.PutOnSale(ctx, items...)
	return w.sameError(err, w.model.putOnSale(w.now(), items...))
}

// waitABit lets time pass, most often to just before, at or just after a moment
// at which something changes.
func (w *lifeWalk) waitABit(context.Context, *booking.Service) error {
	if w.real {
		return nil
	}
	now, far := time.Now(), time.Duration(1<<62)
	for _, run := range w.running {
		if run != nil {
			far = 25 * time.Second
		}
	}
	long := time.Duration(w.random.Int64N(3e9))
	if moments := w.model.moments(now); len(moments) > 0 && !w.rarely(4) {
		long = one(w, moments[0], moments[0], one(w, moments...)).Sub(now) + one(w, 0, 0, 0, -1, 1, -time.Microsecond, time.Microsecond, -time.Millisecond, time.Millisecond)
	}
	if long <= 0 || long > far {
		long = time.Millisecond
	}
	w.log("wait %v", long)
	time.Sleep(long)
	synctest.Wait()
	w.now()
	return nil
}

// background starts or stops a process's background work. On servers it lets it
// work until nothing is left to do.
func (w *lifeWalk) background(ctx context.Context, shop *booking.Service) error {
	p := w.random.IntN(lifeProcesses)
	if w.running[p] != nil {
		if !w.rarely(3) {
			return w.waitABit(ctx, shop)
		}
		w.log("process %d stops its background work", p)
		return w.stop(p)
	}
	if !w.real {
		time.Sleep(137 * time.Duration(p+1)) // so that no tick is at the moment of an operation
	}
	w.log("process %d starts its background work", p)
	ctx, cancel := context.WithCancel(ctx)
	run := &lifeRun{w.now(), cancel, make(chan error, 1)}
	go func() { run.ended <- w.shops[p].Run(ctx) }()
	w.running[p] = run
	if !w.real {
		synctest.Wait()
		w.model.tick(run.since)
		return nil
	}
	over := w.model.over(time.Now())
	for deadline := time.Now().Add(10 * time.Second); len(over) > 0; {
		o, err := w.orders.Order(ctx, over[0].ID)
		switch {
		case err != nil:
			return err
		case o.Status != order.Held:
			over = over[1:]
		case time.Now().After(deadline):
			return fmt.Errorf("order %s does not expire", o.ID)
		default:
			time.Sleep(time.Millisecond) // between polls
		}
	}
	over = w.model.over(time.Now())
	w.model.tick(w.now())
	for _, want := range over {
		o, err := w.orders.Order(ctx, want.ID)
		if err == nil {
			err = w.sameOrder(o, want)
		}
		if err != nil {
			return err
		}
	}
	return w.stop(p)
}

func (w *lifeWalk) stop(p int) error {
	run := w.running[p]
	if run == nil {
		return nil
	}
	run.cancel()
	err := <-run.ended
	w.now()
	w.running[p] = nil
	return err
}

// held is an order, most often one that is held.
func (w *lifeWalk) held() (id string) {
	for range 6 {
		if id = one(w, w.model.made...); w.model.orders[id].Status == order.Held {
			break
		}
	}
	return id
}

// pay makes BeforeExpire say something else about an order.
func (w *lifeWalk) pay(context.Context, *booking.Service) error {
	if !w.model.asks || len(w.model.made) == 0 {
		return nil
	}
	id, says := w.held(), one(w, booking.NotYet, booking.NotYet, booking.Expire, booking.ConfirmPaid)
	w.log("before %s expires, the answer is %d from now on", id, says)
	w.model.answers.Store(id, says)
	return nil
}

func (w *lifeWalk) wipe(context.Context, *booking.Service) error {
	sku := one(w, w.model.names()...)
	w.log("wipe %s", sku)
	w.dirty[sku] = w.before
	w.fast.wipe(sku)
	return nil
}

func (w *lifeWalk) save(context.Context, *booking.Service) error {
	sku := one(w, w.model.names()...)
	w.log("save %s", sku)
	w.settle()
	w.fast.save(sku)
	return nil
}

func (w *lifeWalk) rollBack(context.Context, *booking.Service) error {
	sku := one(w, w.model.names()...)
	w.log("roll %s back", sku)
	w.dirty[sku] = w.before
	w.fast.rollBack(sku)
	return nil
}

// unheard changes something without a word of it reaching Redis.
func (w *lifeWalk) unheard(ctx context.Context, shop *booking.Service) error {
	w.settle() // what was before is heard
	w.log("Redis does not hear of this:")
	w.fast.deaf(true)
	deeds := []func(*lifeWalk, context.Context, *booking.Service) error{
		(*lifeWalk).adjust, (*lifeWalk).setLimit, (*lifeWalk).setWindow, (*lifeWalk).pause, (*lifeWalk).resume,
	}
	if len(w.model.made) > 0 {
		deeds = append(deeds, changing(order.Cancel), changing(order.Reclaim))
	}
	err := one(w, deeds...)(w, ctx, shop)
	w.settle()
	w.fast.deaf(false)
	for _, sku := range w.model.names() {
		w.dirty[sku] = time.Now()
	}
	return err
}

func (w *lifeWalk) rebuild(ctx context.Context, shop *booking.Service) error {
	sku := w.sku()
	w.log("rebuild %s", sku)
	err := shop.Rebuild(ctx, sku)
	w.now()
	return w.sameError(err, w.model.alter(sku, true, func(*lifeSKU) {}))
}

func (w *lifeWalk) repair(ctx context.Context, shop *booking.Service) error {
	skus := []string{w.sku()}
	if w.rarely(2) {
		skus = w.model.names()
	}
	w.log("repair %v", skus)
	_, err := shop.Reconcile(ctx, booking.Repair, skus...)
	w.now()
	for _, sku := range skus {
		delete(w.dirty, sku)
	}
	return w.sameError(err, w.model.alter(skus[0], true, func(*lifeSKU) {}))
}

// restart makes a process a new one, which knows nothing.
func (w *lifeWalk) restart(context.Context, *booking.Service) error {
	if p := w.random.IntN(lifeProcesses); w.running[p] == nil {
		w.log("process %d is a new one", p)
		w.shops[p] = w.process()
	}
	return nil
}

// read reads what there is to read of unknown names too, and lists.
func (w *lifeWalk) read(ctx context.Context, shop *booking.Service) error {
	sku, id := w.prefix+"unknown", w.prefix+"unknown"
	w.log("read")
	_, err := shop.Stock(ctx, sku)
	if err := w.sameError(err, &order.SKUError{SKU: sku, Err: order.ErrUnknownSKU}); err != nil {
		return err
	}
	o, err := shop.Order(ctx, id)
	if err := w.same(o, err, refused(nil, &order.OrderError{ID: id, Err: order.ErrNotFound})); err != nil {
		return err
	}
	if movements, err := shop.Movements(ctx, sku, 0, 10); err != nil || len(movements) > 0 {
		return fmt.Errorf("movements of an unknown SKU: %v %w", movements, err)
	}
	name := one(w, w.model.names()...)
	moved := w.model.skus[name].moved
	after, limit := w.random.IntN(len(moved)+2), 1+w.random.IntN(4)
	movements, err := shop.Movements(ctx, name, int64(after), limit)
	if err != nil {
		return err
	}
	first := min(after, len(moved))
	if !slices.EqualFunc(movements, moved[first:min(first+limit, len(moved))], w.sameMovement) {
		return fmt.Errorf("movements of %s after %d are %+v", name, after, movements)
	}
	if w.real { // others share the list
		return nil
	}
	return w.lists(ctx, shop, one(w, "", order.Held, order.Confirmed, order.Cancelled, order.Expired), 1+w.random.IntN(4))
}

func (w *lifeWalk) lists(ctx context.Context, shop *booking.Service, status order.Status, size int) error {
	want := w.model.list(status)
	for after := ""; ; {
		page, err := shop.Orders(ctx, order.Query{Status: status, Size: size, After: after})
		if err != nil {
			return err
		}
		if n := min(size, len(want)); len(page.Orders) != n {
			return fmt.Errorf("a page of %d %q orders has %d, want %d", size, status, len(page.Orders), n)
		}
		for i, o := range page.Orders {
			if err := w.sameOrder(o, want[i]); err != nil {
				return err
			}
		}
		if want, after = want[len(page.Orders):], page.Next; after == "" {
			break
		}
	}
	if len(want) > 0 {
		return fmt.Errorf("%d orders are missing in the list", len(want))
	}
	return nil
}

func (w *lifeWalk) sameMovement(got, want order.Movement) bool {
	at := got.At
	got.At = want.At
	return got == want && at.Equal(want.At)
}

// feedPlace is where the feed was read to, and how many movements of each SKU had come
// by then.
type feedPlace struct {
	cursor order.Cursor
	read   map[string]int64
}

// feed reads all movements beyond a cursor from earlier.
func (w *lifeWalk) feed(ctx context.Context, shop *booking.Service) error {
	return w.feedFrom(ctx, shop, one(w, w.feeds...), 1+w.random.IntN(12))
}

func (w *lifeWalk) feedFrom(ctx context.Context, shop *booking.Service, from feedPlace, limit int) error {
	w.log("feed after %v, by %d", from.cursor, limit)
	if w.real {
		limit = max(limit, 100)
	}
	at := feedPlace{from.cursor, maps.Clone(from.read)}
	if at.read == nil {
		at.read = make(map[string]int64)
	}
	for {
		movements, next, err := shop.Feed(ctx, at.cursor, limit)
		if err != nil {
			return err
		}
		if len(movements) > limit {
			return fmt.Errorf("the feed has %d movements, want at most %d", len(movements), limit)
		}
		for _, movement := range movements {
			s := w.model.skus[movement.SKU]
			if w.real && s == nil {
				continue // of an earlier walk
			}
			n := at.read[movement.SKU]
			if s == nil || n >= int64(len(s.moved)) || !w.sameMovement(movement, s.moved[n]) {
				return fmt.Errorf("the feed has %+v after movement %d", movement, n)
			}
			at.read[movement.SKU] = n + 1
		}
		if moved := beyond(next) - beyond(at.cursor); moved != int64(len(movements)) {
			return fmt.Errorf("the feed's cursor moved by %d, from %v to %v, with %d movements", moved, at.cursor, next, len(movements))
		}
		at.cursor = next
		w.feeds = append(w.feeds, feedPlace{next, maps.Clone(at.read)})
		if len(movements) == 0 {
			break
		}
	}
	for _, sku := range w.model.names() {
		if moved := int64(len(w.model.skus[sku].moved)); at.read[sku] != moved {
			return fmt.Errorf("the feed ends after %d movements of %s, want %d", at.read[sku], sku, moved)
		}
	}
	return nil
}

// beyond is how many movements a cursor is beyond.
func beyond(cursor order.Cursor) (sum int64) {
	for _, position := range cursor.Positions {
		sum += position
	}
	return sum
}
