package robustness

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/booking"
	"github.com/lastunit/lastunit/internal/servertest"
	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

// plan is what a run is to be.
type plan struct {
	seed   uint64
	length time.Duration // of the faults
	faults []fault
	bug    string // the name of a planted one, or empty
	direct bool   // Postgres sells while Redis is down
	alone  bool   // Postgres sells, without Redis

	sweepAfter, checkEvery time.Duration // of the services; have defaults
}

const (
	workers          = 3
	clients          = 4 // of each
	skusAtOnce       = 4
	windowLasts      = time.Second
	spareWindows     = 5 // if the faults take longer than planned
	keeperProcess    = 1000
	minSuccesses     = 150 // calls that succeeded before the first fault
	maxFirstCapacity = 5
)

// run is a run under way.
type run struct {
	t    testing.TB
	plan plan
	dir  string // of the journals, and of the pictures

	redis                     *servertest.Redis
	postgres                  *servertest.Postgres
	redisProxy, postgresProxy *servertest.Proxy
	admin                     *redis.Client // not by way of the proxy
	prefix                    string
	job                       job              // of the next worker
	keeper                    *booking.Service // of this process, not by way of the proxies
	store                     order.Store
	inventory                 inventory.InventoryRepository // nil without Redis
	pool                      *pgxpool.Pool

	workers []*worker
	admins  int     // clients of this process
	reader  *reader // by way of the proxy

	mu       sync.Mutex
	window   window
	coming   []window
	killed   map[int]int64
	began    map[string]int64 // capacity, by SKU
	epochs   map[string]int64 // by SKU, as it was loaded first
	skus     []string
	own      []call // of this process
	problems []problem
}

// start starts servers of the run's own, and the first workers.
func (p plan) start(t testing.TB) *run {
	t.Helper()
	// The AOF has all that a killed Redis had: the kernel keeps what it wrote.
	r := p.on(t, servertest.StartRedis(t, "--appendonly", "yes"), servertest.StartPostgres(t))
	r.redisProxy, r.postgresProxy = servertest.StartProxy(t, r.redis.Addr()), servertest.StartProxy(t, r.postgres.Addr())
	r.job.Redis, r.job.Postgres = r.redisProxy.URL(r.job.Redis), r.postgresProxy.URL(r.job.Postgres)
	behind, err := r.job.connect()
	require.NoError(t, err)
	t.Cleanup(behind.pool.Close)
	r.reader = newReader(behind.orders.Feed, p.seed)
	for range workers {
		r.workers = append(r.workers, r.next())
	}
	return r
}

// on prepares a run on servers: with a keeper, with SKUs on sale, and without
// workers.
func (p plan) on(t testing.TB, redisServer *servertest.Redis, postgres *servertest.Postgres) *run {
	t.Helper()
	r := &run{
		t: t, plan: p, dir: t.TempDir(), prefix: "run-" + rand.Text(), redis: redisServer, postgres: postgres,
		killed: make(map[int]int64), began: make(map[string]int64), epochs: make(map[string]int64),
	}
	r.admin = r.redis.Client(t)
	database := r.postgres.Database(t)
	pool, err := pgxpool.New(t.Context(), database)
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	require.NoError(t, order.Migrate(t.Context(), pool))
	require.NoError(t, bugNamed(p.bug).plantInDatabase(t.Context(), pool))
	r.job = job{
		Clients: clients, Seed: p.seed, Prefix: r.prefix, Bug: p.bug, Redis: r.redis.URL(), Postgres: database,
		SellDirect: p.direct, WithoutRedis: p.alone, SweepAfter: orDefault(p.sweepAfter, 400*time.Millisecond), CheckEvery: orDefault(p.checkEvery, 200*time.Millisecond),
	}
	connected, err := r.job.connect()
	require.NoError(t, err)
	r.inventory, r.store, r.pool = connected.stock, connected.orders, connected.pool
	r.keeper, err = r.job.shop(r.inventory, r.store)
	require.NoError(t, err)
	require.NoError(t, r.prepare())
	r.open()
	return r
}

func orDefault(d, fallback time.Duration) time.Duration {
	if d == 0 {
		return fallback
	}
	return d
}

func (r *run) key(sku string) string { return r.prefix + ":{" + sku + "}:stock" }

func (r *run) onSale() window {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.window
}

// write takes down a call of this process.
func (r *run) write(c call) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if c.End == 0 { // it comes again
		return
	}
	r.own = append(r.own, c)
}

// try is for what may fail while a fault lasts: it is not what is tested.
func (r *run) try(err error) {
	if err != nil {
		r.t.Logf("not carried out: %v", err)
	}
}

func (r *run) found(s sort, format string, values ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.problems = append(r.problems, problem{s, fmt.Sprintf(format, values...)})
}

// next starts another worker.
func (r *run) next() *worker {
	r.job.Process++
	j := r.job
	j.Journal = journalPath(r.dir, j.Process)
	j.Window = r.onSale()
	return startWorker(r.t, j)
}

// replace kills a worker and starts another one in its place.
func (r *run) replace(n int) {
	r.workers[n].Kill()
	at := now()
	other := r.next()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.killed[r.workers[n].job.Process] = at
	r.workers[n] = other
}

// prepare puts the SKUs of all windows on sale, before anybody calls: a worker that
// had found them missing could rebuild them later, and be right.
func (r *run) prepare() error {
	random := mathrand.New(mathrand.NewPCG(r.plan.seed, 2)) //nolint:gosec // not a secret
	var items []order.Item
	var skus []string
	for number := range int(r.plan.length/windowLasts) + spareWindows {
		var w window
		for n := range skusAtOnce {
			sku := fmt.Sprintf("%d-%c", number, 'a'+n)
			w.SKUs = append(w.SKUs, sku)
			items = append(items, order.Item{SKU: sku, Capacity: 1 + random.Int64N(maxFirstCapacity), CustomerLimit: limitOf(sku), Draws: drawsOf(sku)})
		}
		r.coming = append(r.coming, w)
		skus = append(skus, w.SKUs...)
	}
	if err := r.keeper.PutOnSale(context.Background(), items...); err != nil {
		return err
	}
	for _, item := range items {
		r.began[item.SKU] = item.Capacity
	}
	return servertest.Eventually(patience, func() error {
		counters, err := r.store.Counters(context.Background(), skus...)
		if err != nil {
			return err
		}
		for _, c := range counters {
			r.epochs[c.SKU] = c.Epoch
		}
		if r.inventory == nil {
			return nil
		}
		stocks, err := r.inventory.Stock(context.Background(), skus...)
		if err != nil {
			return err
		}
		for _, s := range stocks {
			if s.Why != "" || s.Epoch != r.epochs[s.SKU] {
				return fmt.Errorf("SKU %s is not loaded: %+v", s.SKU, s)
			}
		}
		return nil
	})
}

// open lets everybody know of the next window, if there is one.
func (r *run) open() {
	if len(r.coming) == 0 {
		return
	}
	next := r.coming[0]
	r.coming = r.coming[1:]
	next.Since = now()
	admin := r.client()
	for _, sku := range next.SKUs {
		if strings.HasSuffix(sku, skuOpening) {
			admin.setWindow(sku, next.Since+int64(opensAfter))
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.window = next
	r.skus = append(r.skus, r.window.SKUs...)
	for _, worker := range r.workers {
		worker.tell(r.window)
	}
}

// turn opens one window after the other.
func (r *run) turn(ctx context.Context) {
	for {
		select {
		case <-time.After(windowLasts):
			r.open()
		case <-ctx.Done():
			return
		}
	}
}

// play is the whole run: traffic, faults, and what was wrong.
func (p plan) play(t testing.TB) []problem {
	t.Helper()
	r := p.start(t)
	before := r.awaitTraffic()
	ctx, stop := context.WithCancel(context.Background())
	var background sync.WaitGroup
	background.Go(func() { r.turn(ctx) })
	background.Go(func() { r.reader.follow(ctx) })
	struck := r.strike()
	stop()
	background.Wait()
	r.problems = append(r.problems, tooThin(before, struck)...)
	for _, w := range r.workers {
		if err := w.end(); err != nil {
			r.found(notStopped, "%v", err)
		}
	}
	return r.judge()
}

// tooThin says why a run means nothing.
func tooThin(before, struck int) (problems []problem) {
	if before < minSuccesses {
		problems = append(problems, problem{thin, fmt.Sprintf("%d calls succeeded before the first fault", before)})
	}
	if struck == 0 {
		problems = append(problems, problem{thin, "no fault was injected"})
	}
	return problems
}

// judge lets the books become exact, and says what was wrong.
func (r *run) judge() []problem {
	r.finish()
	if bugNamed(r.plan.bug).among(r.problems) >= 0 {
		return r.problems
	}
	h := r.history()
	if r.reader != nil {
		if err := r.reader.drain(); err != nil {
			r.found(wrongFeed, "it can't be read: %v", err)
		}
		r.t.Logf("the feed was read by a reader that died %d times", r.reader.deaths)
		r.problems = append(r.problems, r.reader.missed(h.ledger)...)
	}
	dir := filepath.Join(os.TempDir(), "lastunit-robustness", fmt.Sprintf("%s-seed-%d-%d", filepath.Base(r.t.Name()), r.plan.seed, os.Getpid()))
	if r.plan.bug != "" {
		dir = r.dir // nobody wants to look at it
	}
	r.problems = append(r.problems, h.check(r.t, dir)...)
	if len(r.problems) > 0 {
		h.save(r.t, dir)
	}
	return r.problems
}

// awaitTraffic waits until enough calls succeeded.
func (r *run) awaitTraffic() (successes int) {
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(50 * time.Millisecond) { // between looks
		successes = 0
		for _, w := range r.workers {
			calls, err := readJournal(w.job.Journal)
			if err != nil {
				continue // it has none yet
			}
			for _, c := range calls {
				if c.Outcome == done {
					successes++
				}
			}
		}
		if successes >= minSuccesses {
			break
		}
	}
	return successes
}

// strike carries the schedule out, and says how many faults there were.
func (r *run) strike() (struck int) {
	random := mathrand.New(mathrand.NewPCG(r.plan.seed, 1)) //nolint:gosec // not a secret
	began := time.Now()
	for _, s := range schedule(random, r.plan.faults, r.plan.length) {
		if time.Since(began) >= r.plan.length {
			break
		}
		time.Sleep(s.pause)
		r.t.Logf("%6.3f s: %s", time.Since(began).Seconds(), s)
		s.fault.run(r, s)
		struck++
	}
	r.redisProxy.Reset()
	r.postgresProxy.Reset()
	return struck
}

var errDiffers = errors.New("the two sides differ")
