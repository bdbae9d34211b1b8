package inventory_test

import (
	"context"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/internal/servertest"
	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/inventory/inventorytest"
)

func TestConformance(t *testing.T) {
	t.Run("memory", func(t *testing.T) {
		inventorytest.Run(t, inventorytest.New)
	})
	t.Run("miniredis", func(t *testing.T) {
		inventorytest.Run(t, func(t testing.TB) inventory.InventoryRepository {
			return inventory.NewRedis(embedded(t))
		})
	})
	t.Run("redis", func(t *testing.T) {
		client := servertest.SharedRedis(t).Client(t)
		inventorytest.Run(t, func(testing.TB) inventory.InventoryRepository {
			return inventory.NewRedis(client)
		})
	})
	t.Run("cluster", func(t *testing.T) {
		client := clusterOfOne(t)
		inventorytest.Run(t, func(testing.TB) inventory.InventoryRepository {
			return inventory.NewRedis(client)
		})
	})
	// A repository that was written from the comments alone: the suite asks for
	// no more than they promise.
	t.Run("model", func(t *testing.T) {
		inventorytest.Run(t, func(testing.TB) inventory.InventoryRepository { return newModel() })
	})
}

// clusterOfOne is a cluster with a single node, which does refuse scripts whose
// keys are in two slots.
func clusterOfOne(t *testing.T) *redis.ClusterClient {
	t.Helper()
	server := servertest.StartRedis(t, "--cluster-enabled", "yes")
	node := server.Client(t)
	ctx := background(t)
	require.NoError(t, node.ClusterAddSlotsRange(ctx, 0, 16383).Err())
	eventually(t, "the cluster is up", func() bool {
		info, err := node.ClusterInfo(context.Background()).Result()
		return err == nil && strings.Contains(info, "cluster_state:ok")
	})
	client := redis.NewClusterClient(&redis.ClusterOptions{
		Addrs: []string{server.Addr()}, Password: server.Password(),
	})
	t.Cleanup(func() { client.Close() })
	return client
}
