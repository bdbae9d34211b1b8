package booking_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
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

// greedy is what a process of TestCustomerLimitFromFiveProcesses does: one
// customer's orders First to First+Orders-1, all at once.
type greedy struct {
	Redis, Postgres, Prefix string
	First, Orders           int
}

// run prints a word for each answer. It begins when the test says so, and then does the
// background work until the test ends.
func (g greedy) run() {
	options, err := redis.ParseURL(g.Redis)
	if err != nil {
		panic("bad Redis URL")
	}
	config, err := pgxpool.ParseConfig(g.Postgres)
	if err != nil {
		panic("bad Postgres URL")
	}
	config.MaxConns = 8
	ctx := context.Background()
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		panic(err)
	}
	shop, err := booking.New(booking.Config{
		Inventory: inventory.NewRedis(redis.NewClient(options), inventory.WithKeyPrefix(g.Prefix)), Orders: order.NewPostgres(pool),
		Logger: quiet, Timeout: callTimeout, SweepAfter: sweepAfter, CheckEvery: 200 * time.Millisecond,
	})
	if err != nil {
		panic(err)
	}
	if _, err := bufio.NewReader(os.Stdin).ReadString('\n'); err != nil {
		panic(err)
	}
	go shop.Run(ctx)

	var buyers sync.WaitGroup
	for i := range g.Orders {
		buyers.Go(func() {
			o, err := book(shop, greedyRequest(g.First+i))
			switch {
			case err == nil:
				fmt.Printf("booked %s\n", o.ID)
			case errors.Is(err, inventory.ErrLimitExceeded):
				fmt.Println("refused")
			default:
				fmt.Printf("unexpected: %v\n", err)
			}
		})
	}
	buyers.Wait()
	fmt.Println("done")
	select {}
}

func greedyRequest(i int) booking.Request {
	return booking.Request{ID: fmt.Sprint("greedy-", i), Customer: "greedy", Lines: lines("floor", 1)}
}

// A customer who may have four has a thousand tries at it in five processes, and
// Redis forgets everything in the middle.
func TestCustomerLimitFromFiveProcesses(t *testing.T) {
	t.Parallel()
	const processes, orders, limit = 5, 200, 4
	redisServer, database := servertest.SharedRedis(t), testdb.New(t, servertest.SharedPostgres(t))
	s := at(t, redisServer.Client(t), order.NewPostgres(connect(t, database)))
	shop := open(t, s)
	require.NoError(t, shop.PutOnSale(t.Context(), order.Item{SKU: "floor", Capacity: 10_000, CustomerLimit: limit}))

	// Nobody else buys: what is sold is the customer's. It is looked at all the time.
	ended, most := make(chan struct{}), make(chan int64, 1)
	go func() {
		var highest int64
		defer func() { most <- highest }()
		for {
			select {
			case <-ended:
				return
			default:
			}
			if tallies, err := s.orders.Tally(context.Background(), "floor"); err == nil {
				highest = max(highest, tallies[0].Held+tallies[0].Confirmed, tallies[0].Counters.Allocated)
			}
		}
	}()

	var children []*servertest.Child
	all := make(chan string)
	var readers sync.WaitGroup
	for p := range processes {
		c := servertest.StartChild(t, greedySeller, greedy{
			Redis: redisServer.URL(), Postgres: database, Prefix: s.prefix, First: p * orders, Orders: orders,
		})
		children = append(children, c)
		readers.Go(func() {
			for word := range c.Lines {
				if word == "done" {
					return
				}
				all <- word
			}
		})
	}
	for _, c := range children {
		_, err := io.WriteString(c.Stdin, "go\n")
		require.NoError(t, err)
	}
	go func() { readers.Wait(); close(all) }()
	var booked []string
	answers, refused, wipes := 0, 0, 0
	for word := range all {
		answers++
		var id string
		if _, err := fmt.Sscanf(word, "booked %s", &id); err == nil {
			booked = append(booked, id)
		} else if assert.Equal(t, "refused", word) {
			refused++
		}
		if answers == 1 || answers == 100 || answers == 500 {
			require.NoError(t, s.client.Del(context.Background(), s.prefix+":{floor}:stock").Err())
			wipes++
		}
	}
	close(ended)
	highest := <-most
	t.Logf("%d booked, %d refused, %d wipes, at most %d at any moment", len(booked), refused, wipes, highest)
	assert.Equal(t, processes*orders, answers)
	assert.Len(t, booked, limit)
	assert.LessOrEqual(t, highest, int64(limit))
	for _, id := range booked {
		assert.Equal(t, order.Confirmed, orderOf(t, s, id).Status)
	}
	assert.EqualValues(t, limit, sold(t, s, "floor"))
	_, err := book(shop, request("floor", 1))
	require.NoError(t, err, "everybody else may buy")
	books(t, shop, s, "floor")
	ledger(t, s, "floor")
}

// isLimited requires that an error is a refusal by this limit.
func isLimited(t *testing.T, err error, sku string, limit, requested, used int64) {
	t.Helper()
	require.ErrorIs(t, err, inventory.ErrLimitExceeded)
	var limited *inventory.LimitError
	require.ErrorAs(t, err, &limited)
	assert.Equal(t, sku, limited.SKU)
	assert.Equal(t, limit, limited.Limit)
	assert.Equal(t, requested, limited.Requested)
	assert.Equal(t, used, limited.Used)
}

// units is an order of one customer.
func units(id, sku string, quantity int64) booking.Request {
	return booking.Request{ID: id, Customer: "c", Lines: lines(sku, quantity)}
}

// Whatever ends an order gives the allowance back, and nothing else does.
func TestLimitComesBack(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, s stores) {
		shop, other := open(t, s), open(t, s)
		require.NoError(t, shop.PutOnSale(t.Context(), order.Item{SKU: "floor", Capacity: 100, CustomerLimit: 4}))
		_, err := book(shop, units("big", "floor", 5))
		isLimited(t, err, "floor", 4, 5, 0)
		_, err = book(shop, units("a", "floor", 3))
		require.NoError(t, err)
		held, err := shop.Hold(t.Context(), units("b", "floor", 1), time.Millisecond)
		require.NoError(t, err)
		refused := func(used int64) {
			t.Helper()
			for _, shop := range []*booking.Service{shop, other} {
				_, err := book(shop, units("c", "floor", 5-used))
				isLimited(t, err, "floor", 4, 5-used, used)
			}
		}
		refused(4)
		passes(t, s, held)
		refused(4) // it is over, and has its units still
		expire(t, s, held)
		refused(3)
		_, err = book(other, units("d", "floor", 1))
		require.NoError(t, err, "the hold's allowance came back")
		refused(4)
		_, err = shop.Cancel(t.Context(), "a")
		require.NoError(t, err)
		refused(1)
		_, err = book(other, units("e", "floor", 3))
		require.NoError(t, err, "the cancelled order's allowance came back")
		refused(4)
		again, err := book(shop, units("e", "floor", 3))
		require.NoError(t, err, "a second click gets its order")
		assert.Equal(t, "e", again.ID)
		_, err = book(shop, request("floor", 1))
		require.NoError(t, err, "it is each customer's own")
		assert.EqualValues(t, 5, sold(t, s, "floor"))
		books(t, shop, s, "floor")
		ledger(t, s, "floor")
	})
}

// What somebody holds never stands in the way of confirming it, also when the
// limit is lower by then.
func TestLimitDoesNotStopAConfirmation(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, s stores) {
		shop := open(t, s)
		require.NoError(t, shop.PutOnSale(t.Context(), order.Item{SKU: "floor", Capacity: 100, CustomerLimit: 4}))
		_, err := shop.Hold(t.Context(), units("a", "floor", 4), time.Hour)
		require.NoError(t, err)
		_, err = shop.Confirm(t.Context(), "a")
		require.NoError(t, err, "with the limit reached by the hold itself")
		r := booking.Request{ID: "other", Customer: "other", Lines: lines("floor", 4)}
		_, err = shop.Hold(t.Context(), r, time.Hour)
		require.NoError(t, err)
		require.NoError(t, shop.SetLimit(t.Context(), "floor", 2))
		_, err = shop.Extend(t.Context(), "other", 2*time.Hour)
		require.NoError(t, err)
		o, err := shop.Confirm(t.Context(), "other")
		require.NoError(t, err, "with a lower limit")
		assert.Equal(t, order.Confirmed, o.Status)
		_, err = book(shop, units("b", "floor", 1))
		isLimited(t, err, "floor", 2, 1, 4)
		require.NoError(t, shop.SetLimit(t.Context(), "floor", 5))
		_, err = book(shop, units("b", "floor", 1))
		require.NoError(t, err)
		_, err = book(shop, units("d", "floor", 1))
		isLimited(t, err, "floor", 5, 1, 5)
		require.NoError(t, shop.SetLimit(t.Context(), "floor", 0))
		_, err = book(shop, units("d", "floor", 50))
		require.NoError(t, err)
		assert.EqualValues(t, 4+4+1+50, sold(t, s, "floor"))
		books(t, shop, s, "floor")
	})
}

// Two orders of a customer in one batch are summed, too, and a large one that is
// refused doesn't refuse a small one behind it.
func TestLimitInOneBatch(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, s stores) {
		shop := open(t, s)
		require.NoError(t, shop.PutOnSale(t.Context(), order.Item{SKU: "floor", Capacity: 100, CustomerLimit: 4}))
		var commits []order.Commit
		for i, quantity := range []int64{3, 2, 1, 1} {
			commits = append(commits, order.Commit{Order: order.Order{ID: fmt.Sprint(i), Customer: "c", Lines: lines("floor", quantity)}})
		}
		commits = append(commits, order.Commit{Order: order.Order{ID: "d", Customer: "d", Lines: lines("floor", 4)}})
		outcomes, _, err := s.orders.Commit(t.Context(), commits)
		require.NoError(t, err)
		var verdicts []order.Verdict
		for _, outcome := range outcomes {
			verdicts = append(verdicts, outcome.Verdict)
		}
		assert.Equal(t, []order.Verdict{
			order.VerdictBooked, order.VerdictLimited, order.VerdictBooked, order.VerdictLimited, order.VerdictBooked,
		}, verdicts)
		isLimited(t, outcomes[1].Err, "floor", 4, 2, 3)
		isLimited(t, outcomes[3].Err, "floor", 4, 1, 4)
		background(t, shop) // it was sold past Redis
		books(t, shop, s, "floor")
	})
}

// A limit counts the orders that were there before it, also the ended ones that
// are reclaimed.
func TestLimitThatComesLater(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, s stores) {
		shop := open(t, s)
		require.NoError(t, shop.PutOnSale(t.Context(), order.Item{SKU: "floor", Capacity: 100}))
		held, err := shop.Hold(t.Context(), units("late", "floor", 2), time.Millisecond)
		require.NoError(t, err)
		expire(t, s, held)
		_, err = book(shop, units("a", "floor", 3))
		require.NoError(t, err)
		require.NoError(t, shop.SetLimit(t.Context(), "floor", 4))
		_, err = book(shop, units("b", "floor", 2))
		isLimited(t, err, "floor", 4, 2, 3)
		_, err = shop.Reclaim(t.Context(), "late")
		isLimited(t, err, "floor", 4, 2, 3)
		_, err = book(shop, units("b", "floor", 1))
		require.NoError(t, err)
		_, err = shop.Cancel(t.Context(), "a")
		require.NoError(t, err)
		_, err = shop.Reclaim(t.Context(), "late")
		require.NoError(t, err)
		_, err = book(shop, units("d", "floor", 2))
		isLimited(t, err, "floor", 4, 2, 3)
		books(t, shop, s, "floor")
		ledger(t, s, "floor")
	})
}

// A pool's limit counts what is drawn on it by whatever SKU.
func TestLimitOfAPool(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, s stores) {
		shop := open(t, s)
		drawn := lines("hall", 1)
		require.NoError(t, shop.PutOnSale(t.Context(),
			order.Item{SKU: "hall", Capacity: 100, CustomerLimit: 4},
			order.Item{SKU: "early", Capacity: 50, Draws: drawn, CustomerLimit: 3},
			order.Item{SKU: "regular", Capacity: 100, Draws: drawn}))
		_, err := book(shop, units("a", "early", 4))
		isLimited(t, err, "early", 3, 4, 0)
		_, err = book(shop, units("a", "early", 3))
		require.NoError(t, err)
		_, err = book(shop, units("b", "regular", 2))
		isLimited(t, err, "hall", 4, 2, 3)
		_, err = shop.Hold(t.Context(), units("b", "regular", 1), time.Hour)
		require.NoError(t, err)
		_, err = book(shop, units("d", "regular", 1))
		isLimited(t, err, "hall", 4, 1, 4)
		_, err = shop.Cancel(t.Context(), "b")
		require.NoError(t, err)
		require.NoError(t, shop.SetLimit(t.Context(), "regular", 2))
		require.NoError(t, shop.SetLimit(t.Context(), "hall", 0))
		_, err = book(shop, units("d", "regular", 3))
		isLimited(t, err, "regular", 2, 3, 0)
		_, err = book(shop, units("d", "regular", 2))
		require.NoError(t, err)
		assert.EqualValues(t, 5, sold(t, s, "hall"))
		books(t, shop, s, "early", "hall", "regular")
	})
}
