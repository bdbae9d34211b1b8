package ordertest

import (
	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

func (s *shop) retire(sku string) order.Counters {
	s.t.Helper()
	c, err := s.store.Retire(s.ctx, sku)
	s.NoError(err)
	s.True(c.Retired())
	s.True(c.Paused)
	return c
}

// retired checks an error that names a SKU that was retired.
func (s *shop) retired(err error, sku string) {
	s.t.Helper()
	s.ErrorIs(err, order.ErrRetired)
	s.ErrorIs(err, inventory.ErrClosed)
	var of *order.SKUError
	s.ErrorAs(err, &of)
	s.Equal(sku, of.SKU)
}

var retireTests = []test{
	{"ends a SKU for good", func(s *shop) {
		a, b := s.sku("a", 10), s.sku("b", 10)
		s.book(s.deducted("1", line(a, 2)))
		hold := s.book(held(s.deducted("2", line(a, 3)), later))
		gone := s.expire(s.book(held(s.deducted("3", line(a, 1)), soon)))
		late := s.deducted("4", line(a, 1))
		before := s.counters(a)

		c := s.retire(a)
		s.Greater(c.Epoch, before.Epoch)
		s.Greater(c.Version, before.Version)
		s.Zero(c.Admitted)
		s.Equal(before.Allocated, c.Allocated)
		s.Equal(before.Capacity, c.Capacity)
		s.Equal(still(c), still(s.retire(a)), "once more is the same")

		// What was deducted before is void, and nothing new is booked.
		s.Equal(order.VerdictAgain, s.one(late).Verdict)
		for _, c := range []order.Commit{s.deducted("4", line(a, 1)), s.direct("4", line(a, 1)), s.direct("4", line(a, 1), line(b, 1))} {
			outcome := s.one(c)
			s.Equal(order.VerdictClosed, outcome.Verdict)
			s.retired(outcome.Err, a)
			s.Equal(order.Refusal{Why: order.WhyRetired, SKU: a}, outcome.Refusal(c.Order.Units()))
		}
		s.notThere("4")
		s.Equal(order.VerdictExisting, s.one(s.direct("1", line(a, 2))).Verdict, "what is there is found")

		// What is held can be confirmed; what came back is not taken again.
		_, err := s.try(hold.ID, order.Confirm)
		s.NoError(err)
		_, err = s.try(gone.ID, order.Reclaim)
		s.retired(err, a)
		s.cancel("1")
		s.Equal(int64(3), s.counters(a).Allocated)

		// Nothing brings it back.
		_, begun, err := s.store.BeginEpoch(s.ctx, a, c.Epoch)
		s.NoError(err)
		s.False(begun)
		_, err = s.store.SetPaused(s.ctx, a, false)
		s.retired(err, a)
		_, err = s.store.SetPaused(s.ctx, a, true)
		s.NoError(err)
		_, _, err = s.store.PutOnSale(s.ctx, order.Item{SKU: a, Capacity: 10})
		s.retired(err, a)
		s.True(s.counters(a).Paused)
		s.kinds(a, order.MovedOnSale, order.MovedBooked, order.MovedHeld, order.MovedHeld, order.MovedExpired, order.MovedConfirmed, order.MovedCancelled)
		s.book(s.direct("5", line(b, 1)))
		_, err = s.store.Retire(s.ctx, s.id("none"))
		s.ErrorIs(err, order.ErrUnknownSKU)
	}},
	{"ends what draws on it", func(s *shop) {
		hall := s.sku("hall", 10)
		item := order.Item{SKU: s.name + "regular", Capacity: 10, Draws: []order.Line{line(hall, 1)}}
		regular := s.item(item)
		s.retire(hall)
		outcome := s.one(s.deducted("1", line(regular, 1)))
		s.Equal(order.VerdictClosed, outcome.Verdict)
		s.retired(outcome.Err, hall)
		_, _, err := s.store.PutOnSale(s.ctx, item)
		s.NoError(err, "it is there as the item says")
		item.SKU = s.name + "new"
		_, _, err = s.store.PutOnSale(s.ctx, item)
		s.retired(err, hall)
	}},
	{"is left out of the background work once it is removed", func(s *shop) {
		a, b, on := s.sku("a", 10), s.sku("b", 10), s.sku("on", 10)
		scanned := func() (skus []string) {
			for after := s.name; ; {
				page, err := s.store.Scan(s.ctx, order.AllPartitions, after, 2)
				s.NoError(err)
				for _, c := range page {
					if after = c.SKU; len(after) < len(s.name) || after[:len(s.name)] != s.name {
						return skus
					}
					skus = append(skus, c.SKU)
				}
				if len(page) < 2 {
					return skus
				}
			}
		}
		s.retire(a)
		s.retire(b)
		s.Equal([]string{a, b, on}, scanned())
		s.NoError(s.store.Removed(s.ctx, a, on, s.id("none")))
		s.Equal([]string{b, on}, scanned(), "one that is on sale stays")
		s.NoError(s.store.Removed(s.ctx))
		s.NoError(s.store.Removed(s.ctx, b, a))
		s.Equal([]string{on}, scanned())
		s.True(s.counters(a).Retired())
	}},
	{"with bad arguments", func(s *shop) {
		for _, id := range badIDs {
			_, err := s.store.Retire(s.ctx, id)
			s.invalid(err, id)
			s.invalid(s.store.Removed(s.ctx, id), id)
		}
	}},
}
