package booking_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/booking"
	"github.com/lastunit/lastunit/internal/servertest"
	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

// sick is an inventory that answers nothing about some SKUs, as a cluster of which a
// node has lost some slots.
type sick struct {
	inventory.InventoryRepository
	mu   sync.Mutex
	skus map[string]bool
}

func (s *sick) make(skus ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.skus = make(map[string]bool)
	for _, sku := range skus {
		s.skus[sku] = true
	}
}

func (s *sick) reach(sku string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.skus[sku] {
		return fmt.Errorf("%w: CLUSTERDOWN Hash slot not served, says the test", inventory.ErrUnavailable)
	}
	return nil
}

func (s *sick) Deduct(ctx context.Context, r inventory.Request) (inventory.Deduction, error) {
	if err := s.reach(r.SKU); err != nil {
		return inventory.Deduction{}, err
	}
	return s.InventoryRepository.Deduct(ctx, r)
}

func (s *sick) Settle(ctx context.Context, supply inventory.Supply, deductions ...inventory.Deduction) error {
	if err := s.reach(supply.SKU); err != nil {
		return err
	}
	return s.InventoryRepository.Settle(ctx, supply, deductions...)
}

func (s *sick) Push(ctx context.Context, supply inventory.Supply) error { return s.Settle(ctx, supply) }

func (s *sick) Load(ctx context.Context, supplies ...inventory.Supply) error {
	for _, supply := range supplies {
		if err := s.reach(supply.SKU); err != nil {
			return err
		}
	}
	return s.InventoryRepository.Load(ctx, supplies...)
}

const cutOff = "it has not answered for a while"

// One SKU alone is in trouble, and in demand: the others on its server are sold as ever,
// also if nobody asked for them meanwhile.
func TestOneSickSKU(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, s stores) {
		all := &sick{InventoryRepository: s.inventory}
		s.inventory = all
		shop := open(t, s)
		background(t, shop)
		for _, sku := range []string{"sick", "fine", "fine too"} {
			require.NoError(t, shop.PutOnSale(t.Context(), order.Item{SKU: sku, Capacity: 1000}))
			_, err := shop.Book(t.Context(), request(sku, 0))
			require.NoError(t, err)
		}
		all.make("sick")
		n := 0
		buySick := func() error {
			n++
			_, err := shop.Book(t.Context(), request("sick", n))
			require.ErrorIs(t, err, order.ErrOutcomeUnknown)
			return err
		}
		eventually(t, func() error {
			if err := buySick(); !strings.Contains(err.Error(), cutOff) {
				return err
			}
			return nil
		})
		for range 50 {
			_ = buySick()
			for _, sku := range []string{"fine", "fine too"} {
				_, err := shop.Book(t.Context(), request(sku, n))
				require.NoError(t, err)
			}
		}
		all.make()
		eventually(t, func() error { _, err := shop.Book(t.Context(), request("sick", n)); return err })
		exact(t, shop)
	})
}

// Two are, and nobody asks for others: the whole server is taken for gone. It is tried
// with others, though, so that those are sold again at once, and for good.
func TestTwoSickSKUs(t *testing.T) {
	t.Parallel()
	s := embedded(t)
	all := &sick{InventoryRepository: s.inventory}
	s.inventory = all
	shop := open(t, s)
	for _, sku := range []string{"sick", "sick too", "fine", "fine too"} {
		require.NoError(t, shop.PutOnSale(t.Context(), order.Item{SKU: sku, Capacity: 1000}))
		_, err := shop.Book(t.Context(), request(sku, 0))
		require.NoError(t, err)
	}
	all.make("sick", "sick too")
	n := 0
	buySick := func() (cut bool) {
		n++
		cut = true
		for _, sku := range []string{"sick", "sick too"} {
			_, err := shop.Book(t.Context(), request(sku, n))
			require.ErrorIs(t, err, order.ErrOutcomeUnknown)
			cut = cut && strings.Contains(err.Error(), cutOff)
		}
		return cut
	}
	eventually(t, func() error {
		if !buySick() {
			return fmt.Errorf("they are asked for")
		}
		return nil
	})
	sold := 0
	eventually(t, func() error {
		buySick()
		sold++
		if _, err := shop.Book(t.Context(), request("fine", n)); err != nil {
			sold = 0
		}
		if sold < 100 {
			return fmt.Errorf("the last %d were sold", sold)
		}
		return nil
	})
}

// Redis has lost everything, and refuses writes, so that it can't be loaded: it answers,
// but does not serve, and callers are refused at once.
func TestRedisThatCanNotBeLoaded(t *testing.T) {
	t.Parallel()
	s, _ := onPrivateRedis(t)
	shop := open(t, s)
	background(t, shop)
	require.NoError(t, shop.PutOnSale(t.Context(), order.Item{SKU: "floor", Capacity: 100}))
	_, err := shop.Book(t.Context(), request("floor", 0))
	require.NoError(t, err)
	require.NoError(t, s.client.FlushAll(t.Context()).Err())
	require.NoError(t, s.client.ConfigSet(t.Context(), "min-replicas-to-write", "1").Err())
	eventually(t, func() error {
		_, err := shop.Book(t.Context(), request("floor", 1))
		require.ErrorIs(t, err, order.ErrOutcomeUnknown)
		if !strings.Contains(err.Error(), cutOff) {
			return err
		}
		return nil
	})
	require.NoError(t, s.client.ConfigSet(t.Context(), "min-replicas-to-write", "0").Err())
	eventually(t, func() error { _, err := shop.Book(t.Context(), request("floor", 1)); return err })
	exact(t, shop)
}

// A process starts while its cluster hangs: with SellDirect the first callers wait half a
// second, and not for the client to find out where the keys are.
func TestAClusterThatHangsFromTheStart(t *testing.T) {
	t.Parallel()
	server := servertest.StartRedis(t, "--cluster-enabled", "yes")
	node := server.Client(t)
	require.NoError(t, node.ClusterAddSlotsRange(t.Context(), 0, 16383).Err())
	eventually(t, func() error {
		info, err := node.ClusterInfo(t.Context()).Result()
		if err == nil && !strings.Contains(info, "cluster_state:ok") {
			err = errors.New("the cluster is not up")
		}
		return err
	})
	orders := order.NewMemory()
	start := func() *booking.Service {
		client := redis.NewClusterClient(&redis.ClusterOptions{
			Addrs: []string{server.Addr()}, Password: server.Password(), ContextTimeoutEnabled: true, ReadTimeout: patience,
		})
		t.Cleanup(func() { client.Close() })
		return sellsDirect(t, stores{inventory: inventory.NewRedis(client), orders: orders, client: node})
	}
	require.NoError(t, start().PutOnSale(t.Context(), order.Item{SKU: "floor", Capacity: 1000}))
	server.Pause()
	resume := sync.OnceFunc(server.Resume)
	t.Cleanup(resume)
	shop := start()
	background(t, shop)
	t.Cleanup(resume)   // before Run is waited for
	for i := range 10 { // each would wait until its time is over
		o, err := shop.Book(t.Context(), request("floor", i))
		require.NoError(t, err)
		assert.Equal(t, order.Confirmed, o.Status)
	}
	resume()
}

// Redis hangs, Postgres may sell by itself, and each caller has less time than others
// wait for Redis.
func TestCallersInAHurryWhileRedisHangs(t *testing.T) {
	t.Parallel()
	inABubble(t, func(t *testing.T, s stores) {
		redis := &hanging{InventoryRepository: s.inventory}
		s.inventory = redis
		shop := sellsDirect(t, s)
		require.NoError(t, shop.PutOnSale(t.Context(), order.Item{SKU: "floor", Capacity: 1000}))
		_, err := shop.Book(t.Context(), request("floor", 0))
		require.NoError(t, err)
		redis.hangs.Store(true)
		for i := range 3 {
			ctx, cancel := context.WithTimeout(t.Context(), 400*time.Millisecond)
			_, err = shop.Book(ctx, request("floor", 1+i))
			cancel()
			require.NoError(t, err)
		}
	})
}
