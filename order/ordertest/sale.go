package ordertest

import (
	"sync"

	"github.com/stretchr/testify/assert"

	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

var putOnSaleTests = []test{
	{"counters of a new SKU", func(s *shop) {
		sku := s.name + "floor"
		c, err := s.store.PutOnSale(s.ctx, order.Item{SKU: sku, Capacity: 1000})
		s.NoError(err)
		s.Equal(sku, c.SKU)
		s.NotEmpty(c.Store)
		s.Equal(int64(1000), c.Capacity)
		s.Zero(c.Allocated)
		s.Zero(c.Admitted)
		s.Zero(c.TopSeq)
		s.Positive(c.Epoch)
		s.Positive(c.Version)
		s.Equal(int64(1000), c.Left())
		s.Equal(c, s.counters(sku))
		s.Equal(inventory.Supply{SKU: sku, Store: c.Store, Epoch: c.Epoch, Version: c.Version, Units: 1000}, c.Supply())
	}},
	{"repeated", func(s *shop) {
		sku := s.sku("floor", 10)
		s.book(s.direct("1", line(sku, 3)))
		before := s.counters(sku)
		c, err := s.store.PutOnSale(s.ctx, order.Item{SKU: sku, Capacity: 10})
		s.NoError(err)
		s.Equal(before, c)
		s.Equal(before, s.counters(sku))
	}},
	{"with another capacity", func(s *shop) {
		sku := s.sku("floor", 10)
		before := s.counters(sku)
		for _, capacity := range []int64{0, 9, 11} {
			_, err := s.store.PutOnSale(s.ctx, order.Item{SKU: sku, Capacity: capacity})
			s.ErrorIs(err, order.ErrAlreadyOnSale)
			var of *order.SKUError
			s.ErrorAs(err, &of)
			s.Equal(sku, of.SKU)
		}
		s.Equal(before, s.counters(sku))
	}},
	{"after the capacity was changed", func(s *shop) {
		sku := s.sku("floor", 10)
		_, err := s.store.SetCapacity(s.ctx, sku, 20)
		s.NoError(err)
		_, err = s.store.PutOnSale(s.ctx, order.Item{SKU: sku, Capacity: 10})
		s.ErrorIs(err, order.ErrAlreadyOnSale)
		_, err = s.store.PutOnSale(s.ctx, order.Item{SKU: sku, Capacity: 20})
		s.NoError(err)
	}},
	{"capacity 0 and the largest", func(s *shop) {
		none, most := s.sku("none", 0), s.sku("most", inventory.MaxCapacity)
		outcome := s.one(s.direct("1", line(none, 1)))
		s.Equal(order.VerdictFull, outcome.Verdict)
		s.Zero(outcome.Left)
		s.book(s.direct("2", line(most, inventory.MaxQuantity)))
		s.Equal(int64(inventory.MaxCapacity-inventory.MaxQuantity), s.counters(most).Left())
	}},
	{"from many at once", func(s *shop) {
		sku := s.name + "floor"
		s.skus = append(s.skus, sku)
		all := make([]order.Counters, 20)
		var callers sync.WaitGroup
		for i := range all {
			callers.Go(func() {
				c, err := s.store.PutOnSale(s.ctx, order.Item{SKU: sku, Capacity: 5})
				assert.NoError(s.t, err)
				all[i] = c
			})
		}
		callers.Wait()
		for _, c := range all {
			s.Equal(all[0], c)
		}
	}},
	{"each store has one name", func(s *shop) {
		s.Equal(s.counters(s.sku("a", 1)).Store, s.counters(s.sku("b", 2)).Store)
	}},
}

var setCapacityTests = []test{
	{"more and fewer", func(s *shop) {
		sku := s.sku("floor", 10)
		s.book(s.deducted("1", line(sku, 4)))
		before := s.counters(sku)
		for _, capacity := range []int64{20, 4} {
			c, err := s.store.SetCapacity(s.ctx, sku, capacity)
			s.NoError(err)
			s.Equal(capacity, c.Capacity)
			s.Equal(before.Epoch, c.Epoch)
			s.Greater(c.Version, before.Version, "a new supply is a new version")
			s.Equal(capacity, c.Supply().Units, "capacity - allocated + admitted")
			s.Equal(int64(4), c.Supply().Admitted)
			s.Equal(c, s.counters(sku))
			before = c
		}
	}},
	{"repeated", func(s *shop) {
		sku := s.sku("floor", 10)
		once, err := s.store.SetCapacity(s.ctx, sku, 20)
		s.NoError(err)
		twice, err := s.store.SetCapacity(s.ctx, sku, 20)
		s.NoError(err)
		s.Equal(once, twice)
	}},
	{"below what is sold", func(s *shop) {
		sku := s.sku("floor", 10)
		s.book(s.deducted("1", line(sku, 4)))
		s.book(s.deducted("2", line(sku, 4)))
		c, err := s.store.SetCapacity(s.ctx, sku, 5)
		s.NoError(err)
		s.Equal(int64(-3), c.Left(), "says by how much it is over")
		s.Equal(int64(5), c.Supply().Units)

		outcome := s.one(s.deducted("3", line(sku, 1)))
		s.Equal(order.VerdictFull, outcome.Verdict)
		s.Zero(outcome.Left, "what is left is never negative")

		s.cancel("1") // 4 are sold of 5
		s.Equal(order.VerdictFull, s.one(s.deducted("4", line(sku, 2))).Verdict)
		s.book(s.deducted("3", line(sku, 1)))
		s.Zero(s.counters(sku).Left())
	}},
	{"of an unknown SKU", func(s *shop) {
		_, err := s.store.SetCapacity(s.ctx, s.name+"nothing", 5)
		s.ErrorIs(err, order.ErrUnknownSKU)
		var of *order.SKUError
		s.ErrorAs(err, &of)
		s.Equal(s.name+"nothing", of.SKU)
		counters, err := s.store.Counters(s.ctx, s.name+"nothing")
		s.NoError(err)
		s.Empty(counters)
	}},
}

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
		s.Equal(first, second)
		for _, other := range []int64{0, seen - 1, first.Epoch + 1} {
			third, _, err := s.store.BeginEpoch(s.ctx, sku, other)
			s.NoError(err)
			s.Equal(first, third)
		}
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
		s.ErrorIs(err, order.ErrUnknownSKU)
		var of *order.SKUError
		s.ErrorAs(err, &of)
		s.Equal(s.name+"nothing", of.SKU)
	}},
}
