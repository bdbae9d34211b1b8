package booking

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/lastunit/lastunit/internal/gather"
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
		return order.Order{}, a.stillInDoubt(refusal)
	}
	if a.s.direct() {
		a.rivalled = false // the commit that was refused has looked for the ID
	}
	// An order that this very process has accepted may be where Redis can't be asked.
	own := a.s.backlog.other(a)
	if own != nil {
		if err := own.ended(ctx); err != nil {
			return order.Order{}, err
		}
	}
	for round := 0; a.rivalled || len(a.doubtful) > 0 || own != nil; round++ {
		if round > maxRivals {
			return order.Order{}, fmt.Errorf("%w: other attempts at order %q came up %d times while it was refused: %s",
				order.ErrOutcomeUnknown, a.order.ID, round, refusal.Error())
		}
		var others []inventory.Deduction
		var accepted []*acceptance
		own = nil
		if a.rivalled {
			listed, err := a.rivals(ctx)
			if err != nil {
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
		found, err := a.look(ctx)
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

// stillInDoubt is the error if a commit may still land that nothing can fence. Its text has
// the refusal, its chain has not: that one is not definite.
func (a *attempt) stillInDoubt(refusal error) error {
	return fmt.Errorf("%w; asked again, it is refused, which a commit on its way may belie: %s", unknown(a.doubt), refusal.Error())
}

// maxRivals bounds how often a refusal looks for rivals, after it found some.
const maxRivals = 5

// rivals are the unsettled deductions of other tries at this order. Where Postgres sells
// by itself, as Redis has not answered for a while, they are those that it could be
// asked for: see SellDirect.
func (a *attempt) rivals(ctx context.Context) (rivals []inventory.Deduction, _ error) {
	for _, unit := range a.units {
		k, err := a.s.know(ctx, unit.SKU)
		if err != nil {
			return nil, err
		}
		var found scanned
		err = a.s.askRedis(ctx, unit.SKU, func(ctx context.Context) (err error) {
			if found, err = a.s.scansOf(unit.SKU).Do(ctx, k.store); err == nil {
				err = found.err
			}
			return err
		})
		if err != nil {
			if forgiven := a.s.sellsWithout(err) && a.s.isCut(unit.SKU); !forgiven {
				return nil, err
			}
		}
		for _, d := range found.byOrder[a.order.ID] {
			if !slices.Contains(a.held, d) {
				rivals = append(rivals, d)
			}
		}
	}
	return rivals, nil
}

// scanned are the unsettled deductions of a SKU by their orders. It is shared: only
// read.
type scanned struct {
	byOrder map[string][]inventory.Deduction
	err     error
}

// scansOf is where those gather who ask for the unsettled deductions of a SKU, each of a
// store: where many are refused, many are in flight too. Each SKU has its own, as one of
// them may be on a node that does not answer.
func (s *Service) scansOf(sku string) *gather.Gather[string, scanned] {
	at := s.shelf.spot(sku)
	at.scanning.Do(func() {
		at.scans = gather.New(gather.Config{Batch: order.MaxCommits, Queue: maxQueue, Timeout: hangsAfter}, func(ctx context.Context, stores []string) ([]scanned, error) {
			s.inHand.enter()
			defer s.inHand.leave()
			return s.scanBatch(ctx, sku, stores), nil
		})
	})
	return at.scans
}

// scanBatch lists the unsettled deductions of a SKU, once for each store: nearly always
// there is one.
func (s *Service) scanBatch(ctx context.Context, sku string, stores []string) []scanned {
	answers := make([]scanned, len(stores))
	for i, store := range stores {
		if first := slices.Index(stores, store); first < i {
			answers[i] = answers[first]
		} else {
			answers[i] = s.scan(ctx, store, sku)
		}
	}
	return answers
}

func (s *Service) scan(ctx context.Context, store, sku string) scanned {
	unsettled, err := s.config.Inventory.Unsettled(ctx, store, sku, 0, maxQueue)
	if err != nil && !errors.Is(err, inventory.ErrNotLoaded) { // what was lost was of an epoch that ends
		return scanned{err: err}
	}
	byOrder := make(map[string][]inventory.Deduction, len(unsettled))
	for _, d := range unsettled {
		byOrder[d.OrderID] = append(byOrder[d.OrderID], d)
	}
	return scanned{byOrder: byOrder}
}
