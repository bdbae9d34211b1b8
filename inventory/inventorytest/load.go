package inventorytest

import (
	"fmt"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/inventory"
)

var loadCases = []testCase{
	{"begins an epoch with nothing taken", func(s *shelf) {
		s.load(12)
		assert.Equal(s.t, inventory.Stock{
			SKU: s.sku, Store: s.store, Epoch: s.epoch, Version: s.version, Supply: 12,
		}, s.stock())
		assert.Equal(s.t, int64(12), s.stock().Available())
	}},
	{"takes a supply below zero", func(s *shelf) {
		s.load(-3)
		assert.Equal(s.t, int64(-3), s.stock().Available())
		s.deductFails(1, inventory.ErrSoldOut, 0, 0)
	}},
	{"takes the highest numbers", func(s *shelf) {
		s.epoch, s.version = bound, bound-10
		s.load(bound)
		assert.Equal(s.t, bound, s.stock().Supply)
		assert.Equal(s.t, bound, s.stock().Epoch)
		assert.Equal(s.t, bound, s.stock().Version)
		assert.Equal(s.t, bound, s.deduct(1).Version)
		assert.Equal(s.t, bound-1, s.stock().Available())
	}},
	{"keeps counters of its epoch", func(s *shelf) {
		s.load(10)
		s.deduct(4)
		again := s.current()
		s.unchanged(func() {
			require.NoError(s.t, s.repo.Load(s.ctx, again))
			again.Version, again.Units = s.version+1, 99
			require.NoError(s.t, s.repo.Load(s.ctx, again))
		})
	}},
	{"replaces counters of the one epoch that it is to", func(s *shelf) {
		s.load(10)
		s.deduct(4)
		void := s.deduct(1)
		kept, err := s.repo.Accept(s.ctx, "an order", void)
		require.NoError(s.t, err)
		require.True(s.t, kept.AllKept())
		ahead, mended := s.epoch, s.current()
		mended.Epoch, mended.Version, mended.Units, mended.Replaces = ahead-2, s.version+1, 8, ahead+1
		s.unchanged(func() { require.NoError(s.t, s.repo.Load(s.ctx, mended)) }) // it is another epoch than it names
		mended.Replaces = ahead
		for range 2 { // a repeat finds its own
			require.NoError(s.t, s.repo.Load(s.ctx, mended))
			stock := s.stock()
			assert.Equal(s.t, [...]int64{ahead - 2, 8, 1}, [...]int64{stock.Epoch, stock.Supply, stock.Taken}, "the accepted order moves along")
		}
		newer := mended
		newer.Epoch, newer.Version = ahead-1, mended.Version+1
		require.NoError(s.t, s.repo.Load(s.ctx, newer))
		require.NoError(s.t, s.repo.Load(s.ctx, mended), "a late copy")
		assert.Equal(s.t, ahead-1, s.stock().Epoch)
		for _, wrong := range []int64{-1, 1, mended.Epoch, bound + 1} {
			mended.Replaces = wrong
			failsInvalid(s.t, s.repo.Load(s.ctx, mended))
		}
	}},
	{"keeps counters of a newer epoch", func(s *shelf) {
		s.load(10)
		s.deduct(4)
		late := s.current()
		late.Epoch, late.Version, late.Units = s.epoch-1, s.version+1, 99
		s.unchanged(func() { require.NoError(s.t, s.repo.Load(s.ctx, late)) })
	}},
	{"replaces counters of an older epoch", func(s *shelf) {
		// One digit and two: a repository that compares text takes 9 for newer.
		s.epoch = 9
		s.load(10)
		old := s.deduct(4)
		s.epoch = 10
		s.load(20)
		assert.Equal(s.t, inventory.Stock{
			SKU: s.sku, Store: s.store, Epoch: 10, Version: s.version, Supply: 20,
		}, s.stock())
		assert.Empty(s.t, s.unsettled(), "deductions of the old epoch are void")
		s.unchanged(func() { s.restore(old) })
	}},
	{"replaces counters of another store", func(s *shelf) {
		s.load(10)
		s.deduct(4)
		// Epochs of two stores say nothing about each other.
		s.store, s.epoch, s.version = s.store+"-2", s.epoch-2, 0
		s.load(7)
		assert.Equal(s.t, inventory.Stock{
			SKU: s.sku, Store: s.store, Epoch: s.epoch, Version: s.version, Supply: 7,
		}, s.stock())
		assert.Empty(s.t, s.unsettled())
	}},
	{"loads none", func(s *shelf) {
		require.NoError(s.t, s.repo.Load(s.ctx))
	}},
	{"loads many, and keeps those that are there", func(s *shelf) {
		s.load(10)
		s.deduct(3)
		supplies := make([]inventory.Supply, bulk)
		want := make([]inventory.Stock, bulk)
		skus := make([]string, bulk)
		for i := range supplies {
			skus[i] = fmt.Sprintf("%s-%d", s.sku, i)
			supplies[i] = inventory.Supply{SKU: skus[i], Store: s.store, Epoch: s.epoch, Version: int64(1 + i), Units: int64(i)}
			want[i] = inventory.Stock{SKU: skus[i], Store: s.store, Epoch: s.epoch, Version: int64(1 + i), Supply: int64(i)}
		}
		// In the middle is one that stays as it is, and at the end one that is replaced.
		newer := s.another()
		newer.load(5)
		newer.deduct(2)
		newer.epoch++
		supplies[bulk/2], supplies[bulk-1] = s.current(), newer.supply(7)
		supplies[bulk/2].Units = 99
		skus[bulk/2], skus[bulk-1] = s.sku, newer.sku
		want[bulk/2] = s.stock()
		want[bulk-1] = inventory.Stock{SKU: newer.sku, Store: s.store, Epoch: newer.epoch, Version: newer.version, Supply: 7}
		for range 2 { // repeated it changes nothing
			s.unchanged(func() { require.NoError(s.t, s.repo.Load(s.ctx, supplies...)) })
			got, err := s.repo.Stock(s.ctx, skus...)
			require.NoError(s.t, err)
			for i := range want {
				require.Equal(s.t, want[i], got[i], "SKU %d", i)
			}
		}
		newer.audit()
	}},
	{"loads a SKU that is named twice", func(s *shelf) {
		older, newer := s.supply(1), s.supply(2)
		newer.Epoch++
		require.NoError(s.t, s.repo.Load(s.ctx, newer, older, newer))
		assert.Equal(s.t, int64(2), s.stock().Supply)
		assert.Equal(s.t, newer.Epoch, s.stock().Epoch)
	}},
	{"with a bad supply touches nothing", func(s *shelf) {
		other := s.another()
		s.load(10)
		s.deduct(3)
		s.epoch++
		bad := other.supply(1)
		bad.Epoch = 0
		last := make([]inventory.Supply, 0, bulk)
		for i := range bulk - 1 {
			supply := s.supply(20)
			if i > 0 {
				supply.SKU = fmt.Sprint(other.sku, i)
			}
			last = append(last, supply)
		}
		s.unchanged(func() {
			failsInvalid(s.t, s.repo.Load(s.ctx, bad, s.current()))
			failsInvalid(s.t, s.repo.Load(s.ctx, append(last, bad)...))
		})
		stocks, err := s.repo.Stock(s.ctx, other.sku, last[1].SKU)
		require.NoError(s.t, err)
		assert.Equal(s.t, inventory.WhyMissing, stocks[0].Why)
		assert.Equal(s.t, inventory.WhyMissing, stocks[1].Why)
	}},
	{"leaves other SKUs alone", func(s *shelf) {
		other := s.another()
		other.load(10)
		other.deduct(4)
		other.unchanged(func() { s.load(1) })
		other.audit()
	}},
}

var pushCases = []testCase{
	{"replaces an older supply", func(s *shelf) {
		s.version = 89 // then 99 and 109: compared as text they are the wrong way round
		s.load(10)
		s.deduct(4)
		s.push(3)
		assert.Equal(s.t, int64(3), s.stock().Supply)
		assert.Equal(s.t, s.version, s.stock().Version)
		assert.Equal(s.t, int64(-1), s.stock().Available())
		s.push(30)
		assert.Equal(s.t, int64(26), s.stock().Available())
		s.push(-30)
		assert.Equal(s.t, int64(-34), s.stock().Available())
		s.counts(4, 4)
	}},
	{"repeated or late does nothing", func(s *shelf) {
		s.load(10)
		late := s.supply(99)
		s.push(20)
		s.unchanged(func() {
			require.NoError(s.t, s.repo.Push(s.ctx, late))
			again := s.current()
			require.NoError(s.t, s.repo.Push(s.ctx, again))
			again.Units = 77 // no order store says two things under one version
			require.NoError(s.t, s.repo.Push(s.ctx, again))
		})
	}},
	{"of an older epoch does nothing", func(s *shelf) {
		s.load(10)
		late := s.current()
		late.Epoch--
		late.Version, late.Units, late.Admitted = s.version+1, 99, 50
		s.unchanged(func() { require.NoError(s.t, s.repo.Push(s.ctx, late)) })
	}},
	{"fails if nothing is loaded", func(s *shelf) {
		s.failsNotLoaded(s.repo.Push(s.ctx, s.supply(10)), inventory.WhyMissing)
		assert.Equal(s.t, inventory.WhyMissing, s.stock().Why, "a push never loads")
	}},
	{"fails on counters of another store", func(s *shelf) {
		s.load(10)
		s.unchanged(func() {
			foreign := s.current()
			foreign.Store += "-2"
			foreign.Version++
			s.failsNotLoaded(s.repo.Push(s.ctx, foreign), inventory.WhyForeign)
			foreign.Epoch--
			s.failsNotLoaded(s.repo.Push(s.ctx, foreign), inventory.WhyForeign)
		})
	}},
	{"fails on counters of an older epoch", func(s *shelf) {
		s.load(10)
		s.unchanged(func() {
			newer := s.current()
			newer.Epoch++
			newer.Version++
			s.failsNotLoaded(s.repo.Push(s.ctx, newer), inventory.WhyBehind)
		})
	}},
	{"fails if fewer units are taken than were admitted", func(s *shelf) {
		s.load(10)
		s.deduct(4)
		lost := s.supply(20)
		lost.Admitted = 5
		s.failsNotLoaded(s.repo.Push(s.ctx, lost), inventory.WhyLost)
		assert.Equal(s.t, int64(20), s.stock().Supply, "the supply is replaced all the same")
		assert.Equal(s.t, s.version, s.stock().Version)
		s.counts(4, 4)

		enough := s.supply(21)
		enough.Admitted = 4
		require.NoError(s.t, s.repo.Push(s.ctx, enough))
	}},
}
