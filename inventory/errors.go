package inventory

import (
	"errors"
	"fmt"
	"time"
)

// The errors of this package, for errors.Is. StockError, LimitError, WindowError,
// NotLoadedError and InvalidError have the details, for errors.As.
var (
	// ErrSoldOut says that fewer units are left than were asked for, also if all
	// units in flight came back. Nothing was taken.
	ErrSoldOut = errors.New("sold out")

	// ErrTryAgain says that fewer units are available, or left to the customer,
	// than were asked for, but that units in flight may come back within seconds.
	// Nothing was taken.
	ErrTryAgain = errors.New("no units available at the moment, try again")

	// ErrLimitExceeded says that the customer would have more units of the SKU
	// than one customer may have, also if all of theirs in flight came back.
	// Nothing was taken.
	ErrLimitExceeded = errors.New("customer limit exceeded")

	// ErrNotOpen says that the sale has not begun. Nothing was taken.
	ErrNotOpen = errors.New("not open yet")

	// ErrClosed says that the sale is over. Nothing was taken.
	ErrClosed = errors.New("closed")

	// ErrPaused says that the sale was stopped, and may go on. Nothing was taken.
	ErrPaused = errors.New("paused")

	// ErrUnavailable says that the store could not be asked or did not answer.
	// The call may have been carried out, may still be, or not at all.
	ErrUnavailable = errors.New("inventory unavailable")

	// ErrNotLoaded says that the store holds no usable counters of the SKU.
	// Begin a new epoch in the order store and load it.
	ErrNotLoaded = errors.New("not loaded")

	// ErrInvalid says that an argument breaks a bound. Nothing was touched.
	ErrInvalid = errors.New("invalid")
)

// StockError says which SKU fell short, and which others of the order. It is
// ErrSoldOut or ErrTryAgain.
type StockError struct {
	SKU       string
	Requested int64 // units
	Available int64 // units that could be had at that moment, never negative
	InFlight  int64 // units that would be available if all that is unsettled were restored, beside Available

	Over int64 // units taken beyond the supply, as after the capacity was lowered

	// Epoch and Version of the supply that it was decided on; 0 if the order
	// store decided.
	Epoch, Version int64

	// Others are the other SKUs of the order of which the order store has too few
	// units left, sorted by SKU. They have no Others of their own. A repository,
	// which is asked about one SKU, names none.
	Others []*StockError
}

// All are the error itself, first, and the Others.
func (e *StockError) All() []*StockError { return append([]*StockError{e}, e.Others...) }

// Error names each SKU and its numbers.
func (e *StockError) Error() string {
	text := e.text()
	for _, other := range e.Others {
		text += "; " + other.text()
	}
	return text
}

func (e *StockError) text() string {
	return fmt.Sprintf("SKU %q: %v: %d requested, %d available, %d in flight",
		e.SKU, e.Unwrap(), e.Requested, e.Available, e.InFlight)
}

// Unwrap is ErrTryAgain if the units in flight would suffice, else ErrSoldOut.
func (e *StockError) Unwrap() error {
	if e.Available+e.InFlight >= e.Requested {
		return ErrTryAgain
	}
	return ErrSoldOut
}

// ReopeningError says that units came back only just now to a SKU that was sold
// out, and for how long they are kept: until nobody says any more that there are
// none. It is ErrTryAgain.
type ReopeningError struct {
	SKU  string
	Wait time.Duration // up to some 50 ms
}

// Error names the SKU and the time.
func (e *ReopeningError) Error() string {
	return fmt.Sprintf("SKU %q: %v: units that came back are kept for %v", e.SKU, ErrTryAgain, e.Wait)
}

// Unwrap is ErrTryAgain.
func (e *ReopeningError) Unwrap() error { return ErrTryAgain }

// LimitError says how a customer's limit stands in the way. It is ErrTryAgain
// or ErrLimitExceeded.
type LimitError struct {
	SKU       string
	Limit     int64 // units that one customer may have
	Requested int64 // units
	Used      int64 // units of the customer's live orders, as far as the order store told; 0 if the repository decided
	InFlight  int64 // the customer's unsettled units
	Unsettled int64 // units of the SKU, of whomever, that are neither settled nor restored; 0 if the order store decided

	// Epoch and Version of the supply that it was decided on; 0 if the order
	// store decided.
	Epoch, Version int64
}

// Error names the SKU and the numbers.
func (e *LimitError) Error() string {
	return fmt.Sprintf("SKU %q: %v: %d requested, %d used, %d in flight, at most %d for one customer",
		e.SKU, e.Unwrap(), e.Requested, e.Used, e.InFlight, e.Limit)
}

// Unwrap is ErrTryAgain if nothing but units in flight stands in the way, which
// may come back, else ErrLimitExceeded.
func (e *LimitError) Unwrap() error {
	if e.Used+e.Requested <= e.Limit {
		return ErrTryAgain
	}
	return ErrLimitExceeded
}

// WindowError says that a SKU is not on sale now. It is ErrNotOpen, ErrClosed
// or ErrPaused.
type WindowError struct {
	SKU               string
	OpensAt, ClosesAt time.Time // of the terms; zero for none
	Err               error     // ErrNotOpen, ErrClosed or ErrPaused
	Unsettled         int64     // units of the SKU that are neither settled nor restored; 0 if the order store decided

	// Epoch and Version of the supply that it was decided on; 0 if the order
	// store decided.
	Epoch, Version int64
}

// Error names the SKU, and when it opens or when it closed.
func (e *WindowError) Error() string {
	text := fmt.Sprintf("SKU %q: %v", e.SKU, e.Err)
	switch {
	case errors.Is(e.Err, ErrNotOpen):
		text += ": it opens at " + stamp(e.OpensAt)
	case errors.Is(e.Err, ErrClosed):
		text += ": it closed at " + stamp(e.ClosesAt)
	}
	return text
}

// Unwrap is Err.
func (e *WindowError) Unwrap() error { return e.Err }

// shortOf is the StockError of counters of which so many units are available,
// below zero if more are taken than supplied.
func shortOf(sku string, requested, available, unsettled, epoch, version int64) *StockError {
	return &StockError{
		SKU: sku, Requested: requested,
		Available: max(0, available),
		// A supply that was lowered below what is taken swallows the units in
		// flight first.
		InFlight: max(0, unsettled+min(0, available)),
		Over:     max(0, -available),
		Epoch:    epoch, Version: version,
	}
}

// Why says what makes the counters of a SKU unusable.
type Why string

// The reasons for ErrNotLoaded.
const (
	WhyMissing Why = "missing"           // there are none
	WhyForeign Why = "foreign"           // they are of another order store
	WhyFormat  Why = "of another format" // another build wrote them
	WhyGarbage Why = "garbage"           // they are of the wrong type, or no numbers
	WhyBehind  Why = "behind"            // they are older than what the caller knows of
	WhyLost    Why = "lost"              // fewer units are taken than Postgres admitted
	WhySpent   Why = "spent"             // a counter is near its bound
)

// NotLoadedError says why the counters of a SKU are unusable. It is ErrNotLoaded.
type NotLoadedError struct {
	SKU string
	Why Why
}

// Error names the SKU and the reason.
func (e *NotLoadedError) Error() string {
	text := fmt.Sprintf("SKU %q: %v: the counters are %s", e.SKU, ErrNotLoaded, e.Why)
	if e.Why == WhyForeign {
		text += ": those of another order store, and two of them on one Redis need two prefixes, as of WithKeyPrefix"
	}
	return text
}

// Unwrap is ErrNotLoaded.
func (e *NotLoadedError) Unwrap() error { return ErrNotLoaded }

// InvalidError names the argument that breaks a bound. It is ErrInvalid.
type InvalidError struct {
	Field  string // as in the JSON of a request: "lines[2].quantity"
	Reason string // what is wrong, with the bound: "is 0, want 1 to 1000000"
}

// Error names the field and the bound.
func (e *InvalidError) Error() string { return fmt.Sprintf("%v: %s %s", ErrInvalid, e.Field, e.Reason) }

// Unwrap is ErrInvalid.
func (e *InvalidError) Unwrap() error { return ErrInvalid }

// unavailable is ErrUnavailable with its cause, and what was to be done.
func unavailable(did, sku string, err error) error {
	return unavailableFor(didFor(did, sku), err)
}

func didFor(did, sku string) string { return fmt.Sprintf("%s SKU %q", did, sku) }

// unavailableFor is unavailable for what is of no SKU. The error of a batch, which names
// one of its SKUs, becomes that of a caller.
func unavailableFor(did string, err error) error {
	if batch, is := err.(*unavailableError); is { //nolint:errorlint // one that is behind another error stays there
		err = batch.cause
	}
	return &unavailableError{did, err}
}

// unavailableError is an ErrUnavailable with its cause.
type unavailableError struct {
	did   string
	cause error
}

func (e *unavailableError) Error() string {
	return fmt.Sprintf("%s: %v: %v", e.did, ErrUnavailable, e.cause)
}
func (e *unavailableError) Unwrap() []error { return []error{ErrUnavailable, e.cause} }
