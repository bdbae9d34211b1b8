package inventorytest

import (
	"math"
	"strings"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/lastunit/lastunit/inventory"
)

// badIDs break the bounds of CheckID.
var badIDs = []string{
	"", strings.Repeat("x", inventory.MaxIDBytes+1), "a\x00b", "a\nb", "\x7f", "a\u0085b", "a\xffb", "\xc3", "\xed\xa0\x80",
}

// Each bound is broken on counters that are loaded, and nothing may change.
var boundsCases = []testCase{
	{"of a supply", func(s *shelf) {
		s.load(10)
		s.deduct(1)
		breaks := func(change func(*inventory.Supply)) {
			s.t.Helper()
			supply := s.current()
			supply.Version++
			change(&supply)
			s.unchanged(func() {
				failsInvalid(s.t, s.repo.Push(s.ctx, supply))
				failsInvalid(s.t, s.repo.Settle(s.ctx, supply))
				failsInvalid(s.t, s.repo.Load(s.ctx, supply))
			})
		}
		for _, id := range badIDs {
			breaks(func(supply *inventory.Supply) { supply.SKU = id })
			breaks(func(supply *inventory.Supply) { supply.Store = id })
		}
		for _, n := range append([]int64{0, -1, math.MinInt64}, tooHigh...) {
			breaks(func(supply *inventory.Supply) { supply.Version = n })
		}
		for _, n := range append([]int64{-1, math.MinInt64}, tooHigh...) {
			breaks(func(supply *inventory.Supply) { supply.Admitted = n })
		}
		s.unchanged(func() {
			for _, n := range append([]int64{0, -1, math.MinInt64}, tooHigh...) {
				supply := s.current()
				supply.Epoch = n
				failsInvalid(s.t, s.repo.Load(s.ctx, supply))
				failsInvalid(s.t, s.repo.Push(s.ctx, supply))
				failsInvalid(s.t, s.repo.Settle(s.ctx, supply))
			}
		})
	}},
	{"of terms", func(s *shelf) {
		s.load(10)
		other := s.another()
		breaks := func(field string, terms inventory.Terms) {
			s.t.Helper()
			supply := s.current()
			supply.Version++
			supply.Terms = terms
			s.unchanged(func() {
				for _, err := range []error{
					s.repo.Push(s.ctx, supply), s.repo.Settle(s.ctx, supply), s.repo.Load(s.ctx, other.supply(1), supply),
				} {
					failsInvalid(s.t, err)
					var invalid *inventory.InvalidError
					if assert.ErrorAs(s.t, err, &invalid) {
						assert.Equal(s.t, field, invalid.Field)
					}
				}
			})
		}
		for _, n := range append([]int64{-1, math.MinInt64, inventory.MaxQuantity + 1}, tooHigh...) {
			breaks("customer_limit", inventory.Terms{CustomerLimit: n})
		}
		now := time.Now()
		for _, at := range []time.Time{
			time.Unix(0, -1), time.Unix(-1, 0), time.Date(1, 1, 1, 0, 0, 0, 1, time.UTC), time.Date(-1, 1, 1, 0, 0, 0, 0, time.UTC),
			time.UnixMilli(bound).Add(1), time.UnixMilli(bound + 1), time.Unix(math.MaxInt64/2, 0),
		} {
			breaks("opens_at", inventory.Terms{OpensAt: at})
			breaks("closes_at", inventory.Terms{ClosesAt: at})
		}
		breaks("closes_at", inventory.Terms{OpensAt: now, ClosesAt: now})
		breaks("closes_at", inventory.Terms{OpensAt: now, ClosesAt: now.Add(-1)})
		assert.Equal(s.t, inventory.WhyMissing, other.stock().Why, "nothing of a list with a bad one is loaded")
		// The bounds themselves.
		s.terms = inventory.Terms{CustomerLimit: inventory.MaxQuantity, OpensAt: time.Unix(0, 0), ClosesAt: time.UnixMilli(bound)}
		s.push(10)
		s.deduct(1)
		s.terms = inventory.Terms{OpensAt: now, ClosesAt: now.Add(1)}
		s.push(10)
	}},
	{"of a request", func(s *shelf) {
		s.load(inventory.MaxCapacity)
		s.deduct(1)
		s.unchanged(func() {
			breaks := func(change func(*inventory.Request)) {
				s.t.Helper()
				r := s.request(1)
				change(&r)
				d, err := s.repo.Deduct(s.ctx, r)
				failsInvalid(s.t, err)
				assert.Zero(s.t, d)
			}
			for _, id := range badIDs {
				breaks(func(r *inventory.Request) { r.SKU = id })
				breaks(func(r *inventory.Request) { r.Store = id })
				breaks(func(r *inventory.Request) { r.Attempt = id })
				breaks(func(r *inventory.Request) { r.OrderID = id })
				breaks(func(r *inventory.Request) { r.Customer = id })
			}
			for _, n := range append([]int64{0, -1, math.MinInt64, inventory.MaxQuantity + 1}, tooHigh...) {
				breaks(func(r *inventory.Request) { r.Quantity = n })
			}
			for _, n := range append([]int64{-1, math.MinInt64}, tooHigh...) {
				breaks(func(r *inventory.Request) { r.Watermark.Epoch = n })
				breaks(func(r *inventory.Request) { r.Watermark.Seq = n })
			}
		})
	}},
	{"of a deduction", func(s *shelf) {
		s.load(10)
		d := s.deduct(1)
		breaks := func(change func(*inventory.Deduction)) {
			s.t.Helper()
			bad := d
			change(&bad)
			failsInvalid(s.t, s.repo.Settle(s.ctx, s.current(), d, bad))
			failsInvalid(s.t, s.repo.Restore(s.ctx, d, bad))
		}
		s.unchanged(func() {
			for _, id := range badIDs {
				breaks(func(d *inventory.Deduction) { d.SKU = id })
				breaks(func(d *inventory.Deduction) { d.Store = id })
				breaks(func(d *inventory.Deduction) { d.Attempt = id })
			}
			for _, n := range append([]int64{0, -1, math.MinInt64}, tooHigh...) {
				breaks(func(d *inventory.Deduction) { d.Epoch = n })
				breaks(func(d *inventory.Deduction) { d.Seq = n })
			}
		})
	}},
	{"of a list", func(s *shelf) {
		s.load(10)
		for _, id := range badIDs {
			_, err := s.repo.Unsettled(s.ctx, s.store, id, 0, 1)
			failsInvalid(s.t, err)
			_, err = s.repo.Unsettled(s.ctx, id, s.sku, 0, 1)
			failsInvalid(s.t, err)
			_, err = s.repo.Stock(s.ctx, s.sku, id)
			failsInvalid(s.t, err)
		}
		_, err := s.repo.Unsettled(s.ctx, s.store, s.sku, -time.Second, 1)
		failsInvalid(s.t, err)
		for _, limit := range []int{0, -1, math.MinInt} {
			_, err = s.repo.Unsettled(s.ctx, s.store, s.sku, 0, limit)
			failsInvalid(s.t, err)
		}
	}},
}
