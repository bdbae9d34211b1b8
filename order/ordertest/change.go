package ordertest

import (
	"fmt"
	"time"

	"github.com/lastunit/lastunit/order"
)

var everyAction = []order.Action{
	order.Confirm, order.ConfirmLate, order.Cancel, order.Void, order.Expire, order.Extend, order.Reclaim, order.Count,
}

var changeTests = []test{
	{"every action on every status, twice", func(s *shop) {
		for _, action := range everyAction {
			sku := s.sku("floor-"+string(action), 100)
			prefix := string(action) + "-"
			s.makeEvery(prefix, sku)
			allocated := s.counters(sku).Allocated
			for _, i := range everyStatus {
				want, wantErr := i.becomes(action)
				was, _ := s.store.Order(s.ctx, s.id(prefix+i.id))
				what := fmt.Sprintf("%s of the %s order", action, i.id)
				o, err := s.act(prefix+i.id, action)
				s.Equal(want, o.Status, what)
				if wantErr == nil {
					s.NoError(err, what)
				} else {
					s.ErrorIs(err, wantErr, what)
				}
				if was.Status.Live() && !o.Status.Live() {
					allocated--
				} else if !was.Status.Live() && o.Status.Live() {
					allocated++
				}
				s.Equal(allocated, s.counters(sku).Allocated, what)
				if i.status != "" {
					if want == i.status {
						s.True(o.ChangedAt.Equal(was.ChangedAt), "%s: its status did not change", what)
					} else {
						s.False(o.ChangedAt.Before(was.ChangedAt), what)
					}
					s.True(o.CreatedAt.Equal(was.CreatedAt), what)
					s.True(o.ExpiresAt.Equal(was.ExpiresAt) || action == order.Extend && o.Status == order.Held, "%s: the hold's end stays", what)
				}
				if want == "" {
					s.notThere(prefix + i.id)
					continue
				}
				stored, err := s.store.Order(s.ctx, o.ID)
				s.NoError(err)
				s.sameOrder(o, stored)

				before, moved := s.counters(sku), len(s.movements(sku))
				again, err := s.act(prefix+i.id, action)
				if wantErr == nil {
					s.NoError(err, "%s, again", what)
				} else {
					s.ErrorIs(err, wantErr, "%s, again", what)
				}
				if action == order.Extend && want == order.Held {
					s.False(again.ExpiresAt.Before(o.ExpiresAt))
					continue
				}
				s.sameOrder(o, again)
				s.Equal(before, s.counters(sku), "%s, again", what)
				s.Len(s.movements(sku), moved, "%s, again", what)
			}
			for _, id := range []string{"over", "held"} {
				s.cancel(prefix + id)
			}
		}
	}},
	{"confirm", func(s *shop) {
		sku := s.sku("floor", 10)
		was := s.hold(later, s.deducted("1", line(sku, 3)))
		before := s.counters(sku)
		o := s.done("1", order.Confirm)
		s.Equal(order.Confirmed, o.Status)
		s.True(o.ExpiresAt.Equal(was.ExpiresAt))
		s.Equal(before, s.counters(sku), "the units were sold before")
		tallies, err := s.store.Tally(s.ctx, sku)
		s.NoError(err)
		s.Zero(tallies[0].Held)
		s.Equal(int64(3), tallies[0].Confirmed)
		s.kinds(sku, order.MovedOnSale, order.MovedHeld, order.MovedConfirmed)
	}},
	{"confirm too late", func(s *shop) {
		a, b := s.sku("a", 10), s.sku("b", 2)
		o := s.hold(soon, s.deducted("1", line(a, 3), line(b, 2)))
		s.past(a, o.ExpiresAt)
		before := s.counters(a)
		for _, action := range []order.Action{order.Confirm, order.Extend} {
			still, err := s.act("1", action)
			s.expired(err, o, 7, 0)
			s.sameOrder(o, still)
		}
		s.Equal(before, s.counters(a))

		ended := s.expire(o)
		for _, action := range []order.Action{order.Confirm, order.ConfirmLate, order.Extend} {
			still, err := s.act("1", action)
			s.expired(err, o, 10, 2)
			s.sameOrder(ended, still)
		}
		s.book(s.direct("2", line(a, 10)))
		s.adjust(a, order.SetCapacity, 4)
		_, err := s.act("1", order.Confirm)
		s.expired(err, o, 0, 2)
		s.adjust(a, order.SetCapacity, 10)
	}},
	{"confirm late", func(s *shop) {
		sku := s.sku("floor", 10)
		o := s.hold(soon, s.deducted("1", line(sku, 3)))
		s.past(sku, o.ExpiresAt)
		s.Equal(order.Confirmed, s.done("1", order.ConfirmLate).Status)
		s.Equal(order.Confirmed, s.done("1", order.Expire).Status, "nothing expires any more")
		s.Equal(int64(3), s.counters(sku).Allocated)
	}},
	{"expire", func(s *shop) {
		sku := s.sku("floor", 10)
		early := s.hold(later, s.deducted("early", line(sku, 1)))
		s.sameOrder(early, s.done("early", order.Expire))
		was := s.hold(soon, s.deducted("1", line(sku, 3)))
		before := s.counters(sku)
		o := s.expire(was)
		s.False(o.ChangedAt.Before(was.ExpiresAt), "no sooner")
		after := s.counters(sku)
		s.Equal(int64(1), after.Allocated)
		s.Equal(before.Version+1, after.Version)
		s.Equal(before.Supply().Units+3, after.Supply().Units)
		s.Equal(before.Admitted, after.Admitted, "Redis took them, and keeps them as taken")
		s.kinds(sku, order.MovedOnSale, order.MovedHeld, order.MovedHeld, order.MovedExpired)
		s.Equal(order.VerdictExisting, s.one(held(s.direct("1", line(sku, 3)), later)).Verdict, "its ID books nothing any more")
	}},
	{"expire what is over for so long", func(s *shop) {
		sku := s.sku("floor", 10)
		o := s.hold(soon, s.deducted("1", line(sku, 2)))
		s.past(sku, o.ExpiresAt)
		answers, _ := s.change(order.Change{ID: o.ID, Action: order.Expire, Hold: later})
		s.NoError(answers[0].Err)
		s.Equal(order.Held, answers[0].Order.Status, "not for so long")
		s.past(sku, o.ExpiresAt.Add(soon))
		answers, _ = s.change(order.Change{ID: o.ID, Action: order.Expire, Hold: soon})
		s.NoError(answers[0].Err)
		s.Equal(order.Expired, answers[0].Order.Status)
		s.True(o.ExpiresAt.Equal(answers[0].Order.ExpiresAt))
		s.Zero(s.counters(sku).Allocated)
	}},
	{"extend", func(s *shop) {
		sku := s.sku("floor", 10)
		was := s.hold(later, s.deducted("1", line(sku, 3)))
		before, moved := s.counters(sku), len(s.movements(sku))
		answers, _ := s.change(order.Change{ID: was.ID, Action: order.Extend, Hold: time.Minute})
		s.NoError(answers[0].Err)
		s.sameOrder(was, answers[0].Order) // it lasts longer anyway
		start := s.now(sku)
		answers, _ = s.change(order.Change{ID: was.ID, Action: order.Extend, Hold: order.MaxHold})
		s.NoError(answers[0].Err)
		o := answers[0].Order
		s.False(o.ExpiresAt.Before(start.Add(order.MaxHold-time.Millisecond)), "from now on")
		s.False(o.ExpiresAt.After(s.now(sku).Add(order.MaxHold+time.Millisecond)), "from now on")
		s.True(o.ChangedAt.Equal(was.ChangedAt))
		s.Equal(before, s.counters(sku))
		s.Len(s.movements(sku), moved)
	}},
	{"an extended hold lasts", func(s *shop) {
		sku := s.sku("floor", 100)
		o, id := s.extended(sku, later)
		s.sameOrder(o, s.done(id, order.Expire)) // its first time is over
		s.Equal(order.Confirmed, s.done(id, order.Confirm).Status)
	}},
	{"reclaim", func(s *shop) {
		a, b := s.sku("a", 10), s.sku("b", 10)
		o := s.hold(soon, s.deducted("1", line(a, 3), line(b, 1)))
		s.expire(o)
		s.book(s.direct("other", line(a, 7)))
		before := s.counters(a)
		reclaimed := s.done("1", order.Reclaim)
		s.Equal(order.Confirmed, reclaimed.Status)
		after := s.counters(a)
		s.Zero(after.Left())
		s.Equal(before.Version+1, after.Version)
		s.Equal(before.Admitted, after.Admitted)
		s.Equal(before.Supply().Units-3, after.Supply().Units, "without Redis")
		s.Equal(int64(1), s.counters(b).Allocated)
		s.kinds(b, order.MovedOnSale, order.MovedHeld, order.MovedExpired, order.MovedReclaimed)
		s.cancel("1")
		s.Equal(int64(3), s.counters(a).Left())
	}},
	{"reclaim what is held", func(s *shop) {
		sku := s.sku("floor", 3)
		over := s.hold(soon, s.deducted("over", line(sku, 1)))
		s.hold(later, s.deducted("held", line(sku, 2)))
		s.past(sku, over.ExpiresAt)
		before := s.counters(sku)
		s.Equal(order.Confirmed, s.done("over", order.Reclaim).Status)
		s.Equal(order.Confirmed, s.done("held", order.Reclaim).Status)
		s.Equal(before, s.counters(sku), "they have their units")
		s.kinds(sku, order.MovedOnSale, order.MovedHeld, order.MovedHeld, order.MovedConfirmed, order.MovedConfirmed)
	}},
	{"reclaim what is sold out", func(s *shop) {
		a, b := s.sku("a", 10), s.sku("b", 10)
		o := s.expire(s.hold(soon, s.deducted("1", line(a, 3), line(b, 3))))
		s.book(s.direct("other", line(b, 8)))
		before := s.counters(a)
		still, err := s.act("1", order.Reclaim)
		s.soldOut(err, b, 3, 2)
		s.sameOrder(o, still)
		s.Equal(before, s.counters(a), "all or nothing")
		s.adjust(b, order.SetCapacity, 5)
		_, err = s.act("1", order.Reclaim)
		s.soldOut(err, b, 3, 0)
		s.adjust(b, order.SetCapacity, 11)
		s.Equal(order.Confirmed, s.done("1", order.Reclaim).Status)
	}},
	{"one after the other", func(s *shop) {
		sku := s.sku("floor", 2)
		first := s.hold(soon, s.direct("1", line(sku, 1)))
		second := s.hold(soon, s.direct("2", line(sku, 1)))
		s.expire(first)
		s.expire(second)
		s.book(s.direct("3", line(sku, 1)))
		// One unit is left for two.
		answers, counters := s.change(
			order.Change{ID: first.ID, Action: order.Reclaim}, order.Change{ID: second.ID, Action: order.Reclaim},
		)
		s.NoError(answers[0].Err)
		s.soldOut(answers[1].Err, sku, 1, 0)
		s.Zero(counters[0].Left())
		// What the first of them gives back, the second takes.
		answers, _ = s.change(
			order.Change{ID: s.id("3"), Action: order.Cancel}, order.Change{ID: second.ID, Action: order.Reclaim},
		)
		s.NoError(answers[0].Err)
		s.NoError(answers[1].Err)
		s.Equal(order.Confirmed, answers[1].Order.Status)
		s.Zero(s.counters(sku).Left())
	}},
	{"one order twice in a call", func(s *shop) {
		sku := s.sku("floor", 10)
		for _, id := range []string{"1", "2", "3", "4"} {
			s.hold(later, s.direct(id, line(sku, 1)))
		}
		answers, _ := s.change(
			order.Change{ID: s.id("1"), Action: order.Confirm}, order.Change{ID: s.id("1"), Action: order.Cancel},
			order.Change{ID: s.id("2"), Action: order.Cancel}, order.Change{ID: s.id("2"), Action: order.Confirm},
			order.Change{ID: s.id("3"), Action: order.Cancel}, order.Change{ID: s.id("3"), Action: order.Cancel},
			order.Change{ID: s.id("new"), Action: order.Cancel}, order.Change{ID: s.id("new"), Action: order.Void},
			order.Change{ID: s.id("new"), Action: order.Reclaim},
		)
		want := []struct {
			status order.Status
			err    error
		}{
			{order.Confirmed, nil},
			{order.Cancelled, nil},
			{order.Cancelled, nil},
			{order.Cancelled, order.ErrCancelled},
			{order.Cancelled, nil},
			{order.Cancelled, nil},
			{"", order.ErrNotFound},
			{order.Cancelled, nil},
			{order.Cancelled, order.ErrCancelled},
		}
		for i, answer := range answers {
			s.Equal(want[i].status, answer.Order.Status, i)
			s.ErrorIs(answer.Err, want[i].err, i)
		}
		s.Equal(int64(1), s.counters(sku).Allocated)
	}},
	{"each its own answer", func(s *shop) {
		b, a := s.sku("b", 10), s.sku("a", 10)
		s.book(s.direct("booked", line(a, 1)))
		over := s.hold(soon, s.direct("over", line(b, 2)))
		s.hold(later, s.direct("held", line(a, 1), line(b, 1)))
		s.void("gone")
		s.past(b, over.ExpiresAt)
		answers, counters := s.change(
			order.Change{ID: s.id("held"), Action: order.Confirm}, order.Change{ID: s.id("nothing"), Action: order.Confirm},
			order.Change{ID: s.id("over"), Action: order.Confirm}, order.Change{ID: s.id("gone"), Action: order.Confirm},
			order.Change{ID: s.id("booked"), Action: order.Cancel},
		)
		s.NoError(answers[0].Err)
		s.ErrorIs(answers[1].Err, order.ErrNotFound)
		s.ErrorIs(answers[2].Err, order.ErrHoldExpired)
		s.ErrorIs(answers[3].Err, order.ErrCancelled)
		s.NoError(answers[4].Err)
		for _, i := range []int{1, 3} {
			var of *order.OrderError
			s.ErrorAs(answers[i].Err, &of)
			s.Equal([]string{"", s.id("nothing"), "", s.id("gone")}[i], of.ID)
		}
		s.Equal([]order.Counters{s.counters(a), s.counters(b)}, stills(counters))
		s.cancel("over")
	}},
	{"1000 at once, and none", func(s *shop) {
		sku := s.sku("floor", 2000)
		var commits []order.Commit
		var changes []order.Change
		for i := range order.MaxCommits {
			c := s.deducted(fmt.Sprint(i), line(sku, 1))
			c.Hold = later
			commits = append(commits, c)
			changes = append(changes, order.Change{ID: c.Order.ID, Action: []order.Action{order.Confirm, order.Cancel, order.Expire}[i%3]})
		}
		s.commit(commits...)
		answers, counters := s.change(changes...)
		for i, answer := range answers {
			s.NoError(answer.Err)
			s.Equal([]order.Status{order.Confirmed, order.Cancelled, order.Held}[i%3], answer.Order.Status)
		}
		s.Equal(int64(667), counters[0].Allocated)
		answers, counters = s.change()
		s.Empty(answers)
		s.Empty(counters)
	}},
	{"what is returned is a copy", func(s *shop) {
		sku := s.sku("floor", 10)
		s.hold(soon, s.direct("1", line(sku, 1)))
		s.done("1", order.Count).Lines[0].Quantity = 5
		s.until("it becomes due", func() bool {
			orders, err := s.store.Due(s.ctx, later, order.MaxCommits)
			s.NoError(err)
			for _, o := range orders {
				o.Lines[0].Quantity = 5
			}
			return len(orders) > 0
		})
		s.Equal([]order.Line{line(sku, 1)}, s.done("1", order.Cancel).Lines)
	}},
	{"nobody's transaction, nothing uncounted", func(s *shop) {
		sku := s.sku("floor", 10)
		s.hold(later, s.direct("1", line(sku, 1)))
		s.cancel("1")
		ids, err := s.store.Uncounted(s.ctx, "", 10)
		s.NoError(err)
		s.Empty(ids)
	}},
}

var cancelHoldTests = []test{
	{"a hold", func(s *shop) {
		sku := s.sku("floor", 10)
		was := s.hold(later, s.deducted("1", line(sku, 3)))
		before := s.counters(sku)
		o, counters := s.cancel("1")
		s.Equal(order.Cancelled, o.Status)
		s.True(o.ExpiresAt.Equal(was.ExpiresAt))
		s.Equal(before.Version+1, counters[0].Version)
		s.Zero(counters[0].Allocated)
		s.kinds(sku, order.MovedOnSale, order.MovedHeld, order.MovedCancelled)
	}},
	{"an expired order, for good", func(s *shop) {
		sku := s.sku("floor", 10)
		for i, action := range []order.Action{order.Cancel, order.Void} {
			id := fmt.Sprint(i)
			o := s.expire(s.hold(soon, s.deducted(id, line(sku, 3))))
			before, moved := s.counters(sku), s.movements(sku)
			gone, _ := s.cancelBy(action, id)
			s.Equal(order.Cancelled, gone.Status)
			s.Equal(o.Lines, gone.Lines)
			s.True(gone.ExpiresAt.Equal(o.ExpiresAt))
			s.False(gone.ChangedAt.Before(o.ChangedAt))
			s.Equal(before, s.counters(sku), "its units were back already")
			s.Equal(moved, s.movements(sku))
			for _, late := range []order.Action{order.Reclaim, order.Confirm, order.ConfirmLate, order.Extend} {
				_, err := s.act(id, late)
				s.ErrorIs(err, order.ErrCancelled, late)
			}
			s.Equal(order.VerdictExisting, s.one(held(s.direct(id, line(sku, 3)), later)).Verdict)
		}
	}},
	{"what was reclaimed", func(s *shop) {
		sku := s.sku("floor", 10)
		s.expire(s.hold(soon, s.deducted("1", line(sku, 3))))
		s.done("1", order.Reclaim)
		s.cancel("1")
		s.Zero(s.counters(sku).Allocated)
		s.kinds(sku, order.MovedOnSale, order.MovedHeld, order.MovedExpired, order.MovedReclaimed, order.MovedCancelled)
		_, err := s.act("1", order.Reclaim)
		s.ErrorIs(err, order.ErrCancelled)
	}},
}
