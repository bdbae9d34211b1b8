package ordertest

import (
	"fmt"

	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

var commitTests = []test{
	{"booked", func(s *shop) {
		sku := s.sku("floor", 10)
		before := s.counters(sku)
		c := s.deducted("1", line(sku, 3))
		booked := s.book(c)
		o, err := s.store.Order(s.ctx, s.id("1"))
		s.NoError(err)
		s.sameOrder(booked, o)

		after := s.counters(sku)
		s.Equal(int64(3), after.Allocated)
		s.Equal(int64(3), after.Admitted)
		s.Equal(c.Deductions[0].Seq, after.TopSeq)
		s.Equal(before.Version, after.Version, "a booking needs no push")
		s.Equal(before.Supply().Units, after.Supply().Units, "a booking leaves the supply as it is")
		s.Equal(int64(3), after.Supply().Admitted)
	}},
	{"the last unit and not one more", func(s *shop) {
		sku := s.sku("floor", 3)
		for i := range 3 {
			s.book(s.deducted(fmt.Sprint(i), line(sku, 1)))
		}
		outcome := s.one(s.deducted("3", line(sku, 1)))
		s.Equal(order.VerdictFull, outcome.Verdict)
		s.Zero(outcome.Unit)
		s.Zero(outcome.Left)
		s.notThere("3")
		s.Equal(int64(3), s.counters(sku).Allocated)
	}},
	{"full says how many are left", func(s *shop) {
		sku := s.sku("floor", 3)
		s.book(s.deducted("1", line(sku, 1)))
		outcome := s.one(s.deducted("2", line(sku, 3)))
		s.Equal(order.VerdictFull, outcome.Verdict)
		s.Equal(int64(2), outcome.Left)
		s.notThere("2")
		s.book(s.deducted("2", line(sku, 2))) // refusals are not remembered
	}},
	{"full names all that falls short", func(s *shop) {
		a, b, c, d := s.sku("a", 9), s.sku("b", 3), s.sku("c", 3), s.sku("d", 2)
		late := s.hold(soon, s.deducted("late", line(a, 1), line(b, 3), line(c, 3), line(d, 2)))
		s.past(a, late.ExpiresAt)
		s.expire(late)
		s.book(s.deducted("1", line(b, 1), line(d, 1)))
		s.book(s.deducted("2", line(b, 1)))
		refused := s.one(s.direct("3", late.Lines...))
		s.Equal(order.VerdictFull, refused.Verdict)
		_, reclaimed := s.act("late", order.Reclaim)
		for _, err := range []error{refused.Err, reclaimed} {
			var short *inventory.StockError
			s.ErrorAs(err, &short)
			s.ErrorContains(err, fmt.Sprintf("SKU %q: sold out: 3 requested, 1 available", b))
			s.ErrorContains(err, fmt.Sprintf("SKU %q: sold out: 2 requested, 1 available", d))
			s.Equal([]*inventory.StockError{{SKU: d, Requested: 2, Available: 1}}, short.Others)
		}
	}},
	{"existing", func(s *shop) {
		sku := s.sku("floor", 10)
		c := s.deducted("1", line(sku, 3))
		booked := s.book(c)
		before := s.counters(sku)
		for range 2 {
			outcome := s.one(c)
			s.Equal(order.VerdictExisting, outcome.Verdict)
			s.sameOrder(booked, outcome.Order)
		}
		s.Equal(before, s.counters(sku))
	}},
	{"existing after the last unit was sold", func(s *shop) {
		sku := s.sku("floor", 3)
		c := s.deducted("1", line(sku, 3))
		s.book(c)
		s.Equal(order.VerdictExisting, s.one(c).Verdict)
		s.Equal(order.VerdictExisting, s.one(s.direct("1", line(sku, 3))).Verdict)
	}},
	{"existing in a later epoch", func(s *shop) {
		sku := s.sku("floor", 3)
		c := s.deducted("1", line(sku, 3))
		s.book(c)
		_, _, err := s.store.BeginEpoch(s.ctx, sku, s.counters(sku).Epoch)
		s.NoError(err)
		outcome := s.one(c)
		s.Equal(order.VerdictExisting, outcome.Verdict)
		s.Equal([]bool{true}, outcome.Consumed)
	}},
	{"existing and cancelled", func(s *shop) {
		sku := s.sku("floor", 3)
		c := s.deducted("1", line(sku, 3))
		s.book(c)
		cancelled, _ := s.cancel("1")
		outcome := s.one(c)
		s.Equal(order.VerdictExisting, outcome.Verdict)
		s.sameOrder(cancelled, outcome.Order)
		s.Equal(order.Cancelled, outcome.Order.Status)
		s.Equal([]bool{true}, outcome.Consumed, "whatever became of the order since")
		s.Zero(s.counters(sku).Allocated)
	}},
	{"conflict", func(s *shop) {
		a, b := s.sku("a", 10), s.sku("b", 10)
		s.book(s.deducted("1", line(a, 3)))
		other := s.deducted("1", line(a, 3))
		other.Order.Customer = "c-18"
		for _, c := range []order.Commit{
			other,
			s.deducted("1", line(a, 2)),
			s.deducted("1", line(b, 3)),
			s.deducted("1", line(a, 3), line(b, 1)),
			s.direct("1", line(a, 4)),
		} {
			outcome := s.one(c)
			s.Equal(order.VerdictConflict, outcome.Verdict)
			s.NotContains(outcome.Consumed, true)
		}
		s.Equal(int64(3), s.counters(a).Allocated)
		s.Zero(s.counters(b).Allocated)
	}},
	{"conflict with a cancelled order", func(s *shop) {
		sku := s.sku("floor", 10)
		s.book(s.deducted("1", line(sku, 3)))
		s.cancel("1")
		s.Equal(order.VerdictConflict, s.one(s.deducted("1", line(sku, 4))).Verdict)
	}},
	{"conflict though the SKU is unknown", func(s *shop) {
		sku := s.sku("floor", 10)
		s.book(s.deducted("1", line(sku, 3)))
		s.Equal(order.VerdictConflict, s.one(s.direct("1", line(s.name+"nothing", 3))).Verdict)
	}},
	{"the other attributes make no other order", func(s *shop) {
		sku := s.sku("floor", 10)
		s.book(s.deducted("1", line(sku, 3)))
		c := s.deducted("1", line(sku, 3))
		c.Order.Status = order.Cancelled
		c.Order.CreatedAt = c.Deductions[0].At
		c.Order.ExpiresAt = c.Deductions[0].At
		s.Equal(order.VerdictExisting, s.one(c).Verdict)
		c.Order.ID, c.Deductions = s.id("2"), nil
		s.book(c) // they are the store's to say
	}},
	{"again by a stale epoch", func(s *shop) {
		a, b := s.sku("a", 10), s.sku("b", 10)
		c := s.deducted("1", line(a, 1), line(b, 1))
		_, _, err := s.store.BeginEpoch(s.ctx, b, s.counters(b).Epoch)
		s.NoError(err)
		outcome := s.one(c)
		s.Equal(order.VerdictAgain, outcome.Verdict)
		s.Equal([]bool{false, true}, outcome.Again, "only that line is to be deducted again")
		s.notThere("1")
		s.Zero(s.counters(a).Allocated)

		c.Deductions[1] = s.deduct(c.Order.ID, c.Order.Lines[1])
		s.book(c)
	}},
	{"again by a fence", func(s *shop) {
		a, b := s.sku("a", 10), s.sku("b", 10)
		c := s.deducted("1", line(a, 1), line(b, 1))
		s.Equal([]bool{false}, s.fence(c.Deductions[0]))
		outcome := s.one(c)
		s.Equal(order.VerdictAgain, outcome.Verdict)
		s.Equal([]bool{true, false}, outcome.Again)
		s.notThere("1")
		c.Deductions[0] = s.deduct(c.Order.ID, c.Order.Lines[0])
		s.book(c)
	}},
	{"again goes before full", func(s *shop) {
		// Who is told Full gives everything back, so both orders of the lines
		// must say what is dead.
		a, b := s.sku("a", 0), s.sku("b", 10)
		c := s.deducted("1", line(a, 1), line(b, 1))
		s.fence(c.Deductions[1])
		s.Equal(order.VerdictAgain, s.one(c).Verdict)
	}},
	{"unknown", func(s *shop) {
		sku := s.sku("floor", 10)
		outcome := s.one(s.deducted("1", line(sku, 1), line(s.name+"nothing", 1)))
		s.Equal(order.VerdictUnknown, outcome.Verdict)
		s.Equal(1, outcome.Unit)
		s.notThere("1")
		s.Zero(s.counters(sku).Allocated)

		s.Equal(order.VerdictUnknown, s.one(s.direct("2", line(s.name+"nothing", 1))).Verdict)
		s.book(s.deducted("1", line(sku, 1))) // refusals are not remembered
	}},
	{"direct shrinks the supply", func(s *shop) {
		sku := s.sku("floor", 10)
		before := s.counters(sku)
		s.book(s.direct("1", line(sku, 3)))
		c := s.counters(sku)
		s.Equal(int64(3), c.Allocated)
		s.Zero(c.Admitted)
		s.Zero(c.TopSeq)
		s.Greater(c.Version, before.Version)
		s.Equal(int64(7), c.Supply().Units)
		s.Equal(order.VerdictFull, s.one(s.direct("2", line(sku, 8))).Verdict)
		s.Equal(c, s.counters(sku))
	}},
	{"direct for one line", func(s *shop) {
		a, b := s.sku("a", 10), s.sku("b", 10)
		beforeA, beforeB := s.counters(a), s.counters(b)
		c := s.deducted("1", line(a, 2), line(b, 3))
		c.Deductions[1] = inventory.Deduction{}
		outcome := s.one(c)
		s.Equal(order.VerdictBooked, outcome.Verdict)
		s.Equal([]bool{true, false}, outcome.Consumed)
		s.Equal(beforeA.Supply().Units, s.counters(a).Supply().Units)
		s.Equal(beforeA.Version, s.counters(a).Version)
		s.Equal(beforeB.Supply().Units-3, s.counters(b).Supply().Units)
		s.Greater(s.counters(b).Version, beforeB.Version)
	}},
	{"many lines, all or nothing", func(s *shop) {
		var lines []order.Line
		for i := range order.MaxLines {
			lines = append(lines, line(s.sku(fmt.Sprintf("%03d", i), 2), 2))
		}
		o := s.book(s.deducted("1", lines...))
		s.Equal(lines, o.Lines)
		s.cancel("1")

		last := lines[len(lines)-1].SKU
		s.book(s.deducted("2", line(last, 1)))
		outcome := s.one(s.deducted("3", lines...))
		s.Equal(order.VerdictFull, outcome.Verdict)
		s.Equal(len(lines)-1, outcome.Unit)
		s.Equal(int64(1), outcome.Left)
		for _, l := range lines[:len(lines)-1] {
			s.Zero(s.counters(l.SKU).Allocated)
		}
	}},
	{"text of every kind", func(s *shop) {
		for i, text := range []string{`'`, `"`, `\`, `{}`, `{a,b}`, `NULL`, `$1`, `%s`, `--`, `🎟`, ` `, `a b`, `,`} {
			sku := s.sku("sku"+text, 10)
			c := s.deducted("id"+text, line(sku, 1))
			c.Order.Customer = text
			s.book(c)
			o, err := s.store.Order(s.ctx, s.id("id"+text))
			s.NoError(err, i)
			s.Equal(text, o.Customer)
			s.Equal(sku, o.Lines[0].SKU)
		}
	}},
	{"what is returned is a copy", func(s *shop) {
		sku := s.sku("floor", 10)
		c := s.deducted("1", line(sku, 1))
		o := s.book(c)
		c.Order.Lines[0].Quantity = 5
		o.Lines[0].Quantity = 6
		stored, err := s.store.Order(s.ctx, s.id("1"))
		s.NoError(err)
		s.Equal(int64(1), stored.Lines[0].Quantity)
		stored.Lines[0].Quantity = 7
		stored, err = s.store.Order(s.ctx, s.id("1"))
		s.NoError(err)
		s.Equal(int64(1), stored.Lines[0].Quantity)
		s.booked[s.id("1")] = stored
	}},
	{"nothing", func(s *shop) {
		s.Empty(s.commit())
	}},
}

var batchTests = []test{
	{"greedy", func(s *shop) {
		sku := s.sku("floor", 5)
		outcomes := s.commit(
			s.deducted("1", line(sku, 3)),
			s.deducted("2", line(sku, 4)), // doesn't fit, but what is behind it does
			s.deducted("3", line(sku, 1)),
			s.deducted("4", line(sku, 2)),
			s.deducted("5", line(sku, 1)),
			s.deducted("6", line(sku, 1)),
		)
		s.Equal([]order.Verdict{order.VerdictBooked, order.VerdictFull, order.VerdictBooked, order.VerdictFull, order.VerdictBooked, order.VerdictFull}, verdicts(outcomes))
		s.Equal(int64(2), outcomes[1].Left)
		s.Equal(int64(1), outcomes[3].Left)
		s.Equal(int64(0), outcomes[5].Left)
		s.Zero(s.counters(sku).Left())
	}},
	{"same ID and content twice", func(s *shop) {
		sku := s.sku("floor", 10)
		outcomes := s.commit(s.deducted("1", line(sku, 3)), s.deducted("1", line(sku, 3)))
		s.Equal([]order.Verdict{order.VerdictBooked, order.VerdictExisting}, verdicts(outcomes))
		s.Equal([]bool{true}, outcomes[0].Consumed)
		s.Equal([]bool{false}, outcomes[1].Consumed)
		s.sameOrder(outcomes[0].Order, outcomes[1].Order)
		s.Equal(int64(3), s.counters(sku).Allocated)
	}},
	{"same ID twice, other content", func(s *shop) {
		sku := s.sku("floor", 10)
		outcomes := s.commit(s.deducted("1", line(sku, 3)), s.deducted("1", line(sku, 4)), s.deducted("2", line(sku, 1)))
		s.Equal([]order.Verdict{order.VerdictBooked, order.VerdictConflict, order.VerdictBooked}, verdicts(outcomes))
		s.Equal(int64(4), s.counters(sku).Allocated)
	}},
	{"same ID twice, the first refused", func(s *shop) {
		sku := s.sku("floor", 10)
		fenced := s.deducted("2", line(sku, 1))
		s.fence(fenced.Deductions...)
		outcomes := s.commit(
			s.deducted("1", line(sku, 11)), s.deducted("1", line(sku, 3)),
			fenced, s.deducted("2", line(sku, 1)),
			s.deducted("3", line(s.name+"nothing", 1)), s.deducted("3", line(sku, 1)),
			s.deducted("4", line(sku, 11)), s.deducted("4", line(sku, 11)),
		)
		s.Equal([]order.Verdict{
			order.VerdictFull, order.VerdictBooked, order.VerdictAgain, order.VerdictBooked,
			order.VerdictUnknown, order.VerdictBooked, order.VerdictFull, order.VerdictFull,
		}, verdicts(outcomes))
		s.Equal(int64(5), s.counters(sku).Allocated)
	}},
	{"every verdict in one batch", func(s *shop) {
		a, b, c := s.sku("a", 10), s.sku("b", 10), s.sku("c", 1)
		there := s.deducted("there", line(a, 1))
		s.book(there)
		gone := s.deducted("gone", line(a, 1))
		s.void("gone")
		fenced := s.deducted("fenced", line(b, 1))
		s.fence(fenced.Deductions...)
		outcomes := s.commit(
			there, gone, s.deducted("there", line(b, 1)), fenced,
			s.deducted("big", line(a, 1), line(c, 2)), s.deducted("odd", line(s.name+"nothing", 1)),
			s.deducted("fits", line(a, 9), line(c, 1)), s.direct("direct", line(b, 10)),
		)
		s.Equal([]order.Verdict{
			order.VerdictExisting, order.VerdictExisting, order.VerdictConflict, order.VerdictAgain,
			order.VerdictFull, order.VerdictUnknown, order.VerdictBooked, order.VerdictBooked,
		}, verdicts(outcomes))
		s.Equal(order.Cancelled, outcomes[1].Order.Status)
		s.Equal([]bool{false}, outcomes[1].Consumed)
		s.Equal(1, outcomes[4].Unit)
		s.Zero(s.counters(a).Left())
		s.Zero(s.counters(b).Left())
		s.Zero(s.counters(c).Left())
	}},
	{"mixed, of 1000", func(s *shop) {
		skus := []string{s.sku("a", 100), s.sku("b", 200), s.sku("c", 300), s.name + "d"}
		left := map[string]int64{skus[0]: 100, skus[1]: 200, skus[2]: 300}
		epochs := make(map[string]order.Counters)
		for _, sku := range skus[:3] {
			epochs[sku] = s.counters(sku)
		}
		var commits []order.Commit
		var want []order.Verdict
		for i := range order.MaxCommits {
			var lines []order.Line
			for l := range skus {
				if (i+l)%3 == 0 && (l < 3 || i%10 == 0) {
					lines = append(lines, line(skus[l], int64(i%7+1)))
				}
			}
			if len(lines) == 0 {
				lines = append(lines, line(skus[0], int64(i%5+1)))
			}
			c := s.direct(fmt.Sprint(i), lines...)
			verdict := order.VerdictBooked
			for _, l := range lines {
				of := epochs[l.SKU]
				c.Deductions = append(c.Deductions, s.deductIn(max(1, of.Epoch), of.Store, c.Order.ID, l))
				if _, known := left[l.SKU]; !known {
					verdict = order.VerdictUnknown
				} else if verdict == order.VerdictBooked && left[l.SKU] < l.Quantity {
					verdict = order.VerdictFull
				}
			}
			if verdict == order.VerdictBooked {
				for _, l := range lines {
					left[l.SKU] -= l.Quantity
				}
			}
			commits, want = append(commits, c), append(want, verdict)
		}
		s.Equal(want, verdicts(s.commit(commits...)))
		for sku, n := range left {
			s.Equal(n, s.counters(sku).Left(), sku)
		}
		for i := range want {
			if want[i] == order.VerdictBooked {
				want[i] = order.VerdictExisting
			}
		}
		again := s.commit(commits...)
		s.Equal(want, verdicts(again))
		for i := range want {
			if want[i] == order.VerdictExisting {
				s.NotContains(again[i].Consumed, false)
			}
		}
	}},
}

var consumedTests = []test{
	{"a second attempt is not", func(s *shop) {
		a, b := s.sku("a", 10), s.sku("b", 10)
		first := s.deducted("1", line(a, 1), line(b, 1))
		second := s.deducted("1", line(a, 1), line(b, 1))
		s.book(first)
		s.Equal([]bool{true, true}, s.one(first).Consumed)
		s.Equal([]bool{false, false}, s.one(second).Consumed)
		mixed := first
		mixed.Deductions = []inventory.Deduction{first.Deductions[0], second.Deductions[1]}
		s.Equal([]bool{true, false}, s.one(mixed).Consumed)
		s.Equal([]bool{true, true, false, false}, s.fence(append(first.Deductions, second.Deductions...)...))
		s.Equal(int64(1), s.counters(a).Allocated)
	}},
	{"the seq is the identity, not the attempt", func(s *shop) {
		sku := s.sku("floor", 10)
		c := s.deducted("1", line(sku, 1))
		s.book(c)
		late := c
		late.Deductions = []inventory.Deduction{c.Deductions[0]}
		late.Deductions[0].Seq++
		s.Equal([]bool{false}, s.one(late).Consumed)
		older := c
		older.Deductions = []inventory.Deduction{c.Deductions[0]}
		older.Deductions[0].Epoch--
		s.Equal([]bool{false}, s.one(older).Consumed)
		s.Equal([]bool{false, false, true}, s.fence(late.Deductions[0], older.Deductions[0], c.Deductions[0]))
	}},
	{"the SKU is a part of it", func(s *shop) {
		a, b := s.sku("a", 10), s.sku("b", 10)
		c := s.deducted("1", line(a, 1), line(b, 1))
		s.book(c)
		// The same numbers, of the other SKU.
		d := c.Deductions[0]
		d.SKU = b
		s.Equal([]bool{false}, s.fence(d))
	}},
	{"by a conflicting order's own deductions", func(s *shop) {
		sku := s.sku("floor", 10)
		c := s.deducted("1", line(sku, 1))
		s.book(c)
		c.Order.Customer = "c-18"
		outcome := s.one(c)
		s.Equal(order.VerdictConflict, outcome.Verdict)
		s.Equal([]bool{true}, outcome.Consumed, "it is to be settled all the same")
	}},
	{"by an order that was cancelled", func(s *shop) {
		sku := s.sku("floor", 10)
		c := s.deducted("1", line(sku, 1))
		s.book(c)
		s.cancel("1")
		s.Equal([]bool{true}, s.look(c)[0].Consumed)
		s.Equal([]bool{true}, s.fence(c.Deductions...))
	}},
}

var lookTests = []test{
	{"new", func(s *shop) {
		sku := s.sku("floor", 10)
		c := s.deducted("1", line(sku, 3))
		before := s.counters(sku)
		s.Equal(order.VerdictNew, s.look(c)[0].Verdict)
		s.Equal(before, s.counters(sku))
		s.notThere("1")
		s.book(c)
	}},
	{"existing, conflict, cancelled", func(s *shop) {
		sku := s.sku("floor", 10)
		c := s.deducted("1", line(sku, 3))
		booked := s.book(c)
		second := s.deducted("1", line(sku, 3))
		s.void("2")
		before := s.counters(sku)
		outcomes := s.look(c, second, s.deducted("1", line(sku, 4)), s.deducted("2", line(sku, 1)), s.deducted("3", line(sku, 1)), c)
		s.Equal([]order.Verdict{order.VerdictExisting, order.VerdictExisting, order.VerdictConflict, order.VerdictExisting, order.VerdictNew, order.VerdictExisting}, verdicts(outcomes))
		s.sameOrder(booked, outcomes[0].Order)
		s.Equal([]bool{true}, outcomes[0].Consumed)
		s.Equal([]bool{false}, outcomes[1].Consumed)
		s.Equal(order.Cancelled, outcomes[3].Order.Status)
		s.Equal(before, s.counters(sku))
	}},
	{"without deductions", func(s *shop) {
		sku := s.sku("floor", 10)
		s.book(s.deducted("1", line(sku, 3)))
		s.Equal(order.VerdictExisting, s.look(s.direct("1", line(sku, 3)))[0].Verdict)
	}},
	{"of an unknown SKU", func(s *shop) {
		s.Equal(order.VerdictNew, s.look(s.direct("1", line(s.name+"nothing", 3)))[0].Verdict)
	}},
	{"1000 and none", func(s *shop) {
		sku := s.sku("floor", 10)
		s.book(s.deducted("17", line(sku, 1)))
		var commits []order.Commit
		for i := range order.MaxCommits {
			commits = append(commits, s.direct(fmt.Sprint(i), line(sku, 1)))
		}
		for i, outcome := range s.look(commits...) {
			s.Equal(i == 17, outcome.Verdict == order.VerdictExisting)
		}
		s.Empty(s.look())
	}},
}
