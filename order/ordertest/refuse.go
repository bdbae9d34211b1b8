package ordertest

import (
	"crypto/rand"
	"strings"
	"sync"

	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

// refused is the order of a commit, refused for lack of a SKU.
func refused(c order.Commit, why order.Why, sku string) order.Order {
	o := c.Order
	o.Refused = order.Refusal{Why: why, SKU: sku}
	return o
}

// refuse refuses orders.
func (s *shop) refuse(orders ...order.Order) []order.Outcome {
	s.t.Helper()
	outcomes, err := s.store.Refuse(s.ctx, orders)
	s.NoError(err)
	s.Len(outcomes, len(orders))
	return outcomes
}

var refuseTests = []test{
	{"stores the order and the reason", func(s *shop) {
		a, b := s.sku("a", 10), s.sku("b", 10)
		c := by("c-1", s.deducted("1", line(a, 1), line(b, 2)))
		before := s.counters(a)
		outcome := s.refuse(refused(c, order.WhySoldOut, b))[0]
		s.Equal(order.VerdictRefused, outcome.Verdict)
		o := outcome.Order
		s.Equal(order.Cancelled, o.Status)
		s.Equal(order.Refusal{Why: order.WhySoldOut, SKU: b}, o.Refused)
		s.Equal("c-1", o.Customer)
		s.Equal(c.Order.Lines, o.Lines)
		s.False(o.CreatedAt.IsZero())
		stored, err := s.store.Order(s.ctx, o.ID)
		s.NoError(err)
		s.sameOrder(o, stored)
		s.Equal(o.Refused, stored.Refused)
		s.Equal(before, s.counters(a), "it has no units")
		s.kinds(a, order.MovedOnSale)
	}},
	{"keeps every reason", func(s *shop) {
		sku := s.sku("floor", 10)
		for _, why := range []order.Why{
			order.WhySoldOut, order.WhyLimited, order.WhyNotOpen, order.WhyClosed, order.WhyPaused, order.WhyRetired, order.WhyUnknown, order.WhyRejected,
		} {
			s.refuse(refused(s.direct(string(why), line(sku, 1)), why, ""))
			o, err := s.store.Order(s.ctx, s.id(string(why)))
			s.NoError(err)
			s.Equal(order.Refusal{Why: why}, o.Refused)
		}
	}},
	{"is final", func(s *shop) {
		sku := s.sku("floor", 10)
		c := s.deducted("1", line(sku, 3))
		s.refuse(refused(c, order.WhySoldOut, sku))
		for _, late := range []order.Commit{c, s.direct("1", line(sku, 3))} {
			outcome := s.one(late)
			s.Equal(order.VerdictExisting, outcome.Verdict)
			s.Equal(order.WhySoldOut, outcome.Order.Refused.Why)
			s.NotContains(outcome.Consumed, true)
		}
		s.Equal(order.VerdictConflict, s.one(s.deducted("1", line(sku, 4))).Verdict)
		s.Equal([]bool{false}, s.fence(c.Deductions[0]))
		s.Zero(s.counters(sku).Allocated)
		for _, action := range everyAction {
			o, _ := s.act("1", action)
			s.Equal(order.Cancelled, o.Status, string(action))
			s.Equal(order.WhySoldOut, o.Refused.Why, string(action))
		}
	}},
	{"again is no news", func(s *shop) {
		sku := s.sku("floor", 10)
		c := s.deducted("1", line(sku, 3))
		o := s.refuse(refused(c, order.WhySoldOut, sku))[0].Order
		outcome := s.refuse(refused(c, order.WhyClosed, sku))[0]
		s.Equal(order.VerdictExisting, outcome.Verdict)
		s.sameOrder(o, outcome.Order)
		s.Equal(order.WhySoldOut, outcome.Order.Refused.Why, "the first reason stays")
		s.Equal(order.VerdictConflict, s.refuse(refused(s.direct("1", line(sku, 2)), order.WhySoldOut, sku))[0].Verdict)
	}},
	{"leaves what is there", func(s *shop) {
		sku := s.sku("floor", 100)
		s.makeEvery("", sku)
		for _, i := range everyStatus {
			was, err := s.store.Order(s.ctx, s.id(i.id))
			outcome := s.refuse(refused(s.direct(i.id, line(sku, 1)), order.WhySoldOut, sku))[0]
			if err != nil {
				s.Equal(order.VerdictRefused, outcome.Verdict, i.id)
				continue
			}
			still, err := s.store.Order(s.ctx, was.ID)
			s.NoError(err)
			s.sameOrder(was, still)
			s.Zero(still.Refused, i.id)
			switch i.id {
			case "booked", "cancelled", "tombstone":
				s.Contains([]order.Verdict{order.VerdictExisting, order.VerdictConflict}, outcome.Verdict, i.id)
			}
		}
	}},
	{"of a batch, each for itself", func(s *shop) {
		sku := s.sku("floor", 10)
		booked := s.deducted("booked", line(sku, 1))
		s.book(booked)
		fresh, other := s.deducted("fresh", line(sku, 1)), s.direct("booked", line(sku, 2))
		outcomes := s.refuse(
			refused(fresh, order.WhySoldOut, sku), refused(booked, order.WhySoldOut, sku), refused(other, order.WhySoldOut, sku),
			refused(fresh, order.WhyClosed, sku),
			refused(s.direct("unknown", line(s.name+"nothing", 1)), order.WhyUnknown, s.name+"nothing"))
		var verdicts []order.Verdict
		for _, outcome := range outcomes {
			verdicts = append(verdicts, outcome.Verdict)
		}
		s.Equal([]order.Verdict{
			order.VerdictRefused, order.VerdictExisting, order.VerdictConflict, order.VerdictExisting, order.VerdictRefused,
		}, verdicts)
		s.Equal(order.Confirmed, outcomes[1].Order.Status)
		s.Equal(order.WhySoldOut, outcomes[3].Order.Refused.Why)
		s.Equal(int64(1), s.counters(sku).Allocated)
		s.Empty(s.refuse())
	}},
	{"keeps what is drawn on pools", func(s *shop) {
		pool := s.sku("pool", 10)
		sku := s.item(order.Item{SKU: s.name + "seat", Capacity: 10, Draws: []order.Line{line(pool, 2)}})
		c := s.deducted("1", line(sku, 3))
		o := s.refuse(refused(c, order.WhySoldOut, pool))[0].Order
		s.Equal(c.Order.Lines, o.Lines)
		s.Equal([]order.Line{line(pool, 6)}, o.Draws)
	}},
	{"races a commit: one of them", func(s *shop) {
		sku := s.sku("floor", 1000)
		for range 50 {
			c := s.deducted(strings.ToLower(rand.Text()), line(sku, 1))
			var committed, refusal order.Outcome
			var both sync.WaitGroup
			both.Go(func() {
				if outcomes, _, err := s.store.Commit(s.ctx, []order.Commit{c}); err == nil {
					committed = outcomes[0]
				}
			})
			both.Go(func() {
				if outcomes, err := s.store.Refuse(s.ctx, []order.Order{refused(c, order.WhySoldOut, sku)}); err == nil {
					refusal = outcomes[0]
				}
			})
			both.Wait()
			if committed.Verdict == order.VerdictBooked {
				s.Equal(order.VerdictExisting, refusal.Verdict)
				s.Equal(order.Confirmed, refusal.Order.Status)
			} else {
				s.Equal(order.VerdictRefused, refusal.Verdict)
				s.Equal(order.VerdictExisting, committed.Verdict)
			}
		}
	}},
	{"checks the bounds", func(s *shop) {
		sku := s.sku("floor", 10)
		good := refused(s.direct("1", line(sku, 1)), order.WhySoldOut, sku)
		bad := make([]order.Order, 5)
		for i := range bad {
			bad[i] = good
		}
		bad[0].Refused.Why = ""
		bad[1].Refused.Why = "tired"
		bad[2].Refused.SKU = "a\x00b"
		bad[3].ID = ""
		bad[4].Lines = nil
		for _, o := range bad {
			_, err := s.store.Refuse(s.ctx, []order.Order{good, o})
			s.ErrorIs(err, inventory.ErrInvalid)
		}
		_, err := s.store.Refuse(s.ctx, make([]order.Order, order.MaxCommits+1))
		s.ErrorIs(err, inventory.ErrInvalid)
		s.notThere("1")
	}},
}
