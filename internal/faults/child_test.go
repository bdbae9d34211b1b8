package faults_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/booking"
	"github.com/lastunit/lastunit/internal/servertest"
	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

// job is what a process of a sale does: it sells to buyers First to First+Buyers-1, so
// many at once, prints what each was told, and goes on with the background work until
// it is told to end. See sale.job.
type job struct {
	Redis, Postgres string // URLs
	Prefix          string // of the keys in Redis
	First           int    // number of the first buyer
	Buyers, AtOnce  int
	Rebuild         bool          // rebuild the SKU all the time, until all buyers are served
	Timeout         time.Duration // of the service; 0 for its default
}

// job is one for a process that joins the sale, past the proxies.
func (s *sale) job(first, buyers, atOnce int) job {
	return job{Redis: s.redis.URL(), Postgres: s.database, Prefix: s.prefix, First: first, Buyers: buyers, AtOnce: atOnce}
}

// run is the main of the process.
func (j job) run() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	options, err := redis.ParseURL(j.Redis)
	if err != nil {
		panic("bad Redis URL") // without the error, which has the password
	}
	client := redis.NewClient(options)
	config, err := pgxpool.ParseConfig(j.Postgres)
	if err != nil {
		panic("bad Postgres URL")
	}
	config.MaxConns = 4
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		panic("no pool")
	}
	service := booking.Config{
		Inventory: inventory.NewRedis(client, inventory.WithKeyPrefix(j.Prefix)),
		Orders:    order.NewPostgres(pool), Logger: quiet, Timeout: j.Timeout,
	}
	hasten(&service)
	shop, err := booking.New(service)
	if err != nil {
		panic(err)
	}
	var work sync.WaitGroup
	work.Go(func() { _ = shop.Run(ctx) })
	serving, served := context.WithCancel(ctx)
	if j.Rebuild {
		work.Go(func() {
			for serving.Err() == nil {
				_ = shop.Rebuild(serving, floor)
			}
		})
	}
	j.serve(shop)
	served()
	(&report{Said: saidDone}).print()
	<-ctx.Done()
	work.Wait()
}

// serve sells to the buyers.
func (j job) serve(shop *booking.Service) {
	var callers sync.WaitGroup
	next := make(chan int)
	for range j.AtOnce {
		callers.Go(func() {
			for i := range next {
				for j.ask(shop, i) {
				}
			}
		})
	}
	for i := range j.Buyers {
		next <- j.First + i
	}
	close(next)
	callers.Wait()
}

// ask makes one call and reports, and says whether to ask again.
func (j job) ask(shop *booking.Service, i int) (again bool) {
	ctx, cancel := context.WithTimeout(context.Background(), max(j.Timeout, oneTry))
	defer cancel()
	r := request(floor, i)
	o, err := shop.Book(ctx, r)
	line := report{ID: r.ID, Order: o}
	switch {
	case err == nil:
		line.Said = saidBooked
	case errors.Is(err, inventory.ErrSoldOut):
		line.Said = saidRefused
	case errors.Is(err, order.ErrOutcomeUnknown), errors.Is(err, booking.ErrNotSent):
		line.Said = saidUnknown
	case errors.Is(err, inventory.ErrTryAgain):
		line.Said = saidAgain
	default:
		line.Said, line.Error = saidUnexpected, err.Error()
	}
	line.print()
	return line.Said == saidAgain || line.Said == saidUnknown
}

// report is a line that a process prints: what a caller was told.
type report struct {
	Said  string
	ID    string
	Order order.Order
	Error string
}

// What a report says.
const (
	saidBooked     = "booked"
	saidRefused    = "refused"
	saidAgain      = "again"   // units are in flight
	saidUnknown    = "unknown" // the outcome is
	saidUnexpected = "unexpected"
	saidDone       = "done" // all buyers are served
)

var printing sync.Mutex

func (r *report) print() {
	line, err := json.Marshal(r)
	if err != nil {
		panic(err)
	}
	printing.Lock()
	defer printing.Unlock()
	fmt.Println(string(line))
}

// seller is the kind of a child that does a job.
const seller = "seller"

// start starts a process.
func (s *sale) start(j job) *servertest.Child { return servertest.StartChild(s.t, seller, j) }

// next waits for the next report, and takes note of what a caller was told; !ok if
// there is none any more.
func (s *sale) next(c *servertest.Child) (r report, ok bool) {
	s.t.Helper()
	var line string
	select {
	case line, ok = <-c.Lines:
	case <-time.After(patience):
		require.Fail(s.t, "a process reports nothing")
	}
	if !ok {
		return r, false
	}
	if json.Unmarshal([]byte(line), &r) != nil { // half a line, of one that was killed
		return s.next(c)
	}
	switch r.Said {
	case saidDone:
		return r, true
	case saidBooked:
		s.told.acknowledge(r.Order)
	case saidRefused:
		s.told.refuse(r.ID)
	case saidUnexpected:
		s.told.complain("order %s, of a process: %s", r.ID, r.Error)
	}
	s.told.call(map[string]error{saidAgain: inventory.ErrTryAgain, saidUnknown: order.ErrOutcomeUnknown}[r.Said])
	return r, true
}

// collect takes note of what a process reports until all its buyers are served, or it
// is no more.
func (s *sale) collect(c *servertest.Child) {
	s.t.Helper()
	for {
		if r, ok := s.next(c); !ok || r.Said == saidDone {
			return
		}
	}
}
