package inventory_test

import (
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/internal/servertest"
	"github.com/lastunit/lastunit/inventory"
)

func (s *sale) accept(d inventory.Deduction) inventory.Acceptance {
	s.t.Helper()
	answer, err := s.repo.Accept(background(s.t), "an order", d)
	require.NoError(s.t, err)
	require.True(s.t, answer.AllKept())
	return answer
}

func TestLostReplyOfAccept(t *testing.T) {
	s, proxy := throughProxy(t, 10)
	d := s.deduct("the one")
	s.accept(s.deduct("another")) // Redis knows the script
	before := s.stock()
	proxy.DropReplyTo(3, mentions("the one"))
	s.accept(d)
	assert.Equal(t, 3, proxy.Dropped())
	assert.Equal(t, before, s.stock())
	assert.Equal(t, "an order", s.hash()["a:the one"])
}

// A copy of an Accept that arrives when its deduction is done with makes no order
// and takes no unit, however late it is: its caller may have been refused since.
func TestLateCopyOfAccept(t *testing.T) {
	onBoth(t, func(t *testing.T, client *redis.Client) {
		s := onSale(t, client, 10)
		late := func(d inventory.Deduction) {
			t.Helper()
			before := s.hash()
			answer, err := s.repo.Accept(background(t), "an order", d)
			require.NoError(t, err)
			assert.Equal(t, []inventory.Keeping{inventory.Gone}, answer.Keeping)
			assert.Equal(t, before, s.hash())
		}
		d := s.deduct("a")
		require.NoError(t, s.repo.Restore(background(t), d))
		late(d)
		s.deduct("a") // another deduction of the attempt, by a late copy of the Deduct
		late(d)
		d = s.deduct("b")
		s.accept(d)
		s.supply.Version, s.supply.Admitted = 2, 1
		require.NoError(t, s.repo.Settle(background(t), s.supply, d))
		late(d)
	})
}

// Nothing of an accepted order stays once it is done with.
func TestAcceptedLeavesNothing(t *testing.T) {
	onBoth(t, func(t *testing.T, client *redis.Client) {
		s := onSale(t, client, 10)
		a, b := s.deduct("a"), s.deduct("b")
		s.accept(a)
		s.accept(b)
		assert.Len(t, s.hash(), counters+5)
		s.supply.Version, s.supply.Admitted = 2, 1
		require.NoError(t, s.repo.Settle(background(t), s.supply, a))
		b.Accepted = "an order"
		require.NoError(t, s.repo.Restore(background(t), b))
		assert.Len(t, s.hash(), counters+1, "but that there was one")
	})
}

// Counters that are garbage are replaced, and what accepted orders had stays; an
// accepted order whose own deduction is garbage, or not there, is lost.
func TestLoadOverGarbageKeepsAcceptedOrders(t *testing.T) {
	onBoth(t, func(t *testing.T, client *redis.Client) {
		s := onSale(t, client, 10)
		for _, name := range []string{"fine", "garbage", "alone"} {
			s.accept(s.deduct(name))
		}
		require.NoError(t, client.HSet(background(t), s.key, "taken", "nan", "d:garbage", "x").Err())
		require.NoError(t, client.HDel(background(t), s.key, "d:alone").Err())
		s.supply.Epoch++
		require.NoError(t, s.repo.Load(background(t), s.supply))
		unsettled, err := s.repo.Unsettled(background(t), store, s.sku, 0, 10)
		require.NoError(t, err)
		require.Len(t, unsettled, 1)
		assert.Equal(t, "fine", unsettled[0].Attempt)
		assert.Equal(t, "an order", unsettled[0].Accepted)
		assert.Len(t, s.hash(), counters+3)
		assert.EqualValues(t, 1, s.stock().Taken)
	})
}

// Very many accepted orders of the greatest size: no command of the scripts takes
// too many values.
func TestLoadKeepsManyAcceptedOrders(t *testing.T) {
	onBoth(t, func(t *testing.T, client *redis.Client) {
		s := onSale(t, client, 1000)
		order := strings.Repeat("x", inventory.MaxAccepted)
		var ds []inventory.Deduction
		for i := range 600 {
			ds = append(ds, s.deduct(text(int64(i))))
		}
		_, err := s.repo.Accept(background(t), order, ds...)
		require.NoError(t, err)
		s.supply.Epoch++
		require.NoError(t, s.repo.Load(background(t), s.supply))
		assert.EqualValues(t, 600, s.stock().Unsettled)
		found, err := s.repo.Unsettled(background(t), store, s.sku, 0, 1000)
		require.NoError(t, err)
		require.Len(t, found, 600)
		assert.Equal(t, order, found[599].Accepted)
	})
}

// WAIT counts the replicas that have the order, also when it is kept again, over
// another connection.
func TestReplicasThatHaveIt(t *testing.T) {
	t.Parallel()
	server, other := servertest.StartRedis(t), servertest.StartRedis(t)
	replica := other.Client(t)
	ctx := background(t)
	require.NoError(t, replica.ConfigSet(ctx, "masterauth", server.Password()).Err())
	host, port, _ := strings.Cut(server.Addr(), ":")
	require.NoError(t, replica.ReplicaOf(ctx, host, port).Err())
	client := server.Client(t)
	eventually(t, "the replica is up", func() bool {
		n, err := client.Wait(ctx, 1, 100*time.Millisecond).Result()
		return err == nil && n == 1
	})
	s := onSale(t, client, 10)
	keys := inventory.WithKeyPrefix(s.key[:len(s.key)-len(":{floor}:stock")])
	assert.Zero(t, s.accept(s.deduct("not asked")).Replicas)

	d := s.deduct("a")
	s.repo = inventory.NewRedis(client, keys, inventory.WithReplicas(1, time.Second))
	assert.Equal(t, 1, s.accept(d).Replicas)
	assert.Equal(t, "an order", replica.HGet(ctx, s.key, "a:a").Val())

	require.NoError(t, replica.ReplicaOf(ctx, "NO", "ONE").Err())
	s.repo = inventory.NewRedis(server.Client(t), keys, inventory.WithReplicas(1, 20*time.Millisecond))
	assert.Zero(t, s.accept(d).Replicas, "on a connection that has written nothing but this")
	assert.Zero(t, s.accept(s.deduct("b")).Replicas)
}

// Where Redis has no WAIT, or the node can't be asked, the order is kept all the
// same.
func TestReplicasWithoutWait(t *testing.T) {
	client := clientOf(t, miniredis.RunT(t))
	s := onSale(t, client, 10)
	s.repo = inventory.NewRedis(client, inventory.WithKeyPrefix(s.key[:len(s.key)-len(":{floor}:stock")]), inventory.WithReplicas(1, time.Second))
	assert.Zero(t, s.accept(s.deduct("a")).Replicas)
	assert.Equal(t, "an order", s.hash()["a:a"])
}
