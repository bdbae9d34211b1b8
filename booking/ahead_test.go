package booking_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/booking"
	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

// set writes a field of a SKU's counters in Redis, past the library.
func (s stores) set(t testing.TB, sku, field string, value int64) {
	t.Helper()
	require.NoError(t, s.client.HSet(context.Background(), s.prefix+":{"+sku+"}:stock", field, value).Err())
}

// Counters in Redis that are ahead of Postgres, by somebody's hand or as Postgres was
// restored, are replaced by all that come upon them, and nothing is sold by them.
func TestCountersOfTheFuture(t *testing.T) {
	t.Parallel()
	const capacity = 12
	ahead := func(field string, value func(order.Counters) int64) func(*testing.T, stores, order.Counters) {
		return func(t *testing.T, s stores, c order.Counters) { s.set(t, c.SKU, field, value(c)) }
	}
	next := ahead("epoch", func(c order.Counters) int64 { return c.Epoch + 1 })
	million := ahead("epoch", func(c order.Counters) int64 { return c.Epoch + 1_000_000 })
	last := ahead("epoch", func(order.Counters) int64 { return 1 << 52 })
	version := ahead("version", func(c order.Counters) int64 { return c.Version + 1_000_000 })
	seq := ahead("seq", func(order.Counters) int64 { return 1 << 52 })

	type meet = func(t *testing.T, shop *booking.Service, sku string)
	book := func(t *testing.T, shop *booking.Service, sku string) {
		for i := 2; i < 5; i++ {
			_, err := shop.Book(t.Context(), request(sku, i))
			require.NoError(t, err)
		}
	}
	accept := func(t *testing.T, shop *booking.Service, sku string) {
		receipt, err := shop.Accept(t.Context(), request(sku, 2))
		require.NoError(t, err)
		_, err = receipt.Wait(t.Context())
		require.NoError(t, err)
	}
	rebuild := func(t *testing.T, shop *booking.Service, sku string) {
		require.NoError(t, shop.Rebuild(t.Context(), sku))
	}
	repair := func(t *testing.T, shop *booking.Service, sku string) {
		found, err := shop.Reconcile(t.Context(), booking.Repair, sku)
		require.NoError(t, err)
		require.NotEmpty(t, found)
	}
	run := func(t *testing.T, shop *booking.Service, sku string) {
		stop := background(t, shop)
		eventually(t, func() error {
			differences, err := shop.Reconcile(t.Context(), booking.DryRun, sku)
			if err == nil && len(differences) > 0 {
				err = fmt.Errorf("%v", differences)
			}
			return err
		})
		stop()
	}

	onBoth(t, func(t *testing.T, s stores) {
		for i, test := range []struct {
			name string
			down booking.RedisDown
			put  func(*testing.T, stores, order.Counters)
			meet meet
		}{
			{"a million, Book", booking.Refuse, million, book},
			{"a million, Accept", booking.Refuse, million, accept},
			{"a million, SellDirect", booking.SellDirect, million, book},
			{"a million, Rebuild", booking.Refuse, million, rebuild},
			{"a million, Repair", booking.Refuse, million, repair},
			{"a million, Run", booking.Refuse, million, run},
			{"the next, Book", booking.Refuse, next, book},
			{"the next, Rebuild", booking.Refuse, next, rebuild},
			{"the last, Book", booking.Refuse, last, book},
			{"the last, Accept", booking.Refuse, last, accept},
			{"the last, SellDirect", booking.SellDirect, last, book},
			{"the last, Rebuild", booking.Refuse, last, rebuild},
			{"the last, Repair", booking.Refuse, last, repair},
			{"the last, Run", booking.Refuse, last, run},
			{"version, Rebuild", booking.Refuse, version, rebuild},
			{"version, Repair", booking.Refuse, version, repair},
			{"version, Run", booking.Refuse, version, run},
			{"seq, Book", booking.Refuse, seq, book},
		} {
			sku := fmt.Sprint("floor-", i)
			shop := open(t, s)
			if test.down == booking.SellDirect {
				shop = sellsDirect(t, s)
			}
			require.NoError(t, shop.PutOnSale(t.Context(), order.Item{SKU: sku, Capacity: capacity}))
			for i := range 2 {
				_, err := shop.Book(t.Context(), request(sku, i))
				require.NoError(t, err, test.name)
			}
			exact(t, shop)
			before, err := s.orders.Counters(t.Context(), sku)
			require.NoError(t, err)
			test.put(t, s, before[0])
			test.meet(t, shop, sku)

			other := open(t, s) // it never met the counters that are gone
			for i := range capacity {
				for _, shop := range []*booking.Service{shop, other} {
					_, err := shop.Book(t.Context(), request(sku, i))
					require.NoError(t, err, "%s: order %d", test.name, i)
				}
			}
			_, err = other.Book(t.Context(), request(sku, capacity))
			require.ErrorIs(t, err, inventory.ErrSoldOut, test.name)
			exact(t, shop)
			stocks, err := s.inventory.Stock(t.Context(), sku)
			require.NoError(t, err)
			after, err := s.orders.Counters(t.Context(), sku)
			require.NoError(t, err)
			assert.Equal(t, after[0].Epoch, stocks[0].Epoch, test.name)
			assert.Greater(t, stocks[0].Taken, int64(capacity/2), "%s: sold by Redis, not past it", test.name)
			assert.Less(t, after[0].Epoch, int64(1<<51), "%s: room for further epochs", test.name)
		}
	})
}

// Postgres is restored to an older state under a process that goes on: it takes back what
// it knew of the epoch.
func TestPostgresIsRestored(t *testing.T) {
	t.Parallel()
	all, database := several(t, 1)
	s, pool := all[0], connect(t, database)
	shop := open(t, s)
	require.NoError(t, shop.PutOnSale(t.Context(), order.Item{SKU: "floor", Capacity: 10}))
	_, err := shop.Book(t.Context(), request("floor", 0))
	require.NoError(t, err)
	exact(t, shop)
	// It was last backed up before this epoch and the order, and its clock is behind.
	_, err = pool.Exec(t.Context(), "update lastunit.skus set epoch = epoch - 1000000, admitted = 0, top_seq = 0")
	require.NoError(t, err)
	for i := range 10 {
		_, err := shop.Book(t.Context(), request("floor", i))
		require.NoError(t, err)
	}
	_, err = shop.Book(t.Context(), request("floor", 10))
	require.ErrorIs(t, err, inventory.ErrSoldOut)
	exact(t, shop)
}
