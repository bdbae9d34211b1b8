package booking

import (
	"context"

	"github.com/lastunit/lastunit/inventory"
)

// adoptAll has the accepted orders among unsettled deductions carried out, by this
// process if it does not do so already, and returns the other deductions.
func (s *Service) adoptAll(found []inventory.Deduction) (others []inventory.Deduction, carried []*acceptance) {
	for _, d := range found {
		if d.Accepted == "" {
			others = append(others, d)
		} else if e := s.adopt(d); e != nil {
			carried = append(carried, e)
		} else {
			others = append(others, d)
		}
	}
	return others, carried
}

// adopt has the order beside a deduction carried out. It returns nil if what is
// there is no order.
func (s *Service) adopt(d inventory.Deduction) *acceptance {
	o, err := decode(d.Accepted)
	if err != nil || o.ID != d.OrderID {
		s.log.Error("lastunit: what is beside a deduction is no order; it is given up", "sku", d.SKU, "order", d.OrderID, "error", err)
		return nil
	}
	e := s.newAcceptance(o, d.Accepted)
	e.name = d.Attempt
	if first := s.backlog.carry(e); first != nil {
		return first
	}
	s.inHand.enter()
	go func() {
		defer s.inHand.leave()
		ctx, cancel := s.bound(context.Background())
		defer cancel()
		if err := e.draw(ctx); err != nil {
			e.finish(o, unknown(err)) // whoever finds it next tries again
			return
		}
		for u, unit := range e.units {
			if unit.SKU == d.SKU && unit.Quantity == d.Quantity {
				e.held[u] = d
			}
		}
		e.find(ctx)
		s.carry(e)
	}()
	return e
}

// await waits until all of the orders are decided.
func (s *Service) await(ctx context.Context, carried []*acceptance) error {
	for _, e := range carried {
		select {
		case <-e.done:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
