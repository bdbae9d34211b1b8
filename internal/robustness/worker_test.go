package robustness

import (
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/redis/go-redis/v9"

	"github.com/lastunit/lastunit/booking"
	"github.com/lastunit/lastunit/internal/servertest"
	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

// TestMain is also the main of the workers.
func TestMain(m *testing.M) {
	var j job
	if servertest.ChildJob(workerKind, &j) {
		j.run()
		return
	}
	servertest.Main(m)
}

// job is what a worker does: clients call the library, each one call after the
// other, until it is told to end.
type job struct {
	Process, Clients        int
	Seed                    uint64
	Redis, Postgres, Prefix string
	Journal                 string // its path
	Bug                     string // the name of a planted one, or empty
	SweepAfter, CheckEvery  time.Duration
	SellDirect              bool // while Redis is down
	WithoutRedis            bool // ever
	Window                  window
}

// callTimeout bounds every call: longer than any server stands still.
const callTimeout = 4 * time.Second

// sides are both sides of the sale, and what transactions begin on.
type sides struct {
	stock  inventory.InventoryRepository // nil without Redis
	orders order.Store
	pool   *pgxpool.Pool
}

// connect connects to both sides as this run has them, with the planted bug if there
// is one. The connections stay open until the process ends.
func (j job) connect() (sides, error) {
	options, err := redis.ParseURL(j.Redis)
	if err != nil {
		panic("bad Redis URL") // the error may have the password
	}
	client := redis.NewClient(options)
	config, err := pgxpool.ParseConfig(j.Postgres)
	if err != nil {
		panic("bad Postgres URL")
	}
	config.MaxConns = 8
	pool, err := pgxpool.NewWithConfig(context.Background(), config)
	if err != nil {
		return sides{}, err
	}
	bug := bugNamed(j.Bug)
	if err := bug.plantInScripts(client); err != nil {
		return sides{}, err
	}
	s := sides{orders: bug.plantInStore(order.NewPostgres(pool)), pool: pool}
	if !j.WithoutRedis {
		s.stock = bug.plantInInventory(inventory.NewRedis(client, inventory.WithKeyPrefix(j.Prefix)))
	}
	return s, nil
}

// shop makes a service.
func (j job) shop(stock inventory.InventoryRepository, orders order.Store) (*booking.Service, error) {
	down := booking.Refuse
	if j.SellDirect {
		down = booking.SellDirect
	}
	return booking.New(booking.Config{
		Inventory: stock, Orders: orders, WhenRedisDown: down, Logger: slog.New(slog.DiscardHandler),
		Timeout: callTimeout, SweepAfter: j.SweepAfter, CheckEvery: j.CheckEvery,
	})
}

func (j job) run() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	var current atomic.Pointer[window]
	current.Store(&j.Window)
	go func() { // the test tells what is on sale
		decoder := json.NewDecoder(os.Stdin)
		for {
			var w window
			if err := decoder.Decode(&w); err != nil {
				return
			}
			current.Store(&w)
		}
	}()
	s, err := j.connect()
	if err != nil {
		panic(err)
	}
	shop, err := j.shop(s.stock, s.orders)
	if err != nil {
		panic(err)
	}
	calls, err := newJournal(j.Journal)
	if err != nil {
		panic(err)
	}
	var background, clients sync.WaitGroup
	background.Go(func() { _ = shop.Run(ctx) })
	for n := range j.Clients {
		c := newClient(j, n, shop, s.pool, calls)
		clients.Go(func() {
			for ctx.Err() == nil {
				c.act(*current.Load())
			}
		})
	}
	clients.Wait()
	background.Wait()
}
