package ordertest

import (
	"fmt"
	"sync"

	"github.com/stretchr/testify/assert"

	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

var cancelTests = []test{
	{"live", func(s *shop) {
		a, b := s.sku("a", 10), s.sku("b", 10)
		booked := s.book(s.deducted("1", line(a, 2), line(b, 3)))
		s.book(s.deducted("2", line(a, 1)))
		beforeA, beforeB := s.counters(a), s.counters(b)

		o, counters := s.cancel("1")
		s.Equal(order.Cancelled, o.Status)
		s.Equal(booked.Customer, o.Customer)
		s.Equal(booked.Lines, o.Lines)
		s.True(o.CreatedAt.Equal(booked.CreatedAt))
		s.False(o.ChangedAt.Before(booked.ChangedAt))
		s.Equal([]string{a, b}, names(counters))
		s.Equal([]order.Counters{s.counters(a), s.counters(b)}, counters)
		s.Equal(int64(1), counters[0].Allocated)
		s.Zero(counters[1].Allocated)
		s.Greater(counters[0].Version, beforeA.Version)
		s.Greater(counters[1].Version, beforeB.Version)
		s.Equal(beforeA.Supply().Units+2, counters[0].Supply().Units)
		s.Equal(beforeA.Admitted, counters[0].Admitted, "Redis took them, and keeps them as taken")
		s.Equal(beforeA.Epoch, counters[0].Epoch)

		stored, err := s.store.Order(s.ctx, s.id("1"))
		s.NoError(err)
		s.sameOrder(o, stored)
		s.book(s.deducted("3", line(a, 9), line(b, 10)))
	}},
	{"twice", func(s *shop) {
		sku := s.sku("floor", 10)
		s.book(s.deducted("1", line(sku, 2)))
		once, before := s.cancel("1")
		twice, after := s.cancel("1")
		s.sameOrder(once, twice)
		s.Equal(before, after)
		s.Zero(s.counters(sku).Allocated)
	}},
	{"unknown", func(s *shop) {
		sku := s.sku("floor", 10)
		before := s.counters(sku)
		_, err := s.act("1", order.Cancel)
		s.ErrorIs(err, order.ErrNotFound)
		s.notThere("1")
		o, counters := s.void("1")
		s.Equal(order.Cancelled, o.Status)
		s.Empty(o.Customer)
		s.Empty(o.Lines)
		s.Empty(counters)
		s.False(o.CreatedAt.IsZero())
		for _, action := range []order.Action{order.Void, order.Cancel} {
			again, _ := s.cancelBy(action, "1")
			s.sameOrder(o, again)
		}
		stored, err := s.store.Order(s.ctx, s.id("1"))
		s.NoError(err)
		s.sameOrder(o, stored)

		// Whatever content the late original had.
		for _, late := range []order.Commit{s.deducted("1", line(sku, 1)), s.direct("1", line(sku, 2)), s.direct("1", line(s.name+"nothing", 1))} {
			outcome := s.one(late)
			s.Equal(order.VerdictExisting, outcome.Verdict)
			s.Equal(order.Cancelled, outcome.Order.Status)
			s.NotContains(outcome.Consumed, true)
		}
		s.Equal(before, s.counters(sku))
	}},
	{"by many at once", func(s *shop) {
		// More rounds than one, as the first ones may only open connections.
		sku := s.sku("floor", 10)
		s.book(s.deducted("stays", line(sku, 3)))
		for round := range 20 {
			id := fmt.Sprint(round)
			s.book(s.deducted(id, line(sku, 2)))
			before := s.counters(sku)
			start := make(chan struct{})
			var callers sync.WaitGroup
			for range 6 {
				callers.Go(func() {
					<-start
					o, err := s.try(s.id(id), order.Cancel)
					assert.NoError(s.t, err)
					assert.Equal(s.t, order.Cancelled, o.Status)
				})
			}
			close(start)
			callers.Wait()
			s.Equal(int64(3), s.counters(sku).Allocated, "the units came back once")
			s.Equal(before.Version+1, s.counters(sku).Version)
		}
	}},
}

var fenceTests = []test{
	{"consumed", func(s *shop) {
		sku := s.sku("floor", 10)
		c := s.deducted("1", line(sku, 2))
		s.book(c)
		before := s.counters(sku)
		s.Equal([]bool{true}, s.fence(c.Deductions...))
		s.Equal([]bool{true}, s.fence(c.Deductions...))
		s.Equal(before, s.counters(sku))
		s.Equal(order.VerdictExisting, s.one(c).Verdict)
	}},
	{"the order is there with another identity", func(s *shop) {
		sku := s.sku("floor", 10)
		s.book(s.deducted("1", line(sku, 2)))
		second := s.deducted("1", line(sku, 2))
		s.Equal([]bool{false}, s.fence(second.Deductions...))
		outcome := s.one(second)
		s.Equal(order.VerdictExisting, outcome.Verdict)
		s.Equal([]bool{false}, outcome.Consumed)
	}},
	{"nothing there", func(s *shop) {
		sku := s.sku("floor", 10)
		late := s.deducted("1", line(sku, 2))
		before := s.counters(sku)
		for range 2 {
			s.Equal([]bool{false}, s.fence(late.Deductions...))
		}
		s.Equal(before, s.counters(sku))
		s.notThere("1")
		for range 2 {
			outcome := s.one(late)
			s.Equal(order.VerdictAgain, outcome.Verdict)
			s.Equal([]bool{true}, outcome.Again)
		}
		s.notThere("1")
		s.Equal(before, s.counters(sku))
		s.book(s.deducted("1", line(sku, 2)))
		s.Equal([]bool{false}, s.fence(late.Deductions...))
	}},
	{"cancelled before it was booked", func(s *shop) {
		sku := s.sku("floor", 10)
		late := s.deducted("1", line(sku, 2))
		s.void("1")
		s.Equal([]bool{false}, s.fence(late.Deductions...))
		s.Equal(order.VerdictExisting, s.one(late).Verdict)
	}},
	{"of a stale epoch", func(s *shop) {
		sku := s.sku("floor", 10)
		booked, late := s.deducted("1", line(sku, 2)), s.deducted("2", line(sku, 2))
		s.book(booked)
		_, _, err := s.store.BeginEpoch(s.ctx, sku, s.counters(sku).Epoch)
		s.NoError(err)
		s.Equal([]bool{true, false}, s.fence(booked.Deductions[0], late.Deductions[0]))
		s.Equal(order.VerdictAgain, s.one(late).Verdict)
	}},
	{"fences of older epochs are gone, and still hold", func(s *shop) {
		sku := s.sku("floor", 10)
		late := s.deducted("1", line(sku, 2))
		s.fence(late.Deductions...)
		_, _, err := s.store.BeginEpoch(s.ctx, sku, s.counters(sku).Epoch)
		s.NoError(err)
		s.Equal(order.VerdictAgain, s.one(late).Verdict)
		// The same number in the new epoch is another identity.
		fresh := s.deducted("1", line(sku, 2))
		fresh.Deductions[0].Seq = late.Deductions[0].Seq
		s.book(fresh)
	}},
	{"fences one identity only", func(s *shop) {
		a, b := s.sku("a", 10), s.sku("b", 10)
		c := s.deducted("1", line(a, 1), line(b, 1))
		s.fence(c.Deductions[0])
		other := s.deducted("2", line(b, 1))
		other.Deductions[0].Seq = c.Deductions[0].Seq // of the other SKU
		other.Deductions[0].Epoch = s.counters(b).Epoch
		s.book(other)
		s.book(s.deducted("3", line(a, 1)))
	}},
	{"of an unknown SKU", func(s *shop) {
		d := s.deduct(s.id("1"), line(s.name+"nothing", 1))
		s.Equal([]bool{false}, s.fence(d))
	}},
	{"many at once, in the same order", func(s *shop) {
		a, b := s.sku("a", 1000), s.sku("b", 1000)
		var deductions []inventory.Deduction
		var want []bool
		for i := range 60 {
			c := s.deducted(fmt.Sprint(i), line([]string{b, a}[i%2], 1))
			if i%3 == 0 {
				s.book(c)
			}
			deductions, want = append(deductions, c.Deductions...), append(want, i%3 == 0)
		}
		deductions, want = append(deductions, deductions[:2]...), append(want, want[:2]...)
		consumed, counters, err := s.store.Fence(s.ctx, deductions)
		s.NoError(err)
		s.Equal(want, consumed)
		s.Equal([]order.Counters{s.counters(a), s.counters(b)}, stills(counters))
	}},
	{"nothing", func(s *shop) {
		s.Empty(s.fence())
	}},
}
