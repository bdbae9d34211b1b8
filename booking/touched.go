package booking

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
)

// touchedLimit bounds the SKUs that a process compares each period because it touched
// them: about as many as all processes compare in turn. The others wait for the next one.
const touchedLimit = 2000

// touched are the SKUs whose counters in Redis this process may have changed since it
// compared them last, in the order of their first change.
type touched struct {
	mu   sync.Mutex
	skus []string
}

// touch takes note of a change to a SKU in Redis, once it was asked for. A change that
// fails counts too: it may have been carried out.
func (s *shelf) touch(sku string, at *spot) {
	if at.touched.Load() || at.touched.Swap(true) {
		return // as nearly always
	}
	s.touched.mu.Lock()
	defer s.touched.mu.Unlock()
	s.touched.skus = append(s.touched.skus, sku)
}

// touch is that of a SKU that this process has met.
func (s *Service) touch(skus ...string) {
	for _, sku := range skus {
		if at := s.shelf.spot(sku); at != nil {
			s.shelf.touch(sku, at)
		}
	}
}

// takeTouched takes the SKUs that were touched first. A SKU that is touched from now on
// is there the next time.
func (s *shelf) takeTouched() []string {
	s.touched.mu.Lock()
	defer s.touched.mu.Unlock()
	n := min(touchedLimit, len(s.touched.skus))
	skus := slices.Clone(s.touched.skus[:n])
	s.touched.skus = slices.Delete(s.touched.skus, 0, n)
	for _, sku := range skus {
		s.spot(sku).touched.Store(false)
	}
	return skus
}

// compareTouched compares SKUs that this process has touched and repairs what differs.
// Those that are not at rest yet, with something unsettled or a difference, count as
// touched again.
func (s *Service) compareTouched(ctx context.Context, skus []string) (failed error) {
	for page := range slices.Chunk(skus, checkPage) {
		if err := s.compareTouchedPage(ctx, page); err != nil {
			failed = errors.Join(failed, err)
		}
	}
	return failed
}

func (s *Service) compareTouchedPage(ctx context.Context, skus []string) error {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	counters, err := s.config.Orders.Counters(ctx, skus...)
	if err != nil {
		s.touch(skus...)
		return fmt.Errorf("compare what was touched: %w", err)
	}
	differences, stocks, err := s.compareAll(ctx, counters)
	if err != nil {
		s.touch(skus...)
		return fmt.Errorf("compare what was touched: %w", err)
	}
	for i, difference := range differences {
		if difference.Kind != "" || stocks[i].Unsettled != 0 {
			s.touch(counters[i].SKU)
		}
	}
	return s.repairAll(ctx, counters, stocks, differences)
}
