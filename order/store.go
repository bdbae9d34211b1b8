package order

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/lastunit/lastunit/inventory"
)

// Store is for implementers: users of package booking need none of these methods.
// It is the durable side of a sale: it alone decides what is sold. [Postgres] is the
// implementation; [Memory] behaves the same and keeps nothing. ordertest.Run checks
// any other.
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
// too. [ErrNotMigrated] if there are no tables, [ErrNewerSchema] if a newer build made
// them of another format.
//
// Methods that change a SKU return its Counters as of that change. Their Supply
// is for the repository: it is safe to lose, to repeat and to reorder.
type Store interface {
	// PutOnSale makes SKUs, all of them or none, at most MaxItems. A SKU that is
	// there with the same capacity, limit, window, draws and PoolOnly stays as it is, and
	// that is no error; with others it is ErrAlreadyOnSale. One whose row was deleted
	// is ErrOrphaned. A pool must be there
	// or among the items, else it is ErrUnknownSKU; pools that form a circle are
	// inventory.ErrInvalid. It returns the Counters of the items, in their order,
	// and which of them were made by this very call: who made one may load it.
	PutOnSale(ctx context.Context, items ...Item) (_ []Counters, made []bool, _ error)

	// Adjust changes how many units there are, also to fewer than are sold: then
	// nothing is sold until enough came back. It does so once under an ID; the ID
	// with other content is ErrIdempotencyConflict, and a SetCapacity that was made
	// is ErrSuperseded while the capacity is another one. It fails with ErrUnknownSKU,
	// and with inventory.ErrInvalid if the capacity would leave its bounds.
	Adjust(ctx context.Context, adjustment Adjustment) (Counters, error)

	// SetLimit changes how many units one customer may have: 1 to
	// inventory.MaxQuantity, or 0 for no limit. Who has more keeps them. The first limit
	// of a SKU reads every order while the SKU is locked. It fails with ErrUnknownSKU.
	SetLimit(ctx context.Context, sku string, limit int64) (Counters, error)

	// SetWindow changes when the SKU is sold; zero for no such moment. It fails
	// with ErrUnknownSKU.
	SetWindow(ctx context.Context, sku string, opensAt, closesAt time.Time) (Counters, error)

	// SetPaused stops selling the SKU, or goes on. It fails with ErrUnknownSKU.
	SetPaused(ctx context.Context, sku string, paused bool) (Counters, error)

	// Retire ends a SKU, for good: no Commit books it any more, nor what draws on it, and
	// no Reclaim takes its units. Its last epoch begins, so that every deduction is void.
	// Orders, movements and the SKU's own row stay; holds may be confirmed, extended and
	// cancelled, and expire. Retired once more, it stays as it is. It fails with
	// ErrUnknownSKU.
	//
	// Of a retired SKU PutOnSale and SetPaused(false) fail with ErrRetired, as does
	// PutOnSale of a new item that draws on it; BeginEpoch begins nothing.
	Retire(ctx context.Context, sku string) (Counters, error)

	// Removed takes note that the repository has no counters of retired SKUs any more:
	// Scan leaves them out from now on. SKUs that are unknown, or not retired, are passed
	// over.
	Removed(ctx context.Context, skus ...string) error

	// Purge strips up to limit orders that ended before a moment, by the Store's clock:
	// those cancelled, expired or refused. Customer, lines, draws and the identities of
	// the deductions go; the ID, the status, the reason, the digest and the times stay, so
	// that the same request has the same answer, and any other one is
	// ErrIdempotencyConflict. Such an order has no Lines, and an expired one can't be
	// reclaimed: ErrPurged. Live orders and uncounted ones stay, and so do those that
	// another transaction has locked. It returns how many it stripped: 0 if none are left
	// to it. The limit is 1 to MaxCommits.
	//
	// An order that the database lets nobody strip keeps no other one from it: it is an
	// *OrderError beside the number, as a rule ErrRejected, and passed over for a while.
	//
	// A deduction of a purged order must be settled or void: Fence would call it dead.
	// Purge what ended long before.
	Purge(ctx context.Context, before time.Time, limit int) (purged int, _ error)

	// Commit decides orders, one after the other in one round trip, and gives
	// each its own Outcome, in the same order. At most MaxCommits at once. It
	// returns the Counters of every SKU in them, pools included, sorted by SKU,
	// without those that are unknown; none at all if every outcome is VerdictFailed.
	//
	// What decides about an order, the first that applies: its ID is there; a SKU
	// is unknown; a deduction is dead, or its draws are wrong. Then unit by unit:
	// its SKU is not sold at the moment; the customer's limit; the capacity; it
	// came back only just now.
	Commit(ctx context.Context, commits []Commit) ([]Outcome, []Counters, error)

	// Look finds out what became of orders, without changing anything: the
	// Verdict is Existing, Conflict or New, or Failed if the database does not let that
	// order be read. It returns Counters as Commit does.
	// An order that the Counters or Outcome.Used count is found.
	Look(ctx context.Context, commits []Commit) ([]Outcome, []Counters, error)

	// Refuse refuses orders that were accepted, for good: each is stored as a
	// cancelled order with its content and the reason, Order.Refused, and nothing
	// can be booked under its ID any more. An ID that is there already stays as it
	// is, whatever it is. The Verdict is Refused, Existing or Conflict, or Failed if
	// the database rejects even that. At most MaxCommits at once.
	Refuse(ctx context.Context, orders []Order) ([]Outcome, error)

	// Change changes orders, one after the other in one round trip, and gives
	// each its own answer, in the same order. At most MaxCommits at once. Its
	// errors are those of each Action; ErrBusy for an order that another
	// transaction is changing, such as somebody's own open one: it is not waited
	// for; ErrRejected for an order that the database does not let be changed, and
	// ErrUnavailable for one whose SKU's tables contradict each other. It returns the
	// Counters of every SKU of the orders, sorted by SKU.
	Change(ctx context.Context, changes []Change) ([]Changed, []Counters, error)

	// Due returns up to limit held orders whose time is over, those first that
	// are due the longest, and makes them due again after a while: until then
	// nobody else gets them, unless the database does not let the order be changed. A held order whose time is over stays held, and keeps
	// its units, until a Change makes it something else. The while is 1 ms to MaxHold.
	Due(ctx context.Context, again time.Duration, limit int) ([]Order, error)

	// Uncounted returns the IDs of up to limit orders, sorted, that sort after an ID,
	// were changed in somebody's own transaction and are not counted yet. See TxStore.
	Uncounted(ctx context.Context, after string, limit int) ([]string, error)

	// Fence decides about deductions that nobody settled in time. true: its
	// order consumed it, settle it. false: no order did and none ever will,
	// restore it. It is ErrRejected, for all of them, if the database does not let one
	// of the orders be read. It returns Counters as Commit does.
	Fence(ctx context.Context, deductions []inventory.Deduction) (consumed []bool, _ []Counters, _ error)

	// Order returns one order. It fails with ErrNotFound.
	Order(ctx context.Context, id string) (Order, error)

	// Orders lists orders, newest first.
	Orders(ctx context.Context, query Query) (Page, error)

	// Counters returns the Counters of SKUs, sorted by SKU, without those that
	// are unknown.
	Counters(ctx context.Context, skus ...string) ([]Counters, error)

	// Latest is Counters, at a moment at which nobody is changing these SKUs: whoever
	// changes one after that does so at a later time by the Store's clock. See
	// Reopening.
	Latest(ctx context.Context, skus ...string) ([]Counters, error)

	// Scan returns the Counters of up to limit SKUs of a partition that sort
	// after a SKU: page by page, all of them but those Removed. Partition AllPartitions is all.
	// A limit is at least 1, here and in Claim, and so is a slice.
	Scan(ctx context.Context, partition int, after string, limit int) ([]Counters, error)

	// BeginEpoch moves a SKU to a new epoch if its epoch is the one that was
	// seen, and so makes all deductions of that one void. If it isn't, somebody
	// else was first, begun is false, and the SKU stays as it is. Only who began
	// an epoch may load it. It fails with ErrUnknownSKU.
	//
	// An epoch that was seen and is above the SKU's is one that this Store never began,
	// or has forgotten, as after a restore: the new epoch is above that one. From 2^51 on
	// it is not, so that no counter comes near its bound, and the SKU stays as it is. Then
	// begin the next one after the SKU's own, and load it with Supply.Replaces.
	BeginEpoch(ctx context.Context, sku string, seen int64) (_ Counters, begun bool, _ error)

	// Claim takes up to limit partitions that nobody claimed within the period,
	// those first that were left the longest. Who claims one does its background
	// work; if it dies on the way, somebody else does after the period. It is
	// meant for all processes at once: no two claim the same one within it.
	//
	// With each comes a slice of its SKUs, of up to so many: those whose turn it is to be
	// compared. Claims of a partition, by whichever process, go through its SKUs in their
	// order, and begin again after the last one.
	Claim(ctx context.Context, period time.Duration, limit, slice int) ([]Claimed, error)

	// Paired returns the name of the store, and of the inventory that it was paired with.
	Paired(ctx context.Context) (Pairing, error)

	// Pair records the name of the inventory that the store is used with, 1 to
	// inventory.MaxIDBytes bytes, in the place of the one that was seen; empty for none.
	// If another one is on record by now, that stays. It returns what is on record then.
	Pair(ctx context.Context, seen, inventory string) (Pairing, error)

	// Upkeep returns when the background work was done last. It changes nothing, and
	// costs little.
	Upkeep(ctx context.Context) (Upkeep, error)

	// Tally adds up orders and movements, as of one moment, for each of the
	// SKUs, sorted, without those that are unknown; none for no SKUs. It reads
	// every order: it is for audits.
	Tally(ctx context.Context, skus ...string) ([]Tally, error)

	// TallyAll is Tally for all SKUs.
	TallyAll(ctx context.Context) ([]Tally, error)

	// Recount sets what is allocated of a SKU to what its orders hold, and the
	// sums of its movements to the counters, by further movements, after the number of
	// the last one is right. It reads every order while the SKU is locked: it is for a
	// Tally that does not agree. It fails with ErrUnknownSKU, and with ErrUnavailable where
	// somebody keeps the SKU locked for long.
	Recount(ctx context.Context, sku string) (Counters, error)

	// Movements lists up to limit movements of a SKU whose number is above
	// after, in their order. An unknown SKU has none.
	Movements(ctx context.Context, sku string, after int64, limit int) ([]Movement, error)

	// Feed returns up to limit movements of any SKUs beyond a Cursor, and the
	// Cursor beyond these. For each SKU it misses none and keeps their order; which
	// SKU comes first is open, but none is left behind for long. To ask again
	// with the same Cursor returns the same movements, and maybe more. Fewer than
	// limit may come while there are more; none means that there are none. What it
	// costs does not depend on how many SKUs have no news. It fails with
	// ErrUnknownCursor if the Cursor is of another Store, or beyond the end.
	Feed(ctx context.Context, after Cursor, limit int) ([]Movement, Cursor, error)

	// SetLedger switches the writing of movements on or off, for all SKUs. A new
	// store has it on. Switched on again, it writes for each SKU what makes the
	// sums right. It locks every SKU for a moment.
	SetLedger(ctx context.Context, on bool) error
}

// Claimed is a partition whose background work is the claimer's.
type Claimed struct {
	Partition int
	After     string // the slice of SKUs begins after this one, in the order of Scan; empty for the first
}

// Pairing names a store and the inventory that it is used with. A store that two of
// them load, or an inventory that two stores use, is rebuilt from both sides again and again.
type Pairing struct {
	Store     string // as in Counters.Store
	Inventory string // empty if none is on record yet
}

// TxStore is a Store that changes orders inside its user's own transactions, so
// that a payment's row and the confirmation of its order commit together.
// [Postgres] is one.
//
// Both methods change nothing but the order's row: no SKU is locked for as long
// as the transaction lasts. What the change means for the counters and the
// ledger is counted afterwards, by any process that runs booking.Service.Run:
// until then, the units of such a cancel count as sold. While the transaction is
// open, any other change of the order is ErrBusy. Errors of the transaction
// itself, such as a serialization failure, are returned as they are: it is its
// owner who tries again. A nil transaction is inventory.ErrInvalid. One of another
// store's database is ErrUnavailable: nothing was changed, and it can only be rolled
// back.
type TxStore interface {
	Store

	// ConfirmTx confirms a held order if its time is not over at this moment. It
	// fails with ErrHoldExpired, ErrCancelled or ErrNotFound, and the transaction
	// can go on; or with ErrRejected, and it can only be rolled back.
	ConfirmTx(ctx context.Context, tx pgx.Tx, id string) (Order, error)

	// CancelTx cancels an order that is live or has expired. It fails with
	// ErrNotFound, and the transaction can go on; or with ErrRejected, and it can only be
	// rolled back.
	CancelTx(ctx context.Context, tx pgx.Tx, id string) (Order, error)
}

// Partitions is how many partitions the SKUs are shared out in: 0 to Partitions-1.
const Partitions = 64

// AllPartitions makes Scan read all of them.
const AllPartitions = -1

// MaxCommits bounds a batch of Commit, of Look and of Change.
const MaxCommits = 1000

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

// Tally is what orders and movements add up to for a SKU, beside its Counters at
// that moment. Counters.Allocated must be Held + Confirmed + Uncounted.
type Tally struct {
	Counters  Counters
	Held      int64 // units in held orders
	Confirmed int64 // units in confirmed orders
	Uncounted int64 // units of orders that ended in somebody's own transaction and are not counted yet

	// Ledger says that the SKU's movements are written. Then these sums must be
	// Counters.Capacity and Counters.Allocated.
	Ledger         bool
	MovedCapacity  int64 // units
	MovedAllocated int64 // units

	// Behind is how many movements there are beyond the number that the SKU's row has
	// for its last one, or beyond the position of its partition in the feed. With any,
	// the next movement meets a number that is taken, and nothing can be changed.
	Behind int64

	// Orphan says that there is no such SKU, but orders or movements of it, because
	// somebody deleted its row. All of Counters but the SKU is zero. See ErrOrphaned.
	Orphan bool
}

// Balanced says whether the sums are those of the counters.
func (t Tally) Balanced() bool {
	return !t.Orphan && t.Behind == 0 && t.Counters.Allocated == t.Held+t.Confirmed+t.Uncounted &&
		(!t.Ledger || t.MovedCapacity == t.Counters.Capacity && t.MovedAllocated == t.Counters.Allocated)
}
