package faults_test

import (
	"context"
	"errors"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/internal/servertest"
	"github.com/lastunit/lastunit/order"
)

// nodeTimeout is after how long a cluster, or a Sentinel, gives up a master.
const nodeTimeout = 500 * time.Millisecond

// onCluster begins a sale on a cluster of its own, and says which node has the SKU.
func onCluster(t *testing.T) (s *sale, cluster *servertest.RedisCluster, master int) {
	t.Helper()
	cluster = servertest.StartRedisCluster(t, nodeTimeout)
	master = cluster.MasterOf("{" + floor + "}")
	s = begin(t, setup{
		redis:  cluster.Node(master),
		client: func(int) redis.UniversalClient { return cluster.Client(t) },
	})
	return s, cluster, master
}

// Row 2: replies are lost on the way from a cluster, and its master stands still
// meanwhile: so shortly that it stays the master, or until its replica is the master.
func clusterMasterPaused(t *testing.T, m *measured) {
	for _, replaced := range []bool{false, true} {
		t.Run(map[bool]string{false: "shortly", true: "replaced"}[replaced], func(t *testing.T) {
			t.Parallel()
			s, cluster, master := onCluster(t)
			s.rushWith(m, rush{buy: impatient}, func() {
				cluster.Node(master).Pause()
				if replaced {
					cluster.AwaitMaster(master + servertest.ClusterMasters)
				} else {
					s.noticed()
				}
				cluster.Node(master).Resume()
			})
		})
	}
}

// Row 14: a cluster's master dies whose replica missed all that was sold since the rush
// began.
func clusterFailover(t *testing.T, m *measured) {
	s, cluster, master := onCluster(t)
	before := s.counters()
	cluster.Link(master).Block()
	s.rush(m, func() {
		cluster.Node(master).Kill()
		cluster.AwaitMaster(master + servertest.ClusterMasters)
		cluster.Link(master).Unblock()
		cluster.Node(master).Restart() // as a replica of the other
	})
	assert.Greater(t, s.counters().Epoch, before.Epoch, "what the replica had missed was noticed, and rebuilt")
}

// Row 14: a Sentinel can't reach a master, and replaces it by a replica that missed all
// that was sold since the rush began. Clients reach the old master until they hear of
// the new one.
func sentinelFailover(t *testing.T, m *measured) {
	pair := servertest.StartRedisPair(t)
	var clients []*redis.Client
	s := begin(t, setup{
		redis: pair.Node(0),
		client: func(int) redis.UniversalClient {
			clients = append(clients, pair.Client(t))
			return clients[len(clients)-1]
		},
	})
	before := s.counters()
	pair.Link(0).Block()
	s.rush(m, func() {
		pair.Watch(nodeTimeout)
		pair.AwaitMaster(1)
		_, port, err := net.SplitHostPort(pair.Node(1).Addr())
		require.NoError(t, err)
		for _, client := range clients {
			eventually(t, func() error {
				info, err := client.Info(t.Context(), "server").Result()
				if err == nil && !strings.Contains(info, "tcp_port:"+port) {
					err = errors.New("the client is at the old master")
				}
				return err
			})
		}
		pair.Link(0).Unblock()
	})
	assert.Greater(t, s.counters().Epoch, before.Epoch, "what the replica had missed was noticed, and rebuilt")
}

// split is two services, of which each may be at a Redis of its own, as while clients
// have not all heard of a failover.
type split struct {
	*sale
	old, fresh *servertest.Redis
	at         [3]atomic.Pointer[servertest.Redis] // of each service, and of who looks
}

// beginSplit begins a sale on a master with a replica, with all at the master.
func beginSplit(t *testing.T) *split {
	t.Helper()
	pair := servertest.StartRedisPair(t)
	pair.Dismiss()
	s := &split{sale: &sale{t: t}, old: pair.Node(0), fresh: pair.Node(1)}
	for i := range s.at {
		s.at[i].Store(s.old)
	}
	s.sale = begin(t, setup{
		redis:  s.fresh,
		client: func(shop int) redis.UniversalClient { return s.clientOf(shop) },
	})
	return s
}

// clientOf is a client of a service that connects to where at says.
func (s *split) clientOf(shop int) *redis.Client {
	who := shop
	if shop == noShop {
		who = 2
	}
	return s.fresh.Client(s.t, func(o *redis.Options) {
		o.Dialer = func(ctx context.Context, network, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, network, s.at[who].Load().Addr())
		}
	})
}

// promote makes the replica a master. The second service hears of it, the first one
// does not.
func (s *split) promote(ctx context.Context) error {
	old := s.old.Client(s.t)
	if err := s.client.ReplicaOf(ctx, "no", "one").Err(); err != nil {
		return err
	}
	s.at[1].Store(s.fresh)
	s.at[2].Store(s.fresh)
	return old.ClientKillByFilter(ctx, "type", "normal").Err() // they connect anew
}

// heal ends it: all are at the new master, and the old one is no more.
func (s *split) heal() {
	s.at[0].Store(s.fresh)
	s.old.Kill()
}

// Row 15: a master that was replaced goes on to answer a service, that units are
// available.
func oldMasterSells(t *testing.T, m *measured) {
	t.Run("rush", func(t *testing.T) {
		t.Parallel()
		s := beginSplit(t)
		s.rush(m, func() {
			require.NoError(t, s.promote(t.Context()))
			eventually(t, func() error { return missing(int(s.capacity)-s.told.acknowledged(), "orders") })
			s.heal()
		})
	})
	// Each of two masters gives most of the units to an order, before either is
	// committed: Postgres alone is in between.
	t.Run("twice_at_once", func(t *testing.T) {
		t.Parallel()
		s := beginSplit(t)
		require.NoError(t, s.promote(t.Context()))
		commits := hold(t, s.postgresProxy, mentions(floor+"-"))
		var callers sync.WaitGroup
		for i, shop := range s.shops {
			r := request(floor, late+i)
			r.Lines[0].Quantity = s.capacity - 10
			callers.Go(func() { _, _ = s.ask(shop, r, book) })
		}
		commits.await(2)
		commits.release()
		callers.Wait()
		assert.Len(t, s.told.booked, 1)
		assert.Len(t, s.told.refused, 1)
		s.heal()
		s.recover(m, s.rushOf(0, 20))
	})
}

// Row 15: a master that was replaced goes on to answer a service, that all is sold,
// when units have come back.
func oldMasterIsSoldOut(t *testing.T, m *measured) {
	s := beginSplit(t)
	s.rushOf(0, int(s.capacity)+10)()
	s.exact()
	require.NoError(t, s.promote(t.Context()))
	const back = 10
	s.cancelOrders(back)
	for i := range back { // at the service that is at the old master
		_, err := s.ask(s.shops[0], request(floor, late+i), book)
		require.NoError(t, err, "there are units, whatever the old master says")
	}
	s.heal()
	s.recover(m, nil)
}

// cancelOrders cancels so many orders at the last service, and takes note.
func (s *sale) cancelOrders(n int) {
	s.t.Helper()
	ids := slices.Collect(maps.Keys(s.told.booked))[:n]
	for _, id := range ids {
		eventually(s.t, func() error {
			o, err := s.shops[len(s.shops)-1].Cancel(context.Background(), id)
			if err == nil {
				require.Equal(s.t, order.Cancelled, o.Status)
				s.told.booked[id] = o
			}
			return err
		})
	}
}
