package inventorytest

import (
	"fmt"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/inventory"
)

// many is more than an implementation is likely to handle at once, and not a
// multiple of anything.
const many = 1203

// bulk is the same of SKUs that are loaded or read.
const bulk = 2603

var unsettledCases = []testCase{
	{"lists what is neither settled nor restored", func(s *shelf) {
		s.load(10)
		assert.Empty(s.t, s.unsettled())
		a, b, c := s.deduct(1), s.deduct(2), s.deduct(3)
		sameDeductions(s.t, []inventory.Deduction{a, b, c}, s.unsettled())
		s.settle(a)
		s.restore(c)
		sameDeductions(s.t, []inventory.Deduction{b}, s.unsettled())
		s.unchanged(func() { s.unsettled() })
	}},
	{"leaves out what is younger", func(s *shelf) {
		s.load(10)
		s.deduct(1)
		ds, err := s.repo.Unsettled(s.ctx, s.store, s.sku, time.Hour, everything)
		require.NoError(s.t, err)
		assert.Empty(s.t, ds)
		assert.Len(s.t, s.unsettled(), 1)
	}},
	{"goes up to the limit", func(s *shelf) {
		s.load(10)
		s.deductMany(5)
		s.unsettled() // waits until all are older than 0
		for limit, want := range map[int]int{1: 1, 2: 2, 4: 4, 5: 5, 6: 5} {
			ds, err := s.repo.Unsettled(s.ctx, s.store, s.sku, 0, limit)
			require.NoError(s.t, err)
			assert.Len(s.t, ds, want, "limit %d", limit)
			seen := make(map[string]bool)
			for _, d := range ds {
				assert.False(s.t, seen[d.Attempt], "%q is listed twice", d.Attempt)
				seen[d.Attempt] = true
			}
		}
	}},
	{"lists many, each once", func(s *shelf) {
		s.load(2 * many)
		sameDeductions(s.t, s.deductMany(many/2), s.unsettled())
	}},
	{"fails if nothing is loaded", func(s *shelf) {
		_, err := s.repo.Unsettled(s.ctx, s.store, s.sku, 0, everything)
		s.failsNotLoaded(err, inventory.WhyMissing)
	}},
	{"fails on counters of another store", func(s *shelf) {
		s.load(10)
		s.deduct(1)
		_, err := s.repo.Unsettled(s.ctx, s.store+"-2", s.sku, 0, everything)
		s.failsNotLoaded(err, inventory.WhyForeign)
	}},
}

var stockCases = []testCase{
	{"reads in the order of the SKUs", func(s *shelf) {
		a, b := s.another(), s.another()
		a.load(10)
		b.load(20)
		a.deduct(3)
		stocks, err := s.repo.Stock(s.ctx, b.sku, s.sku, a.sku, b.sku)
		require.NoError(s.t, err)
		assert.Equal(s.t, []inventory.Stock{
			b.stock(), {SKU: s.sku, Why: inventory.WhyMissing}, a.stock(), b.stock(),
		}, stocks)
		a.audit()
		b.audit()
	}},
	{"reads the terms", func(s *shelf) {
		now := time.Now()
		s.terms = inventory.Terms{CustomerLimit: 3, OpensAt: now.Add(-1), ClosesAt: now.Add(time.Hour + 1), Paused: true}
		s.load(10)
		assert.True(s.t, s.stock().SameTerms(s.terms), "%+v, want %+v", s.stock().Terms, s.terms)
		s.on(inventory.Terms{})
		assert.Equal(s.t, inventory.Terms{}, s.stock().Terms)
	}},
	{"reads none", func(s *shelf) {
		stocks, err := s.repo.Stock(s.ctx)
		require.NoError(s.t, err)
		assert.Empty(s.t, stocks)
	}},
	{"reads many", func(s *shelf) {
		s.load(10)
		skus := make([]string, bulk)
		for i := range skus {
			skus[i] = fmt.Sprintf("%s-%d", s.sku, i)
		}
		skus[bulk-1] = s.sku
		stocks, err := s.repo.Stock(s.ctx, skus...)
		require.NoError(s.t, err)
		require.Len(s.t, stocks, bulk)
		for i, stock := range stocks {
			assert.Equal(s.t, skus[i], stock.SKU)
			assert.Equal(s.t, i < bulk-1, stock.Why == inventory.WhyMissing)
		}
	}},
	{"keeps SKUs with odd names apart", func(s *shelf) {
		names := []string{"{a}", "{a", "a}", "}{", "%7Ba%7D", "%", "%25", " a", "a ", "a:b", "a:{b}:stock", "ä", "☃", "*"}
		stocks := make([]inventory.Stock, len(names))
		skus := make([]string, len(names))
		for i, name := range names {
			one := s.another()
			// A piece of the random name, or the longest would be too long.
			one.sku = name + one.sku[:16]
			one.load(int64(100 + i))
			one.deduct(int64(1 + i))
			skus[i], stocks[i] = one.sku, one.stock()
			one.audit()
		}
		got, err := s.repo.Stock(s.ctx, skus...)
		require.NoError(s.t, err)
		assert.Equal(s.t, stocks, got)
	}},
}
