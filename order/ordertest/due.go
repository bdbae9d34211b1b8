package ordertest

import (
	"slices"
	"strings"
	"time"

	"github.com/lastunit/lastunit/order"
)

// due returns those of the shop's orders that are due, by their short names, and
// keeps them from being so for a while.
func (s *shop) due(again time.Duration, limit int) (ids []string) {
	s.t.Helper()
	orders, err := s.store.Due(s.ctx, again, limit)
	s.NoError(err)
	s.LessOrEqual(len(orders), limit)
	for _, o := range orders {
		s.Equal(order.Held, o.Status)
		if id, ok := strings.CutPrefix(o.ID, s.name); ok {
			stored, err := s.store.Order(s.ctx, o.ID)
			s.NoError(err)
			s.sameOrder(stored, o)
			ids = append(ids, id)
		}
	}
	return ids
}

// aloneDue keeps the orders of other tests from being due.
func (s *shop) aloneDue() {
	s.t.Helper()
	for {
		orders, err := s.store.Due(s.ctx, order.MaxHold, order.MaxCommits)
		s.NoError(err)
		if len(orders) == 0 {
			return
		}
	}
}

var dueTests = []test{
	{"those that are due the longest first", func(s *shop) {
		s.aloneDue()
		sku := s.sku("floor", 10)
		var orders []order.Order
		for i, hold := range []time.Duration{4 * soon, soon, 3 * soon, 2 * soon, soon} {
			orders = append(orders, s.hold(hold, s.direct(string(rune('a'+i)), line(sku, 1))))
		}
		s.hold(later, s.direct("later", line(sku, 1)))
		s.book(s.direct("booked", line(sku, 1)))
		slices.SortFunc(orders, func(a, b order.Order) int { return a.ExpiresAt.Compare(b.ExpiresAt) })
		var want, got []string
		for _, o := range orders {
			s.past(sku, o.ExpiresAt)
			want = append(want, strings.TrimPrefix(o.ID, s.name))
		}
		for _, n := range []int{2, 2, 1, 0} {
			ids := s.due(later, 2)
			s.Len(ids, n)
			got = append(got, ids...)
		}
		s.Equal(want, got, "each once within the while")
		for _, o := range orders {
			s.expire(o)
		}
	}},
	{"again after a while", func(s *shop) {
		sku := s.sku("floor", 1)
		o := s.hold(soon, s.direct("1", line(sku, 1)))
		for range 3 { // whoever got it may have died
			s.until("it becomes due", func() bool { return slices.Equal([]string{"1"}, s.due(soon, order.MaxCommits)) })
		}
		s.expire(o)
	}},
	{"not what is held no more", func(s *shop) {
		sku := s.sku("floor", 10)
		var last order.Order
		for _, id := range []string{"confirmed", "cancelled", "expired", "reclaimed", "held"} {
			last = s.hold(soon, s.direct(id, line(sku, 1)))
		}
		s.past(sku, last.ExpiresAt)
		s.done("confirmed", order.ConfirmLate)
		s.done("cancelled", order.Cancel)
		s.done("expired", order.Expire)
		s.done("reclaimed", order.Reclaim)
		s.Equal([]string{"held"}, s.due(later, order.MaxCommits))
		s.cancel("held")
	}},
	{"an extended one when its new time is over", func(s *shop) {
		sku := s.sku("floor", 100)
		extended, id := s.extended(sku, 2*soon)
		s.until("it becomes due", func() bool { return slices.Contains(s.due(later, order.MaxCommits), id) })
		s.False(s.now(sku).Before(extended.ExpiresAt), "no sooner")
		s.expire(extended)
	}},
	{"none", func(s *shop) {
		s.aloneDue()
		s.Empty(s.due(later, 1))
	}},
	{"the upkeep is as late as the hold that is due the longest", func(s *shop) {
		s.aloneDue()
		sku := s.sku("floor", 10)
		o := s.hold(soon, s.direct("a", line(sku, 1)))
		s.past(sku, o.ExpiresAt)
		upkeep, err := s.store.Upkeep(s.ctx)
		s.NoError(err)
		s.False(upkeep.DueAt.IsZero())
		s.False(upkeep.DueAt.After(o.ExpiresAt), "%v, want %v at the latest", upkeep.DueAt, o.ExpiresAt)
		s.False(upkeep.At.Before(o.ExpiresAt))
		s.aloneDue()
		after, err := s.store.Upkeep(s.ctx)
		s.NoError(err)
		s.True(after.DueAt.IsZero() || after.DueAt.After(o.ExpiresAt), "%v", after.DueAt)
	}},
}

// extended makes a short hold, and extends it before its time is over: with a
// longer one for as long as it came too late. It returns when the first time is over.
func (s *shop) extended(sku string, by time.Duration) (_ order.Order, id string) {
	s.t.Helper()
	for hold := 4 * soon; ; hold *= 2 {
		id = s.fresh("extended")[len(s.name):]
		first := s.hold(hold, s.direct(id, line(sku, 1)))
		answers, _ := s.change(order.Change{ID: first.ID, Action: order.Extend, Hold: hold + by})
		if answers[0].Err != nil {
			s.ErrorIs(answers[0].Err, order.ErrHoldExpired)
			s.expire(first)
			continue
		}
		s.True(answers[0].Order.ExpiresAt.After(first.ExpiresAt))
		s.past(sku, first.ExpiresAt)
		return answers[0].Order, id
	}
}
