package booking

import (
	"context"
	"errors"
	"time"

	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

// sweepBatch is how many deductions are swept at once.
const sweepBatch = 500

// sweep settles or restores the deductions of a SKU that nobody did within the
// age: Postgres says of each whether its order consumed it, and sees to it that
// what isn't consumed never will be. Those of accepted orders it carries out.
func (s *Service) sweep(ctx context.Context, c order.Counters, age time.Duration) error {
	for {
		old, err := s.config.Inventory.Unsettled(ctx, c.Store, c.SKU, age, sweepBatch)
		if err != nil || len(old) == 0 {
			return err
		}
		old, accepted := s.adoptAll(old)
		if len(old) > 0 {
			if known, err := s.sweepPage(ctx, c, old); err != nil || !known {
				return err
			}
		}
		// Nobody waits for accepted orders here: one that can't be decided would
		// keep all others from being swept. What they hide the next sweep finds.
		if len(old)+len(accepted) < sweepBatch || len(accepted) > 0 {
			return nil
		}
	}
}

// sweepPage settles or restores deductions of a SKU, if Postgres knows it.
func (s *Service) sweepPage(ctx context.Context, c order.Counters, old []inventory.Deduction) (known bool, _ error) {
	consumed, counters, err := s.config.Orders.Fence(ctx, old)
	if err != nil || len(counters) == 0 {
		return false, err
	}
	s.shelf.observeCounters(counters...)
	var settle, restore []inventory.Deduction
	for i, d := range old {
		if consumed[i] {
			settle = append(settle, d)
		} else {
			restore = append(restore, d)
		}
	}
	err = errors.Join(
		s.config.Inventory.Settle(ctx, counters[0].Supply(), settle...),
		s.config.Inventory.Restore(ctx, restore...),
	)
	if err != nil {
		return true, err
	}
	s.log.InfoContext(ctx, "lastunit: swept deductions that were left behind",
		"sku", c.SKU, "settled", len(settle), "restored", len(restore))
	return true, nil
}
