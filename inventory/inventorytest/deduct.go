package inventorytest

import (
	"context"
	"strings"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/inventory"
)

var deductCases = []testCase{
	{"takes units", func(s *shelf) {
		s.load(10)
		r := s.request(3)
		d, err := s.repo.Deduct(s.ctx, r)
		require.NoError(s.t, err)
		assert.Positive(s.t, d.Seq)
		assert.False(s.t, d.At.IsZero())
		assert.Equal(s.t, inventory.Deduction{
			SKU: s.sku, Store: s.store, Epoch: s.epoch, Seq: d.Seq, Attempt: r.Attempt, OrderID: r.OrderID,
			Quantity: 3, Version: s.version, At: d.At,
		}, d)
		s.counts(3, 3)
		assert.Equal(s.t, d.Seq, s.stock().Seq)
		assert.Equal(s.t, int64(7), s.stock().Available())
	}},
	{"numbers deductions upwards", func(s *shelf) {
		s.load(20)
		var last int64
		for range 12 {
			d := s.deduct(1)
			assert.Greater(s.t, d.Seq, last)
			last = d.Seq
			assert.Equal(s.t, last, s.stock().Seq)
		}
	}},
	{"never numbers two deductions alike", func(s *shelf) {
		s.load(2)
		seen := make(map[inventory.Identity]bool)
		for range 5 {
			d := s.deduct(2)
			assert.False(s.t, seen[d.Identity()], "%v again", d.Identity())
			seen[d.Identity()] = true
			s.restore(d)
		}
	}},
	{"names the supply it was granted from", func(s *shelf) {
		s.load(2)
		r := s.request(1)
		first, err := s.repo.Deduct(s.ctx, r)
		require.NoError(s.t, err)
		old := s.version
		s.push(10)
		assert.Equal(s.t, s.version, s.deduct(1).Version)
		again, err := s.repo.Deduct(s.ctx, r)
		require.NoError(s.t, err)
		sameDeduction(s.t, first, again)
		assert.Equal(s.t, old, again.Version)
	}},
	{"repeated gives the same deduction", func(s *shelf) {
		s.load(10)
		r := s.request(3)
		first, err := s.repo.Deduct(s.ctx, r)
		require.NoError(s.t, err)
		s.deduct(1)
		s.unchanged(func() {
			for range 3 {
				again, err := s.repo.Deduct(s.ctx, r)
				require.NoError(s.t, err)
				sameDeduction(s.t, first, again)
			}
		})
	}},
	{"repeated gives the same deduction when all are gone", func(s *shelf) {
		s.load(3)
		r := s.request(3)
		first, err := s.repo.Deduct(s.ctx, r)
		require.NoError(s.t, err)
		s.push(0)
		s.unchanged(func() {
			again, err := s.repo.Deduct(s.ctx, r)
			require.NoError(s.t, err)
			sameDeduction(s.t, first, again)
		})
	}},
	{"of another request under the same attempt is refused", func(s *shelf) {
		s.load(10)
		r := s.request(3)
		_, err := s.repo.Deduct(s.ctx, r)
		require.NoError(s.t, err)
		for _, change := range []func(*inventory.Request){
			func(r *inventory.Request) { r.Quantity = 2 },
			func(r *inventory.Request) { r.OrderID = "another" },
		} {
			other := r
			change(&other)
			s.unchanged(func() {
				d, err := s.repo.Deduct(s.ctx, other)
				failsInvalid(s.t, err)
				assert.Zero(s.t, d)
			})
		}
	}},
	{"takes the last unit and no more", func(s *shelf) {
		s.load(3)
		s.settle(s.deduct(2))
		s.deductFails(2, inventory.ErrSoldOut, 1, 0)
		s.settle(s.deduct(1))
		s.deductFails(1, inventory.ErrSoldOut, 0, 0)
		s.counts(3, 0)
	}},
	{"says try again while unsettled units would do", func(s *shelf) {
		s.load(5)
		s.settle(s.deduct(1))
		d := s.deduct(3)
		s.deductFails(2, inventory.ErrTryAgain, 1, 3)
		s.deductFails(4, inventory.ErrTryAgain, 1, 3)
		s.deductFails(5, inventory.ErrSoldOut, 1, 3)
		s.settle(d)
		s.deductFails(2, inventory.ErrSoldOut, 1, 0)
	}},
	{"counts units that a lower supply swallows as gone", func(s *shelf) {
		s.load(10)
		s.settle(s.deduct(1))
		s.deduct(9)
		s.push(4)
		// If all nine come back, three of them may be had.
		s.deductFails(3, inventory.ErrTryAgain, 0, 3)
		s.deductFails(4, inventory.ErrSoldOut, 0, 3)
		s.push(0)
		s.deductFails(1, inventory.ErrSoldOut, 0, 0)
	}},
	{"refused may succeed later", func(s *shelf) {
		s.load(2)
		d := s.deduct(2)
		r := s.request(2)
		_, err := s.repo.Deduct(s.ctx, r)
		s.failsShort(err, inventory.ErrTryAgain, 2, 0, 2)
		s.restore(d)
		again, err := s.repo.Deduct(s.ctx, r)
		require.NoError(s.t, err)
		assert.NotEqual(s.t, d.Seq, again.Seq)
		s.counts(2, 2)
	}},
	{"after it was settled is another deduction", func(s *shelf) {
		s.load(10)
		r := s.request(3)
		first, err := s.repo.Deduct(s.ctx, r)
		require.NoError(s.t, err)
		s.settle(first)
		late, err := s.repo.Deduct(s.ctx, r)
		require.NoError(s.t, err)
		assert.NotEqual(s.t, first.Identity(), late.Identity())
		s.counts(6, 3)
		s.unchanged(func() { s.settle(); s.restore(first) })
		s.restore(late)
		s.counts(3, 0)
	}},
	{"fails if nothing is loaded", func(s *shelf) {
		d, err := s.repo.Deduct(s.ctx, s.request(1))
		s.failsNotLoaded(err, inventory.WhyMissing)
		assert.Zero(s.t, d)
		assert.Equal(s.t, inventory.WhyMissing, s.stock().Why)
	}},
	{"fails on counters of another store", func(s *shelf) {
		s.load(10)
		s.unchanged(func() {
			r := s.request(1)
			r.Store += "-2"
			d, err := s.repo.Deduct(s.ctx, r)
			s.failsNotLoaded(err, inventory.WhyForeign)
			assert.Zero(s.t, d)
		})
	}},
	{"fails on counters behind the watermark", func(s *shelf) {
		s.load(10)
		seq := s.deduct(1).Seq
		for _, w := range []inventory.Watermark{
			{Epoch: s.epoch, Seq: seq + 1},
			{Epoch: s.epoch + 1},
			{Epoch: s.epoch + 1, Seq: seq},
			{Epoch: bound, Seq: bound},
		} {
			s.unchanged(func() {
				r := s.request(1)
				r.Watermark = w
				d, err := s.repo.Deduct(s.ctx, r)
				s.failsNotLoaded(err, inventory.WhyBehind)
				assert.Zero(s.t, d)
			})
		}
	}},
	{"fails on counters behind the watermark, also repeated", func(s *shelf) {
		s.load(10)
		r := s.request(1)
		d, err := s.repo.Deduct(s.ctx, r)
		require.NoError(s.t, err)
		r.Watermark = inventory.Watermark{Epoch: s.epoch, Seq: d.Seq + 1}
		s.unchanged(func() {
			_, err := s.repo.Deduct(s.ctx, r)
			s.failsNotLoaded(err, inventory.WhyBehind)
		})
	}},
	{"takes units at or above the watermark", func(s *shelf) {
		s.load(10)
		for _, w := range []inventory.Watermark{
			{}, {Epoch: s.epoch}, {Epoch: s.epoch, Seq: 1}, {Epoch: s.epoch - 1, Seq: bound}, {Seq: bound},
		} {
			seq := s.deduct(1).Seq
			if w.Seq == 1 {
				w.Seq = seq
			}
			r := s.request(1)
			r.Watermark = w
			_, err := s.repo.Deduct(s.ctx, r)
			require.NoError(s.t, err, "watermark %v", w)
		}
	}},
	{"past its deadline takes nothing", func(s *shelf) {
		s.load(10)
		s.deduct(1)
		s.unchanged(func() {
			ctx, cancel := context.WithDeadline(s.ctx, time.Now().Add(-time.Second))
			defer cancel()
			d, err := s.repo.Deduct(ctx, s.request(1))
			fails(s.t, err, inventory.ErrUnavailable)
			assert.Zero(s.t, d)
		})
	}},
	{"keeps attempts of two SKUs apart", func(s *shelf) {
		other := s.another()
		s.load(10)
		other.load(10)
		r := s.request(3)
		_, err := s.repo.Deduct(s.ctx, r)
		require.NoError(s.t, err)
		r.SKU, r.Quantity = other.sku, 4
		_, err = s.repo.Deduct(s.ctx, r)
		require.NoError(s.t, err)
		s.counts(3, 3)
		other.counts(4, 4)
		other.audit()
	}},
	{"takes any name", func(s *shelf) {
		names := []string{
			"a:b:c", "d:1", "{tag}", "}{", "%7B", "%", "{", "a b", " ", "*", "[a-z]?", "taken", "seq", "0", "-1",
			`"'\`, "ü☃𝄞", strings.Repeat("x", inventory.MaxIDBytes), strings.Repeat("☃", inventory.MaxIDBytes/3),
		}
		var want []inventory.Deduction
		for i, name := range names {
			// With a limit the customer is on record too, without one not.
			s.terms.CustomerLimit = int64(i%2) * 1000
			if i == 0 {
				s.load(1000)
			} else {
				s.push(1000)
			}
			r := s.request(2)
			r.Attempt, r.OrderID, r.Customer = name, name, names[len(names)-1-i]
			d, err := s.repo.Deduct(s.ctx, r)
			require.NoError(s.t, err, "%q", name)
			assert.Equal(s.t, name, d.Attempt)
			assert.Equal(s.t, name, d.OrderID)
			again, err := s.repo.Deduct(s.ctx, r)
			require.NoError(s.t, err, "%q", name)
			sameDeduction(s.t, d, again)
			want = append(want, d)
		}
		sameDeductions(s.t, want, s.unsettled())
		half := len(want) / 2
		s.settle(want[:half]...)
		s.restore(want[half:]...)
		s.counts(int64(2*half), 0)
	}},
	{"takes from one to the most units", func(s *shelf) {
		s.load(inventory.MaxCapacity)
		s.deduct(1)
		s.settle(s.deduct(inventory.MaxQuantity))
		s.counts(inventory.MaxQuantity+1, 1)
		assert.Equal(s.t, int64(inventory.MaxCapacity-inventory.MaxQuantity-1), s.stock().Available())
	}},
}
