package order

import (
	"context"
	"time"

	"github.com/lastunit/lastunit/inventory"
)

// Store is the durable side of a sale: it alone decides what is sold. [Postgres]
// is the implementation; [Memory] behaves the same and keeps nothing.
// ordertest.Run checks any other.
//
// Every method is safe for concurrent use, and safe to repeat with the same
// arguments: what was done is not done twice. Whatever is called in whatever
// order, the units in live orders never exceed the capacity that was in force
// when the last of them was committed.
//
// Errors, for every method: inventory.ErrInvalid if an argument breaks a bound.
// [ErrUnavailable] if the store could not be asked; nothing was changed and
// nothing will be. [ErrOutcomeUnknown] if the connection was lost on the way of
// a method that changes something; those that only read say ErrUnavailable then
// too. [ErrNotMigrated] if there are no tables.
//
// Methods that change a SKU return its Counters as of that change. Their Supply
// is for the repository: it is safe to lose, to repeat and to reorder.
type Store interface {
	// PutOnSale makes a SKU with a capacity. If it is there with the same
	// capacity, that is no error; with another one, it is ErrAlreadyOnSale.
	PutOnSale(ctx context.Context, item Item) (Counters, error)

	// SetCapacity changes how many units there are, also to fewer than are
	// sold: then nothing is sold until enough came back. It fails with
	// ErrUnknownSKU.
	SetCapacity(ctx context.Context, sku string, capacity int64) (Counters, error)

	// Commit decides orders, one after the other in one round trip, and gives
	// each its own Outcome, in the same order. At most MaxCommits at once. It
	// returns the Counters of every SKU in them, sorted by SKU, without those
	// that are unknown.
	Commit(ctx context.Context, commits []Commit) ([]Outcome, []Counters, error)

	// Look finds out what became of orders, without changing anything: the
	// Verdict is Existing, Conflict or New. It returns Counters as Commit does.
	Look(ctx context.Context, commits []Commit) ([]Outcome, []Counters, error)

	// Cancel gives the units of a live order back. An order that is cancelled or
	// expired stays as it is. An unknown ID becomes a cancelled order without
	// customer and lines, and nothing can be booked under it any more. It
	// returns the order as it is then, and the Counters of its SKUs.
	Cancel(ctx context.Context, id string) (Order, []Counters, error)

	// Fence decides about deductions that nobody settled in time. true: its
	// order consumed it, settle it. false: no order did and none ever will,
	// restore it. It returns Counters as Commit does.
	Fence(ctx context.Context, deductions []inventory.Deduction) (consumed []bool, _ []Counters, _ error)

	// Order returns one order. It fails with ErrNotFound.
	Order(ctx context.Context, id string) (Order, error)

	// Orders lists orders, newest first.
	Orders(ctx context.Context, query Query) (Page, error)

	// Counters returns the Counters of SKUs, sorted by SKU, without those that
	// are unknown.
	Counters(ctx context.Context, skus ...string) ([]Counters, error)

	// Scan returns the Counters of up to limit SKUs of a partition that sort
	// after a SKU: page by page, all of them. Partition AllPartitions is all.
	// A limit is at least 1, here and in Claim.
	Scan(ctx context.Context, partition int, after string, limit int) ([]Counters, error)

	// BeginEpoch moves a SKU to a new epoch if its epoch is the one that was
	// seen, and so makes all deductions of that one void. If it isn't, somebody
	// else was first, begun is false, and the SKU stays as it is. Only who began
	// an epoch may load it. It fails with ErrUnknownSKU.
	BeginEpoch(ctx context.Context, sku string, seen int64) (_ Counters, begun bool, _ error)

	// Claim takes up to limit partitions that nobody claimed within the period,
	// those first that were left the longest. Who claims one does its background
	// work; if it dies on the way, somebody else does after the period. It is
	// meant for all processes at once: no two claim the same one within it.
	Claim(ctx context.Context, period time.Duration, limit int) ([]int, error)

	// Tally counts what live orders hold, as of one moment, for each of the
	// SKUs, sorted, without those that are unknown; for no SKUs, for all. It
	// reads every order: it is for audits.
	Tally(ctx context.Context, skus ...string) ([]Tally, error)

	// Recount sets what is allocated of a SKU to what its live orders hold. It
	// reads every order while the SKU is locked: it is for a Tally that does
	// not agree. It fails with ErrUnknownSKU.
	Recount(ctx context.Context, sku string) (Counters, error)
}

// Partitions is how many partitions the SKUs are shared out in: 0 to Partitions-1.
const Partitions = 64

// AllPartitions makes Scan read all of them.
const AllPartitions = -1

// MaxCommits bounds a batch of Commit and of Look.
const MaxCommits = 1000

// Commit asks for an order to be stored.
type Commit struct {
	// Order has ID, Customer and Lines, sorted and summed as SumLines does it.
	Order Order

	// Deductions that the order would consume, one for each line, in the same
	// order. A zero Deduction commits the line without one, and so shrinks the
	// supply. None at all does that for every line.
	Deductions []inventory.Deduction
}

// Verdict is what became of a Commit.
type Verdict int

// The verdicts.
const (
	// VerdictNew: there is no such order. Only Look says so.
	VerdictNew Verdict = iota
	// VerdictBooked: the order was inserted and consumed the deductions.
	VerdictBooked
	// VerdictExisting: an order with this ID and content was there.
	VerdictExisting
	// VerdictConflict: an order with this ID and other content was there.
	VerdictConflict
	// VerdictAgain: nothing was stored. The deductions in Outcome.Again are dead:
	// restore them, deduct those lines again, and commit again.
	VerdictAgain
	// VerdictFull: nothing was stored, Line would exceed the capacity.
	VerdictFull
	// VerdictUnknown: nothing was stored, the SKU of Line was never put on sale.
	VerdictUnknown
	// VerdictFailed: nothing was stored, for the reason in Err. Only this order is
	// concerned.
	VerdictFailed
)

// String names the verdict.
func (v Verdict) String() string {
	return [...]string{"new", "booked", "existing", "conflict", "again", "full", "unknown", "failed"}[v]
}

// Outcome is the answer to one Commit.
type Outcome struct {
	Verdict Verdict
	Order   Order // as it is now, if Booked or Existing

	// Consumed says of each of the Deductions whether the order consumed it.
	// Those must be settled. What is false is dead if the verdict is Existing,
	// Conflict or Full; restore it unless an earlier commit may still land.
	Consumed []bool

	Again []bool // of each of the Deductions: it is dead; if the verdict is Again
	Line  int    // the line that decided, if Full or Unknown
	Left  int64  // units left for that line, if Full
	Err   error  // if Failed; ErrRejected for instance
}

// Query says which orders to list.
type Query struct {
	Status Status // only these; defaults to all
	Size   int    // of a page, 1 to MaxPage; defaults to DefaultPage
	After  string // Page.Next of the page before; defaults to the newest orders
}

// Sizes of a page of orders.
const (
	DefaultPage = 50
	MaxPage     = 1000
)

// Page is a part of a list of orders.
type Page struct {
	Orders []Order `json:"orders"`
	Next   string  `json:"next"` // for Query.After; empty on the last page
}

// Tally is what live orders hold of a SKU, beside its Counters at that moment.
// Counters.Allocated must be Held + Confirmed.
type Tally struct {
	Counters  Counters
	Held      int64 // units
	Confirmed int64 // units
}
