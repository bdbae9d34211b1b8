package robustness

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
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

// jobVariable tells this binary that it is a worker, and which.
const jobVariable = "LASTUNIT_ROBUSTNESS_JOB"

// TestMain is also the main of the workers.
func TestMain(m *testing.M) {
	if text := os.Getenv(jobVariable); text != "" {
		var j job
		if err := json.Unmarshal([]byte(text), &j); err != nil {
			panic(err)
		}
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
	Window                  window
}

// callTimeout bounds every call: longer than any server stands still.
const callTimeout = 4 * time.Second

// stores connects to both sides as this run has them, with the planted bug if there is one.
// The connections stay open until the process ends.
func (j job) stores() (inventory.InventoryRepository, order.Store, error) {
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
		return nil, nil, err
	}
	bug := bugNamed(j.Bug)
	if err := bug.plantInScripts(client); err != nil {
		return nil, nil, err
	}
	return bug.plantInInventory(inventory.NewRedis(client, inventory.WithKeyPrefix(j.Prefix))), bug.plantInStore(order.NewPostgres(pool)), nil
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
	redis.SetLogger(silence{})
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	var current atomic.Pointer[window]
	current.Store(&j.Window)
	// The test holds the other end of stdin, and tells what is on sale. When it is
	// gone, however it went, so is this process.
	go func() {
		input := bufio.NewReader(os.Stdin)
		for decoder := json.NewDecoder(input); ; {
			var w window
			if err := decoder.Decode(&w); err != nil {
				if !errors.Is(err, io.EOF) {
					panic(err)
				}
				os.Exit(3)
			}
			current.Store(&w)
		}
	}()
	stock, orders, err := j.stores()
	if err != nil {
		panic(err)
	}
	shop, err := j.shop(stock, orders)
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
		c := newClient(j, n, shop, calls)
		clients.Go(func() {
			for ctx.Err() == nil {
				c.act(*current.Load())
			}
		})
	}
	clients.Wait()
	background.Wait()
}

// silence is a logger for go-redis, which else tells of every lost connection.
type silence struct{}

func (silence) Printf(context.Context, string, ...any) {}
