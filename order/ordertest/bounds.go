package ordertest

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

// invalid checks that an error says that an argument breaks a bound, and which.
func (s *shop) invalid(err error, what any) {
	s.t.Helper()
	s.ErrorIs(err, inventory.ErrInvalid, "%#v", what)
	var invalid *inventory.InvalidError
	s.ErrorAs(err, &invalid)
	s.NotEmpty(invalid.Field)
	s.NotEmpty(invalid.Reason)
}

// untouched returns a function that checks that nothing was changed since.
func (s *shop) untouched(sku string) func() {
	s.t.Helper()
	before := s.counters(sku)
	page, err := s.store.Orders(s.ctx, order.Query{Size: 1})
	s.NoError(err)
	return func() {
		s.t.Helper()
		s.Equal(before, s.counters(sku))
		after, err := s.store.Orders(s.ctx, order.Query{Size: 1})
		s.NoError(err)
		s.Len(after.Orders, len(page.Orders))
		for i := range page.Orders {
			s.sameOrder(page.Orders[i], after.Orders[i])
		}
	}
}

// refusesCommit checks that neither Commit nor Look takes this, nor anything
// beside it.
func (s *shop) refusesCommit(good, bad order.Commit) {
	s.t.Helper()
	for _, batch := range [][]order.Commit{{bad}, {good, bad}, {bad, good}} {
		outcomes, counters, err := s.store.Commit(s.ctx, batch)
		s.invalid(err, bad)
		s.Empty(outcomes)
		s.Empty(counters)
		_, _, err = s.store.Look(s.ctx, batch)
		s.invalid(err, bad)
	}
}

// refusesChange checks that Change takes neither this nor anything beside it.
func (s *shop) refusesChange(bad order.Change) {
	s.t.Helper()
	good := order.Change{ID: s.id("tombstone"), Action: order.Void}
	for _, changes := range [][]order.Change{{bad}, {good, bad}, {bad, good}} {
		answers, counters, err := s.store.Change(s.ctx, changes)
		s.invalid(err, bad)
		s.Empty(answers)
		s.Empty(counters)
	}
	s.notThere("tombstone")
}

var (
	badHolds   = []time.Duration{0, 1, time.Millisecond - 1, -1, -time.Hour, order.MaxHold + 1, math.MinInt64, math.MaxInt64}
	badWindows = [][2]time.Time{
		{time.Unix(1000, 0), time.Unix(999, 0)},
		{time.Unix(1000, 0), time.Unix(1000, 0)},
		{time.Unix(-1, 0), {}},
		{{}, time.Unix(-1, 0)},
		{time.UnixMilli(1<<52 + 1), {}},
		{{}, time.UnixMilli(1<<52 + 1)},
	}
)

var boundsTests = []test{
	{"PutOnSale", func(s *shop) {
		sku := s.sku("floor", 10)
		defer s.untouched(sku)()
		good := order.Item{SKU: s.name + "other", Capacity: 1}
		refuses := func(bad order.Item) {
			s.t.Helper()
			for _, items := range [][]order.Item{{bad}, {good, bad}, {bad, good}} {
				_, _, err := s.put(items...)
				s.invalid(err, bad)
			}
		}
		for _, id := range badIDs {
			refuses(order.Item{SKU: id, Capacity: 10})
			refuses(order.Item{SKU: s.name + "bad", Draws: []order.Line{line(sku, 1), line(id, 1)}})
		}
		for _, capacity := range []int64{-1, inventory.MaxCapacity + 1, math.MinInt64, math.MaxInt64} {
			refuses(order.Item{SKU: s.name + "bad", Capacity: capacity})
		}
		for _, limit := range []int64{-1, inventory.MaxQuantity + 1, math.MinInt64, math.MaxInt64} {
			refuses(order.Item{SKU: s.name + "bad", CustomerLimit: limit})
		}
		for _, quantity := range badQuantities {
			refuses(order.Item{SKU: s.name + "bad", Draws: []order.Line{line(sku, quantity)}})
		}
		for _, window := range badWindows {
			refuses(order.Item{SKU: s.name + "bad", OpensAt: window[0], ClosesAt: window[1]})
		}
		_, _, err := s.put(good, good)
		s.invalid(err, "twice")
		s.unknown(good.SKU, s.name+"bad")
	}},
	{"terms", func(s *shop) {
		sku := s.sku("floor", 10)
		defer s.untouched(sku)()
		for _, id := range badIDs {
			_, err := s.store.SetLimit(s.ctx, id, 1)
			s.invalid(err, id)
			_, err = s.store.SetWindow(s.ctx, id, time.Time{}, time.Time{})
			s.invalid(err, id)
			_, err = s.store.SetPaused(s.ctx, id, true)
			s.invalid(err, id)
		}
		for _, limit := range []int64{-1, -2, inventory.MaxQuantity + 1, math.MinInt64, math.MaxInt64} {
			_, err := s.store.SetLimit(s.ctx, sku, limit)
			s.invalid(err, limit)
		}
		for _, window := range badWindows {
			_, err := s.store.SetWindow(s.ctx, sku, window[0], window[1])
			s.invalid(err, window)
		}
	}},
	{"adjustments", func(s *shop) {
		sku := s.sku("floor", 10)
		defer s.untouched(sku)()
		refuses := func(spoil func(a *order.Adjustment)) {
			s.t.Helper()
			for _, kind := range []order.AdjustmentKind{order.SetCapacity, order.Restock, order.WriteOff} {
				bad := order.Adjustment{ID: s.id("1"), SKU: sku, Kind: kind, Units: 1, Reason: "r", Reference: "r"}
				spoil(&bad)
				_, err := s.store.Adjust(s.ctx, bad)
				s.invalid(err, bad)
			}
		}
		for _, id := range badIDs {
			refuses(func(a *order.Adjustment) { a.ID = id })
			refuses(func(a *order.Adjustment) { a.SKU = id })
			if id != "" {
				refuses(func(a *order.Adjustment) { a.Reason = id })
				refuses(func(a *order.Adjustment) { a.Reference = id })
			}
		}
		for _, units := range []int64{-1, inventory.MaxCapacity + 1, math.MinInt64, math.MaxInt64} {
			refuses(func(a *order.Adjustment) { a.Units = units })
		}
		refuses(func(a *order.Adjustment) { a.Kind = "" })
		refuses(func(a *order.Adjustment) { a.Kind = "on_sale" })
		for _, kind := range []order.AdjustmentKind{order.Restock, order.WriteOff} {
			refuses(func(a *order.Adjustment) { a.Kind, a.Units = kind, 0 })
		}
	}},
	{"holds", func(s *shop) {
		sku := s.sku("floor", 10)
		o := s.hold(later, s.direct("held", line(sku, 1)))
		good := s.deducted("good", line(sku, 1))
		defer s.untouched(sku)()
		for _, hold := range badHolds {
			if hold != 0 {
				s.refusesCommit(good, held(s.direct("bad", line(sku, 1)), hold))
			}
			s.refusesChange(order.Change{ID: o.ID, Action: order.Extend, Hold: hold})
			_, err := s.store.Due(s.ctx, hold, 1)
			s.invalid(err, hold)
		}
		s.notThere("good")
	}},
	{"changes", func(s *shop) {
		sku := s.sku("floor", 10)
		o := s.hold(later, s.direct("held", line(sku, 1)))
		check := s.untouched(sku)
		for _, id := range badIDs {
			for _, action := range everyAction {
				s.refusesChange(order.Change{ID: id, Action: action, Hold: later})
			}
		}
		for _, action := range []order.Action{"", "Cancel", "held", "' or true"} {
			s.refusesChange(order.Change{ID: o.ID, Action: action})
		}
		changes := slices.Repeat([]order.Change{{ID: o.ID, Action: order.Cancel}}, order.MaxCommits+1)
		_, _, err := s.store.Change(s.ctx, changes)
		s.invalid(err, len(changes))
		for _, limit := range []int{0, -1, math.MinInt} {
			_, err := s.store.Due(s.ctx, later, limit)
			s.invalid(err, limit)
			_, err = s.store.Uncounted(s.ctx, "", limit)
			s.invalid(err, limit)
		}
		check()
		s.sameOrder(o, s.done("held", order.Count))
	}},
	{"draws of a commit", func(s *shop) {
		pool, other := s.sku("pool", 10), s.sku("a-pool", 10)
		sku := s.pooled("floor", 10, line(pool, 1))
		defer s.untouched(sku)()
		good := s.deducted("good", line(sku, 1))
		for _, draws := range [][]order.Line{
			{line(pool, 1), line(other, 1)},
			{line(pool, 1), line(pool, 1)},
			{line(pool, 0)},
			{line(pool, -1)},
			{line(pool, inventory.MaxQuantity+1)},
			{line("", 1)},
			{line("bad\xff", 1)},
			{line(sku, inventory.MaxQuantity)}, // together with the line
		} {
			bad := s.direct("bad", line(sku, 1))
			bad.Order.Draws = draws
			s.refusesCommit(good, bad)
		}
		bad := s.deducted("bad", line(sku, 1))
		bad.Deductions = bad.Deductions[:1]
		s.refusesCommit(good, bad)
		bad = s.deducted("bad", line(sku, 1))
		bad.Deductions[0], bad.Deductions[1] = bad.Deductions[1], bad.Deductions[0]
		s.refusesCommit(good, bad)
	}},
	{"movements and cursors", func(s *shop) {
		sku := s.sku("floor", 10)
		for _, id := range badIDs {
			_, err := s.store.Movements(s.ctx, id, 0, 1)
			s.invalid(err, id)
			cursor := order.Cursor{Store: id}
			cursor.Positions[1] = 1
			_, _, err = s.store.Feed(s.ctx, cursor, 1)
			s.invalid(err, id)
		}
		for _, after := range []int64{-1, math.MinInt64} {
			_, err := s.store.Movements(s.ctx, sku, after, 1)
			s.invalid(err, after)
			cursor := s.end()
			cursor.Positions[order.Partitions-1] = after
			_, _, err = s.store.Feed(s.ctx, cursor, 1)
			s.invalid(err, after)
		}
		for _, limit := range []int{0, -1, order.MaxMovements + 1, math.MaxInt} {
			_, err := s.store.Movements(s.ctx, sku, 0, limit)
			s.invalid(err, limit)
			_, _, err = s.store.Feed(s.ctx, order.Cursor{}, limit)
			s.invalid(err, limit)
		}
		movements, err := s.store.Movements(s.ctx, sku, math.MaxInt64, 1)
		s.NoError(err)
		s.Empty(movements)
		cursor := s.end()
		cursor.Positions[0] = math.MaxInt64
		_, _, err = s.store.Feed(s.ctx, cursor, 1)
		s.ErrorIs(err, order.ErrUnknownCursor)
	}},
	{"IDs, customers and SKUs of a commit", func(s *shop) {
		sku := s.sku("floor", 10)
		defer s.untouched(sku)()
		good := s.deducted("good", line(sku, 1))
		for _, id := range badIDs {
			bad := good
			bad.Order.ID = id
			bad.Deductions = nil
			s.refusesCommit(good, bad)
			bad = s.direct("bad", line(sku, 1))
			bad.Order.Customer = id
			s.refusesCommit(good, bad)
			s.refusesCommit(good, s.direct("bad", line(id, 1)))
		}
	}},
	{"lines of a commit", func(s *shop) {
		sku, other := s.sku("floor", 10), s.sku("other", 10)
		defer s.untouched(sku)()
		good := s.deducted("good", line(sku, 1))
		for _, quantity := range badQuantities {
			s.refusesCommit(good, s.direct("bad", line(sku, quantity)))
			s.refusesCommit(good, s.direct("bad", line(sku, 1), line(other, quantity)))
		}
		s.refusesCommit(good, s.direct("bad"))
		s.refusesCommit(good, s.direct("bad", line(other, 1), line(sku, 1)))
		s.refusesCommit(good, s.direct("bad", line(sku, 1), line(sku, 1)))
		var lines []order.Line
		for i := range order.MaxLines + 1 {
			lines = append(lines, line(fmt.Sprintf("%s%03d", s.name, i), 1))
		}
		s.refusesCommit(good, s.direct("bad", lines...))
	}},
	{"deductions of a commit", func(s *shop) {
		sku, other := s.sku("floor", 10), s.sku("other", 10)
		defer s.untouched(sku)()
		good := s.deducted("good", line(sku, 1))
		for _, spoil := range []func(d *inventory.Deduction){
			func(d *inventory.Deduction) { d.SKU = other },
			func(d *inventory.Deduction) { d.Quantity++ },
			func(d *inventory.Deduction) { d.OrderID = s.id("another") },
			func(d *inventory.Deduction) { d.Epoch = 0 },
			func(d *inventory.Deduction) { d.Epoch = -1 },
			func(d *inventory.Deduction) { d.Seq = 0 },
			func(d *inventory.Deduction) { d.Seq = -1 },
		} {
			bad := s.deducted("bad", line(sku, 1))
			spoil(&bad.Deductions[0])
			s.refusesCommit(good, bad)
		}
		bad := s.deducted("bad", line(sku, 1))
		bad.Deductions = append(bad.Deductions, bad.Deductions[0])
		s.refusesCommit(good, bad)
		bad = s.deducted("bad", line(sku, 1), line(other, 1))
		bad.Deductions = bad.Deductions[:1]
		s.refusesCommit(good, bad)
	}},
	{"too many commits", func(s *shop) {
		sku := s.sku("floor", 10)
		defer s.untouched(sku)()
		var commits []order.Commit
		for i := range order.MaxCommits + 1 {
			commits = append(commits, s.direct(fmt.Sprint(i), line(sku, 1)))
		}
		_, _, err := s.store.Commit(s.ctx, commits)
		s.invalid(err, len(commits))
		_, _, err = s.store.Look(s.ctx, commits)
		s.invalid(err, len(commits))
	}},
	{"the largest that is valid", func(s *shop) {
		longest := s.name + strings.Repeat("x", inventory.MaxIDBytes-len(s.name))
		sku := s.sku(longest[len(s.name):], inventory.MaxQuantity)
		c := s.deducted(longest[len(s.name):], line(sku, inventory.MaxQuantity))
		c.Order.Customer = strings.Repeat("ä", inventory.MaxIDBytes/2)
		s.book(c)
		s.Zero(s.counters(sku).Left())
	}},
	{"other IDs", func(s *shop) {
		sku := s.sku("floor", 10)
		check := s.untouched(sku)
		c := s.deducted("1", line(sku, 1))
		d := c.Deductions[0]
		for _, id := range badIDs {
			_, err := s.store.Order(s.ctx, id)
			s.invalid(err, id)
			_, _, err = s.store.BeginEpoch(s.ctx, id, 1)
			s.invalid(err, id)
			_, err = s.store.Recount(s.ctx, id)
			s.invalid(err, id)
			_, err = s.store.Counters(s.ctx, sku, id)
			s.invalid(err, id)
			_, err = s.store.Tally(s.ctx, sku, id)
			s.invalid(err, id)
			bad := d
			bad.SKU = id
			_, _, err = s.store.Fence(s.ctx, []inventory.Deduction{d, bad})
			s.invalid(err, id)
			bad = d
			bad.OrderID = id
			_, _, err = s.store.Fence(s.ctx, []inventory.Deduction{d, bad})
			s.invalid(err, id)
			if id != "" {
				_, err = s.store.Scan(s.ctx, order.AllPartitions, id, 1)
				s.invalid(err, id)
			}
		}
		for _, bad := range []inventory.Identity{{}, {Epoch: d.Epoch}, {Seq: d.Seq}, {Epoch: -1, Seq: 1}, {Epoch: 1, Seq: -1}} {
			d := d
			d.Epoch, d.Seq = bad.Epoch, bad.Seq
			_, _, err := s.store.Fence(s.ctx, []inventory.Deduction{d})
			s.invalid(err, bad)
		}
		check()
		s.book(c) // no fence was written by the way
	}},
	{"lists", func(s *shop) {
		for _, query := range []order.Query{
			{Size: -1},
			{Size: order.MaxPage + 1},
			{Status: "lost"},
			{Status: "' or true"},
			{After: "x"},
			{After: "-1"},
			{After: "1e3"},
			{After: "9223372036854775808"},
			{After: "1 or 1"},
		} {
			_, err := s.store.Orders(s.ctx, query)
			s.invalid(err, query)
		}
		for _, partition := range []int{-2, order.Partitions, math.MaxInt} {
			_, err := s.store.Scan(s.ctx, partition, "", 1)
			s.invalid(err, partition)
		}
		for _, limit := range []int{0, -1, math.MinInt} {
			_, err := s.store.Scan(s.ctx, order.AllPartitions, "", limit)
			s.invalid(err, limit)
			_, err = s.store.Claim(s.ctx, time.Second, limit, 1)
			s.invalid(err, limit)
			_, err = s.store.Claim(s.ctx, time.Second, 1, limit)
			s.invalid(err, limit)
		}
		for _, period := range []time.Duration{0, -time.Second} {
			_, err := s.store.Claim(s.ctx, period, 1, 1)
			s.invalid(err, period)
		}
	}},
}

var contextTests = []test{
	{"that has ended", func(s *shop) {
		sku := s.sku("floor", 10)
		s.book(s.deducted("there", line(sku, 1)))
		c := s.deducted("1", line(sku, 1))
		check := s.untouched(sku)
		cancelled, cancel := context.WithCancel(s.ctx)
		cancel()
		late, stop := context.WithDeadline(s.ctx, time.Now().Add(-time.Second))
		defer stop()
		for _, ctx := range []context.Context{cancelled, late} {
			for name, call := range s.calls(ctx, sku, c) {
				err := call()
				s.ErrorIs(err, order.ErrUnavailable, name)
				s.ErrorIs(err, ctx.Err(), name)
				s.NotErrorIs(err, order.ErrOutcomeUnknown, name)
			}
		}
		check()
		s.unknown(s.name + "other")
		s.book(c) // no fence, no tombstone
	}},
}

func (s *shop) voiding(ctx context.Context, id string) func() error {
	return func() error {
		_, _, err := s.store.Change(ctx, []order.Change{{ID: id, Action: order.Void}})
		return err
	}
}

// calls are all methods, with arguments that change something where they can.
func (s *shop) calls(ctx context.Context, sku string, c order.Commit) map[string]func() error {
	return map[string]func() error{
		"PutOnSale": func() error {
			_, _, err := s.store.PutOnSale(ctx, order.Item{SKU: s.name + "other", Capacity: 1})
			return err
		},
		"Adjust": func() error {
			_, err := s.store.Adjust(ctx, order.Adjustment{ID: s.id("a"), SKU: sku, Kind: order.Restock, Units: 1})
			return err
		},
		"SetLimit":  func() error { _, err := s.store.SetLimit(ctx, sku, 1); return err },
		"SetWindow": func() error { _, err := s.store.SetWindow(ctx, sku, time.Time{}, time.Now()); return err },
		"SetPaused": func() error { _, err := s.store.SetPaused(ctx, sku, true); return err },
		"SetLedger": func() error { return s.store.SetLedger(ctx, false) },
		"Due":       func() error { _, err := s.store.Due(ctx, time.Hour, 1000); return err },
		"Uncounted": func() error { _, err := s.store.Uncounted(ctx, "", 1); return err },
		"Movements": func() error { _, err := s.store.Movements(ctx, sku, 0, 1); return err },
		"Feed":      func() error { _, _, err := s.store.Feed(ctx, order.Cursor{}, 1); return err },
		"Commit":    func() error { _, _, err := s.store.Commit(ctx, []order.Commit{c}); return err },
		"Refuse": func() error {
			o := c.Order
			o.Refused = order.Refusal{Why: order.WhySoldOut}
			_, err := s.store.Refuse(ctx, []order.Order{o})
			return err
		},
		"Look":       func() error { _, _, err := s.store.Look(ctx, []order.Commit{c}); return err },
		"Cancel":     s.voiding(ctx, s.id("there")),
		"Tombstone":  s.voiding(ctx, c.Order.ID),
		"Fence":      func() error { _, _, err := s.store.Fence(ctx, c.Deductions); return err },
		"Order":      func() error { _, err := s.store.Order(ctx, s.id("there")); return err },
		"Orders":     func() error { _, err := s.store.Orders(ctx, order.Query{}); return err },
		"Counters":   func() error { _, err := s.store.Counters(ctx, sku); return err },
		"Scan":       func() error { _, err := s.store.Scan(ctx, order.AllPartitions, "", 1); return err },
		"BeginEpoch": func() error { _, _, err := s.store.BeginEpoch(ctx, sku, c.Deductions[0].Epoch); return err },
		"Claim":      func() error { _, err := s.store.Claim(ctx, time.Hour, order.Partitions, 1); return err },
		"Paired":     func() error { _, err := s.store.Paired(ctx); return err },
		"Pair":       func() error { _, err := s.store.Pair(ctx, "", s.name); return err },
		"Tally":      func() error { _, err := s.store.Tally(ctx, sku); return err },
		"TallyAll":   func() error { _, err := s.store.TallyAll(ctx); return err },
		"Recount":    func() error { _, err := s.store.Recount(ctx, sku); return err },
	}
}
