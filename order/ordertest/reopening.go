package ordertest

import (
	"time"

	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

// What comes back to a SKU that was sold out is kept for order.Reopening.
var reopeningTests = []test{
	{"whatever brings units back", func(s *shop) {
		for name, bring := range map[string]func(sku string){
			"cancel":   func(string) { s.cancel("cancel-1") },
			"restock":  func(sku string) { s.adjust(sku, order.Restock, 1) },
			"capacity": func(sku string) { s.adjust(sku, order.SetCapacity, 4) },
			"expire": func(string) {
				s.until("it expires", func() bool {
					o, err := s.act("expire-1", order.Expire)
					s.NoError(err)
					return o.Status == order.Expired
				})
			},
		} {
			sku := s.sku(name, 3)
			if name == "expire" {
				s.hold(100*time.Millisecond, s.deducted(name+"-1", line(sku, 1)))
			} else {
				s.book(s.deducted(name+"-1", line(sku, 1)))
			}
			s.book(s.deducted(name+"-2", line(sku, 2)))
			s.Equal(order.VerdictFull, s.one(s.direct(name+"-3", line(sku, 1))).Verdict)
			latest, err := s.store.Latest(s.ctx, sku)
			s.NoError(err)
			s.Len(latest, 1)
			s.Zero(latest[0].Left())
			asked := latest[0].At
			bring(sku)

			late := s.deducted(name+"-3", line(sku, 1))
			outcome := s.commitOnce(late)[0]
			for outcome.Verdict == order.VerdictReopening {
				s.Equal(order.VerdictFull, s.one(s.direct(name+"-more", line(sku, 2))).Verdict, "a refusal is one at once")
				time.Sleep(outcome.Wait)
				outcome = s.commitOnce(late)[0]
			}
			s.Equal(order.VerdictBooked, outcome.Verdict)
			s.GreaterOrEqual(outcome.Order.CreatedAt.Sub(asked), order.Reopening, "%s: who was told that it is sold out may say so for as long", name)
		}
	}},
	{"only if it was sold out", func(s *shop) {
		sku := s.sku("floor", 10)
		s.book(s.deducted("1", line(sku, 4)))
		s.book(s.deducted("2", line(sku, 5)))
		s.cancel("1")
		s.Equal(order.VerdictBooked, s.commitOnce(s.deducted("3", line(sku, 5)))[0].Verdict)
	}},
	{"and only once", func(s *shop) {
		sku := s.sku("floor", 5)
		for i := range 5 {
			s.book(s.deducted(string(rune('a'+i)), line(sku, 1)))
		}
		s.cancel("a")
		s.book(s.deducted("f", line(sku, 1))) // waits
		s.cancel("b")
		s.cancel("c")
		s.book(s.deducted("g", line(sku, 1)))
		s.cancel("d") // one is left, so it is not sold out
		s.Equal(order.VerdictBooked, s.commitOnce(s.deducted("h", line(sku, 2)))[0].Verdict)
	}},
	{"what was there before is found", func(s *shop) {
		sku := s.sku("floor", 2)
		s.book(s.deducted("1", line(sku, 1)))
		last := s.deducted("2", line(sku, 1))
		s.book(last)
		s.cancel("1")
		s.Equal(order.VerdictExisting, s.commitOnce(last)[0].Verdict)
	}},
	{"the latest counters of many", func(s *shop) {
		a, b := s.sku("a", 1), s.sku("b", 2)
		latest, err := s.store.Latest(s.ctx, b, a, s.name+"nothing")
		s.NoError(err)
		s.checkCounters(latest)
		s.Equal([]string{a, b}, names(latest))
		_, err = s.store.Latest(s.ctx, "")
		s.ErrorIs(err, inventory.ErrInvalid)
	}},
}
