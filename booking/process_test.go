package booking_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/booking"
	"github.com/lastunit/lastunit/internal/servertest"
	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

// TestMain is also the main of the processes that the tests start: this very
// binary, told by an environment variable what to do.
func TestMain(m *testing.M) {
	if text := os.Getenv("LASTUNIT_CHILD"); text != "" {
		var job job
		if err := json.Unmarshal([]byte(text), &job); err != nil {
			panic(err)
		}
		job.run()
		return
	}
	servertest.Main(m)
}

// job is what a process of a test does: it sells to buyers First to First+Buyers-1,
// so many at once, prints the ID of each order that was acknowledged, and ends
// when it is told to, so that it does the background work until then.
type job struct {
	Redis, Postgres, Prefix, SKU string
	First, Buyers, AtOnce        int
	Rebuild                      bool // the SKU, all the time
	Accept                       bool // and not book; nothing gets to Postgres
}

func (j job) run() {
	// The test holds the other end of stdin: when it is gone, however it went,
	// so is this process.
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(3)
	}()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	options, err := redis.ParseURL(j.Redis)
	if err != nil {
		panic("bad Redis URL")
	}
	client := redis.NewClient(options)
	config, err := pgxpool.ParseConfig(j.Postgres)
	if err != nil {
		panic("bad Postgres URL")
	}
	config.MaxConns = 8
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		panic(err)
	}
	orders := &stalled{Store: order.NewPostgres(pool)}
	orders.down.Store(j.Accept)
	shop, err := booking.New(booking.Config{
		Inventory: inventory.NewRedis(client, inventory.WithKeyPrefix(j.Prefix)), Orders: orders,
		Logger: quiet, SweepAfter: time.Second, CheckEvery: 200 * time.Millisecond,
	})
	if err != nil {
		panic(err)
	}
	var background sync.WaitGroup
	background.Go(func() { _ = shop.Run(ctx) })
	sale, ended := context.WithCancel(ctx)
	if j.Rebuild {
		background.Go(func() {
			for sale.Err() == nil {
				_ = shop.Rebuild(sale, j.SKU)
			}
		})
	}

	var buyers sync.WaitGroup
	var printing sync.Mutex
	next := make(chan int)
	for range j.AtOnce {
		buyers.Go(func() {
			for i := range next {
				var o order.Order
				var err error
				if j.Accept {
					_, err = shop.Accept(context.Background(), request(j.SKU, i))
				} else {
					o, err = book(shop, request(j.SKU, i))
				}
				printing.Lock()
				switch {
				case err == nil && j.Accept:
					fmt.Println("accepted", request(j.SKU, i).ID)
				case err == nil:
					fmt.Println("booked", o.ID)
				case !errors.Is(err, inventory.ErrSoldOut):
					fmt.Println("unexpected", err)
				}
				printing.Unlock()
			}
		})
	}
	for i := range j.Buyers {
		next <- j.First + i
	}
	close(next)
	buyers.Wait()
	ended()
	fmt.Println("done", j.Buyers)
	<-ctx.Done()
	background.Wait()
}

// child is a process of a test.
type child struct {
	command *exec.Cmd
	lines   chan []string // what it printed, word by word
}

func start(t testing.TB, j job) *child {
	text, err := json.Marshal(j)
	require.NoError(t, err)
	c := &child{command: exec.Command(os.Args[0]), lines: make(chan []string, j.Buyers+10)} //nolint:gosec // this binary
	c.command.Env = append(os.Environ(), "LASTUNIT_CHILD="+string(text))
	c.command.Stderr = os.Stderr
	out, err := c.command.StdoutPipe()
	require.NoError(t, err)
	_, err = c.command.StdinPipe() // is closed when this process ends
	require.NoError(t, err)
	require.NoError(t, c.command.Start())
	go func() {
		defer close(c.lines)
		for scanner := bufio.NewScanner(out); scanner.Scan(); {
			var word, rest string
			_, _ = fmt.Sscan(scanner.Text(), &word, &rest)
			c.lines <- []string{word, rest, scanner.Text()}
		}
	}()
	t.Cleanup(c.kill)
	return c
}

func (c *child) kill() {
	_ = c.command.Process.Kill()
	_, _ = c.command.Process.Wait()
}

// sale collects what the children report.
type sale struct {
	acknowledged map[string]bool
	unexpected   []string
}

// collect reads the reports of a child until it is done or gone.
func (s *sale) collect(c *child) {
	for line := range c.lines {
		switch line[0] {
		case "booked", "accepted":
			s.acknowledged[line[1]] = true
		case "done":
			return
		default:
			s.unexpected = append(s.unexpected, line[2])
		}
	}
}

// audit checks the books after a sale with more buyers than units.
func (s *sale) audit(t *testing.T, shop *booking.Service, both stores, item order.Item) {
	t.Helper()
	assert.Empty(t, s.unexpected)
	exact(t, shop)
	assert.Equal(t, item.Capacity, sold(t, both, item.SKU), "sold")
	lost := 0
	for id := range s.acknowledged {
		if o, err := shop.Order(t.Context(), id); err != nil || o.Status != order.Confirmed {
			lost++
		}
	}
	assert.Zero(t, lost, "orders that were acknowledged and are lost")
}

// Ten processes rush one SKU, three of them rebuilding it all the time.
func TestTenProcessesThreeRebuilding(t *testing.T) {
	t.Parallel()
	const processes, buyers, capacity = 10, 100, 500
	redisServer, database := servertest.SharedRedis(t), servertest.SharedPostgres(t).Database(t)
	both := at(t, redisServer.Client(t), order.NewPostgres(migrated(t, database)))
	shop := open(t, both)
	item := order.Item{SKU: "floor", Capacity: capacity}
	require.NoError(t, shop.PutOnSale(t.Context(), item))

	before, err := both.orders.Counters(t.Context(), "floor")
	require.NoError(t, err)
	var children []*child
	for p := range processes {
		children = append(children, start(t, job{
			Redis: redisServer.URL(), Postgres: database, Prefix: both.prefix, SKU: "floor",
			First: p * buyers, Buyers: buyers, AtOnce: 20, Rebuild: p < 3,
		}))
	}
	s := sale{acknowledged: make(map[string]bool)}
	for _, c := range children {
		s.collect(c)
	}
	after, err := both.orders.Counters(t.Context(), "floor")
	require.NoError(t, err)
	rebuilds := after[0].Version - before[0].Version
	t.Logf("%d versions came about in the sale", rebuilds)
	assert.Greater(t, rebuilds, int64(20), "the rebuilding went on beside the sale")
	for _, c := range children {
		require.NoError(t, c.command.Process.Signal(syscall.SIGTERM))
	}
	background(t, shop)
	s.audit(t, shop, both, item)
	assert.Len(t, s.acknowledged, capacity)
}

// A process is killed with deductions in hand; another one cleans up behind it,
// and those who ask again get their first answer.
func TestProcessKilledInTheMiddle(t *testing.T) {
	t.Parallel()
	const buyers, capacity = 2000, 1000
	redisServer, database := servertest.SharedRedis(t), servertest.SharedPostgres(t).Database(t)
	both := at(t, redisServer.Client(t), order.NewPostgres(migrated(t, database)))
	shop := open(t, both)
	item := order.Item{SKU: "floor", Capacity: capacity}
	require.NoError(t, shop.PutOnSale(t.Context(), item))

	j := job{Redis: redisServer.URL(), Postgres: database, Prefix: both.prefix, SKU: "floor", Buyers: buyers, AtOnce: 100}
	s := sale{acknowledged: make(map[string]bool)}
	first := start(t, j)
	for line := range first.lines {
		require.Equal(t, "booked", line[0], line[2])
		s.acknowledged[line[1]] = true
		if len(s.acknowledged) == capacity/4 {
			break
		}
	}
	first.kill()
	s.collect(first) // what it had printed by then
	atKill := len(s.acknowledged)
	require.Less(t, atKill, capacity, "the kill came in the middle")

	second := start(t, j) // every buyer asks (again) here
	s.collect(second)
	t.Log(strconv.Itoa(atKill) + " were acknowledged when the process was killed")
	require.NoError(t, second.command.Process.Signal(syscall.SIGTERM))
	background(t, shop)
	s.audit(t, shop, both, item)
	assert.Len(t, s.acknowledged, capacity)
}
