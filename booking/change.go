package booking

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/lastunit/lastunit/internal/gather"
	"github.com/lastunit/lastunit/order"
)

// Confirm makes a held order confirmed, and returns it. Postgres's clock
// decides, in the statement that also makes it expire: never both. An order that
// is confirmed already is no error. It fails with order.ErrHoldExpired
// (*order.HoldExpiredError says when, and what is left), order.ErrCancelled, both
// with the order beside them, order.ErrNotFound, order.ErrBusy, and order.ErrRejected
// if a trigger of your own does not let it be changed. The order
// beside ErrHoldExpired is still held while Config.BeforeExpire does not know, or
// until Run has ended it; Reclaim confirms it either way.
func (s *Service) Confirm(ctx context.Context, id string) (order.Order, error) {
	return s.change(ctx, order.Change{ID: id, Action: order.Confirm})
}

// Extend lets a held order expire no sooner than after ttl: 1 ms to
// order.MaxHold. A confirmed order stays as it is. It fails as Confirm does.
func (s *Service) Extend(ctx context.Context, id string, ttl time.Duration) (order.Order, error) {
	if err := order.CheckHold("ttl", ttl); err != nil {
		return order.Order{}, err
	}
	return s.change(ctx, order.Change{ID: id, Action: order.Extend, Hold: ttl})
}

// Reclaim confirms an order whose hold has expired, if its units are still left
// and its customer's limit allows it, whether or not the sale is open: it is for
// the payment that came too late. A held order is confirmed, whatever the time. It
// fails with inventory.ErrSoldOut, inventory.ErrLimitExceeded, order.ErrRetired,
// order.ErrPurged, order.ErrCancelled, each with the order beside it, order.ErrNotFound
// and order.ErrBusy.
func (s *Service) Reclaim(ctx context.Context, id string) (order.Order, error) {
	return s.change(ctx, order.Change{ID: id, Action: order.Reclaim})
}

// Cancel cancels an order for good, gives its units back and returns the order as it
// is then. To cancel twice is no error. An expired order, whose units are back
// already, is cancelled too: a late Reclaim is order.ErrCancelled. It fails with
// order.ErrNotFound, also for an order that is accepted and not in Postgres yet:
// wait for that one (Receipt.Wait), or Void it.
//
// While somebody's own transaction has changed the order, Cancel and the other
// changes wait for it, up to Config.Timeout or the context's deadline, and fail
// with order.ErrBusy then, or with order.ErrOutcomeUnknown where that ends in the middle
// of a try: the transaction may have ended just then. Don't call them on an order inside the transaction that
// has changed it.
func (s *Service) Cancel(ctx context.Context, id string) (order.Order, error) {
	return s.change(ctx, order.Change{ID: id, Action: order.Cancel})
}

// Void makes an ID final, whatever became of its order: it is for a caller who gives
// up on a Book, Hold or Accept whose outcome is unknown. An order that is there is
// cancelled, as by Cancel. An ID that was never booked is stored as a cancelled order
// without customer and lines, so that a late original can't book it; one that is
// accepted and not in Postgres yet counts as never booked, and its units come back.
// It stores a row for whatever ID it is given: let nobody void who may not.
func (s *Service) Void(ctx context.Context, id string) (order.Order, error) {
	return s.change(ctx, order.Change{ID: id, Action: order.Void})
}

// ConfirmTx is Confirm inside your own transaction on the order store's database,
// so that a payment's row and the confirmation commit together. It touches only
// the order's row, so a hot SKU is sold on however long the transaction lasts;
// until its end, other changes of the order wait, and fail with order.ErrBusy, or with
// order.ErrOutcomeUnknown where their context ends in the middle of a try. The clock decides at this moment, not at your commit. What is left to do, Run does
// after your commit, in any process. Errors of the transaction itself, such as a
// serialization failure or a context that has ended, are pgx's own, never
// order.ErrOutcomeUnknown or ErrNotSent, and yours to try again. It fails as Confirm does, with
// inventory.ErrInvalid if there is no transaction, with order.ErrUnavailable if it is one
// of another lastunit database, which can only be rolled back then, and with
// order.ErrNoTransactions if the store has none, as order.Memory.
//
// After a refusal the transaction can go on, but for order.ErrRejected: Postgres takes
// nothing but a rollback then. If the money was taken and the hold
// had expired, don't roll back: commit the payment's row, and call Reclaim; if no
// units are left, it is a payment without an order, to be paid back.
func (s *Service) ConfirmTx(ctx context.Context, tx pgx.Tx, id string) (order.Order, error) {
	store, ok := s.config.Orders.(order.TxStore)
	if !ok {
		return order.Order{}, order.ErrNoTransactions
	}
	return store.ConfirmTx(ctx, tx, id)
}

// CancelTx is Cancel inside your own transaction, in the way of ConfirmTx. The
// units are for sale again once Run has counted them: within a second or so of
// your commit.
func (s *Service) CancelTx(ctx context.Context, tx pgx.Tx, id string) (order.Order, error) {
	store, ok := s.config.Orders.(order.TxStore)
	if !ok {
		return order.Order{}, order.ErrNoTransactions
	}
	return store.CancelTx(ctx, tx, id)
}

// change carries out a change with others. While somebody's own transaction has
// the order, it waits.
func (s *Service) change(ctx context.Context, change order.Change) (order.Order, error) {
	if err := change.Check(); err != nil {
		return order.Order{}, err
	}
	if err := sendable(ctx); err != nil {
		return order.Order{}, err
	}
	caller := ctx
	ctx, cancel := s.bound(ctx)
	defer cancel()
	var busy error
	for wait := firstWait; ; wait = min(2*wait, maxWait) {
		changes := s.changes[0]
		if s.denied.has(change.ID) {
			changes = s.changes[1]
		}
		changed, err := changes.Do(ctx, change)
		if errors.Is(changed.Err, order.ErrRejected) {
			s.denied.add(change.ID, suspectFor)
		}
		switch {
		case busy != nil && errors.Is(err, gather.ErrNotSent):
			return order.Order{}, busy // that is all that we know
		case err != nil:
			return order.Order{}, unknownOf(caller, err)
		case !errors.Is(changed.Err, order.ErrBusy):
			return changed.Order, unknown(changed.Err)
		}
		busy = changed.Err
		if !pause(ctx, wait) {
			return order.Order{}, busy
		}
	}
}

// changeBatch is what a batch of changes does. New supplies are on their way to
// Redis before the callers hear of it.
func (s *Service) changeBatch(ctx context.Context, changes []order.Change) ([]order.Changed, error) {
	// Many clicks on one button are one change.
	first := make(map[order.Change]int, len(changes))
	once := make([]order.Change, 0, len(changes))
	for _, c := range changes {
		if _, there := first[c]; !there {
			first[c] = len(once)
			once = append(once, c)
		}
	}
	answers, counters, err := s.config.Orders.Change(ctx, once)
	if err != nil {
		return nil, err
	}
	changed := make([]order.Changed, len(changes))
	for i, c := range changes {
		changed[i] = answers[first[c]]
		o := &changed[i].Order
		o.Lines, o.Draws = slices.Clone(o.Lines), slices.Clone(o.Draws)
	}
	s.shelf.observeCounters(counters...)
	if s.direct() {
		return changed, nil
	}
	for _, c := range changes {
		if c.Action == order.Confirm || c.Action == order.ConfirmLate || c.Action == order.Extend {
			continue // these give nothing back, and take nothing
		}
		for _, c := range counters {
			s.settles.Post(settlement{counters: c, push: true}) // if the queue is full, the checks do it
		}
		break
	}
	return changed, nil
}
