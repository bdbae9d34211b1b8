package booking_test

import (
	"context"
	"errors"
	"fmt"
	"os/signal"
	"strconv"
	"strings"
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
	"github.com/lastunit/lastunit/internal/testdb"
	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

// The kinds of processes that the tests start.
const (
	seller       = "seller" // does a job
	greedySeller = "greedy" // does what greedy says
)

// TestMain is also the main of the processes that the tests start.
func TestMain(m *testing.M) {
	var j job
	var g greedy
	switch {
	case servertest.ChildJob(seller, &j):
		j.run()
	case servertest.ChildJob(greedySeller, &g):
		g.run()
	default:
		servertest.Main(m)
	}
}

// job is what a process of a test does: it sells to Buyers buyers, AtOnce at a
// time, prints the ID of each order that was acknowledged, and ends when it is told
// to, so that it does the background work until then.
type job struct {
	Redis, Postgres, Prefix, SKU string
	Buyers, AtOnce               int
	Accept                       bool // and not book; nothing gets to Postgres
}

func (j job) run() {
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
		Logger: quiet, Timeout: callTimeout, SweepAfter: sweepAfter, CheckEvery: 200 * time.Millisecond,
	})
	if err != nil {
		panic(err)
	}
	var background sync.WaitGroup
	background.Go(func() { _ = shop.Run(ctx) })

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
		next <- i
	}
	close(next)
	buyers.Wait()
	fmt.Println("done", j.Buyers)
	<-ctx.Done()
	background.Wait()
}

// sale collects what the children report.
type sale struct {
	acknowledged map[string]bool
	unexpected   []string
}

// collect reads the reports of a child until it is done or gone.
func (s *sale) collect(c *servertest.Child) {
	for line := range c.Lines {
		switch word, id, _ := strings.Cut(line, " "); word {
		case "booked", "accepted":
			s.acknowledged[id] = true
		case "done":
			return
		default:
			s.unexpected = append(s.unexpected, line)
		}
	}
}

// collectSome reads the reports of a child until so many were acknowledged, by this word.
func (s *sale) collectSome(t *testing.T, c *servertest.Child, word string, n int) {
	t.Helper()
	for line := range c.Lines {
		is, id, _ := strings.Cut(line, " ")
		require.Equal(t, word, is, line)
		s.acknowledged[id] = true
		if len(s.acknowledged) == n {
			return
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

// A process is killed with deductions in hand; another one cleans up behind it,
// and those who ask again get their first answer.
func TestProcessKilledInTheMiddle(t *testing.T) {
	t.Parallel()
	const buyers, capacity = 2000, 1000
	redisServer, database := servertest.SharedRedis(t), testdb.New(t, servertest.SharedPostgres(t))
	both := at(t, redisServer.Client(t), order.NewPostgres(connect(t, database)))
	shop := open(t, both)
	item := order.Item{SKU: "floor", Capacity: capacity}
	require.NoError(t, shop.PutOnSale(t.Context(), item))

	j := job{Redis: redisServer.URL(), Postgres: database, Prefix: both.prefix, SKU: "floor", Buyers: buyers, AtOnce: 100}
	s := sale{acknowledged: make(map[string]bool)}
	first := servertest.StartChild(t, seller, j)
	s.collectSome(t, first, "booked", capacity/4)
	first.Kill()
	s.collect(first) // what it had printed by then
	atKill := len(s.acknowledged)
	require.Less(t, atKill, capacity, "the kill came in the middle")

	second := servertest.StartChild(t, seller, j) // every buyer asks (again) here
	s.collect(second)
	t.Log(strconv.Itoa(atKill) + " were acknowledged when the process was killed")
	require.NoError(t, second.Terminate())
	background(t, shop)
	s.audit(t, shop, both, item)
	assert.Len(t, s.acknowledged, capacity)
}
