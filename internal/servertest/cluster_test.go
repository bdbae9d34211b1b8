package servertest

import (
	"fmt"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

func TestRedisCluster(t *testing.T) {
	t.Parallel()
	c := StartRedisCluster(t, time.Second)
	client := c.Client(t)
	ctx := testContext(t)
	var there [ClusterMasters]string // a key on each master
	for i := range 100 {
		key := fmt.Sprint("key-", i)
		require.NoError(t, client.Set(ctx, key, key, 0).Err())
		there[c.MasterOf(key)] = key
	}
	for i, key := range there {
		require.NotEmpty(t, key)
		require.NoError(t, c.Node(i).Client(t).Get(ctx, key).Err(), "it is on that node")
	}

	// The replica misses what the link does not let through, and takes over.
	key := there[1]
	master := c.Node(1).Client(t, func(o *redis.Options) { o.PoolSize = 1 }) // WAIT is for a connection's own writes
	require.NoError(t, master.Set(ctx, key, key, 0).Err())
	require.EqualValues(t, 1, master.Do(ctx, "wait", 1, 0).Val())
	c.Link(1).Block()
	require.NoError(t, client.Set(ctx, key, "missed", 0).Err())
	c.Node(1).Kill()
	c.AwaitMaster(ClusterMasters + 1)
	require.NoError(t, poll(agreeLimit, func() (bool, error) {
		return client.Get(ctx, key).Val() == key, nil
	}))
}

func TestRedisPair(t *testing.T) {
	t.Parallel()
	p := StartRedisPair(t)
	client := p.Client(t, func(o *redis.FailoverOptions) { o.PoolSize = 1 })
	ctx := testContext(t)
	require.NoError(t, client.Set(ctx, "key", "there", 0).Err())
	require.EqualValues(t, 1, client.Do(ctx, "wait", 1, 0).Val())
	p.Link(0).Block()
	require.NoError(t, client.Set(ctx, "key", "missed", 0).Err(), "clients reach the master")
	p.Watch(200 * time.Millisecond)
	p.AwaitMaster(1)
	require.NoError(t, poll(agreeLimit, func() (bool, error) {
		return client.Get(ctx, "key").Val() == "there", nil
	}))
	p.Link(0).Unblock()
	p.await(0, "role:slave", "info", "replication") // the old master follows the new one
	p.await(0, "master_link_status:up", "info", "replication")
}
