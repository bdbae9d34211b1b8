package robustness

import (
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
	cancel      verb = "cancel"
	extend      verb = "extend"
	readOrder   verb = "order"
	readStock   verb = "stock"
	setCapacity verb = "set capacity"
	restock     verb = "restock"
)

// takes says whether the verb asks for units.
func (v verb) takes() bool { return v == book || v == hold || v == accept }

// adjusts says whether the verb changes a capacity.
func (v verb) adjusts() bool { return v == setCapacity || v == restock }

// outcome is what the caller was told.
type outcome string

const (
	unknown     outcome = "unknown" // or nothing yet, as of a process that was killed
	done        outcome = "done"
	soldOut     outcome = "sold out"
	tryAgain    outcome = "try again"
	cancelled   outcome = "cancelled"
	refused     outcome = "refused"
	expired     outcome = "expired"
	notFound    outcome = "not found"
	nothing     outcome = "nothing was done" // busy, overloaded; of a read: unavailable
	unexplained outcome = "unexplained"      // no call here may be answered so
)

// call is one call, as its caller saw it. Times are those of now.
type call struct {
	Process int // each that is started has a number of its own
	Client  int // the goroutine in it
	Number  int // within the client

	Verb  verb
	ID    string        // of the order or of the adjustment
	Lines []order.Line  // of the order
	TTL   time.Duration // of a hold, or to extend it
	SKU   string        // of a stock or an adjustment
	Units int64         // of an adjustment

	Start, End int64 // End is 0 until it returned

	Outcome             outcome
	Status              order.Status // of the order that came back
	Short               string       // the SKU that was sold out
	Capacity, Allocated int64        // of a stock
	Why                 string       // the error's text
}

// answer notes what an error means, nil being none.
func (c *call) answer(err error) {
	c.End = now()
	c.Outcome = outcomeOf(c.Verb, err)
	if err == nil {
		return
	}
	c.Why = err.Error()
	var short *inventory.StockError
	if c.Outcome == soldOut && errors.As(err, &short) {
		c.Short = short.SKU
	}
	var why *order.RefusedError
	if c.Outcome == refused && errors.As(err, &why) {
		c.Short = why.SKU
		if why.Why != order.WhySoldOut {
			c.Outcome = unexplained
		}
	}
}

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
	for _, meaning := range [...]struct {
		err     error
		outcome outcome
	}{
		{order.ErrOutcomeUnknown, unknown}, // first, as it may have any of the others for its cause
		{booking.ErrPending, unknown},
		{order.ErrRefused, refused}, // is also the error of the reason
		{inventory.ErrSoldOut, soldOut},
		{inventory.ErrTryAgain, tryAgain},
		{order.ErrCancelled, cancelled},
		{order.ErrHoldExpired, expired},
		{order.ErrNotFound, notFound},
		{order.ErrBusy, nothing},
		{booking.ErrOverloaded, nothing},
	} {
		if errors.Is(err, meaning.err) {
			return meaning.outcome
		}
	}
	return unexplained
}
