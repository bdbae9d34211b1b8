package booking

import (
	"context"
	"errors"

	"golang.org/x/sync/singleflight"

	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

// Rebuild begins a new epoch of a SKU's counters in Redis from what Postgres
// knows. It is safe at any time, under full load too: deductions of the old
// epoch that are on their way to Postgres are told to deduct again. The library
// does it by itself where it notices a loss. It fails with order.ErrUnknownSKU.
func (s *Service) Rebuild(ctx context.Context, sku string) error {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	if err := inventory.CheckID("sku", sku); err != nil {
		return err
	}
	c, err := s.counters(ctx, sku)
	if err == nil {
		err = s.reload(ctx, sku, c.Epoch)
	}
	return unknown(err)
}

// reload begins a new epoch unless somebody did since the epoch that was seen
// with unusable counters, and loads what is the newest epoch then. That epoch
// was just begun, or has been while we looked: the current one is never loaded
// without that, as it may have been loaded and lost before. Calls for one SKU join.
func (s *Service) reload(ctx context.Context, sku string, seen int64) error {
	return s.joinedCall(ctx, &s.reloads, sku, func(ctx context.Context) error {
		c, err := s.config.Orders.BeginEpoch(ctx, sku, seen)
		if err != nil {
			return err
		}
		s.shelf.observeCounters(c)
		return s.config.Inventory.Load(ctx, c.Supply())
	})
}

// joinedCall makes calls with one key share one run. As others may have joined,
// the first one's leaving does not end it.
func (s *Service) joinedCall(ctx context.Context, group *singleflight.Group, key string, run func(context.Context) error) error {
	done := group.DoChan(key, func() (any, error) {
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

// bring lets the repository have a supply: it pushes it, and reloads where
// there is nothing to push to. What fails now is made good by Run.
func (s *Service) bring(ctx context.Context, c order.Counters) {
	s.shelf.observeCounters(c)
	err := s.config.Inventory.Push(ctx, c.Supply())
	if errors.Is(err, inventory.ErrNotLoaded) {
		err = s.reload(ctx, c.SKU, c.Epoch)
	}
	if err != nil {
		s.log.WarnContext(ctx, "lastunit: a supply did not reach the inventory; the next check brings it",
			"sku", c.SKU, "version", c.Version, "error", err)
	}
}
