package booking

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

// Mode says what Reconcile does about the differences that it finds.
type Mode int

// The modes of Reconcile.
const (
	DryRun Mode = iota // only tells
	Repair             // tells and repairs
)

// Reconcile compares the two sides of the SKUs and returns what differs: nothing,
// if the books are exact, or if no SKU is given. ReconcileAll compares all SKUs. It
// counts every live order, so on a large table it takes long; its context alone
// bounds it. Run makes the same comparison all the time, without the counting.
//
// Without an Inventory it compares what is in Orders. Under traffic there are always
// Unsettled deductions, and Uncounted units if CancelTx is used; all else is a
// difference then too. A repair sweeps only those that are older than
// Config.SweepAfter. What was repaired is among the differences of that call; call
// again to see that they are gone. A server that does not answer is inventory.ErrUnavailable
// or order.ErrUnavailable; in a repair, order.ErrOutcomeUnknown. Where only one node
// of a cluster does not answer, its SKUs are passed over, and the differences of all
// others come beside the error. So is a SKU that can't be repaired, as where somebody
// keeps its row locked: the error names some of them.
func (s *Service) Reconcile(ctx context.Context, mode Mode, skus ...string) ([]Difference, error) {
	if err := mode.check(ctx); err != nil {
		return nil, err
	}
	for _, sku := range skus {
		if err := inventory.CheckID("sku", sku); err != nil {
			return nil, err
		}
	}
	tallies, err := s.config.Orders.Tally(ctx, skus...)
	if err != nil {
		return nil, err
	}
	differences, err := s.reconcile(ctx, mode, tallies)
	for _, sku := range skus {
		_, known := slices.BinarySearchFunc(tallies, sku, func(t order.Tally, sku string) int { return strings.Compare(t.Counters.SKU, sku) })
		if err == nil && !known {
			return differences, &order.SKUError{SKU: sku, Err: order.ErrUnknownSKU}
		}
	}
	return differences, err
}

// ReconcileAll is Reconcile for all SKUs.
func (s *Service) ReconcileAll(ctx context.Context, mode Mode) ([]Difference, error) {
	if err := mode.check(ctx); err != nil {
		return nil, err
	}
	tallies, err := s.config.Orders.TallyAll(ctx)
	if err != nil {
		return nil, err
	}
	if mode == DryRun || s.direct() {
		return s.reconcile(ctx, mode, tallies)
	}
	unpaired := s.pairAnew(ctx)
	differences, err := s.reconcile(ctx, mode, tallies)
	if err == nil {
		err = unknown(unpaired)
	}
	return differences, err
}

func (mode Mode) check(ctx context.Context) error {
	switch mode {
	case DryRun:
		return nil
	case Repair:
		return sendable(ctx)
	}
	return &inventory.InvalidError{Field: "mode", Reason: "is neither DryRun nor Repair"}
}

// reconcile compares the two sides of SKUs, of which Postgres has these tallies. What can't
// be repaired keeps no other from it, as long as the context lasts.
func (s *Service) reconcile(ctx context.Context, mode Mode, tallies []order.Tally) ([]Difference, error) {
	var differences []Difference
	var failed failures
	for _, tally := range tallies {
		differences = append(differences, differencesIn(tally)...)
		if mode == Repair && !tally.Balanced() && !tally.Orphan {
			if err := s.recount(ctx, tally.Counters.SKU); err != nil {
				failed.add(fmt.Errorf("recount SKU %q: %w", tally.Counters.SKU, unknown(err)))
			}
		}
	}
	if mode == Repair { // what is recounted can be counted
		_, err := s.count(ctx)
		failed.add(unknown(err))
	}
	tallies = slices.DeleteFunc(slices.Clone(tallies), func(t order.Tally) bool { return t.Orphan })
	var unasked error
	for page := range slices.Chunk(tallies, checkPage) {
		before := make([]order.Counters, len(page))
		for i, tally := range page {
			before[i] = tally.Counters
		}
		if s.direct() {
			continue
		}
		found, stocks, err := s.compareAll(ctx, before)
		if err != nil {
			failed.add(err)
			return differences, failed.join()
		}
		for i, difference := range found {
			if difference.Kind == unread {
				if err := stocks[i].Err; !errors.Is(unasked, err) {
					unasked = errors.Join(unasked, err)
				}
				continue
			}
			if difference.Kind != "" {
				differences = append(differences, difference)
			}
			if stocks[i].Unsettled != 0 {
				differences = append(differences, Difference{stocks[i].SKU, KindUnsettled, stocks[i].Unsettled, 0})
			}
			if mode == Repair {
				if err := s.repair(ctx, before[i], stocks[i], difference); err != nil {
					failed.add(fmt.Errorf("repair SKU %q: %w", before[i].SKU, unknown(err)))
				}
			}
		}
	}
	if mode == Repair {
		unasked = unknown(unasked)
	}
	failed.add(unasked)
	return differences, failed.join()
}

// recount makes Postgres count the orders of a SKU.
func (s *Service) recount(ctx context.Context, sku string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	c, err := s.config.Orders.Recount(ctx, sku)
	if err == nil {
		s.bring(ctx, c)
	}
	return err
}

// failures are the errors of many SKUs, of which one error names some.
type failures struct {
	errs []error
	more int
}

// maxFailures is how many an error names.
const maxFailures = 10

func (f *failures) add(err error) {
	switch {
	case err == nil:
	case len(f.errs) < maxFailures:
		f.errs = append(f.errs, err)
	default:
		f.more++
	}
}

func (f *failures) join() error {
	if f.more > 0 {
		return errors.Join(append(slices.Clip(f.errs), fmt.Errorf("and %d errors more", f.more))...)
	}
	return errors.Join(f.errs...)
}

// checkPage is how many SKUs are compared in a handful of round trips.
const checkPage = 500

// maxGlances bounds how often a SKU is compared that changes all the time.
const maxGlances = 5

// readStock reads the counters in Redis. It does not take all the time that there is,
// as what one node does not answer is only passed over.
func (s *Service) readStock(ctx context.Context, skus []string) ([]inventory.Stock, error) {
	ctx, cancel := context.WithTimeout(ctx, max(s.config.Timeout/4, time.Second))
	defer cancel()
	stocks, err := s.config.Inventory.Stock(ctx, skus...)
	if err != nil && !slices.ContainsFunc(stocks, func(stock inventory.Stock) bool { return stock.Err != nil }) {
		return nil, err
	}
	if len(stocks) != len(skus) {
		return nil, fmt.Errorf("%d stocks of %d SKUs", len(stocks), len(skus))
	}
	return stocks, nil
}

// compareAll compares SKUs whose counters were just read. Those that seem to
// differ are read again: Postgres may have moved on since. If it has, and that
// explains it, they are compared anew, with the counters in before replaced. Those
// that Redis could not be asked for are unread.
func (s *Service) compareAll(ctx context.Context, before []order.Counters) ([]Difference, []inventory.Stock, error) {
	differences, stocks := make([]Difference, len(before)), make([]inventory.Stock, len(before))
	open := make([]int, len(before)) // indexes of those that are not decided yet
	for i := range before {
		open[i] = i
	}
	for range maxGlances {
		found, err := s.readStock(ctx, skusOf(before, open))
		if err != nil {
			return nil, nil, err
		}
		var suspects []int
		for n, i := range open {
			stocks[i] = found[n]
			if stocks[i].Err != nil {
				differences[i] = Difference{SKU: before[i].SKU, Kind: unread}
			} else if differences[i] = compare(before[i], stocks[i], before[i]); differences[i].Kind != "" {
				suspects = append(suspects, i)
			}
		}
		if len(suspects) == 0 {
			break
		}
		again, err := s.config.Orders.Counters(ctx, skusOf(before, suspects)...)
		if err != nil {
			return nil, nil, err
		}
		after := make(map[string]order.Counters, len(again))
		for _, c := range again {
			after[c.SKU] = c
		}
		open = open[:0]
		for _, i := range suspects {
			c := after[before[i].SKU]
			if differences[i] = compare(before[i], stocks[i], c); differences[i].Kind == "" && c.SKU != "" {
				before[i] = c
				open = append(open, i)
			}
		}
		if len(open) == 0 {
			break
		}
	}
	return differences, stocks, nil
}

func skusOf(counters []order.Counters, indexes []int) []string {
	skus := make([]string, len(indexes))
	for n, i := range indexes {
		skus[n] = counters[i].SKU
	}
	return skus
}

// repair does what mends a difference, and sweeps. A rebuild begins a new epoch
// only if the epoch is still the one that was read before Redis was.
func (s *Service) repair(ctx context.Context, c order.Counters, stock inventory.Stock, difference Difference) error {
	if err := ctx.Err(); err != nil {
		return err // else what is joined would go on without it
	}
	switch difference.Kind {
	case unread:
		return stock.Err
	case KindRetired:
		ctx, cancel := s.bound(ctx)
		defer cancel()
		return s.removeRetired(ctx, c, false)
	case "":
		if stock.Unsettled == 0 {
			return nil
		}
		err := s.sweep(ctx, c, s.config.SweepAfter)
		if !errors.Is(err, inventory.ErrNotLoaded) {
			return err
		}
		return s.reload(ctx, c.SKU, c.Epoch, err.Error())
	case KindVersion:
		err := s.config.Inventory.Push(ctx, c.Supply())
		if !errors.Is(err, inventory.ErrNotLoaded) {
			return err
		}
		return s.reload(ctx, c.SKU, c.Epoch, err.Error())
	}
	seen := c.Epoch
	if difference.Kind == KindEpoch {
		seen = max(seen, stock.Epoch) // above Postgres's it never was begun
	}
	return s.reload(ctx, c.SKU, seen, difference.because())
}
