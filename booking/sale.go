package booking

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

// PutOnSale makes SKUs, all of them or none, at most order.MaxItems at once, in
// a handful of round trips. When it returns, Postgres has them, and buyers find
// their units, or do as soon as Redis can be reached. A SKU that is there as the
// item says is no error; otherwise it is order.ErrAlreadyOnSale. A pool that is not there
// is order.ErrUnknownSKU. A SKU that was retired, or a new one that draws on such a pool,
// is order.ErrRetired. After any of these (*order.SKUError names the SKU) no item of the
// call is made, the new ones neither: a program that puts a list on sale at each start
// leaves that SKU out and calls again, or makes a call for each item.
func (s *Service) PutOnSale(ctx context.Context, items ...order.Item) error {
	if err := sendable(ctx); err != nil {
		return err
	}
	caller := ctx
	ctx, cancel := s.bound(ctx)
	defer cancel()
	counters, made, err := s.config.Orders.PutOnSale(ctx, items...)
	if err != nil {
		return unknownOf(caller, err)
	}
	s.shelf.observeCounters(counters...)
	var fresh, there []order.Counters
	for i, c := range counters {
		if made[i] {
			fresh = append(fresh, c)
		} else {
			there = append(there, c)
		}
	}
	if err := s.bringAll(ctx, fresh, there); err != nil {
		for _, c := range counters {
			s.touch(c.SKU)
		}
		s.log.WarnContext(ctx, "lastunit: not all that was put on sale reached Redis; Run brings it",
			"items", len(items), "error", err)
	}
	return nil
}

// loadPage is how many SKUs are loaded at once: the time for them is bounded.
const loadPage = 2500

// bringAll loads SKUs that were only just made, by us, and brings others up to date.
func (s *Service) bringAll(ctx context.Context, fresh, there []order.Counters) error {
	if s.direct() {
		return nil
	}
	if err := s.unpaired(); err != nil {
		return err
	}
	for page := range slices.Chunk(fresh, loadPage) {
		if err := s.briefly(ctx, func(ctx context.Context) error { return s.loadAll(ctx, page) }); err != nil {
			return err
		}
	}
	for page := range slices.Chunk(there, loadPage) {
		if err := s.briefly(ctx, func(ctx context.Context) (err error) { _, err = s.compareAndRepair(ctx, page); return err }); err != nil {
			return err
		}
	}
	return nil
}

// loadAll loads SKUs whose epoch we have begun.
func (s *Service) loadAll(ctx context.Context, fresh []order.Counters) error {
	supplies := make([]inventory.Supply, len(fresh))
	for i, c := range fresh {
		supplies[i] = c.Supply()
	}
	if err := s.config.Inventory.Load(ctx, supplies...); err != nil {
		return err
	}
	for _, c := range fresh {
		s.shelf.observeLoaded(c)
	}
	return nil
}

// SetCapacity changes how many units there are of a SKU. When it returns,
// Postgres has it, and buyers see it, or do as soon as Redis can be reached. It
// may be less than what is sold: then nothing is sold until enough came back;
// Stock says by how much it is over.
//
// It is done once under the adjustment's ID, however often it is asked for: without
// an ID it is inventory.ErrInvalid. The Kind may be left empty; one of another call
// is inventory.ErrInvalid. It fails with order.ErrUnknownSKU, and with
// order.ErrIdempotencyConflict if the ID was used for another adjustment. A repeat
// while the capacity is another one is order.ErrSuperseded: it was made, somebody
// changed the capacity since, and nothing is changed now.
func (s *Service) SetCapacity(ctx context.Context, adjustment order.Adjustment) error {
	return s.adjust(ctx, order.SetCapacity, adjustment)
}

// Restock adds units to the capacity of a SKU; to that of its pools only if you
// restock them too. A repeat is no error, whatever the capacity is by then. All else is
// as with SetCapacity.
func (s *Service) Restock(ctx context.Context, adjustment order.Adjustment) error {
	return s.adjust(ctx, order.Restock, adjustment)
}

// WriteOff takes units off the capacity of a SKU: they are broken, or never came.
// It takes at most the capacity, be it sold; more is inventory.ErrInvalid. All
// else is as with Restock.
func (s *Service) WriteOff(ctx context.Context, adjustment order.Adjustment) error {
	return s.adjust(ctx, order.WriteOff, adjustment)
}

func (s *Service) adjust(ctx context.Context, kind order.AdjustmentKind, adjustment order.Adjustment) error {
	if adjustment.Kind == "" {
		adjustment.Kind = kind
	}
	if adjustment.Kind != kind {
		return &inventory.InvalidError{Field: "kind", Reason: fmt.Sprintf("is %.40q, want %s, or leave it empty", adjustment.Kind, kind)}
	}
	return s.alter(ctx, func(ctx context.Context) (order.Counters, error) {
		return s.config.Orders.Adjust(ctx, adjustment)
	})
}

// SetLimit changes how many units of a SKU one customer may have in live
// orders: 1 to inventory.MaxQuantity, or 0 for no limit. Who has more keeps them.
// The first limit of a SKU that was sold already goes through all orders while the
// SKU is not sold: with hundreds of thousands of them that takes longer than
// Config.Timeout, and fails. It also needs a moment in which no transaction of ConfirmTx
// or CancelTx has one of them, which a rush of those may not leave. So set a limit when
// the SKU is put on sale. It fails with order.ErrUnknownSKU.
func (s *Service) SetLimit(ctx context.Context, sku string, limit int64) error {
	return s.alter(ctx, func(ctx context.Context) (order.Counters, error) {
		return s.config.Orders.SetLimit(ctx, sku, limit)
	})
}

// SetWindow changes when a SKU is sold: from opensAt on, until closesAt. Zero is
// no such moment. Postgres's clock decides, at the commit of each order; Redis's
// clock only spares the way there. What is held when it closes can be confirmed,
// extended and reclaimed. It fails with order.ErrUnknownSKU.
func (s *Service) SetWindow(ctx context.Context, sku string, opensAt, closesAt time.Time) error {
	return s.alter(ctx, func(ctx context.Context) (order.Counters, error) {
		return s.config.Orders.SetWindow(ctx, sku, opensAt, closesAt)
	})
}

// Pause stops selling a SKU until Resume; what is held can be confirmed. When it
// returns, no order that is not committed yet will be. It fails with
// order.ErrUnknownSKU.
func (s *Service) Pause(ctx context.Context, sku string) error {
	return s.setPaused(ctx, sku, true)
}

// Resume goes on selling a SKU. It fails with order.ErrUnknownSKU and order.ErrRetired.
func (s *Service) Resume(ctx context.Context, sku string) error {
	return s.setPaused(ctx, sku, false)
}

func (s *Service) setPaused(ctx context.Context, sku string, paused bool) error {
	return s.alter(ctx, func(ctx context.Context) (order.Counters, error) {
		return s.config.Orders.SetPaused(ctx, sku, paused)
	})
}

// alter changes a SKU in Postgres and lets Redis have what comes of it.
func (s *Service) alter(ctx context.Context, change func(context.Context) (order.Counters, error)) error {
	if err := sendable(ctx); err != nil {
		return err
	}
	caller := ctx
	ctx, cancel := s.bound(ctx)
	defer cancel()
	counters, err := change(ctx)
	if err != nil {
		return unknownOf(caller, err)
	}
	s.bring(ctx, counters)
	return nil
}
