package robustness

import (
	"context"
	"errors"
	"time"

	"github.com/lastunit/lastunit/booking"
	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

// verb is what a call asks the library for.
type verb string

const (
	book        verb = "book"
	hold        verb = "hold"
	accept      verb = "accept" // and wait for the decision
	confirm     verb = "confirm"
	confirmTx   verb = "confirm in a transaction"
	cancel      verb = "cancel"
	cancelTx    verb = "cancel in a transaction"
	void        verb = "void"
	extend      verb = "extend"
	reclaim     verb = "reclaim"
	readOrder   verb = "order"
	lookup      verb = "look up"
	readStock   verb = "stock"
	setCapacity verb = "set capacity"
	restock     verb = "restock"
	setWindow   verb = "set window"
	pause       verb = "pause"
	resume      verb = "resume"
)

// cancels says whether the verb makes an order that is there cancelled.
func (v verb) cancels() bool { return v == cancel || v == cancelTx || v == void }

// takes says whether the verb asks for units.
func (v verb) takes() bool { return v == book || v == hold || v == accept }

// adjusts says whether the verb changes a capacity.
func (v verb) adjusts() bool { return v == setCapacity || v == restock }

// inTransaction says whether the verb changes an order in a transaction of the caller's.
func (v verb) inTransaction() bool { return v == confirmTx || v == cancelTx }

// outcome is what the caller was told.
type outcome string

const (
	unknown     outcome = "unknown" // or nothing yet, as of a process that was killed
	done        outcome = "done"
	soldOut     outcome = "sold out"
	limited     outcome = "limit exceeded"
	isPaused    outcome = "paused"
	notOpen     outcome = "not open"
	tryAgain    outcome = "try again"
	conflict    outcome = "conflict"
	cancelled   outcome = "cancelled"
	refused     outcome = "refused"
	expired     outcome = "expired"
	notFound    outcome = "not found"
	nothing     outcome = "nothing was done" // busy, overloaded; of a read: unavailable
	unexplained outcome = "unexplained"      // no call here may be answered so
)

// refusesNow says whether nothing was taken, for what a SKU was like at a moment.
func (o outcome) refusesNow() bool {
	return o == soldOut || o == limited || o == isPaused || o == notOpen
}

// call is one call, as its caller saw it. Times are those of now.
type call struct {
	Process int // each that is started has a number of its own
	Client  int // the goroutine in it
	Number  int // within the client

	Verb     verb
	ID       string        // of the order or of the adjustment
	Customer string        // who asks for units
	Lines    []order.Line  // of the order
	TTL      time.Duration // of a hold, or to extend it
	SKU      string        // of a stock or an adjustment
	Units    int64         // of an adjustment
	OpensAt  int64         // of a window

	Start, End int64 // End is 0 until it returned

	Outcome             outcome
	Status              order.Status // of the order that came back
	Short               string       // the SKU that stood in the way
	Capacity, Allocated int64        // of a stock
	Why                 string       // the error's text

	overBy string // the SKU in the way of a later call that was refused: this one takes no effect after that
}

// answer notes what an error means, nil being none.
func (c *call) answer(err error) {
	c.End = now()
	c.Outcome = outcomeOf(c.Verb, err)
	if err == nil {
		return
	}
	c.Why = err.Error()
	if !c.Outcome.refusesNow() {
		return
	}
	var short *inventory.StockError
	var limit *inventory.LimitError
	var window *inventory.WindowError
	switch {
	case errors.As(err, &short):
		c.Short = short.SKU
	case errors.As(err, &limit):
		c.Short = limit.SKU
	case errors.As(err, &window):
		c.Short = window.SKU
	}
}

// errUndone is for a transaction that was not committed.
var errUndone = errors.New("the transaction was not committed")

func outcomeOf(v verb, err error) outcome {
	if err == nil {
		return done
	}
	if v == readOrder || v == readStock {
		switch {
		case errors.Is(err, order.ErrNotFound):
			return notFound
		case errors.Is(err, order.ErrUnavailable), errors.Is(err, order.ErrOutcomeUnknown):
			return nothing
		}
		return unexplained
	}
	if v == lookup && (errors.Is(err, order.ErrUnavailable) || errors.Is(err, inventory.ErrUnavailable) || errors.Is(err, context.DeadlineExceeded)) {
		return nothing
	}
	for _, meaning := range [...]struct {
		err     error
		outcome outcome
	}{
		{order.ErrOutcomeUnknown, unknown}, // first, as it may have any of the others for its cause
		{booking.ErrNotSent, nothing},      // likewise
		{booking.ErrPending, unknown},
		{order.ErrRefused, refused}, // is also the error of the reason
		{inventory.ErrSoldOut, soldOut},
		{inventory.ErrLimitExceeded, limited},
		{inventory.ErrPaused, isPaused},
		{inventory.ErrNotOpen, notOpen},
		{inventory.ErrTryAgain, tryAgain},
		{order.ErrIdempotencyConflict, conflict},
		{order.ErrCancelled, cancelled},
		{order.ErrHoldExpired, expired},
		{order.ErrNotFound, notFound},
		{order.ErrSuperseded, done}, // by the first try
		{order.ErrBusy, nothing},
		{booking.ErrOverloaded, nothing},
		{errUndone, nothing},
	} {
		if errors.Is(err, meaning.err) {
			return meaning.outcome
		}
	}
	return unexplained
}
