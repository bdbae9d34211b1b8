package ordertest

import (
	"sync"

	"github.com/stretchr/testify/assert"

	"github.com/lastunit/lastunit/order"
)

var beginEpochTests = []test{
	{"makes the deductions void", func(s *shop) {
		sku := s.sku("floor", 10)
		s.book(s.deducted("1", line(sku, 4)))
		late := s.deducted("2", line(sku, 1))
		before := s.counters(sku)
		s.Equal(int64(4), before.Admitted)
		s.Positive(before.TopSeq)

		c, _, err := s.store.BeginEpoch(s.ctx, sku, before.Epoch)
		s.NoError(err)
		s.Greater(c.Epoch, before.Epoch)
		s.Greater(c.Version, before.Version)
		s.Zero(c.Admitted)
		s.Zero(c.TopSeq)
		s.Equal(int64(4), c.Allocated)
		s.Equal(int64(6), c.Supply().Units, "what is left, as Redis starts with nothing taken")

		outcome := s.one(late)
		s.Equal(order.VerdictAgain, outcome.Verdict)
		s.Equal([]bool{true}, outcome.Again)
		s.notThere("2")
		s.book(s.deducted("2", line(sku, 1)))
	}},
	{"only once for what was seen", func(s *shop) {
		sku := s.sku("floor", 10)
		seen := s.counters(sku).Epoch
		first, _, err := s.store.BeginEpoch(s.ctx, sku, seen)
		s.NoError(err)
		second, _, err := s.store.BeginEpoch(s.ctx, sku, seen)
		s.NoError(err)
		s.Equal(still(first), still(second))
		for _, other := range []int64{0, seen - 1, 1 << 51, 1 << 52} {
			third, _, err := s.store.BeginEpoch(s.ctx, sku, other)
			s.NoError(err)
			s.Equal(still(first), still(third))
		}
	}},
	{"above one that was never begun", func(s *shop) {
		sku := s.sku("floor", 10)
		before := s.counters(sku)
		for _, ahead := range []int64{before.Epoch + 1, before.Epoch + 1_000_000_000, 1<<51 - 2} {
			c, begun, err := s.store.BeginEpoch(s.ctx, sku, ahead)
			s.NoError(err)
			s.True(begun)
			s.Greater(c.Epoch, ahead)
			again, begun, err := s.store.BeginEpoch(s.ctx, sku, ahead)
			s.NoError(err)
			s.False(begun, "only once")
			s.Equal(still(c), still(again))
		}
		s.Equal(before.Version+3, s.counters(sku).Version)
	}},
	{"100 callers advance it once", func(s *shop) {
		sku := s.sku("floor", 10)
		before := s.counters(sku)
		all := make([]order.Counters, 100)
		var callers sync.WaitGroup
		for i := range all {
			callers.Go(func() {
				c, _, err := s.store.BeginEpoch(s.ctx, sku, before.Epoch)
				assert.NoError(s.t, err)
				all[i] = c
			})
		}
		callers.Wait()
		for _, c := range all {
			s.Equal(all[0].Epoch, c.Epoch)
		}
		s.Greater(all[0].Epoch, before.Epoch)
		s.Equal(before.Version+1, s.counters(sku).Version)
	}},
	{"other SKUs stay as they are", func(s *shop) {
		a, b := s.sku("a", 10), s.sku("b", 10)
		before := s.counters(b)
		_, _, err := s.store.BeginEpoch(s.ctx, a, s.counters(a).Epoch)
		s.NoError(err)
		s.Equal(before, s.counters(b))
	}},
	{"of an unknown SKU", func(s *shop) {
		_, _, err := s.store.BeginEpoch(s.ctx, s.name+"nothing", 1)
		s.ofSKU(err, order.ErrUnknownSKU, s.name+"nothing")
	}},
}
