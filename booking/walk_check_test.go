package booking_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/lastunit/lastunit/booking"
	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

func (w *walk) oversold(ctx context.Context) error {
	tallies, err := w.stores.orders.Tally(ctx, w.skus...)
	if err != nil {
		return err
	}
	for _, tally := range tallies {
		live := tally.Held + tally.Confirmed
		if live > tally.Counters.Capacity {
			return fmt.Errorf("oversold: %+v", tally)
		}
		if live != tally.Counters.Allocated {
			return fmt.Errorf("allocated is not what the live orders hold: %+v", tally)
		}
	}
	return nil
}

// wrongHash checks what the model checks of a hash in every state: once each
// deduction that no order consumed is restored, Redis must have taken what
// Postgres admitted; after a loss it may have taken less, never more.
func (w *walk) wrongHash(ctx context.Context) error {
	var wrong error
	for range 20 {
		wrong = nil
		for _, sku := range w.skus {
			wrong = errors.Join(wrong, w.wrongSKU(ctx, sku))
		}
		if wrong == nil {
			return nil
		}
		time.Sleep(5 * time.Millisecond) // something may have run while we read
	}
	return wrong
}

func (w *walk) wrongSKU(ctx context.Context, sku string) error {
	counters, err := w.stores.orders.Counters(ctx, sku)
	if err != nil {
		return err
	}
	stocks, err := w.stores.inventory.Stock(ctx, sku)
	if err != nil {
		return err
	}
	c, stock := counters[0], stocks[0]
	if stock.Why != "" || stock.Epoch != c.Epoch {
		return nil // deductions of another epoch can't be committed
	}
	unsettled, err := w.stores.inventory.Unsettled(ctx, c.Store, sku, 0, 1000)
	if err != nil {
		return err
	}
	consumed, _, err := lookOnly(ctx, w.stores.orders, unsettled)
	if err != nil {
		return err
	}
	kept, lossy, open := stock.Taken, w.lossy[sku] >= c.Epoch, int64(0)
	for i, d := range unsettled {
		open += d.Quantity
		if !consumed[i] {
			kept -= d.Quantity
		}
	}
	switch {
	case open != stock.Unsettled:
		return fmt.Errorf("%d units are unsettled, %+v", open, stock)
	case kept > c.Admitted:
		return fmt.Errorf("units are stuck: Redis keeps %d of %d admitted, %+v, unsettled %+v", kept, c.Admitted, stock, unsettled)
	case kept != c.Admitted && !lossy:
		return fmt.Errorf("nothing was lost, yet Redis keeps %d of %d admitted, %+v, unsettled %+v", kept, c.Admitted, stock, unsettled)
	case stock.Version == c.Version && stock.Supply != c.Supply().Units:
		return fmt.Errorf("one version has two supplies: %+v, %+v", stock, c)
	case !lossy && (stock.Seq < c.TopSeq || stock.Taken < c.Admitted):
		return fmt.Errorf("a loss would be noticed where there was none: %+v, %+v", stock, c)
	}
	return nil
}

// audit checks what must hold when the faults have stopped.
func (w *walk) audit(ctx context.Context, keeper *booking.Service, answers []answer) error {
	for _, a := range answers {
		stored, err := w.stores.orders.Order(ctx, a.request.ID)
		switch {
		case a.err == nil && err != nil:
			return fmt.Errorf("order %s was acknowledged and is lost: %w", a.request.ID, err)
		case a.err == nil && !stored.Status.Live() && !w.cancelled[a.request.ID]:
			return fmt.Errorf("order %s was acknowledged and is %s", a.request.ID, stored.Status)
		case errors.Is(a.err, order.ErrCancelled) && !w.cancelled[a.request.ID]:
			return fmt.Errorf("order %s was never cancelled: %w", a.request.ID, a.err)
		case a.err != nil && !errors.Is(a.err, inventory.ErrSoldOut) && !errors.Is(a.err, order.ErrCancelled):
			return fmt.Errorf("order %s: unexpected: %w", a.request.ID, a.err)
		}
	}
	if err := w.becomesExact(ctx, keeper); err != nil {
		return err
	}
	// Demand that goes on finds every unit that is left.
	for _, sku := range w.skus {
		for n := 0; ; n++ {
			_, err := book(keeper, booking.Request{Customer: "late", Lines: lines(sku, 1)})
			if errors.Is(err, inventory.ErrSoldOut) {
				break
			}
			if err != nil || n > 5 {
				return fmt.Errorf("buyer %d of what is left of %s: %w", n, sku, err)
			}
		}
	}
	if err := w.becomesExact(ctx, keeper); err != nil {
		return err
	}
	tallies, err := w.stores.orders.Tally(ctx, w.skus...)
	if err != nil {
		return err
	}
	for _, tally := range tallies {
		if tally.Confirmed != w.capacity[tally.Counters.SKU] {
			return fmt.Errorf("units are stranded: %+v", tally)
		}
	}
	return nil
}

// becomesExact lets the library reconcile. After its repairs, and with no
// traffic, there must be no difference left.
func (w *walk) becomesExact(ctx context.Context, keeper *booking.Service) error {
	var differences []booking.Difference
	for range 200 {
		var err error
		if differences, err = keeper.Reconcile(ctx, booking.Repair, w.skus...); err != nil {
			return err
		}
		if len(differences) == 0 {
			return nil
		}
		w.log(fmt.Sprintf("repaired %+v", differences))
		time.Sleep(time.Millisecond) // settles may be on their way
	}
	return fmt.Errorf("the books don't become exact: %+v", differences)
}
