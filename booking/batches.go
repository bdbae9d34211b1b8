package booking

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

// commitBatch is what a batch of commits does: Postgres decides, and what it
// decided is on its way to Redis before the callers hear of it. A caller that
// has left meanwhile changes nothing about that.
func (s *Service) commitBatch(ctx context.Context, commits []order.Commit) ([]order.Outcome, error) {
	s.postgres.enter(time.Now())
	outcomes, counters, err := s.config.Orders.Commit(ctx, commits)
	s.heard(err)
	if err != nil {
		return nil, err
	}
	s.shelf.observeCounters(counters...)
	if s.direct() {
		return outcomes, nil
	}
	news := make(map[string]*settlement, len(counters))
	for _, c := range counters {
		news[c.SKU] = &settlement{counters: c}
	}
	for i, outcome := range outcomes {
		for l, d := range commits[i].Deductions {
			if at := news[d.SKU]; at != nil && l < len(outcome.Consumed) && outcome.Consumed[l] {
				if at.consumed == nil && len(news) == 1 { // most often nearly all are
					at.consumed = make([]inventory.Deduction, 0, len(commits)-i)
				}
				at.consumed = append(at.consumed, d)
			}
		}
		switch deductions := commits[i].Deductions; {
		case outcome.Verdict == order.VerdictFailed:
			s.blocked.add(commits[i].Order.Customer, suspectFor)
		case outcome.Verdict == order.VerdictAgain:
			for l, d := range deductions {
				if at := news[d.SKU]; at != nil && outcome.Again[l] && d.Epoch > at.counters.Epoch {
					s.shelf.retract(d.Epoch, at.counters)
				}
			}
		case outcome.Verdict == order.VerdictFull && len(deductions) > 0:
			d := deductions[outcome.Unit]
			if at := news[d.SKU]; at != nil {
				at.doubt(d)
			}
		case outcome.Verdict == order.VerdictBooked && (len(deductions) == 0 || slices.Contains(deductions, inventory.Deduction{})):
			for u, unit := range commits[i].Order.Units() {
				if len(deductions) == 0 || !isThere(deductions[u]) {
					news[unit.SKU].push = true
				}
			}
		}
	}
	for _, at := range news {
		if len(at.consumed) > 0 || at.push || at.lost {
			// If the queue is full, the sweep and the checks do it.
			s.settles.Post(*at)
		}
	}
	return outcomes, nil
}

// settlement is what Redis is to hear about a SKU.
type settlement struct {
	counters order.Counters
	consumed []inventory.Deduction
	push     bool // the supply is new, so that there is something to tell
	lost     bool // Redis granted what there never was: it lost something
}

// doubt takes note that Postgres had no capacity for a deduction. If Redis
// granted it from the very supply that Postgres has now, Redis lost something, and if
// from a newer one, it has what never was; else it only has an old supply.
func (at *settlement) doubt(d inventory.Deduction) {
	if d.Epoch == at.counters.Epoch && d.Version >= at.counters.Version {
		at.lost = true
	} else {
		at.push = true
	}
}

// merge joins two settlements of one SKU; the newer supply counts.
func (at *settlement) merge(older settlement) {
	a, b := at.counters, older.counters
	if cmp.Or(cmp.Compare(a.Epoch, b.Epoch), cmp.Compare(a.Version, b.Version), cmp.Compare(a.Admitted, b.Admitted)) < 0 {
		*at, older = older, *at
	}
	// A loss is one of its own epoch.
	at.lost = at.lost || older.lost && older.counters.Epoch == at.counters.Epoch
	at.consumed = append(at.consumed, older.consumed...)
}

// settleBatch tells Redis what Postgres decided, once for each SKU.
func (s *Service) settleBatch(ctx context.Context, batch []settlement) ([]struct{}, error) {
	bySKU := make(map[string]*settlement)
	for _, news := range batch {
		if at := bySKU[news.counters.SKU]; at != nil {
			at.merge(news)
		} else {
			bySKU[news.counters.SKU] = &news
		}
	}
	var group errgroup.Group
	group.SetLimit(settlesAtOnce)
	for _, at := range bySKU {
		group.Go(func() error { s.settle(ctx, at); return nil })
	}
	_ = group.Wait() // none fails
	return make([]struct{}, len(batch)), nil
}

// settlesAtOnce is how many SKUs of a batch are settled at the same time, so that one
// whose node does not answer does not hold up the others.
const settlesAtOnce = 32

// settle tells Redis what Postgres decided about a SKU.
func (s *Service) settle(ctx context.Context, at *settlement) {
	sku := at.counters.SKU
	if at.counters.Retired() {
		return // its counters are void, and are being removed
	}
	defer s.touch(sku)
	if s.isCut(sku) {
		s.misses(sku)
		return // a sweep does the rest
	}
	ctx, cancel := context.WithTimeout(ctx, hangsAfter)
	defer cancel()
	var err error
	if at.lost {
		err = s.reload(ctx, sku, at.counters.Epoch, "they granted what there was not")
	} else if err = s.config.Inventory.Settle(ctx, at.counters.Supply(), at.consumed...); errors.Is(err, inventory.ErrNotLoaded) {
		err = s.reload(ctx, sku, at.counters.Epoch, err.Error())
	}
	if err != nil && !errors.Is(err, order.ErrRetired) {
		if at.push {
			s.misses(sku)
		}
		s.warn(ctx, sku, "lastunit: Redis did not hear that units were sold; the sweep tells it", "error", err)
	}
}

// looked is what Postgres knows of an order ID and of the SKUs of the request.
type looked struct {
	order.Outcome
	counters map[string]order.Counters // shared by the batch: only read
}

// short is the error of units of which one falls short by Postgres's counters.
func (l looked) short(units []order.Line, refused int) error {
	counters := make([]order.Counters, 0, len(units)) // as sorted as these
	for _, unit := range units {
		if c, there := l.counters[unit.SKU]; there {
			counters = append(counters, c)
		}
	}
	left := l.counters[units[refused].SKU].Left()
	err := order.NewStockError(units, refused, left, counters)
	err.Over = max(0, -left)
	return err
}

func (s *Service) lookBatch(ctx context.Context, commits []order.Commit) ([]looked, error) {
	outcomes, counters, err := s.config.Orders.Look(ctx, commits)
	if err != nil {
		return nil, err
	}
	s.shelf.observeCounters(counters...)
	bySKU := make(map[string]order.Counters, len(counters))
	for _, c := range counters {
		bySKU[c.SKU] = c
	}
	out := make([]looked, len(outcomes))
	for i := range outcomes {
		out[i] = looked{outcomes[i], bySKU}
	}
	return out, nil
}
