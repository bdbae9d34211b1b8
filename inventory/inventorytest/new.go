package inventorytest

import (
	"testing"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/lastunit/lastunit/inventory"
)

// New returns an empty repository for a test of something that needs one. It
// is an inventory.Redis over a Redis inside this process, which ends with the test.
func New(t testing.TB) inventory.InventoryRepository {
	t.Helper()
	server := miniredis.RunT(t)
	client := redis.NewClient(&redis.Options{Addr: server.Addr()})
	t.Cleanup(func() {
		if err := client.Close(); err != nil {
			t.Errorf("cannot close the Redis client: %v", err)
		}
	})
	return inventory.NewRedis(client)
}
