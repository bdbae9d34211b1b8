package booking

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

// claimLimit is how many partitions a process takes at once, so that several
// processes share the work.
const claimLimit = 8

// Run does the work in the background until its context ends: it compares every
// SKU's two sides, pushes supplies that did not arrive, rebuilds counters that
// Redis lost, sweeps deductions that were left behind, ends holds whose time is
// over, counts what ConfirmTx and CancelTx have changed, and carries out the
// orders that another process accepted and did not commit. Then it waits until the
// bookings in hand and the orders that were accepted are finished and settled, at
// most Config.Timeout, and returns nil. Stop the callers of Book and Accept
// before, or it waits for them. What is accepted and not committed by then, another
// process carries out.
//
// Run it in every process: they share the work without a leader, each claiming
// what is due. Errors are logged and tried again: the error that it returns is always nil,
// and there so that Run fits an errgroup. A second Run at the same time does no harm.
func (s *Service) Run(ctx context.Context) error {
	// Side by side: none waits for another one that is slow.
	var works sync.WaitGroup
	all := map[string]func(context.Context) (did bool, _ error){
		"ending holds":     s.expire,
		"counting changes": s.count,
		"asking again":     s.askAgain,
	}
	if !s.direct() {
		all["comparing the two sides"] = s.check
	}
	for name, work := range all {
		works.Go(func() { s.keep(ctx, name, work) })
	}
	works.Wait()
	s.finish(context.WithoutCancel(ctx))
	return nil
}

// keep does some work again and again until the context ends. It logs once when
// the work begins to fail, and once when it did something again.
func (s *Service) keep(ctx context.Context, name string, work func(context.Context) (did bool, _ error)) {
	// Several times a period, so that what a dead process claimed is not late by
	// another whole one.
	ticker := time.NewTicker(max(s.config.CheckEvery/4, time.Millisecond))
	defer ticker.Stop()
	failing := false
	for {
		did, err := work(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil && !failing:
			failing = true
			s.log.WarnContext(ctx, "lastunit: the background work fails; trying on", "work", name, "error", err)
		case err == nil && failing && did:
			failing = false
			s.log.InfoContext(ctx, "lastunit: the background work goes on", "work", name)
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
		}
	}
}

// finish waits for what is in hand. What it does not wait for any longer, a
// sweep mends.
func (s *Service) finish(ctx context.Context) {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	// In this order: each hands over to the next.
	waits := []func(context.Context) error{s.inHand.wait, s.backlog.wait, s.inHand.wait}
	defer s.backlog.giveUp()
	for _, commits := range s.commits {
		waits = append(waits, commits.Wait)
	}
	for _, carries := range s.carries {
		waits = append(waits, carries.Wait)
	}
	for _, changes := range s.changes {
		waits = append(waits, changes.Wait)
	}
	for _, wait := range append(waits, s.refusals.Wait, s.looks.Wait, s.settles.Wait) {
		if err := wait(ctx); err != nil {
			s.log.WarnContext(ctx, "lastunit: stopped before everything in hand was finished", "error", err)
			return
		}
	}
}

// check does the background work of all partitions that are due, and says
// whether any SKU was among them.
func (s *Service) check(ctx context.Context) (checked bool, _ error) {
	for ctx.Err() == nil {
		claimed, err := s.claim(ctx)
		if err != nil || len(claimed) == 0 {
			return checked, err
		}
		for _, partition := range claimed {
			n, failed := s.checkPartition(ctx, partition)
			checked = checked || n > 0
			err = errors.Join(err, failed)
		}
		if err != nil {
			return checked, err
		}
	}
	return checked, ctx.Err()
}

func (s *Service) claim(ctx context.Context) ([]int, error) {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	return s.config.Orders.Claim(ctx, s.config.CheckEvery, claimLimit)
}

// checkPartition goes on after a page of which some could not be repaired, as those of
// a node that does not answer.
func (s *Service) checkPartition(ctx context.Context, partition int) (checked int, failed error) {
	after := ""
	for {
		page, err := s.checkSKUs(ctx, partition, after)
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("compare the two sides: %w", err))
		}
		if checked += len(page); len(page) < checkPage {
			return checked, failed
		}
		after = page[len(page)-1].SKU
	}
}

// checkSKUs compares a page of SKUs and repairs what differs.
func (s *Service) checkSKUs(ctx context.Context, partition int, after string) ([]order.Counters, error) {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	page, err := s.config.Orders.Scan(ctx, partition, after, checkPage)
	if err != nil || len(page) == 0 {
		return nil, err
	}
	differences, stocks, err := s.compareAll(ctx, page)
	if err != nil {
		return nil, err
	}
	return page, s.repairAll(ctx, page, stocks, differences)
}

// repairAll repairs each of the SKUs that differ. What several of them met is told
// once.
func (s *Service) repairAll(ctx context.Context, counters []order.Counters, stocks []inventory.Stock, differences []Difference) (failed error) {
	for i := range counters {
		if err := s.repair(ctx, counters[i], stocks[i], differences[i]); err != nil && !errors.Is(failed, err) {
			failed = errors.Join(failed, err)
		}
	}
	return failed
}
