package ordertest

import (
	"context"
	"fmt"
	"math"
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

var boundsTests = []test{
	{"PutOnSale and SetCapacity", func(s *shop) {
		sku := s.sku("floor", 10)
		defer s.untouched(sku)()
		for _, id := range badIDs {
			_, err := s.store.PutOnSale(s.ctx, order.Item{SKU: id, Capacity: 10})
			s.invalid(err, id)
			_, err = s.store.SetCapacity(s.ctx, id, 10)
			s.invalid(err, id)
		}
		for _, capacity := range []int64{-1, inventory.MaxCapacity + 1, math.MinInt64, math.MaxInt64} {
			_, err := s.store.PutOnSale(s.ctx, order.Item{SKU: s.name + "other", Capacity: capacity})
			s.invalid(err, capacity)
			_, err = s.store.SetCapacity(s.ctx, sku, capacity)
			s.invalid(err, capacity)
		}
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
			_, _, err := s.store.Cancel(s.ctx, id)
			s.invalid(err, id)
			_, err = s.store.Order(s.ctx, id)
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
			_, err = s.store.Claim(s.ctx, time.Second, limit)
			s.invalid(err, limit)
		}
		for _, period := range []time.Duration{0, -time.Second} {
			_, err := s.store.Claim(s.ctx, period, 1)
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
		counters, err := s.store.Counters(s.ctx, s.name+"other")
		s.NoError(err)
		s.Empty(counters)
		s.book(c) // no fence, no tombstone
	}},
}

// calls are all methods, with arguments that change something where they can.
func (s *shop) calls(ctx context.Context, sku string, c order.Commit) map[string]func() error {
	return map[string]func() error{
		"PutOnSale": func() error {
			_, err := s.store.PutOnSale(ctx, order.Item{SKU: s.name + "other", Capacity: 1})
			return err
		},
		"SetCapacity": func() error { _, err := s.store.SetCapacity(ctx, sku, 20); return err },
		"Commit":      func() error { _, _, err := s.store.Commit(ctx, []order.Commit{c}); return err },
		"Look":        func() error { _, _, err := s.store.Look(ctx, []order.Commit{c}); return err },
		"Cancel":      func() error { _, _, err := s.store.Cancel(ctx, s.id("there")); return err },
		"Tombstone":   func() error { _, _, err := s.store.Cancel(ctx, c.Order.ID); return err },
		"Fence":       func() error { _, _, err := s.store.Fence(ctx, c.Deductions); return err },
		"Order":       func() error { _, err := s.store.Order(ctx, s.id("there")); return err },
		"Orders":      func() error { _, err := s.store.Orders(ctx, order.Query{}); return err },
		"Counters":    func() error { _, err := s.store.Counters(ctx, sku); return err },
		"Scan":        func() error { _, err := s.store.Scan(ctx, order.AllPartitions, "", 1); return err },
		"BeginEpoch":  func() error { _, _, err := s.store.BeginEpoch(ctx, sku, c.Deductions[0].Epoch); return err },
		"Claim":       func() error { _, err := s.store.Claim(ctx, time.Hour, order.Partitions); return err },
		"Tally":       func() error { _, err := s.store.Tally(ctx, sku); return err },
		"Recount":     func() error { _, err := s.store.Recount(ctx, sku); return err },
	}
}
