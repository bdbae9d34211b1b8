package inventory_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/inventory"
)

// everyMethod calls each method but Load, and returns the errors by name.
func (s *sale) everyMethod(d inventory.Deduction) map[string]error {
	ctx := background(s.t)
	supply := s.supply
	supply.Version++
	_, deduct := s.repo.Deduct(ctx, s.request("new"))
	_, unsettled := s.repo.Unsettled(ctx, store, s.sku, 0, 10)
	accepted, accept := s.repo.Accept(ctx, "an order", d)
	if why := (*inventory.NotLoadedError)(nil); accept == nil && errors.As(deduct, &why) {
		accept = deduct // what is not loaded is gone, which is no error
		assert.Equal(s.t, []inventory.Keeping{inventory.Gone}, accepted.Keeping)
	}
	return map[string]error{
		"Accept": accept, "Deduct": deduct, "Unsettled": unsettled,
		"Push": s.repo.Push(ctx, supply), "Settle": s.repo.Settle(ctx, supply, d), "Restore": s.repo.Restore(ctx, d),
	}
}

// repairs loads a new epoch, and deducts from it.
func (s *sale) repairs() {
	s.t.Helper()
	s.supply.Epoch++
	require.NoError(s.t, s.repo.Load(background(s.t), s.supply))
	assert.Equal(s.t, inventory.Stock{
		SKU: s.sku, Store: store, Epoch: s.supply.Epoch, Version: s.supply.Version, Supply: s.supply.Units, Terms: s.supply.Terms,
	}, s.stock())
	assert.Equal(s.t, int64(1), s.deduct("after the repair").Seq)
}

func TestKeyOfAnotherType(t *testing.T) {
	onBoth(t, func(t *testing.T, client *redis.Client) {
		ctx := background(t)
		for kind, make := range map[string]func(key string) error{
			"string": func(key string) error { return client.Set(ctx, key, "text", 0).Err() },
			"list":   func(key string) error { return client.RPush(ctx, key, "a").Err() },
			"set":    func(key string) error { return client.SAdd(ctx, key, "a").Err() },
			"zset":   func(key string) error { return client.ZAdd(ctx, key, redis.Z{Member: "a"}).Err() },
			"stream": func(key string) error {
				return client.XAdd(ctx, &redis.XAddArgs{Stream: key, Values: []string{"a", "b"}}).Err()
			},
		} {
			t.Run(kind, func(t *testing.T) {
				s := onSale(t, client, 10)
				d := s.deduct("a")
				require.NoError(t, client.Del(ctx, s.key).Err())
				require.NoError(t, make(s.key))
				for method, err := range s.everyMethod(d) {
					t.Log(method)
					notLoaded(t, err, inventory.WhyGarbage)
				}
				assert.Equal(t, inventory.Stock{SKU: s.sku, Why: inventory.WhyGarbage}, s.stock())
				assert.Equal(t, kind, client.Type(ctx, s.key).Val(), "nobody but Load touches it")
				s.repairs()
			})
		}
	})
}

func TestGarbageInACounterOrATerm(t *testing.T) {
	onBoth(t, func(t *testing.T, client *redis.Client) {
		s := onSale(t, client, 10)
		d := s.deduct("a")
		good := with(with(s.hash(), "opens_at", "1000"), "closes_at", "5000")
		bad := []string{"", "x", "nan", "1e3", "0x1", "+1", " 1", "01", "1.5", "9007199254740993"}
		below := map[string][]string{
			"epoch": {"0", "-1"}, "version": {"0", "-1"}, "taken": {"-1", "0"}, "seq": {"-1"}, "unsettled": {"-1", "2"}, "supply": {"-0"},
			"customer_limit": {"-1", "1000001"}, "opens_at": {"-1", "5000", "5001"}, "closes_at": {"-1", "1", "1000"}, "paused": {"-1", "2"},
		}
		for counter, more := range below {
			for _, value := range append(more, bad...) {
				fields := with(good, counter, value)
				s.replace(fields)
				for method, err := range s.everyMethod(d) {
					if err == nil {
						t.Errorf("%s = %q: %s works", counter, value, method)
						continue
					}
					notLoaded(t, err, inventory.WhyGarbage)
				}
				assert.Equal(t, inventory.Stock{SKU: s.sku, Why: inventory.WhyGarbage}, s.stock(), "%s = %q", counter, value)
				assert.Equal(t, fields, s.hash(), "nobody but Load touches it")
			}
			s.repairs()
			s.supply.Epoch-- // for good
		}
	})
}

// TestHashOfAnotherFormat: what another build wrote is rebuilt, and never read.
func TestHashOfAnotherFormat(t *testing.T) {
	onBoth(t, func(t *testing.T, client *redis.Client) {
		s := onSale(t, client, 10)
		d := s.deduct("a")
		accepted := s.deduct("b")
		answer, err := s.repo.Accept(background(t), "an order", accepted)
		require.NoError(t, err)
		require.Equal(t, []inventory.Keeping{inventory.Kept}, answer.Keeping)
		good := s.hash()
		require.Equal(t, "1", good["format"])
		for _, format := range []string{"", "0", "2", "01", "x"} {
			fields := with(good, "format", format)
			s.replace(fields)
			for _, err := range s.everyMethod(d) {
				notLoaded(t, err, inventory.WhyFormat)
			}
			assert.Equal(t, inventory.Stock{SKU: s.sku, Why: inventory.WhyFormat}, s.stock(), "%q", format)
			assert.Equal(t, fields, s.hash(), "nobody but Load touches it")

			// At the same epoch too. The format from before there was a number is the first
			// one, so that the accepted order is moved; of another one nothing is.
			require.NoError(t, s.repo.Load(background(t), s.supply))
			moved := int64(0)
			if format == "" {
				moved = 1
			}
			assert.Empty(t, s.stock().Why)
			assert.Equal(t, moved, s.stock().Taken, "%q", format)
		}
	})
}

func TestHashWithoutStore(t *testing.T) {
	onBoth(t, func(t *testing.T, client *redis.Client) {
		s := onSale(t, client, 10)
		d := s.deduct("a")
		s.replace(with(s.hash(), "store", ""))
		for _, err := range s.everyMethod(d) {
			notLoaded(t, err, inventory.WhyGarbage)
		}
		assert.Equal(t, inventory.WhyGarbage, s.stock().Why)
		// At the same epoch too: garbage is replaced at once.
		require.NoError(t, s.repo.Load(background(t), s.supply))
		assert.Empty(t, s.stock().Why)
		assert.Zero(t, s.stock().Taken)
	})
}

func TestGarbageInADeduction(t *testing.T) {
	onBoth(t, func(t *testing.T, client *redis.Client) {
		s := onSale(t, client, 10)
		d := s.deduct("a")
		good := s.hash()
		for _, value := range []string{
			"x", ":", ":::::", "1:1:1:1:0:", "1:1:1:1:0", "1:1:1:1:o", "0:1:1:1:0:o", "1:0:1:1:0:o", "1:1:0:1:0:o",
			"-1:1:1:1:0:o", "1:-1:1:1:0:o", "1:1e3:1:1:0:o", "nan:1:1:1:0:o", "1:01:1:1:0:o", "1:9007199254740993:1:1:0:o",
			"9007199254740993:1:1:1:0:o", "1:1:1:x:0:o", "1:2:1:1:0:o",
			"1:1:1:1:x:o", "1:1:1:1:-1:o", "1:1:1:1:00:o", "1:1:1:1:1:o", "1:1:1:1:6:carolo", "1:1:1:1:7:carolo", "1:1:1:1:05:carolo",
			"1:1:1:1:129:" + strings.Repeat("c", 129) + "o",
		} {
			fields := with(good, "d:a", value)
			s.replace(fields)
			ctx := background(t)
			supply := s.supply
			supply.Version++
			if value == "1:2:1:1:0:o" { // more units than are unsettled
				notLoaded(t, s.repo.Settle(ctx, supply, d), inventory.WhyGarbage)
				notLoaded(t, s.repo.Restore(ctx, d), inventory.WhyGarbage)
			} else {
				_, err := s.repo.Deduct(ctx, s.request("a"))
				notLoaded(t, err, inventory.WhyGarbage)
				notLoaded(t, s.repo.Settle(ctx, supply, d), inventory.WhyGarbage)
				notLoaded(t, s.repo.Restore(ctx, d), inventory.WhyGarbage)
				_, err = s.repo.Unsettled(ctx, store, s.sku, 0, 10)
				notLoaded(t, err, inventory.WhyGarbage)
			}
			assert.Equal(t, fields, s.hash(), "%q: nobody but Load touches it", value)
		}
		s.repairs()
	})
}

// One broken record must not stop the sale to others.
func TestGarbageInADeductionOfAnother(t *testing.T) {
	onBoth(t, func(t *testing.T, client *redis.Client) {
		s := onSale(t, client, 10)
		d := s.deduct("a")
		s.deduct("b")
		s.replace(with(s.hash(), "d:b", "x"))
		s.deduct("c")
		require.NoError(t, s.repo.Restore(background(t), d))
		assert.Equal(t, int64(2), s.stock().Taken)
	})
}

// A script that was ended half-way removed a record, and left its units unsettled.
func TestUnitsWithoutTheirRecord(t *testing.T) {
	onBoth(t, func(t *testing.T, client *redis.Client) {
		s := onSale(t, client, 10)
		s.deduct("a")
		s.deduct("b")
		ctx := background(t)
		_, err := s.repo.Unsettled(ctx, store, s.sku, 0, 10)
		require.NoError(t, err)
		require.NoError(t, client.HDel(ctx, s.key, "d:b").Err())
		for _, age := range []time.Duration{0, time.Hour} {
			_, err := s.repo.Unsettled(ctx, store, s.sku, age, 10)
			notLoaded(t, err, inventory.WhyGarbage)
		}
		s.repairs()
	})
}
