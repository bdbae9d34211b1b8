package booking

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/lastunit/lastunit/internal/gather"
	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

// shelf remembers of each SKU how far its counters in Redis are known to be, so
// that a Redis that went back is noticed by the next deduction. Every booking
// reads it and every deduction adds to it, so on the way of both there is no lock.
type shelf struct {
	skus    sync.Map     // of *spot, by SKU
	filters atomic.Int64 // bytes of all of them
	touched touched
}

// spot is a SKU's place on the shelf.
type spot struct {
	now     atomic.Pointer[life]
	soldOut atomic.Pointer[soldOut] // nil unless it is known to be
	circuit circuit                 // of the way to Redis
	on      atomic.Pointer[place]   // where it was when Redis was asked last; nil if it never was

	scanning sync.Once
	scans    *gather.Gather[string, scanned] // see scansOf

	// missed is how often Redis did not hear of a supply, and caughtUp what that was when
	// it was brought one.
	missed, caughtUp atomic.Int64

	touched  atomic.Bool // it is among shelf.touched
	learning atomic.Bool // somebody finds out whether it is sold out
	orderIDs orderIDs    // of who is learning

	mu    sync.Mutex // of those who change what is above
	opens int64      // how often units were seen that came back
}

// life is what is known of a SKU that stays the same throughout an epoch.
type life struct {
	store  string
	epoch  int64
	loaded bool         // Redis is known to have had this epoch
	draws  []order.Line // of the SKU: they never change
	seq    *atomic.Int64

	poolOnly bool // it can't be ordered; that never changes
	retired  bool // the SKU is sold never again
}

type known struct {
	store string
	inventory.Watermark
	loaded   bool
	retired  bool
	poolOnly bool
	draws    []order.Line
}

// spot is the place of a SKU that this process has met; nil if it has not.
func (s *shelf) spot(sku string) *spot {
	at, ok := s.skus.Load(sku)
	if !ok {
		return nil
	}
	return at.(*spot)
}

func (s *shelf) get(sku string) (known, bool) {
	at := s.spot(sku)
	if at == nil {
		return known{}, false
	}
	l := at.now.Load()
	return known{
		store: l.store, Watermark: inventory.Watermark{Epoch: l.epoch, Seq: l.seq.Load()},
		loaded: l.loaded, retired: l.retired, draws: l.draws, poolOnly: l.poolOnly,
	}, true
}

// drawsOf is what lines of SKUs that are known here draw on pools. It fails with
// inventory.ErrInvalid if that is too much.
func (s *shelf) drawsOf(lines []order.Line) ([]order.Line, error) {
	return order.DrawsOf(lines, func(sku string) []order.Line {
		k, _ := s.get(sku)
		return k.draws
	})
}

func (s *shelf) observe(sku string, seen known) {
	at := s.spot(sku)
	if at == nil {
		fresh := &spot{}
		fresh.now.Store((*life)(nil).next(seen))
		there, _ := s.skus.LoadOrStore(sku, fresh)
		at = there.(*spot)
	}
	at.observe(seen)
}

func (at *spot) observe(seen known) {
	l := at.now.Load()
	if !l.covers(seen) {
		at.mu.Lock()
		if l = at.now.Load(); !l.covers(seen) {
			l = l.next(seen)
			at.now.Store(l)
		}
		at.mu.Unlock()
	}
	if l.store != seen.store || l.epoch != seen.Epoch {
		return // it was seen before this life began
	}
	for seq := l.seq.Load(); seq < seen.Seq && !l.seq.CompareAndSwap(seq, seen.Seq); {
		seq = l.seq.Load()
	}
}

// covers says that what was seen is nothing new but for the seq.
func (l *life) covers(seen known) bool {
	return l.store == seen.store &&
		(l.epoch > seen.Epoch || l.epoch == seen.Epoch && (l.loaded || !seen.loaded) && (l.draws != nil || seen.draws == nil) && (l.poolOnly || !seen.poolOnly) &&
			(l.retired || !seen.retired))
}

// is reports whether it is the life of an epoch of a store.
func (l *life) is(store string, epoch int64) bool { return l.store == store && l.epoch == epoch }

// next is the life with what was seen: another one, or the same with more known
// about it.
func (l *life) next(seen known) *life {
	next := &life{store: seen.store, epoch: seen.Epoch, loaded: seen.loaded, retired: seen.retired, draws: seen.draws, seq: new(atomic.Int64), poolOnly: seen.poolOnly}
	if l == nil || l.store != seen.store {
		return next
	}
	if next.draws == nil {
		next.draws = l.draws
	}
	next.poolOnly = next.poolOnly || l.poolOnly
	next.retired = next.retired || l.retired
	if l.epoch == seen.Epoch {
		next.loaded = next.loaded || l.loaded
		next.seq = l.seq
	}
	return next
}

func (s *shelf) observeCounters(counters ...order.Counters) {
	for _, c := range counters {
		s.observe(c.SKU, knownOf(c))
		if c.Left() > 0 {
			s.spot(c.SKU).open()
		}
	}
}

// open forgets that the SKU was sold out, and sees to it that nobody who asked
// before says so.
func (at *spot) open() {
	// Who begins to learn after this finds what was seen here.
	if !at.learning.Load() && at.soldOut.Load() == nil { // in this order: learning ends after it was known
		return
	}
	at.mu.Lock()
	defer at.mu.Unlock()
	at.opens++
	at.soldOut.Store(nil)
}

// opened is how often it was opened.
func (at *spot) opened() int64 {
	at.mu.Lock()
	defer at.mu.Unlock()
	return at.opens
}

// close takes note that the SKU is sold out, unless it was opened meanwhile.
func (at *spot) close(known *soldOut, opened int64) {
	at.mu.Lock()
	defer at.mu.Unlock()
	if at.opens == opened {
		at.soldOut.Store(known)
	}
}

func (s *shelf) observeLoaded(c order.Counters) {
	k := knownOf(c)
	k.loaded = true
	s.observe(c.SKU, k)
}

func knownOf(c order.Counters) known {
	return known{store: c.Store, Watermark: inventory.Watermark{Epoch: c.Epoch, Seq: c.TopSeq}, retired: c.Retired(), draws: c.Draws, poolOnly: c.PoolOnly}
}

// observeDeduction takes note of a deduction of the epoch that Postgres has, as far as it is
// known here. That there is a newer one is Postgres's word alone: Redis may have counters of
// an epoch that never was.
func (s *shelf) observeDeduction(d inventory.Deduction) {
	if at := s.spot(d.SKU); at != nil && at.now.Load().is(d.Store, d.Epoch) {
		at.observe(known{store: d.Store, Watermark: inventory.Watermark{Epoch: d.Epoch, Seq: d.Seq}, loaded: true})
	}
}

// retract forgets an epoch that Postgres turned out not to have, by counters that were
// read after that epoch was seen: Postgres was restored since it was observed.
func (s *shelf) retract(epoch int64, c order.Counters) {
	at := s.spot(c.SKU)
	if at == nil {
		return
	}
	at.mu.Lock()
	defer at.mu.Unlock()
	if at.now.Load().is(c.Store, epoch) {
		at.now.Store((*life)(nil).next(knownOf(c)))
	}
}

// ahead reports whether a deduction that Postgres has found dead is of an epoch that
// Postgres does not have.
func (s *shelf) ahead(d inventory.Deduction) bool {
	k, _ := s.get(d.SKU)
	return d.Store == k.store && d.Epoch > k.Epoch
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
