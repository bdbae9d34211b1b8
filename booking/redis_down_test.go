package booking_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/booking"
	"github.com/lastunit/lastunit/internal/servertest"
	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

// sellsDirect makes a service that sells through Postgres while Redis is down.
func sellsDirect(t testing.TB, s stores) *booking.Service {
	t.Helper()
	return open(t, s, func(c *booking.Config) { c.WhenRedisDown = booking.SellDirect })
}

// Redis is killed in the middle of a rush, stays away, and comes back empty: not one
// call fails, in two processes, and the counts are right.
func TestSalesGoOnWithoutRedis(t *testing.T) {
	t.Parallel()
	s, server := onPrivateRedis(t)
	const capacity, buyers, atOnce = 600, 900, 40
	shops := []*booking.Service{sellsDirect(t, s), sellsDirect(t, s)}
	background(t, shops[0])
	require.NoError(t, shops[0].PutOnSale(t.Context(), order.Item{SKU: "floor", Capacity: capacity}))
	var booked atomic.Int64
	next := make(chan int)
	var group sync.WaitGroup
	for worker := range atOnce {
		group.Go(func() {
			for i := range next {
				o, err := shops[worker%2].Book(context.Background(), request("floor", i))
				for errors.Is(err, inventory.ErrTryAgain) { // what a call left behind that gave Redis up comes back
					time.Sleep(betweenTries)
					o, err = shops[worker%2].Book(context.Background(), request("floor", i))
				}
				if err != nil {
					assert.ErrorIs(t, err, inventory.ErrSoldOut)
					continue
				}
				assert.Equal(t, order.Confirmed, o.Status)
				booked.Add(1)
			}
		})
	}
	for i := range buyers {
		switch i {
		case 200:
			server.Kill()
		case 400:
			server.Restart()
		}
		next <- i
	}
	close(next)
	group.Wait()
	assert.EqualValues(t, capacity, booked.Load())
	exact(t, shops[0])
	assert.EqualValues(t, capacity, sold(t, s, "floor"))
}

// A Redis that hangs costs the first callers half a second, and then nobody waits.
// Once it answers, it sells again, with the counts as Postgres has them.
func TestSalesGoOnWhileRedisHangs(t *testing.T) {
	t.Parallel()
	s, server := onPrivateRedis(t)
	shop := sellsDirect(t, s)
	background(t, shop)
	require.NoError(t, shop.PutOnSale(t.Context(), order.Item{SKU: "floor", Capacity: 100}))
	_, err := bookOnce(shop, request("floor", 0))
	require.NoError(t, err)
	server.Pause()
	n := 1
	eventually(t, func() error {
		began := time.Now()
		_, err := shop.Book(t.Context(), request("floor", n))
		require.NoError(t, err)
		n++
		if took := time.Since(began); took > 300*time.Millisecond {
			return fmt.Errorf("the caller waited for %v", took)
		}
		return nil
	})
	receipt, err := shop.Accept(t.Context(), request("floor", n))
	require.NoError(t, err)
	o, err := receipt.Wait(t.Context())
	require.NoError(t, err, "it is an order already")
	assert.Equal(t, order.Confirmed, o.Status)
	_, err = shop.Accept(t.Context(), request("floor", n))
	require.NoError(t, err, "the same request again")
	n++
	server.Resume()
	eventually(t, func() error { // Redis deducts again
		_, err := shop.Book(context.Background(), request("floor", n))
		require.NoError(t, err)
		n++
		o, err := shop.Order(context.Background(), request("floor", n-1).ID)
		require.NoError(t, err)
		stocks, err := s.inventory.Stock(context.Background(), "floor")
		require.NoError(t, err)
		if stocks[0].Taken == 0 || o.ID == "" {
			return fmt.Errorf("nothing was taken in %+v", stocks[0])
		}
		return nil
	})
	exact(t, shop)
	assert.EqualValues(t, n, sold(t, s, "floor"))
}

// partly is an inventory that does not answer about one SKU, as a cluster that lost
// a node.
type partly struct {
	inventory.InventoryRepository
	gone string
	asks atomic.Int64
}

func (p *partly) Deduct(ctx context.Context, r inventory.Request) (inventory.Deduction, error) {
	if r.SKU == p.gone {
		p.asks.Add(1)
		return inventory.Deduction{}, fmt.Errorf("%w: the test says so", inventory.ErrUnavailable)
	}
	return p.InventoryRepository.Deduct(ctx, r)
}

// One SKU's node is away: an order of two SKUs takes the other one's units in Redis
// as ever, and the same request again is the same order.
func TestOneSKUWithoutRedis(t *testing.T) {
	t.Parallel()
	test := func(t *testing.T, s stores) {
		p := &partly{InventoryRepository: s.inventory, gone: "floor"}
		s.inventory = p
		shop := sellsDirect(t, s)
		background(t, shop)
		require.NoError(t, shop.PutOnSale(t.Context(), order.Item{SKU: "balcony", Capacity: 4}, order.Item{SKU: "floor", Capacity: 3}))
		r := func(i int) booking.Request {
			return booking.Request{ID: fmt.Sprint("both-", i), Customer: "c", Lines: []order.Line{{SKU: "balcony", Quantity: 1}, {SKU: "floor", Quantity: 1}}}
		}
		for i := range 3 {
			for range 2 {
				o, err := bookOnce(shop, r(i))
				require.NoError(t, err)
				assert.Equal(t, order.Confirmed, o.Status)
			}
		}
		_, err := bookOnce(shop, r(3))
		require.ErrorIs(t, err, inventory.ErrSoldOut)
		var short *inventory.StockError
		require.ErrorAs(t, err, &short)
		assert.Equal(t, "floor", short.SKU)
		_, err = book(shop, booking.Request{ID: "balcony", Customer: "c", Lines: lines("balcony", 1)})
		require.NoError(t, err, "what was taken for the order that was refused is back")
		exact(t, shop)
		if s.client == nil { // else it may be too slow for some
			assert.NotZero(t, p.asks.Load())
			counters, err := s.orders.Counters(t.Context(), "balcony")
			require.NoError(t, err)
			assert.EqualValues(t, 4, counters[0].Admitted, "through Redis, all of them")
		}
	}
	inABubbleAndReal(t, test)
	t.Run("never too slow", func(t *testing.T) {
		pool := migrated(t, servertest.SharedPostgres(t))
		test(t, stores{inventory: inventory.NewMemory(), orders: order.NewPostgres(pool)})
	})
}

// By default nothing is sold without Redis, and nobody waits for one that hangs
// after others have.
func TestRefusedQuicklyWithoutRedis(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, s stores) {
		p := &partly{InventoryRepository: s.inventory, gone: "floor"}
		s.inventory = p
		shop := open(t, s)
		require.NoError(t, shop.PutOnSale(t.Context(), order.Item{SKU: "floor", Capacity: 3}))
		var asked int64
		eventually(t, func() error {
			_, err := shop.Book(t.Context(), request("floor", 1))
			require.ErrorIs(t, err, order.ErrOutcomeUnknown)
			require.ErrorIs(t, err, inventory.ErrUnavailable)
			was := asked
			if asked = p.asks.Load(); asked > was {
				return fmt.Errorf("it was asked")
			}
			return nil
		})
		assert.Zero(t, sold(t, s, "floor"))
		p.gone = ""
		eventually(t, func() error {
			_, err := shop.Book(t.Context(), request("floor", 1))
			return err
		})
		background(t, shop)
		exact(t, shop)
	})
}
