package booking

import (
	"context"
	"errors"
	"slices"
	"sync"

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
			if err != nil && !a.s.sellsWithout(err) { // what it can't be asked for, nobody refuses for
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

// rivals are the unsettled deductions of other tries at this order. Where Postgres may
// sell by itself, those that Redis could be asked for come beside the error.
func (a *attempt) rivals(ctx context.Context) (rivals []inventory.Deduction, unasked error) {
	for _, unit := range a.units {
		k, err := a.s.know(ctx, unit.SKU)
		if err != nil {
			return nil, err
		}
		var found scanned
		err = a.s.askRedis(ctx, unit.SKU, func(ctx context.Context) (err error) {
			if found, err = a.s.scans.Do(ctx, scan{k.store, unit.SKU}); err == nil {
				err = found.err
			}
			return err
		})
		switch {
		case a.s.sellsWithout(err):
			unasked = err
		case err != nil:
			return nil, err
		}
		for _, d := range found.byOrder[a.order.ID] {
			if !slices.Contains(a.held, d) {
				rivals = append(rivals, d)
			}
		}
	}
	return rivals, unasked
}

// scan asks for the unsettled deductions of a SKU.
type scan struct{ store, sku string }

// scanned are the unsettled deductions of a SKU by their orders. It is shared: only
// read.
type scanned struct {
	byOrder map[string][]inventory.Deduction
	err     error
}

// scanBatch lists the unsettled deductions of SKUs, once for all who ask at the same
// time: where many are refused, many are in flight too. The SKUs don't wait for each
// other, as one of them may be on a node that does not answer.
func (s *Service) scanBatch(ctx context.Context, scans []scan) ([]scanned, error) {
	ctx, cancel := context.WithTimeout(ctx, hangsAfter)
	defer cancel()
	found := make(map[scan]*scanned, 1)
	var group sync.WaitGroup
	for _, asked := range scans {
		if found[asked] == nil {
			answer := new(scanned)
			found[asked] = answer
			group.Go(func() { *answer = s.scan(ctx, asked) })
		}
	}
	group.Wait()
	answers := make([]scanned, len(scans))
	for i, asked := range scans {
		answers[i] = *found[asked]
	}
	return answers, nil
}

func (s *Service) scan(ctx context.Context, asked scan) scanned {
	unsettled, err := s.config.Inventory.Unsettled(ctx, asked.store, asked.sku, 0, maxQueue)
	if err != nil && !errors.Is(err, inventory.ErrNotLoaded) { // what was lost was of an epoch that ends
		return scanned{err: err}
	}
	byOrder := make(map[string][]inventory.Deduction, len(unsettled))
	for _, d := range unsettled {
		byOrder[d.OrderID] = append(byOrder[d.OrderID], d)
	}
	return scanned{byOrder: byOrder}
}
