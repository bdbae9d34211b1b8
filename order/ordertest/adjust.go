package ordertest

import (
	"sync"

	"github.com/stretchr/testify/assert"

	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

var adjustTests = []test{
	{"more and fewer", func(s *shop) {
		sku := s.sku("floor", 10)
		s.book(s.deducted("1", line(sku, 4)))
		before := s.counters(sku)
		for _, step := range []struct {
			kind        order.AdjustmentKind
			units, want int64
		}{
			{order.SetCapacity, 20, 20},
			{order.SetCapacity, 4, 4},
			{order.Restock, 3, 7},
			{order.WriteOff, 2, 5},
			{order.Restock, 1, 6},
		} {
			c := s.adjust(sku, step.kind, step.units)
			s.Equal(step.want, c.Capacity)
			s.Equal(before.Epoch, c.Epoch)
			s.Equal(before.Version+1, c.Version, "a new supply is a new version")
			s.Equal(step.want, c.Supply().Units, "capacity - allocated + admitted")
			s.Equal(int64(4), c.Supply().Admitted)
			s.Equal(c, s.counters(sku))
			before = c
		}
	}},
	{"once under an ID", func(s *shop) {
		sku := s.sku("floor", 10)
		adjustment := order.Adjustment{ID: s.id("1"), SKU: sku, Kind: order.Restock, Units: 5, Reason: "delivery", Reference: "L-1"}
		once, err := s.store.Adjust(s.ctx, adjustment)
		s.NoError(err)
		s.Equal(int64(15), once.Capacity)
		twice, err := s.store.Adjust(s.ctx, adjustment)
		s.NoError(err)
		s.Equal(still(once), still(twice))

		// Also where it could not be made any more, or would now do something.
		down := order.Adjustment{ID: s.id("2"), SKU: sku, Kind: order.WriteOff, Units: 12}
		set := order.Adjustment{ID: s.id("3"), SKU: sku, Kind: order.SetCapacity, Units: 3}
		for _, a := range []order.Adjustment{down, set, down, set, adjustment} {
			c, err := s.store.Adjust(s.ctx, a)
			s.NoError(err)
			s.Equal(int64(3), c.Capacity)
		}
		s.adjust(sku, order.SetCapacity, 8)
		s.superseded(set)
		c, err := s.store.Adjust(s.ctx, down)
		s.NoError(err)
		s.Equal(int64(8), c.Capacity, "as it is now")
		s.adjust(sku, order.SetCapacity, 3)
		c, err = s.store.Adjust(s.ctx, set)
		s.NoError(err, "it is what it was set to")
		s.Equal(int64(3), c.Capacity)
	}},
	{"the ID with other content", func(s *shop) {
		a, b := s.sku("a", 10), s.sku("b", 10)
		made := order.Adjustment{ID: s.id("1"), SKU: a, Kind: order.Restock, Units: 5, Reason: "delivery", Reference: "L-1"}
		_, err := s.store.Adjust(s.ctx, made)
		s.NoError(err)
		beforeA, beforeB := s.counters(a), s.counters(b)
		for _, other := range []func(a *order.Adjustment){
			func(a *order.Adjustment) { a.SKU = b },
			func(a *order.Adjustment) { a.Kind = order.SetCapacity },
			func(a *order.Adjustment) { a.Kind = order.WriteOff },
			func(a *order.Adjustment) { a.Units++ },
			func(a *order.Adjustment) { a.Reason = "" },
			func(a *order.Adjustment) { a.Reason = "theft" },
			func(a *order.Adjustment) { a.Reference = "" },
			func(a *order.Adjustment) { a.Reference = "L-2" },
		} {
			changed := made
			other(&changed)
			_, err := s.store.Adjust(s.ctx, changed)
			s.ErrorIs(err, order.ErrIdempotencyConflict, "%+v", changed)
			var of *order.AdjustmentError
			s.ErrorAs(err, &of)
			s.Equal(s.id("1"), of.ID)
		}
		s.Equal(beforeA, s.counters(a))
		s.Equal(beforeB, s.counters(b))
	}},
	{"to what it is", func(s *shop) {
		sku := s.sku("floor", 10)
		before := s.counters(sku)
		same := order.Adjustment{ID: s.id("1"), SKU: sku, Kind: order.SetCapacity, Units: 10}
		c, err := s.store.Adjust(s.ctx, same)
		s.NoError(err)
		s.Equal(before, still(c))
		s.Len(s.movements(sku), 1, "none was written")
		s.adjust(sku, order.Restock, 1)
		s.superseded(same)
		s.Equal(int64(11), s.counters(sku).Capacity, "its ID is used")
	}},
	{"an order's ID is another thing", func(s *shop) {
		sku := s.sku("floor", 10)
		s.book(s.direct("1", line(sku, 1)))
		_, err := s.store.Adjust(s.ctx, order.Adjustment{ID: s.id("1"), SKU: sku, Kind: order.Restock, Units: 1})
		s.NoError(err)
		_, err = s.store.Adjust(s.ctx, order.Adjustment{ID: s.id("2"), SKU: sku, Kind: order.Restock, Units: 1})
		s.NoError(err)
		s.book(s.direct("2", line(sku, 1)))
	}},
	{"below what is sold", func(s *shop) {
		sku := s.sku("floor", 10)
		s.book(s.deducted("1", line(sku, 4)))
		s.book(s.deducted("2", line(sku, 4)))
		c := s.adjust(sku, order.WriteOff, 5)
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
	{"beyond the bounds of a capacity", func(s *shop) {
		sku := s.sku("floor", 10)
		check := s.untouched(sku)
		for _, bad := range []order.Adjustment{
			{Kind: order.WriteOff, Units: 11},
			{Kind: order.WriteOff, Units: inventory.MaxCapacity},
			{Kind: order.Restock, Units: inventory.MaxCapacity - 9},
			{Kind: order.Restock, Units: inventory.MaxCapacity},
		} {
			bad.ID, bad.SKU = s.id("1"), sku
			_, err := s.store.Adjust(s.ctx, bad)
			s.invalid(err, bad)
		}
		check()
		// The ID of what was refused is not used.
		c, err := s.store.Adjust(s.ctx, order.Adjustment{ID: s.id("1"), SKU: sku, Kind: order.Restock, Units: inventory.MaxCapacity - 10})
		s.NoError(err)
		s.Equal(int64(inventory.MaxCapacity), c.Capacity)
		s.Zero(s.adjust(sku, order.WriteOff, inventory.MaxCapacity).Capacity)
	}},
	{"of an unknown SKU", func(s *shop) {
		adjustment := order.Adjustment{ID: s.id("1"), SKU: s.name + "floor", Kind: order.SetCapacity, Units: 5}
		_, err := s.store.Adjust(s.ctx, adjustment)
		s.ofSKU(err, order.ErrUnknownSKU, s.name+"floor")
		s.unknown(s.name + "floor")
		s.sku("floor", 10)
		c, err := s.store.Adjust(s.ctx, adjustment)
		s.NoError(err)
		s.Equal(int64(5), c.Capacity, "its ID was not used")
	}},
	{"by many at once", func(s *shop) {
		sku := s.sku("floor", 10)
		before := s.counters(sku)
		var callers sync.WaitGroup
		for range 8 {
			callers.Go(func() {
				for _, id := range []string{"1", "2", "3"} {
					_, err := s.store.Adjust(s.ctx, order.Adjustment{ID: s.id(id), SKU: sku, Kind: order.Restock, Units: 2})
					assert.NoError(s.t, err)
				}
			})
		}
		callers.Wait()
		s.Equal(int64(16), s.counters(sku).Capacity)
		s.Equal(before.Version+3, s.counters(sku).Version)
	}},
	{"one ID by many at once, of several SKUs", func(s *shop) {
		skus := []string{s.sku("a", 10), s.sku("b", 10), s.sku("c", 10)}
		won := make([]bool, 3)
		var callers sync.WaitGroup
		for i, sku := range skus {
			callers.Go(func() {
				_, err := s.store.Adjust(s.ctx, order.Adjustment{ID: s.id("1"), SKU: sku, Kind: order.Restock, Units: 1})
				if won[i] = err == nil; err != nil {
					assert.ErrorIs(s.t, err, order.ErrIdempotencyConflict)
				}
			})
		}
		callers.Wait()
		winners := 0
		for i, sku := range skus {
			if c := s.counters(sku); won[i] {
				winners++
				s.Equal(int64(11), c.Capacity)
			} else {
				s.Equal(int64(10), c.Capacity)
			}
		}
		s.Equal(1, winners)
	}},
}

// superseded checks that an adjustment that was made is not made again after another one.
func (s *shop) superseded(made order.Adjustment) {
	s.t.Helper()
	defer s.untouched(made.SKU)()
	_, err := s.store.Adjust(s.ctx, made)
	s.ErrorIs(err, order.ErrSuperseded)
	var of *order.AdjustmentError
	s.ErrorAs(err, &of)
	s.Equal(made.ID, of.ID)
}
