package booking

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/lastunit/lastunit/order"
)

// Expiry is what becomes of a hold whose time is over.
type Expiry int

// The answers of Config.BeforeExpire.
const (
	NotYet      Expiry = iota // it is not known: keep the hold, and ask again after a while
	Expire                    // it was not paid: give the units back
	ConfirmPaid               // it was paid: confirm the order, late as it is
)

const (
	// dueAgain is for how long a due hold is left to the process that took it.
	// After that it died, and another one does the work.
	dueAgain = 2 * time.Second

	// maxAsking bounds how many holds BeforeExpire is asked about at once, and
	// askTimeout for how long. Then it is asked again after askAgain.
	maxAsking  = 64
	askTimeout = 5 * time.Second
	askAgain   = 2 * askTimeout

	// stuckFor is for how long an order is left alone that the database did not let be
	// changed: to find it among those beside it takes several transactions.
	stuckFor = 10 * time.Second

	// maxPages bounds the pages of one go, so that what can't be done now does
	// not keep it busy.
	maxPages = 100
)

// expire ends the holds whose time is over. Having looked is having done
// something: that Postgres answers is all that it needs.
func (s *Service) expire(ctx context.Context) (did bool, _ error) {
	page, again := order.MaxCommits, dueAgain
	if s.config.BeforeExpire != nil {
		page, again = maxAsking, askAgain
	}
	for range maxPages {
		due, err := s.due(ctx, again, page)
		if err != nil || len(due) == 0 {
			return err == nil, err
		}
		open := make([]order.Order, 0, len(due))
		for _, o := range due {
			if !s.stuck.has(o.ID) {
				open = append(open, o)
			}
		}
		changes := make([]order.Change, len(open))
		var asking sync.WaitGroup
		for i, o := range open {
			changes[i] = order.Change{ID: o.ID, Action: order.Expire}
			if s.config.BeforeExpire != nil {
				asking.Go(func() { changes[i] = s.decideExpiry(ctx, o) })
			}
		}
		asking.Wait()
		if err := s.changeAll(ctx, changes); err != nil {
			return false, err
		}
		if len(due) < page {
			break
		}
	}
	return true, nil
}

func (s *Service) due(ctx context.Context, again time.Duration, limit int) ([]order.Order, error) {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	return s.config.Orders.Due(ctx, again, limit)
}

// decideExpiry asks about a hold. Whoever does not answer in time, or does not
// know, is asked again when the hold is due again, within the bound.
func (s *Service) decideExpiry(ctx context.Context, o order.Order) order.Change {
	switch s.ask(ctx, o) {
	case Expire:
		return order.Change{ID: o.ID, Action: order.Expire}
	case ConfirmPaid:
		return order.Change{ID: o.ID, Action: order.ConfirmLate}
	default:
		return order.Change{ID: o.ID, Action: order.Expire, Hold: s.config.HoldGrace}
	}
}

// ask asks BeforeExpire. A call that doesn't return counts for as long: there are
// never more than maxAsking, and never two about one hold.
func (s *Service) ask(ctx context.Context, o order.Order) Expiry {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	if _, asked := s.asked.LoadOrStore(o.ID, nil); asked {
		return NotYet
	}
	select {
	case s.asking <- struct{}{}:
	case <-ctx.Done():
		s.asked.Delete(o.ID)
		return NotYet
	}
	answer := make(chan Expiry, 1)
	go func() {
		defer func() {
			if r := recover(); r != nil {
				// To end the process for one hold would leave all others unended.
				s.log.ErrorContext(ctx, "lastunit: Config.BeforeExpire panics; the hold stays", "order", o.ID, "panic", r)
				answer <- NotYet
			}
			<-s.asking
			s.asked.Delete(o.ID)
		}()
		answer <- s.config.BeforeExpire(ctx, o)
	}()
	select {
	case expiry := <-answer:
		return expiry
	case <-ctx.Done():
		return NotYet
	}
}

// changeAll makes changes whose orders somebody else may have changed meanwhile:
// then there is nothing left to do, or the next time does it. Orders that the database
// does not let it change are left alone for a while, because they cost those beside
// them time.
func (s *Service) changeAll(ctx context.Context, changes []order.Change) error {
	if len(changes) == 0 {
		return nil
	}
	ctx, cancel := s.bound(ctx)
	defer cancel()
	changed, err := s.changeBatch(ctx, changes)
	failed, first := 0, 0
	for i, c := range changed {
		if errors.Is(c.Err, order.ErrRejected) || errors.Is(c.Err, order.ErrUnavailable) || errors.Is(c.Err, order.ErrNotMigrated) {
			s.stuck.add(changes[i].ID, stuckFor)
			if failed++; failed == 1 {
				first = i
			}
		}
	}
	if failed > 0 {
		s.log.WarnContext(ctx, "lastunit: the database does not let orders be changed; trying on",
			append([]any{"orders", failed, "order", changes[first].ID, "action", changes[first].Action}, errorAttributes(changed[first].Err)...)...)
	}
	return err
}

// count counts what was done to orders in their users' own transactions.
func (s *Service) count(ctx context.Context) (did bool, _ error) {
	after := ""
	for range maxPages {
		ids, err := s.uncounted(ctx, after)
		if err != nil || len(ids) == 0 {
			return err == nil, err
		}
		var changes []order.Change
		for _, id := range ids {
			if !s.stuck.has(id) {
				changes = append(changes, order.Change{ID: id, Action: order.Count})
			}
		}
		if err := s.changeAll(ctx, changes); err != nil {
			return false, err
		}
		if len(ids) < order.MaxCommits {
			break
		}
		after = ids[len(ids)-1]
	}
	return true, nil
}

func (s *Service) uncounted(ctx context.Context, after string) ([]string, error) {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	return s.config.Orders.Uncounted(ctx, after, order.MaxCommits)
}
