package inventory

import (
	"errors"
	"fmt"
)

// The errors of this package, for errors.Is. StockError, NotLoadedError and
// InvalidError have the details, for errors.As.
var (
	// ErrSoldOut says that fewer units are left than were asked for, also if all
	// units in flight came back. Nothing was taken.
	ErrSoldOut = errors.New("sold out")

	// ErrTryAgain says that fewer units are available than were asked for, but
	// that units in flight may come back within seconds. Nothing was taken.
	ErrTryAgain = errors.New("no units available at the moment, try again")

	// ErrUnavailable says that the store could not be asked or did not answer.
	// The call may have been carried out, may still be, or not at all.
	ErrUnavailable = errors.New("inventory unavailable")

	// ErrNotLoaded says that the store holds no usable counters of the SKU.
	// Begin a new epoch in the order store and load it.
	ErrNotLoaded = errors.New("not loaded")

	// ErrInvalid says that an argument breaks a bound. Nothing was touched.
	ErrInvalid = errors.New("invalid")
)

// StockError says which SKU fell short. It is ErrSoldOut or ErrTryAgain.
type StockError struct {
	SKU       string
	Requested int64 // units
	Available int64 // units that could be had at that moment, never negative
	InFlight  int64 // units that would be available if all that is unsettled were restored, beside Available

	Over int64 // units taken beyond the supply, as after the capacity was lowered

	// Epoch and Version of the supply that it was decided on; 0 if the order
	// store decided.
	Epoch, Version int64
}

// Error names the SKU and the numbers.
func (e *StockError) Error() string {
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

// Why says what makes the counters of a SKU unusable.
type Why string

// The reasons for ErrNotLoaded.
const (
	WhyMissing Why = "missing" // there are none
	WhyForeign Why = "foreign" // they are of another order store
	WhyGarbage Why = "garbage" // they are of the wrong type, or no numbers
	WhyBehind  Why = "behind"  // they are older than what the caller knows of
	WhyLost    Why = "lost"    // fewer units are taken than Postgres admitted
	WhySpent   Why = "spent"   // a counter is near its bound
)

// NotLoadedError says why the counters of a SKU are unusable. It is ErrNotLoaded.
type NotLoadedError struct {
	SKU string
	Why Why
}

// Error names the SKU and the reason.
func (e *NotLoadedError) Error() string {
	return fmt.Sprintf("SKU %q: %v: the counters are %s", e.SKU, ErrNotLoaded, e.Why)
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
