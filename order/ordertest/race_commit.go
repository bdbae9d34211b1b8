package ordertest

import (
	"fmt"
	"sync"

	"github.com/stretchr/testify/assert"

	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

var commitRaceTests = []test{
	{"no more than the capacity", func(s *shop) {
		a, b := s.sku("a", 50), s.sku("b", 30)
		var callers sync.WaitGroup
		for caller := range 8 {
			callers.Go(func() {
				for i := range 10 {
					lines := []order.Line{line(a, 1), line(b, 1)}
					if caller%2 == 0 {
						lines = lines[:1]
					}
					c := order.Commit{Order: order.Order{ID: s.id(fmt.Sprint(caller, "-", i)), Customer: "c-17", Lines: lines}}
					_, _, err := s.store.Commit(s.ctx, []order.Commit{c})
					assert.NoError(s.t, err)
				}
			})
		}
		callers.Wait()
		// 80 asked for a, 40 for b too: of these at most 30 fit.
		s.Zero(s.counters(a).Left())
		s.GreaterOrEqual(s.counters(b).Left(), int64(0))
	}},
	{"one order by many at once", func(s *shop) {
		sku := s.sku("floor", 10)
		var mu sync.Mutex
		count := make(map[order.Verdict]int)
		consumed := 0
		var callers sync.WaitGroup
		for range 16 {
			c := s.deducted("1", line(sku, 2))
			callers.Go(func() {
				outcomes, _, err := s.store.Commit(s.ctx, []order.Commit{c})
				if !assert.NoError(s.t, err) {
					return
				}
				mu.Lock()
				defer mu.Unlock()
				count[outcomes[0].Verdict]++
				if outcomes[0].Consumed[0] {
					consumed++
				}
			})
		}
		callers.Wait()
		s.Equal(map[order.Verdict]int{order.VerdictBooked: 1, order.VerdictExisting: 15}, count)
		s.Equal(1, consumed)
		s.Equal(int64(2), s.counters(sku).Allocated)
	}},
	{"a commit and its fence", func(s *shop) {
		// Whatever comes first, both must say the same of the deduction.
		sku := s.sku("floor", 1000)
		for i := range 30 {
			c := s.deducted(fmt.Sprint(i), line(sku, 1))
			var outcomes []order.Outcome
			var consumed []bool
			var callers sync.WaitGroup
			callers.Go(func() {
				var err error
				outcomes, _, err = s.store.Commit(s.ctx, []order.Commit{c})
				assert.NoError(s.t, err)
			})
			callers.Go(func() {
				var err error
				consumed, _, err = s.store.Fence(s.ctx, c.Deductions)
				assert.NoError(s.t, err)
			})
			callers.Wait()
			s.Len(outcomes, 1)
			s.Len(consumed, 1)
			if consumed[0] {
				s.Equal(order.VerdictBooked, outcomes[0].Verdict)
			} else {
				s.Equal(order.VerdictAgain, outcomes[0].Verdict)
			}
		}
	}},
	{"a commit and the void of its ID", func(s *shop) {
		sku := s.sku("floor", 1000)
		for i := range 30 {
			c := s.deducted(fmt.Sprint(i), line(sku, 1))
			var outcomes []order.Outcome
			var callers sync.WaitGroup
			callers.Go(func() {
				var err error
				outcomes, _, err = s.store.Commit(s.ctx, []order.Commit{c})
				assert.NoError(s.t, err)
			})
			callers.Go(func() {
				o, err := s.try(c.Order.ID, order.Void)
				assert.NoError(s.t, err)
				assert.Equal(s.t, order.Cancelled, o.Status)
			})
			callers.Wait()
			s.Len(outcomes, 1)
			s.Contains([]order.Verdict{order.VerdictBooked, order.VerdictExisting}, outcomes[0].Verdict)
			o, err := s.store.Order(s.ctx, c.Order.ID)
			s.NoError(err)
			s.Equal(order.Cancelled, o.Status, "whatever came first")
		}
		s.Zero(s.counters(sku).Allocated)
	}},
	{"epochs under commits", func(s *shop) {
		// The supply of a new epoch counts exactly what was sold before it.
		sku := s.sku("floor", 1000)
		stop := make(chan struct{})
		var callers sync.WaitGroup
		for caller := range 4 {
			callers.Go(func() {
				for i := 0; ; i++ {
					select {
					case <-stop:
						return
					default:
					}
					counters, err := s.store.Counters(s.ctx, sku)
					if !assert.NoError(s.t, err) || !assert.Len(s.t, counters, 1) {
						return
					}
					c := s.direct(fmt.Sprint(caller, "-", i), line(sku, 1))
					c.Deductions = []inventory.Deduction{s.deductIn(counters[0].Epoch, counters[0].Store, c.Order.ID, c.Order.Lines[0])}
					outcomes, _, err := s.store.Commit(s.ctx, []order.Commit{c})
					assert.NoError(s.t, err)
					assert.Contains(s.t, []order.Verdict{order.VerdictBooked, order.VerdictAgain, order.VerdictFull}, outcomes[0].Verdict)
				}
			})
		}
		for range 10 {
			c, _, err := s.store.BeginEpoch(s.ctx, sku, s.counters(sku).Epoch)
			s.NoError(err)
			s.Zero(c.Admitted)
			s.Equal(c.Left(), c.Supply().Units)
		}
		close(stop)
		callers.Wait()
		s.GreaterOrEqual(s.counters(sku).Left(), int64(0))
	}},
}
