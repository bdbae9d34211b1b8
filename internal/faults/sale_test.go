package faults_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/booking"
	"github.com/lastunit/lastunit/internal/servertest"
	"github.com/lastunit/lastunit/internal/testdb"
	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

// setup says what a sale is to be like. Each field may be left out.
type setup struct {
	redis    *servertest.Redis    // the row's own, to do harm to; defaults to a shared one
	postgres *servertest.Postgres // likewise

	capacity int64 // defaults to some hundred units, a thousand in full
	shops    int   // services; defaults to 2
	idle     bool  // no service does its background work, until sale.work

	clientOptions func(*redis.Options)                 // changes those of the services' Redis client
	poolOptions   func(*pgxpool.Config)                // changes those of the services' pool
	config        func(*booking.Config)                // changes that of every service
	client        func(shop int) redis.UniversalClient // of a service, or of noShop, in place of one to redis through the proxy, as to a cluster
	options       []inventory.Option                   // of the inventory
	orders        func(order.Store) order.Store        // wraps the services' store
}

// sale is a SKU that is sold by some services, with a proxy between them and each of
// the two servers, so that the connections of this sale alone can be disturbed.
type sale struct {
	t testing.TB

	redis         *servertest.Redis
	postgres      *servertest.Postgres
	redisProxy    *servertest.Proxy // what the services' client goes through, unless setup has a client
	postgresProxy *servertest.Proxy
	database      string // URL, past the proxy
	prefix        string // of the keys in Redis

	client *redis.Client   // past the proxy, to inject faults; to the server alone
	pool   *pgxpool.Pool   // past the proxy
	orders *order.Postgres // past the proxy, for the audit

	shops     []*booking.Service
	inventory *inventory.Redis // past the proxy, to look at
	capacity  int64            // of the SKU
	told      *told
	watch     *watch
	probes    int           // orders of the probe
	restarted chan struct{} // closed when a restart in the background is over

	// mayBeSold is for rows that lower the capacity below what is sold: so many units
	// may then be sold all the same.
	mayBeSold atomic.Int64
}

// The SKUs of every sale: the one that is in demand, and one that never sells out, on
// which it is seen when the services sell again.
const (
	floor = "floor"
	probe = "probe"
)

const probeCapacity = 1_000_000

// noShop stands for who looks at Redis, where a client is asked for.
const noShop = -1

// begin puts a SKU on sale, with services that run.
func begin(t testing.TB, with setup) *sale {
	t.Helper()
	s := &sale{t: t, redis: with.redis, postgres: with.postgres, capacity: with.capacity, told: newTold(), prefix: "faults-" + rand.Text()}
	if s.redis == nil {
		s.redis = servertest.SharedRedis(t)
	}
	if s.postgres == nil {
		s.postgres = servertest.SharedPostgres(t)
	}
	if s.capacity == 0 {
		s.capacity = either[int64](1000, 200)
	}
	if with.shops == 0 {
		with.shops = 2
	}
	s.pool = testdb.Pool(t, s.postgres, func(t testing.TB, url string) *pgxpool.Pool { return connect(t, url, nil) })
	s.database = s.pool.Config().ConnString()
	s.redisProxy, s.postgresProxy = servertest.StartProxy(t, s.redis.Addr()), servertest.StartProxy(t, s.postgres.Addr())
	s.client = s.redis.Client(t)
	s.orders = order.NewPostgres(s.pool)

	var looks redis.UniversalClient = s.client
	if with.client != nil {
		looks = with.client(noShop)
	}
	s.inventory = inventory.NewRedis(looks, inventory.WithKeyPrefix(s.prefix))
	for shop := range with.shops {
		var client redis.UniversalClient
		if with.client != nil {
			client = with.client(shop)
		} else {
			client = s.redis.Client(t, func(o *redis.Options) {
				o.Addr = s.redisProxy.Addr()
				if with.clientOptions != nil {
					with.clientOptions(o)
				}
			})
		}
		s.shops = append(s.shops, s.service(with, client, connect(t, s.postgresProxy.URL(s.database), with.poolOptions)))
	}
	eventually(t, func() error { // Postgres may end statements soon
		return s.shops[0].PutOnSale(t.Context(),
			order.Item{SKU: floor, Capacity: s.capacity}, order.Item{SKU: probe, Capacity: probeCapacity})
	})
	if !with.idle {
		s.work()
	}
	s.watch = s.startWatch()
	return s
}

// work lets the services do their background work until the test ends.
func (s *sale) work() {
	s.t.Helper()
	for _, shop := range s.shops {
		background(s.t, shop)
	}
}

// service makes a service of the sale. It does no background work yet.
func (s *sale) service(with setup, client redis.UniversalClient, pool *pgxpool.Pool) *booking.Service {
	s.t.Helper()
	var orders order.Store = order.NewPostgres(pool)
	if with.orders != nil {
		orders = with.orders(orders)
	}
	config := booking.Config{
		Inventory: inventory.NewRedis(client, append([]inventory.Option{inventory.WithKeyPrefix(s.prefix)}, with.options...)...),
		Orders:    orders, Logger: quiet,
	}
	hasten(&config)
	if with.config != nil {
		with.config(&config)
	}
	shop, err := booking.New(config)
	require.NoError(s.t, err)
	return shop
}

// far is a service of the sale with proxies of its own, which no other one goes
// through, and without background work.
func (s *sale) far(with setup) (shop *booking.Service, redisProxy, postgresProxy *servertest.Proxy) {
	s.t.Helper()
	redisProxy, postgresProxy = servertest.StartProxy(s.t, s.redis.Addr()), servertest.StartProxy(s.t, s.postgres.Addr())
	client := s.redis.Client(s.t, func(o *redis.Options) { o.Addr = redisProxy.Addr() })
	shop = s.service(with, client, connect(s.t, postgresProxy.URL(s.database), with.poolOptions))
	return shop, redisProxy, postgresProxy
}

// stock is what Redis has of the SKU in demand.
func (s *sale) stock() inventory.Stock {
	s.t.Helper()
	stocks, err := s.inventory.Stock(context.Background(), floor)
	require.NoError(s.t, err)
	return stocks[0]
}

// hasten makes a service sweep and check soon, for a short test: later than a busy machine
// commits, or nobody would get an order there.
func hasten(config *booking.Config) {
	config.SweepAfter = either(config.SweepAfter, time.Second)
	config.CheckEvery = either(config.CheckEvery, 200*time.Millisecond)
}

// quiet is a logger for faults that are meant.
var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

// connect makes a pool that ends with the test.
func connect(t testing.TB, url string, change func(*pgxpool.Config)) *pgxpool.Pool {
	t.Helper()
	config, err := pgxpool.ParseConfig(url)
	require.NoError(t, err)
	config.MaxConns = either[int32](8, 4) // each takes a server what a hundred orders take
	if change != nil {
		change(config)
	}
	pool, err := pgxpool.NewWithConfig(context.Background(), config)
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	return pool
}

// background runs a service's background work until the test ends.
func background(t testing.TB, shop *booking.Service) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- shop.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("Run: %v", err)
			}
		case <-time.After(patience):
			t.Error("Run does not return")
		}
	})
}

// stockKey is the key of a SKU's counters and deductions in Redis.
func (s *sale) stockKey(sku string) string { return s.prefix + ":{" + sku + "}:stock" }

// request is an order of one unit, of buyer i.
func request(sku string, i int) booking.Request {
	return booking.Request{
		ID: fmt.Sprintf("%s-%d", sku, i), Customer: fmt.Sprint("customer-", i),
		Lines: []order.Line{{SKU: sku, Quantity: 1}},
	}
}

// eventually polls until the check returns nothing.
func eventually(t testing.TB, check func() error) {
	t.Helper()
	require.NoError(t, servertest.Eventually(patience, check))
}

// missing is an error unless there is none missing.
func missing(n int, of string) error {
	if n > 0 {
		return fmt.Errorf("%d %s are missing", n, of)
	}
	return nil
}

// patience bounds all waiting for something that must come.
const patience = 5 * time.Minute
