package booking

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"math/rand/v2"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/lastunit/lastunit/internal/gather"
	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

// Config is what a Service works with. Orders is required.
type Config struct {
	// Inventory is the fast side, for instance inventory.NewRedis(client). Left
	// nil, Postgres alone sells, with the same promises, and all that is said about
	// Redis is void. That is right for many: see the package's documentation. Some
	// processes of a sale may have an Inventory and others none; those without can't
	// see what the others have under way, so that an order ID that one of them has
	// in hand should not be asked for in one of these at the same time. If a
	// process loses its connection to Postgres in the middle of a commit without
	// Redis, and the ID is asked for elsewhere at once, it may be told "sold out"
	// there and still be booked, if units come back in that moment.
	Inventory inventory.InventoryRepository

	// WhenRedisDown says what becomes of bookings while Redis can't be asked. With
	// Refuse they are refused with order.ErrOutcomeUnknown; with SellDirect Postgres
	// alone sells meanwhile. Defaults to Refuse.
	WhenRedisDown RedisDown

	// Orders is the durable side, for instance order.NewPostgres(pool).
	Orders order.Store

	// Logger hears of what went wrong in the background and was mended.
	// Defaults to slog.Default().
	Logger *slog.Logger

	// Timeout bounds every call whose context has no earlier deadline, but
	// Reconcile, ReconcileAll and Receipt.Wait; of Purge it bounds each batch. Below a second or so, what is slow now and then is
	// given up for nothing. Defaults to 10 seconds.
	Timeout time.Duration

	// SweepAfter is the age at which an unsettled deduction is taken for
	// abandoned: its process died or lost touch. A shorter one brings its units
	// back earlier; one that is too short makes slow bookings deduct again, and
	// those that it meets five times end with order.ErrOutcomeUnknown, nothing
	// worse. Defaults to 5 seconds.
	SweepAfter time.Duration

	// CheckEvery is the period of Run's comparisons. Each period, a process looks at
	// every server of Redis for a loss, and compares the two sides of up to 2,000 SKUs
	// that it has changed there; all processes together compare about 2,000 more, in
	// turn. Holds are looked at four times as often, so that their units are back
	// within a second. Defaults to 1 second.
	CheckEvery time.Duration

	// SoldOutFor is for how long, at most, this process says "sold out" from
	// memory after Postgres said so. Units that come back are seen here at once, in
	// other processes up to this much later. 0 means order.Reopening (50 ms), which
	// is also the most; negative switches it off. Nobody is told so whose order for
	// the SKU is there. An ID that was used for something else, or cancelled before
	// it was booked, may be told so too: with the units gone, it books nothing
	// either way.
	SoldOutFor time.Duration

	// BeforeExpire, if there is one, is asked about every hold whose time is
	// over, before its units are given back; by one process at a time. Ask your
	// payment provider, and say NotYet while you don't know. It is called from
	// up to 64 goroutines at once. Its context ends after 5 seconds, which is
	// NotYet; it is asked again after 10. Meanwhile the units are kept, Confirm
	// and Extend say order.ErrHoldExpired, and Reclaim confirms.
	BeforeExpire func(ctx context.Context, held order.Order) Expiry

	// HoldGrace bounds for how long after its time a hold is kept while
	// BeforeExpire says NotYet; up to order.MaxHold. Defaults to 15 minutes.
	HoldGrace time.Duration

	// Backlog bounds how many orders this process has in hand for Accept: accepted
	// and not in Postgres yet, or being accepted. Nobody waits for a place: Accept
	// says ErrOverloaded beyond it. Defaults to 10,000.
	Backlog int

	// OnRefused, if there is one, hears of each accepted order that was refused
	// since (order.ErrRefused, *order.RefusedError), once the refusal is in Postgres
	// and so final: once, in the process that wrote it, whichever had accepted it.
	// It may be called a second time, by this process or another one, where
	// Postgres's answer to the writing was lost; and not at all where the process
	// dies in between: the refusal stays written, with Order.Refused, and whoever
	// asks is told. It is called from many goroutines at once; its context ends
	// after Timeout.
	OnRefused func(ctx context.Context, refused order.Order, why error)
}

// Service sells. It takes units from the Inventory, if there is one, commits the
// order to Orders, and only then answers. Make one with New.
//
// Every method is safe for concurrent use by any number of processes on the
// same Inventory and Orders, and safe to repeat with the same arguments.
//
// Errors, for every method: inventory.ErrInvalid if an argument breaks a bound;
// nothing was touched. order.ErrOutcomeUnknown if a server did not answer, for
// whatever reason, or refused, as for a right that is missing: the call may have been
// carried out, may still be, or not at all. Ask again with the same arguments, and
// alert on it if it lasts. The cause is kept: inventory.ErrUnavailable,
// order.ErrUnavailable, inventory.ErrNotLoaded, context.DeadlineExceeded; the package's
// documentation lists what may be behind it. ErrNotSent if the context ended before anything
// was sent: this call did nothing.
// Order, Orders, Stock, Stocks, Movements, Feed and Lookup change nothing: they return
// order.ErrUnavailable, or inventory.ErrUnavailable, also once the context has ended, whose
// error is the cause then. ConfirmTx and CancelTx return the errors of your transaction as
// they are. order.ErrNotMigrated if the database has no tables,
// order.ErrNewerSchema if they are of another format.
type Service struct {
	config Config
	log    *slog.Logger
	shelf  shelf
	inHand inHand

	backlog backlog

	asking chan struct{} // has an element for each call of BeforeExpire
	asked  sync.Map      // order IDs that it is being asked about

	postgres circuit      // of the way there
	places   places       // where Redis is, with the circuits of the way there; see spot too
	cutOff   atomic.Int64 // places, and SKUs, whose circuit is open

	canaries   canaries
	lost       lost
	mispairing atomic.Pointer[pairError] // nil unless this process must not use Redis

	warned sync.Map // of *warning, by message

	attendance attendance

	blocked suspects // customers whose orders the database rejects
	denied  suspects // orders whose changes it rejects
	stuck   suspects // orders that the background work can't change: it leaves them alone for a while

	joins    *joins
	names    *names             // of attempts
	reloads  singleflight.Group // by SKU
	catchUps singleflight.Group // likewise
	meets    singleflight.Group // by SKU: the first time that this process meets it

	commits [lanes + 1]*gather.Gather[order.Commit, order.Outcome] // see lane
	changes [2]*gather.Gather[order.Change, order.Changed]         // the second of orders in denied
	looks   *gather.Gather[order.Commit, looked]
	settles *gather.Gather[settlement, struct{}]

	carries  [lanes + 1]*gather.Gather[*acceptance, struct{}] // accepted orders, as commits
	refusals *gather.Gather[order.Order, order.Outcome]
}

// New makes a Service. It sends nothing and starts nothing: call Run for the
// work in the background, and to finish what is in hand at the end. It fails if
// Config.Orders is missing, or a field is outside of its bounds: Timeout and CheckEvery are
// 1 ms or more, and nothing but SoldOutFor is negative.
func New(config Config) (*Service, error) {
	if config.Orders == nil {
		return nil, errors.New("booking: Config.Orders is missing")
	}
	if isNil(config.Orders) {
		return nil, fmt.Errorf("booking: Config.Orders is a nil %T", config.Orders)
	}
	if config.Inventory != nil && isNil(config.Inventory) {
		return nil, fmt.Errorf("booking: Config.Inventory is a nil %T: leave it out to sell without Redis", config.Inventory)
	}
	if config.Logger == nil {
		config.Logger = slog.Default()
	}
	for _, d := range [...]struct {
		name     string
		value    *time.Duration
		fallback time.Duration
		least    time.Duration
	}{
		{"Timeout", &config.Timeout, 10 * time.Second, time.Millisecond},
		{"SweepAfter", &config.SweepAfter, 5 * time.Second, 1},
		{"CheckEvery", &config.CheckEvery, time.Second, time.Millisecond},
		{"HoldGrace", &config.HoldGrace, 15 * time.Minute, 1},
	} {
		if *d.value == 0 {
			*d.value = d.fallback
		}
		if *d.value < d.least {
			return nil, fmt.Errorf("booking: Config.%s is %v, want %v or more", d.name, *d.value, d.least)
		}
	}
	if config.SoldOutFor == 0 {
		config.SoldOutFor = order.Reopening
	}
	if config.SoldOutFor > order.Reopening {
		return nil, fmt.Errorf("booking: Config.SoldOutFor is %v, want at most order.Reopening, %v", config.SoldOutFor, order.Reopening)
	}
	if config.HoldGrace > order.MaxHold {
		return nil, errors.New("booking: Config.HoldGrace is above order.MaxHold")
	}
	if config.WhenRedisDown != Refuse && config.WhenRedisDown != SellDirect {
		return nil, fmt.Errorf("booking: Config.WhenRedisDown is %d, want Refuse or SellDirect", config.WhenRedisDown)
	}
	if config.Backlog < 0 {
		return nil, errors.New("booking: Config.Backlog is negative")
	}
	if config.Backlog == 0 {
		config.Backlog = defaultBacklog
	}
	locator, _ := config.Inventory.(inventory.Locator)
	s := &Service{config: config, places: places{locator: locator, one: newPlace("")}, log: config.Logger, joins: newJoins(), names: newNames(), asking: make(chan struct{}, maxAsking)}
	s.canaries.watcher, s.canaries.seen = rand.IntN(inventory.Watchers), make(map[string]inventory.Canary)
	s.canaries.known = make(chan struct{})
	s.lost.passes, s.lost.wake = make(map[string]*pass), make(chan struct{}, 1)
	for lane := range s.commits {
		commit, carry := s.commitBatch, s.carryBatch
		if lane == lanes { // of those whose orders the database rejects
			commit = resting(commit, func(outcomes []order.Outcome, err error) bool {
				return err != nil || slices.ContainsFunc(outcomes, func(o order.Outcome) bool { return o.Verdict == order.VerdictFailed })
			})
			carry = resting(carry, func([]struct{}, error) bool { return true })
		}
		s.commits[lane] = gather.New(gather.Config{Batch: order.MaxCommits, Queue: maxQueue, Timeout: config.Timeout}, commit)
		s.carries[lane] = gather.New(gather.Config{Batch: order.MaxCommits, Queue: max(maxQueue, config.Backlog), Timeout: config.Timeout}, carry)
	}
	s.refusals = gather.New(gather.Config{Batch: order.MaxCommits, Queue: max(maxQueue, config.Backlog), Timeout: config.Timeout}, s.refuseBatch)
	for i := range s.changes {
		s.changes[i] = gather.New(gather.Config{Batch: order.MaxCommits, Queue: maxQueue, Timeout: config.Timeout}, s.changeBatch)
	}
	s.looks = gather.New(gather.Config{Batch: order.MaxCommits, Queue: maxQueue, Timeout: config.Timeout}, s.lookBatch)
	s.settles = gather.New(gather.Config{Batch: order.MaxCommits, Queue: maxQueue, Timeout: config.Timeout}, s.settleBatch)
	return s, nil
}

// isNil says whether an interface has a nil pointer in it.
func isNil(value any) bool {
	v := reflect.ValueOf(value)
	return v.Kind() == reflect.Pointer && v.IsNil()
}

// direct says that Postgres alone sells: there is no Inventory.
func (s *Service) direct() bool { return s.config.Inventory == nil }

// lanes is how many batches of commits may be under way at once, beside that of the
// customers whose orders the database rejects. Each SKU keeps
// to one of them, as two batches would only wait for each other at its row. With
// several, a row that somebody else keeps locked holds up the SKUs of its lane
// and no others.
const lanes = 8

// lane is where the order's commits gather: by the SKU that it probably shares
// with most others. Orders of several SKUs share one lane: in several they would
// wait for each other at the rows of those that are in demand.
func (s *Service) lane(o *order.Order) *gather.Gather[order.Commit, order.Outcome] {
	return s.commits[s.laneOf(o)]
}

func (s *Service) laneOf(o *order.Order) uint32 {
	switch {
	case s.blocked.has(o.Customer):
		return lanes
	case len(o.Draws) > 0:
		return 1 + laneOfSKU(o.Draws[0].SKU)
	case len(o.Lines) > 1:
		return 0
	}
	return 1 + laneOfSKU(o.Lines[0].SKU)
}

func laneOfSKU(sku string) uint32 {
	hash := fnv.New32a()
	hash.Write([]byte(sku))
	return hash.Sum32() % (lanes - 1)
}

// maxQueue bounds the calls that wait for Postgres in one process: at the rates
// that one process reaches, the last of them waits for about a second.
const maxQueue = 100_000

// bound gives the context of a public call its deadline.
func (s *Service) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, s.config.Timeout)
}

// Order returns one order. It fails with order.ErrNotFound, also for one that is
// accepted and not in Postgres yet: Lookup tells these apart.
func (s *Service) Order(ctx context.Context, id string) (order.Order, error) {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	return s.config.Orders.Order(ctx, id)
}

// Orders lists orders, newest first, page by page.
func (s *Service) Orders(ctx context.Context, query order.Query) (order.Page, error) {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	return s.config.Orders.Orders(ctx, query)
}

// definite are the errors that say what happened. Any other one leaves it open.
var definite = []error{
	inventory.ErrSoldOut, inventory.ErrTryAgain, inventory.ErrInvalid, inventory.ErrLimitExceeded,
	inventory.ErrNotOpen, inventory.ErrClosed, inventory.ErrPaused,
	order.ErrIdempotencyConflict, order.ErrCancelled, order.ErrRefused, order.ErrHoldExpired, ErrOverloaded, order.ErrBusy, order.ErrNotFound,
	order.ErrUnknownSKU, order.ErrPoolOnly, order.ErrAlreadyOnSale, order.ErrOrphaned, order.ErrSuperseded, order.ErrPurged, order.ErrRejected, order.ErrNotMigrated, order.ErrNewerSchema, ErrNotSent,
}

// unknown makes every error that is not definite an order.ErrOutcomeUnknown,
// and keeps it as the cause.
func unknown(err error) error {
	if err == nil || isDefinite(err) || errors.Is(err, order.ErrOutcomeUnknown) {
		return err
	}
	return &outcomeUnknown{err}
}

func isDefinite(err error) bool {
	if errors.Is(err, order.ErrOutcomeUnknown) {
		return false
	}
	for _, known := range definite {
		if errors.Is(err, known) {
			return true
		}
	}
	return false
}

type outcomeUnknown struct{ cause error }

func (e *outcomeUnknown) Error() string {
	return order.ErrOutcomeUnknown.Error() + ": " + e.cause.Error()
}
func (e *outcomeUnknown) Unwrap() []error { return []error{order.ErrOutcomeUnknown, e.cause} }
