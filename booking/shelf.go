package booking

import (
	"context"
	"sync"

	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

// shelf remembers of each SKU how far its counters in Redis are known to be, so
// that a Redis that went back is noticed by the next deduction.
type shelf struct {
	mu    sync.RWMutex
	known map[string]known
}

type known struct {
	store string
	inventory.Watermark
	loaded bool         // Redis is known to have had this epoch
	draws  []order.Line // of the SKU: they never change
}

func (s *shelf) get(sku string) (known, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	k, ok := s.known[sku]
	return k, ok
}

func (s *shelf) observe(sku string, seen known) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.known == nil {
		s.known = make(map[string]known)
	}
	old := s.known[sku]
	if seen.draws == nil && old.store == seen.store {
		seen.draws = old.draws
	}
	switch {
	case old.store != seen.store || old.Epoch < seen.Epoch:
		s.known[sku] = seen
	case old.Epoch == seen.Epoch:
		seen.Seq = max(seen.Seq, old.Seq)
		seen.loaded = seen.loaded || old.loaded
		s.known[sku] = seen
	}
}

func (s *shelf) observeCounters(counters ...order.Counters) {
	for _, c := range counters {
		s.observe(c.SKU, knownOf(c))
	}
}

func (s *shelf) observeLoaded(c order.Counters) {
	k := knownOf(c)
	k.loaded = true
	s.observe(c.SKU, k)
}

func knownOf(c order.Counters) known {
	return known{store: c.Store, Watermark: inventory.Watermark{Epoch: c.Epoch, Seq: c.TopSeq}, draws: c.Draws}
}

func (s *shelf) observeDeduction(d inventory.Deduction) {
	s.observe(d.SKU, known{store: d.Store, Watermark: inventory.Watermark{Epoch: d.Epoch, Seq: d.Seq}, loaded: true})
}

// know returns what is known of a SKU, from Postgres if this process never met
// it. It fails with order.ErrUnknownSKU.
func (s *Service) know(ctx context.Context, sku string) (known, error) {
	if k, ok := s.shelf.get(sku); ok {
		return k, nil
	}
	err := s.joinedCall(ctx, &s.meets, sku, func(ctx context.Context) error {
		counters, err := s.counters(ctx, sku)
		if err == nil {
			s.shelf.observeCounters(counters)
		}
		return err
	})
	k, _ := s.shelf.get(sku)
	return k, err
}

// counters reads one SKU's counters. It fails with order.ErrUnknownSKU.
func (s *Service) counters(ctx context.Context, sku string) (order.Counters, error) {
	found, err := s.config.Orders.Counters(ctx, sku)
	if err != nil {
		return order.Counters{}, err
	}
	if len(found) == 0 {
		return order.Counters{}, &order.SKUError{SKU: sku, Err: order.ErrUnknownSKU}
	}
	return found[0], nil
}
