package inventory_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/internal/servertest"
	"github.com/lastunit/lastunit/inventory"
)

// ours says whether a command is a script's call. Hooks see the handshakes of
// new connections too.
func ours(cmds ...redis.Cmder) bool { return strings.HasPrefix(cmds[0].Name(), "eval") }

// trips counts round trips with scripts: calls alone, and pipelines.
type trips struct{ alone, pipelines atomic.Int64 }

func (c *trips) DialHook(next redis.DialHook) redis.DialHook { return next }

func (c *trips) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if ours(cmd) {
			c.alone.Add(1)
		}
		return next(ctx, cmd)
	}
}

func (c *trips) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		if ours(cmds...) {
			c.pipelines.Add(1)
		}
		return next(ctx, cmds)
	}
}

// take returns how many round trips there were since it was asked last.
func (c *trips) take() int64 { return c.alone.Swap(0) + c.pipelines.Swap(0) }

// catalogue is n supplies, and the names of their SKUs.
func catalogue(n int) (supplies []inventory.Supply, skus []string) {
	for i := range n {
		sku := fmt.Sprint("sku-", i)
		skus = append(skus, sku)
		supplies = append(supplies, inventory.Supply{SKU: sku, Store: store, Epoch: 1, Version: 1, Units: int64(i)})
	}
	return supplies, skus
}

// A SKU is not a round trip: 10,000 are loaded and read in at most 10, all in
// all, also by a Redis that has forgotten its scripts.
func TestRoundTripsOfManySKUs(t *testing.T) {
	const many = 10_000
	server := servertest.StartRedis(t) // its scripts are flushed
	client := server.Client(t)
	count := &trips{}
	client.AddHook(count)
	repo := inventory.NewRedis(client, inventory.WithKeyPrefix("test-"+rand.Text()))
	ctx := background(t)
	supplies, skus := catalogue(many)
	for _, forgotten := range []bool{true, false, true} {
		if forgotten {
			require.NoError(t, client.ScriptFlush(ctx).Err())
		}
		count.take()
		for i := range supplies {
			supplies[i].Epoch++
		}
		require.NoError(t, repo.Load(ctx, supplies...))
		loaded := count.take()
		stocks, err := repo.Stock(ctx, skus...)
		require.NoError(t, err)
		read := count.take()

		want := int64(4)
		if forgotten {
			want = 5
		}
		assert.Equal(t, want, loaded, "round trips of a load")
		assert.Equal(t, want, read, "round trips of a read")
		for i, stock := range stocks {
			require.Equal(t, inventory.Stock{
				SKU: skus[i], Store: store, Epoch: supplies[i].Epoch, Version: 1, Supply: int64(i),
			}, stock)
		}
	}
}

// One SKU is one call, without the script.
func TestRoundTripsOfOneSKU(t *testing.T) {
	client := embedded(t)
	s := onSale(t, client, 10)
	s.stock()
	count := &trips{}
	client.AddHook(count)
	s.stock()
	assert.Equal(t, int64(1), count.take())
	require.NoError(t, s.repo.Load(background(t), s.supply))
	assert.Equal(t, int64(1), count.take())
}

// flaky fails pipelines as a lost connection does, and some single calls.
type flaky struct {
	trips
	pipelines, alone func(n int64) bool // says which fail
}

var errLost = fmt.Errorf("the connection is lost")

func (f *flaky) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		if ours(cmds...) && f.pipelines(f.trips.pipelines.Add(1)) {
			return errLost // the commands are without an error and without a value
		}
		return next(ctx, cmds)
	}
}

func (f *flaky) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if ours(cmd) && f.alone(f.trips.alone.Add(1)) {
			cmd.SetErr(errLost)
			return errLost
		}
		return next(ctx, cmd)
	}
}

func TestPipelinesThatFail(t *testing.T) {
	always, never := func(int64) bool { return true }, func(int64) bool { return false }
	first := func(n int64) bool { return n == 1 }
	const many = 20
	for name, test := range map[string]struct {
		pipelines, alone func(int64) bool
		fails            bool
		want             [2]int64 // pipelines and calls alone
	}{
		"once":             {first, never, false, [2]int64{2, 1}},
		"always":           {always, never, false, [2]int64{2, many}},
		"and calls too":    {always, always, true, [2]int64{1, 1}},
		"then a call does": {always, func(n int64) bool { return n > 3 }, true, [2]int64{2, 4}},
	} {
		t.Run(name, func(t *testing.T) {
			server := miniredis.RunT(t)
			client, lost := clientOf(t, server), clientOf(t, server)
			repo := inventory.NewRedis(client)
			supplies, skus := catalogue(many)
			ctx := background(t)
			require.NoError(t, repo.Load(ctx, append(supplies, supplies...)...)) // Redis knows the scripts
			_, err := repo.Stock(ctx, skus...)
			require.NoError(t, err)

			hook := &flaky{pipelines: test.pipelines, alone: test.alone}
			lost.AddHook(hook)
			repo = inventory.NewRedis(lost)
			for i := range supplies {
				supplies[i].Epoch++
			}
			err = repo.Load(ctx, supplies...)
			assert.Equal(t, test.want, [2]int64{hook.trips.pipelines.Swap(0), hook.trips.alone.Swap(0)})
			if test.fails {
				unavailable(t, err)
				require.ErrorContains(t, err, errLost.Error())
				// Asked again, the rest is done.
				require.NoError(t, inventory.NewRedis(client).Load(ctx, supplies...))
			} else {
				require.NoError(t, err)
			}
			stocks, err := repo.Stock(ctx, skus...)
			assert.Equal(t, test.want, [2]int64{hook.trips.pipelines.Load(), hook.trips.alone.Load()})
			if test.fails {
				unavailable(t, err)
				stocks, err = inventory.NewRedis(client).Stock(ctx, skus...)
			}
			require.NoError(t, err)
			for i, stock := range stocks {
				assert.Equal(t, supplies[i].Epoch, stock.Epoch)
				assert.Equal(t, supplies[i].Units, stock.Supply)
			}
		})
	}
}

// One key that can't be read doesn't hide the others, and nobody asks for it twice.
func TestGarbageAmongManySKUs(t *testing.T) {
	onBoth(t, func(t *testing.T, client *redis.Client) {
		repo := inventory.NewRedis(client, inventory.WithKeyPrefix("test-"+rand.Text()))
		ctx := background(t)
		supplies, skus := catalogue(10)
		require.NoError(t, repo.Load(ctx, supplies...))
		require.NoError(t, client.Set(ctx, repo.StockKey(skus[3]), "text", 0).Err())
		require.NoError(t, client.HSet(ctx, repo.StockKey(skus[4]), "paused", "yes").Err())
		require.NoError(t, client.Del(ctx, repo.StockKey(skus[5])).Err())
		_, err := repo.Stock(ctx, skus...)
		require.NoError(t, err)
		count := &trips{}
		client.AddHook(count)
		stocks, err := repo.Stock(ctx, skus...)
		require.NoError(t, err)
		assert.Equal(t, int64(1), count.take())
		for i, stock := range stocks {
			want := map[int]inventory.Why{3: inventory.WhyGarbage, 4: inventory.WhyGarbage, 5: inventory.WhyMissing}[i]
			assert.Equal(t, want, stock.Why, "SKU %d", i)
		}
		require.NoError(t, repo.Load(ctx, supplies...))
		stocks, err = repo.Stock(ctx, skus...)
		require.NoError(t, err)
		for i, stock := range stocks {
			assert.Equal(t, inventory.Stock{SKU: skus[i], Store: store, Epoch: 1, Version: 1, Supply: int64(i)}, stock)
		}
	})
}
