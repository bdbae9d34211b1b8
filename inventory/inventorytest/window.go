package inventorytest

import (
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/inventory"
)

// from is so long from now, in whole milliseconds.
func from(d time.Duration) time.Time { return time.UnixMilli(time.Now().Add(d).UnixMilli()) }

// on pushes a supply of the same units with other terms.
func (s *shelf) on(terms inventory.Terms) {
	s.t.Helper()
	s.terms = terms
	s.push(s.units)
}

// deductShut asserts that a request is refused because the SKU is not on sale.
func (s *shelf) deductShut(r inventory.Request, want error) {
	s.t.Helper()
	s.unchanged(func() {
		s.t.Helper()
		d, err := s.repo.Deduct(s.ctx, r)
		s.failsShut(err, want)
		assert.Zero(s.t, d)
	})
}

// failsShut asserts a WindowError by the current terms.
func (s *shelf) failsShut(err, want error) {
	s.t.Helper()
	fails(s.t, err, want)
	var shut *inventory.WindowError
	require.ErrorAs(s.t, err, &shut)
	assert.True(s.t, s.terms.OpensAt.Equal(shut.OpensAt), "OpensAt is %v, want %v", shut.OpensAt, s.terms.OpensAt)
	assert.True(s.t, s.terms.ClosesAt.Equal(shut.ClosesAt), "ClosesAt is %v, want %v", shut.ClosesAt, s.terms.ClosesAt)
	assert.Equal(s.t, s.terms.OpensAt.IsZero(), shut.OpensAt.IsZero())
	assert.Equal(s.t, s.terms.ClosesAt.IsZero(), shut.ClosesAt.IsZero())
	assert.Equal(s.t, want, shut.Err)
	assert.Equal(s.t, s.sku, shut.SKU)
	assert.Equal(s.t, s.epoch, shut.Epoch)
	assert.Equal(s.t, s.version, shut.Version)
}

// cleared is a request that the order store found the sale open for.
func (s *shelf) cleared(quantity int64) inventory.Request {
	r := s.request(quantity)
	r.Cleared = true
	return r
}

// shutTerms are terms under which nobody may buy, and why.
func shutTerms() map[error][]inventory.Terms {
	return map[error][]inventory.Terms{
		inventory.ErrNotOpen: {
			{OpensAt: from(time.Hour)},
			{OpensAt: from(time.Hour), ClosesAt: from(2 * time.Hour)},
			{OpensAt: time.UnixMilli(bound)},
		},
		inventory.ErrClosed: {
			{ClosesAt: from(-time.Hour)},
			{OpensAt: from(-2 * time.Hour), ClosesAt: from(-time.Hour)},
			{ClosesAt: time.UnixMilli(1)},
		},
		inventory.ErrPaused: {
			{Paused: true},
			{Paused: true, OpensAt: from(-time.Hour), ClosesAt: from(time.Hour)},
			{Paused: true, OpensAt: from(time.Hour), ClosesAt: from(2 * time.Hour)},
			{Paused: true, ClosesAt: from(-time.Hour)},
		},
	}
}

var windowCases = []testCase{
	{"lets everybody buy between the times", func(s *shelf) {
		s.load(10)
		for _, terms := range []inventory.Terms{
			{},
			{OpensAt: from(-time.Hour)},
			{ClosesAt: from(time.Hour)},
			{OpensAt: from(-time.Hour), ClosesAt: from(time.Hour)},
			{OpensAt: time.Unix(0, 0)},
			{ClosesAt: time.UnixMilli(bound)},
		} {
			s.on(terms)
			s.deduct(1)
		}
	}},
	{"comes with a load", func(s *shelf) {
		for want, all := range shutTerms() {
			for _, terms := range all {
				s.epoch++
				s.terms = terms
				s.load(10)
				s.deductShut(s.request(1), want)
			}
		}
	}},
	{"comes with a push", func(s *shelf) {
		s.load(10)
		for want, all := range shutTerms() {
			for _, terms := range all {
				s.on(terms)
				s.deductShut(s.request(1), want)
				s.on(inventory.Terms{})
				s.deduct(1)
				s.on(terms)
				s.deductShut(s.request(1), want)
				s.restore(s.unsettled()...)
			}
		}
	}},
	{"comes with a settle", func(s *shelf) {
		s.load(10)
		d := s.deduct(1)
		s.terms = inventory.Terms{OpensAt: from(time.Hour), ClosesAt: from(2 * time.Hour)}
		s.supply(10)
		s.settle(d)
		s.deductShut(s.request(1), inventory.ErrNotOpen)
	}},
	{"is replaced only by a newer version", func(s *shelf) {
		s.load(10)
		open := s.current()
		s.on(inventory.Terms{Paused: true, OpensAt: from(time.Hour)})
		require.NoError(s.t, s.repo.Push(s.ctx, open))
		same := s.current()
		same.Terms = inventory.Terms{}
		require.NoError(s.t, s.repo.Push(s.ctx, same))
		require.NoError(s.t, s.repo.Load(s.ctx, same))
		same.Version, same.Epoch = same.Version+1, same.Epoch-1
		require.NoError(s.t, s.repo.Push(s.ctx, same))
		require.NoError(s.t, s.repo.Load(s.ctx, same))
		s.deductShut(s.request(1), inventory.ErrPaused)
	}},
	{"of old counters goes with them", func(s *shelf) {
		s.terms.Paused = true
		s.load(10)
		s.epoch++
		s.terms.Paused = false
		s.load(10)
		s.deduct(1)
	}},
	{"of another SKU does not matter", func(s *shelf) {
		other := s.another()
		other.terms.Paused = true
		other.load(10)
		s.load(10)
		s.deduct(1)
		other.deductShut(other.request(1), inventory.ErrPaused)
	}},
	{"does not count for who is cleared, but a pause does", func(s *shelf) {
		s.load(100)
		for want, all := range shutTerms() {
			for _, terms := range all {
				s.on(terms)
				r := s.cleared(1)
				if terms.Paused {
					s.deductShut(r, want)
					continue
				}
				_, err := s.repo.Deduct(s.ctx, r)
				require.NoError(s.t, err)
				r = s.cleared(inventory.MaxQuantity)
				_, err = s.repo.Deduct(s.ctx, r)
				s.failsShort(err, inventory.ErrSoldOut, r.Quantity, s.stock().Available(), s.stock().Unsettled)
			}
		}
	}},
	{"does not count for what is on record", func(s *shelf) {
		s.load(10)
		r := s.request(1)
		first, err := s.repo.Deduct(s.ctx, r)
		require.NoError(s.t, err)
		for _, all := range shutTerms() {
			for _, terms := range all {
				s.on(terms)
				s.unchanged(func() {
					again, err := s.repo.Deduct(s.ctx, r)
					require.NoError(s.t, err)
					sameDeduction(s.t, first, again)
				})
			}
		}
	}},
	{"does not stand in the way of settles and restores", func(s *shelf) {
		s.load(10)
		a, b := s.deduct(1), s.deduct(2)
		s.on(inventory.Terms{Paused: true})
		s.settle(a)
		s.restore(b)
		s.counts(1, 0)
	}},
	{"is told before the limit and the stock", func(s *shelf) {
		s.load(0)
		for want, all := range shutTerms() {
			for _, terms := range all {
				terms.CustomerLimit = 1
				s.on(terms)
				s.deductShut(s.request(2), want)
			}
		}
	}},
	{"is told after what makes counters unusable", func(s *shelf) {
		s.terms.Paused = true
		s.load(10)
		r := s.request(1)
		r.Watermark = inventory.Watermark{Epoch: s.epoch, Seq: 1}
		_, err := s.repo.Deduct(s.ctx, r)
		s.failsNotLoaded(err, inventory.WhyBehind)
	}},
	{"opens by itself", func(s *shelf) {
		s.terms.OpensAt = from(150 * time.Millisecond)
		s.load(10)
		var d inventory.Deduction
		for err := inventory.ErrNotOpen; err != nil; time.Sleep(time.Millisecond) {
			if d, err = s.repo.Deduct(s.ctx, s.request(1)); err != nil {
				s.failsShut(err, inventory.ErrNotOpen)
			}
		}
		assert.False(s.t, d.At.Before(s.terms.OpensAt), "granted at %v, before %v", d.At, s.terms.OpensAt)
	}},
	{"closes by itself", func(s *shelf) {
		s.terms.ClosesAt = from(150 * time.Millisecond)
		s.load(inventory.MaxCapacity)
		for {
			d, err := s.repo.Deduct(s.ctx, s.request(1))
			if err != nil {
				s.failsShut(err, inventory.ErrClosed)
				break
			}
			assert.True(s.t, d.At.Before(s.terms.ClosesAt), "granted at %v, not before %v", d.At, s.terms.ClosesAt)
			s.restore(d)
			time.Sleep(time.Millisecond)
		}
	}},
	{"is never narrower than it says", func(s *shelf) {
		// Fractions of a millisecond are rounded away from each other: there is a
		// millisecond in which it is open.
		opens := from(-time.Hour).Add(300 * time.Microsecond)
		s.load(10)
		s.on(inventory.Terms{OpensAt: opens, ClosesAt: opens.Add(time.Microsecond)})
		_, err := s.repo.Deduct(s.ctx, s.request(1))
		var shut *inventory.WindowError
		require.ErrorAs(s.t, err, &shut)
		assert.False(s.t, shut.OpensAt.After(s.terms.OpensAt), "opens at %v, for %v", shut.OpensAt, s.terms.OpensAt)
		assert.False(s.t, shut.ClosesAt.Before(s.terms.ClosesAt), "closes at %v, for %v", shut.ClosesAt, s.terms.ClosesAt)
		assert.LessOrEqual(s.t, shut.ClosesAt.Sub(shut.OpensAt), time.Millisecond)
	}},
	{"that closed in 1970 is closed", func(s *shelf) {
		s.load(10)
		s.on(inventory.Terms{ClosesAt: time.Unix(0, 0)})
		_, err := s.repo.Deduct(s.ctx, s.request(1))
		fails(s.t, err, inventory.ErrClosed)
	}},
}
