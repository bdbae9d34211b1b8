package ordertest

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

// together runs callers at once, and waits for them.
func (s *shop) together(n int, call func(caller int)) {
	start := make(chan struct{})
	var callers sync.WaitGroup
	for caller := range n {
		callers.Go(func() {
			<-start
			call(caller)
		})
	}
	close(start)
	callers.Wait()
}

// try does one thing to an order, in any goroutine.
func (s *shop) try(id string, action order.Action) (order.Order, error) {
	c := order.Change{ID: id, Action: action}
	if action == order.Extend {
		c.Hold = later
	}
	// What is being changed at this moment is asked for again.
	for deadline := time.Now().Add(patience); ; {
		answers, _, err := s.store.Change(s.ctx, []order.Change{c})
		if err != nil {
			return order.Order{}, err
		}
		if !errors.Is(answers[0].Err, order.ErrBusy) || time.Now().After(deadline) {
			return answers[0].Order, answers[0].Err
		}
	}
}

// mustTry does one thing to an order, in any goroutine.
func (s *shop) mustTry(id string, action order.Action) {
	_, err := s.try(id, action)
	assert.NoError(s.t, err, "%s of %s", action, id)
}

// tryCommit commits one order that must be booked, in any goroutine.
func (s *shop) tryCommit(c order.Commit) {
	outcomes, _, err := s.store.Commit(s.ctx, []order.Commit{c})
	if assert.NoError(s.t, err) {
		assert.Equal(s.t, order.VerdictBooked, outcomes[0].Verdict)
	}
}

// contest lets actions meet on one order after the other. A short hold may run
// out in between. Who is refused is refused for one of the errors; the order ends
// in one of the statuses, or held if no time was over; and its units came back
// once or not at all.
func (s *shop) contest(hold time.Duration, actions []order.Action, errs []error, ends ...order.Status) {
	s.t.Helper()
	sku := s.sku("contest", 1000)
	var live int64
	for round := range 25 {
		o := s.hold(hold, s.deducted(fmt.Sprint(round), line(sku, 2)))
		if hold == soon {
			s.past(sku, o.ExpiresAt.Add(-2*time.Millisecond)) // it may be over in between
		}
		s.together(len(actions), func(caller int) {
			action := actions[caller]
			got, err := s.try(o.ID, action)
			if err != nil {
				ok := false
				for _, allowed := range errs {
					ok = ok || errors.Is(err, allowed)
				}
				assert.True(s.t, ok, "%s: %v", action, err)
				return
			}
			if action == order.Confirm { // who is told so relies on it
				assert.Equal(s.t, order.Confirmed, got.Status)
			}
		})
		ended, err := s.store.Order(s.ctx, o.ID)
		s.NoError(err)
		s.Contains(append(ends, order.Held), ended.Status)
		if ended.Status == order.Held { // its time was not over, or it was extended
			s.cancel(fmt.Sprint(round))
			ended.Status = order.Cancelled
		}
		if ended.Status.Live() {
			live += 2
		}
		s.Equal(live, s.counters(sku).Allocated)
		taken, given := 0, 0
		for _, m := range s.movements(sku) {
			if m.OrderID == o.ID {
				switch m.Kind {
				case order.MovedHeld, order.MovedReclaimed:
					taken++
				case order.MovedCancelled, order.MovedExpired:
					given++
				}
			}
		}
		want := 1
		if ended.Status.Live() {
			want = 0
		}
		s.Equal(want, given-(taken-1), "the units came back once")
	}
}

var changeRaceTests = []test{
	{"confirm and expire", func(s *shop) {
		s.contest(soon, []order.Action{order.Confirm, order.Expire, order.Confirm, order.Expire},
			[]error{order.ErrHoldExpired}, order.Confirmed, order.Expired)
	}},
	{"a late confirm and expire", func(s *shop) {
		s.contest(soon, []order.Action{order.ConfirmLate, order.Expire, order.Expire},
			[]error{order.ErrHoldExpired}, order.Confirmed, order.Expired)
	}},
	{"confirm and cancel", func(s *shop) {
		s.contest(later, []order.Action{order.Confirm, order.Cancel, order.Cancel, order.Confirm},
			[]error{order.ErrCancelled}, order.Cancelled)
	}},
	{"two expirers", func(s *shop) {
		s.contest(soon, []order.Action{order.Expire, order.Expire, order.Expire}, nil, order.Expired)
	}},
	{"extend and expire", func(s *shop) {
		s.contest(soon, []order.Action{order.Extend, order.Expire, order.Expire}, []error{order.ErrHoldExpired}, order.Expired)
	}},
	{"cancel and expire", func(s *shop) {
		s.contest(soon, []order.Action{order.Cancel, order.Expire, order.Void}, nil, order.Cancelled)
	}},
	{"reclaim and expire", func(s *shop) {
		s.contest(soon, []order.Action{order.Reclaim, order.Expire, order.Reclaim, order.Expire}, nil, order.Confirmed)
	}},
	{"a confirm that was told holds", func(s *shop) {
		// An expirer that comes at any time finds it confirmed.
		sku := s.sku("floor", 1000)
		for round := range 25 {
			id := fmt.Sprint(round)
			o := s.hold(soon, s.direct(id, line(sku, 1)))
			var confirmed, expired error
			s.together(2, func(caller int) {
				if caller == 0 {
					_, confirmed = s.try(o.ID, order.Confirm)
					return
				}
				_, expired = s.try(o.ID, order.Expire)
			})
			s.NoError(expired)
			s.past(sku, o.ExpiresAt)
			ended := s.done(id, order.Expire)
			if confirmed == nil {
				s.Equal(order.Confirmed, ended.Status)
			} else {
				s.ErrorIs(confirmed, order.ErrHoldExpired)
				s.Equal(order.Expired, ended.Status)
			}
		}
	}},
	{"many reclaim the last unit", func(s *shop) {
		sku := s.sku("floor", 3)
		for round := range 5 {
			var orders []order.Order
			for i := range 3 {
				orders = append(orders, s.hold(soon, s.direct(fmt.Sprint(round, "-", i), line(sku, 1))))
			}
			for _, o := range orders {
				s.expire(o)
			}
			s.book(s.direct(fmt.Sprint(round), line(sku, 2)))
			won := make([]bool, len(orders))
			s.together(len(orders), func(caller int) {
				_, err := s.try(orders[caller].ID, order.Reclaim)
				if won[caller] = err == nil; err != nil {
					assert.ErrorIs(s.t, err, inventory.ErrSoldOut)
				}
			})
			winners := 0
			for i := range won {
				if won[i] {
					winners++
					s.cancel(fmt.Sprint(round, "-", i))
				}
			}
			s.Equal(1, winners)
			s.cancel(fmt.Sprint(round))
		}
	}},
	{"changes of the same orders, in opposing order", func(s *shop) {
		a, b := s.sku("a", 1000), s.sku("b", 1000)
		var there []order.Change
		for i := range 20 {
			lines := [][]order.Line{{line(a, 1)}, {line(b, 1)}, {line(a, 1), line(b, 1)}}[i%3]
			o := s.hold(later, s.direct(fmt.Sprint(i), lines...))
			there = append(there, order.Change{ID: o.ID, Action: []order.Action{order.Confirm, order.Cancel}[i%2]})
		}
		back := slices.Clone(there)
		slices.Reverse(back)
		s.together(4, func(caller int) {
			for range 5 {
				answers, _, err := s.store.Change(s.ctx, [][]order.Change{there, back}[caller%2])
				assert.NoError(s.t, err)
				for _, answer := range answers {
					assert.NoError(s.t, answer.Err)
				}
			}
		})
	}},
	{"changes of what is looked through", func(s *shop) {
		// To look for what is due keeps nobody from changing it for long.
		sku := s.sku("floor", 1000)
		var orders []order.Order
		for i := range 30 {
			orders = append(orders, s.hold(soon, s.direct(fmt.Sprint(i), line(sku, 1))))
		}
		s.past(sku, orders[len(orders)-1].ExpiresAt)
		done := make(chan struct{})
		s.together(4, func(caller int) {
			if caller == 0 {
				defer close(done)
				for i, o := range orders {
					s.mustTry(o.ID, []order.Action{order.ConfirmLate, order.Cancel, order.Expire}[i%3])
				}
				return
			}
			for {
				select {
				case <-done:
					return
				default:
					_, err := s.store.Due(s.ctx, time.Millisecond, 10)
					assert.NoError(s.t, err)
				}
			}
		})
	}},
	{"who is due goes to one", func(s *shop) {
		s.aloneDue()
		sku := s.sku("floor", 1000)
		var last order.Order
		const n = 30
		for i := range n {
			last = s.hold(soon, s.direct(fmt.Sprint(i), line(sku, 1)))
		}
		s.past(sku, last.ExpiresAt)
		var mu sync.Mutex
		got := make(map[string]int)
		count := func() int { mu.Lock(); defer mu.Unlock(); return len(got) }
		deadline := time.Now().Add(patience)
		s.together(4, func(int) {
			for count() < n && assert.True(s.t, time.Now().Before(deadline)) {
				orders, err := s.store.Due(s.ctx, later, 3)
				if !assert.NoError(s.t, err) {
					return
				}
				for _, o := range orders {
					mu.Lock()
					got[o.ID]++
					mu.Unlock()
					_, err := s.try(o.ID, order.Expire)
					assert.NoError(s.t, err)
				}
			}
		})
		for id, times := range got {
			s.Equal(1, times, id)
		}
		s.Zero(s.counters(sku).Allocated)
	}},
}
