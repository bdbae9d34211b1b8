package booking

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

// ErrPending says that an order is accepted and not in Postgres yet: neither booked
// nor refused. Ask again in a moment.
var ErrPending = errors.New("accepted, not committed yet")

// Receipt says that Redis has the units of an order and the order itself. It is no
// confirmation: see Accept. As JSON it is also the Request with which another
// process, or a later one, looks the order up.
type Receipt struct {
	ID       string       `json:"id"`
	Customer string       `json:"customer"`
	Lines    []order.Line `json:"lines"` // sorted by SKU, each SKU once

	// Replicas is how many replicas of Redis had the order when it was accepted; 0
	// unless they were asked: see inventory.WithReplicas. It is no promise either.
	Replicas int `json:"replicas,omitempty"`

	of *acceptance // nil if it was not Accept that made it
}

// receipt is the receipt for an order that was accepted, or none for an error.
func (e *acceptance) receipt(err error) Receipt {
	if err != nil {
		return Receipt{}
	}
	return Receipt{ID: e.order.ID, Customer: e.order.Customer, Lines: slices.Clone(e.order.Lines), Replicas: e.replicas, of: e}
}

// Done is closed once it is decided what becomes of the order, or once this process
// gives up on it, as Run ends. Then Wait returns at once. It is nil, for ever, for a
// Receipt that this process did not get from Accept.
func (r Receipt) Done() <-chan struct{} {
	if r.of == nil {
		return nil
	}
	return r.of.done
}

// Wait returns the order once it is confirmed, or why it is not: order.ErrRefused
// (*order.RefusedError, with the refused order beside it; it is also the error of
// the reason, such as inventory.ErrSoldOut), order.ErrCancelled if somebody
// cancelled it before or meanwhile, order.ErrIdempotencyConflict if the ID was booked
// with another content before or meanwhile. Only its context bounds it: when that ends
// it is ErrPending. When this process gives up on the order as Run ends, it is
// order.ErrOutcomeUnknown: the order is on its way all the same. It may be called
// again, by any number of goroutines.
//
// A Receipt that was not returned by Accept in this process is
// inventory.ErrInvalid: use Lookup.
func (r Receipt) Wait(ctx context.Context) (order.Order, error) {
	if r.of == nil {
		return order.Order{}, &inventory.InvalidError{Field: "receipt", Reason: "is not one that Accept returned in this process, use Lookup"}
	}
	select {
	case <-r.of.done:
	default:
		select {
		case <-r.of.done:
		case <-ctx.Done():
			return order.Order{}, fmt.Errorf("order %q: %w: %w", r.ID, ErrPending, ctx.Err())
		}
	}
	booked := r.of.booked
	booked.Lines, booked.Draws = slices.Clone(booked.Lines), slices.Clone(booked.Draws)
	return booked, r.of.err
}

// Lookup says what has become of the order that a request asked Accept or Book for,
// in any process: the order, if it is booked; ErrPending; the errors of
// Receipt.Wait; or order.ErrNotFound if neither Postgres nor Redis knows of it. Then
// it was never accepted, or Redis lost it, unless an Accept or Book of it is still
// under way: to have it all the same, ask Accept or Book again. A SKU that was never
// put on sale is order.ErrUnknownSKU. It changes nothing. A server that does not
// answer is order.ErrUnavailable or inventory.ErrUnavailable; so is a context that has
// ended, or Config.Timeout that is over, whose error is the cause. It goes through all that
// is in flight of each SKU: it is for single orders, not for polling by a crowd.
func (s *Service) Lookup(ctx context.Context, request Request) (order.Order, error) {
	o, err := s.lookup(ctx, request)
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		if !errors.Is(err, order.ErrUnavailable) && !errors.Is(err, inventory.ErrUnavailable) {
			err = fmt.Errorf("look up order %q: %w: %w", request.ID, order.ErrUnavailable, err)
		}
	}
	return o, err
}

func (s *Service) lookup(ctx context.Context, request Request) (order.Order, error) {
	if err := inventory.CheckID("id", request.ID); err != nil {
		return order.Order{}, err
	}
	o, err := request.order()
	if err != nil {
		return order.Order{}, err
	}
	ctx, cancel := s.bound(ctx)
	defer cancel()
	a := &attempt{s: s, order: o}
	if err := a.draw(ctx); err != nil {
		return order.Order{}, err
	}
	pending := false
	// Twice, as it may get from Redis to Postgres in between.
	for range 2 {
		found, err := a.look(ctx)
		if err != nil {
			return order.Order{}, err
		}
		if found.Verdict != order.VerdictNew {
			return a.existing(ctx, found.Outcome)
		}
		if pending {
			return order.Order{}, &order.OrderError{ID: o.ID, Err: ErrPending}
		}
		if pending = s.backlog.has(o.ID); pending {
			continue
		}
		if s.direct() {
			break
		}
		listed, err := a.rivals(ctx)
		if err != nil {
			return order.Order{}, err
		}
		pending = slices.ContainsFunc(listed, func(d inventory.Deduction) bool { return d.Accepted != "" })
	}
	if pending {
		return order.Order{}, &order.OrderError{ID: o.ID, Err: ErrPending}
	}
	return order.Order{}, &order.OrderError{ID: o.ID, Err: order.ErrNotFound}
}
