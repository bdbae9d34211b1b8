package inventory_test

import (
	"testing"

	"github.com/lastunit/lastunit/internal/servertest"
	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/inventory/inventorytest"
)

func TestConformance(t *testing.T) {
	t.Run("miniredis", func(t *testing.T) {
		inventorytest.Run(t, inventorytest.New)
	})
	t.Run("redis", func(t *testing.T) {
		client := servertest.SharedRedis(t).Client(t)
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
