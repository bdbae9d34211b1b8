package booking_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/booking"
	"github.com/lastunit/lastunit/internal/servertest"
	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

// A life is a random walk of all operations of a Service, one after the other,
// by two processes: each must have the outcome that lifeModel predicts, to the
// order's last field and the error's facts, and leave exact books behind. Redis
// is wiped, rolled back and left uninformed on the way, which must not show.
//
// SEED=n plays walk n alone; WALKS=n plays so many. Without them it is a few thousand
// other ones each time: all tests together have ten minutes on two cores.
func TestLifeEmbedded(t *testing.T) {
	t.Parallel()
	seed, walks := lifeSeed(t, 1000)
	var next atomic.Uint64
	var operations atomic.Int64
	start := time.Now()
	t.Run("walks", func(t *testing.T) {
		for worker := range 4 {
			t.Run(fmt.Sprint(worker), func(t *testing.T) {
				t.Parallel()
				for i := next.Add(1) - 1; i < walks && !t.Failed(); i = next.Add(1) - 1 {
					n, err := lifeInBubble(t, seed+i, lifeSteps(seed+i))
					if operations.Add(int64(n)); err != nil {
						next.Store(walks)
						err = shrinkLife(seed+i, err, func(steps []uint64) error {
							_, err := lifeInBubble(t, seed+i, steps)
							return err
						})
						t.Errorf("walk %d, with SEED=%d: %v", i, seed+i, err)
					}
				}
			})
		}
	})
	t.Logf("%d walks, %d operations, %v, from SEED=%d", walks, operations.Load(), time.Since(start).Round(time.Millisecond), seed)
}

// On servers, time is theirs: nothing happens at the very moment of a boundary.
func TestLifeReal(t *testing.T) {
	t.Parallel()
	seed, walks := lifeSeed(t, 40)
	var next atomic.Uint64
	var operations atomic.Int64
	start := time.Now()
	t.Run("walks", func(t *testing.T) {
		for worker := range 4 {
			t.Run(fmt.Sprint(worker), func(t *testing.T) {
				t.Parallel()
				s := at(t, servertest.SharedRedis(t).Client(t),
					order.NewPostgres(migrated(t, servertest.SharedPostgres(t))))
				begin, names := feedPlace{}, 0
				play := func(seed uint64, steps []uint64) (int, error) {
					w := newLife(seed, &redisLoss{
						InventoryRepository: s.inventory, client: s.client, prefix: s.prefix, saved: make(map[string]map[string]string),
					})
					names++
					w.orders, w.prefix, w.real = s.orders, fmt.Sprintf("%d-%d-", worker, names), true
					w.feeds = []feedPlace{{cursor: begin.cursor}}
					n, err := w.outcome(w.play(steps))
					begin = w.feeds[len(w.feeds)-1]
					return n, err
				}
				for i := next.Add(1) - 1; i < walks && !t.Failed(); i = next.Add(1) - 1 {
					n, err := play(seed+i, lifeSteps(seed+i))
					if operations.Add(int64(n)); err != nil {
						next.Store(walks)
						err = shrinkLife(seed+i, err, func(steps []uint64) error {
							_, err := play(seed+i, steps)
							return err
						})
						t.Errorf("walk %d, with SEED=%d: %v", i, seed+i, err)
					}
				}
			})
		}
	})
	t.Logf("%d walks, %d operations, %v, from SEED=%d", walks, operations.Load(), time.Since(start).Round(time.Millisecond), seed)
}

func lifeSeed(t *testing.T, walks uint64) (seed, _ uint64) {
	number := func(name string, fallback uint64) uint64 {
		text := os.Getenv(name)
		if text == "" {
			return fallback
		}
		n, err := strconv.ParseUint(text, 10, 64)
		require.NoError(t, err)
		return n
	}
	if seed = number("SEED", 0); seed != 0 && os.Getenv("WALKS") == "" {
		walks = 1
	}
	if seed == 0 {
		seed = uint64(rand.Uint32()) + 1
	}
	return seed, number("WALKS", walks)
}

// lifeSteps are the steps of a walk: a seed each, so that a walk without some of
// them is one too.
func lifeSteps(seed uint64) []uint64 {
	random := rand.New(rand.NewPCG(seed, 1))
	steps := make([]uint64, 20+random.IntN(21))
	for i := range steps {
		steps[i] = random.Uint64()
	}
	return steps
}

// shrinkLife leaves out steps while the walk still fails.
func shrinkLife(seed uint64, err error, play func([]uint64) error) error {
	steps := lifeSteps(seed)
	for size := len(steps) / 2; size > 0; size /= 2 {
		for from := 0; from+size <= len(steps); {
			fewer := slices.Concat(steps[:from], steps[from+size:])
			if failure := play(fewer); failure != nil {
				steps, err = fewer, failure
			} else {
				from += size
			}
		}
	}
	return err
}

// lifeInBubble plays a walk in a time of its own.
func lifeInBubble(t *testing.T, seed uint64, steps []uint64) (operations int, err error) {
	synctest.Test(t, func(*testing.T) {
		w := newLife(seed, &memoryLoss{skus: make(map[string]*followed)})
		w.orders = order.NewMemory()
		operations, err = w.outcome(w.play(steps))
	})
	return operations, err
}

const lifeProcesses = 2

type lifeWalk struct {
	seed   uint64
	random *rand.Rand
	model  *lifeModel
	fast   losing
	orders order.Store
	prefix string
	real   bool

	shops   [lifeProcesses]*booking.Service
	running [lifeProcesses]*lifeRun
	began   time.Time // the walk
	before  time.Time // the operation that is under way
	passed  time.Time // the model has lived until then

	settled  bool     // Redis is told all before the next operation
	enabled  [32]bool // which kinds of operations may happen
	asked    []lifeAsk
	adjusted []order.Adjustment
	items    [][]order.Item
	feeds    []feedPlace          // where it was read to
	left     map[string]int64     // units of each SKU
	compared map[string]int       // movements of a SKU that were compared
	dirty    map[string]time.Time // when SKUs lost something in Redis
	names    int                  // orders without an ID so far

	trail []lifeEntry
}

// lifeEntry is what was done, and what came of it. It is made a text when a walk
// has failed.
type lifeEntry struct {
	at        time.Duration
	format    string
	arguments []any
	err       error
	answered  bool
}

// lifeRun is background work: at a moment, and then again and again.
type lifeRun struct {
	since  time.Time
	cancel context.CancelFunc
	ended  chan error
}

type lifeAsk struct {
	request booking.Request
	hold    bool
	ttl     time.Duration
}

const (
	lifeCheckEvery = 8 * time.Second
	lifeTick       = lifeCheckEvery / 4 // of the background work
)

func newLife(seed uint64, fast losing) *lifeWalk {
	w := &lifeWalk{
		seed: seed, random: rand.New(rand.NewPCG(seed, 0)), fast: fast, model: newLifeModel(), began: time.Now(),
		compared: make(map[string]int), left: make(map[string]int64), dirty: make(map[string]time.Time), feeds: []feedPlace{{}},
	}
	w.passed = w.began
	w.settled = w.random.IntN(2) == 0
	w.model.remembers = w.random.IntN(2) == 0
	w.model.grace = 15 * time.Second
	w.model.asks = w.random.IntN(3) == 0
	// A walk with few kinds of operations goes deeper with them.
	for kind := range w.enabled {
		w.enabled[kind] = w.random.IntN(4) > 0
	}
	return w
}

func (w *lifeWalk) process() *booking.Service {
	config := booking.Config{Inventory: w.fast, Orders: w.orders, Logger: quiet, CheckEvery: lifeCheckEvery, HoldGrace: w.model.grace}
	if !w.model.remembers {
		config.SoldOutFor = -1
	}
	if w.real {
		config.SweepAfter, config.CheckEvery = 200*time.Millisecond, 50*time.Millisecond
		w.model.asks = false
	}
	if w.model.asks {
		config.BeforeExpire = func(_ context.Context, o order.Order) booking.Expiry { return w.model.expiry(o.ID) }
	}
	shop, err := booking.New(config)
	if err != nil {
		panic(err)
	}
	return shop
}

// play makes the steps, and then looks at everything once more.
func (w *lifeWalk) play(steps []uint64) (err error) {
	ctx := context.Background()
	for p := range w.shops {
		w.shops[p] = w.process()
	}
	defer func() {
		for p := range w.running {
			err = errors.Join(err, w.stop(p))
		}
	}()
	for i, step := range steps {
		w.random = rand.New(rand.NewPCG(step, w.seed))
		kind := w.kind()
		if i == 0 || len(w.model.skus) == 0 {
			kind = lifeKind{do: (*lifeWalk).putOnSale}
		}
		if w.model.remembers {
			if err := w.reopen(ctx); err != nil {
				return err
			}
		}
		w.before = time.Now()
		if err := kind.do(w, ctx, w.shops[w.random.IntN(lifeProcesses)]); err != nil {
			return err
		}
		if w.settled {
			w.settle()
		}
		if err := w.check(ctx, i%4 == 0); err != nil {
			return err
		}
	}
	return w.audit(ctx)
}

// reopen waits until every process has forgotten that a SKU was sold out to which
// units have come back since the last operation.
func (w *lifeWalk) reopen(ctx context.Context) error {
	for waited := true; waited; {
		waited = false
		counters, err := w.orders.Counters(ctx, slices.Sorted(maps.Keys(w.model.skus))...)
		if err != nil {
			return err
		}
		for _, c := range counters {
			if was, met := w.left[c.SKU]; met && was <= 0 && c.Left() > 0 {
				waited = true
			}
			w.left[c.SKU] = c.Left()
		}
		if waited {
			time.Sleep(order.Reopening)
			w.now() // what the background work did meanwhile came before the next operation
		}
	}
	return nil
}

// kind draws a kind of operation from those that are enabled.
func (w *lifeWalk) kind() lifeKind {
	all := 0
	for i, kind := range lifeKinds {
		if w.enabled[i] {
			all += kind.often
		}
	}
	n := w.random.IntN(all)
	for i, kind := range lifeKinds {
		if w.enabled[i] {
			if n -= kind.often; n < 0 {
				return kind
			}
		}
	}
	panic("unreachable")
}

// settle waits until Redis has heard of everything.
func (w *lifeWalk) settle() {
	if !w.real {
		synctest.Wait()
	}
}

// now is the moment at which the call that just returned was decided. What the
// background work did before, the model does too.
func (w *lifeWalk) now() time.Time {
	now := time.Now()
	for {
		var next time.Time
		for _, run := range w.running {
			if run == nil {
				continue
			}
			if tick := run.since.Add((w.passed.Sub(run.since)/lifeTick + 1) * lifeTick); !tick.After(now) && (next.IsZero() || tick.Before(next)) {
				next = tick
			}
		}
		if next.IsZero() || w.real {
			w.passed = now
			return now
		}
		w.passed = next
		w.model.tick(next)
	}
}

func (w *lifeWalk) log(format string, arguments ...any) {
	w.trail = append(w.trail, lifeEntry{at: w.before.Sub(w.began), format: format, arguments: arguments})
}

// outcome is how many operations there were, and the error with all of them.
func (w *lifeWalk) outcome(err error) (int, error) {
	if err == nil {
		return len(w.trail), nil
	}
	text := new(strings.Builder)
	for _, entry := range w.trail {
		fmt.Fprintf(text, "\n%14v  ", entry.at)
		fmt.Fprintf(text, entry.format, entry.arguments...)
		if entry.answered {
			text.WriteString(": " + describe(entry.err))
		}
	}
	if w.prefix == "" {
		return len(w.trail), fmt.Errorf("%w%s", err, text)
	}
	return len(w.trail), fmt.Errorf("%w%s", err, strings.ReplaceAll(text.String(), w.prefix, ""))
}

// near says whether a time is the model's. On servers, it is one within the operation.
func (w *lifeWalk) near(got, want time.Time) bool {
	if w.real && !want.IsZero() {
		return !got.Before(want.Add(w.before.Sub(w.passed)-time.Millisecond)) && !got.After(want.Add(time.Millisecond))
	}
	return got.Equal(want)
}

// sameOrder compares an order with the model's, which adopts the servers' times.
func (w *lifeWalk) sameOrder(got order.Order, want *lifeOrder) error {
	if want == nil {
		want = &lifeOrder{}
	}
	if got.ID != want.ID || got.Customer != want.Customer || got.Status != want.Status ||
		!slices.Equal(got.Lines, want.Lines) || !slices.Equal(got.Draws, want.Draws) ||
		!w.near(got.ExpiresAt, want.ExpiresAt) || !w.near(got.CreatedAt, want.CreatedAt) || !w.near(got.ChangedAt, want.ChangedAt) {
		return fmt.Errorf("the order is\n\t%+v, want\n\t%+v", got, want.Order)
	}
	if w.real {
		want.ExpiresAt, want.CreatedAt, want.ChangedAt = got.ExpiresAt, got.CreatedAt, got.ChangedAt
		want.due = got.ExpiresAt
	}
	return nil
}

func (w *lifeWalk) same(got order.Order, err error, want lifeAnswer) error {
	if failure := w.sameError(err, append(want.errs, want.soldOut...)...); failure != nil {
		return failure
	}
	if errors.Is(err, inventory.ErrSoldOut) && want.soldOut != nil {
		want.order = nil
	}
	return w.sameOrder(got, want.order)
}

func (w *lifeWalk) sameError(err error, want ...error) error {
	entry := &w.trail[len(w.trail)-1]
	entry.err, entry.answered = err, true
	if took := w.passed.Sub(w.before); !w.real && took > time.Second {
		return fmt.Errorf("it took %v", took)
	}
	if err == nil && slices.Contains(want, nil) {
		return nil
	}
	got := describe(err)
	var texts []string
	for _, wanted := range want {
		texts = append(texts, describe(wanted))
	}
	if !slices.Contains(texts, got) {
		return fmt.Errorf("the answer is\n\t%s (%s), want\n\t%s", got, fmt.Sprint(err), strings.Join(texts, ", or\n\t"))
	}
	return nil
}
