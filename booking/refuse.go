package booking

import (
	"context"
	"errors"
	"slices"

	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

// refuse ends the attempt with an error. Before one that says that nothing was
// taken, it makes sure that nothing will be: no earlier commit of this order may
// still land when its caller has been told that there is no order.
func (a *attempt) refuse(ctx context.Context, refusal error) (order.Order, error) {
	if !isDefinite(refusal) {
		a.giveBack(ctx, a.held...)
		return order.Order{}, refusal
	}
	if a.doubtfulDirect {
		return order.Order{}, order.ErrOutcomeUnknown
	}
	rivals := a.doubtful
	if a.rivalled {
		others, err := a.rivals(ctx)
		if err != nil {
			return order.Order{}, err
		}
		rivals = append(rivals, others...)
	}
	if len(rivals) > 0 {
		consumed, _, err := a.s.config.Orders.Fence(ctx, rivals)
		if err != nil {
			return order.Order{}, err
		}
		if slices.Contains(consumed, true) {
			found, err := a.s.looks.Do(ctx, a.commitOf(nil))
			if err != nil {
				return order.Order{}, err
			}
			return a.existing(ctx, found.Outcome)
		}
		a.inDoubt = false
	}
	a.giveBack(ctx, append(rivals, a.held...)...)
	return order.Order{}, refusal
}

// rivals are the unsettled deductions of other tries at this order.
func (a *attempt) rivals(ctx context.Context) ([]inventory.Deduction, error) {
	var rivals []inventory.Deduction
	for _, unit := range a.units {
		k, err := a.s.know(ctx, unit.SKU)
		if err != nil {
			return nil, err
		}
		unsettled, err := a.s.config.Inventory.Unsettled(ctx, k.store, unit.SKU, 0, maxQueue)
		if err != nil && !errors.Is(err, inventory.ErrNotLoaded) { // what was lost was of an epoch that ends
			return nil, err
		}
		for _, d := range unsettled {
			if d.OrderID == a.order.ID && !slices.Contains(a.held, d) {
				rivals = append(rivals, d)
			}
		}
	}
	return rivals, nil
}
