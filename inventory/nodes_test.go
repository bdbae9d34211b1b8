package inventory_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/internal/servertest"
	"github.com/lastunit/lastunit/inventory"
)

// bystanders bounds what has nothing to do with the node that hangs: less than a batch
// that goes there takes, and far more than a busy machine needs.
const bystanders = hung / 2

// hung is for how long a client waits for a node that hangs, unless a context says less.
const hung = time.Minute

// spread is SKUs on several nodes, one of which is going to hang.
type spread struct {
	t             *testing.T
	repo          *inventory.Redis
	sick, healthy []string
	underWay      atomic.Int64 // scripts
}

// across loads SKUs on all nodes of a client; sick says whose node is going to hang.
func across(t *testing.T, client redis.UniversalClient, sick func(key string) bool) *spread {
	t.Helper()
	s := &spread{t: t, repo: inventory.NewRedis(client, inventory.WithKeyPrefix("test-"+rand.Text()))}
	var supplies []inventory.Supply
	for i := range 60 {
		sku := fmt.Sprint("sku-", i)
		supplies = append(supplies, inventory.Supply{SKU: sku, Store: store, Epoch: 1, Version: 1, Units: 1000})
		if sick(s.repo.StockKey(sku)) {
			s.sick = append(s.sick, sku)
		} else {
			s.healthy = append(s.healthy, sku)
		}
	}
	require.NoError(t, s.repo.Load(background(t), supplies...))
	d, err := s.deduct(background(t), s.healthy[0], "warm up") // Redis's clock is known
	require.NoError(t, err)
	require.NoError(t, s.repo.Restore(background(t), d))
	client.AddHook(s)
	return s
}

func (s *spread) DialHook(next redis.DialHook) redis.DialHook { return next }

func (s *spread) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if ours(cmd) {
			s.underWay.Add(1)
			defer s.underWay.Add(-1)
		}
		return next(ctx, cmd)
	}
}

func (s *spread) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		if ours(cmds...) {
			s.underWay.Add(1)
			defer s.underWay.Add(-1)
		}
		return next(ctx, cmds)
	}
}

func (s *spread) deduct(ctx context.Context, sku, attempt string) (inventory.Deduction, error) {
	return s.repo.Deduct(ctx, inventory.Request{
		SKU: sku, Store: store, Attempt: attempt, OrderID: "order of " + attempt, Customer: "carol", Quantity: 1,
	})
}

func (s *spread) prefix() string {
	prefix, _, _ := strings.Cut(s.repo.StockKey(""), ":")
	return prefix
}

func (s *spread) all() []string { return append(append([]string(nil), s.sick...), s.healthy...) }

// waiting lets callers wait for the SKUs of the node that hangs, until the test ends.
func (s *spread) waiting() {
	ctx, leave := context.WithCancel(background(s.t))
	var callers sync.WaitGroup
	for i := range 200 {
		callers.Go(func() {
			_, _ = s.deduct(ctx, s.sick[i%len(s.sick)], fmt.Sprint("waits ", i))
		})
	}
	s.t.Cleanup(func() { leave(); callers.Wait() })
	eventually(s.t, "they wait for the node", func() bool { return s.underWay.Load() > 1 })
}

// othersAreServed deducts, accepts, restores and loads on the other nodes.
func (s *spread) othersAreServed() {
	s.t.Helper()
	within := func(do func(ctx context.Context) error) {
		s.t.Helper()
		ctx, cancel := context.WithTimeout(context.Background(), bystanders)
		defer cancel()
		require.NoError(s.t, do(ctx))
	}
	for _, sku := range s.healthy {
		within(func(ctx context.Context) error {
			d, err := s.deduct(ctx, sku, "a")
			if err != nil {
				return err
			}
			if _, err := s.repo.Accept(ctx, "an order", d); err != nil {
				return err
			}
			d.Accepted = "an order"
			return s.repo.Restore(ctx, d)
		})
	}
}

func (s *spread) unsettled(sku string) int64 {
	stocks, err := s.repo.Stock(background(s.t), sku)
	require.NoError(s.t, err)
	return stocks[0].Unsettled
}

func TestNodes(t *testing.T) {
	t.Parallel()                                          // on servers of its own: most of it is waiting
	cluster := servertest.StartRedisCluster(t, time.Hour) // nobody takes its place
	for name, test := range map[string]func(*testing.T, *servertest.RedisCluster){
		"one that hangs holds up nobody else": hangsAlone,
		"stock beside one that hangs":         stockBeside,
		"stock for somebody in a hurry":       stockInAHurry,
		"a canary on each":                    canaryOnEach,
	} {
		t.Run(name, func(t *testing.T) { test(t, cluster) })
	}
}

func hangsAlone(t *testing.T, cluster *servertest.RedisCluster) {
	bounded := func(o *redis.ClusterOptions) { o.ContextTimeoutEnabled, o.ReadTimeout = true, hung }
	s := across(t, cluster.Client(t, bounded), func(key string) bool { return cluster.MasterOf(key) == 0 })
	ctx := background(t)
	sick, err := s.deduct(ctx, s.sick[0], "both")
	require.NoError(t, err)
	healthy, err := s.deduct(ctx, s.healthy[0], "both")
	require.NoError(t, err)

	cluster.Node(0).Pause()
	s.waiting()
	t.Cleanup(cluster.Node(0).Resume) // before those who wait are waited for
	s.othersAreServed()

	t.Run("an order of both", func(t *testing.T) {
		ctx, cancel := context.WithCancel(ctx)
		var calls sync.WaitGroup
		defer func() { cancel(); calls.Wait() }()
		calls.Go(func() {
			_, err := s.repo.Accept(ctx, "an order", sick, healthy)
			unavailable(t, err)
		})
		eventually(t, "it is kept where it can be", func() bool {
			found, err := s.repo.Unsettled(ctx, store, healthy.SKU, 0, 10)
			return err == nil && len(found) == 1 && found[0].Accepted == "an order"
		})
		sick.Accepted, healthy.Accepted = "an order", "an order"
		calls.Go(func() { unavailable(t, s.repo.Restore(ctx, sick, healthy)) })
		eventually(t, "it is restored where it can be", func() bool { return s.unsettled(healthy.SKU) == 0 })
	})
	t.Run("a load of both", func(t *testing.T) {
		ctx, cancel := context.WithCancel(ctx)
		loaded := make(chan error, 1)
		go func() {
			var supplies []inventory.Supply
			for _, sku := range s.all() {
				supplies = append(supplies, inventory.Supply{SKU: sku, Store: store, Epoch: 2, Version: 2, Units: 1000})
			}
			loaded <- s.repo.Load(ctx, supplies...)
		}()
		eventually(t, "the others are loaded", func() bool {
			stocks, err := s.repo.Stock(ctx, s.healthy...)
			require.NoError(t, err)
			for _, stock := range stocks {
				if stock.Epoch != 2 {
					return false
				}
			}
			return true
		})
		cancel()
		unavailable(t, <-loaded)
	})
	t.Run("a process that starts", func(t *testing.T) {
		for range 4 { // it asks any node where the keys are
			client := cluster.Client(t, bounded, func(o *redis.ClusterOptions) { o.ReadTimeout = 200 * time.Millisecond })
			started := &spread{t: t, healthy: s.healthy, repo: inventory.NewRedis(client, inventory.WithKeyPrefix(s.prefix()))}
			started.othersAreServed()
		}
	})
}

// Who hangs is replaced: its SKUs don't wait for what is on its way to it still.
func TestLanesFollowAFailover(t *testing.T) {
	t.Parallel() // on servers of its own: most of it is waiting
	cluster := servertest.StartRedisCluster(t, time.Second)
	client := cluster.Client(t, func(o *redis.ClusterOptions) {
		o.ContextTimeoutEnabled, o.ReadTimeout, o.ClusterStateReloadInterval = true, hung, time.Second // else it may ask who is gone for a minute
	})
	s := across(t, client, func(key string) bool { return cluster.MasterOf(key) == 0 })
	cluster.Node(0).Pause()
	s.waiting()
	require.NoError(t, servertest.Eventually(patience, func() error {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_, err := s.deduct(ctx, s.sick[0], "after it")
		if errors.Is(err, inventory.ErrNotLoaded) {
			return nil // the replica answers, which did not have it yet
		}
		return err
	}))
	s.othersAreServed()
}

func TestAShardOfARingThatHangsHoldsUpNobodyElse(t *testing.T) {
	servers := []*servertest.Redis{servertest.StartRedis(t), servertest.StartRedis(t)}
	options := &redis.RingOptions{Addrs: make(map[string]string), ContextTimeoutEnabled: true, ReadTimeout: hung, HeartbeatFrequency: time.Hour}
	passwords := make(map[string]string)
	for i, server := range servers {
		one := server.Client(t).Options()
		options.Addrs[fmt.Sprint("shard-", i)], passwords[one.Addr] = one.Addr, one.Password
	}
	options.NewClient = func(o *redis.Options) *redis.Client {
		o.Password = passwords[o.Addr]
		return redis.NewClient(o)
	}
	ring := redis.NewRing(options)
	t.Cleanup(func() { ring.Close() })
	s := across(t, ring, func(key string) bool {
		shard, err := ring.GetShardClientForKey(key)
		require.NoError(t, err)
		return shard.Options().Addr == options.Addrs["shard-0"]
	})
	s.canaries(len(servers))
	servers[0].Pause()
	s.waiting()
	s.othersAreServed()
}

// canaries plants one on each of the servers, on which SKUs are too.
func (s *spread) canaries(servers int) []inventory.Canary {
	s.t.Helper()
	ctx := background(s.t)
	canaries, err := s.repo.Canaries(ctx, store, 0)
	require.NoError(s.t, err)
	require.Len(s.t, canaries, servers)
	places := make(map[string]bool)
	for _, c := range canaries {
		require.Empty(s.t, c.Store)
		require.NoError(s.t, s.repo.Plant(ctx, store, c))
		places[c.Server] = true
	}
	require.Len(s.t, places, servers)
	for _, sku := range s.all() {
		require.Contains(s.t, places, s.repo.Locate(ctx, sku))
	}
	planted, err := s.repo.Canaries(ctx, store, 0)
	require.NoError(s.t, err)
	for _, c := range planted {
		require.Equal(s.t, store, c.Store)
	}
	return planted
}

// A node that lost everything lacks its canary, and no other one does. One that does not
// answer is told beside the others.
func canaryOnEach(t *testing.T, cluster *servertest.RedisCluster) {
	s := across(t, cluster.Client(t, func(o *redis.ClusterOptions) { o.ContextTimeoutEnabled = true }),
		func(key string) bool { return cluster.MasterOf(key) == 0 })
	planted := s.canaries(servertest.ClusterMasters)
	here := s.repo.Locate(background(t), s.sick[0])
	require.NoError(t, cluster.Node(0).Client(t).FlushAll(background(t)).Err())
	after, err := s.repo.Canaries(background(t), store, 0)
	require.NoError(t, err)
	for i, c := range after {
		assert.Equal(t, planted[i].Name, c.Name)
		assert.Equal(t, c.Server == here, c.Store == "", c.Server)
	}

	cluster.Node(0).Pause()
	t.Cleanup(cluster.Node(0).Resume)
	ctx, cancel := context.WithTimeout(background(t), time.Second)
	defer cancel()
	after, err = s.repo.Canaries(ctx, store, 0)
	require.NoError(t, err)
	for _, c := range after {
		if c.Server == here {
			unavailable(t, c.Err)
		} else {
			require.NoError(t, c.Err)
		}
	}
}

// What is on the other nodes is read, whatever the client does with a context, and
// who reads again and again does not wait each time.
func stockBeside(t *testing.T, cluster *servertest.RedisCluster) {
	for name, bounded := range map[string]bool{"with deadlines": true, "without": false} {
		t.Run(name, func(t *testing.T) {
			s := across(t, cluster.Client(t, func(o *redis.ClusterOptions) {
				o.ContextTimeoutEnabled, o.ReadTimeout = bounded, 20*time.Second
			}), func(key string) bool { return cluster.MasterOf(key) == 0 })
			before, err := s.repo.Stock(background(t), s.all()...)
			require.NoError(t, err)

			cluster.Node(0).Pause()
			read := func(timeout time.Duration) error {
				ctx, cancel := context.WithTimeout(context.Background(), timeout)
				defer cancel()
				stocks, err := s.repo.Stock(ctx, s.all()...)
				unavailable(t, err)
				require.Len(t, stocks, len(s.all()))
				for i, sku := range s.all() {
					require.Equal(t, sku, stocks[i].SKU)
					if i < len(s.sick) {
						unavailable(t, stocks[i].Err)
						assert.Equal(t, inventory.Stock{SKU: sku, Err: stocks[i].Err}, stocks[i])
					} else {
						assert.Equal(t, before[i], stocks[i])
					}
				}
				assert.Less(t, strings.Count(err.Error(), "SKU"), 2, "a node is one error: %v", err)
				return err
			}
			began := time.Now()
			eventually(t, "it is not asked each time", func() bool {
				return strings.Contains(read(time.Second).Error(), "a moment ago")
			})
			assert.Less(t, time.Since(began), 15*time.Second, "a context is heeded")

			cluster.Node(0).Resume()
			require.NoError(t, servertest.Eventually(patience, func() error {
				ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
				defer cancel()
				_, err := s.repo.Stock(ctx, s.all()...)
				return err
			}))
		})
	}
}

// A caller in a hurry does not make others take the node for one that hangs.
func stockInAHurry(t *testing.T, cluster *servertest.RedisCluster) {
	s := across(t, cluster.Client(t), func(key string) bool { return cluster.MasterOf(key) == 0 })
	gone, leave := context.WithCancel(context.Background())
	leave()
	stocks, err := s.repo.Stock(gone, s.all()...)
	unavailable(t, err)
	for _, stock := range stocks {
		require.ErrorIs(t, stock.Err, context.Canceled)
	}
	_, err = s.repo.Stock(background(t), s.all()...)
	require.NoError(t, err)
}
