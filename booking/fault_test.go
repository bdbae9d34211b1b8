package booking_test

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"sync/atomic"
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

// rush sends buyers at a SKU with a capacity, lets a fault happen when half of
// the units are acknowledged, and audits the books afterwards.
func rush(t *testing.T, s stores, fault func()) {
	t.Helper()
	const capacity, buyers, atOnce = 300, 900, 50
	shops := []*booking.Service{open(t, s), open(t, s)}
	background(t, shops[0])
	item := order.Item{SKU: "floor", Capacity: capacity}
	require.NoError(t, shops[0].PutOnSale(t.Context(), item))

	var acknowledged sync.Map
	var count atomic.Int64
	half := make(chan struct{})
	next := make(chan int)
	var group sync.WaitGroup
	for worker := range atOnce {
		group.Go(func() {
			for i := range next {
				o, err := book(shops[worker%2], request("floor", i))
				if err != nil {
					assert.ErrorIs(t, err, inventory.ErrSoldOut)
					continue
				}
				acknowledged.Store(o.ID, true)
				if count.Add(1) == capacity/2 {
					close(half)
				}
			}
		})
	}
	go func() {
		defer close(next)
		for i := range buyers {
			next <- i
		}
	}()
	<-half
	before := count.Load()
	fault()
	require.Less(t, before, int64(capacity), "the fault came in the middle")
	group.Wait()

	audit := sale{acknowledged: make(map[string]bool)}
	acknowledged.Range(func(id, _ any) bool { audit.acknowledged[id.(string)] = true; return true })
	audit.audit(t, shops[0], s, item)
	assert.Len(t, audit.acknowledged, capacity)
}

// private are stores on servers of the test's own, which it may kill.
func private(t *testing.T) (stores, *servertest.Redis, *servertest.Postgres) {
	redisServer, postgres := servertest.StartRedis(t), servertest.StartPostgres(t)
	return at(t, redisServer.Client(t), order.NewPostgres(migrated(t, postgres.Database(t)))), redisServer, postgres
}

// onPrivateRedis are stores on a Redis of the test's own and a shared Postgres.
func onPrivateRedis(t *testing.T) (stores, *servertest.Redis) {
	server := servertest.StartRedis(t)
	return at(t, server.Client(t), order.NewPostgres(migrated(t, servertest.SharedPostgres(t).Database(t)))), server
}

func TestRedisKilledWithoutPersistence(t *testing.T) {
	t.Parallel()
	s, server := onPrivateRedis(t)
	rush(t, s, func() {
		server.Kill()
		server.Restart()
	})
}

func TestFlushAll(t *testing.T) {
	t.Parallel()
	s, _ := onPrivateRedis(t)
	rush(t, s, func() {
		for range 3 {
			require.NoError(t, s.client.FlushAll(context.Background()).Err())
			require.NoError(t, s.client.ScriptFlush(context.Background()).Err())
		}
	})
}

func TestOldSnapshotComesBack(t *testing.T) {
	t.Parallel()
	s := onServers(t)
	key := s.prefix + ":{floor}:stock"
	snapshot := make(chan map[string]string, 1)
	go func() { // as soon as there is something to save
		for {
			hash, err := s.client.HGetAll(context.Background(), key).Result()
			if err != nil || hash["taken"] != "" && hash["taken"] != "0" {
				snapshot <- hash
				return
			}
			time.Sleep(time.Millisecond) // between polls
		}
	}()
	rush(t, s, func() {
		hash := <-snapshot
		_, err := s.client.TxPipelined(context.Background(), func(pipe redis.Pipeliner) error {
			pipe.Del(context.Background(), key)
			pipe.HSet(context.Background(), key, hash)
			return nil
		})
		require.NoError(t, err)
	})
}

func TestPostgresKilledAndRestarted(t *testing.T) {
	t.Parallel()
	s, _, postgres := private(t)
	rush(t, s, func() {
		postgres.Kill()
		postgres.Restart()
	})
}

func TestEveryConnectionCut(t *testing.T) {
	t.Parallel()
	redisServer, postgres := servertest.SharedRedis(t), servertest.SharedPostgres(t)
	redisProxy, postgresProxy := servertest.StartProxy(t, redisServer.Addr()), servertest.StartProxy(t, postgres.Addr())
	database := postgres.Database(t)
	migrated(t, database)
	s := at(t, redisServer.Client(t, func(o *redis.Options) { o.Addr = redisProxy.Addr() }),
		order.NewPostgres(connect(t, postgresProxy.URL(database))))
	rush(t, s, func() {
		for range 5 {
			redisProxy.CutAll()
			postgresProxy.CutAll()
		}
	})
}

// counting are stores that count.
type counting struct {
	inventory.InventoryRepository
	deductions atomic.Int64
}

func (c *counting) Deduct(ctx context.Context, r inventory.Request) (inventory.Deduction, error) {
	c.deductions.Add(1)
	return c.InventoryRepository.Deduct(ctx, r)
}

// isScript matches a script's call on the wire.
func isScript(request []byte) bool {
	return bytes.Contains(bytes.ToLower(request), []byte("\r\nevalsha\r\n"))
}

// go-redis sends a script again when its reply was lost: one deduction all the same.
func TestLostReplyOfADeduct(t *testing.T) {
	t.Parallel()
	for name, times := range map[string]int{"once": 1, "three times": 3} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := servertest.StartRedis(t)
			proxy := servertest.StartProxy(t, server.Addr())
			client := server.Client(t, func(o *redis.Options) { o.Addr = proxy.Addr() })
			s := at(t, client, order.NewPostgres(migrated(t, servertest.SharedPostgres(t).Database(t))))
			shop := open(t, s)
			require.NoError(t, shop.PutOnSale(t.Context(), order.Item{SKU: "floor", Capacity: 10}))
			_, err := shop.Book(t.Context(), request("floor", 0)) // Redis knows the scripts now
			require.NoError(t, err)
			exact(t, shop)

			counted := &counting{InventoryRepository: s.inventory}
			s.inventory = counted
			shop = open(t, s)
			proxy.DropReplyTo(times, isScript)
			o, err := shop.Book(t.Context(), request("floor", 1))
			require.NoError(t, err)
			assert.Equal(t, order.Confirmed, o.Status)
			assert.EqualValues(t, 1, counted.deductions.Load(), "the service asked once")
			assert.GreaterOrEqual(t, proxy.Dropped(), times, "its replies were lost")
			exact(t, shop)
			stocks, err := s.inventory.Stock(t.Context(), "floor")
			require.NoError(t, err)
			assert.EqualValues(t, 2, stocks[0].Taken, "one deduction for each order")
		})
	}
}

// The connection to Postgres breaks around a commit, before or after Postgres
// took it: the caller gets the order either way, once.
func TestConnectionCutAtCommit(t *testing.T) {
	t.Parallel()
	isCommit := func(request []byte) bool { return bytes.Contains(request, []byte("floor-1")) }
	for name, fault := range map[string]func(*servertest.Proxy){
		"before": func(p *servertest.Proxy) { p.CutBefore(1, isCommit) },
		"after":  func(p *servertest.Proxy) { p.DropReplyTo(1, isCommit) },
		"twice":  func(p *servertest.Proxy) { p.DropReplyTo(1, isCommit); p.CutBefore(1, isCommit) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			postgres := servertest.SharedPostgres(t)
			proxy := servertest.StartProxy(t, postgres.Addr())
			database := postgres.Database(t)
			migrated(t, database)
			s := at(t, servertest.SharedRedis(t).Client(t), order.NewPostgres(connect(t, proxy.URL(database))))
			shop := open(t, s)
			background(t, shop)
			require.NoError(t, shop.PutOnSale(t.Context(), order.Item{SKU: "floor", Capacity: 10}))
			_, err := shop.Book(t.Context(), request("floor", 0))
			require.NoError(t, err)
			fault(proxy)
			o, err := shop.Book(t.Context(), request("floor", 1))
			require.NoError(t, err)
			assert.Equal(t, order.Confirmed, o.Status)
			assert.NotZero(t, proxy.Dropped(), "the connection was cut")
			exact(t, shop)
			assert.EqualValues(t, 2, sold(t, s, "floor"))
		})
	}
}

// A call that fails and is applied later: the caller is told that the outcome is
// unknown, and the same ID gets the right answer.
func TestRedisPausedForASecond(t *testing.T) {
	t.Parallel()
	s, server := onPrivateRedis(t)
	shop := open(t, s)
	background(t, shop)
	require.NoError(t, shop.PutOnSale(t.Context(), order.Item{SKU: "floor", Capacity: 1}))
	server.Pause()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	began := time.Now()
	_, err := shop.Book(ctx, request("floor", 0))
	require.ErrorIs(t, err, order.ErrOutcomeUnknown)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	assert.Less(t, time.Since(began), 3*time.Second, "whatever the client does with a context")
	server.Resume()
	o, err := book(shop, request("floor", 0))
	require.NoError(t, err)
	assert.Equal(t, order.Confirmed, o.Status)
	exact(t, shop)
	assert.EqualValues(t, 1, sold(t, s, "floor"))
}

// Redis is gone: a quick and retryable error, never "sold out".
func TestRedisGone(t *testing.T) {
	t.Parallel()
	s, server := onPrivateRedis(t)
	shop := open(t, s)
	require.NoError(t, shop.PutOnSale(t.Context(), order.Item{SKU: "floor", Capacity: 1}))
	_, err := shop.Book(t.Context(), request("floor", 0))
	require.NoError(t, err)
	server.Kill()
	_, err = shop.Book(t.Context(), request("floor", 1))
	require.ErrorIs(t, err, order.ErrOutcomeUnknown)
	require.ErrorIs(t, err, inventory.ErrUnavailable)
	require.NotErrorIs(t, err, inventory.ErrSoldOut)
	stock, err := shop.Stock(t.Context(), "floor")
	require.NoError(t, err, "Postgres knows it")
	assert.Equal(t, booking.Stock{SKU: "floor", Capacity: 1, Allocated: 1}, stock)
}

// A Postgres that fails must not drain Redis into "sold out".
func TestPostgresGone(t *testing.T) {
	t.Parallel()
	s, _, postgres := private(t)
	shop := open(t, s)
	require.NoError(t, shop.PutOnSale(t.Context(), order.Item{SKU: "floor", Capacity: 5}))
	_, err := shop.Book(t.Context(), request("floor", 0))
	require.NoError(t, err)
	eventually(t, func() error { // it is settled behind the answer
		stocks, err := s.inventory.Stock(t.Context(), "floor")
		if err == nil && stocks[0].Unsettled != 0 {
			err = errors.New("unsettled")
		}
		return err
	})
	postgres.Kill()
	var group sync.WaitGroup
	for i := range 50 {
		group.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
			defer cancel()
			_, err := shop.Book(ctx, request("floor", 1+i))
			assert.ErrorIs(t, err, order.ErrOutcomeUnknown)
			assert.NotErrorIs(t, err, inventory.ErrSoldOut)
		})
	}
	group.Wait()
	postgres.Restart()
	background(t, shop)
	for i := range 4 {
		_, err := book(shop, request("floor", 1+i))
		require.NoError(t, err)
	}
	exact(t, shop)
	assert.EqualValues(t, 5, sold(t, s, "floor"))
}

// A connection pool that is exhausted by others: bounded waiting and a clear error.
func TestPoolExhausted(t *testing.T) {
	t.Parallel()
	database := servertest.SharedPostgres(t).Database(t)
	migrated(t, database)
	config, err := pgxpool.ParseConfig(database)
	require.NoError(t, err)
	config.MaxConns = 1
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	require.NoError(t, err)
	defer pool.Close()
	s := at(t, servertest.SharedRedis(t).Client(t), order.NewPostgres(pool))
	shop := open(t, s)
	require.NoError(t, shop.PutOnSale(t.Context(), order.Item{SKU: "floor", Capacity: 2}))
	taken, err := pool.Acquire(t.Context())
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	_, err = shop.Book(ctx, request("floor", 0))
	require.ErrorIs(t, err, order.ErrOutcomeUnknown)
	taken.Release()
	_, err = book(shop, request("floor", 0))
	require.NoError(t, err)
	background(t, shop)
	exact(t, shop)
	assert.EqualValues(t, 1, sold(t, s, "floor"))
}

// An order that a constraint of the user's own refuses fails alone, for good,
// and takes nothing.
func TestRejectedOrder(t *testing.T) {
	t.Parallel()
	pool := migrated(t, servertest.SharedPostgres(t).Database(t))
	_, err := pool.Exec(t.Context(), "alter table lastunit.orders add check (customer <> 'customer-7')")
	require.NoError(t, err)
	s := at(t, servertest.SharedRedis(t).Client(t), order.NewPostgres(pool))
	shop := open(t, s)
	background(t, shop)
	require.NoError(t, shop.PutOnSale(t.Context(), order.Item{SKU: "floor", Capacity: 100}))
	var group sync.WaitGroup
	for i := range 50 {
		group.Go(func() {
			_, err := shop.Book(context.Background(), request("floor", i))
			if i != 7 {
				assert.NoError(t, err)
				return
			}
			assert.ErrorIs(t, err, order.ErrRejected)
			assert.NotErrorIs(t, err, order.ErrOutcomeUnknown)
		})
	}
	group.Wait()
	exact(t, shop)
	assert.EqualValues(t, 49, sold(t, s, "floor"))
}
