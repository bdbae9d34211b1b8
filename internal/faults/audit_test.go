package faults_test

import (
	"context"
	"fmt"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/booking"
	"github.com/lastunit/lastunit/order"
)

// exact waits until the books are exact: the two sides equal, and nothing unsettled.
func (s *sale) exact() {
	s.t.Helper()
	eventually(s.t, func() error {
		differences, err := s.shops[0].ReconcileAll(context.Background(), booking.DryRun)
		if err == nil && len(differences) > 0 {
			err = fmt.Errorf("the two sides differ: %+v", differences)
		}
		return err
	})
}

// audit checks the books after a sale whose demand was above the capacity.
func (s *sale) audit() {
	s.t.Helper()
	findings := s.findings()
	if sold := s.sold(); sold != s.capacity {
		findings = append(findings, fmt.Sprintf("%d units sold, want all %d", sold, s.capacity))
	}
	assert.Empty(s.t, findings, "the audit")
	s.t.Logf("%s; watched %d times", s.told, s.watch.looks())
}

// differences are what the first service finds between the two sides. It is asked until it
// answers: its statements may be bound by a time that a busy machine does not keep.
func (s *sale) differences() (differences []booking.Difference) {
	s.t.Helper()
	eventually(s.t, func() (err error) {
		differences, err = s.shops[0].ReconcileAll(context.Background(), booking.DryRun)
		return err
	})
	return differences
}

// findings are what is wrong with the books, other than how much was sold: nothing, if
// all is well. The sale is over when it is called, and all callers have an answer.
func (s *sale) findings() []string {
	s.t.Helper()
	found := s.watch.end()
	complain := func(format string, arguments ...any) { found = append(found, fmt.Sprintf(format, arguments...)) }
	for _, difference := range s.differences() {
		complain("the two sides differ: %+v", difference)
	}
	s.told.mu.Lock()
	defer s.told.mu.Unlock()
	found = append(found, s.told.unexpected...)
	there := s.all()
	for id, o := range s.told.booked {
		if is, ok := there[id]; !ok {
			complain("order %s was acknowledged and is not there", id)
		} else if !same(o, is) {
			complain("order %s was acknowledged as %+v and is %+v", id, o, is)
		}
	}
	for id, o := range there {
		if s.told.refused[id] && o.Status.Live() {
			complain("order %s was refused and is %s", id, o.Status)
		}
		if _, ok := s.told.booked[id]; !ok && o.Status.Live() {
			complain("order %s is %s and nobody was told", id, o.Status)
		}
	}
	return found
}

// all are the sale's orders by ID, as Postgres has them, without those of the probes.
func (s *sale) all() map[string]order.Order {
	s.t.Helper()
	found := make(map[string]order.Order)
	for query := (order.Query{Size: order.MaxPage}); ; {
		var page order.Page
		eventually(s.t, func() (err error) {
			page, err = s.orders.Orders(context.Background(), query)
			return err
		})
		for _, o := range page.Orders {
			if len(o.Lines) == 1 && o.Lines[0].SKU == probe {
				continue
			}
			if _, twice := found[o.ID]; twice {
				s.told.unexpected = append(s.told.unexpected, fmt.Sprintf("order %s is there twice", o.ID))
			}
			found[o.ID] = o
		}
		if query.After = page.Next; page.Next == "" {
			return found
		}
	}
}

// sold is how many units the live orders hold, as Postgres counts them.
func (s *sale) sold() int64 {
	s.t.Helper()
	var tallies []order.Tally
	eventually(s.t, func() (err error) {
		tallies, err = s.orders.Tally(context.Background(), floor)
		return err
	})
	require.Len(s.t, tallies, 1)
	return tallies[0].Held + tallies[0].Confirmed
}
