package booking

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

// canaries is what this process knows of the canaries of Redis's servers. To look at
// them is to look at all SKUs for a loss of everything, and for a server that came back
// as it was before: what costs the same however many SKUs there are.
type canaries struct {
	mu      sync.Mutex // is held by the Run that looks
	watcher int
	looked  time.Time
	seen    map[string]inventory.Canary // at the last look, by name
	known   chan struct{}               // is closed after the first look
	knows   sync.Once                   // closes it
	paired  atomic.Bool                 // at the last look all belonged together
	told    time.Time                   // when it was told last that the pairing is wrong

	pairing sync.Mutex // is held from the reading of the pairing until it is known whether it is right
}

// watch looks at the canaries once a period, and compares the SKUs that this process has
// touched until then.
//
// In this order, so that no change is missed. A server may come back as it was before a
// change. If this process had looked after the change, its canary went back too, which
// the next look notices. If it had not, the SKU is compared after that.
func (s *Service) watch(ctx context.Context) (did bool, _ error) {
	if !s.canaries.mu.TryLock() {
		return false, nil // another Run does it
	}
	defer s.canaries.mu.Unlock()
	now := time.Now()
	if !s.canaries.looked.IsZero() && now.Sub(s.canaries.looked) < s.config.CheckEvery {
		return false, nil
	}
	touched := s.shelf.takeTouched()
	err := s.look(ctx)
	if err == nil {
		s.canaries.looked = now // else it looks again soon
	}
	if s.unpaired() != nil {
		s.touch(touched...)
		return true, err
	}
	failed := s.compareTouched(ctx, touched)
	if err != nil { // they may have changed since the look before
		s.touch(touched...)
	}
	return true, errors.Join(err, failed)
}

// look looks at the canaries. A server without one lost everything, and one whose canary
// went back did so too: each gets another canary, and all its SKUs are compared.
func (s *Service) look(ctx context.Context) error {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	s.canaries.pairing.Lock()
	defer s.canaries.pairing.Unlock()
	pairing, err := s.pair(ctx)
	if err != nil {
		return fmt.Errorf("look at the pairing: %w", err)
	}
	const again = 2 // the second time for those that were planted
	for range again {
		canaries, err := s.readCanaries(ctx, pairing.Store)
		if err != nil {
			return fmt.Errorf("look at the canaries: %w", err)
		}
		wrong := s.mispaired(pairing, canaries)
		s.setUnpaired(ctx, wrong)
		s.canaries.paired.Store(wrong == nil)
		s.canaries.knows.Do(func() { close(s.canaries.known) })
		if wrong != nil {
			s.lost.drop()
			return nil
		}
		planted, failed := false, error(nil)
		for _, c := range canaries {
			did, err := s.judge(ctx, c, pairing.Store)
			planted, failed = planted || did, errors.Join(failed, err)
		}
		if failed != nil || !planted {
			return failed
		}
	}
	return nil
}

// readCanaries does not take all the time that there is, as readStock does not.
func (s *Service) readCanaries(ctx context.Context, store string) ([]inventory.Canary, error) {
	ctx, cancel := context.WithTimeout(ctx, max(s.config.Timeout/4, time.Second))
	defer cancel()
	return s.config.Inventory.Canaries(ctx, store, s.canaries.watcher)
}

// judge finds out from a canary of ours, or none, whether its server lost anything.
func (s *Service) judge(ctx context.Context, c inventory.Canary, store string) (planted bool, _ error) {
	if c.Err != nil {
		return false, c.Err
	}
	before := s.canaries.seen[c.Name]
	back := c.Behind(before)
	switch {
	case c.Store == "", back && c.Whole:
		because := "there is no canary"
		if back && c.Store != "" {
			because = "it came back as it was before"
		}
		if before.Store != "" {
			s.log.WarnContext(ctx, "lastunit: Redis lost something: comparing all SKUs", named(c.Server, "because", because)...)
		}
		c.Whole = false
		return true, s.config.Inventory.Plant(ctx, store, c)
	case c.Whole:
		s.lost.end(c)
	default:
		s.lost.begin(c, back)
	}
	s.canaries.seen[c.Name] = c
	return false, nil
}

// pair reads which inventory the store is paired with, and pairs it with ours if that is
// none.
func (s *Service) pair(ctx context.Context) (order.Pairing, error) {
	pairing, err := s.config.Orders.Paired(ctx)
	if err != nil || pairing.Inventory != "" {
		return pairing, err
	}
	paired, err := s.config.Orders.Pair(ctx, "", s.config.Inventory.Name())
	if err != nil {
		s.warn(ctx, "", "lastunit: Postgres does not record which Redis it is used with", "error", err)
		return pairing, nil // all else goes on
	}
	return paired, nil
}

// pairError says that the order store is used with another inventory, or the inventory
// with another order store. It is inventory.ErrUnavailable: to use it all the same would
// be to rebuild what the other one has, again and again.
type pairError struct {
	where  string // as in a Finding
	what   string
	found  string
	means  string
	advice string
}

func (e *pairError) Error() string { return e.what + " is " + e.found + ": " + e.means }
func (e *pairError) Unwrap() error { return inventory.ErrUnavailable }

// finding is what Check says of it.
func (e *pairError) finding() inventory.Finding {
	return inventory.Finding{
		Severity: inventory.Problem, Where: e.where, What: e.what, Found: e.found, Means: e.means, Advice: e.advice, Err: e,
	}
}

// mispaired finds what is wrong with the pairing; nil if it is right, as far as the
// servers answer.
func (s *Service) mispaired(pairing order.Pairing, canaries []inventory.Canary) *pairError {
	if ours := s.config.Inventory.Name(); pairing.Inventory != "" && pairing.Inventory != ours {
		return &pairError{
			where: "PostgreSQL", what: "the inventory of the database", found: fmt.Sprintf("%q, not %q", pairing.Inventory, ours),
			means:  "other processes sell this database through other keys in Redis, and each side would keep rebuilding what the other one has; this one sells nothing through Redis",
			advice: "use the same key prefix in all processes, with inventory.WithKeyPrefix; or, to move to this one, stop the others and call ReconcileAll with Repair",
		}
	}
	for _, c := range canaries {
		where := "Redis"
		if c.Server != "" {
			where += " " + c.Server
		}
		switch {
		case c.Err != nil || c.Store == "":
		case c.Store != pairing.Store:
			return &pairError{
				where: where, what: "the store of the canary", found: "another one",
				means:  "another database sells under the same keys, and each would keep rebuilding what the other one has; this one sells nothing through Redis",
				advice: anotherPrefix,
			}
		case c.Format > inventory.Format:
			return &pairError{
				where: where, what: "the format of the keys", found: fmt.Sprintf("%d, not %d", c.Format, inventory.Format),
				means:  "a newer build of lastunit has written them, and this one can't read them; it sells nothing through Redis",
				advice: "update this process",
			}
		}
	}
	return nil
}

const anotherPrefix = "give each database a key prefix of its own, with inventory.WithKeyPrefix; or, if the other one is no more, call ReconcileAll with Repair"

// setUnpaired takes note of what is wrong with the pairing, or that nothing is.
func (s *Service) setUnpaired(ctx context.Context, wrong *pairError) {
	if wrong == nil {
		if s.mispairing.Swap(nil) != nil {
			s.log.InfoContext(ctx, "lastunit: this database and this Redis belong together again")
		}
		return
	}
	s.mispairing.Store(wrong)
	if now := time.Now(); s.canaries.told.IsZero() || now.Sub(s.canaries.told) >= tellEvery {
		s.canaries.told = now
		s.log.ErrorContext(ctx, "lastunit: this database and this Redis don't belong together: "+s.meanwhile(),
			"where", wrong.where, "error", wrong, "advice", wrong.advice)
	}
}

// unpaired says why this process must not use Redis; nil if it may, as far as it knows.
func (s *Service) unpaired() error {
	if wrong := s.mispairing.Load(); wrong != nil {
		return wrong
	}
	return nil
}

// pairAnew makes Redis and Postgres belong together, whatever they were used with before.
func (s *Service) pairAnew(ctx context.Context) error {
	s.canaries.pairing.Lock()
	defer s.canaries.pairing.Unlock()
	ctx, cancel := s.bound(ctx)
	defer cancel()
	pairing, err := s.config.Orders.Paired(ctx)
	if err != nil {
		return err
	}
	if ours := s.config.Inventory.Name(); pairing.Inventory != ours {
		if pairing, err = s.config.Orders.Pair(ctx, pairing.Inventory, ours); err != nil {
			return err
		}
	}
	canaries, err := s.readCanaries(ctx, "")
	if err != nil {
		return err
	}
	var failed error
	for _, c := range canaries {
		if c.Err != nil {
			failed = errors.Join(failed, c.Err)
		} else if c.Store != pairing.Store && c.Store != "" {
			c.Whole = false
			failed = errors.Join(failed, s.config.Inventory.Plant(ctx, pairing.Store, c))
		}
	}
	if failed == nil {
		s.mispairing.Store(nil)
	}
	return failed
}
