package ordertest

import (
	"sync"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

// put puts SKUs on sale, without taking them into the books.
func (s *shop) put(items ...order.Item) ([]order.Counters, []bool, error) {
	s.t.Helper()
	counters, made, err := s.store.PutOnSale(s.ctx, items...)
	if err != nil {
		s.Empty(counters)
		s.Empty(made)
		return nil, nil, err
	}
	s.Len(counters, len(items))
	s.Len(made, len(items))
	for i, c := range counters {
		s.Equal(items[i].SKU, c.SKU, "in the order of the items")
		s.False(c.At.IsZero())
	}
	return stills(counters), made, nil
}

// unknown checks that there is no such SKU.
func (s *shop) unknown(skus ...string) {
	s.t.Helper()
	counters, err := s.store.Counters(s.ctx, skus...)
	s.NoError(err)
	s.Empty(counters)
}

// ofSKU checks that an error is about this SKU.
func (s *shop) ofSKU(err, want error, sku string) {
	s.t.Helper()
	s.ErrorIs(err, want)
	var of *order.SKUError
	s.ErrorAs(err, &of)
	s.Equal(sku, of.SKU)
}

var putOnSaleTests = []test{
	{"counters of a new SKU", func(s *shop) {
		sku := s.name + "floor"
		all, made, err := s.put(order.Item{SKU: sku, Capacity: 1000})
		s.NoError(err)
		s.Equal([]bool{true}, made)
		s.own(all...)
		c := all[0]
		s.NotEmpty(c.Store)
		s.Equal(int64(1000), c.Capacity)
		s.Zero(c.Allocated)
		s.Zero(c.Admitted)
		s.Zero(c.TopSeq)
		s.Zero(c.Terms)
		s.Empty(c.Draws)
		s.Positive(c.Epoch)
		s.Positive(c.Version)
		s.Equal(int64(1000), c.Left())
		s.Equal(c, s.counters(sku))
		s.Equal(inventory.Supply{SKU: sku, Store: c.Store, Epoch: c.Epoch, Version: c.Version, Units: 1000}, c.Supply())
	}},
	{"with terms", func(s *shop) {
		// In another zone, and with a fraction that a store need not keep.
		opens := time.Date(2020, 5, 17, 20, 0, 0, 123456, time.FixedZone("", 3600))
		item := order.Item{SKU: s.name + "floor", Capacity: 10, CustomerLimit: 4, OpensAt: opens, ClosesAt: opens.AddDate(1000, 0, 0)}
		all, _, err := s.put(item)
		s.NoError(err)
		s.own(all...)
		c := s.counters(item.SKU)
		s.Equal(all[0], c)
		s.Equal(int64(4), c.CustomerLimit)
		s.WithinDuration(item.OpensAt, c.OpensAt, time.Microsecond)
		s.WithinDuration(item.ClosesAt, c.ClosesAt, time.Microsecond)
		s.False(c.Paused)
		s.Equal(c.Terms, c.Supply().Terms)

		item.OpensAt, item.ClosesAt = item.OpensAt.UTC(), item.ClosesAt.In(time.FixedZone("", -7200))
		again, made, err := s.put(item)
		s.NoError(err)
		s.Equal([]bool{false}, made)
		s.Equal(all, again, "the same moments")
	}},
	{"repeated", func(s *shop) {
		sku := s.sku("floor", 10)
		s.book(s.direct("1", line(sku, 3)))
		before := s.counters(sku)
		all, made, err := s.put(order.Item{SKU: sku, Capacity: 10})
		s.NoError(err)
		s.Equal([]bool{false}, made)
		s.Equal([]order.Counters{before}, all)
		s.Equal(before, s.counters(sku))
	}},
	{"with another capacity, limit, window or pool", func(s *shop) {
		now, pool := time.Now(), s.sku("pool", 10)
		item := order.Item{
			SKU: s.name + "floor", Capacity: 10, CustomerLimit: 4, OpensAt: now, ClosesAt: now.Add(time.Hour),
			Draws: []order.Line{line(pool, 2)},
		}
		s.item(item)
		before := s.counters(item.SKU)
		for _, other := range []func(i *order.Item){
			func(i *order.Item) { i.Capacity = 0 },
			func(i *order.Item) { i.Capacity = 9 },
			func(i *order.Item) { i.Capacity = 11 },
			func(i *order.Item) { i.CustomerLimit = 0 },
			func(i *order.Item) { i.CustomerLimit = 5 },
			func(i *order.Item) { i.OpensAt = time.Time{} },
			func(i *order.Item) { i.OpensAt = now.Add(time.Millisecond) },
			func(i *order.Item) { i.ClosesAt = time.Time{} },
			func(i *order.Item) { i.ClosesAt = now.Add(time.Hour - time.Millisecond) },
			func(i *order.Item) { i.Draws = nil },
			func(i *order.Item) { i.Draws = []order.Line{line(pool, 1)} },
		} {
			changed := item
			other(&changed)
			_, _, err := s.put(changed)
			s.ofSKU(err, order.ErrAlreadyOnSale, item.SKU)
		}
		s.Equal(before, s.counters(item.SKU))
		_, made, err := s.put(item)
		s.NoError(err)
		s.Equal([]bool{false}, made)
	}},
	{"after the terms were changed", func(s *shop) {
		sku := s.sku("floor", 10)
		s.adjust(sku, order.SetCapacity, 20)
		_, err := s.store.SetLimit(s.ctx, sku, 3)
		s.NoError(err)
		_, err = s.store.SetPaused(s.ctx, sku, true) // is not a part of the item
		s.NoError(err)
		for _, item := range []order.Item{{Capacity: 10}, {Capacity: 20}, {Capacity: 10, CustomerLimit: 3}} {
			item.SKU = sku
			_, _, err = s.put(item)
			s.ErrorIs(err, order.ErrAlreadyOnSale)
		}
		_, _, err = s.put(order.Item{SKU: sku, Capacity: 20, CustomerLimit: 3})
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
		all, made := make([]order.Counters, 20), make([]bool, 20)
		var callers sync.WaitGroup
		for i := range all {
			callers.Go(func() {
				c, m, err := s.store.PutOnSale(s.ctx, order.Item{SKU: sku, Capacity: 5})
				if assert.NoError(s.t, err) && assert.Len(s.t, c, 1) && assert.Len(s.t, m, 1) {
					all[i], made[i] = still(c[0]), m[0]
				}
			})
		}
		callers.Wait()
		makers := 0
		for i, c := range all {
			s.Equal(all[0], c)
			if made[i] {
				makers++
			}
		}
		s.Equal(1, makers, "who made it may load it")
	}},
	{"each store has one name", func(s *shop) {
		s.Equal(s.counters(s.sku("a", 1)).Store, s.counters(s.sku("b", 2)).Store)
	}},
	{"counters say when they were read", func(s *shop) {
		// By the clock of the store, so that they can be compared with its other times.
		sku := s.sku("floor", 10)
		before := s.now(sku)
		o := s.book(s.direct("1", line(sku, 1)))
		s.False(o.CreatedAt.Before(before))
		s.False(s.now(sku).Before(o.CreatedAt))
	}},
}
