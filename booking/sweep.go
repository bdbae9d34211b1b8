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
			if swept, err := s.sweepPage(ctx, c, old); err != nil || swept == 0 {
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

// sweepPage settles or restores deductions of a SKU, if Postgres knows it, and returns
// how many. It passes over those of which the database does not say what became of them.
func (s *Service) sweepPage(ctx context.Context, c order.Counters, old []inventory.Deduction) (swept int, _ error) {
	consumed, counters, err := s.fence(ctx, old)
	if errors.Is(err, order.ErrRejected) {
		if len(old) == 1 {
			s.warn(ctx, c.SKU, "lastunit: the database rejects the fence of a deduction that was left behind; it stays", "order", old[0].OrderID, "error", err)
			return 0, nil
		}
		first, err := s.sweepPage(ctx, c, old[:len(old)/2])
		second, failed := s.sweepPage(ctx, c, old[len(old)/2:])
		return first + second, errors.Join(err, failed)
	}
	if err != nil || len(counters) == 0 {
		return 0, err
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
		return 0, err
	}
	s.log.InfoContext(ctx, "lastunit: swept deductions that were left behind",
		"sku", c.SKU, "settled", len(settle), "restored", len(restore))
	return len(old), nil
}

// fence waits no longer for a SKU that somebody has locked than any call does.
func (s *Service) fence(ctx context.Context, old []inventory.Deduction) ([]bool, []order.Counters, error) {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	return s.config.Orders.Fence(ctx, old)
}
