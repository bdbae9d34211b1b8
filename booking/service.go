package booking

import (
	"context"
	"errors"
	"hash/fnv"
	"log/slog"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/lastunit/lastunit/internal/gather"
	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

// Config is what a Service works with. Inventory and Orders are required.
type Config struct {
	// Inventory is the fast side, for instance inventory.NewRedis(client).
	Inventory inventory.InventoryRepository

	// Orders is the durable side, for instance order.NewPostgres(pool).
	Orders order.Store

	// Logger hears of what went wrong in the background and was mended.
	// Defaults to slog.Default().
	Logger *slog.Logger

	// Timeout bounds every call whose context has no earlier deadline, but
	// Reconcile. Defaults to 10 seconds.
	Timeout time.Duration

	// SweepAfter is the age at which an unsettled deduction is taken for
	// abandoned: its process died or lost touch. A shorter one brings its units
	// back earlier; one that is too short makes slow bookings deduct again,
	// and nothing worse. Defaults to 5 seconds.
	SweepAfter time.Duration

	// CheckEvery is how often Run compares each SKU's two sides, in all
	// processes together. Defaults to 1 second.
	CheckEvery time.Duration
}

// Service sells. It takes units from the Inventory, commits the order to
// Orders, and only then answers. Make one with New.
//
// Every method is safe for concurrent use by any number of processes on the
// same Inventory and Orders, and safe to repeat with the same arguments.
//
// Errors, for every method: inventory.ErrInvalid if an argument breaks a bound;
// nothing was touched. order.ErrOutcomeUnknown if a server did not answer, for
// whatever reason: the call may have been carried out, may still be, or not at
// all. Ask again with the same arguments. The cause is kept:
// inventory.ErrUnavailable, order.ErrUnavailable, context.DeadlineExceeded.
// Order, Orders and Stock change nothing: they say order.ErrUnavailable.
// order.ErrNotMigrated if the database has no tables.
type Service struct {
	config Config
	log    *slog.Logger
	shelf  shelf
	inHand inHand

	joined  singleflight.Group // bookings by order ID and content
	reloads singleflight.Group // by SKU
	meets   singleflight.Group // by SKU: the first time that this process meets it

	commits [lanes]*gather.Gather[order.Commit, order.Outcome] // by the first line's SKU
	looks   *gather.Gather[order.Commit, looked]
	settles *gather.Gather[settlement, struct{}]
}

// New makes a Service. It sends nothing and starts nothing: call Run for the
// work in the background.
func New(config Config) (*Service, error) {
	if config.Inventory == nil {
		return nil, errors.New("booking: Config.Inventory is missing")
	}
	if config.Orders == nil {
		return nil, errors.New("booking: Config.Orders is missing")
	}
	if config.Logger == nil {
		config.Logger = slog.Default()
	}
	for _, d := range [...]struct {
		name     string
		value    *time.Duration
		fallback time.Duration
	}{
		{"Timeout", &config.Timeout, 10 * time.Second},
		{"SweepAfter", &config.SweepAfter, 5 * time.Second},
		{"CheckEvery", &config.CheckEvery, time.Second},
	} {
		if *d.value < 0 {
			return nil, errors.New("booking: Config." + d.name + " is negative")
		}
		if *d.value == 0 {
			*d.value = d.fallback
		}
	}
	s := &Service{config: config, log: config.Logger}
	for lane := range s.commits {
		s.commits[lane] = gather.New(gather.Config{Batch: order.MaxCommits, Queue: maxQueue, Timeout: config.Timeout}, s.commitBatch)
	}
	s.looks = gather.New(gather.Config{Batch: order.MaxCommits, Queue: maxQueue, Timeout: config.Timeout}, s.lookBatch)
	s.settles = gather.New(gather.Config{Batch: order.MaxCommits, Queue: maxQueue, Timeout: config.Timeout}, s.settleBatch)
	return s, nil
}

// lanes is how many batches of commits may be under way at once. Each SKU keeps
// to one of them, as two batches would only wait for each other at its row. With
// several, a row that somebody else keeps locked holds up the SKUs of its lane
// and no others.
const lanes = 8

// lane is where the order's commits gather.
func (s *Service) lane(o order.Order) *gather.Gather[order.Commit, order.Outcome] {
	hash := fnv.New32a()
	hash.Write([]byte(o.Lines[0].SKU))
	return s.commits[hash.Sum32()%lanes]
}

// maxQueue bounds the calls that wait for Postgres in one process: at the rates
// that one process reaches, the last of them waits for about a second.
const maxQueue = 100_000

// bound gives the context of a public call its deadline.
func (s *Service) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, s.config.Timeout)
}

// PutOnSale makes a SKU with a capacity. When it returns, Postgres has it, and
// buyers find its units, or do as soon as Redis can be reached. If it is there
// with the same capacity, that is no error; with another one, it is
// order.ErrAlreadyOnSale.
func (s *Service) PutOnSale(ctx context.Context, item order.Item) error {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	counters, err := s.config.Orders.PutOnSale(ctx, item)
	if err != nil {
		return unknown(err)
	}
	s.bring(ctx, counters)
	return nil
}

// SetCapacity changes how many units there are of a SKU. When it returns,
// Postgres has it, and buyers see it, or do as soon as Redis can be reached. It
// may be less than what is sold: then nothing is sold until enough was
// cancelled. To end a sale, set it to 0. It fails with order.ErrUnknownSKU.
func (s *Service) SetCapacity(ctx context.Context, sku string, capacity int64) error {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	counters, err := s.config.Orders.SetCapacity(ctx, sku, capacity)
	if err != nil {
		return unknown(err)
	}
	s.bring(ctx, counters)
	return nil
}

// Cancel gives the units of an order back and returns the order as it is then.
// To cancel twice is no error. An ID that was
// never booked is cancelled for good, without customer and lines, so that a
// late original can't book it. That stores a row: let nobody cancel who may not.
func (s *Service) Cancel(ctx context.Context, id string) (order.Order, error) {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	o, counters, err := s.config.Orders.Cancel(ctx, id)
	if err != nil {
		return order.Order{}, unknown(err)
	}
	for _, c := range counters {
		s.bring(ctx, c)
	}
	return o, nil
}

// Order returns one order. It fails with order.ErrNotFound.
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
	inventory.ErrSoldOut, inventory.ErrTryAgain, inventory.ErrInvalid,
	order.ErrIdempotencyConflict, order.ErrCancelled, order.ErrNotFound,
	order.ErrUnknownSKU, order.ErrAlreadyOnSale, order.ErrRejected, order.ErrNotMigrated,
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
