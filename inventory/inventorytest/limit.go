package inventorytest

import (
	"strings"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/inventory"
)

// of is a request of a customer.
func (s *shelf) of(customer string, quantity int64) inventory.Request {
	r := s.request(quantity)
	r.Customer = customer
	return r
}

// deductOf deducts for a customer.
func (s *shelf) deductOf(customer string, quantity int64) inventory.Deduction {
	s.t.Helper()
	d, err := s.repo.Deduct(s.ctx, s.of(customer, quantity))
	require.NoError(s.t, err)
	return d
}

// limited asserts that a request is refused by the customer's limit.
func (s *shelf) limited(r inventory.Request, limit, inFlight int64) {
	s.t.Helper()
	s.unchanged(func() {
		s.t.Helper()
		d, err := s.repo.Deduct(s.ctx, r)
		want := inventory.ErrTryAgain
		if r.Quantity > limit {
			want = inventory.ErrLimitExceeded
		}
		fails(s.t, err, want)
		assert.Zero(s.t, d)
		var exceeded *inventory.LimitError
		require.ErrorAs(s.t, err, &exceeded)
		assert.Equal(s.t, inventory.LimitError{
			SKU: s.sku, Limit: limit, Requested: r.Quantity, InFlight: inFlight, Unsettled: s.stock().Unsettled,
			Epoch: s.epoch, Version: s.version,
		}, *exceeded)
	})
}

// deductLimited is limited for the customer of most requests.
func (s *shelf) deductLimited(quantity, limit, inFlight int64) {
	s.t.Helper()
	s.limited(s.request(quantity), limit, inFlight)
}

// limit pushes a supply with another customer's limit.
func (s *shelf) limit(units int64) {
	s.t.Helper()
	s.on(inventory.Terms{CustomerLimit: units})
}

// full asserts how many units of the limit are in flight, by what is refused
// and what is not.
func (s *shelf) full(customer string, limit, inFlight int64) {
	s.t.Helper()
	s.limited(s.of(customer, limit-inFlight+1), limit, inFlight)
	if inFlight < limit {
		s.restore(s.deductOf(customer, limit-inFlight))
	}
}

var limitCases = []testCase{
	{"counts what is in flight", func(s *shelf) {
		s.terms.CustomerLimit = 5
		s.load(100)
		s.full("carol", 5, 0)
		s.deduct(2)
		s.full("carol", 5, 2)
		s.deduct(1)
		s.full("carol", 5, 3)
		s.deduct(2)
		s.full("carol", 5, 5)
		s.counts(5, 5)
	}},
	{"is definite only without what is in flight", func(s *shelf) {
		s.terms.CustomerLimit = 5
		s.load(100)
		s.deductLimited(6, 5, 0)
		s.deduct(1)
		s.deductLimited(5, 5, 1)
		s.deductLimited(6, 5, 1)
	}},
	{"of 0 is none", func(s *shelf) {
		s.load(inventory.MaxCapacity)
		s.deduct(inventory.MaxQuantity)
		s.deduct(inventory.MaxQuantity)
		s.counts(2*inventory.MaxQuantity, 2*inventory.MaxQuantity)
	}},
	{"of the most units", func(s *shelf) {
		s.terms.CustomerLimit = inventory.MaxQuantity
		s.load(inventory.MaxCapacity)
		s.deduct(inventory.MaxQuantity)
		s.deductLimited(1, inventory.MaxQuantity, inventory.MaxQuantity)
		s.deductLimited(inventory.MaxQuantity, inventory.MaxQuantity, inventory.MaxQuantity)
	}},
	{"is each customer's own", func(s *shelf) {
		s.terms.CustomerLimit = 3
		s.load(100)
		s.deductOf("carol", 3)
		s.full("dave", 3, 0)
		s.deductOf("dave", 1)
		s.full("carol", 3, 3)
		s.full("dave", 3, 1)
	}},
	{"is each SKU's own", func(s *shelf) {
		other := s.another()
		other.terms.CustomerLimit, s.terms.CustomerLimit = 3, 3
		other.load(10)
		s.load(10)
		s.deduct(3)
		other.full("carol", 3, 0)
		other.deduct(2)
		s.full("carol", 3, 3)
		other.full("carol", 3, 2)
		other.audit()
	}},
	{"gets back what is settled, once", func(s *shelf) {
		s.terms.CustomerLimit = 6
		s.load(100)
		a, b, c := s.deduct(2), s.deduct(3), s.deduct(1)
		s.settle(a)
		s.full("carol", 6, 4)
		s.settle()
		require.NoError(s.t, s.repo.Settle(s.ctx, s.current(), a, a))
		s.full("carol", 6, 4)
		require.NoError(s.t, s.repo.Settle(s.ctx, s.current(), b, a, b))
		s.sold += b.Quantity
		s.full("carol", 6, 1)
		s.restore(a, b)
		s.full("carol", 6, 1)
		s.settle(c)
		s.full("carol", 6, 0)
	}},
	{"gets back what is restored, once", func(s *shelf) {
		s.terms.CustomerLimit = 6
		s.load(100)
		a, b, c := s.deduct(2), s.deduct(3), s.deduct(1)
		s.restore(a)
		s.full("carol", 6, 4)
		s.restore(a, a)
		s.full("carol", 6, 4)
		s.restore(b, a, b)
		s.full("carol", 6, 1)
		require.NoError(s.t, s.repo.Settle(s.ctx, s.current(), a, b))
		s.full("carol", 6, 1)
		s.restore(c)
		s.full("carol", 6, 0)
	}},
	{"gets nothing back for another identity", func(s *shelf) {
		s.terms.CustomerLimit = 6
		s.load(100)
		d := s.deduct(2)
		otherSeq, older, newer, foreign := d, d, d, d
		otherSeq.Seq++
		older.Epoch--
		newer.Epoch++
		foreign.Store += "-2"
		s.restore(otherSeq, older, newer, foreign)
		require.NoError(s.t, s.repo.Settle(s.ctx, s.current(), otherSeq, older, newer, foreign))
		s.full("carol", 6, 2)
	}},
	{"counts a replay once", func(s *shelf) {
		s.terms.CustomerLimit = 3
		s.load(100)
		r := s.request(2)
		first, err := s.repo.Deduct(s.ctx, r)
		require.NoError(s.t, err)
		s.unchanged(func() {
			for range 3 {
				again, err := s.repo.Deduct(s.ctx, r)
				require.NoError(s.t, err)
				sameDeduction(s.t, first, again)
			}
		})
		s.full("carol", 3, 2)
	}},
	{"does not count for what is on record", func(s *shelf) {
		s.terms.CustomerLimit = 3
		s.load(100)
		counted := s.request(3)
		a, err := s.repo.Deduct(s.ctx, counted)
		require.NoError(s.t, err)
		s.limit(0)
		uncounted := s.request(5)
		b, err := s.repo.Deduct(s.ctx, uncounted)
		require.NoError(s.t, err)
		for _, limit := range []int64{1, 0, 2} {
			s.limit(limit)
			s.unchanged(func() {
				again, err := s.repo.Deduct(s.ctx, counted)
				require.NoError(s.t, err)
				sameDeduction(s.t, a, again)
				again, err = s.repo.Deduct(s.ctx, uncounted)
				require.NoError(s.t, err)
				sameDeduction(s.t, b, again)
			})
		}
		// It was counted for this customer.
		counted.Customer = "dave"
		s.unchanged(func() {
			_, err := s.repo.Deduct(s.ctx, counted)
			failsInvalid(s.t, err)
		})
	}},
	{"is raised and lowered by a push", func(s *shelf) {
		s.terms.CustomerLimit = 2
		s.load(100)
		s.deduct(2)
		s.full("carol", 2, 2)
		s.limit(5)
		s.full("carol", 5, 2)
		d := s.deduct(3)
		s.limit(4)
		s.deductLimited(1, 4, 5)
		s.deductLimited(4, 4, 5)
		s.deductLimited(5, 4, 5)
		s.restore(d)
		s.full("carol", 4, 2)
		late := s.current()
		s.limit(7)
		require.NoError(s.t, s.repo.Push(s.ctx, late))
		s.full("carol", 7, 2)
	}},
	{"counts only what was deducted under a limit", func(s *shelf) {
		s.load(100)
		before := s.deduct(4)
		s.limit(3)
		s.full("carol", 3, 0)
		counted := s.deduct(1)
		s.limit(0)
		between := s.deduct(7)
		s.limit(3)
		s.full("carol", 3, 1)
		s.restore(before)
		s.settle(between)
		s.full("carol", 3, 1)
		s.limit(0)
		s.restore(counted)
		s.limit(3)
		s.full("carol", 3, 0)
	}},
	{"of old counters goes with them", func(s *shelf) {
		s.terms.CustomerLimit = 3
		s.load(100)
		old := s.deduct(3)
		s.epoch++
		s.load(100)
		s.full("carol", 3, 0)
		s.deduct(1)
		s.restore(old)
		s.full("carol", 3, 1)
	}},
	{"comes with a settle, which gives back first", func(s *shelf) {
		s.load(100)
		s.terms.CustomerLimit = 3
		s.supply(100)
		s.settle(s.deduct(1))
		s.full("carol", 3, 0)
	}},
	{"takes any customer", func(s *shelf) {
		names := []string{
			"a", "a:b", ":", "::1:", "1:a", "3:", "0", "-1", "%", "%25", "%d", "{tag}", "}{", " ", "*", "[a-z]?", "taken", "d:1",
			"c:a", `"'\`, "ü☃𝄞", strings.Repeat("x", inventory.MaxIDBytes), strings.Repeat(":", inventory.MaxIDBytes),
			strings.Repeat("☃", inventory.MaxIDBytes/3),
		}
		s.terms.CustomerLimit = 3
		s.load(1000)
		var all []inventory.Deduction
		for i, name := range names {
			s.full(name, 3, 0)
			r := s.of(name, 2)
			r.OrderID = names[len(names)-1-i]
			d, err := s.repo.Deduct(s.ctx, r)
			require.NoError(s.t, err, "%q", name)
			assert.Equal(s.t, r.OrderID, d.OrderID)
			again, err := s.repo.Deduct(s.ctx, r)
			require.NoError(s.t, err, "%q", name)
			sameDeduction(s.t, d, again)
			all = append(all, d)
		}
		for _, name := range names {
			s.full(name, 3, 2)
		}
		sameDeductions(s.t, all, s.unsettled())
		half := len(all) / 2
		s.settle(all[:half]...)
		s.restore(all[half:]...)
		for _, name := range names {
			s.full(name, 3, 0)
		}
	}},
	{"gets back many at once", func(s *shelf) {
		s.terms.CustomerLimit = 50
		s.load(1000)
		var carols, daves []inventory.Deduction
		for range 20 {
			carols = append(carols, s.deductOf("carol", 1))
			daves = append(daves, s.deductOf("dave", 2))
		}
		s.restore(s.among(append(carols[:10:10], daves[:10]...)...)...)
		s.full("carol", 50, 10)
		s.full("dave", 50, 20)
		s.sold += 10 + 20
		require.NoError(s.t, s.repo.Settle(s.ctx, s.current(), s.among(append(carols[10:], daves[10:]...)...)...))
		s.full("carol", 50, 0)
		s.full("dave", 50, 0)
	}},
	{"is told before the stock", func(s *shelf) {
		s.terms.CustomerLimit = 2
		s.load(1)
		s.deductLimited(3, 2, 0)
		s.deductFails(2, inventory.ErrSoldOut, 1, 0)
	}},
	{"is not touched by what is refused", func(s *shelf) {
		s.terms.CustomerLimit = 5
		s.load(1)
		s.deductFails(2, inventory.ErrSoldOut, 1, 0)
		s.deductFails(5, inventory.ErrSoldOut, 1, 0)
		s.push(100)
		s.full("carol", 5, 0)
		s.on(inventory.Terms{CustomerLimit: 5, Paused: true})
		s.deductShut(s.request(2), inventory.ErrPaused)
		s.on(inventory.Terms{CustomerLimit: 5})
		s.full("carol", 5, 0)
	}},
	{"counts for who is cleared", func(s *shelf) {
		s.terms.CustomerLimit = 2
		s.load(100)
		r := s.cleared(2)
		_, err := s.repo.Deduct(s.ctx, r)
		require.NoError(s.t, err)
		s.limited(s.cleared(1), 2, 2)
	}},
}
