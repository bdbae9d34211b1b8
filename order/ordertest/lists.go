package ordertest

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

// pages reads a list of orders as long as they are the shop's, and returns their IDs.
func (s *shop) pages(query order.Query, between func(page int)) (ids []string) {
	s.t.Helper()
	size := query.Size
	if size == 0 {
		size = order.DefaultPage
	}
	for page := 0; ; page++ {
		p, err := s.store.Orders(s.ctx, query)
		s.NoError(err)
		s.LessOrEqual(len(p.Orders), size)
		for _, o := range p.Orders {
			if query.Status != "" {
				s.Equal(query.Status, o.Status)
			}
			if !strings.HasPrefix(o.ID, s.name) {
				return ids // the shop's own are the newest
			}
			ids = append(ids, o.ID[len(s.name):])
		}
		if p.Next == "" {
			return ids
		}
		s.Len(p.Orders, size, "only the last page is short")
		s.NotEqual(query.After, p.Next, "each page goes on")
		if query.After = p.Next; between != nil {
			between(page)
		}
	}
}

// newest returns the numbers from last to first.
func newest(last, first int) (ids []string) {
	for i := last; i >= first; i-- {
		ids = append(ids, fmt.Sprint(i))
	}
	return ids
}

var listTests = []test{
	{"order", func(s *shop) {
		s.notThere("1")
		_, err := s.store.Order(s.ctx, s.id("1"))
		var of *order.OrderError
		s.ErrorAs(err, &of)
		s.Equal(s.id("1"), of.ID)
	}},
	{"newest first", func(s *shop) {
		sku := s.sku("floor", 100)
		for i := range 25 {
			s.book(s.direct(fmt.Sprint(i), line(sku, 1)))
		}
		for _, size := range []int{0, 1, 5, 24, 25, 26, order.MaxPage} {
			s.Equal(newest(24, 0), s.pages(order.Query{Size: size}, nil), "pages of %d", size)
		}
		p, err := s.store.Orders(s.ctx, order.Query{Size: 1})
		s.NoError(err)
		o, err := s.store.Order(s.ctx, s.id("24"))
		s.NoError(err)
		s.sameOrder(o, p.Orders[0])
	}},
	{"by status", func(s *shop) {
		sku := s.sku("floor", 100)
		var confirmed, cancelled []string
		for i := range 20 {
			id := fmt.Sprint(i)
			s.book(s.direct(id, line(sku, 1)))
			if i%3 == 0 {
				s.cancel(id)
				cancelled = slices.Insert(cancelled, 0, id)
			} else {
				confirmed = slices.Insert(confirmed, 0, id)
			}
		}
		for _, size := range []int{1, 6, 7, 0} {
			s.Equal(confirmed, s.pages(order.Query{Status: order.Confirmed, Size: size}, nil))
			s.Equal(cancelled, s.pages(order.Query{Status: order.Cancelled, Size: size}, nil))
			s.Empty(s.pages(order.Query{Status: order.Held, Size: size}, nil))
			s.Empty(s.pages(order.Query{Status: order.Expired, Size: size}, nil))
		}
	}},
	{"stable while orders are added and cancelled", func(s *shop) {
		sku := s.sku("floor", 1000)
		for i := range 20 {
			s.book(s.direct(fmt.Sprint(i), line(sku, 1)))
		}
		got := s.pages(order.Query{Size: 3}, func(page int) {
			if page < 19 {
				s.book(s.direct(fmt.Sprint(100+page), line(sku, 1)))
				s.cancel(fmt.Sprint(page))
			}
		})
		s.Equal(newest(19, 0), got, "each once, and none that came later")
		got = s.pages(order.Query{Size: 1, Status: order.Cancelled}, func(page int) {
			if page < 5 {
				s.cancel(fmt.Sprint(100 + page)) // newer than the page
			}
		})
		s.Len(slices.Compact(slices.Sorted(slices.Values(got))), len(got), "each once")
	}},
	{"an unknown ID that is void is listed", func(s *shop) {
		sku := s.sku("floor", 10)
		s.book(s.direct("1", line(sku, 1)))
		s.void("2")
		s.Equal([]string{"2", "1"}, s.pages(order.Query{}, nil))
	}},
	{"a page can be read again", func(s *shop) {
		sku := s.sku("floor", 10)
		for i := range 6 {
			s.book(s.direct(fmt.Sprint(i), line(sku, 1)))
		}
		p, err := s.store.Orders(s.ctx, order.Query{Size: 2})
		s.NoError(err)
		first, err := s.store.Orders(s.ctx, order.Query{Size: 2, After: p.Next})
		s.NoError(err)
		second, err := s.store.Orders(s.ctx, order.Query{Size: 2, After: p.Next})
		s.NoError(err)
		s.Equal(first.Next, second.Next)
		for i := range first.Orders {
			s.sameOrder(first.Orders[i], second.Orders[i])
		}
	}},
	{"counters", func(s *shop) {
		b, a := s.sku("b", 2), s.sku("a", 1)
		counters, err := s.store.Counters(s.ctx, b, s.name+"nothing", a, b)
		s.NoError(err)
		s.Equal([]string{a, b}, names(counters))
		s.Equal([]order.Counters{s.counters(a), s.counters(b)}, stills(counters))
		counters, err = s.store.Counters(s.ctx)
		s.NoError(err)
		s.Empty(counters)
	}},
	{"scan", func(s *shop) {
		var want []string
		for i := range 40 {
			want = append(want, s.sku(fmt.Sprintf("%03d", i), int64(i)))
		}
		for _, limit := range []int{1, 7, 40, 1000} {
			s.Equal(want, s.scan(order.AllPartitions, limit))
		}
		var inPartitions []string
		for partition := range order.Partitions {
			skus := s.scan(partition, 2)
			s.True(slices.IsSorted(skus))
			inPartitions = append(inPartitions, skus...)
		}
		slices.Sort(inPartitions)
		s.Equal(want, inPartitions, "each SKU is in one partition")

		counters, err := s.store.Scan(s.ctx, order.AllPartitions, want[3], 2)
		s.NoError(err)
		s.Equal([]order.Counters{s.counters(want[4]), s.counters(want[5])}, stills(counters))
	}},
	{"scan sorts by bytes", func(s *shop) {
		want := []string{s.sku("B", 1), s.sku("_", 1), s.sku("a", 1), s.sku("b", 1), s.sku("ä", 1)}
		s.Equal(want, s.scan(order.AllPartitions, 2))
		counters, err := s.store.Counters(s.ctx, want...)
		s.NoError(err)
		s.Equal(want, names(counters))
		var lines []order.Line
		for _, sku := range want {
			lines = append(lines, line(sku, 1))
		}
		s.book(s.deducted("1", lines...))
		_, counters = s.cancel("1")
		s.Equal(want, names(counters))
	}},
}

// scan reads the shop's own SKUs of a partition page by page.
func (s *shop) scan(partition, limit int) (skus []string) {
	s.t.Helper()
	for after := s.name; ; {
		counters, err := s.store.Scan(s.ctx, partition, after, limit)
		s.NoError(err)
		s.LessOrEqual(len(counters), limit)
		s.checkCounters(counters)
		for _, c := range counters {
			s.Greater(c.SKU, after)
			if !strings.HasPrefix(c.SKU, s.name) {
				return skus // another shop's
			}
			skus, after = append(skus, c.SKU), c.SKU
		}
		if len(counters) < limit {
			return skus
		}
	}
}

var backgroundTests = []test{
	{"two never claim the same one within a period", func(s *shop) {
		const period, limit = 150 * time.Millisecond, 5
		type claim struct{ from, to time.Time }
		var mu sync.Mutex
		claims := make([][]claim, order.Partitions)
		done := func() bool { // every one was claimed twice
			mu.Lock()
			defer mu.Unlock()
			return !slices.ContainsFunc(claims, func(c []claim) bool { return len(c) < 2 })
		}
		deadline := time.Now().Add(patience)
		var callers sync.WaitGroup
		for range 4 {
			callers.Go(func() {
				for !done() && assert.True(s.t, time.Now().Before(deadline), "who claims one and dies keeps it for ever") {
					from := time.Now()
					claimed, err := s.store.Claim(s.ctx, period, limit, 1)
					if !assert.NoError(s.t, err) || !assert.LessOrEqual(s.t, len(claimed), limit) {
						return
					}
					to := time.Now()
					mu.Lock()
					for _, c := range claimed {
						p := c.Partition
						if assert.True(s.t, p >= 0 && p < order.Partitions, "partition %d", p) {
							claims[p] = append(claims[p], claim{from, to})
						}
					}
					mu.Unlock()
				}
			})
		}
		callers.Wait()
		for p, c := range claims {
			slices.SortFunc(c, func(a, b claim) int { return a.to.Compare(b.to) })
			for i := 1; i < len(c); i++ {
				s.GreaterOrEqual(c[i].to.Sub(c[i-1].from), period-time.Millisecond, "partition %d", p)
			}
		}
	}},
	{"a small limit starves nobody", func(s *shop) {
		seen := make(map[int]bool)
		s.Eventually(func() bool {
			claimed, err := s.store.Claim(s.ctx, time.Microsecond, 1, 1)
			assert.NoError(s.t, err)
			for _, c := range claimed {
				seen[c.Partition] = true
			}
			return len(seen) == order.Partitions
		}, patience, 50*time.Microsecond)
		upkeep, err := s.store.Upkeep(s.ctx)
		s.NoError(err)
		s.False(upkeep.ClaimedAt.IsZero())
		s.False(upkeep.ClaimedAt.After(upkeep.At), "%v after %v", upkeep.ClaimedAt, upkeep.At)
	}},
	{"claims go through the SKUs in turn", func(s *shop) {
		var items []order.Item
		turn := make(map[string]bool)
		for i := range 3 * order.Partitions {
			items = append(items, order.Item{SKU: s.name + fmt.Sprint(i), Capacity: 1})
			turn[items[i].SKU] = true
		}
		counters, _, err := s.store.PutOnSale(s.ctx, items...)
		s.NoError(err)
		s.own(counters...)
		after := make(map[int]string)
		s.until("each SKU has its turn", func() bool {
			claimed, err := s.store.Claim(s.ctx, time.Microsecond, order.Partitions, 2)
			s.NoError(err)
			for _, c := range claimed {
				// A slice begins where the one before it ended, or at the first SKU.
				s.True(c.After == "" || after[c.Partition] <= c.After, "%q after %q", c.After, after[c.Partition])
				after[c.Partition] = c.After
				slice, err := s.store.Scan(s.ctx, c.Partition, c.After, 2)
				s.NoError(err)
				for _, c := range slice {
					delete(turn, c.SKU)
				}
			}
			return len(turn) == 0
		})
	}},
	{"a partition of one slice is claimed as a whole each time", func(s *shop) {
		s.sku("a", 1)
		for round := range 2 { // others may have claimed smaller slices before
			claimed := make(map[int]bool)
			s.until("each is claimed", func() bool {
				some, err := s.store.Claim(s.ctx, time.Microsecond, order.Partitions, everything)
				s.NoError(err)
				for _, c := range some {
					claimed[c.Partition] = true
					s.True(round == 0 || c.After == "", "%q", c.After)
				}
				return len(claimed) == order.Partitions
			})
		}
	}},
	{"pairing", func(s *shop) {
		sku := s.sku("a", 1)
		was, err := s.store.Paired(s.ctx)
		s.NoError(err)
		s.Equal(s.counters(sku).Store, was.Store)
		now := order.Pairing{Store: was.Store, Inventory: s.name}
		for _, seen := range []string{was.Inventory, was.Inventory, s.name + "another"} { // only the first does anything
			paired, err := s.store.Pair(s.ctx, seen, s.name)
			s.NoError(err)
			s.Equal(now, paired)
		}
		paired, err := s.store.Pair(s.ctx, s.name+"another", s.name+"other")
		s.NoError(err)
		s.Equal(now, paired, "another one is on record")
		paired, err = s.store.Paired(s.ctx)
		s.NoError(err)
		s.Equal(now, paired)
		for _, name := range []string{"", "\x00", strings.Repeat("x", inventory.MaxIDBytes+1)} {
			_, err = s.store.Pair(s.ctx, s.name, name)
			s.invalid(err, name)
		}
	}},
}

// everything is a slice of all SKUs.
const everything = 1_000_000

// stillTallies are tallies without the moment at which they were made.
func stillTallies(tallies []order.Tally) []order.Tally {
	for i := range tallies {
		tallies[i].Counters = still(tallies[i].Counters)
	}
	return tallies
}

var booksTests = []test{
	{"tally", func(s *shop) {
		b, a := s.sku("b", 10), s.sku("a", 10)
		s.book(s.deducted("1", line(a, 2), line(b, 3)))
		s.book(s.direct("2", line(a, 4)))
		s.book(s.deducted("3", line(a, 1)))
		s.cancel("3")
		s.hold(later, s.direct("4", line(a, 2)))
		s.expire(s.hold(soon, s.direct("5", line(a, 1))))
		tallies, err := s.store.Tally(s.ctx, b, a, s.name+"nothing")
		s.NoError(err)
		s.Equal([]order.Tally{
			{Counters: s.counters(a), Held: 2, Confirmed: 6, Ledger: true, MovedCapacity: 10, MovedAllocated: 8},
			{Counters: s.counters(b), Confirmed: 3, Ledger: true, MovedCapacity: 10, MovedAllocated: 3},
		}, stillTallies(tallies))
	}},
	{"tally of all", func(s *shop) {
		b, a := s.sku("b", 10), s.sku("a", 10)
		s.book(s.deducted("1", line(a, 2)))
		tallies, err := s.store.TallyAll(s.ctx)
		s.NoError(err)
		s.True(slices.IsSortedFunc(tallies, func(a, b order.Tally) int { return strings.Compare(a.Counters.SKU, b.Counters.SKU) }))
		tallies = stillTallies(tallies)
		s.Contains(tallies, order.Tally{Counters: s.counters(a), Confirmed: 2, Ledger: true, MovedCapacity: 10, MovedAllocated: 2})
		s.Contains(tallies, order.Tally{Counters: s.counters(b), Ledger: true, MovedCapacity: 10})
		for _, skus := range [][]string{nil, {}, {s.name + "nothing"}} {
			tallies, err = s.store.Tally(s.ctx, skus...)
			s.NoError(err)
			s.Empty(tallies)
			counters, err := s.store.Counters(s.ctx, skus...)
			s.NoError(err)
			s.Empty(counters)
		}
	}},
	{"recount of right books", func(s *shop) {
		a, b := s.sku("a", 10), s.sku("b", 10)
		s.book(s.deducted("1", line(a, 2), line(b, 3)))
		s.book(s.deducted("2", line(a, 1)))
		s.cancel("2")
		s.hold(later, s.direct("3", line(a, 1)))
		before := s.counters(a)
		moved := len(s.movements(a))
		c, err := s.store.Recount(s.ctx, a)
		s.NoError(err)
		s.Equal(before, still(c))
		s.Equal(before, s.counters(a))
		s.Len(s.movements(a), moved)
	}},
	{"recount of an unknown SKU", func(s *shop) {
		_, err := s.store.Recount(s.ctx, s.name+"nothing")
		s.ofSKU(err, order.ErrUnknownSKU, s.name+"nothing")
	}},
}

var (
	badIDs = []string{
		"", strings.Repeat("x", inventory.MaxIDBytes+1), "nul\x00", "line\nbreak", "bad\xffutf-8", "tab\t", "del\x7f",
	}
	badQuantities = []int64{0, -1, inventory.MaxQuantity + 1, 1 << 53, -1 << 63, 1<<63 - 1}
)
