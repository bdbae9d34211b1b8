package ordertest

import (
	"fmt"
	"sync"

	"github.com/stretchr/testify/assert"

	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

// limitedSKU puts a SKU with a limit on sale.
func (s *shop) limitedSKU(name string, capacity, limit int64) string {
	s.t.Helper()
	return s.item(order.Item{SKU: s.name + name, Capacity: capacity, CustomerLimit: limit})
}

// setLimit changes a limit.
func (s *shop) setLimit(sku string, limit int64) order.Counters {
	s.t.Helper()
	c, err := s.store.SetLimit(s.ctx, sku, limit)
	s.NoError(err)
	s.Equal(max(0, limit), c.CustomerLimit)
	s.Equal(s.counters(sku), still(c))
	return still(c)
}

// exceeds checks that an order is refused by its customer's limit.
func (s *shop) exceeds(c order.Commit, limit, used int64) {
	s.t.Helper()
	outcome := s.one(c)
	s.Equal(order.VerdictLimited, outcome.Verdict)
	err := s.limited(outcome.Err, c.Order.Units()[outcome.Unit])
	s.Equal(limit, err.Limit)
	s.Equal(used, err.Used)
	_, orderErr := s.store.Order(s.ctx, c.Order.ID)
	s.ErrorIs(orderErr, order.ErrNotFound)
}

var limitTests = []test{
	{"exactly the limit, for each customer", func(s *shop) {
		sku := s.limitedSKU("floor", 100, 4)
		s.exceeds(s.deducted("0", line(sku, 5)), 4, 0)
		s.book(s.deducted("1", line(sku, 3)))
		s.exceeds(s.deducted("2", line(sku, 2)), 4, 3)
		s.book(s.deducted("2", line(sku, 1))) // refusals are not remembered
		s.exceeds(s.deducted("3", line(sku, 1)), 4, 4)
		s.exceeds(s.direct("3", line(sku, 1)), 4, 4)
		s.exceeds(held(s.direct("3", line(sku, 1)), later), 4, 4)
		s.book(by("c-18", s.deducted("3", line(sku, 4))))
		s.Equal(int64(8), s.counters(sku).Allocated)
	}},
	{"a repeated order is not counted twice", func(s *shop) {
		sku := s.limitedSKU("floor", 100, 2)
		c := s.deducted("1", line(sku, 2))
		s.book(c)
		s.Equal(order.VerdictExisting, s.one(c).Verdict)
		s.Equal(order.VerdictConflict, s.one(s.deducted("1", line(sku, 1))).Verdict)
	}},
	{"counts what is live", func(s *shop) {
		sku := s.limitedSKU("floor", 100, 2)
		s.hold(later, s.deducted("1", line(sku, 2)))
		s.exceeds(s.deducted("2", line(sku, 1)), 2, 2)
		s.done("1", order.Confirm)
		s.exceeds(s.deducted("2", line(sku, 1)), 2, 2)
		s.cancel("1")
		o := s.hold(soon, s.deducted("2", line(sku, 2)))
		s.past(sku, o.ExpiresAt)
		s.exceeds(s.deducted("3", line(sku, 1)), 2, 2) // it is held still
		s.expire(o)
		s.book(s.deducted("3", line(sku, 2)))
		still, err := s.act("2", order.Reclaim)
		limit := s.limited(err, line(sku, 2))
		s.Equal(int64(2), limit.Used)
		s.Equal(order.Expired, still.Status)
		s.cancel("3")
		s.done("2", order.Reclaim)
		s.exceeds(s.deducted("4", line(sku, 1)), 2, 2)
	}},
	{"a late confirm is not refused", func(s *shop) {
		sku := s.limitedSKU("floor", 100, 2)
		o := s.hold(soon, s.deducted("1", line(sku, 2)))
		s.setLimit(sku, 1)
		s.past(sku, o.ExpiresAt)
		s.Equal(order.Confirmed, s.done("1", order.Reclaim).Status, "it has its units")
	}},
	{"in one batch", func(s *shop) {
		sku := s.limitedSKU("floor", 100, 3)
		s.book(s.deducted("0", line(sku, 1)))
		outcomes := s.commit(
			s.deducted("1", line(sku, 1)), s.deducted("2", line(sku, 2)), by("c-18", s.deducted("3", line(sku, 3))),
			s.deducted("4", line(sku, 1)), s.deducted("5", line(sku, 1)), by("c-18", s.deducted("6", line(sku, 1))),
		)
		s.Equal([]order.Verdict{
			order.VerdictBooked, order.VerdictLimited, order.VerdictBooked,
			order.VerdictBooked, order.VerdictLimited, order.VerdictLimited,
		}, verdicts(outcomes))
		s.Equal(int64(2), s.limited(outcomes[1].Err, line(sku, 2)).Used)
		s.Equal(int64(3), s.limited(outcomes[4].Err, line(sku, 1)).Used)
		s.Equal(int64(3), s.limited(outcomes[5].Err, line(sku, 1)).Used)
	}},
	{"of one of several SKUs", func(s *shop) {
		a, b, c := s.sku("a", 10), s.limitedSKU("b", 10, 2), s.limitedSKU("c", 10, 1)
		outcome := s.one(s.deducted("1", line(a, 5), line(b, 1), line(c, 2)))
		s.Equal(order.VerdictLimited, outcome.Verdict)
		s.Equal(2, outcome.Unit)
		s.Equal([]bool{false, false, false}, outcome.Consumed)
		s.Zero(s.counters(a).Allocated)
		s.book(s.deducted("1", line(a, 5), line(b, 2), line(c, 1)))
	}},
	{"decides before the capacity", func(s *shop) {
		sku := s.limitedSKU("floor", 1, 2)
		s.exceeds(s.deducted("1", line(sku, 3)), 2, 0)
		s.Equal(order.VerdictFull, s.one(s.deducted("1", line(sku, 2))).Verdict)
		s.book(s.deducted("1", line(sku, 1)))
		s.Equal(order.VerdictFull, s.one(s.deducted("2", line(sku, 1))).Verdict)
	}},
	{"decides after what is unknown or dead", func(s *shop) {
		sku := s.limitedSKU("floor", 10, 1)
		c := s.deducted("1", line(sku, 2))
		s.fence(c.Deductions...)
		s.Equal(order.VerdictAgain, s.one(c).Verdict)
		outcome := s.one(s.direct("2", line(sku, 2), line(s.name+"nothing", 1)))
		s.Equal(order.VerdictUnknown, outcome.Verdict)
		s.Equal(1, outcome.Unit)
	}},
	{"set, raised, lowered, taken away", func(s *shop) {
		sku := s.sku("floor", 100)
		// The first limit counts also what was booked without one.
		s.book(s.deducted("1", line(sku, 3)))
		s.hold(later, s.deducted("2", line(sku, 2)))
		s.void("3")
		s.expire(s.hold(soon, s.deducted("4", line(sku, 7))))
		version := s.counters(sku).Version
		s.Equal(version+1, s.setLimit(sku, 6).Version)
		s.exceeds(s.deducted("5", line(sku, 2)), 6, 5)
		_, err := s.act("4", order.Reclaim)
		s.Equal(int64(5), s.limited(err, line(sku, 7)).Used)
		s.Equal(version+2, s.setLimit(sku, 2).Version)
		s.exceeds(s.deducted("5", line(sku, 1)), 2, 5) // who has more keeps them
		s.Equal(order.Confirmed, s.done("2", order.Confirm).Status)
		s.Equal(version+3, s.setLimit(sku, inventory.MaxQuantity).Version)
		s.book(s.deducted("5", line(sku, 1)))
		s.setLimit(sku, 6)
		s.exceeds(s.deducted("6", line(sku, 1)), 6, 6)
		s.Zero(s.setLimit(sku, 0).CustomerLimit)
		s.book(s.deducted("6", line(sku, 50)))
		s.setLimit(sku, 57)
		s.book(s.deducted("7", line(sku, 1)))
		s.exceeds(s.deducted("8", line(sku, 1)), 57, 57)
	}},
	{"set to what it is", func(s *shop) {
		sku := s.limitedSKU("floor", 10, 4)
		before := s.counters(sku)
		s.Equal(before, s.setLimit(sku, 4))
		none := s.sku("none", 10)
		before = s.counters(none)
		s.Equal(before, s.setLimit(none, 0))
		s.Len(s.movements(sku), 1, "it is nothing for the ledger")
	}},
	{"of an unknown SKU", func(s *shop) {
		for _, limit := range []int64{1, 0} {
			_, err := s.store.SetLimit(s.ctx, s.name+"nothing", limit)
			s.ofSKU(err, order.ErrUnknownSKU, s.name+"nothing")
		}
	}},
	{"travels with the supply", func(s *shop) {
		sku := s.limitedSKU("floor", 10, 4)
		s.Equal(int64(4), s.counters(sku).Supply().CustomerLimit)
	}},
	{"a look tells what the customer has", func(s *shop) {
		a, b, free := s.limitedSKU("a", 10, 5), s.limitedSKU("b", 10, 5), s.sku("free", 10)
		s.book(s.deducted("1", line(a, 2), line(free, 1)))
		s.hold(later, s.deducted("2", line(a, 1)))
		s.book(by("c-18", s.deducted("3", line(a, 4), line(b, 3))))
		outcomes := s.look(
			s.direct("4", line(a, 1), line(b, 1), line(free, 1)), by("c-18", s.deducted("5", line(b, 1))),
			by("c-19", s.direct("6", line(a, 1))), s.direct("7", line(free, 1)), s.direct("8", line(s.name+"nothing", 1)),
		)
		s.Equal([]int64{3, 0, 0}, outcomes[0].Used)
		s.Equal([]int64{3}, outcomes[1].Used)
		s.Equal([]int64{0}, outcomes[2].Used)
		s.Empty(outcomes[3].Used)
		s.Empty(outcomes[4].Used)
		s.cancel("2")
		s.Equal([]int64{2}, s.look(s.direct("9", line(a, 1)))[0].Used)
	}},
	{"one customer by many at once", func(s *shop) {
		a, b := s.limitedSKU("a", 1000, 7), s.sku("b", 1000)
		var mu sync.Mutex
		count := make(map[order.Verdict]int)
		var callers sync.WaitGroup
		for caller := range 8 {
			callers.Go(func() {
				for i := range 6 {
					c := order.Commit{Order: order.Order{ID: s.id(fmt.Sprint(caller, "-", i)), Customer: "c-17", Lines: []order.Line{line(a, 1)}}}
					if i%2 == 0 { // so that different rows are locked
						c.Order.Lines = append(c.Order.Lines, line(b, 1))
					}
					outcomes, _, err := s.store.Commit(s.ctx, []order.Commit{c})
					if assert.NoError(s.t, err) {
						mu.Lock()
						count[outcomes[0].Verdict]++
						mu.Unlock()
					}
				}
			})
		}
		callers.Wait()
		s.Equal(map[order.Verdict]int{order.VerdictBooked: 7, order.VerdictLimited: 41}, count)
		s.Equal(int64(7), s.counters(a).Allocated)
	}},
	{"the first limit beside commits", func(s *shop) {
		// Whatever was committed before the limit is counted by it.
		sku := s.sku("floor", 1000)
		var booked sync.Map
		var callers sync.WaitGroup
		for caller := range 4 {
			callers.Go(func() {
				for i := range 20 {
					c := order.Commit{Order: order.Order{ID: s.id(fmt.Sprint(caller, "-", i)), Customer: "c-17", Lines: []order.Line{line(sku, 1)}}}
					outcomes, _, err := s.store.Commit(s.ctx, []order.Commit{c})
					if assert.NoError(s.t, err) && outcomes[0].Verdict == order.VerdictBooked {
						booked.Store(c.Order.ID, true)
					}
				}
			})
		}
		c, err := s.store.SetLimit(s.ctx, sku, 30)
		s.NoError(err)
		callers.Wait()
		var n int64
		booked.Range(func(any, any) bool { n++; return true })
		s.Equal(max(30, c.Allocated), n)
	}},
}
