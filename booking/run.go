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

// Run does the work in the background until its context ends: it compares the two sides
// of the SKUs, pushes supplies that did not arrive, rebuilds counters that Redis lost, sweeps deductions that were left behind, ends holds whose time is
// over, counts what ConfirmTx and CancelTx have changed, and carries out the
// orders that another process accepted and did not commit. Then it waits until the
// bookings in hand and the orders that were accepted are finished and settled, at
// most Config.Timeout, and returns nil. Stop the callers of Book and Accept
// before, or it waits for them. What is accepted and not committed by then, another
// process carries out.
//
// A Redis that lost everything, or came back as it was before, is noticed within
// Config.CheckEvery, and all its SKUs are compared then. So are the SKUs that the process
// has changed. The others have their turn: 32 in each of 64 partitions every CheckEvery,
// so that 100,000 SKUs take a minute, and what a dead process left behind in one of
// them waits as long, unless somebody asks for it. If Postgres and Redis belong to
// different sales, Run logs that once a minute, and this process does not use Redis: see
// Check.
//
// Run it in every process: they share the work without a leader, each claiming
// what is due. Errors are logged and tried again: the error that it returns is always nil,
// and there so that Run fits an errgroup. A second Run at the same time does no harm.
func (s *Service) Run(ctx context.Context) error {
	s.attendance.runs.Add(1)
	defer s.attendance.runs.Add(-1)
	// Side by side: none waits for another one that is slow.
	var works sync.WaitGroup
	all := map[string]func(context.Context) (did bool, _ error){
		"ending holds":     s.expire,
		"counting changes": s.count,
		"asking again":     s.askAgain,
	}
	if !s.direct() {
		all["watching Redis"] = s.watch
		all["comparing what Redis lost"] = s.compareLost
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
			s.log.WarnContext(ctx, "lastunit: the background work fails; trying on", append([]any{"work", name}, errorAttributes(err)...)...)
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

// slice is how many SKUs of a partition have their turn each period: all of them, as
// long as there are no more, and about 2,000 of all partitions, however many SKUs there are.
const slice = 32

// check compares the SKUs whose turn it is, of all partitions that are due, and reports
// whether there were any. Before the first look at the canaries it does nothing.
func (s *Service) check(ctx context.Context) (checked bool, _ error) {
	select {
	case <-s.canaries.known:
	case <-ctx.Done():
	}
	for ctx.Err() == nil && s.canaries.paired.Load() {
		claimed, err := s.claim(ctx)
		if err != nil || len(claimed) == 0 {
			return checked, err
		}
		did, err := s.checkSlices(ctx, claimed)
		if checked = checked || did; err != nil {
			return checked, err
		}
	}
	return checked, ctx.Err()
}

func (s *Service) claim(ctx context.Context) ([]order.Claimed, error) {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	return s.config.Orders.Claim(ctx, s.config.CheckEvery, claimLimit, slice)
}

// checkSlices compares a slice of each partition. Where most of it differs, the rest
// probably does too, and does not wait for its turn.
func (s *Service) checkSlices(ctx context.Context, claimed []order.Claimed) (checked bool, failed error) {
	differing, checked, failed := s.compareSlices(ctx, claimed)
	for _, partition := range differing {
		failed = errors.Join(failed, s.checkPartition(ctx, partition))
	}
	return checked, failed
}

// compareSlices compares and repairs, and returns the partitions in whose slice more than
// half of the SKUs differed.
func (s *Service) compareSlices(ctx context.Context, claimed []order.Claimed) (differing []int, checked bool, failed error) {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	var page []order.Counters
	ends := make([]int, len(claimed)) // of each slice in the page
	for i, c := range claimed {
		some, err := s.config.Orders.Scan(ctx, c.Partition, c.After, slice)
		failed = errors.Join(failed, err)
		page = append(page, some...)
		ends[i] = len(page)
	}
	if len(page) == 0 {
		return nil, false, failed
	}
	differences, stocks, err := s.compareAll(ctx, page)
	if err != nil {
		return nil, true, errors.Join(failed, fmt.Errorf("compare the two sides: %w", err))
	}
	begin := 0
	for i, end := range ends {
		if n := count(differences[begin:end]); 2*n > end-begin && end-begin == slice {
			differing = append(differing, claimed[i].Partition)
		}
		begin = end
	}
	if err := s.repairAll(ctx, page, stocks, differences); err != nil {
		failed = errors.Join(failed, fmt.Errorf("compare the two sides: %w", err))
	}
	return differing, true, failed
}

// count is how many there are of differences that a repair mends.
func count(differences []Difference) (n int) {
	for _, difference := range differences {
		if difference.Kind != "" && difference.Kind != unread {
			n++
		}
	}
	return n
}

// checkPartition compares all SKUs of a partition and repairs what differs. It goes on
// after a page of which some could not be repaired, as those of a node that does not answer.
func (s *Service) checkPartition(ctx context.Context, partition int) (failed error) {
	after := ""
	for {
		page, err := s.comparePage(ctx, partition, after)
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("compare the two sides: %w", err))
		}
		if len(page) < checkPage {
			return failed
		}
		after = page[len(page)-1].SKU
	}
}

func (s *Service) comparePage(ctx context.Context, partition int, after string) ([]order.Counters, error) {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	page, err := s.config.Orders.Scan(ctx, partition, after, checkPage)
	if err != nil {
		return nil, err
	}
	_, err = s.compareAndRepair(ctx, page)
	return page, err
}

// compareAndRepair brings SKUs up to date that may be so already, and returns how many
// were not.
func (s *Service) compareAndRepair(ctx context.Context, there []order.Counters) (repaired int, _ error) {
	if len(there) == 0 {
		return 0, nil
	}
	differences, stocks, err := s.compareAll(ctx, there)
	if err != nil {
		return 0, err
	}
	return count(differences), s.repairAll(ctx, there, stocks, differences)
}

// repairAll repairs each of the SKUs that differ. What several of them met is told
// once.
func (s *Service) repairAll(ctx context.Context, counters []order.Counters, stocks []inventory.Stock, differences []Difference) (failed error) {
	for i := range counters {
		if err := s.repair(ctx, counters[i], stocks[i], differences[i]); err != nil && !errors.Is(failed, err) {
			failed = errors.Join(failed, err)
		}
	}
	return errors.Join(failed, s.noteRemoved(ctx, counters, stocks))
}
