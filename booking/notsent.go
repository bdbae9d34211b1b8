package booking

import (
	"context"
	"errors"
	"fmt"

	"github.com/lastunit/lastunit/internal/gather"
	"github.com/lastunit/lastunit/order"
)

// ErrNotSent says that the caller's context ended before this call sent anything that could
// change something: this call did nothing, and nothing of it is under way. It is
// context.Canceled or context.DeadlineExceeded too, and never order.ErrOutcomeUnknown. Where
// Config.Timeout is over and not the context's time, it is order.ErrOutcomeUnknown as ever.
//
// It speaks of this call alone. An earlier call with the same ID, or one of another
// process, may still be under way, and may still be carried out.
var ErrNotSent = errors.New("the context ended before anything was sent, this call did nothing")

// notSent is an ErrNotSent with its cause.
func notSent(cause error) error { return fmt.Errorf("%w: %w", ErrNotSent, cause) }

// sendable is an ErrNotSent if the context has ended: for what has sent nothing yet.
func sendable(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return notSent(err)
	}
	return nil
}

// unknownOf is unknown for a call that changes something in one step, so that the error
// tells whether that step was sent. The context is the caller's own.
func unknownOf(caller context.Context, err error) error {
	unsent := errors.Is(err, gather.ErrNotSent) || errors.Is(err, order.ErrUnavailable) && !errors.Is(err, order.ErrOutcomeUnknown)
	if unsent && caller.Err() != nil && errors.Is(err, caller.Err()) {
		return notSent(err)
	}
	return unknown(err)
}

// unknown is unknownOf for an attempt, which knows itself what it has sent.
func (a *attempt) unknown(caller context.Context, err error) error {
	if err != nil && !a.sent && caller.Err() != nil && errors.Is(err, caller.Err()) && !isDefinite(err) && !errors.Is(err, order.ErrOutcomeUnknown) {
		return notSent(err)
	}
	return unknown(err)
}
