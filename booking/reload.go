package booking

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

// Rebuild begins a new epoch of a SKU's counters in Redis from what Postgres
// knows. It is safe at any time, under full load too: deductions of the old
// epoch that are on their way to Postgres are told to deduct again. The library
// does it by itself where it notices a loss. Without an Inventory there is nothing
// to do. It fails with order.ErrUnknownSKU and order.ErrRetired.
func (s *Service) Rebuild(ctx context.Context, sku string) error {
	if err := inventory.CheckID("sku", sku); err != nil {
		return err
	}
	if err := sendable(ctx); err != nil {
		return err
	}
	ctx, cancel := s.bound(ctx)
	defer cancel()
	c, err := s.counters(ctx, sku)
	if err == nil {
		err = s.reload(ctx, sku, s.newestOf(ctx, c), "asked to")
	}
	return unknown(err)
}

// newestOf is the newest epoch of a SKU on either side, as far as Redis can be asked.
func (s *Service) newestOf(ctx context.Context, c order.Counters) int64 {
	if s.direct() {
		return c.Epoch
	}
	stocks, err := s.readStock(ctx, []string{c.SKU})
	if err != nil || stocks[0].Store != c.Store {
		return c.Epoch
	}
	return max(c.Epoch, stocks[0].Epoch)
}

// reload begins a new epoch and loads it, unless somebody has begun one since
// the epoch that was seen with unusable counters. Then it is theirs to load: an
// epoch that others began may have been loaded and lost already, and must not be
// loaded a second time. Who finds it not loaded for too long begins another one.
// Calls for one SKU join.
//
// The epoch that was seen may be above Postgres's: then Postgres never began it, or was
// restored since. It is replaced, and what was deducted in it stays void.
func (s *Service) reload(ctx context.Context, sku string, seen int64, because string) error {
	if s.direct() {
		return nil
	}
	if err := s.unpaired(); err != nil {
		return fmt.Errorf("rebuild SKU %q: %w", sku, err)
	}
	return s.joinedCall(ctx, &s.reloads, sku, func(ctx context.Context) error {
		c, replaces, begun, err := s.beginEpoch(ctx, sku, seen)
		if err != nil {
			return err
		}
		s.shelf.retract(replaces, c)
		if !begun {
			s.shelf.observeCounters(c)
			if c.Retired() {
				return &order.SKUError{SKU: sku, Err: order.ErrRetired}
			}
			return nil
		}
		if known, _ := s.shelf.get(sku); c.Version > 2 || known.loaded { // else it was only just put on sale
			s.warn(ctx, sku, "lastunit: rebuilding the counters in Redis from Postgres", "epoch", c.Epoch, "because", because)
		}
		began := time.Now()
		supply := c.Supply()
		supply.Replaces = replaces
		if err := s.config.Inventory.Load(ctx, supply); err != nil {
			if at := s.shelf.spot(sku); at != nil && errors.Is(err, inventory.ErrUnavailable) {
				s.failed(ctx, sku, at, s.places.of(ctx, sku), began, err)
			}
			return err
		}
		s.shelf.observeLoaded(c)
		return nil
	})
}

// beginEpoch begins an epoch above the one that was seen, unless Postgres has one already.
// If that one is too near to the bound for that, it begins the next one after Postgres's
// own, to be loaded in place of it: the two never meet.
func (s *Service) beginEpoch(ctx context.Context, sku string, seen int64) (c order.Counters, replaces int64, begun bool, err error) {
	c, begun, err = s.config.Orders.BeginEpoch(ctx, sku, seen)
	if err != nil || begun || c.Epoch >= seen {
		return c, 0, begun, err
	}
	if s.newestOf(ctx, c) != seen {
		return c, seen, false, nil // somebody has replaced it
	}
	c, begun, err = s.config.Orders.BeginEpoch(ctx, sku, c.Epoch)
	return c, seen, begun, err
}

// becauseAhead is why counters are rebuilt that are of an epoch or a version that
// Postgres does not have.
const becauseAhead = "they are ahead of Postgres"

// replaceAhead replaces the counters of those dead deductions whose epoch is one that
// Postgres does not have.
func (s *Service) replaceAhead(ctx context.Context, dead []inventory.Deduction) (failed error) {
	for _, d := range dead {
		if s.shelf.ahead(d) {
			failed = errors.Join(failed, s.reload(ctx, d.SKU, d.Epoch, becauseAhead))
		}
	}
	return failed
}

// briefly runs a call to Redis that need not succeed. It returns after
// bringPatience, whatever the client does with a context.
func (s *Service) briefly(ctx context.Context, run func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, bringPatience)
	done := make(chan error, 1)
	s.inHand.enter()
	go func() {
		defer s.inHand.leave()
		defer cancel()
		done <- run(ctx)
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// joinedCall makes calls with one key share one run. As others may have joined,
// the first one's leaving does not end it.
func (s *Service) joinedCall(ctx context.Context, group *singleflight.Group, key string, run func(context.Context) error) error {
	done := group.DoChan(key, func() (any, error) {
		s.inHand.enter()
		defer s.inHand.leave()
		ctx, cancel := s.bound(context.WithoutCancel(ctx))
		defer cancel()
		return nil, run(ctx)
	})
	select {
	case result := <-done:
		return result.Err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// bringPatience bounds how long a call waits for Redis when Postgres has done
// its work already and Redis would only hear of it.
const bringPatience = time.Second

// bring lets the repository have a supply: it pushes it, and reloads where
// there is nothing to push to. What fails now is made good by Run.
func (s *Service) bring(ctx context.Context, c order.Counters) {
	s.shelf.observeCounters(c)
	if s.direct() || c.Retired() {
		return
	}
	defer s.touch(c.SKU)
	if s.isCut(c.SKU) {
		s.misses(c.SKU)
		return
	}
	err := s.briefly(ctx, func(ctx context.Context) error { return s.push(ctx, c) })
	if err != nil {
		s.misses(c.SKU)
		s.warn(ctx, c.SKU, "lastunit: Redis did not hear what is left of a SKU; it will before it is asked again", "version", c.Version, "error", err)
	}
}

// push pushes a supply, and reloads where there is nothing to push to.
func (s *Service) push(ctx context.Context, c order.Counters) error {
	if c.Retired() {
		return nil
	}
	err := s.config.Inventory.Push(ctx, c.Supply())
	if errors.Is(err, inventory.ErrNotLoaded) {
		err = s.reload(ctx, c.SKU, c.Epoch, err.Error())
	}
	return err
}
