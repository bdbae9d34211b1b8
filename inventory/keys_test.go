package inventory_test

import (
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/internal/servertest"
	"github.com/lastunit/lastunit/inventory"
)

var oddSKUs = map[string]string{ // and how their hash tags spell them
	"floor": "floor", "{floor}": "%7Bfloor%7D", "{floor": "%7Bfloor", "floor}": "floor%7D", "}{": "%7D%7B", "{}": "%7B%7D",
	"{}floor": "%7B%7Dfloor", "%7Bfloor%7D": "%257Bfloor%257D", "%": "%25", "%25": "%2525", " ": " ", "a b": "a b",
	"size 42": "size 42", "größe": "größe", "☃": "☃", "a:b": "a:b", "floor:stock": "floor:stock", "*": "*", "a}:stock": "a%7D:stock",
	"%7D": "%257D",
}

func TestKeysOfOddSKUs(t *testing.T) {
	// CLUSTER KEYSLOT is Redis's own word on the slot, also without a cluster.
	server := servertest.StartRedis(t, "--cluster-enabled", "yes")
	client := server.Client(t)
	slot := func(key string) int64 {
		slot, err := client.ClusterKeySlot(background(t), key).Result()
		require.NoError(t, err)
		return slot
	}
	seen := make(map[string]string)
	for _, prefix := range []string{"lastunit", "", "shop {a}", "{", "}", "{}", "%7B", "a:b"} {
		repo := inventory.NewRedis(client, inventory.WithKeyPrefix(prefix))
		for sku, tag := range oddSKUs {
			key := repo.StockKey(sku)
			assert.Empty(t, seen[key], "%q is also the key of %q", key, sku)
			seen[key] = sku

			// What Redis takes for the tag: from the first { to the next }.
			_, rest, _ := strings.Cut(key, "{")
			got, _, found := strings.Cut(rest, "}")
			assert.True(t, found)
			assert.Equal(t, tag, got)
			assert.Equal(t, slot(tag), slot(key), "prefix %q, SKU %q: %q", prefix, sku, key)
		}
	}
	assert.Equal(t, "lastunit:{floor}:stock", inventory.NewRedis(client).StockKey("floor"), "the documented key")
}

func TestPrefixesKeepRepositoriesApart(t *testing.T) {
	onBoth(t, func(t *testing.T, client *redis.Client) {
		prefixes := []string{"test", "", "{test}", "%7Btest%7D", "test:{floor}:stock", "te st"}
		for i, prefix := range prefixes {
			repo := inventory.NewRedis(client, inventory.WithKeyPrefix(prefix))
			require.NoError(t, repo.Load(background(t), inventory.Supply{
				SKU: "floor", Store: store, Epoch: 1, Version: 1, Units: int64(100 + i),
			}))
		}
		for i, prefix := range prefixes {
			repo := inventory.NewRedis(client, inventory.WithKeyPrefix(prefix))
			stocks, err := repo.Stock(background(t), "floor")
			require.NoError(t, err)
			assert.Equal(t, int64(100+i), stocks[0].Supply, "prefix %q", prefix)
			require.NoError(t, client.Del(background(t), repo.StockKey("floor")).Err())
		}
	})
}
