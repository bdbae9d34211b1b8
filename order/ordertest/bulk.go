package ordertest

import (
	"fmt"
	"sync"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/lastunit/lastunit/order"
)

// items are many, of which each draws on the first.
func (s *shop) items(n int) []order.Item {
	items := []order.Item{{SKU: s.name + "hall", Capacity: 1_000_000}}
	for i := 1; i < n; i++ {
		items = append(items, order.Item{
			SKU: fmt.Sprintf("%s%05d", s.name, i), Capacity: int64(i), CustomerLimit: int64(i % 3), Draws: []order.Line{line(items[0].SKU, 1)},
		})
	}
	return items
}

var bulkTests = []test{
	{"10,000 items", func(s *shop) {
		items := s.items(order.MaxItems)
		all, made, err := s.put(items...)
		s.NoError(err)
		s.NotContains(made, false)
		s.own(all...)
		for i, c := range all {
			s.Equal(items[i].Capacity, c.Capacity)
			s.Equal(items[i].CustomerLimit, c.CustomerLimit)
			s.Equal(items[i].Draws, c.Draws)
			s.Equal(int64(1), c.Version)
		}
		last := items[len(items)-1].SKU
		s.book(s.deducted("1", line(last, 2)))
		s.Equal(int64(2), s.counters(items[0].SKU).Allocated)
		s.kinds(last, order.MovedOnSale, order.MovedBooked)

		again, made, err := s.put(items...)
		s.NoError(err)
		s.NotContains(made, true)
		s.Equal(all[1], again[1])
		counters, err := s.store.Counters(s.ctx, s.skus...)
		s.NoError(err)
		s.Len(counters, len(items))

		_, _, err = s.put(append(items, order.Item{SKU: s.name + "more"})...)
		s.invalid(err, len(items)+1)
		s.unknown(s.name + "more")
	}},
	{"a bad one among 10,000", func(s *shop) {
		there := s.sku("there", 5)
		before := s.counters(there)
		for name, bad := range map[string]order.Item{
			"a bad capacity":     {SKU: s.name + "bad", Capacity: -1},
			"a bad SKU":          {SKU: "bad\x00"},
			"a bad limit":        {SKU: s.name + "bad", CustomerLimit: -1},
			"twice":              {SKU: s.name + "00017", Capacity: 17},
			"an unknown pool":    {SKU: s.name + "bad", Draws: []order.Line{line(s.name+"nothing", 1)}},
			"there, with others": {SKU: there, Capacity: 6},
		} {
			items := s.items(order.MaxItems - 1)
			_, _, err := s.put(append(items, bad)...)
			switch name {
			case "an unknown pool":
				s.ofSKU(err, order.ErrUnknownSKU, s.name+"nothing")
			case "there, with others":
				s.ofSKU(err, order.ErrAlreadyOnSale, there)
			default:
				s.invalid(err, name)
			}
			s.unknown(items[0].SKU, items[1].SKU, items[order.MaxItems-2].SKU, s.name+"bad")
		}
		s.Equal(before, s.counters(there))
	}},
	{"some of them are there", func(s *shop) {
		items := s.items(10)
		all, _, err := s.put(items[:4]...)
		s.NoError(err)
		s.own(all...)
		s.book(s.direct("1", line(items[0].SKU, 1)))
		before := s.counters(items[0].SKU)
		rest, made, err := s.put(items...)
		s.NoError(err)
		s.own(rest[4:]...)
		for i := range items {
			s.Equal(i >= 4, made[i])
		}
		s.Equal(before, rest[0])
		s.Equal(all[1:], rest[1:4])
	}},
	{"by many at once", func(s *shop) {
		// In opposing orders, each is made once.
		items := s.items(300)
		back := append([]order.Item{}, items...)
		for i := range back {
			back[i] = items[len(items)-1-i]
		}
		var mu sync.Mutex
		makers := make(map[string]int)
		s.together(4, func(caller int) {
			mine := [][]order.Item{items, back}[caller%2]
			_, made, err := s.store.PutOnSale(s.ctx, mine...)
			if !assert.NoError(s.t, err) {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			for i, m := range made {
				if m {
					makers[mine[i].SKU]++
				}
			}
		})
		s.Len(makers, len(items))
		for sku, n := range makers {
			s.Equal(1, n, sku)
		}
		counters, _, err := s.put(items...)
		s.NoError(err)
		s.own(counters...)
	}},
	{"with conflicts, by many at once", func(s *shop) {
		// One of two wins, and all of its items with it.
		for round := range 10 {
			items := s.items(20)
			for i := range items {
				items[i].SKU = fmt.Sprint(s.name, round, "-", i)
				items[i].Draws = nil
			}
			others := append([]order.Item{}, items...)
			for i := range others {
				others[i].Capacity++
			}
			won := make([]bool, 2)
			s.together(2, func(caller int) {
				_, _, err := s.store.PutOnSale(s.ctx, [][]order.Item{items, others}[caller]...)
				if won[caller] = err == nil; err != nil {
					assert.ErrorIs(s.t, err, order.ErrAlreadyOnSale)
				}
			})
			s.NotEqual(won[0], won[1])
			if won[1] {
				items = others
			}
			counters, made, err := s.put(items...)
			s.NoError(err)
			s.NotContains(made, true)
			s.own(counters...)
		}
	}},
	{"nothing", func(s *shop) {
		counters, made, err := s.put()
		s.NoError(err)
		s.Empty(counters)
		s.Empty(made)
	}},
	{"a few with windows", func(s *shop) {
		now := time.Now()
		var items []order.Item
		for i := range 5 {
			items = append(items, order.Item{
				SKU: fmt.Sprint(s.name, i), OpensAt: now.Add(time.Duration(i) * time.Hour), ClosesAt: now.Add(time.Duration(i+1) * time.Hour),
			})
		}
		items[3].OpensAt, items[4].ClosesAt = time.Time{}, time.Time{}
		counters, _, err := s.put(items...)
		s.NoError(err)
		s.own(counters...)
		for i, c := range counters {
			s.WithinDuration(items[i].OpensAt, c.OpensAt, time.Microsecond)
			s.WithinDuration(items[i].ClosesAt, c.ClosesAt, time.Microsecond)
		}
	}},
}
