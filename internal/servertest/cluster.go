package servertest

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// RedisCluster is a private Redis Cluster of three masters with a replica each: node
// i+ClusterMasters is the replica of node i at first.
type RedisCluster struct {
	joined
}

// ClusterMasters is how many masters a RedisCluster has, and how many replicas.
const ClusterMasters = 3

// slots is how many slots a cluster has.
const slots = 16384

// ClusterOptions are those of a redis-server in cluster mode, for StartRedis: on its
// own it is a cluster of one node without any slot.
func ClusterOptions(t testing.TB) []string {
	t.Helper()
	// By default it is the port and 10,000, which may be taken or no port at all.
	bus, err := reservePort()
	if err != nil {
		t.Fatalf("cannot find a port: %v", err)
	}
	t.Cleanup(bus.release)
	return []string{"--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf", "--cluster-port", fmt.Sprint(bus.number)}
}

// StartRedisCluster starts a cluster that ends with the test. A master that does not
// answer for nodeTimeout is replaced by its replica, however old what that has is.
func StartRedisCluster(t testing.TB, nodeTimeout time.Duration) *RedisCluster {
	t.Helper()
	nodes := make([]*Redis, 2*ClusterMasters)
	bus := make([]string, len(nodes))
	for i := range nodes {
		options := append(ClusterOptions(t), "--cluster-node-timeout", fmt.Sprint(nodeTimeout.Milliseconds()),
			"--cluster-replica-validity-factor", "0", "--cluster-allow-replica-migration", "no", "--repl-diskless-sync", "no")
		bus[i] = options[5]
		nodes[i] = StartRedis(t, options...)
	}
	c := &RedisCluster{join(t, nodes)}
	ids := make([]string, len(nodes))
	for i := range nodes {
		host, port := c.reachable(i)
		c.do(i, []any{"cluster", "set-config-epoch", i + 1},
			[]any{"config", "set", "cluster-announce-ip", host}, []any{"config", "set", "cluster-announce-port", port})
		if i < ClusterMasters {
			c.do(i, []any{"cluster", "addslotsrange", i * slots / ClusterMasters, (i+1)*slots/ClusterMasters - 1})
		}
		c.do(0, []any{"cluster", "meet", host, port, bus[i]})
		id, err := nodes[i].Client(t).ClusterMyID(context.Background()).Result()
		if err != nil {
			t.Fatalf("redis-server %d: %v", i, err)
		}
		ids[i] = id
	}
	for i := range nodes {
		c.await(i, fmt.Sprint("cluster_known_nodes:", len(nodes)), "cluster", "info")
		c.await(i, "cluster_state:ok", "cluster", "info")
	}
	for i := range ClusterMasters {
		c.await(ClusterMasters+i, ids[i], "cluster", "nodes")
		c.do(ClusterMasters+i, []any{"cluster", "replicate", ids[i]})
	}
	for i := range ClusterMasters {
		c.await(ClusterMasters+i, "master_link_status:up", "info", "replication")
		for j := range nodes { // all know whom to elect
			c.awaitReplica(j, ids[ClusterMasters+i], ids[i])
		}
	}
	return c
}

// awaitReplica polls until a node knows that one is the replica of another.
func (c *RedisCluster) awaitReplica(i int, replica, master string) {
	c.t.Helper()
	client := c.nodes[i].Client(c.t)
	err := poll(agreeLimit, func() (bool, error) {
		all, err := client.ClusterNodes(context.Background()).Result()
		if err != nil {
			return false, err
		}
		for line := range strings.Lines(all) {
			if strings.HasPrefix(line, replica) && strings.Contains(line, "slave "+master) {
				return true, nil
			}
		}
		return false, nil
	})
	if err != nil {
		c.t.Fatalf("redis-server %d does not know the replica of %s: %v", i, master, err)
	}
}

// Client returns a client of the cluster that is closed with the test. It reaches the
// nodes past their links, and looks for new masters every half second: by default
// go-redis may take a minute to notice that one which is dead was replaced. Each change
// may alter its options.
func (c *RedisCluster) Client(t testing.TB, change ...func(*redis.ClusterOptions)) *redis.ClusterClient {
	t.Helper()
	options := &redis.ClusterOptions{Password: c.nodes[0].Password(), Dialer: c.dialer(), ClusterStateReloadInterval: 500 * time.Millisecond}
	for i := range c.nodes {
		options.Addrs = append(options.Addrs, c.links[i].Addr())
	}
	for _, f := range change {
		f(options)
	}
	client := redis.NewClusterClient(options)
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// MasterOf returns which of the first nodes is the master of a key at first.
func (c *RedisCluster) MasterOf(key string) int {
	c.t.Helper()
	slot, err := c.nodes[0].Client(c.t).ClusterKeySlot(context.Background(), key).Result()
	if err != nil {
		c.t.Fatalf("cannot ask for a slot: %v", err)
	}
	for i := range ClusterMasters {
		if int(slot) < (i+1)*slots/ClusterMasters {
			return i
		}
	}
	return ClusterMasters - 1
}
