package inventory_test

import (
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/inventory"
)

// A Redis that came back on an old copy of its data: the watermark gives it away.
func TestRollbackIsBehindTheWatermark(t *testing.T) {
	onBoth(t, func(t *testing.T, client *redis.Client) {
		s := onSale(t, client, 10)
		s.deduct("a")
		old := s.hash()
		b := s.deduct("b")
		s.replace(old)

		for _, attempt := range []string{"a", "b", "c"} { // also those it knows, or has forgotten
			r := s.request(attempt)
			r.Watermark = inventory.Watermark{Epoch: b.Epoch, Seq: b.Seq}
			_, err := s.repo.Deduct(background(t), r)
			notLoaded(t, err, inventory.WhyBehind)
			assert.Equal(t, old, s.hash(), "nothing was taken")
		}
		s.repairs()
		require.NoError(t, s.repo.Restore(background(t), b), "a deduction of the old epoch is void")
		assert.Equal(t, int64(1), s.stock().Taken)
	})
}

// The same, though as many units are taken as before: counting would not do.
func TestRollbackWithEqualCounts(t *testing.T) {
	onBoth(t, func(t *testing.T, client *redis.Client) {
		s := onSale(t, client, 10)
		a := s.deduct("a")
		old := s.hash()
		require.NoError(t, s.repo.Restore(background(t), a))
		b := s.deduct("b")
		s.replace(old)
		r := s.request("c")
		r.Watermark = inventory.Watermark{Epoch: b.Epoch, Seq: b.Seq}
		_, err := s.repo.Deduct(background(t), r)
		notLoaded(t, err, inventory.WhyBehind)
	})
}

func TestRollbackToAnOlderEpoch(t *testing.T) {
	onBoth(t, func(t *testing.T, client *redis.Client) {
		s := onSale(t, client, 10)
		for _, attempt := range []string{"a", "b", "c"} {
			s.deduct(attempt)
		}
		old := s.hash()
		s.repairs()
		d := s.deduct("d")
		s.replace(old)
		r := s.request("e")
		r.Watermark = inventory.Watermark{Epoch: d.Epoch, Seq: d.Seq} // lower than the old one's
		_, err := s.repo.Deduct(background(t), r)
		notLoaded(t, err, inventory.WhyBehind)
		notLoaded(t, s.repo.Push(background(t), s.supply), inventory.WhyBehind)
	})
}

func TestRollbackIsSeenWhenASettleArrives(t *testing.T) {
	onBoth(t, func(t *testing.T, client *redis.Client) {
		s := onSale(t, client, 10)
		a := s.deduct("a")
		old := s.hash()
		b := s.deduct("b")
		s.supply.Admitted = 1
		require.NoError(t, s.repo.Settle(background(t), s.supply, a))

		s.replace(old)
		s.supply.Version, s.supply.Units, s.supply.Admitted = 2, 20, 2
		notLoaded(t, s.repo.Settle(background(t), s.supply, b), inventory.WhyLost)
		// The supply is replaced, for whoever reads the counters meanwhile.
		assert.Equal(t, int64(20), s.stock().Supply)
		assert.Equal(t, int64(1), s.stock().Unsettled, "a is back from the dead")
		require.NoError(t, s.repo.Restore(background(t), b))
		assert.Equal(t, int64(1), s.stock().Taken)
		s.repairs()
	})
}

func TestWipe(t *testing.T) {
	onBoth(t, func(t *testing.T, client *redis.Client) {
		s := onSale(t, client, 10)
		d := s.deduct("a")
		s.replace(nil)
		for method, err := range s.everyMethod(d) {
			if method == "Restore" {
				require.NoError(t, err, "there is nothing to give back")
				continue
			}
			t.Log(method)
			notLoaded(t, err, inventory.WhyMissing)
		}
		assert.Empty(t, s.hash(), "nobody but Load makes counters")
		s.repairs()
	})
}
