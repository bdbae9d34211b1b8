package inventorytest

import (
	"slices"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/inventory"
)

var settleCases = []testCase{
	{"drops the record and keeps the units", func(s *shelf) {
		s.load(10)
		a, b := s.deduct(3), s.deduct(4)
		s.settle(a)
		s.counts(7, 4)
		sameDeductions(s.t, []inventory.Deduction{b}, s.unsettled())
		s.settle(b)
		s.counts(7, 0)
	}},
	{"repeated does nothing", func(s *shelf) {
		s.load(10)
		d, _ := s.deduct(3), s.deduct(4)
		s.settle(d, d)
		s.sold -= d.Quantity // it is one deduction
		s.unchanged(func() { require.NoError(s.t, s.repo.Settle(s.ctx, s.current(), d)) })
		s.counts(7, 4)
	}},
	{"pushes the supply", func(s *shelf) {
		s.load(10)
		d := s.deduct(3)
		late := s.current()
		s.supply(12)
		s.settle(d)
		assert.Equal(s.t, int64(12), s.stock().Supply)
		assert.Equal(s.t, s.version, s.stock().Version)
		s.supply(13)
		s.settle()
		assert.Equal(s.t, int64(13), s.stock().Supply)
		s.unchanged(func() { require.NoError(s.t, s.repo.Settle(s.ctx, late, d)) })
	}},
	{"with an older supply still drops the record", func(s *shelf) {
		s.load(10)
		d := s.deduct(3)
		late := s.current()
		s.push(20)
		require.NoError(s.t, s.repo.Settle(s.ctx, late, d))
		s.sold += 3
		s.counts(3, 0)
		assert.Equal(s.t, int64(20), s.stock().Supply)
	}},
	{"passes over what is not on record", func(s *shelf) {
		s.load(10)
		d, settled, restored := s.deduct(3), s.deduct(1), s.deduct(1)
		s.settle(settled)
		s.restore(restored)
		otherSeq, otherAttempt, older, newer, foreign := d, d, d, d, d
		otherSeq.Seq += 100
		otherAttempt.Attempt = "nobody"
		older.Epoch--
		newer.Epoch++
		foreign.Store += "-2"
		s.unchanged(func() {
			require.NoError(s.t, s.repo.Settle(s.ctx, s.current(),
				otherSeq, otherAttempt, older, newer, foreign, settled, restored))
		})
		// In between, the one that is on record is settled.
		s.sold += 3
		require.NoError(s.t, s.repo.Settle(s.ctx, s.current(), otherSeq, settled, d, older, foreign))
		s.counts(4, 0)
	}},
	{"of an older epoch does nothing", func(s *shelf) {
		s.load(10)
		r := s.request(3)
		old, err := s.repo.Deduct(s.ctx, r)
		require.NoError(s.t, err)
		late := s.current()
		late.Version, late.Units, late.Admitted = 999, 99, 9
		s.epoch++
		s.load(10)
		d, err := s.repo.Deduct(s.ctx, r)
		require.NoError(s.t, err)
		assert.NotEqual(s.t, old.Identity(), d.Identity())
		s.unchanged(func() { require.NoError(s.t, s.repo.Settle(s.ctx, late, old)) })
	}},
	{"fails as a push does", func(s *shelf) {
		s.failsNotLoaded(s.repo.Settle(s.ctx, s.supply(1)), inventory.WhyMissing)
		s.load(10)
		d := s.deduct(3)
		s.unchanged(func() {
			foreign, newer := s.current(), s.current()
			foreign.Store += "-2"
			newer.Epoch++
			s.failsNotLoaded(s.repo.Settle(s.ctx, foreign, d), inventory.WhyForeign)
			s.failsNotLoaded(s.repo.Settle(s.ctx, newer, d), inventory.WhyBehind)
		})
		lost := s.supply(20)
		lost.Admitted = 4
		s.failsNotLoaded(s.repo.Settle(s.ctx, lost), inventory.WhyLost)
		assert.Equal(s.t, int64(20), s.stock().Supply)
	}},
	{"handles many at once", func(s *shelf) {
		s.load(100)
		ds := s.deductMany(20)
		kept := s.deduct(5)
		s.supply(200)
		s.sold += 20
		require.NoError(s.t, s.repo.Settle(s.ctx, s.current(), s.among(ds...)...))
		s.counts(25, 5)
		assert.Equal(s.t, int64(200), s.stock().Supply)
		sameDeductions(s.t, []inventory.Deduction{kept}, s.unsettled())
	}},
	{"with a bad deduction touches nothing", func(s *shelf) {
		other := s.another()
		other.load(1)
		s.load(100)
		ds := s.among(s.deductMany(20)...)
		s.supply(200)
		bad := ds[0]
		bad.Seq = 0
		// First, and after more than any batch.
		for _, bad := range []inventory.Deduction{bad, other.deduct(1)} {
			s.unchanged(func() {
				failsInvalid(s.t, s.repo.Settle(s.ctx, s.current(), slices.Concat([]inventory.Deduction{bad}, ds)...))
				failsInvalid(s.t, s.repo.Settle(s.ctx, s.current(), append(slices.Clone(ds), bad)...))
			})
		}
		other.audit()
	}},
}

var restoreCases = []testCase{
	{"drops the record and gives the units back", func(s *shelf) {
		s.load(10)
		a, b := s.deduct(3), s.deduct(4)
		s.restore(a)
		s.counts(4, 4)
		assert.Equal(s.t, int64(6), s.stock().Available())
		sameDeductions(s.t, []inventory.Deduction{b}, s.unsettled())
		s.restore(b)
		s.counts(0, 0)
		assert.Equal(s.t, b.Seq, s.stock().Seq, "a seq is never used again")
	}},
	{"repeated does nothing", func(s *shelf) {
		s.load(10)
		d, _ := s.deduct(3), s.deduct(4)
		s.restore(d, d)
		s.unchanged(func() { s.restore(d); s.restore(d, d) })
		s.counts(4, 4)
	}},
	{"does nothing after a settle", func(s *shelf) {
		s.load(10)
		d, _ := s.deduct(3), s.deduct(4)
		s.settle(d)
		s.unchanged(func() { s.restore(d) })
	}},
	{"passes over what is not on record", func(s *shelf) {
		s.load(10)
		d, settled, restored := s.deduct(3), s.deduct(1), s.deduct(1)
		s.settle(settled)
		s.restore(restored)
		otherSeq, otherAttempt, older, newer, foreign := d, d, d, d, d
		otherSeq.Seq += 100
		otherAttempt.Attempt = "nobody"
		older.Epoch--
		newer.Epoch++
		foreign.Store += "-2"
		s.unchanged(func() {
			s.restore(otherSeq, otherAttempt, older, newer, foreign, settled, restored)
		})
		s.restore(older, otherSeq, d, settled, foreign)
		s.counts(1, 0)
	}},
	{"of an old identity leaves the new deduction alone", func(s *shelf) {
		s.load(10)
		r := s.request(3)
		old, err := s.repo.Deduct(s.ctx, r)
		require.NoError(s.t, err)
		s.restore(old)
		again, err := s.repo.Deduct(s.ctx, r)
		require.NoError(s.t, err)
		assert.NotEqual(s.t, old.Seq, again.Seq)
		s.unchanged(func() {
			s.restore(old)
			require.NoError(s.t, s.repo.Settle(s.ctx, s.current(), old))
		})
	}},
	{"goes by the identity and not by the rest", func(s *shelf) {
		s.load(10)
		d := s.deduct(3)
		d.Quantity, d.OrderID, d.Version = 9, "", 0
		s.restore(d)
		s.counts(0, 0)
	}},
	{"passes over what is not loaded", func(s *shelf) {
		other := s.another()
		other.load(10)
		d := other.deduct(3)
		gone := d
		gone.SKU = s.sku // of which there are no counters
		s.restore(gone)
		s.restore(gone, d)
		other.counts(0, 0)
		other.audit()
	}},
	{"handles several SKUs", func(s *shelf) {
		other := s.another()
		s.load(10)
		other.load(10)
		a, b, c, d := s.deduct(1), other.deduct(2), s.deduct(3), other.deduct(4)
		s.restore(a, b, c)
		s.counts(0, 0)
		other.counts(4, 4)
		sameDeductions(s.t, []inventory.Deduction{d}, other.unsettled())
		other.audit()
	}},
	{"handles many at once", func(s *shelf) {
		s.load(100)
		ds := s.deductMany(20)
		s.settle(s.deduct(5))
		s.restore(s.among(ds...)...)
		s.counts(5, 0)
	}},
	{"handles none", func(s *shelf) {
		require.NoError(s.t, s.repo.Restore(s.ctx))
	}},
	{"with a bad deduction touches nothing", func(s *shelf) {
		s.load(100)
		ds := s.among(s.deductMany(20)...)
		bad := ds[0]
		bad.Attempt = ""
		s.unchanged(func() {
			failsInvalid(s.t, s.repo.Restore(s.ctx, slices.Concat([]inventory.Deduction{bad}, ds)...))
			failsInvalid(s.t, s.repo.Restore(s.ctx, append(slices.Clone(ds), bad)...))
		})
	}},
}
