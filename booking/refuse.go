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
	if a.s.direct() {
		a.rivalled = false // the commit that was refused has looked for the ID
	}
	for round := 0; a.rivalled || len(a.doubtful) > 0; round++ {
		if round > maxRivals {
			return order.Order{}, order.ErrOutcomeUnknown
		}
		var others []inventory.Deduction
		var accepted []*acceptance
		if a.rivalled {
			listed, err := a.rivals(ctx)
			if err != nil && !a.s.sellsWithout(err) {
				return order.Order{}, err
			}
			// One of an accepted order is never fenced: it is carried out.
			others, accepted = a.s.adoptAll(listed)
			if err := a.s.await(ctx, accepted); err != nil {
				return order.Order{}, err
			}
		}
		rivals := append(slices.Clip(a.doubtful), others...)
		if len(rivals) > 0 {
			if _, _, err := a.s.config.Orders.Fence(ctx, rivals); err != nil {
				return order.Order{}, err
			}
		}
		// A rival that is fenced can't become an order any more. One that was
		// consumed before, be it settled before we listed them, is one by now.
		found, err := a.s.looks.Do(ctx, a.commitOf(nil))
		if err != nil {
			return order.Order{}, err
		}
		if found.Verdict != order.VerdictNew {
			return a.existing(ctx, found.Outcome)
		}
		a.inDoubt = false
		a.giveBack(ctx, a.doubtful...)
		a.doubtful = nil
		if len(others) == 0 && len(accepted) == 0 {
			break
		}
		// An Accept of one of them may still be on its way, and a fence does not
		// keep it from being accepted: only that it is gone from Redis does.
		if err := a.s.config.Inventory.Restore(ctx, others...); err != nil {
			return order.Order{}, err
		}
	}
	a.giveBack(ctx, a.held...)
	return order.Order{}, refusal
}

// maxRivals bounds how often a refusal looks for rivals, after it found some.
const maxRivals = 5

// rivals are the unsettled deductions of other tries at this order.
func (a *attempt) rivals(ctx context.Context) ([]inventory.Deduction, error) {
	var rivals []inventory.Deduction
	for _, unit := range a.units {
		k, err := a.s.know(ctx, unit.SKU)
		if err != nil {
			return nil, err
		}
		byOrder, err := a.s.scans.Do(ctx, scan{k.store, unit.SKU})
		if err != nil {
			return nil, err
		}
		for _, d := range byOrder[a.order.ID] {
			if !slices.Contains(a.held, d) {
				rivals = append(rivals, d)
			}
		}
	}
	return rivals, nil
}

// scan asks for the unsettled deductions of a SKU.
type scan struct{ store, sku string }

// scanBatch lists the unsettled deductions of SKUs by their orders, once for all
// who ask at the same time: where many are refused, many are in flight too.
func (s *Service) scanBatch(ctx context.Context, scans []scan) ([]map[string][]inventory.Deduction, error) {
	found := make(map[scan]map[string][]inventory.Deduction)
	answers := make([]map[string][]inventory.Deduction, len(scans))
	for i, asked := range scans {
		byOrder, there := found[asked]
		if !there {
			unsettled, err := s.config.Inventory.Unsettled(ctx, asked.store, asked.sku, 0, maxQueue)
			if err != nil && !errors.Is(err, inventory.ErrNotLoaded) { // what was lost was of an epoch that ends
				return nil, err
			}
			byOrder = make(map[string][]inventory.Deduction)
			for _, d := range unsettled {
				byOrder[d.OrderID] = append(byOrder[d.OrderID], d)
			}
			found[asked] = byOrder
		}
		answers[i] = byOrder // shared: only read
	}
	return answers, nil
}
