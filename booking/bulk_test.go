package booking_test

import (
	"context"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/booking"
	"github.com/lastunit/lastunit/internal/servertest"
	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

// trips counts round trips: how often something is sent after something was
// received.
type trips struct{ n atomic.Int64 }

func (c *trips) dial(ctx context.Context, network, address string) (net.Conn, error) {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return &countedConn{Conn: conn, trips: c}, nil
}

func (c *trips) take() int64 { return c.n.Swap(0) }

type countedConn struct {
	net.Conn
	trips *trips

	mu       sync.Mutex
	received bool
}

func (c *countedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 {
		c.mu.Lock()
		c.received = true
		c.mu.Unlock()
	}
	return n, err
}

func (c *countedConn) Write(b []byte) (int, error) {
	c.mu.Lock()
	if c.received {
		c.trips.n.Add(1)
	}
	c.received = false
	c.mu.Unlock()
	return c.Conn.Write(b)
}

// counted are stores on real servers whose round trips are counted, and those of
// another process, which are not.
func counted(t *testing.T) (s, other stores, toRedis, toPostgres *trips) {
	toRedis, toPostgres = &trips{}, &trips{}
	all, database := several(t, 1)
	other = all[0]
	config, err := pgxpool.ParseConfig(database)
	require.NoError(t, err)
	config.ConnConfig.DialFunc = toPostgres.dial
	config.MaxConns = 1 // so that the counted calls make no connection
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	client := servertest.SharedRedis(t).Client(t, func(o *redis.Options) {
		o.Dialer, o.PoolSize = toRedis.dial, 1
		// A call that the client gives up is sent again, on another connection.
		o.ReadTimeout, o.WriteTimeout, o.PoolTimeout = patience, patience, patience
	})
	s = stores{inventory.NewRedis(client, inventory.WithKeyPrefix(other.prefix)), order.NewPostgres(pool), client, other.prefix}
	return s, other, toRedis, toPostgres
}

// seats are many items of one unit each, in a hall.
func seats(n int) (items []order.Item, skus []string) {
	items = append(items, order.Item{SKU: "hall", Capacity: int64(n)})
	for i := range n - 1 {
		items = append(items, order.Item{SKU: fmt.Sprintf("seat-%05d", i), Capacity: 1, Draws: lines("hall", 1)})
	}
	for _, item := range items {
		skus = append(skus, item.SKU)
	}
	return items, skus
}

// unhurried lets calls of a whole hall take as long as they do.
func unhurried(c *booking.Config) { c.Timeout = patience }

// A whole hall is put on sale, and read, in a handful of round trips.
func TestBulk(t *testing.T) {
	t.Parallel()
	s, uncounted, toRedis, toPostgres := counted(t)
	shop, other := open(t, s, unhurried), open(t, uncounted, unhurried)
	// The connections know what they will be asked.
	require.NoError(t, shop.PutOnSale(t.Context(), order.Item{SKU: "first", Capacity: 1}, order.Item{SKU: "second", Capacity: 1, Draws: lines("first", 1)}))
	_, err := shop.Stocks(t.Context(), "first", "second")
	require.NoError(t, err)
	handful := func(what string) {
		t.Helper()
		redis, postgres := toRedis.take(), toPostgres.take()
		t.Logf("%s: %d round trips to Redis, %d to Postgres", what, redis, postgres)
		assert.LessOrEqual(t, redis, int64(10), what)
		assert.LessOrEqual(t, postgres, int64(10), what)
		assert.Positive(t, postgres, what)
	}
	toRedis.take()
	toPostgres.take()

	items, skus := seats(order.MaxItems)
	require.NoError(t, shop.PutOnSale(t.Context(), items...))
	handful("put on sale")
	// PutOnSale waits for Redis for a bounded time. What a slow machine has not
	// loaded by then, Run would bring one by one.
	t.Logf("%d are in Redis, too", loaded(t, uncounted))
	counters, err := uncounted.orders.Counters(t.Context(), skus...)
	require.NoError(t, err)
	supplies := make([]inventory.Supply, len(counters))
	for i, c := range counters {
		supplies[i] = c.Supply()
	}
	require.NoError(t, uncounted.inventory.Load(t.Context(), supplies...))
	require.Equal(t, order.MaxItems+2, loaded(t, uncounted))
	exact(t, other)
	toRedis.take()
	toPostgres.take()
	require.NoError(t, shop.PutOnSale(t.Context(), items...), "they are there as it says")
	handful("put on sale again")
	stocks, err := shop.Stocks(t.Context(), skus...)
	require.NoError(t, err)
	handful("read")
	require.Len(t, stocks, order.MaxItems)
	for i, stock := range stocks {
		want := booking.Stock{SKU: skus[i], Capacity: items[i].Capacity, Available: items[i].Capacity, Draws: items[i].Draws}
		if !assert.Equal(t, want, stock) {
			break
		}
	}
	// Fresh in another process, and sold as any other.
	_, err = book(other, booking.Request{ID: "1", Customer: "c", Lines: lines("seat-04711", 1)})
	require.NoError(t, err)
	available(t, shop, map[string]int64{"hall": order.MaxItems - 1, "seat-04711": 0, "seat-04712": 1})
	_, err = shop.Stocks(t.Context(), append(skus, "first")...)
	requireInvalid(t, "skus", err)
	requireInvalid(t, "items", shop.PutOnSale(t.Context(), append(items, order.Item{SKU: "third", Capacity: 1})...))
	books(t, other, uncounted, "hall", "seat-04711")
}

// loaded is how many SKUs Redis has counters of.
func loaded(t testing.TB, s stores) int {
	t.Helper()
	keys, err := s.client.Keys(context.Background(), s.prefix+":*").Result()
	require.NoError(t, err)
	return len(keys)
}

// One bad item among many, and none is put on sale.
func TestBulkWithOneBadItem(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, s stores) {
		shop := open(t, s)
		require.NoError(t, shop.PutOnSale(t.Context(), order.Item{SKU: "there", Capacity: 5, CustomerLimit: 2}))
		items, _ := seats(500)
		for name, bad := range map[string]struct {
			item order.Item
			want error
		}{
			"capacity":     {order.Item{SKU: "bad", Capacity: -1}, inventory.ErrInvalid},
			"SKU":          {order.Item{SKU: "a\x00b", Capacity: 1}, inventory.ErrInvalid},
			"twice":        {items[7], inventory.ErrInvalid},
			"pool":         {order.Item{SKU: "bad", Capacity: 1, Draws: lines("nowhere", 1)}, order.ErrUnknownSKU},
			"circle":       {order.Item{SKU: "bad", Capacity: 1, Draws: lines("bad", 1)}, inventory.ErrInvalid},
			"there as 6":   {order.Item{SKU: "there", Capacity: 6, CustomerLimit: 2}, order.ErrAlreadyOnSale},
			"other limit":  {order.Item{SKU: "there", Capacity: 5}, order.ErrAlreadyOnSale},
			"other draws":  {order.Item{SKU: "there", Capacity: 5, CustomerLimit: 2, Draws: lines("hall", 1)}, order.ErrAlreadyOnSale},
			"other window": {order.Item{SKU: "there", Capacity: 5, CustomerLimit: 2, OpensAt: clockOf(t, s, "there")}, order.ErrAlreadyOnSale},
		} {
			all := append(append([]order.Item{}, items[:300]...), bad.item)
			all = append(all, items[300:]...)
			require.ErrorIs(t, shop.PutOnSale(t.Context(), all...), bad.want, name)
			there, err := s.orders.Scan(t.Context(), order.AllPartitions, "", 1000)
			require.NoError(t, err)
			assert.Len(t, there, 1, "%s: all of them or none", name)
		}
		stock, err := shop.Stock(t.Context(), "there")
		require.NoError(t, err)
		stock.Available = 0 // what it says under a limit, TestAvailableWithinTheLimit has
		assert.Equal(t, booking.Stock{SKU: "there", Capacity: 5, CustomerLimit: 2}, stock)
		books(t, shop, s, "there")
	})
}

// Redis loses everything, with nobody buying: the background work of two
// processes has all of it back.
func TestBulkComesBack(t *testing.T) {
	t.Parallel()
	const n = 300
	all, _ := several(t, 2)
	s := all[0]
	shops := []*booking.Service{open(t, all[0]), open(t, all[1])}
	items, _ := seats(n)
	require.NoError(t, shops[0].PutOnSale(t.Context(), items...))
	_, err := shops[1].Book(t.Context(), booking.Request{ID: "1", Customer: "c", Lines: lines("seat-00042", 1)})
	require.NoError(t, err)
	exact(t, shops[0])
	s.wipe(t)
	require.Zero(t, loaded(t, s))
	for _, shop := range shops {
		background(t, shop)
	}
	eventually(t, func() error {
		if back := loaded(t, s); back < n {
			return fmt.Errorf("%d of %d are back", back, n)
		}
		return nil
	})
	books(t, shops[0], s, "hall", "seat-00042")
	available(t, shops[1], map[string]int64{"hall": n - 1, "seat-00042": 0, "seat-00043": 1})
}
