package ordertest

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/stretchr/testify/assert"

	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

// movements of a SKU, all of them.
func (s *shop) movements(sku string) []order.Movement {
	s.t.Helper()
	movements, err := s.store.Movements(s.ctx, sku, 0, order.MaxMovements)
	s.NoError(err)
	return movements
}

// kinds checks what happened to a SKU.
func (s *shop) kinds(sku string, want ...order.MovementKind) {
	s.t.Helper()
	var got []order.MovementKind
	for _, m := range s.movements(sku) {
		got = append(got, m.Kind)
	}
	s.Equal(want, got)
}

// moment is a movement without its moment, which is checked.
func (s *shop) moment(m order.Movement) order.Movement {
	s.t.Helper()
	s.False(m.At.IsZero())
	return order.Movement{
		SKU: m.SKU, Number: m.Number, Kind: m.Kind, Quantity: m.Quantity, OrderID: m.OrderID, Reference: m.Reference, Reason: m.Reason,
	}
}

// end is the cursor at the end of the feed: a store may have seen other tests.
func (s *shop) end() order.Cursor {
	s.t.Helper()
	_, cursor := s.feed(order.Cursor{}, order.MaxMovements)
	return cursor
}

// feed reads the feed from a cursor to its end, by so many at a time.
func (s *shop) feed(cursor order.Cursor, limit int) (all []order.Movement, _ order.Cursor) {
	s.t.Helper()
	for {
		movements, next, err := s.store.Feed(s.ctx, cursor, limit)
		s.NoError(err)
		s.LessOrEqual(len(movements), limit)
		s.Equal(beyond(cursor)+int64(len(movements)), beyond(next), "a position for each")
		if all, cursor = append(all, movements...), next; len(movements) == 0 {
			return all, cursor
		}
	}
}

// beyond is how many movements a cursor is beyond.
func beyond(cursor order.Cursor) (sum int64) {
	for _, position := range cursor.Positions {
		sum += position
	}
	return sum
}

var ledgerTests = []test{
	{"beside an order of an unknown SKU", func(s *shop) {
		a, b, c := s.sku("a", 10), s.name+"b", s.limitedSKU("c", 10, 2)
		outcomes := s.commit(s.direct("1", line(a, 1)), s.direct("2", line(b, 1)), s.direct("3", line(c, 2)))
		s.Equal(order.VerdictBooked, outcomes[0].Verdict)
		s.Equal(order.VerdictUnknown, outcomes[1].Verdict)
		s.Equal(order.VerdictBooked, outcomes[2].Verdict)
		s.kinds(a, order.MovedOnSale, order.MovedBooked)
		s.kinds(c, order.MovedOnSale, order.MovedBooked)
		more := s.direct("4", line(c, 1))
		more.Order.Customer = outcomes[2].Order.Customer
		s.exceeds(more, 2, 2)
	}},
	{"every kind", func(s *shop) {
		sku := s.sku("floor", 10)
		s.adjust(sku, order.SetCapacity, 8)
		_, err := s.store.Adjust(s.ctx, order.Adjustment{
			ID: s.id("a"), SKU: sku, Kind: order.Restock, Units: 5, Reason: "delivery", Reference: "L-1",
		})
		s.NoError(err)
		_, err = s.store.Adjust(s.ctx, order.Adjustment{ID: s.id("b"), SKU: sku, Kind: order.WriteOff, Units: 2, Reason: "broken"})
		s.NoError(err)
		s.book(s.deducted("1", line(sku, 1)))
		s.hold(later, s.direct("2", line(sku, 2)))
		s.done("2", order.Confirm)
		s.cancel("1")
		s.expire(s.hold(soon, s.deducted("3", line(sku, 3))))
		s.done("3", order.Reclaim)
		s.void("nothing") // moves nothing
		want := []order.Movement{
			{Kind: order.MovedOnSale, Quantity: 10},
			{Kind: order.MovedCapacity, Quantity: -2},
			{Kind: order.MovedRestock, Quantity: 5, Reason: "delivery", Reference: "L-1"},
			{Kind: order.MovedWriteOff, Quantity: -2, Reason: "broken"},
			{Kind: order.MovedBooked, Quantity: 1, OrderID: s.id("1")},
			{Kind: order.MovedHeld, Quantity: 2, OrderID: s.id("2")},
			{Kind: order.MovedConfirmed, Quantity: 2, OrderID: s.id("2")},
			{Kind: order.MovedCancelled, Quantity: -1, OrderID: s.id("1")},
			{Kind: order.MovedHeld, Quantity: 3, OrderID: s.id("3")},
			{Kind: order.MovedExpired, Quantity: -3, OrderID: s.id("3")},
			{Kind: order.MovedReclaimed, Quantity: 3, OrderID: s.id("3")},
		}
		got := s.movements(sku)
		s.Len(got, len(want))
		for i := range want {
			want[i].SKU, want[i].Number = sku, int64(i)+1
			s.Equal(want[i], s.moment(got[i]))
		}
	}},
	{"of capacity 0, and of what is refused", func(s *shop) {
		sku := s.sku("floor", 0)
		s.Equal(order.VerdictFull, s.one(s.direct("1", line(sku, 1))).Verdict)
		s.kinds(sku, order.MovedOnSale)
		_, err := s.act("1", order.Confirm)
		s.ErrorIs(err, order.ErrNotFound)
		s.kinds(sku, order.MovedOnSale)
	}},
	{"of a batch, in its order", func(s *shop) {
		a, b := s.sku("a", 10), s.sku("b", 10)
		s.commit(
			s.deducted("3", line(a, 1), line(b, 1)), s.direct("1", line(b, 11)), s.deducted("2", line(a, 2)),
			held(s.direct("1", line(a, 3), line(b, 3)), later),
		)
		var got []string
		for _, sku := range []string{a, b} {
			for _, m := range s.movements(sku)[1:] {
				got = append(got, fmt.Sprintf("%s %s %d", m.OrderID[len(s.name):], m.Kind, m.Quantity))
			}
		}
		s.Equal([]string{"3 booked 1", "2 booked 2", "1 held 3", "3 booked 1", "1 held 3"}, got)
		s.change(order.Change{ID: s.id("2"), Action: order.Cancel}, order.Change{ID: s.id("3"), Action: order.Cancel})
		movements := s.movements(a)
		s.Equal([]string{s.id("2"), s.id("3")}, []string{movements[4].OrderID, movements[5].OrderID})
	}},
	{"page by page", func(s *shop) {
		sku := s.sku("floor", 100)
		for i := range 20 {
			s.book(s.direct(fmt.Sprint(i), line(sku, 1)))
		}
		all := s.movements(sku)
		s.Len(all, 21)
		for _, limit := range []int{1, 5, 7, 20, 21, 22} {
			var pages []order.Movement
			for after := int64(0); ; {
				page, err := s.store.Movements(s.ctx, sku, after, limit)
				s.NoError(err)
				s.LessOrEqual(len(page), limit)
				if len(page) == 0 {
					break
				}
				pages, after = append(pages, page...), page[len(page)-1].Number
			}
			s.Equal(all, pages)
		}
		past, err := s.store.Movements(s.ctx, sku, 1<<40, 10)
		s.NoError(err)
		s.Empty(past)
		none, err := s.store.Movements(s.ctx, s.name+"nothing", 0, 10)
		s.NoError(err)
		s.Empty(none)
	}},
	{"page by page through batches", func(s *shop) {
		// What one transaction moves is stored together: pages begin and end
		// anywhere in it.
		sku, n := s.sku("floor", 1000), 0
		for _, size := range []int{3, 1, 40, 1, 7} {
			var commits []order.Commit
			for range size {
				n++
				c := s.deducted(fmt.Sprint(n), line(sku, int64(n%3)+1))
				if n%5 == 0 {
					c = held(c, later)
				}
				commits = append(commits, c)
			}
			s.commit(commits...)
		}
		s.change(order.Change{ID: s.id("5"), Action: order.Confirm}, order.Change{ID: s.id("7"), Action: order.Cancel})
		all := s.movements(sku)
		s.Len(all, 1+52+2)
		for i, m := range all[1:53] {
			kind := order.MovedBooked
			if (i+1)%5 == 0 {
				kind = order.MovedHeld
			}
			s.Equal(order.Movement{
				SKU: sku, Number: int64(i) + 2, Kind: kind, Quantity: int64((i+1)%3) + 1, OrderID: s.id(fmt.Sprint(i + 1)),
			}, s.moment(m))
		}
		for after := range len(all) + 2 {
			for _, limit := range []int{1, 2, 6, 39, 41, 100} {
				page, err := s.store.Movements(s.ctx, sku, int64(after), limit)
				s.NoError(err)
				from := min(after, len(all))
				s.Equal(all[from:min(from+limit, len(all))], append([]order.Movement{}, page...))
			}
		}
		past, err := s.store.Movements(s.ctx, sku, math.MaxInt64, order.MaxMovements)
		s.NoError(err)
		s.Empty(past)
	}},
	{"of a batch of which some are refused", func(s *shop) {
		sku := s.sku("floor", 6)
		s.book(s.deducted("there", line(sku, 1)))
		s.commit(
			s.deducted("1", line(sku, 1)), s.deducted("2", line(sku, 9)), s.deducted("there", line(sku, 1)),
			held(s.deducted("3", line(sku, 2)), later), s.deducted("4", line(sku, 3)), s.deducted("5", line(sku, 2)),
		)
		var got []order.Movement
		for _, m := range s.movements(sku)[2:] {
			got = append(got, s.moment(m))
		}
		s.Equal([]order.Movement{
			{SKU: sku, Number: 3, Kind: order.MovedBooked, Quantity: 1, OrderID: s.id("1")},
			{SKU: sku, Number: 4, Kind: order.MovedHeld, Quantity: 2, OrderID: s.id("3")},
			{SKU: sku, Number: 5, Kind: order.MovedBooked, Quantity: 2, OrderID: s.id("5")},
		}, got)
	}},
	{"of a batch of many SKUs", func(s *shop) {
		var skus []string
		for i := range 30 {
			skus = append(skus, s.sku(fmt.Sprintf("%02d", i), 1000))
		}
		start := s.end()
		for round, lines := range []int{1, 1, 3} {
			var commits []order.Commit
			for i := range 200 {
				var wants []order.Line
				for l := range lines {
					wants = append(wants, line(skus[(i*7+l)%(len(skus)-l)+l], int64(l)+1))
				}
				slices.SortFunc(wants, func(a, b order.Line) int { return strings.Compare(a.SKU, b.SKU) })
				wants = slices.CompactFunc(wants, func(a, b order.Line) bool { return a.SKU == b.SKU })
				c := s.direct(fmt.Sprint(round, "-", i), wants...)
				if round > 0 && i%2 == 0 {
					c = held(c, later)
				}
				commits = append(commits, c)
			}
			s.commit(commits...)
			read := make(map[string][]order.Movement)
			all, next := s.feed(start, 33)
			start = next
			for _, m := range all {
				read[m.SKU] = append(read[m.SKU], s.moment(m))
			}
			for _, sku := range skus {
				var want []order.Movement
				for _, c := range commits {
					for _, l := range c.Order.Lines {
						if l.SKU != sku {
							continue
						}
						kind := order.MovedBooked
						if c.Hold > 0 {
							kind = order.MovedHeld
						}
						want = append(want, order.Movement{SKU: sku, Kind: kind, Quantity: l.Quantity, OrderID: c.Order.ID})
					}
				}
				moved := s.movements(sku)
				for i := range want {
					want[i].Number = int64(len(moved)-len(want)+i) + 1
				}
				s.Equal(want, read[sku])
			}
		}
	}},
	{"of the largest batch", func(s *shop) {
		sku := s.sku("floor", order.MaxCommits)
		var commits []order.Commit
		for i := range order.MaxCommits {
			// The longest IDs, as all of it is kept in one place.
			commits = append(commits, s.deducted(strings.Repeat("x", inventory.MaxIDBytes-len(s.id(""))-4)+fmt.Sprintf("%04d", i), line(sku, 1)))
		}
		s.commit(commits...)
		all := s.movements(sku)
		s.Len(all, order.MaxCommits+1)
		for i, m := range all[1:] {
			s.Equal(commits[i].Order.ID, m.OrderID)
		}
		page, err := s.store.Movements(s.ctx, sku, order.MaxCommits-1, 5)
		s.NoError(err)
		s.Equal(all[order.MaxCommits-1:], page)
	}},
	{"changes between batches", func(s *shop) {
		a, b := s.sku("a", 100), s.sku("b", 100)
		var want []string
		moved := func(kind order.MovementKind, quantity int, ids ...string) {
			for _, id := range ids {
				want = append(want, fmt.Sprintf("%s %d %s", kind, quantity, s.id(id)))
			}
		}
		s.commit(held(s.deducted("1", line(a, 2)), later), held(s.deducted("2", line(a, 2), line(b, 1)), later), s.direct("3", line(a, 2)))
		moved(order.MovedHeld, 2, "1", "2")
		moved(order.MovedBooked, 2, "3")
		s.change(
			order.Change{ID: s.id("2"), Action: order.Confirm}, order.Change{ID: s.id("3"), Action: order.Cancel},
			order.Change{ID: s.id("1"), Action: order.Extend, Hold: later}, order.Change{ID: s.id("1x"), Action: order.Confirm},
		)
		moved(order.MovedConfirmed, 2, "2")
		moved(order.MovedCancelled, -2, "3")
		s.commit(s.deducted("4", line(a, 2)), held(s.deducted("5", line(a, 2)), soon))
		moved(order.MovedBooked, 2, "4")
		moved(order.MovedHeld, 2, "5")
		o, err := s.store.Order(s.ctx, s.id("5"))
		s.NoError(err)
		s.past(a, o.ExpiresAt)
		s.change(
			order.Change{ID: s.id("1"), Action: order.Cancel}, order.Change{ID: s.id("5"), Action: order.Expire},
			order.Change{ID: s.id("2"), Action: order.Cancel},
		)
		moved(order.MovedCancelled, -2, "1")
		moved(order.MovedExpired, -2, "5")
		moved(order.MovedCancelled, -2, "2")
		s.done("5", order.Reclaim)
		moved(order.MovedReclaimed, 2, "5")
		var got []string
		for _, m := range s.movements(a)[1:] {
			got = append(got, fmt.Sprintf("%s %d %s", m.Kind, m.Quantity, m.OrderID))
		}
		s.Equal(want, got)
		s.kinds(b, order.MovedOnSale, order.MovedHeld, order.MovedConfirmed, order.MovedCancelled)
	}},
	{"recounted after batches", func(s *shop) {
		s.silent = true
		sku := s.sku("floor", 100)
		batch := func(name string) {
			var commits []order.Commit
			for i := range 10 {
				commits = append(commits, s.deducted(fmt.Sprint(name, i), line(sku, 2)))
			}
			s.commit(commits...)
		}
		batch("a")
		_, err := s.store.Recount(s.ctx, sku)
		s.NoError(err)
		s.Len(s.movements(sku), 11, "nothing was wrong")
		s.NoError(s.store.SetLedger(s.ctx, false))
		defer func() { s.NoError(s.store.SetLedger(s.ctx, true)) }()
		batch("b")
		s.cancel("a3")
		s.NoError(s.store.SetLedger(s.ctx, true))
		s.Len(s.movements(sku), 12)
		s.Equal(order.Movement{
			SKU: sku, Number: 12, Kind: order.MovedRecounted, Quantity: 18, Reason: "ledger switched on",
		}, s.moment(s.movements(sku)[11]))
		batch("c")
		_, err = s.store.Recount(s.ctx, sku)
		s.NoError(err)
		s.Len(s.movements(sku), 22, "nothing was wrong")
	}},
	{"feed", func(s *shop) {
		start := s.end()
		a, b := s.sku("a", 100), s.sku("b", 100)
		for i := range 10 {
			s.book(s.deducted(fmt.Sprint(i), line([]string{a, b}[i%2], 1)))
		}
		want := slices.Concat(s.movements(a), s.movements(b))
		for _, limit := range []int{1, 5, 100} {
			all, last := s.feed(start, limit)
			slices.SortStableFunc(all, func(a, b order.Movement) int { return strings.Compare(a.SKU, b.SKU) })
			s.Equal(want, all, "each once, each SKU's in order")
			s.Equal(int64(12), beyond(last)-beyond(start))

			again, _ := s.feed(start, limit)
			slices.SortStableFunc(again, func(a, b order.Movement) int { return strings.Compare(a.SKU, b.SKU) })
			s.Equal(want, again, "the same again")
			none, same, err := s.store.Feed(s.ctx, last, limit)
			s.NoError(err)
			s.Empty(none)
			s.Equal(last, same)
		}
	}},
	{"a cursor as JSON", func(s *shop) {
		cursor := s.end()
		sku := s.sku("floor", 10)
		s.book(s.direct("1", line(sku, 1)))
		first, next, err := s.store.Feed(s.ctx, cursor, 1)
		s.NoError(err)
		s.Len(first, 1)
		text, err := json.Marshal(next)
		s.NoError(err)
		var read order.Cursor
		s.NoError(json.Unmarshal(text, &read))
		second, last, err := s.store.Feed(s.ctx, read, 10)
		s.NoError(err)
		s.Len(second, 1)
		s.Equal(int64(2), second[0].Number)
		none, same, err := s.store.Feed(s.ctx, last, 10)
		s.NoError(err)
		s.Empty(none)
		s.Equal(last, same)
	}},
	{"a cursor that the feed does not know", func(s *shop) {
		s.book(s.direct("1", line(s.sku("floor", 10), 1)))
		end := s.end()
		refused := func(cursor order.Cursor) *order.CursorError {
			none, next, err := s.store.Feed(s.ctx, cursor, 10)
			s.Empty(none)
			s.Zero(next)
			s.ErrorIs(err, order.ErrUnknownCursor)
			s.NotErrorIs(err, order.ErrUnavailable, "to ask again is of no use")
			var unknown *order.CursorError
			s.ErrorAs(err, &unknown)
			return unknown
		}
		// The database was restored from a backup of before.
		for p, position := range end.Positions {
			ahead := end
			ahead.Positions[p]++
			s.Equal(order.CursorError{Store: end.Store, Of: end.Store, Partition: p, Position: position + 1, End: position}, *refused(ahead))
		}
		// It was made anew, or is another one.
		other := end
		other.Store = "another"
		s.Equal(order.CursorError{Store: end.Store, Of: "another"}, *refused(other))
		s.Equal(order.CursorError{Store: end.Store, Of: "another"}, *refused(order.Cursor{Store: "another"}))
	}},
	{"from the beginning", func(s *shop) {
		sku := s.sku("floor", 10)
		var cursor order.Cursor
		s.until("its first movement comes", func() bool {
			movements, next, err := s.store.Feed(s.ctx, cursor, order.MaxMovements)
			s.NoError(err)
			cursor = next
			return slices.ContainsFunc(movements, func(m order.Movement) bool { return m.SKU == sku && m.Number == 1 })
		})
	}},
	{"none is left behind for long", func(s *shop) {
		cursor := s.end()
		busy, n := s.sku("a-busy", 100_000), 0
		book := func(times int) {
			var commits []order.Commit
			for range times {
				n++
				commits = append(commits, s.direct(fmt.Sprint(n), line(busy, 1)))
			}
			s.commit(commits...)
		}
		book(30)
		calm := s.sku("z-calm", 1)
		for read := 0; ; read++ { // more comes than is read
			s.Less(read, 100)
			book(5)
			movements, next, err := s.store.Feed(s.ctx, cursor, 4)
			s.NoError(err)
			if cursor = next; slices.ContainsFunc(movements, func(m order.Movement) bool { return m.SKU == calm }) {
				break
			}
		}
	}},
	{"beside writers", func(s *shop) {
		cursor := s.end()
		skus := []string{s.sku("a", 10_000), s.sku("b", 10_000), s.sku("c", 10_000)}
		done := make(chan struct{})
		defer func() { <-done }()
		go func() {
			defer close(done)
			s.together(4, func(caller int) {
				for i := range 25 {
					id := fmt.Sprint(caller, "-", i)
					// Of 1 to 3 SKUs, so that transactions overlap in every way.
					var lines []order.Line
					for l, sku := range skus {
						if (caller+i+l)%3 != 0 || l == i%3 {
							lines = append(lines, line(sku, 1))
						}
					}
					s.tryCommit(held(s.direct(id, lines...), later))
					s.mustTry(s.id(id), []order.Action{order.Confirm, order.Cancel}[i%2])
				}
			})
		}()
		last := make(map[string]int64)
		read := func() {
			movements, next, err := s.store.Feed(s.ctx, cursor, 7)
			s.NoError(err)
			for _, m := range movements {
				s.Equal(last[m.SKU]+1, m.Number, "each once, none missed")
				last[m.SKU] = m.Number
			}
			cursor = next
		}
		for writing := true; writing; {
			select {
			case <-done:
				writing = false
			default:
			}
			read()
		}
		s.until("the feed comes to its end", func() bool {
			read()
			for _, sku := range skus {
				if last[sku] != int64(len(s.movements(sku))) {
					return false
				}
			}
			return true
		})
	}},
	{"switched off and on", func(s *shop) {
		s.silent = true
		a, b := s.sku("a", 10), s.sku("b", 10)
		s.book(s.deducted("1", line(a, 2), line(b, 1)))
		s.NoError(s.store.SetLedger(s.ctx, false))
		defer func() { s.NoError(s.store.SetLedger(s.ctx, true)) }()
		c := s.sku("c", 7)
		s.book(s.deducted("2", line(a, 3), line(c, 2)))
		s.cancel("1")
		s.hold(later, s.direct("3", line(c, 1)))
		s.done("3", order.Confirm)
		s.adjust(a, order.SetCapacity, 12)
		s.adjust(b, order.Restock, 1)
		s.adjust(b, order.WriteOff, 1)
		s.Len(s.movements(a), 2, "nothing more is written")
		s.Len(s.movements(b), 2)
		s.Empty(s.movements(c))
		tallies, err := s.store.Tally(s.ctx, a, b, c)
		s.NoError(err)
		for _, tally := range tallies {
			s.False(tally.Ledger)
			s.True(tally.Balanced())
		}
		s.NoError(s.store.SetLedger(s.ctx, false))
		before := s.counters(a)
		for range 2 {
			s.NoError(s.store.SetLedger(s.ctx, true))
			s.kinds(a, order.MovedOnSale, order.MovedBooked, order.MovedCapacity, order.MovedRecounted)
			s.kinds(b, order.MovedOnSale, order.MovedBooked, order.MovedRecounted)
			s.kinds(c, order.MovedCapacity, order.MovedRecounted)
		}
		s.Equal(before, s.counters(a))
		for sku, want := range map[string][]int64{a: {2, 1}, b: {-1}, c: {7, 3}} {
			movements := s.movements(sku)
			movements = movements[len(movements)-len(want):]
			for i, m := range movements {
				s.Equal(want[i], m.Quantity)
				s.Equal("ledger switched on", m.Reason)
			}
		}
		s.cancel("2")
		s.kinds(c, order.MovedCapacity, order.MovedRecounted, order.MovedCancelled)
	}},
	{"switched beside writers", func(s *shop) {
		s.silent = true
		a, b := s.sku("a", 10_000), s.sku("b", 10_000)
		defer func() { s.NoError(s.store.SetLedger(s.ctx, true)) }()
		s.together(4, func(caller int) {
			for i := range 15 {
				id := fmt.Sprint(caller, "-", i)
				if caller == 0 {
					assert.NoError(s.t, s.store.SetLedger(s.ctx, i%2 == 1))
				}
				s.tryCommit(s.direct(id, line(a, 1), line(b, 2)))
				if i%2 == 0 {
					s.mustTry(s.id(id), order.Cancel)
				}
			}
		})
	}},
}
