package soak_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/lastunit/lastunit/booking"
	"github.com/lastunit/lastunit/internal/servertest"
	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(servertest.Wrap(m))
}

const (
	// buyersPerSecond is the rate of buyers, all together. Each makes one call or a few.
	buyersPerSecond = 200

	// mostAtOnce bounds the buyers who are under way; further ones wait for them.
	mostAtOnce = 100

	poolConnections  = 8
	redisConnections = 16
)

// The SKUs. Of the floor units come and go all the time; the balcony's capacity goes up
// and down; of the box a customer may have two; the stage is sold out.
const (
	floor   = "floor"
	balcony = "balcony"
	box     = "box"
	stage   = "stage"
)

var skus = []string{balcony, box, floor, stage}

// shop is a service with connections of its own.
type shop struct {
	*booking.Service
	client *redis.Client
	pool   *pgxpool.Pool
}

// soak is one run.
type soak struct {
	t        *testing.T
	redis    *servertest.Redis
	postgres *servertest.Postgres
	database string

	client    *redis.Client // to measure and to audit, as are these
	pool      *pgxpool.Pool
	inventory *inventory.Redis

	shops   []*shop
	buyers  *buyers
	samples []sample
	took    time.Duration
}

// shortest is how long it runs, at least: until as many buyers have come as on a quiet
// machine do in that time.
const shortest = 8 * time.Second

// TestSoak runs for LASTUNIT_SOAK.
func TestSoak(t *testing.T) {
	length := shortest
	if text := os.Getenv("LASTUNIT_SOAK"); text != "" {
		var err error
		length, err = time.ParseDuration(text)
		require.NoError(t, err, "LASTUNIT_SOAK")
	}
	s := start(t, length)
	stop := s.run()
	s.load(length)
	stop()
	s.audit()
	s.report()
}

// start starts the servers, and puts the SKUs on sale.
func start(t *testing.T, length time.Duration) *soak {
	t.Helper()
	s := &soak{t: t, redis: servertest.StartRedis(t), postgres: servertest.StartPostgres(t)}
	s.database = s.postgres.Database(t)
	s.client = s.redis.Client(t, func(o *redis.Options) { o.PoolSize = 1 })
	s.inventory = inventory.NewRedis(s.client)
	s.pool = connect(t, s.database, 1)
	require.NoError(t, order.Migrate(t.Context(), s.pool))
	for range 2 {
		client := s.redis.Client(t, func(o *redis.Options) { o.PoolSize = redisConnections })
		pool := connect(t, s.database, poolConnections)
		service, err := booking.New(booking.Config{
			Inventory: inventory.NewRedis(client), Orders: order.NewPostgres(pool),
			Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
		})
		require.NoError(t, err)
		s.shops = append(s.shops, &shop{service, client, pool})
	}
	require.NoError(t, s.shops[0].PutOnSale(t.Context(),
		order.Item{SKU: floor, Capacity: 100}, order.Item{SKU: balcony, Capacity: balconyCapacity},
		order.Item{SKU: box, Capacity: 1_000_000, CustomerLimit: 2}, order.Item{SKU: stage, Capacity: 10},
	))
	s.buyers = newBuyers(s, length)
	return s
}

func connect(t *testing.T, url string, connections int32) *pgxpool.Pool {
	t.Helper()
	config, err := pgxpool.ParseConfig(url)
	require.NoError(t, err)
	config.MaxConns = connections
	pool, err := pgxpool.NewWithConfig(context.Background(), config)
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	return pool
}

// run does the background work of both services until it is stopped.
func (s *soak) run() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var work sync.WaitGroup
	for _, shop := range s.shops {
		work.Go(func() {
			if err := shop.Run(ctx); err != nil {
				s.t.Error(err)
			}
		})
	}
	stopped := sync.OnceFunc(func() {
		cancel()
		work.Wait()
	})
	s.t.Cleanup(stopped)
	return func() {
		// What was left behind is mended while they still run.
		s.exact()
		stopped()
	}
}

// load sends buyers at the services for so long, and measures all the time.
func (s *soak) load(length time.Duration) {
	s.t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	come := make(chan int)
	var others, buying sync.WaitGroup
	others.Go(func() { s.changeCapacities(ctx) })
	others.Go(func() { s.rebuild(ctx) })
	others.Go(func() { s.crowds(ctx) })
	others.Go(func() { s.measure(come) })

	began := time.Now()
	fewest := int(shortest.Seconds() * buyersPerSecond)
	expected := int(length.Seconds() * buyersPerSecond)
	places := make(chan struct{}, mostAtOnce)
	for n := range every(ctx, time.Second/buyersPerSecond) {
		if n >= expected || n >= fewest && time.Since(began) >= length {
			break
		}
		if n%(expected/(10*samples)) == 0 {
			come <- n // and no further until the one before it is measured
		}
		places <- struct{}{}
		buying.Go(func() {
			defer func() { <-places }()
			s.buyers.buy(n)
		})
	}
	s.took = time.Since(began)
	close(come)
	stop()
	buying.Wait()
	others.Wait()
}

// every counts from 0 on, one a period, until the context ends.
func every(ctx context.Context, period time.Duration) func(func(int) bool) {
	return func(yield func(int) bool) {
		ticker := time.NewTicker(period)
		defer ticker.Stop()
		for n := 0; ; n++ {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
				if !yield(n) {
					return
				}
			}
		}
	}
}

// eventually polls until the check returns nothing.
func (s *soak) eventually(check func() error) {
	s.t.Helper()
	require.NoError(s.t, servertest.Eventually(patience, check))
}

// patience bounds all waiting for something that must come.
const patience = 3 * time.Minute

// stockKey is the key of a SKU's counters and deductions in Redis.
func stockKey(sku string) string { return inventory.DefaultKeyPrefix + ":{" + sku + "}:stock" }

func name(kind string, n int) string { return fmt.Sprintf("%s-%d", kind, n) }
