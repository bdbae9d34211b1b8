package ordertest

import (
	"fmt"
	"slices"
	"time"

	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

// pooled puts a SKU that draws on pools on sale.
func (s *shop) pooled(name string, capacity int64, draws ...order.Line) string {
	s.t.Helper()
	return s.item(order.Item{SKU: s.name + name, Capacity: capacity, Draws: draws})
}

var poolTests = []test{
	{"what is drawn counts", func(s *shop) {
		hall := s.sku("hall", 10)
		early, door := s.pooled("early", 4, line(hall, 1)), s.pooled("door", 10, line(hall, 1))
		s.Equal([]order.Line{line(hall, 1)}, s.counters(early).Draws)
		c := s.deducted("1", line(early, 3))
		o := s.book(c)
		s.Equal([]order.Line{line(early, 3)}, o.Lines)
		s.Equal([]order.Line{line(hall, 3)}, o.Draws)
		s.Equal(int64(3), s.counters(hall).Allocated)
		s.Equal(int64(3), s.counters(hall).Admitted)
		s.Equal(int64(3), s.counters(early).Allocated)
		s.kinds(hall, order.MovedOnSale, order.MovedBooked)
		tallies, err := s.store.Tally(s.ctx, hall)
		s.NoError(err)
		s.Equal(int64(3), tallies[0].Confirmed)

		s.book(s.direct("2", line(door, 6)))
		outcome := s.one(s.deducted("3", line(door, 1), line(early, 1)))
		s.Equal(order.VerdictFull, outcome.Verdict)
		s.Equal(2, outcome.Unit, "the hall")
		s.Equal(int64(1), outcome.Left)
		s.Equal(int64(6), s.counters(door).Allocated)
		s.book(s.deducted("3", line(hall, 1))) // it is a SKU like any other
		s.Zero(s.counters(hall).Left())

		s.cancel("1")
		s.Equal(int64(3), s.counters(hall).Left())
		s.kinds(hall, order.MovedOnSale, order.MovedBooked, order.MovedBooked, order.MovedBooked, order.MovedCancelled)
	}},
	{"a pool only is drawn on, and not ordered", func(s *shop) {
		hall := s.item(order.Item{SKU: s.name + "hall", Capacity: 10, PoolOnly: true})
		wood := s.sku("wood", 100)
		stage := s.item(order.Item{SKU: s.name + "stage", Capacity: 10, PoolOnly: true, Draws: []order.Line{line(wood, 3)}})
		seat := s.pooled("seat", 10, line(hall, 1), line(stage, 1))
		s.True(s.counters(hall).PoolOnly)
		s.Empty(s.counters(hall).Draws)
		s.True(s.counters(stage).PoolOnly)
		s.False(s.counters(seat).PoolOnly)
		o := s.book(s.deducted("1", line(seat, 2)))
		s.Equal([]order.Line{line(hall, 2), line(stage, 2), line(wood, 6)}, o.Draws)

		before, _ := s.store.Counters(s.ctx, hall, stage, seat, wood)
		named := []order.Commit{
			s.deducted("2", line(hall, 1)), s.direct("3", line(hall, 1)), s.deducted("4", line(stage, 1)),
			s.deducted("5", line(hall, 1), line(seat, 1)), held(s.direct("6", line(hall, 1)), later),
		}
		outcomes := s.commit(append(named, s.direct("7", line(seat, 1)))...)
		s.Equal(append(slices.Repeat([]order.Verdict{order.VerdictAgain}, len(named)), order.VerdictBooked), verdicts(outcomes))
		for i := range named {
			s.notThere(fmt.Sprint(i + 2))
		}
		s.Equal(before[0].Allocated+1, s.counters(hall).Allocated)
		s.Equal([]order.Verdict{order.VerdictAgain}, verdicts(s.commit(named[1])), "alone, too")

		// It is fixed, as draws are.
		for _, other := range []order.Item{
			{SKU: hall, Capacity: 10},
			{SKU: stage, Capacity: 10, Draws: []order.Line{line(wood, 3)}},
			{SKU: seat, Capacity: 10, PoolOnly: true, Draws: []order.Line{line(hall, 1), line(stage, 1)}},
		} {
			_, _, err := s.put(other)
			s.ofSKU(err, order.ErrAlreadyOnSale, other.SKU)
		}
		_, made, err := s.put(order.Item{SKU: hall, Capacity: 10, PoolOnly: true})
		s.NoError(err)
		s.Equal([]bool{false}, made)
	}},
	{"pools of pools", func(s *shop) {
		wood := s.sku("wood", 100)
		chair := s.pooled("chair", 100, line(wood, 4))
		bundle := s.pooled("bundle", 100, line(chair, 2), line(wood, 10))
		s.Equal([]order.Line{line(chair, 2), line(wood, 18)}, s.counters(bundle).Draws)
		s.Equal([]order.Line{line(wood, 4)}, s.counters(chair).Draws)
		o := s.book(s.deducted("1", line(bundle, 3)))
		s.Equal([]order.Line{line(chair, 6), line(wood, 54)}, o.Draws)
		s.Equal(int64(54), s.counters(wood).Allocated)
		s.Equal(order.VerdictFull, s.one(s.deducted("2", line(bundle, 3))).Verdict)
		s.book(s.deducted("2", line(bundle, 2)))
		// A pool as a line too: one unit, of the sum.
		o = s.book(s.deducted("3", line(chair, 1), line(wood, 3)))
		s.Equal([]order.Line{line(wood, 4)}, o.Draws)
		s.Equal([]order.Line{line(chair, 1), line(wood, 7)}, o.Units())
		s.Equal(int64(97), s.counters(wood).Allocated)
		s.cancel("3")
		s.Equal(int64(90), s.counters(wood).Allocated)
	}},
	{"put on sale in one call, in any order", func(s *shop) {
		a, b, c := s.name+"a", s.name+"b", s.name+"c"
		all, made, err := s.put(
			order.Item{SKU: a, Capacity: 1, Draws: []order.Line{line(b, 2)}},
			order.Item{SKU: b, Capacity: 2, Draws: []order.Line{line(c, 3)}},
			order.Item{SKU: c, Capacity: 6},
		)
		s.NoError(err)
		s.own(all...)
		s.Equal([]bool{true, true, true}, made)
		s.Equal([]order.Line{line(b, 2), line(c, 6)}, all[0].Draws)
		s.Equal([]order.Counters{s.counters(a), s.counters(b), s.counters(c)}, all)
		s.book(s.deducted("1", line(a, 1)))
		s.Zero(s.counters(c).Left())
		// Pools that are there needn't be among the items.
		all, made, err = s.put(order.Item{SKU: a, Capacity: 1, Draws: []order.Line{line(b, 2)}}, order.Item{SKU: s.name + "d", Draws: []order.Line{line(a, 1)}})
		s.NoError(err)
		s.own(all[1])
		s.Equal([]bool{false, true}, made)
		s.Equal([]order.Line{line(a, 1), line(b, 2), line(c, 6)}, all[1].Draws)
	}},
	{"draws in any order, and twice", func(s *shop) {
		a, b := s.sku("a", 10), s.sku("b", 10)
		sku := s.pooled("c", 10, line(b, 1), line(a, 2), line(b, 3))
		s.Equal([]order.Line{line(a, 2), line(b, 4)}, s.counters(sku).Draws)
	}},
	{"wrong draws", func(s *shop) {
		pool, other := s.sku("pool", 10), s.sku("other", 10)
		sku := s.pooled("floor", 10, line(pool, 2))
		good := s.deducted("1", line(sku, 1))
		for name, draws := range map[string][]order.Line{
			"none": nil, "too few": {line(pool, 1)}, "too many": {line(pool, 3)},
			"of another": {line(other, 2)}, "and of another": {line(other, 1), line(pool, 2)},
		} {
			bad := good
			bad.Order.Draws, bad.Deductions = draws, nil
			outcome := s.one(bad)
			s.Equal(order.VerdictAgain, outcome.Verdict, name)
			for _, unit := range bad.Order.Units() {
				bad.Deductions = append(bad.Deductions, s.deduct(bad.Order.ID, unit))
			}
			outcome = s.one(bad)
			s.Equal(order.VerdictAgain, outcome.Verdict, name)
			s.NotContains(outcome.Again, false, "%s: all of them", name)
			bad.Deductions[0] = inventory.Deduction{}
			s.Equal(order.VerdictAgain, s.one(bad).Verdict, name)
		}
		plain := s.deducted("1", line(other, 1))
		plain.Order.Draws, plain.Deductions = []order.Line{line(pool, 1)}, nil
		s.Equal(order.VerdictAgain, s.one(plain).Verdict, "of who draws nothing")
		for _, sku := range []string{pool, other, sku} {
			s.Zero(s.counters(sku).Allocated)
		}
		s.notThere("1")
		s.book(good)
		// The others of its batch are decided.
		bad := s.direct("2", line(sku, 1))
		bad.Order.Draws = nil
		s.Equal([]order.Verdict{order.VerdictAgain, order.VerdictBooked}, verdicts(s.commit(bad, s.deducted("3", line(sku, 1)))))
	}},
	{"wrong draws are not looked at if the ID is there", func(s *shop) {
		pool := s.sku("pool", 10)
		sku := s.pooled("floor", 10, line(pool, 2))
		s.book(s.deducted("1", line(sku, 1)))
		bad := s.direct("1", line(sku, 1))
		bad.Order.Draws = nil
		s.Equal(order.VerdictExisting, s.one(bad).Verdict)
		bad.Order.Lines = []order.Line{line(sku, 2)}
		s.Equal(order.VerdictConflict, s.one(bad).Verdict)
	}},
	{"of an unknown pool or SKU", func(s *shop) {
		pool := s.sku("pool", 10)
		sku := s.pooled("floor", 10, line(pool, 2))
		c := s.direct("1", line(sku, 1))
		c.Order.Draws = []order.Line{line(s.name+"nothing", 2)}
		outcome := s.one(c)
		s.Equal(order.VerdictUnknown, outcome.Verdict, "that goes before wrong draws")
		s.Equal(s.name+"nothing", c.Order.Units()[outcome.Unit].SKU)
		c = s.direct("1", line(sku, 1), line(s.name+"nothing", 1))
		c.Order.Draws = nil
		s.Equal(order.VerdictUnknown, s.one(c).Verdict)
	}},
	{"a deduction for each unit", func(s *shop) {
		z := s.sku("a-pool", 10) // sorts before the line
		sku := s.pooled("floor", 10, line(z, 2))
		c := s.deducted("1", line(sku, 1))
		s.Equal([]string{z, sku}, []string{c.Deductions[0].SKU, c.Deductions[1].SKU})
		fenced := s.deducted("2", line(sku, 1))
		s.Equal([]bool{false}, s.fence(fenced.Deductions[0]))
		outcome := s.one(fenced)
		s.Equal(order.VerdictAgain, outcome.Verdict)
		s.Equal([]bool{true, false}, outcome.Again)

		s.book(c)
		second := s.deducted("1", line(sku, 1))
		mixed := c
		mixed.Deductions = []inventory.Deduction{second.Deductions[0], c.Deductions[1]}
		s.Equal([]bool{false, true}, s.one(mixed).Consumed)
		s.Equal([]bool{true, true, false}, s.fence(c.Deductions[0], c.Deductions[1], second.Deductions[0]))

		// One of them direct.
		before := s.counters(z)
		direct := s.deducted("3", line(sku, 1))
		direct.Deductions[0] = inventory.Deduction{}
		s.book(direct)
		after := s.counters(z)
		s.Equal(before.Version+1, after.Version)
		s.Equal(before.Supply().Units-2, after.Supply().Units)
		s.Equal(before.Admitted, after.Admitted)
	}},
	{"limit and window of a pool", func(s *shop) {
		hall := s.limitedSKU("hall", 100, 5)
		early, door := s.pooled("early", 100, line(hall, 2)), s.pooled("door", 100, line(hall, 1))
		s.book(s.deducted("1", line(early, 2)))
		s.exceeds(s.deducted("2", line(door, 2)), 5, 4)
		s.exceeds(s.deducted("2", line(hall, 2)), 5, 4)
		outcome := s.one(s.deducted("2", line(early, 1)))
		s.Equal(order.VerdictLimited, outcome.Verdict)
		s.Equal(1, outcome.Unit, "the hall")
		s.Equal([]int64{0, 4}, s.look(s.direct("2", line(early, 1)))[0].Used)
		s.book(s.deducted("2", line(door, 1)))
		s.book(by("c-18", s.deducted("3", line(door, 5))))
		s.cancel("1")
		s.setWindow(hall, time.Now().Add(later), time.Time{})
		outcome = s.one(s.deducted("4", line(early, 1)))
		s.Equal(order.VerdictClosed, outcome.Verdict)
		s.Equal(1, outcome.Unit)
	}},
	{"the first limit of a pool counts what was drawn", func(s *shop) {
		hall := s.sku("hall", 100)
		early := s.pooled("early", 100, line(hall, 2))
		s.book(s.deducted("1", line(early, 2)))
		s.setLimit(hall, 5)
		s.exceeds(s.deducted("2", line(early, 1)), 5, 4)
		s.book(s.deducted("2", line(hall, 1)))
	}},
	{"held, confirmed, expired, reclaimed", func(s *shop) {
		hall := s.sku("hall", 4)
		early := s.pooled("early", 100, line(hall, 2))
		o := s.hold(soon, s.deducted("1", line(early, 1)))
		s.Equal([]order.Line{line(hall, 2)}, o.Draws)
		s.hold(later, s.deducted("2", line(early, 1)))
		s.past(hall, o.ExpiresAt)
		_, err := s.act("1", order.Confirm)
		s.expired(err, o, 98, 0)
		_, counters := s.change(order.Change{ID: o.ID, Action: order.Expire})
		s.Equal([]string{early, hall}, names(counters))
		s.Equal(int64(2), counters[1].Allocated)
		s.done("2", order.Confirm)
		s.book(s.deducted("3", line(hall, 1)))
		_, err = s.act("1", order.Reclaim)
		s.soldOut(err, hall, 2, 1)
		s.cancel("3")
		reclaimed := s.done("1", order.Reclaim)
		s.Equal([]order.Line{line(hall, 2)}, reclaimed.Draws)
		s.Zero(s.counters(hall).Left())
		s.kinds(hall, order.MovedOnSale, order.MovedHeld, order.MovedHeld, order.MovedExpired, order.MovedConfirmed,
			order.MovedBooked, order.MovedCancelled, order.MovedReclaimed)
		page, err := s.store.Orders(s.ctx, order.Query{Size: 3})
		s.NoError(err)
		s.sameOrder(reclaimed, page.Orders[2])
	}},
	{"bad pools", func(s *shop) {
		pool := s.sku("pool", 10)
		a, b, c := s.name+"a", s.name+"b", s.name+"c"
		items := func(draws ...[]order.Line) []order.Item {
			var items []order.Item
			for i, sku := range []string{a, b, c}[:len(draws)] {
				items = append(items, order.Item{SKU: sku, Capacity: 1, Draws: draws[i]})
			}
			return items
		}
		_, _, err := s.put(items([]order.Line{line(pool, 1), line(s.name+"nothing", 1)})...)
		s.ofSKU(err, order.ErrUnknownSKU, s.name+"nothing")
		_, _, err = s.put(items(nil, []order.Line{line(c, 1)})...)
		s.ofSKU(err, order.ErrUnknownSKU, c)
		for name, bad := range map[string][]order.Item{
			"itself":           items([]order.Line{line(a, 1)}),
			"two":              items([]order.Line{line(b, 1)}, []order.Line{line(a, 1)}),
			"three":            items([]order.Line{line(b, 1)}, []order.Line{line(c, 1)}, []order.Line{line(a, 1)}),
			"behind the first": items([]order.Line{line(b, 1)}, []order.Line{line(c, 1)}, []order.Line{line(pool, 1), line(b, 1)}),
			"too many units": items(
				[]order.Line{line(b, 1000)}, []order.Line{line(c, 1000)}, []order.Line{line(pool, 2)}),
			"too many units in all": items(nil, []order.Line{line(a, inventory.MaxQuantity), line(a, 1)}),
		} {
			_, _, err := s.put(bad...)
			s.invalid(err, name)
		}
		s.unknown(a, b, c)
		s.pooled("d", 1, line(pool, inventory.MaxQuantity))
	}},
	{"too many pools", func(s *shop) {
		var pools []order.Line
		for i := range order.MaxDraws + 1 {
			pools = append(pools, line(s.sku(fmt.Sprintf("pool%02d", i), 100), 1))
		}
		_, _, err := s.put(order.Item{SKU: s.name + "a", Draws: pools})
		s.invalid(err, pools)
		all := s.pooled("all", 10, pools[:order.MaxDraws]...)
		s.Equal(pools[:order.MaxDraws], s.counters(all).Draws)
		s.book(s.deducted("1", line(all, 1)))
		// Those of pools count.
		_, _, err = s.put(order.Item{SKU: s.name + "a", Draws: []order.Line{line(all, 1)}})
		s.invalid(err, pools)
		half := s.pooled("half", 10, pools[:order.MaxDraws-1]...)
		s.pooled("most", 10, line(half, 1))
		_, _, err = s.put(order.Item{SKU: s.name + "a", Draws: []order.Line{line(half, 1), pools[order.MaxDraws]}})
		s.invalid(err, pools)
		s.unknown(s.name + "a")
	}},
	{"opposing orders", func(s *shop) {
		// Deadlocks: the pools sort before, between and behind those that draw on them.
		a, m, z := s.sku("a", 1000), s.sku("m", 1000), s.sku("z", 1000)
		b, n := s.pooled("b", 1000, line(a, 1), line(z, 1)), s.pooled("n", 1000, line(a, 1), line(m, 1))
		s.together(6, func(caller int) {
			for i := range 10 {
				lines := [][]order.Line{{line(b, 1)}, {line(n, 1)}, {line(a, 1), line(z, 1)}, {line(b, 1), line(m, 1), line(n, 1)}}[(caller+i)%4]
				s.tryCommit(s.direct(fmt.Sprint(caller, "-", i), lines...))
				if i%3 == 0 {
					s.mustTry(s.id(fmt.Sprint(caller, "-", i)), order.Cancel)
				}
			}
		})
	}},
}
