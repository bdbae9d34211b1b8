package robustness

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/booking"
	"github.com/lastunit/lastunit/internal/servertest"
	"github.com/lastunit/lastunit/order"
)

// patience bounds all waiting for something that must come, however slow the machine is:
// also for the books to be exact, once the faults have stopped, which takes seconds as a
// rule. Where a bug is planted, that may never come.
const (
	patience        = 5 * time.Minute
	plantedPatience = 30 * time.Second
)

func (r *run) patience() time.Duration {
	if r.plan.bug != "" {
		return plantedPatience
	}
	return patience
}

// finish lets the library reconcile, and buys all that is left: demand that goes on
// must find the last unit.
func (r *run) finish() {
	ctx, cancel := context.WithCancel(context.Background())
	stopped := make(chan error, 1)
	go func() { stopped <- r.keeper.Run(ctx) }()
	defer func() {
		cancel()
		require.NoError(r.t, <-stopped)
	}()
	r.resumeAll(r.skus)
	if err := servertest.Eventually(r.patience(), r.exact); err != nil {
		r.found(notExact, "%v", err)
	}
	r.checkEpochs()
	buyer := r.client()
	for _, sku := range r.skus {
		if err := r.buyAll(buyer, sku); err != nil {
			r.found(stranded, "SKU %s: %v", sku, err)
		}
		if bugNamed(r.plan.bug).among(r.problems) >= 0 {
			return // that is all that was to be seen
		}
	}
	if err := servertest.Eventually(r.patience(), r.exact); err != nil {
		r.found(notExact, "after all is sold: %v", err)
	}
}

// resumeAll goes on selling, whatever was paused.
func (r *run) resumeAll(skus []string) {
	admin := r.client()
	for _, sku := range skus {
		if err := servertest.Eventually(r.patience(), func() error {
			if got := admin.setPaused(resume, sku); got != done {
				return fmt.Errorf("SKU %s is not resumed: %s", sku, got)
			}
			return nil
		}); err != nil {
			r.found(notExact, "%v", err)
		}
	}
}

// exact says what is not as it must be while nothing happens: no hold is left, no
// deduction, no difference.
func (r *run) exact() error {
	tallies, err := r.store.TallyAll(context.Background())
	if err != nil {
		return err
	}
	for _, tally := range tallies {
		if tally.Held > 0 {
			return fmt.Errorf("%d units of SKU %s are held", tally.Held, tally.Counters.SKU)
		}
	}
	differences, err := r.keeper.ReconcileAll(context.Background(), booking.DryRun)
	if err == nil && len(differences) > 0 {
		err = fmt.Errorf("%w: %+v", errDiffers, differences)
	}
	if err != nil {
		return err
	}
	if r.inventory == nil {
		return nil
	}
	stocks, err := r.inventory.Stock(context.Background(), r.skus...)
	if err != nil {
		return err
	}
	left := make(map[string]int64)
	for _, tally := range tallies {
		left[tally.Counters.SKU] = tally.Counters.Capacity - tally.Confirmed
	}
	for _, s := range stocks {
		if s.Available() != left[s.SKU] || s.Unsettled != 0 {
			return fmt.Errorf("%w: %d units of SKU %s are left, %+v", errDiffers, left[s.SKU], s.SKU, s)
		}
	}
	return nil
}

// buyAll buys unit by unit until the SKU is sold out. Then all of it is sold.
func (r *run) buyAll(buyer *client, sku string) error {
	for n := 0; ; n++ {
		id := fmt.Sprintf("%s-last-%d", sku, n)
		request := request{verb: book, Request: booking.Request{ID: id, Customer: customerOf(id), Lines: []order.Line{{SKU: sku, Quantity: 1}}}}
		var got outcome
		err := servertest.Eventually(r.patience()/3, func() error {
			if got = buyer.ask(request); got != done && got != soldOut {
				return fmt.Errorf("a buyer is told: %s", got)
			}
			return nil
		})
		if err != nil {
			return err
		}
		if got == soldOut {
			break
		}
	}
	counters, err := r.store.Counters(context.Background(), buyer.short)
	if err != nil {
		return err
	}
	if c := counters[0]; c.Allocated < c.Capacity {
		return fmt.Errorf("%d of %d are sold, and a buyer is told that it is sold out", c.Allocated, c.Capacity)
	}
	return nil
}

// checkEpochs is for runs in which Redis loses nothing and nobody rebuilds: then the
// library has no reason to.
func (r *run) checkEpochs() {
	for _, f := range r.plan.faults {
		if f.loses {
			return
		}
	}
	counters, err := r.store.Counters(context.Background(), r.skus...)
	require.NoError(r.t, err)
	for _, c := range counters {
		if c.Epoch != r.epochs[c.SKU] {
			r.found(needlessRebuild, "SKU %s has epoch %d, it had %d", c.SKU, c.Epoch, r.epochs[c.SKU])
		}
	}
}

// history gathers what the workers wrote down and what the database has.
func (r *run) history() *history {
	h := &history{
		calls: r.own, killed: r.killed, skus: r.skus, began: r.began, direct: r.plan.direct || r.plan.alone, planted: r.plan.bug != "",
		orders: make(map[string]order.Order), ledger: make(map[string][]order.Movement), stocks: make(map[string]order.Counters),
	}
	for process := range r.job.Process {
		calls, err := readJournal(journalPath(r.dir, process+1))
		if os.IsNotExist(err) {
			continue // it was killed at once
		}
		require.NoError(r.t, err)
		h.calls = append(h.calls, calls...)
	}
	h.at = now()
	ctx := context.Background()
	for query := (order.Query{Size: order.MaxPage}); ; {
		page, err := r.store.Orders(ctx, query)
		require.NoError(r.t, err)
		for _, o := range page.Orders {
			h.orders[o.ID] = o
		}
		if query.After = page.Next; page.Next == "" {
			break
		}
	}
	counters, err := r.store.Counters(ctx, r.skus...)
	require.NoError(r.t, err)
	for _, c := range counters {
		h.stocks[c.SKU] = c
		h.ledger[c.SKU], err = r.store.Movements(ctx, c.SKU, 0, order.MaxMovements)
		require.NoError(r.t, err)
	}
	return h
}

// report tells what happened.
func (h *history) report(t testing.TB, checked time.Duration, searched int) {
	outcomes := make(map[outcome]int)
	for _, c := range h.calls {
		outcomes[c.Outcome]++
	}
	t.Logf("%d calls on %d SKUs, checked in %v, %d of them by a search: %v", len(h.calls), len(h.skus), checked.Round(time.Millisecond), searched, outcomes)
}
