package ordertest

import (
	"fmt"
	"time"

	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

var windowTests = []test{
	{"not open yet", func(s *shop) {
		opens := time.Now().Add(later)
		sku := s.item(order.Item{SKU: s.name + "floor", Capacity: 1, CustomerLimit: 1, OpensAt: opens, ClosesAt: opens.Add(later)})
		for _, c := range []order.Commit{s.deducted("1", line(sku, 1)), s.direct("1", line(sku, 1)), held(s.direct("1", line(sku, 2)), later)} {
			window := s.closed(c, inventory.ErrNotOpen)
			s.WithinDuration(opens, window.OpensAt, time.Microsecond)
			s.WithinDuration(opens.Add(later), window.ClosesAt, time.Microsecond)
		}
		s.setWindow(sku, time.Time{}, opens)
		s.book(s.deducted("1", line(sku, 1)))
	}},
	{"closed", func(s *shop) {
		closed := time.Now().Add(-later)
		sku := s.item(order.Item{SKU: s.name + "floor", Capacity: 10, ClosesAt: closed})
		window := s.closed(s.deducted("1", line(sku, 1)), inventory.ErrClosed)
		s.True(window.OpensAt.IsZero())
		s.WithinDuration(closed, window.ClosesAt, time.Microsecond)
		s.setWindow(sku, closed, time.Time{})
		s.book(s.deducted("1", line(sku, 1)))
	}},
	{"paused", func(s *shop) {
		sku := s.sku("floor", 10)
		version := s.counters(sku).Version
		c, err := s.store.SetPaused(s.ctx, sku, true)
		s.NoError(err)
		s.True(c.Paused)
		s.True(c.Supply().Paused)
		s.Equal(version+1, c.Version)
		s.Equal(s.counters(sku), still(c))
		window := s.closed(s.deducted("1", line(sku, 1)), inventory.ErrPaused)
		s.True(window.OpensAt.IsZero())
		s.True(window.ClosesAt.IsZero())
		again, err := s.store.SetPaused(s.ctx, sku, true)
		s.NoError(err)
		s.Equal(still(c), still(again))
		c, err = s.store.SetPaused(s.ctx, sku, false)
		s.NoError(err)
		s.False(c.Paused)
		s.Equal(version+2, c.Version)
		s.book(s.deducted("1", line(sku, 1)))
		s.Len(s.movements(sku), 2, "it is nothing for the ledger")
	}},
	{"a pause goes before the times", func(s *shop) {
		sku := s.item(order.Item{SKU: s.name + "floor", Capacity: 10, ClosesAt: time.Now().Add(-later)})
		_, err := s.store.SetPaused(s.ctx, sku, true)
		s.NoError(err)
		s.True(s.closed(s.deducted("1", line(sku, 1)), inventory.ErrPaused).OpensAt.IsZero())
	}},
	{"opens by itself", func(s *shop) {
		sku := s.sku("floor", 1000)
		opens := s.now(sku).Add(4 * soon)
		opens = s.setWindow(sku, opens, time.Time{}).OpensAt
		var booked order.Order
		s.until("it opens", func() bool {
			before := s.now(sku)
			outcome := s.one(s.direct("1", line(sku, 1)))
			if booked = outcome.Order; outcome.Verdict == order.VerdictBooked {
				return true
			}
			s.ErrorIs(outcome.Err, inventory.ErrNotOpen)
			s.True(before.Before(opens), "no later")
			return false
		})
		s.False(booked.CreatedAt.Before(opens), "no sooner")
	}},
	{"closes by itself", func(s *shop) {
		sku := s.sku("floor", 1_000_000)
		closes := s.setWindow(sku, time.Time{}, s.now(sku).Add(4*soon)).ClosesAt
		n := 0
		s.until("it closes", func() bool {
			n++
			before := s.now(sku)
			outcome := s.one(s.direct(fmt.Sprint(n), line(sku, 1)))
			if outcome.Verdict == order.VerdictBooked {
				s.True(before.Before(closes), "no later")
				return false
			}
			s.ErrorIs(outcome.Err, inventory.ErrClosed)
			return true
		})
		s.False(s.now(sku).Before(closes), "no sooner")
	}},
	{"what is booked stays and can be changed", func(s *shop) {
		sku := s.sku("floor", 10)
		s.hold(later, s.deducted("1", line(sku, 1)))
		s.hold(later, s.deducted("2", line(sku, 1)))
		over := s.hold(soon, s.deducted("3", line(sku, 1)))
		c := s.deducted("4", line(sku, 1))
		s.book(c)
		s.setWindow(sku, time.Time{}, time.Now().Add(-later))
		s.Equal(order.VerdictExisting, s.one(c).Verdict)
		s.Equal(order.VerdictConflict, s.one(s.deducted("4", line(sku, 2))).Verdict)
		s.Equal(order.VerdictNew, s.look(s.direct("5", line(sku, 1)))[0].Verdict)
		s.done("1", order.Extend)
		s.Equal(order.Confirmed, s.done("1", order.Confirm).Status)
		s.Equal(order.Cancelled, s.done("2", order.Cancel).Status)
		s.expire(over)
		s.Equal(order.Confirmed, s.done("3", order.Reclaim).Status, "whether or not it is open")
	}},
	{"of one of several SKUs", func(s *shop) {
		a, b := s.sku("a", 10), s.sku("b", 10)
		s.setWindow(b, time.Now().Add(later), time.Time{})
		outcomes := s.commit(s.deducted("1", line(a, 1), line(b, 1)), s.deducted("2", line(a, 1)))
		s.Equal([]order.Verdict{order.VerdictClosed, order.VerdictBooked}, verdicts(outcomes))
		s.Equal(1, outcomes[0].Unit)
		s.Equal([]bool{false, false}, outcomes[0].Consumed)
		s.Equal(int64(1), s.counters(a).Allocated)
	}},
	{"decides before limit and capacity, after what is unknown or dead", func(s *shop) {
		sku := s.item(order.Item{SKU: s.name + "floor", CustomerLimit: 1, ClosesAt: time.Now().Add(-later)})
		s.False(s.closed(s.deducted("1", line(sku, 2)), inventory.ErrClosed).ClosesAt.IsZero())
		c := s.deducted("1", line(sku, 2))
		s.fence(c.Deductions...)
		s.Equal(order.VerdictAgain, s.one(c).Verdict)
		s.Equal(order.VerdictUnknown, s.one(s.direct("2", line(sku, 2), line(s.name+"nothing", 1))).Verdict)
	}},
	{"set", func(s *shop) {
		sku := s.sku("floor", 10)
		version := s.counters(sku).Version
		opens := time.Date(2020, 1, 2, 3, 4, 5, 678901234, time.FixedZone("", 3600))
		closes := opens.AddDate(500, 0, 0)
		c := s.setWindow(sku, opens, closes)
		s.Equal(version+1, c.Version)
		s.Equal(c.Terms, c.Supply().Terms)
		s.Equal(c, s.setWindow(sku, opens.UTC(), closes.UTC()), "the same moments")
		c = s.setWindow(sku, opens, time.Time{})
		s.Equal(version+2, c.Version)
		s.True(c.ClosesAt.IsZero())
		c = s.setWindow(sku, time.Time{}, time.Time{})
		s.Equal(version+3, c.Version)
		s.Zero(c.Terms)
		s.Equal(c, s.setWindow(sku, time.Time{}, time.Time{}))
		s.setWindow(sku, time.UnixMilli(0), time.UnixMilli(1<<52)) // the first and the last
		s.book(s.direct("1", line(sku, 1)))
		s.Len(s.movements(sku), 2, "it is nothing for the ledger")
	}},
	{"each of the terms stays when another is set", func(s *shop) {
		sku := s.limitedSKU("floor", 10, 3)
		_, err := s.store.SetPaused(s.ctx, sku, true)
		s.NoError(err)
		opens := time.Now().Add(later)
		s.setWindow(sku, opens, time.Time{})
		s.setLimit(sku, 4)
		c := s.counters(sku)
		s.True(c.Paused)
		s.Equal(int64(4), c.CustomerLimit)
		s.WithinDuration(opens, c.OpensAt, time.Microsecond)
	}},
	{"of an unknown SKU", func(s *shop) {
		_, err := s.store.SetWindow(s.ctx, s.name+"nothing", time.Now(), time.Time{})
		s.ofSKU(err, order.ErrUnknownSKU, s.name+"nothing")
		_, err = s.store.SetPaused(s.ctx, s.name+"nothing", true)
		s.ofSKU(err, order.ErrUnknownSKU, s.name+"nothing")
	}},
}

// setWindow changes a window.
func (s *shop) setWindow(sku string, opensAt, closesAt time.Time) order.Counters {
	s.t.Helper()
	c, err := s.store.SetWindow(s.ctx, sku, opensAt, closesAt)
	s.NoError(err)
	s.WithinDuration(opensAt, c.OpensAt, time.Microsecond)
	s.WithinDuration(closesAt, c.ClosesAt, time.Microsecond)
	s.Equal(s.counters(sku), still(c))
	return still(c)
}

// closed checks that an order is refused as its SKU is not sold at the moment.
func (s *shop) closed(c order.Commit, want error) *inventory.WindowError {
	s.t.Helper()
	outcome := s.one(c)
	s.Equal(order.VerdictClosed, outcome.Verdict)
	s.ErrorIs(outcome.Err, want)
	var window *inventory.WindowError
	s.ErrorAs(outcome.Err, &window)
	_, err := s.store.Order(s.ctx, c.Order.ID)
	s.ErrorIs(err, order.ErrNotFound)
	return window
}
