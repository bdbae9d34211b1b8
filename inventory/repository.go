package inventory

import (
	"context"
	"slices"
	"time"
)

// InventoryRepository is for implementers: users of package booking need none of
// these methods. It is the fast side of a sale: it holds a supply of units for each
// SKU and deducts from it at once. What it holds may be lost at any moment; the
// durable side (package order) decides what is sold, and gives it a new supply.
// [Redis] is the implementation, and [Memory] one for tests; inventorytest.Run
// checks any other.
//
// Every method is safe for concurrent use, and safe to repeat with the same
// arguments, also when an earlier call with them failed, is still under way, or
// arrives later than this one. Methods that touch several deductions do so for
// all of them or fail; on a failure some may be done, and repeating does the rest.
//
// Errors, for every method: [ErrInvalid] if an argument breaks a bound, and
// nothing was touched. [ErrUnavailable] if the store could not be asked, or did
// not answer: the call may have been carried out, may still be, or not at all.
// [ErrNotLoaded] if the store answered that it holds no usable counters.
type InventoryRepository interface {
	// Load begins a fresh epoch of each SKU with nothing taken, in place of
	// counters that are missing, of an older epoch, of another store or garbage.
	// Only deductions of accepted orders of the same store stay: their units are
	// deducted anew in the new epoch, under the same attempts and with Seqs of
	// their own from 1 on, even if the supply is not enough. Else they are as they were.
	// Counters of this epoch or a newer one stay as they are, and that is no
	// error; those of the epoch that Supply.Replaces names are replaced. Load only an epoch that the order store has just begun: an epoch
	// that was loaded and lost must not be loaded a second time.
	//
	// All supplies are checked before the first is loaded. They are loaded in
	// no particular order; on a failure some may be, and repeating does the rest.
	Load(ctx context.Context, supplies ...Supply) error

	// Push replaces the supply of counters of the same epoch, and its terms, if
	// its version is newer. Older ones, and those of an older epoch, do nothing,
	// without an error.
	//
	// It fails with ErrNotLoaded if the counters are missing, foreign, garbage
	// or of an older epoch; also, whether or not the supply was newer, if fewer
	// units are taken than were admitted, which proves that the counters lost some.
	Push(ctx context.Context, supply Supply) error

	// Deduct takes units for an attempt. Repeated for an attempt that is
	// unsettled, it gives the same Deduction again, whatever the terms have
	// become; with another order or quantity, or with another customer than the
	// one it was counted for, it is ErrInvalid. Repeated for one that was settled
	// or restored, it deducts anew under another Seq: mint an attempt for each
	// new try.
	//
	// It fails with a *WindowError if the SKU is not on sale by the terms:
	// [ErrPaused], or by the repository's clock, unless the request is Cleared,
	// [ErrNotOpen] or [ErrClosed]. It fails with a *LimitError if the terms have
	// a customer's limit, and the units asked for would exceed it together with
	// those of the customer that were deducted under a limit and are unsettled:
	// [ErrTryAgain] if that would not be so with all of these restored, else
	// [ErrLimitExceeded]. It fails with a *StockError if fewer units are
	// available than asked for: [ErrTryAgain] if they would suffice with all that
	// is unsettled restored, else [ErrSoldOut]; with a *ReopeningError, which is
	// ErrTryAgain, for some 50 ms after a Push, Settle or Load brought units to
	// counters that had none available, or that had been lost. The first of these
	// that applies is told. It fails with ErrNotLoaded also if the counters are behind the
	// Watermark. In all these cases nothing was taken.
	//
	// A caller whose ctx ends while the call waits for others leaves without a
	// trace; while it is under way, the call may be carried out.
	//
	// A copy of the call that is still on its way when the deadline of ctx has
	// passed by the store's clock, or DeductTimeout since it was sent if that is
	// sooner, does nothing any more.
	Deduct(ctx context.Context, request Request) (Deduction, error)

	// Accept keeps an accepted order (1 to MaxAccepted bytes, which mean nothing
	// here) beside each of its deductions until that one is settled or restored:
	// whoever finds it then carries the order out. From the first one that is Kept
	// on, the order may be found. It takes no units, and keeps nothing beside a
	// deduction that is not on record under its identity. It is DecideFirst for one
	// that counts for a customer's limit, which is the order store's to decide. With
	// another order than the one that is there already it is ErrInvalid.
	//
	// The answer has a Keeping for each of the deductions, 1 or more of them. One
	// whose SKU has no usable counters is Gone, without an error.
	Accept(ctx context.Context, accepted string, deductions ...Deduction) (Acceptance, error)

	// Settle drops deductions that the order store consumed; their units stay
	// taken, and count no longer for the customer's limit here. It also pushes the
	// supply, and fails as Push does. The accepted orders beside them go too. Deductions that
	// are not on record under their Seq, or are of another epoch, are passed
	// over. All must be of the supply's SKU.
	Settle(ctx context.Context, supply Supply, deductions ...Deduction) error

	// Restore drops deductions that the order store did not consume and never
	// can, and gives their units back, to the customer's limit too. Those that are not on record under their
	// Seq, or whose epoch or store is not that of the counters, are passed over,
	// and so are those whose SKU is not loaded; garbage is ErrNotLoaded. Never
	// restore a deduction while a commit of it may still land.
	//
	// One with an accepted order beside it is passed over too, unless Accepted
	// is set: then the order is done with, and goes as well.
	Restore(ctx context.Context, deductions ...Deduction) error

	// Unsettled lists up to limit deductions of a SKU that are older than age
	// and neither settled nor restored, in no order. Those that are there
	// throughout the call are found; one that comes or goes may be. The age is 0
	// or more, the limit 1 or more.
	Unsettled(ctx context.Context, store, sku string, age time.Duration, limit int) ([]Deduction, error)

	// Remove removes the counters of a SKU that the order store has retired, whose last
	// epoch is given: also garbage, and those of an older epoch. Those of another store
	// or a newer epoch stay, and that is no error. Where accepted orders are beside
	// deductions, nothing is removed, and the answer is how many deductions these are:
	// carry them out, and ask again. The others are void, and go with the counters.
	//
	// Nothing but Load makes counters, so late copies of other calls find none. A late
	// Load of an epoch that is over is removed by the next Remove.
	Remove(ctx context.Context, store, sku string, epoch int64) (accepted int64, _ error)

	// Stock reads the counters of SKUs as they are now, one Stock for each, in the same order.
	// Counters that are missing, of another format or garbage are told by Stock.Why, not by an error. Where
	// only some could be asked for, as one node of several does not answer, these come
	// beside the error, and Stock.Err tells the others. On any other error there is no
	// Stock, or each has Err.
	Stock(ctx context.Context, skus ...string) ([]Stock, error)

	// Name tells the repository apart from others that the order store might be used
	// with: what its keys begin with, say. It is never empty, and the same in each process.
	Name() string

	// Canaries looks at the canary of each server, at all of them at the same time. Where
	// the store given has planted it, the look counts in Canary.Beats of the watcher, a
	// number from 0 to Watchers-1 that the caller has chosen at random, and Canary.Found is
	// what was there before; with no store it changes nothing. What stands in the place of a canary and is none is told as if
	// there were none. It fails only if it is not known which servers there are; one that
	// does not answer is told by Canary.Err.
	Canaries(ctx context.Context, store string, watcher int) ([]Canary, error)

	// Plant plants a canary for the store in the place of the one that was seen there,
	// whichever store's that is, or where none was. It begins a new Epoch, and the canary
	// is not Whole. If the one seen is Whole, Plant only marks it so, if it is the store's.
	// If another one is there by now, that stays as it is, without an error.
	Plant(ctx context.Context, store string, seen Canary) error
}

// Locator is an InventoryRepository that is spread over several servers, as [Redis] is
// on a cluster. Each of them may fail alone: what was found out about one of its SKUs
// then holds for the others on it.
type Locator interface {
	// Locate names the server that has a SKU's counters now, as host:port. It is empty if
	// there is only one, or it is not known which it is. It does not wait.
	Locate(ctx context.Context, sku string) string
}

// Supply is what the order store tells the repository may be deducted.
type Supply struct {
	SKU      string
	Store    string // names the order store, so that supplies of two are told apart
	Epoch    int64  // the life of the counters: 1 to 2^52
	Version  int64  // orders the supplies of a SKU: 1 to 2^52
	Units    int64  // may be deducted in this epoch, all in all; may be negative
	Admitted int64  // were committed in this epoch and deducted before

	// Replaces is, for Load, an epoch of counters that were found there and that the order
	// store never began: above Epoch, up to 2^52; 0 for none. Counters of that very epoch
	// are replaced too.
	Replaces int64

	Terms // who may buy, and when
}

// Watermark is how far the caller knows the counters of a SKU to be. Counters
// that are behind it were lost and came back old. The zero Watermark is none.
type Watermark struct {
	Epoch int64
	Seq   int64 // the highest that is known to have been granted in Epoch
}

// Request asks for units of one SKU.
type Request struct {
	SKU       string
	Store     string // of the supply
	Attempt   string // names this try: 1 to 128 bytes, never used for another one
	OrderID   string // is kept with the deduction, for the sweep
	Customer  string // who buys: 1 to 128 bytes; is kept only while a customer's limit counts the units
	Quantity  int64  // 1 to MaxQuantity
	Watermark Watermark

	// Cleared says that the order store was asked after the repository had
	// refused by the clock, and found the sale open: the repository's own clock
	// does not count. A pause still does.
	Cleared bool
}

// Deduction is units that an attempt has taken. SKU, Epoch and Seq are its
// identity: no two deductions share them while the counters are not lost.
type Deduction struct {
	SKU      string
	Store    string
	Epoch    int64
	Seq      int64
	Attempt  string
	OrderID  string
	Quantity int64
	Version  int64     // of the supply that it was granted from
	At       time.Time // by the repository's clock

	// Accepted is the accepted order that is kept beside it, or empty. Only
	// Unsettled tells; whoever has called Accept sets it.
	Accepted string
}

// Keeping is what became of an accepted order beside one of its deductions.
type Keeping int

// The answers of Accept.
const (
	Gone        Keeping = iota // the deduction is not on record any more
	Kept                       // the order is beside it
	DecideFirst                // nothing was kept: the order store must decide before anybody is told
)

// Acceptance is the answer of Accept.
type Acceptance struct {
	Keeping []Keeping // of each of the deductions

	// Replicas is how many replicas had what was kept, of each SKU at least; 0
	// where nobody asked them. See WithReplicas.
	Replicas int
}

// AllKept says whether the order is beside every deduction.
func (a Acceptance) AllKept() bool {
	return !slices.ContainsFunc(a.Keeping, func(k Keeping) bool { return k != Kept })
}

// Identity names a deduction within its SKU. The zero Identity is none: of an
// order line that was committed without a deduction.
type Identity struct {
	Epoch int64
	Seq   int64
}

// Identity returns the deduction's name within its SKU.
func (d Deduction) Identity() Identity { return Identity{Epoch: d.Epoch, Seq: d.Seq} }

// Stock is the counters of one SKU at one moment.
type Stock struct {
	SKU       string
	Store     string
	Epoch     int64
	Version   int64
	Supply    int64 // units that may be deducted in this epoch, all in all
	Taken     int64 // units deducted in this epoch and not restored
	Unsettled int64 // the part of Taken that is neither settled nor restored
	Seq       int64 // of the last deduction
	Terms           // of the Version; compare them by SameTerms, as times may be in whole milliseconds
	Why       Why   // the counters can't be used: Missing, Format or Garbage, and all else but SKU is zero
	Err       error // the counters could not be asked for, and all else but SKU is zero
}

// Available is how many units a Deduct would find. It is negative if the
// capacity was set below what is sold.
func (s Stock) Available() int64 { return s.Supply - s.Taken }
