package booking_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/booking"
	"github.com/lastunit/lastunit/internal/servertest"
	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

// looks counts what is read of an inventory.
type looks struct {
	inventory.InventoryRepository
	mu       sync.Mutex
	canaries int            // looks at them
	stocks   map[string]int // by SKU
	read     int            // stocks, of all SKUs
	deaf     bool           // supplies don't arrive
}

func (l *looks) Canaries(ctx context.Context, store string, watcher int) ([]inventory.Canary, error) {
	l.mu.Lock()
	l.canaries++
	l.mu.Unlock()
	return l.InventoryRepository.Canaries(ctx, store, watcher)
}

func (l *looks) Stock(ctx context.Context, skus ...string) ([]inventory.Stock, error) {
	l.mu.Lock()
	for _, sku := range skus {
		l.stocks[sku]++
	}
	l.read += len(skus)
	l.mu.Unlock()
	return l.InventoryRepository.Stock(ctx, skus...)
}

func (l *looks) Push(ctx context.Context, supply inventory.Supply) error {
	l.mu.Lock()
	deaf := l.deaf
	l.mu.Unlock()
	if deaf {
		return inventory.ErrUnavailable
	}
	return l.InventoryRepository.Push(ctx, supply)
}

func (l *looks) setDeaf(deaf bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.deaf = deaf
}

// reset forgets what was counted, and returns the looks at canaries and the stocks read.
func (l *looks) reset() (canaries, read int, stocks map[string]int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	canaries, read, stocks = l.canaries, l.read, l.stocks
	l.canaries, l.read, l.stocks = 0, 0, make(map[string]int)
	return canaries, read, stocks
}

// await waits until the canaries were looked at so often more.
func (l *looks) await(t testing.TB, more int) {
	t.Helper()
	l.mu.Lock()
	until := l.canaries + more
	l.mu.Unlock()
	eventually(t, func() error {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.canaries < until {
			return fmt.Errorf("%d looks at the canaries, want %d", l.canaries, until)
		}
		return nil
	})
}

// noTurns are orders whose SKUs never have their turn: only what is noticed is mended.
type noTurns struct{ order.Store }

func (noTurns) Claim(context.Context, time.Duration, int, int) ([]order.Claimed, error) {
	return nil, nil
}

// withoutTurns is a service whose SKUs never have their turn.
func withoutTurns(t testing.TB, s stores) (*booking.Service, *looks) {
	t.Helper()
	l := &looks{InventoryRepository: s.inventory, stocks: make(map[string]int)}
	s.inventory, s.orders = l, noTurns{s.orders}
	return open(t, s), l
}

// many are items of one unit each, more than are compared at once.
func many(n int) (items []order.Item, skus []string) {
	for i := range n {
		sku := fmt.Sprintf("sku-%05d", i)
		items, skus = append(items, order.Item{SKU: sku, Capacity: 1}), append(skus, sku)
	}
	return items, skus
}

// What the background work costs does not grow with SKUs that nobody buys: all of them
// have their turn, a few thousand each period.
func TestIdleSKUsAreComparedInTurn(t *testing.T) {
	const idle, periods, most = 5000, 10, 64 * 32
	synctest.Test(t, func(t *testing.T) {
		l := &looks{InventoryRepository: inventory.NewMemory(), stocks: make(map[string]int)}
		orders := order.NewMemory()
		shop, err := booking.New(booking.Config{Inventory: l, Orders: orders, Logger: quiet, CheckEvery: time.Second})
		require.NoError(t, err)
		items, skus := many(idle)
		require.NoError(t, shop.PutOnSale(t.Context(), items...))
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- shop.Run(ctx) }()
		time.Sleep(20*time.Second + 500*time.Millisecond) // what was only just put on sale is looked at sooner

		l.reset()
		for period := range periods {
			time.Sleep(time.Second)
			canaries, read, _ := func() (int, int, map[string]int) {
				l.mu.Lock()
				defer l.mu.Unlock()
				return l.canaries, l.read, nil
			}()
			assert.LessOrEqual(t, canaries, period+2, "one look a period")
			assert.LessOrEqual(t, read, (period+2)*most, "so many SKUs a period")
		}
		_, _, stocks := l.reset()
		for _, sku := range skus {
			assert.Positive(t, stocks[sku], "%s had its turn", sku)
		}

		// Hot ones are compared each period all the same.
		for i := range periods {
			_, err := shop.Book(t.Context(), booking.Request{ID: fmt.Sprint(i), Customer: "c", Lines: []order.Line{{SKU: skus[i], Quantity: 1}}})
			require.NoError(t, err)
		}
		time.Sleep(2 * time.Second)
		_, _, stocks = l.reset()
		for i := range periods {
			assert.Positive(t, stocks[skus[i]])
		}
		cancel()
		require.NoError(t, <-ended)
	})
}

// Redis loses everything: that is noticed although no SKU has its turn, and nobody buys.
func TestALossOfEverythingIsNoticedByTheCanary(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, s stores) {
		shop, _ := withoutTurns(t, s)
		other, _ := withoutTurns(t, s) // which one of them notices it is open
		n := 700                       // more than a page
		if _, is := s.orders.(*order.Memory); is {
			n = 70 // miniredis is slow
		}
		items, skus := many(n)
		require.NoError(t, shop.PutOnSale(t.Context(), items...))
		background(t, shop)
		background(t, other)
		whole := func() error {
			canaries, err := s.inventory.Canaries(context.Background(), "", 0)
			if err != nil || !canaries[0].Whole {
				return fmt.Errorf("%+v: %w", canaries, err)
			}
			return nil
		}
		eventually(t, whole)
		for range 2 {
			s.wipe(t)
			eventually(t, func() error {
				stocks, err := s.inventory.Stock(context.Background(), skus...)
				for _, stock := range stocks {
					if stock.Why != "" {
						err = errors.Join(err, fmt.Errorf("SKU %s: %s", stock.SKU, stock.Why))
					}
				}
				return err
			})
			eventually(t, whole)
		}
		exact(t, shop)
	})
}

// Redis comes back as it was a look ago or more, with a canary and with counters that were
// right then: that is noticed although no SKU has its turn, and nobody buys.
func TestARedisThatWentBackIsNoticedByTheCanary(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, s stores) {
		shop, l := withoutTurns(t, s)
		require.NoError(t, shop.PutOnSale(t.Context(), order.Item{SKU: "floor", Capacity: 10}, order.Item{SKU: "balcony", Capacity: 10}))
		background(t, shop)
		_, err := shop.Book(t.Context(), request("floor", 0))
		require.NoError(t, err)
		exact(t, shop)
		l.await(t, 3)
		restore := snapshot(t, s)
		for i := range 3 {
			_, err := shop.Book(t.Context(), request("floor", 1+i))
			require.NoError(t, err)
		}
		exact(t, shop)
		l.await(t, 1)
		before, err := s.orders.Counters(t.Context(), "balcony", "floor")
		require.NoError(t, err)
		restore()
		eventually(t, func() error {
			now, err := s.orders.Counters(context.Background(), "floor")
			if err == nil && now[0].Epoch == before[1].Epoch {
				err = errors.New("it is not rebuilt")
			}
			return err
		})
		exact(t, shop)
		now, err := s.orders.Counters(t.Context(), "balcony")
		require.NoError(t, err)
		assert.Equal(t, before[0].Epoch, now[0].Epoch, "what lost nothing is not rebuilt")
	})
}

// snapshot keeps all that Redis has of this test, and returns what brings it back.
func snapshot(t testing.TB, s stores) (restore func()) {
	t.Helper()
	ctx := context.Background()
	keys, err := s.client.Keys(ctx, s.prefix+":*").Result()
	require.NoError(t, err)
	kept := make(map[string]map[string]string)
	for _, key := range keys {
		kept[key], err = s.client.HGetAll(ctx, key).Result()
		require.NoError(t, err)
	}
	return func() {
		_, err := s.client.TxPipelined(ctx, func(pipe redis.Pipeliner) error {
			for key, hash := range kept {
				pipe.Del(ctx, key)
				pipe.HSet(ctx, key, hash)
			}
			return nil
		})
		require.NoError(t, err)
	}
}

// A supply that did not arrive is pushed again within a period or so: the process that
// could not push it looks at the SKU, whose turn may be far.
func TestAPushThatWasLostIsMadeGood(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, s stores) {
		shop, l := withoutTurns(t, s)
		require.NoError(t, shop.PutOnSale(t.Context(), order.Item{SKU: "floor", Capacity: 1}))
		background(t, shop)
		exact(t, shop)
		l.setDeaf(true)
		require.NoError(t, shop.SetCapacity(t.Context(), order.Adjustment{ID: "2", SKU: "floor", Units: 2}))
		stocks, err := s.inventory.Stock(t.Context(), "floor")
		require.NoError(t, err)
		require.EqualValues(t, 1, stocks[0].Supply)
		l.setDeaf(false)
		exact(t, shop)
	})
}

// A deduction that was left behind is swept although its SKU's turn may be far, if its
// process goes on.
func TestAnAbandonedDeductionIsSweptByItsProcess(t *testing.T) {
	t.Parallel()
	s := embedded(t)
	shop, _ := withoutTurns(t, s)
	require.NoError(t, shop.PutOnSale(t.Context(), order.Item{SKU: "floor", Capacity: 2}))
	_, err := shop.Book(t.Context(), request("floor", 0))
	require.NoError(t, err)
	c, err := s.orders.Counters(t.Context(), "floor")
	require.NoError(t, err)
	_, err = s.inventory.Deduct(t.Context(), inventory.Request{Customer: "c", SKU: "floor", Store: c[0].Store, Attempt: "a", OrderID: "o", Quantity: 1})
	require.NoError(t, err)
	background(t, shop)
	exact(t, shop)
}

// Where most of a slice differs, the rest of its partition does not wait for its turn.
func TestWhatIsNextToMuchThatDiffersIsCompared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const idle = 64 * 32 * 20 // a turn takes some 20 periods
		memory := inventory.NewMemory()
		orders := order.NewMemory()
		shop, err := booking.New(booking.Config{Inventory: memory, Orders: orders, Logger: quiet, CheckEvery: time.Second})
		require.NoError(t, err)
		plant(t, stores{inventory: memory, orders: orders}) // whoever lost the SKUs has kept the canary
		items, skus := many(idle)
		for page := range len(items) / order.MaxItems {
			_, _, err := orders.PutOnSale(t.Context(), items[page*order.MaxItems:(page+1)*order.MaxItems]...)
			require.NoError(t, err)
		}
		skus = skus[:len(items)/order.MaxItems*order.MaxItems]
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- shop.Run(ctx) }()
		time.Sleep(2 * time.Second)
		stocks, err := memory.Stock(t.Context(), skus...)
		require.NoError(t, err)
		for _, stock := range stocks {
			require.Empty(t, stock.Why)
		}
		cancel()
		require.NoError(t, <-ended)
	})
}

// withoutRedis says that a service does not use a Redis that is not its own, once it
// has looked, and why.
func withoutRedis(t testing.TB, shop *booking.Service, because string) {
	t.Helper()
	eventually(t, func() error {
		_, err := shop.Book(context.Background(), booking.Request{ID: rand.Text(), Customer: "c", Lines: lines("floor", 1)})
		if !errors.Is(err, order.ErrOutcomeUnknown) || !errors.Is(err, inventory.ErrUnavailable) || !strings.Contains(err.Error(), because) {
			return fmt.Errorf("Book: %w", err)
		}
		return nil
	})
}

// mispaired runs two sales that each would rebuild what the other one has. The first one
// sells; the second one is told before the sale, and does no harm, until it takes over.
func mispaired(t *testing.T, first, second stores, finding string) {
	shop := open(t, first)
	floor := order.Item{SKU: "floor", Capacity: 100_000}
	require.NoError(t, shop.PutOnSale(t.Context(), floor))
	background(t, shop)
	eventually(t, func() error {
		canaries, err := first.inventory.Canaries(context.Background(), "", 0)
		if err == nil && !canaries[0].Whole {
			err = errors.New("no canary yet")
		}
		return err
	})

	var log servertest.Output
	other, err := booking.New(booking.Config{
		Inventory: second.inventory, Orders: second.orders, CheckEvery: 20 * time.Millisecond,
		Logger: slog.New(slog.NewTextHandler(&log, nil)),
	})
	require.NoError(t, err)
	findings, err := other.Check(t.Context())
	require.NoError(t, err)
	require.ErrorContains(t, findings.Err(), finding)
	require.ErrorContains(t, findings.Err(), "ReconcileAll with Repair")
	_, _, err = second.orders.PutOnSale(t.Context(), floor)
	require.NoError(t, err)
	before, err := first.orders.Counters(t.Context(), "floor")
	require.NoError(t, err)
	withoutRedis(t, other, "would keep rebuilding") // as Check found it, without Run
	stop := background(t, other)
	eventually(t, func() error {
		if !strings.Contains(log.String(), "level=ERROR") {
			return errors.New("it is not told")
		}
		return nil
	})
	for i := range 20 {
		_, err := shop.Book(t.Context(), request("floor", i))
		require.NoError(t, err)
		withoutRedis(t, other, "would keep rebuilding")
	}
	exact(t, shop)
	after, err := first.orders.Counters(t.Context(), "floor")
	require.NoError(t, err)
	assert.Equal(t, before[0].Epoch, after[0].Epoch, "nothing was rebuilt")
	assert.Equal(t, 1, strings.Count(log.String(), "level=ERROR"), "it is told once a minute: %s", log.String())

	// The second one takes over.
	_, err = other.ReconcileAll(t.Context(), booking.Repair)
	require.NoError(t, err)
	eventually(t, func() error { _, err := other.Book(context.Background(), request("floor", 0)); return err })
	exact(t, other)
	findings, err = other.Check(t.Context())
	require.NoError(t, err)
	require.NotContains(t, fmt.Sprint(findings.Err()), finding)
	findings, err = shop.Check(t.Context())
	require.NoError(t, err)
	require.ErrorContains(t, findings.Err(), finding)
	withoutRedis(t, shop, "would keep rebuilding")
	stop()
}

func TestTwoDatabasesUnderOnePrefix(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, first stores) {
		second := first
		if _, is := first.orders.(*order.Memory); is {
			second.orders = order.NewMemory()
		} else {
			second.orders = onServers(t).orders
		}
		mispaired(t, first, second, "problem: Redis: the store of the canary is another one")
	})
}

func TestOneDatabaseUnderTwoPrefixes(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, first stores) {
		second := at(t, first.client, first.orders)
		mispaired(t, first, second, "problem: PostgreSQL: the inventory of the database is")
	})
}

// A build that can't read what a newer one has written says so, and leaves it alone.
func TestANewerFormatInRedis(t *testing.T) {
	t.Parallel()
	s := embedded(t)
	shop := open(t, s)
	require.NoError(t, shop.PutOnSale(t.Context(), order.Item{SKU: "floor", Capacity: 100_000}))
	plant(t, s)
	require.NoError(t, s.client.HSet(t.Context(), s.prefix+":{0}:canary", "format", inventory.Format+1).Err())
	findings, err := shop.Check(t.Context())
	require.NoError(t, err)
	require.ErrorContains(t, findings.Err(), "the format of the keys is 2, not 1")
	background(t, shop)
	withoutRedis(t, shop, "a newer build")
}
