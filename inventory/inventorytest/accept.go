package inventorytest

import (
	"fmt"
	"strings"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/inventory"
)

var acceptCases = []testCase{
	{"keeps the order until the deduction is settled", func(s *shelf) {
		s.load(10)
		a, b := s.deduct(3), s.deduct(4)
		kept := s.accept("an order", a)
		s.counts(7, 7)
		sameDeductions(s.t, []inventory.Deduction{kept, b}, s.unsettled())
		s.settle(a) // whoever settles needs not know
		sameDeductions(s.t, []inventory.Deduction{b}, s.unsettled())
	}},
	{"repeated does nothing", func(s *shelf) {
		s.load(10)
		d := s.deduct(3)
		s.accept("an order", d)
		s.unchanged(func() { s.accept("an order", d, d) })
	}},
	{"with another order touches nothing", func(s *shelf) {
		s.load(10)
		d := s.deduct(3)
		s.accept("an order", d)
		s.unchanged(func() {
			_, err := s.repo.Accept(s.ctx, "another", d)
			failsInvalid(s.t, err)
		})
	}},
	{"keeps any bytes", func(s *shelf) {
		s.load(10)
		for _, order := range []string{"\x00", "a:b\r\n", "\xff\xfe", " ", strings.Repeat("€", inventory.MaxAccepted/3)} {
			s.accept(order, s.deduct(1))
		}
		found := make(map[string]bool)
		for _, d := range s.unsettled() {
			found[d.Accepted] = true
		}
		assert.Len(s.t, found, 5)
	}},
	{"keeps nothing beside what is not on record", func(s *shelf) {
		s.load(10)
		d, settled, restored := s.deduct(3), s.deduct(1), s.deduct(1)
		s.settle(settled)
		s.restore(restored)
		otherSeq, otherAttempt, older, newer, foreign, otherSKU := d, d, d, d, d, d
		otherSeq.Seq += 100
		otherAttempt.Attempt = "nobody"
		older.Epoch--
		newer.Epoch++
		foreign.Store += "-2"
		otherSKU.SKU += "-2"
		s.unchanged(func() {
			for _, d := range []inventory.Deduction{otherSeq, otherAttempt, older, newer, foreign, otherSKU, settled, restored} {
				s.keeps([]inventory.Keeping{inventory.Gone}, d)
			}
		})
		s.keeps([]inventory.Keeping{inventory.Gone, inventory.Gone, inventory.Kept, inventory.Gone}, older, settled, d, foreign)
	}},
	{"keeps nothing beside what counts for a limit", func(s *shelf) {
		s.terms.CustomerLimit = 5
		s.load(10)
		counted := s.deduct(1)
		s.terms.CustomerLimit = 0
		s.push(10)
		free := s.deduct(1)
		s.keeps([]inventory.Keeping{inventory.DecideFirst, inventory.Kept}, counted, free)
		s.restore(counted)
		assert.Len(s.t, s.unsettled(), 1)
	}},
	{"handles several SKUs", func(s *shelf) {
		other := s.another()
		s.load(10)
		other.load(10)
		a, b := s.deduct(1), other.deduct(2)
		s.keeps([]inventory.Keeping{inventory.Kept, inventory.Kept}, a, b)
		assert.Equal(s.t, "an order", other.unsettled()[0].Accepted)
		other.audit()
	}},
	{"handles many at once", func(s *shelf) {
		s.load(100)
		ds := s.deductMany(20)
		answer, err := s.repo.Accept(s.ctx, "an order", s.among(ds...)...)
		require.NoError(s.t, err)
		kept := 0
		for _, keeping := range answer.Keeping {
			if keeping == inventory.Kept {
				kept++
			}
		}
		assert.Equal(s.t, 20, kept)
		assert.Len(s.t, answer.Keeping, many+20)
		assert.False(s.t, answer.AllKept())
		for _, d := range s.unsettled() {
			assert.Equal(s.t, "an order", d.Accepted)
		}
	}},
	{"a repeated deduct finds it as before", func(s *shelf) {
		s.load(10)
		r := s.request(3)
		d, err := s.repo.Deduct(s.ctx, r)
		require.NoError(s.t, err)
		s.accept("an order", d)
		s.unchanged(func() {
			again, err := s.repo.Deduct(s.ctx, r)
			require.NoError(s.t, err)
			sameDeduction(s.t, d, again)
		})
	}},
	{"a restore that doesn't know of it passes it over", func(s *shelf) {
		s.load(10)
		plain, d := s.deduct(1), s.deduct(3)
		kept := s.accept("an order", d)
		s.restore(d, plain)
		s.counts(3, 3)
		s.unchanged(func() { s.restore(d) })
		s.restore(kept)
		s.counts(0, 0)
		s.unchanged(func() { s.keeps([]inventory.Keeping{inventory.Gone}, d) })
	}},
	{"a restore of it needs its identity all the same", func(s *shelf) {
		s.load(10)
		kept := s.accept("an order", s.deduct(3))
		other, older := kept, kept
		other.Seq++
		older.Epoch--
		s.unchanged(func() { s.restore(other, older) })
	}},
	{"a load deducts it anew", func(s *shelf) {
		s.load(10)
		s.settle(s.deduct(2))
		plain, a, b := s.deduct(1), s.deduct(3), s.deduct(4)
		s.accept("a", a)
		s.accept("b", b)
		old := s.current()
		s.epoch++
		s.sold = 0
		s.load(8)
		s.counts(7, 7)
		assert.EqualValues(s.t, 2, s.stock().Seq)
		byAttempt := make(map[string]inventory.Deduction)
		for _, d := range s.unsettled() {
			assert.Contains(s.t, []int64{1, 2}, d.Seq)
			byAttempt[d.Attempt] = d
		}
		require.Len(s.t, byAttempt, 2)
		for _, was := range []inventory.Deduction{a, b} {
			now := byAttempt[was.Attempt]
			assert.Equal(s.t, was.Quantity, now.Quantity)
			assert.Equal(s.t, was.OrderID, now.OrderID)
			assert.True(s.t, was.At.Equal(now.At), "it is as old as it was")
			assert.Equal(s.t, was.Version, now.Version, "it was granted from an older supply")
		}
		assert.Equal(s.t, "a", byAttempt[a.Attempt].Accepted)
		assert.Equal(s.t, "b", byAttempt[b.Attempt].Accepted)

		// The old identities are void, the new ones are deductions like any other.
		s.unchanged(func() {
			require.NoError(s.t, s.repo.Settle(s.ctx, old, a, b, plain))
			a.Accepted, b.Accepted = "a", "b"
			s.restore(a, b, plain)
			s.keeps([]inventory.Keeping{inventory.Gone}, plain)
		})
		again, err := s.repo.Deduct(s.ctx, s.again(a))
		require.NoError(s.t, err)
		assert.Equal(s.t, byAttempt[a.Attempt].Identity(), again.Identity())
		s.settle(byAttempt[a.Attempt])
		s.restore(byAttempt[b.Attempt])
		s.counts(3, 0)
	}},
	{"a load deducts it anew though the supply is not enough", func(s *shelf) {
		s.load(10)
		s.accept("a", s.deduct(3))
		s.accept("b", s.deduct(4))
		s.epoch++
		s.load(5)
		s.counts(7, 7)
		assert.EqualValues(s.t, -2, s.stock().Available())
		s.deductFails(1, inventory.ErrTryAgain, 0, 5)
		for _, d := range s.unsettled() {
			s.restore(d)
		}
		s.counts(0, 0)
	}},
	{"a load deducts many anew", func(s *shelf) {
		s.load(many)
		for i, d := range s.deductMany(many / 3) {
			s.accept(fmt.Sprint("order ", i), d)
		}
		s.deductMany(20)
		s.epoch++
		s.load(many)
		s.counts(many/3, many/3)
		seen := make(map[string]bool)
		for _, d := range s.unsettled() {
			seen[d.Accepted] = true
		}
		assert.Len(s.t, seen, many/3)
		s.unchanged(func() { require.NoError(s.t, s.repo.Load(s.ctx, s.current())) })
	}},
	{"a load of another store drops it", func(s *shelf) {
		s.load(10)
		s.accept("an order", s.deduct(3))
		s.store += "-2"
		s.epoch++
		s.load(10)
		s.counts(0, 0)
	}},
	{"checks the bounds", func(s *shelf) {
		s.load(10)
		d := s.deduct(1)
		bad := d
		bad.Seq = 0
		s.unchanged(func() {
			for _, order := range []string{"", strings.Repeat("x", inventory.MaxAccepted+1)} {
				_, err := s.repo.Accept(s.ctx, order, d)
				failsInvalid(s.t, err)
			}
			_, err := s.repo.Accept(s.ctx, "an order")
			failsInvalid(s.t, err)
			_, err = s.repo.Accept(s.ctx, "an order", d, bad)
			failsInvalid(s.t, err)
		})
	}},
}

// accept keeps an order beside deductions, and returns the first as it is listed.
func (s *shelf) accept(order string, ds ...inventory.Deduction) inventory.Deduction {
	s.t.Helper()
	answer, err := s.repo.Accept(s.ctx, order, ds...)
	require.NoError(s.t, err)
	require.Len(s.t, answer.Keeping, len(ds))
	require.True(s.t, answer.AllKept(), "%v", answer)
	d := ds[0]
	d.Accepted = order
	return d
}

// keeps asserts what becomes of an order beside each of the deductions.
func (s *shelf) keeps(want []inventory.Keeping, ds ...inventory.Deduction) {
	s.t.Helper()
	answer, err := s.repo.Accept(s.ctx, "an order", ds...)
	require.NoError(s.t, err)
	assert.Equal(s.t, want, answer.Keeping)
}

// again is the request of a deduction.
func (s *shelf) again(d inventory.Deduction) inventory.Request {
	return inventory.Request{
		SKU: d.SKU, Store: d.Store, Attempt: d.Attempt, OrderID: d.OrderID, Customer: "carol", Quantity: d.Quantity,
	}
}
