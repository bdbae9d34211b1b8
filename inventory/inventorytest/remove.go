package inventorytest

import (
	"math"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/inventory"
)

// remove removes the counters of the last epoch that was loaded.
func (s *shelf) remove(accepted int64) {
	s.t.Helper()
	n, err := s.repo.Remove(s.ctx, s.store, s.sku, s.epoch)
	require.NoError(s.t, err)
	assert.Equal(s.t, accepted, n)
}

// gone checks that there are no counters, and that no late call makes any.
func (s *shelf) gone(late ...inventory.Deduction) {
	s.t.Helper()
	missing := inventory.Stock{SKU: s.sku, Why: inventory.WhyMissing}
	assert.Equal(s.t, missing, s.stock())
	_, err := s.repo.Deduct(s.ctx, s.request(1))
	s.failsNotLoaded(err, inventory.WhyMissing)
	s.failsNotLoaded(s.repo.Push(s.ctx, s.supply(10)), inventory.WhyMissing)
	s.failsNotLoaded(s.repo.Settle(s.ctx, s.supply(10), late...), inventory.WhyMissing)
	require.NoError(s.t, s.repo.Restore(s.ctx, late...))
	if len(late) > 0 {
		s.keeps(make([]inventory.Keeping, len(late)), late...)
	}
	assert.Equal(s.t, missing, s.stock())
}

var removeCases = []testCase{
	{"removes counters and void deductions", func(s *shelf) {
		s.load(10)
		a, b := s.deduct(3), s.deduct(2)
		s.settle(a)
		s.remove(0)
		s.gone(a, b)
		s.remove(0)
		s.gone(a, b)
	}},
	{"removes nothing that is missing", func(s *shelf) {
		s.remove(0)
		s.gone()
	}},
	{"removes an older epoch", func(s *shelf) {
		s.load(10)
		d := s.deduct(3)
		s.epoch++
		s.remove(0)
		s.gone(d)
		// As a load does that comes late.
		late := s.current()
		late.Epoch--
		require.NoError(s.t, s.repo.Load(s.ctx, late))
		s.remove(0)
		s.gone()
	}},
	{"keeps a newer epoch, and another store", func(s *shelf) {
		s.load(10)
		s.deduct(3)
		s.unchanged(func() {
			for _, of := range []struct {
				store string
				epoch int64
			}{{s.store, s.epoch - 1}, {s.store + "-2", s.epoch}, {s.store + "-2", s.epoch + 1}} {
				n, err := s.repo.Remove(s.ctx, of.store, s.sku, of.epoch)
				require.NoError(s.t, err)
				assert.Zero(s.t, n)
			}
		})
	}},
	{"keeps accepted orders", func(s *shelf) {
		s.load(100)
		s.deduct(1)
		one, two := s.deduct(2), s.deduct(3)
		s.accept("an order", one)
		s.accept("another", two)
		s.unchanged(func() { s.remove(2) })
		// A load of the last epoch keeps them, and takes no others.
		s.epoch++
		s.terms.Paused = true
		s.load(100)
		s.remove(2)
		_, err := s.repo.Deduct(s.ctx, s.request(1))
		s.failsShut(err, inventory.ErrPaused)
		for _, d := range s.unsettled() {
			require.NoError(s.t, s.repo.Restore(s.ctx, d))
		}
		s.remove(0)
		s.gone(one, two)
	}},
	{"with bad arguments", func(s *shelf) {
		s.load(10)
		s.unchanged(func() {
			for _, id := range badIDs {
				_, err := s.repo.Remove(s.ctx, id, s.sku, 1)
				failsInvalid(s.t, err)
				_, err = s.repo.Remove(s.ctx, s.store, id, 1)
				failsInvalid(s.t, err)
			}
			for _, epoch := range []int64{0, -1, bound + 1, math.MinInt64} {
				_, err := s.repo.Remove(s.ctx, s.store, s.sku, epoch)
				failsInvalid(s.t, err)
			}
		})
	}},
}
