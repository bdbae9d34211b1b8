package order

import (
	"errors"
	"fmt"
	"time"

	"github.com/lastunit/lastunit/inventory"
)

// The errors of this package, for errors.Is.
var (
	// ErrIdempotencyConflict says that the order ID was used before, for an
	// order with another customer or other lines, held instead of booked or the
	// other way round; or for another adjustment. Nothing was changed.
	ErrIdempotencyConflict = errors.New("the ID was used for something else")

	// ErrCancelled says that the order with this ID was cancelled, be it before
	// it was ever booked. An ID that was cancelled books nothing any more.
	ErrCancelled = errors.New("the order was cancelled")

	// ErrRefused says that the order was accepted and refused since, for good: an ID
	// that was refused books nothing any more. RefusedError says why.
	ErrRefused = errors.New("refused after it was accepted")

	// ErrHoldExpired says that the hold's time is over. HoldExpiredError has the
	// details. Reclaim books the order again if units are left.
	ErrHoldExpired = errors.New("the hold has expired")

	// ErrBusy says that another transaction is changing the order at this moment,
	// most often somebody's own that is still open. Nothing was changed; ask again.
	ErrBusy = errors.New("the order is being changed by another transaction")

	// ErrNotFound says that there is no order with this ID.
	ErrNotFound = errors.New("no such order")

	// ErrUnknownSKU says that the SKU was never put on sale.
	ErrUnknownSKU = errors.New("unknown SKU")

	// ErrAlreadyOnSale says that the SKU is on sale with another capacity, limit
	// or window, which can be changed, or with other draws or another PoolOnly,
	// which can't.
	ErrAlreadyOnSale = errors.New("already on sale")

	// ErrUnknownCursor says that a cursor is none of this feed, or lies beyond its end:
	// it is of another database, or the database was restored from a backup, or made
	// anew. Movements that the reader has may be gone, and their numbers be those of
	// others now. Compare what was made of them with the orders (Store.Orders), then
	// begin anew with the zero Cursor. CursorError has the details.
	ErrUnknownCursor = errors.New("unknown cursor")

	// ErrPoolOnly says that the SKU can only be drawn on by others, and not be
	// ordered itself: see Item.PoolOnly.
	ErrPoolOnly = errors.New("can only be drawn on, not ordered")

	// ErrSuperseded says that the SetCapacity with this ID was made, and that the
	// capacity is another one since. Nothing was changed now.
	ErrSuperseded = errors.New("made before, and the capacity was changed since")

	// ErrRetired says that the SKU was retired: it is sold never again. It is
	// inventory.ErrClosed too. SKUError names the SKU.
	ErrRetired = fmt.Errorf("%w for good", inventory.ErrClosed)

	// ErrPurged says that the order expired, and its lines were purged since, so that it
	// can't be reclaimed any more. See Store.Purge.
	ErrPurged = errors.New("the order was purged")

	// ErrOrphaned says that a SKU can't be put on sale, because somebody deleted its row
	// and left its orders or its movements: what is sold anew would come on top of these.
	// Nothing was changed. Reconcile names such SKUs. Put the row back from a backup and
	// call Reconcile with Repair, or sell under another name. To begin anew under this
	// one, cancel the orders and delete its rows from lastunit.movement_batches.
	ErrOrphaned = errors.New("its row was deleted, but not its orders and movements")

	// ErrOutcomeUnknown says that the call may have been carried out, may still
	// be, or not at all. Ask again with the same order ID, or whatever the
	// arguments were: what was done is not done twice.
	ErrOutcomeUnknown = errors.New("outcome unknown, ask again")

	// ErrUnavailable says that the store could not be asked, or refused for a
	// reason of its own: too many connections, a lock, a missing right, or tables that
	// contradict each other, as Reconcile names them. From a Store
	// it means that nothing was changed, and nothing will be by this call. Where it is
	// the cause of an ErrOutcomeUnknown, as those of package booking, that is what
	// counts.
	ErrUnavailable = errors.New("order store unavailable")

	// ErrRejected says that the database refuses this very order, for instance
	// by a constraint, a trigger or a policy of row-level security that somebody added.
	// The database's message is the cause. Nothing was changed, and to ask again is of no use.
	//
	// It is whatever a trigger in PL/pgSQL raises, of any SQLSTATE but those that begin
	// with LU; 40001 and 40P01 only after they were raised several times. So is a trigger
	// or a rule that drops the row of the order without an error. An error that is
	// not raised, as under a statement_timeout or by a trigger in C, is that of a
	// database in trouble where its SQLSTATE is of such a class: ErrUnavailable.
	ErrRejected = errors.New("rejected by the database")

	// ErrNoTransactions says that the store is none whose users have transactions
	// of their own: use Postgres, or call Confirm and Cancel. See TxStore.
	ErrNoTransactions = errors.New("the order store takes part in no transactions: it is not in Postgres")

	// ErrNotMigrated says that the database has no tables of this package, or
	// old ones. Call Migrate.
	ErrNotMigrated = errors.New("the database is not migrated, call order.Migrate")

	// ErrNewerSchema says that a newer build migrated the database. From Migrate and
	// Check it means that this build does not know the schema's version; from a call of
	// the store that the format is another, or, for one order, that its answer is one that
	// this build does not know: nothing was changed, and nothing will be by this build.
	// Bring the program up to date. A program that must start while others are on the newer
	// build already may go on when Migrate returns it: where the format is another, its
	// calls return it too.
	ErrNewerSchema = errors.New("a newer lastunit migrated the database, bring this program up to date")

	// ErrOtherBuild says that the schema is of the version that is recorded, but not what
	// the migrations of this build make of it: a build from between two releases made
	// it, or somebody changed a function, took a trigger or a constraint away, or made a
	// table unlogged. Migrate changes nothing then, and Check names each part. Restore it
	// from Migrations, from the last file that has it, or sell with the build that made
	// the database.
	ErrOtherBuild = errors.New("the schema is of another build of lastunit")
)

// SKUError names the SKU of an ErrUnknownSKU, ErrAlreadyOnSale, ErrPoolOnly, ErrRetired or
// ErrOrphaned.
type SKUError struct {
	SKU string
	Err error
}

// Error names the SKU.
func (e *SKUError) Error() string { return fmt.Sprintf("SKU %q: %v", e.SKU, e.Err) }

// Unwrap is the error that befell the SKU.
func (e *SKUError) Unwrap() error { return e.Err }

// HoldExpiredError says when a hold expired, and what is left. It is
// ErrHoldExpired.
type HoldExpiredError struct {
	ID        string
	ExpiredAt time.Time
	Left      []Line // how many units are left of each SKU of the order, pools included; may be 0
}

// NewHoldExpiredError is the error of an order whose hold is over, given the
// Counters of its SKUs, in any order. It is for implementers of a Store.
func NewHoldExpiredError(o Order, counters []Counters) *HoldExpiredError {
	err := &HoldExpiredError{ID: o.ID, ExpiredAt: o.ExpiresAt}
	for _, unit := range o.Units() {
		var left int64
		for _, c := range counters {
			if c.SKU == unit.SKU {
				left = max(0, c.Left())
			}
		}
		err.Left = append(err.Left, Line{unit.SKU, left})
	}
	return err
}

// Error names the order and the moment.
func (e *HoldExpiredError) Error() string {
	return fmt.Sprintf("order %q: %v at %s", e.ID, ErrHoldExpired, e.ExpiredAt.Format(time.RFC3339Nano))
}

// Unwrap is ErrHoldExpired.
func (e *HoldExpiredError) Unwrap() error { return ErrHoldExpired }

// NewStockError is the inventory.ErrSoldOut of an order, given its Units, which of
// them was refused, how many are left of that one, and the Counters of the SKUs,
// sorted by SKU. By these it names the other units that fall short. It is for
// implementers of a Store.
func NewStockError(units []Line, refused int, left int64, counters []Counters) *inventory.StockError {
	err := shortOf(units[refused], left)
	for i, unit := range units {
		if c, ok := find(counters, unit.SKU); ok && i != refused && c.Left() < unit.Quantity {
			err.Others = append(err.Others, shortOf(unit, c.Left()))
		}
	}
	return err
}

func shortOf(unit Line, left int64) *inventory.StockError {
	return &inventory.StockError{SKU: unit.SKU, Requested: unit.Quantity, Available: max(0, left)}
}

// AdjustmentError names the adjustment of an ErrIdempotencyConflict or
// ErrSuperseded.
type AdjustmentError struct {
	ID  string
	Err error
}

// Error names the adjustment.
func (e *AdjustmentError) Error() string { return fmt.Sprintf("adjustment %q: %v", e.ID, e.Err) }

// Unwrap is the error that befell the adjustment.
func (e *AdjustmentError) Unwrap() error { return e.Err }

// OrderError names the order of an ErrIdempotencyConflict, ErrCancelled, ErrBusy,
// ErrNotFound, ErrRejected, ErrUnavailable or ErrNewerSchema. An Outcome's Err is
// without it, and so is the ErrRejected of booking.Service.Book: its caller has the ID.
type OrderError struct {
	ID  string
	Err error
}

// Error names the order.
func (e *OrderError) Error() string { return fmt.Sprintf("order %q: %v", e.ID, e.Err) }

// Unwrap is the error that befell the order.
func (e *OrderError) Unwrap() error { return e.Err }
