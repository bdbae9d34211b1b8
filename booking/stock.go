package booking

import (
	"context"

	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

// Stock is what there is of a SKU at one moment.
type Stock struct {
	SKU       string `json:"sku"`
	Capacity  int64  `json:"capacity"`  // units there are
	Allocated int64  `json:"allocated"` // units in held and confirmed orders
	InFlight  int64  `json:"in_flight"` // units of bookings that are under way
	Available int64  `json:"available"` // units that can be booked now, never negative
}

// Stock returns what there is of a SKU. Capacity and Allocated are exact; the
// rest changes while it is read. Where Redis does not answer or lost its
// counters, InFlight is 0. It fails with order.ErrUnknownSKU.
func (s *Service) Stock(ctx context.Context, sku string) (Stock, error) {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	if err := inventory.CheckID("sku", sku); err != nil {
		return Stock{}, err
	}
	c, err := s.counters(ctx, sku)
	if err != nil {
		return Stock{}, err
	}
	stock := Stock{SKU: sku, Capacity: c.Capacity, Allocated: c.Allocated, Available: max(0, c.Left())}
	taken := make(chan int64, 1)
	err = s.briefly(ctx, func(ctx context.Context) error {
		redis, err := s.config.Inventory.Stock(ctx, sku)
		if err == nil && usable(c, redis[0]) {
			taken <- redis[0].Taken
		}
		return err
	})
	if err != nil {
		s.log.DebugContext(ctx, "lastunit: the inventory's stock could not be read", "sku", sku, "error", err)
	}
	select {
	case taken := <-taken:
		// Deductions that Postgres has and Redis has not settled yet are no
		// longer in flight: they are allocated.
		stock.InFlight = max(0, taken-c.Admitted)
		stock.Available = max(0, c.Left()-stock.InFlight)
	default:
	}
	return stock, nil
}

func usable(c order.Counters, redis inventory.Stock) bool {
	return redis.Why == "" && redis.Store == c.Store && redis.Epoch == c.Epoch
}
