package ordertest

import (
	"sync"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/lastunit/lastunit/order"
)

// purge purges all that ended before a moment, so many at a time: also what other tests
// have left.
func (s *shop) purge(before time.Time, limit int) (purged int) {
	s.t.Helper()
	for {
		n, err := s.store.Purge(s.ctx, before, limit)
		s.NoError(err)
		s.LessOrEqual(n, limit)
		if purged += n; n == 0 {
			return purged
		}
	}
}

// purged checks that nothing is left of an order but its ID and what became of it.
func (s *shop) purged(was order.Order) {
	s.t.Helper()
	delete(s.booked, was.ID) // the audit would miss its lines
	o, err := s.store.Order(s.ctx, was.ID)
	s.NoError(err)
	s.Empty(o.Customer)
	s.Empty(o.Lines)
	s.Empty(o.Draws)
	s.Equal(was.Status, o.Status)
	s.Equal(was.Refused, o.Refused)
	s.True(was.CreatedAt.Equal(o.CreatedAt))
	s.True(was.ChangedAt.Equal(o.ChangedAt))
	s.True(was.ExpiresAt.Equal(o.ExpiresAt))
}

var purgeTests = []test{
	{"strips what ended, and keeps the IDs", func(s *shop) {
		hall := s.sku("hall", 100)
		sku := s.item(order.Item{SKU: s.name + "floor", Capacity: 100, Draws: []order.Line{line(hall, 2)}})
		asked := map[string]order.Commit{
			"cancelled": s.deducted("cancelled", line(sku, 2)),
			"expired":   held(s.deducted("expired", line(sku, 1)), soon),
			"refused":   s.direct("refused", line(sku, 3)),
			"booked":    s.deducted("booked", line(sku, 4)),
			"held":      held(s.direct("held", line(sku, 5)), later),
			"young":     s.direct("young", line(sku, 1)),
		}
		s.book(asked["cancelled"])
		cancelled, _ := s.cancel("cancelled")
		expired := s.expire(s.book(asked["expired"]))
		refused := s.refuse(refused(asked["refused"], order.WhySoldOut, hall))[0].Order
		booked, hold := s.book(asked["booked"]), s.book(asked["held"])
		moment := s.now(sku)
		s.past(sku, moment.Add(time.Millisecond))
		s.book(asked["young"])
		s.cancel("young")
		before, movements := s.counters(sku), s.movements(sku)

		s.GreaterOrEqual(s.purge(moment.Add(time.Microsecond), order.MaxCommits), 3)
		s.Zero(s.purge(moment.Add(time.Microsecond), 1), "once more does nothing")
		for _, o := range []order.Order{cancelled, expired, refused} {
			s.purged(o)
		}
		for _, o := range []order.Order{booked, hold} {
			stored, err := s.store.Order(s.ctx, o.ID)
			s.NoError(err)
			s.sameOrder(o, stored)
		}
		young, err := s.store.Order(s.ctx, s.id("young"))
		s.NoError(err)
		s.NotEmpty(young.Lines)
		s.Equal(before, s.counters(sku))
		s.Equal(movements, s.movements(sku))

		// The same request has the same answer; another one is a conflict.
		for id, c := range asked {
			outcome := s.one(c)
			s.Equal(order.VerdictExisting, outcome.Verdict, id)
			other := by("somebody else", c)
			s.Equal(order.VerdictConflict, s.one(other).Verdict, id)
		}
		s.Equal(order.Refusal{Why: order.WhySoldOut, SKU: hall}, s.one(asked["refused"]).Order.Refused)
		s.Equal(before.Allocated, s.counters(sku).Allocated, "nothing was booked")

		// What expired can't be booked any more.
		_, err = s.try(expired.ID, order.Reclaim)
		s.ErrorIs(err, order.ErrPurged)
		for _, action := range []order.Action{order.Confirm, order.Extend} {
			_, err = s.try(expired.ID, action)
			s.ErrorIs(err, order.ErrHoldExpired)
		}
		_, err = s.try(cancelled.ID, order.Reclaim)
		s.ErrorIs(err, order.ErrCancelled)
		s.Equal(before.Allocated, s.counters(sku).Allocated)
	}},
	{"by several at once, each order once", func(s *shop) {
		sku := s.sku("floor", 1000)
		s.purge(s.now(sku), order.MaxCommits) // what others have left
		var all []order.Order
		var commits []order.Commit
		for range 100 {
			commits = append(commits, s.direct(s.fresh("o")[len(s.name):], line(sku, 1)))
		}
		s.commit(commits...)
		for _, c := range commits {
			o, _ := s.cancel(c.Order.ID[len(s.name):])
			all = append(all, o)
		}
		moment := s.now(sku).Add(time.Microsecond)
		var mu sync.Mutex
		total := 0
		s.together(4, func(int) {
			for {
				n, err := s.store.Purge(s.ctx, moment, 7)
				if !assert.NoError(s.t, err) || n == 0 {
					return
				}
				mu.Lock()
				total += n
				mu.Unlock()
			}
		})
		total += s.purge(moment, 7)
		s.Equal(len(all), total)
		for _, o := range all {
			s.purged(o)
		}
	}},
	{"with bad arguments", func(s *shop) {
		for _, limit := range []int{0, -1, order.MaxCommits + 1} {
			_, err := s.store.Purge(s.ctx, time.Now(), limit)
			s.invalid(err, limit)
		}
	}},
}
