package booking_test

import (
	"context"
	"fmt"
	"reflect"
	"time"

	"github.com/lastunit/lastunit/booking"
	"github.com/lastunit/lastunit/order"
)

// check compares what there is with the model: the counters, and the movements
// since, or deeper all that can be seen.
func (w *lifeWalk) check(ctx context.Context, deep bool) error {
	shop, skus := w.shops[w.random.IntN(lifeProcesses)], w.model.names()
	for _, sku := range skus {
		if len(w.model.skus[sku].moved) == w.compared[sku] && !deep {
			continue
		}
		if err := w.checkMovements(ctx, shop, sku); err != nil {
			return err
		}
	}
	if !deep {
		counters, err := w.orders.Counters(ctx, skus...)
		if err != nil {
			return err
		}
		for _, c := range counters {
			if s := w.model.skus[c.SKU]; c.Capacity != s.Capacity || c.Left() != w.model.left(c.SKU) {
				return fmt.Errorf("the counters are %+v, want %d of %d left", c, w.model.left(c.SKU), s.Capacity)
			}
		}
		return nil
	}
	if len(skus) == 0 {
		return nil
	}
	stocks, err := shop.Stocks(ctx, skus...)
	if err != nil {
		return err
	}
	for i, sku := range skus {
		got, want := stocks[i], w.model.stock(sku)
		if got.OpensAt.Equal(want.OpensAt) && got.ClosesAt.Equal(want.ClosesAt) {
			got.OpensAt, got.ClosesAt = want.OpensAt, want.ClosesAt
		}
		if !reflect.DeepEqual(got, want) {
			return fmt.Errorf("the stock is\n\t%+v, want\n\t%+v", got, want)
		}
	}
	tallies, err := w.orders.Tally(ctx, skus...)
	if err != nil {
		return err
	}
	for i, tally := range tallies {
		held := w.model.allocated(skus[i], func(o *lifeOrder) bool { return o.Status == order.Held })
		confirmed := w.model.allocated(skus[i], func(o *lifeOrder) bool { return o.Status == order.Confirmed })
		if tally.Counters.SKU != skus[i] || !tally.Ledger || !tally.Balanced() || tally.Held != held || tally.Confirmed != confirmed || tally.Uncounted != 0 {
			return fmt.Errorf("the tally of %s is %+v, want %d held and %d confirmed", skus[i], tally, held, confirmed)
		}
	}
	if !w.settled || w.real {
		return nil
	}
	return w.exact(ctx, shop)
}

// checkMovements compares those that were not compared before, and what all of
// them add up to.
func (w *lifeWalk) checkMovements(ctx context.Context, shop *booking.Service, sku string) error {
	s, from := w.model.skus[sku], w.compared[sku]
	got, err := shop.Movements(ctx, sku, int64(from), order.MaxMovements)
	if err != nil {
		return err
	}
	want := s.moved[from:]
	if len(got) != len(want) {
		return fmt.Errorf("the movements of %s are\n\t%+v, want\n\t%+v", sku, got, want)
	}
	for i := range got {
		// Holds that end together do so in any order on servers.
		for j := i + 1; w.real && j < len(want) && got[i].OrderID != want[i].OrderID; j++ {
			want[i], want[j] = want[j], want[i]
			want[i].Number, want[j].Number = want[j].Number, want[i].Number
		}
		if w.real && w.near(got[i].At, want[i].At) {
			want[i].At = got[i].At
		}
		if !w.sameMovement(got[i], want[i]) {
			return fmt.Errorf("movement %d of %s is\n\t%+v, want\n\t%+v", from+i+1, sku, got[i], want[i])
		}
	}
	w.compared[sku] = len(s.moved)
	return nil
}

// exact says what differs between the two sides of SKUs that lost nothing, or
// that the background work has had the time to mend.
func (w *lifeWalk) exact(ctx context.Context, shop *booking.Service) error {
	mended := w.before
	for _, run := range w.running {
		if run != nil && run.since.Before(w.before) && w.before.Sub(run.since) > 2*lifeCheckEvery {
			mended = w.before.Add(-2 * lifeCheckEvery)
		}
	}
	var skus []string
	for _, sku := range w.model.names() {
		lost, dirty := w.dirty[sku]
		if !dirty || lost.Before(mended) && mended.Before(w.before) {
			skus = append(skus, sku)
		}
	}
	if len(skus) == 0 {
		return nil
	}
	differences, err := shop.Reconcile(ctx, booking.DryRun, skus...)
	if err == nil && len(differences) > 0 {
		err = fmt.Errorf("the two sides differ: %+v", differences)
	}
	return err
}

// audit looks at everything, when the walk is over.
func (w *lifeWalk) audit(ctx context.Context) error {
	w.before = time.Now()
	for p := range w.running {
		if err := w.stop(p); err != nil {
			return err
		}
	}
	w.settle()
	w.log("audit")
	w.now()
	shop := w.shops[0]
	if err := w.check(ctx, true); err != nil {
		return err
	}
	for _, want := range w.model.orders {
		o, err := shop.Order(ctx, want.ID)
		if err == nil {
			err = w.sameOrder(o, want)
		}
		if err != nil {
			return err
		}
	}
	if !w.real {
		if err := w.lists(ctx, shop, "", 7); err != nil {
			return err
		}
	}
	if err := w.feedFrom(ctx, shop, w.feeds[0], 1000); err != nil {
		return err
	}
	return w.becomesExact(ctx, shop)
}

// becomesExact wants no difference at once, but what was lost in Redis repaired
// first. On servers, what is under way to Redis gets a while; then it may be lost,
// as when Run was stopped in the middle of a change, and is repaired too.
func (w *lifeWalk) becomesExact(ctx context.Context, shop *booking.Service) error {
	for sku := range w.dirty {
		if _, err := shop.Reconcile(ctx, booking.Repair, sku); err != nil {
			return err
		}
	}
	for patience := time.Now().Add(10 * time.Second); ; {
		differences, err := shop.Reconcile(ctx, booking.DryRun, w.model.names()...)
		switch {
		case err != nil || len(differences) == 0:
			return err
		case !w.real || time.Now().After(patience):
			return fmt.Errorf("the two sides differ at last: %+v", differences)
		case time.Until(patience) < 5*time.Second:
			if _, err := shop.Reconcile(ctx, booking.Repair, w.model.names()...); err != nil {
				return err
			}
		}
		time.Sleep(time.Millisecond) // between polls
	}
}
