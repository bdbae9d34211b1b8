package order

import (
	"errors"
	"fmt"
)

// The errors of this package, for errors.Is.
var (
	// ErrIdempotencyConflict says that the order ID was used before, for an
	// order with another customer or other lines. Nothing was changed.
	ErrIdempotencyConflict = errors.New("the order ID was used for another order")

	// ErrCancelled says that the order with this ID was cancelled, be it before
	// it was ever booked. An ID that was cancelled books nothing any more.
	ErrCancelled = errors.New("the order was cancelled")

	// ErrNotFound says that there is no order with this ID.
	ErrNotFound = errors.New("no such order")

	// ErrUnknownSKU says that the SKU was never put on sale.
	ErrUnknownSKU = errors.New("unknown SKU")

	// ErrAlreadyOnSale says that the SKU is on sale with another capacity.
	// SetCapacity changes it.
	ErrAlreadyOnSale = errors.New("already on sale with another capacity")

	// ErrOutcomeUnknown says that the call may have been carried out, may still
	// be, or not at all. Ask again with the same order ID, or whatever the
	// arguments were: what was done is not done twice.
	ErrOutcomeUnknown = errors.New("outcome unknown, ask again")

	// ErrUnavailable says that the store could not be asked, or refused for a
	// reason of its own: too many connections, a lock, a missing right. Nothing
	// was changed, and nothing will be by this call.
	ErrUnavailable = errors.New("order store unavailable")

	// ErrRejected says that the database refuses this very order, for instance
	// by a constraint or a trigger that somebody added. Nothing was changed, and
	// to ask again is of no use.
	ErrRejected = errors.New("rejected by the database")

	// ErrNotMigrated says that the database has no tables of this package, or
	// old ones. Call Migrate.
	ErrNotMigrated = errors.New("the database is not migrated, call order.Migrate")
)

// SKUError names the SKU of an ErrUnknownSKU or ErrAlreadyOnSale.
type SKUError struct {
	SKU string
	Err error
}

// Error names the SKU.
func (e *SKUError) Error() string { return fmt.Sprintf("SKU %q: %v", e.SKU, e.Err) }

// Unwrap is the error that befell the SKU.
func (e *SKUError) Unwrap() error { return e.Err }

// OrderError names the order of an ErrIdempotencyConflict, ErrCancelled or
// ErrNotFound.
type OrderError struct {
	ID  string
	Err error
}

// Error names the order.
func (e *OrderError) Error() string { return fmt.Sprintf("order %q: %v", e.ID, e.Err) }

// Unwrap is the error that befell the order.
func (e *OrderError) Unwrap() error { return e.Err }
