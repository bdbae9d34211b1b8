package booking_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/booking"
	"github.com/lastunit/lastunit/internal/servertest"
	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

// sharded is a sale on a cluster of which one node is going to hang.
type sharded struct {
	t             *testing.T
	node          *servertest.Redis // that does
	client        *redis.ClusterClient
	inventory     *inventory.Redis
	orders        order.Store
	shop          *booking.Service
	prefix        string       // of the keys
	sick, healthy []string     // SKUs
	underWay      atomic.Int64 // scripts
}

func onCluster(t *testing.T, cluster *servertest.RedisCluster, change ...func(*redis.ClusterOptions)) *sharded {
	s := &sharded{t: t, node: cluster.Node(0), orders: order.NewMemory()}
	s.client = cluster.Client(t, append(change, func(o *redis.ClusterOptions) { o.ContextTimeoutEnabled = true })...)
	s.prefix = "test-" + rand.Text()
	s.inventory = inventory.NewRedis(s.client, inventory.WithKeyPrefix(s.prefix))
	s.shop = open(t, stores{inventory: s.inventory, orders: s.orders})
	var items []order.Item
	for i := range 60 {
		sku := fmt.Sprint("sku-", i)
		items = append(items, order.Item{SKU: sku, Capacity: 1000})
		if cluster.MasterOf(s.key(sku)) == 0 {
			s.sick = append(s.sick, sku)
		} else {
			s.healthy = append(s.healthy, sku)
		}
	}
	require.NoError(t, s.shop.PutOnSale(t.Context(), items...))
	s.client.AddHook(s)
	return s
}

func (s *sharded) key(sku string) string { return s.prefix + ":{" + sku + "}:stock" }

func (s *sharded) DialHook(next redis.DialHook) redis.DialHook { return next }

func (s *sharded) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if strings.HasPrefix(cmd.Name(), "eval") {
			s.underWay.Add(1)
			defer s.underWay.Add(-1)
		}
		return next(ctx, cmd)
	}
}

func (s *sharded) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		if strings.HasPrefix(cmds[0].Name(), "eval") {
			s.underWay.Add(1)
			defer s.underWay.Add(-1)
		}
		return next(ctx, cmds)
	}
}

// hang stops the node until the test ends, or until the returned function is called.
func (s *sharded) hang() (resume func()) {
	s.node.Pause()
	resume = sync.OnceFunc(s.node.Resume)
	s.t.Cleanup(resume)
	return resume
}

// strand leaves a deduction of each SKU behind.
func (s *sharded) strand(attempt string) {
	s.t.Helper()
	for _, sku := range s.healthy {
		c, err := s.orders.Counters(s.t.Context(), sku)
		require.NoError(s.t, err)
		_, err = s.inventory.Deduct(s.t.Context(), inventory.Request{
			SKU: sku, Store: c[0].Store, Attempt: attempt + sku, OrderID: attempt + sku, Customer: "carol", Quantity: 1,
		})
		require.NoError(s.t, err)
	}
}

func (s *sharded) stranded() (units int64) {
	stocks, err := s.inventory.Stock(context.Background(), s.healthy...)
	require.NoError(s.t, err)
	for _, stock := range stocks {
		units += stock.Unsettled
	}
	return units
}

// One node of a cluster hangs: what is on the others is sold, swept and repaired as ever.
func TestBesideANodeThatHangs(t *testing.T) {
	t.Parallel()
	cluster := servertest.StartRedisCluster(t, time.Hour) // nobody takes its place
	t.Run("sold", func(t *testing.T) {
		s := onCluster(t, cluster, func(o *redis.ClusterOptions) { o.ReadTimeout = patience })
		for i, sku := range append(s.sick, s.healthy...) {
			_, err := book(s.shop, request(sku, i))
			require.NoError(t, err)
		}
		resume := s.hang()
		var group sync.WaitGroup
		t.Cleanup(group.Wait)
		t.Cleanup(resume)
		for i := range 5 * len(s.sick) {
			group.Go(func() { _, _ = s.shop.Book(context.Background(), request(s.sick[i%len(s.sick)], 1000+i)) })
		}
		eventually(t, func() error {
			if s.underWay.Load() < 2 {
				return fmt.Errorf("nobody waits for the node")
			}
			return nil
		})
		for i, sku := range s.healthy { // those who wait for the node wait twice as long
			ctx, cancel := context.WithTimeout(context.Background(), callTimeout/2)
			_, err := s.shop.Book(ctx, request(sku, 2000+i))
			cancel()
			require.NoError(t, err, "%s, %d of %d", sku, i, len(s.healthy))
		}
	})
	t.Run("swept", func(t *testing.T) {
		s := onCluster(t, cluster)
		s.strand("left ")
		resume := s.hang()
		background(t, s.shop)
		t.Cleanup(resume) // before Run is waited for
		eventually(t, func() error {
			if units := s.stranded(); units != 0 {
				return fmt.Errorf("%d units were left behind", units)
			}
			return nil
		})
	})
	t.Run("read", func(t *testing.T) {
		s := onCluster(t, cluster)
		s.strand("in flight ")
		s.hang()
		eventually(t, func() error { // a slow machine may need a second try
			stocks, err := s.shop.Stocks(t.Context(), append(s.sick, s.healthy...)...)
			require.NoError(t, err)
			for i, stock := range stocks {
				inFlight := int64(0)
				if i >= len(s.sick) {
					inFlight = 1
				}
				if stock.InFlight != inFlight || stock.Available != 1000-inFlight {
					return fmt.Errorf("%d units in flight: %+v", inFlight, stock)
				}
			}
			return nil
		})
	})
	t.Run("reconciled", func(t *testing.T) {
		s := onCluster(t, cluster)
		resume := s.hang()
		wiped := s.healthy[3]
		require.NoError(t, s.client.Del(t.Context(), s.key(wiped)).Err())
		c, err := s.orders.Counters(t.Context(), wiped)
		require.NoError(t, err)
		want := []booking.Difference{{SKU: wiped, Kind: booking.KindMissing, Postgres: c[0].Epoch}}
		found, err := s.shop.ReconcileAll(t.Context(), booking.DryRun)
		require.ErrorIs(t, err, inventory.ErrUnavailable)
		assert.NotErrorIs(t, err, order.ErrOutcomeUnknown)
		assert.Equal(t, want, found)
		found, err = s.shop.ReconcileAll(t.Context(), booking.Repair)
		require.ErrorIs(t, err, inventory.ErrUnavailable)
		require.ErrorIs(t, err, order.ErrOutcomeUnknown)
		assert.Equal(t, want, found)
		found, err = s.shop.Reconcile(t.Context(), booking.DryRun, s.healthy...)
		require.NoError(t, err, "nobody else is asked")
		assert.Empty(t, found)
		resume()
		eventually(t, func() error {
			found, err := s.shop.ReconcileAll(t.Context(), booking.DryRun)
			if err == nil {
				assert.Empty(t, found, "the books are exact")
			}
			return err
		})
	})
}
