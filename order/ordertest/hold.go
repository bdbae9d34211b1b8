package ordertest

import (
	"slices"
	"time"

	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

// Holds of these tests: one that ends soon, and one that doesn't end meanwhile.
const (
	soon  = 5 * time.Millisecond
	later = time.Hour
)

// hold books a held order.
func (s *shop) hold(hold time.Duration, c order.Commit) order.Order {
	s.t.Helper()
	return s.book(held(c, hold))
}

var holdTests = []test{
	{"held", func(s *shop) {
		sku := s.sku("floor", 10)
		c := held(s.deducted("1", line(sku, 3)), later)
		before := s.counters(sku)
		o := s.book(c)
		stored, err := s.store.Order(s.ctx, s.id("1"))
		s.NoError(err)
		s.sameOrder(o, stored)
		after := s.counters(sku)
		s.Equal(int64(3), after.Allocated, "its units count as sold")
		s.Equal(int64(3), after.Admitted)
		s.Equal(before.Version, after.Version, "a hold needs no push")
		s.Equal(before.Supply().Units, after.Supply().Units)
		tallies, err := s.store.Tally(s.ctx, sku)
		s.NoError(err)
		s.Equal(int64(3), tallies[0].Held)
		s.Zero(tallies[0].Confirmed)
		s.kinds(sku, order.MovedOnSale, order.MovedHeld)

		outcome := s.one(c)
		s.Equal(order.VerdictExisting, outcome.Verdict)
		s.sameOrder(o, outcome.Order)
		s.Equal([]bool{true}, outcome.Consumed)
		s.Equal(order.VerdictExisting, s.look(c)[0].Verdict)
	}},
	{"takes the last unit", func(s *shop) {
		sku := s.sku("floor", 3)
		s.hold(later, s.deducted("1", line(sku, 2)))
		s.hold(later, s.direct("2", line(sku, 1)))
		s.Equal(order.VerdictFull, s.one(s.deducted("3", line(sku, 1))).Verdict)
		s.Equal(order.VerdictFull, s.one(held(s.deducted("3", line(sku, 1)), later)).Verdict)
		s.cancel("2")
		s.hold(later, s.deducted("3", line(sku, 1)))
	}},
	{"to hold is another content than to book, whatever the time", func(s *shop) {
		sku := s.sku("floor", 10)
		o := s.hold(later, s.direct("held", line(sku, 1)))
		s.book(s.direct("booked", line(sku, 1)))
		outcome := s.one(held(s.direct("held", line(sku, 1)), 2*later))
		s.Equal(order.VerdictExisting, outcome.Verdict)
		s.sameOrder(o, outcome.Order)
		for _, call := range []func(...order.Commit) []order.Outcome{s.commit, s.look} {
			s.Equal(order.VerdictConflict, call(s.direct("held", line(sku, 1)))[0].Verdict)
			s.Equal(order.VerdictConflict, call(held(s.direct("booked", line(sku, 1)), later))[0].Verdict)
		}
		s.done("held", order.Confirm)
		s.Equal(order.Confirmed, s.one(held(s.direct("held", line(sku, 1)), later)).Order.Status)
		s.Equal(order.VerdictConflict, s.one(s.direct("held", line(sku, 1))).Verdict, "also when it is confirmed")
	}},
	{"the shortest and the longest", func(s *shop) {
		sku := s.sku("floor", 10)
		s.hold(order.MaxHold, s.direct("1", line(sku, 1)))
		o := s.hold(time.Millisecond, s.direct("2", line(sku, 1)))
		s.expire(o)
		s.hold(time.Millisecond+1, s.direct("3", line(sku, 1)))
		s.cancel("3")
	}},
	{"held and booked in one batch", func(s *shop) {
		sku := s.sku("floor", 6)
		outcomes := s.commit(
			s.deducted("1", line(sku, 1)), held(s.deducted("2", line(sku, 2)), later),
			held(s.direct("3", line(sku, 3)), 2*later), held(s.deducted("4", line(sku, 1)), later),
		)
		s.Equal([]order.Verdict{order.VerdictBooked, order.VerdictBooked, order.VerdictBooked, order.VerdictFull}, verdicts(outcomes))
		s.True(outcomes[2].Order.ExpiresAt.After(outcomes[1].Order.ExpiresAt), "each for its own time")
	}},
	{"stays held, and keeps its units, when its time is over", func(s *shop) {
		sku := s.sku("floor", 1)
		o := s.hold(soon, s.deducted("1", line(sku, 1)))
		s.past(sku, o.ExpiresAt)
		stored, err := s.store.Order(s.ctx, o.ID)
		s.NoError(err)
		s.sameOrder(o, stored)
		s.Equal(order.VerdictFull, s.one(s.deducted("2", line(sku, 1))).Verdict)
		s.expire(o)
		s.book(s.deducted("2", line(sku, 1)))
	}},
	{"listed by status", func(s *shop) {
		sku := s.sku("floor", 10)
		for _, id := range []string{"1", "2", "3"} {
			s.hold(later, s.direct(id, line(sku, 1)))
		}
		s.expire(s.hold(soon, s.direct("4", line(sku, 1))))
		s.done("2", order.Confirm)
		for status, want := range map[order.Status][]string{
			order.Held: {"3", "1"}, order.Confirmed: {"2"}, order.Expired: {"4"}, order.Cancelled: nil,
		} {
			s.Equal(want, s.pages(order.Query{Status: status}, nil), status)
		}
	}},
}

// expired checks what is told of a hold whose time is over.
func (s *shop) expired(err error, o order.Order, left ...int64) {
	s.t.Helper()
	s.ErrorIs(err, order.ErrHoldExpired)
	var of *order.HoldExpiredError
	s.ErrorAs(err, &of)
	s.Equal(o.ID, of.ID)
	s.True(o.ExpiresAt.Equal(of.ExpiredAt), "when it expired")
	units := slices.Clone(o.Units())
	s.Len(left, len(units))
	for i := range units {
		units[i].Quantity = left[i]
	}
	s.Equal(units, of.Left)
}

// soldOut checks what is told of units that are not there.
func (s *shop) soldOut(err error, sku string, requested, available int64) {
	s.t.Helper()
	s.ErrorIs(err, inventory.ErrSoldOut)
	var stock *inventory.StockError
	s.ErrorAs(err, &stock)
	s.Equal(inventory.StockError{SKU: sku, Requested: requested, Available: available}, *stock)
}
