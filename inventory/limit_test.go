package inventory_test

import (
	"fmt"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/inventory"
)

// Customers are in the hash only while something of theirs is in flight under a
// limit.
func TestCustomersInTheHash(t *testing.T) {
	onBoth(t, func(t *testing.T, client *redis.Client) {
		s := onSale(t, client, 10)
		free := s.deduct("free")
		assert.Len(t, s.hash(), counters+1)
		assert.Equal(t, fmt.Sprintf("1:1:1:%d:0:order of free", free.At.UnixMilli()), s.hash()["d:free"])

		s.terms(inventory.Terms{CustomerLimit: 5})
		a, b, c := s.deduct("a"), s.deduct("b"), s.deduct("c")
		assert.Equal(t, fmt.Sprintf("2:1:2:%d:5:carolorder of a", a.At.UnixMilli()), s.hash()["d:a"])
		assert.Equal(t, "3", s.hash()["c:carol"])
		assert.Len(t, s.hash(), counters+5)

		require.NoError(t, s.repo.Restore(background(t), a, free))
		assert.Equal(t, "2", s.hash()["c:carol"])
		require.NoError(t, s.repo.Settle(background(t), s.supply, b))
		assert.Equal(t, "1", s.hash()["c:carol"])
		require.NoError(t, s.repo.Settle(background(t), s.supply, c))
		assert.Len(t, s.hash(), counters, "nothing of an attempt or a customer stays")
	})
}

// What a hash says of a customer is garbage: it is told, and nothing is touched.
func TestGarbageInACustomer(t *testing.T) {
	onBoth(t, func(t *testing.T, client *redis.Client) {
		s := onSale(t, client, 10)
		s.terms(inventory.Terms{CustomerLimit: 5})
		d := s.deduct("a")
		s.deduct("b")
		good := s.hash()
		for _, value := range []string{
			"", "x", "0", "-1", "1", "3", "01", "1e0", "nan", "2.0", "+2", " 2", "9007199254740993", "99999999999999999999",
		} {
			fields := with(good, "c:carol", value)
			if value == "" {
				fields["c:carol"] = ""
			}
			s.replace(fields)
			ctx := background(t)
			_, err := s.repo.Deduct(ctx, s.request("new"))
			switch value {
			case "1": // it can't be told from a good one yet
				require.NoError(t, err)
				s.replace(with(with(good, "c:carol", value), "d:a", fmt.Sprintf("1:2:2:%d:5:carolo", d.At.UnixMilli())))
				fields = s.hash()
			default:
				notLoaded(t, err, inventory.WhyGarbage)
			}
			supply := s.supply
			supply.Version++
			notLoaded(t, s.repo.Settle(ctx, supply, d), inventory.WhyGarbage)
			notLoaded(t, s.repo.Restore(ctx, d), inventory.WhyGarbage)
			assert.Equal(t, fields, s.hash(), "%q: nobody but Load touches it", value)

			other := s.request("of dave")
			other.Customer = "dave"
			other, before := other, s.hash()
			if _, err := s.repo.Deduct(ctx, other); assert.NoError(t, err, "it must not stop the sale to others") {
				assert.NotEqual(t, before, s.hash())
			}
		}
		// A record counts for a customer of whom nothing is there.
		s.replace(with(good, "c:carol", ""))
		notLoaded(t, s.repo.Restore(background(t), d), inventory.WhyGarbage)
		s.repairs()
	})
}
