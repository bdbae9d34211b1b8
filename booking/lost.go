package booking

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

// lost are the servers that lost something, or may have, since all SKUs on them were
// compared. Each has a pass that compares them.
type lost struct {
	mu     sync.Mutex
	passes map[string]*pass // by the name of the canary

	wake    chan struct{} // has an element when one was begun
	working sync.Mutex    // is held by the Run that makes them
}

// pass is a comparison of all SKUs of a server, page by page, under one epoch of its
// canary. Other processes make one too, and each begins at another partition, so that
// they find different SKUs to repair.
type pass struct {
	canary     inventory.Canary
	partitions []int // that are still to be compared
	after      string
	began      time.Time
	compared   int
	repaired   int
	failed     bool // some SKUs of it could not be compared, or repaired
}

func newPass(canary inventory.Canary) *pass {
	return &pass{canary: canary, partitions: rand.Perm(order.Partitions), began: time.Now()}
}

// begin begins a pass over a server, unless one is under way since the canary was
// planted; anew begins it in any case.
func (l *lost) begin(canary inventory.Canary, anew bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if p := l.passes[canary.Name]; p != nil && p.canary.Epoch == canary.Epoch && p.canary.Server == canary.Server && !anew {
		return
	}
	l.passes[canary.Name] = newPass(canary)
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// end ends the pass over a server whose canary somebody has marked whole.
func (l *lost) end(canary inventory.Canary) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if p := l.passes[canary.Name]; p != nil && p.canary.Epoch <= canary.Epoch {
		delete(l.passes, canary.Name)
	}
}

// drop ends all of them.
func (l *lost) drop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	clear(l.passes)
}

// any is a pass that is under way; nil if there is none.
func (l *lost) any() *pass {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range l.passes {
		return p
	}
	return nil
}

// is says whether the pass is still under way: it was not begun anew.
func (l *lost) is(p *pass) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.passes[p.canary.Name] == p
}

// compareLost waits for passes that are to be made, and makes them. After a page that
// could not be compared it returns, so that what fails is tried again after a while.
func (s *Service) compareLost(ctx context.Context) (did bool, _ error) {
	if !s.lost.working.TryLock() {
		return false, nil // another Run does it
	}
	defer s.lost.working.Unlock()
	for ctx.Err() == nil {
		p := s.lost.any()
		if p == nil {
			if did {
				return true, nil
			}
			select {
			case <-s.lost.wake:
			case <-ctx.Done():
			}
			continue
		}
		did = true
		if err := s.step(ctx, p); err != nil {
			return did, fmt.Errorf("compare all that a server has: %w", err)
		}
	}
	return did, ctx.Err()
}

// step compares a page of a pass, or ends it.
func (s *Service) step(ctx context.Context, p *pass) error {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	if len(p.partitions) == 0 {
		return s.endPass(ctx, p)
	}
	page, err := s.config.Orders.Scan(ctx, p.partitions[0], p.after, checkPage)
	if err != nil {
		return err
	}
	if len(page) < checkPage {
		p.partitions, p.after = p.partitions[1:], ""
	} else {
		p.after = page[len(page)-1].SKU
	}
	mine := page[:0]
	for _, c := range page {
		if on := s.locate(ctx, c.SKU); on == "" || on == p.canary.Server {
			mine = append(mine, c)
		}
	}
	differing, err := s.compareAndRepair(ctx, mine)
	p.compared, p.repaired, p.failed = p.compared+len(mine), p.repaired+differing, p.failed || err != nil
	return err
}

// endPass marks the canary of a server whose SKUs were all compared. Those that could
// not be are compared again.
func (s *Service) endPass(ctx context.Context, p *pass) error {
	if p.failed {
		s.lost.begin(p.canary, true)
		return errors.New("not all of it could be compared")
	}
	if !s.lost.is(p) {
		return nil
	}
	whole := p.canary
	whole.Whole = true
	ctx, cancel := s.bound(ctx)
	defer cancel()
	if err := s.config.Inventory.Plant(ctx, whole.Store, whole); err != nil {
		return err
	}
	s.lost.end(whole)
	if p.compared == 0 { // as at the first start
		return nil
	}
	s.log.InfoContext(ctx, "lastunit: compared all SKUs of a Redis that may have lost some",
		named(p.canary.Server, "compared", p.compared, "repaired", p.repaired, "after", time.Since(p.began))...)
	return nil
}

// locate names the server of a SKU; empty if there is one, or it is not known which it is.
func (s *Service) locate(ctx context.Context, sku string) string {
	if s.places.locator == nil {
		return ""
	}
	return s.places.locator.Locate(ctx, sku)
}
