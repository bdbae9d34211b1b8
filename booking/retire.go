package booking

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

// Retire ends a SKU for good: when it returns, Postgres commits no order of it any more,
// nor of what draws on it, whatever Redis has granted or accepted. Book, Hold, Accept and
// Reclaim fail with order.ErrRetired (*order.SKUError), which is inventory.ErrClosed too;
// accepted orders that are not in Postgres yet are refused for good, and told of. So do
// Resume, Rebuild, and a PutOnSale that names the SKU, with all its items.
//
// Its orders and movements stay. What is held can be confirmed, extended and cancelled,
// and expires; what comes back stays in Postgres. Reconcile, Movements, Pause and what
// changes the capacity, the limit or the window work as before. Stock tells when it was
// retired, and Paused is true from then on. Its key
// in Redis is removed before Retire returns, or by Run as soon as Redis can be reached and
// its accepted orders are decided; from then on the SKU costs nothing in the background.
//
// Repeating is safe. It fails with order.ErrUnknownSKU.
func (s *Service) Retire(ctx context.Context, sku string) error {
	if err := sendable(ctx); err != nil {
		return err
	}
	caller := ctx
	ctx, cancel := s.bound(ctx)
	defer cancel()
	c, err := s.config.Orders.Retire(ctx, sku)
	if err != nil {
		return unknownOf(caller, err)
	}
	s.shelf.observeCounters(c)
	if s.direct() {
		return nil
	}
	defer s.touch(sku) // the checks look whether it is done
	if s.isCut(sku) {
		return nil
	}
	if err := s.briefly(ctx, func(ctx context.Context) error { return s.removeRetired(ctx, c, true) }); err != nil {
		s.warn(ctx, sku, "lastunit: the counters of a retired SKU are still in Redis; Run removes them", "error", err)
	}
	return nil
}

// removeRetired removes the counters of a retired SKU from Redis. Postgres commits none
// of its deductions any more. But accepted orders are beside some, whose callers are to
// be told: so the last epoch is loaded, which keeps those and grants nothing, as it is
// paused; and once they are decided, the key goes. The checks don't wait for them, as
// other SKUs would: the next one finds them decided.
func (s *Service) removeRetired(ctx context.Context, c order.Counters, wait bool) error {
	if !c.Retired() { // it was not when the two sides were compared
		var err error
		if c, err = s.counters(ctx, c.SKU); err != nil || !c.Retired() {
			return err
		}
	}
	s.shelf.observeCounters(c)
	stocks, err := s.config.Inventory.Stock(ctx, c.SKU)
	if err != nil {
		return err
	}
	if len(stocks) != 1 {
		return fmt.Errorf("%d stocks of one SKU", len(stocks))
	}
	if !isLeft(c, stocks[0]) {
		return nil
	}
	last := c.Supply()
	if stocks[0].Epoch > c.Epoch {
		last.Replaces = stocks[0].Epoch // Postgres never began it, or was restored since
	}
	if err := s.config.Inventory.Load(ctx, last); err != nil {
		return err
	}
	for {
		found, err := s.config.Inventory.Unsettled(ctx, c.Store, c.SKU, 0, sweepBatch)
		if err != nil && !errors.Is(err, inventory.ErrNotLoaded) { // another process has removed it
			return err
		}
		others, accepted := s.adoptAll(found)
		if len(accepted) > 0 && !wait {
			return nil
		}
		if err := s.await(ctx, accepted); err != nil {
			return err
		}
		if err := s.config.Inventory.Restore(ctx, others...); err != nil {
			return err
		}
		left, err := s.config.Inventory.Remove(ctx, c.Store, c.SKU, c.Epoch)
		if err != nil || left == 0 {
			return err
		}
		if !pause(ctx, firstWait) { // they are decided, and about to be dropped
			return ctx.Err()
		}
	}
}

// isLeft reports whether Redis has something of a retired SKU that is to be removed:
// counters of this store, or garbage.
func isLeft(c order.Counters, stock inventory.Stock) bool {
	return stock.Why != inventory.WhyMissing && (stock.Why != "" || stock.Store == c.Store)
}

// lateLoad is for how long after it was retired a load of a SKU may still be on its way
// to Redis: one that was sent before. Until then the checks look for it.
const lateLoad = time.Minute

// noteRemoved tells Postgres of retired SKUs whose counters are gone from Redis: they
// need no comparing any more.
func (s *Service) noteRemoved(ctx context.Context, counters []order.Counters, stocks []inventory.Stock) error {
	var removed []string
	for i, c := range counters {
		if c.Retired() && stocks[i].Err == nil && stocks[i].Why == inventory.WhyMissing && c.At.Sub(c.RetiredAt) >= lateLoad {
			removed = append(removed, c.SKU)
		}
	}
	if removed == nil {
		return nil
	}
	return s.config.Orders.Removed(ctx, removed...)
}

// retired is the answer for an order of a SKU that was retired, of which nothing is
// committed any more: only what its ID became before is to be found out.
func (a *attempt) retired(ctx context.Context, sku string) (existing *order.Outcome, _ error) {
	found, err := a.s.looks.Do(ctx, a.commitOf(nil))
	switch {
	case err != nil:
		return nil, err
	case found.Verdict != order.VerdictNew:
		return &found.Outcome, nil
	}
	return nil, &order.SKUError{SKU: sku, Err: order.ErrRetired}
}
