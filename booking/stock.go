package booking

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

// Stock is what there is of a SKU at one moment.
type Stock struct {
	SKU       string `json:"sku"`
	Capacity  int64  `json:"capacity"`  // units there are
	Allocated int64  `json:"allocated"` // units in held and confirmed orders
	InFlight  int64  `json:"in_flight"` // units of bookings that are under way
	Over      int64  `json:"over"`      // units allocated beyond the capacity, after it was lowered: so many must come back before one is sold

	// Available is how many units are left to be booked now, also by what the
	// SKU's pools have left: by all customers together, whatever one of them may
	// have. Never negative. Where the sale is not open, it is what there would be; of a retired SKU, 0.
	Available int64 `json:"available"`

	// Of the SKU itself: its pools have terms of their own.
	CustomerLimit int64     `json:"customer_limit,omitempty"` // units that one customer may have; 0 for no limit
	OpensAt       time.Time `json:"opens_at,omitzero"`        // zero for no such moment
	ClosesAt      time.Time `json:"closes_at,omitzero"`       // zero for no such moment
	Paused        bool      `json:"paused"`                   // true for good once it is retired

	RetiredAt time.Time `json:"retired_at,omitzero"` // since when nothing is sold any more, for good; zero if it is

	Draws    []order.Line `json:"draws,omitempty"`     // what one unit takes of pools, those of pools included
	PoolOnly bool         `json:"pool_only,omitempty"` // it can only be drawn on, not ordered
}

// Stock returns what there is of a SKU. Capacity and Allocated are exact; the
// rest changes while it is read. Where Redis does not answer or lost its
// counters, InFlight is 0. It fails with order.ErrUnknownSKU.
func (s *Service) Stock(ctx context.Context, sku string) (Stock, error) {
	if err := inventory.CheckID("sku", sku); err != nil {
		return Stock{}, err
	}
	stocks, err := s.Stocks(ctx, sku)
	if err != nil {
		return Stock{}, err
	}
	return stocks[0], nil
}

// Stocks returns what there is of SKUs, in their order, as Stock does: up to
// order.MaxItems in a handful of round trips, and nothing if no SKU is given.
func (s *Service) Stocks(ctx context.Context, skus ...string) ([]Stock, error) {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	if len(skus) > order.MaxItems {
		return nil, &inventory.InvalidError{Field: "skus", Reason: fmt.Sprintf("are %d, want at most %d", len(skus), order.MaxItems)}
	}
	counters, err := s.withPools(ctx, skus)
	if err != nil {
		return nil, err
	}
	inFlight := s.inFlight(ctx, counters)
	available := func(sku string) int64 {
		if counters[sku].Retired() {
			return 0
		}
		return max(0, counters[sku].Left()-inFlight[sku])
	}
	stocks := make([]Stock, len(skus))
	for i, sku := range skus {
		c := counters[sku]
		stocks[i] = Stock{
			SKU: sku, Capacity: c.Capacity, Allocated: c.Allocated, InFlight: inFlight[sku],
			Over: max(0, -c.Left()), Available: available(sku),
			CustomerLimit: c.CustomerLimit, OpensAt: c.OpensAt, ClosesAt: c.ClosesAt, Paused: c.Paused,
			RetiredAt: c.RetiredAt, Draws: c.Draws, PoolOnly: c.PoolOnly,
		}
		for _, draw := range c.Draws {
			stocks[i].Available = min(stocks[i].Available, available(draw.SKU)/draw.Quantity)
		}
	}
	return stocks, nil
}

// withPools reads the counters of SKUs and of their pools.
func (s *Service) withPools(ctx context.Context, skus []string) (map[string]order.Counters, error) {
	found, err := s.config.Orders.Counters(ctx, skus...)
	if err != nil {
		return nil, err
	}
	counters := make(map[string]order.Counters, len(found))
	for _, c := range found {
		counters[c.SKU] = c
	}
	for _, sku := range skus {
		if _, ok := counters[sku]; !ok {
			return nil, &order.SKUError{SKU: sku, Err: order.ErrUnknownSKU}
		}
	}
	var pools []string
	for _, c := range found {
		for _, draw := range c.Draws {
			if _, ok := counters[draw.SKU]; !ok {
				pools = append(pools, draw.SKU)
			}
		}
	}
	if pools == nil {
		return counters, nil
	}
	slices.Sort(pools)
	found, err = s.config.Orders.Counters(ctx, slices.Compact(pools)...)
	if err != nil {
		return nil, err
	}
	for _, c := range found {
		counters[c.SKU] = c
	}
	return counters, nil
}

// inFlight is how many units of each SKU bookings that are under way have; none
// where Redis doesn't know.
func (s *Service) inFlight(ctx context.Context, counters map[string]order.Counters) map[string]int64 {
	if s.direct() {
		return nil
	}
	skus := make([]string, 0, len(counters))
	for sku := range counters {
		skus = append(skus, sku)
	}
	answer := make(chan []inventory.Stock, 1)
	err := s.briefly(ctx, func(ctx context.Context) error {
		// What one node does not answer comes at the end of its time, beside the others.
		ctx, cancel := context.WithTimeout(ctx, bringPatience/2)
		defer cancel()
		stocks, err := s.config.Inventory.Stock(ctx, skus...)
		answer <- stocks
		return err
	})
	var stocks []inventory.Stock
	select {
	case stocks = <-answer:
	default: // the client does not heed a context
	}
	if err != nil {
		s.log.DebugContext(ctx, "lastunit: the inventory's stock could not be read", "skus", len(skus), "error", err)
	}
	inFlight := make(map[string]int64, len(skus))
	for _, redis := range stocks {
		if c := counters[redis.SKU]; usable(c, redis) {
			// Deductions that Postgres has and Redis has not settled yet are no
			// longer in flight: they are allocated.
			inFlight[redis.SKU] = max(0, redis.Taken-c.Admitted)
		}
	}
	return inFlight
}

func usable(c order.Counters, redis inventory.Stock) bool {
	return redis.Err == nil && redis.Why == "" && redis.Store == c.Store && redis.Epoch == c.Epoch
}
