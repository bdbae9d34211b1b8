package ordertest

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/lastunit/lastunit/order"
)

// audited bounds what an audit reads one by one, so that a test of thousands of
// SKUs or orders ends.
const audited = 40

// audit checks the books, and that every order that was booked is there.
func (s *shop) audit() {
	ctx := context.Background() // the test's own has ended
	if len(s.skus) > 0 {
		tallies, err := s.store.Tally(ctx, s.skus...)
		if assert.NoError(s.t, err) {
			assert.Len(s.t, tallies, len(s.skus))
			checkTallies(s.t, tallies)
			for i, tally := range tallies {
				// No test leaves a capacity below what is sold.
				assert.LessOrEqual(s.t, tally.Counters.Allocated, tally.Counters.Capacity, tally.Counters.SKU)
				assert.True(s.t, tally.Ledger, "no test leaves the ledger off")
				if i < audited {
					s.auditMovements(ctx, tally)
				}
			}
		}
	}
	for id, booked := range s.booked {
		o, err := s.store.Order(ctx, id)
		if assert.NoError(s.t, err, "an order that was booked") {
			assert.Equal(s.t, booked.Lines, o.Lines)
			assert.Equal(s.t, booked.Draws, o.Draws)
			assert.Equal(s.t, booked.Customer, o.Customer)
			assert.True(s.t, booked.CreatedAt.Equal(o.CreatedAt), "created at")
			assert.True(s.t, booked.ExpiresAt.IsZero() == o.ExpiresAt.IsZero() && !o.ExpiresAt.Before(booked.ExpiresAt), "it expires no sooner")
		}
	}
}

// checkTallies checks what holds at every moment. Nothing is said of the
// capacity: it may be set below what is sold.
func checkTallies(t testing.TB, tallies []order.Tally) {
	t.Helper()
	for _, tally := range tallies {
		assert.True(t, tally.Balanced(), "%+v", tally)
		assert.GreaterOrEqual(t, tally.Counters.Admitted, int64(0), tally.Counters.SKU)
	}
}

// auditMovements checks that a SKU's movements are numbered without a gap, and
// add up to its counters, to what each order has of it, and to what the tally says.
func (s *shop) auditMovements(ctx context.Context, tally order.Tally) {
	sku := tally.Counters.SKU
	var capacity, allocated, number int64
	orders := make(map[string]int64)
	for {
		movements, err := s.store.Movements(ctx, sku, number, order.MaxMovements)
		if !assert.NoError(s.t, err) {
			return
		}
		for _, m := range movements {
			number++
			assert.Equal(s.t, sku, m.SKU)
			assert.Equal(s.t, number, m.Number, "%s: movements have no gaps", sku)
			assert.False(s.t, m.At.IsZero())
			switch what := account(m); what {
			case "capacity":
				capacity += m.Quantity
				assert.Empty(s.t, m.OrderID, "%+v", m)
			case "order":
				orders[m.OrderID] += m.Quantity
				allocated += m.Quantity
				assert.NotEmpty(s.t, m.OrderID, "%+v", m)
				given := m.Kind == order.MovedCancelled || m.Kind == order.MovedExpired
				assert.Equal(s.t, given, m.Quantity < 0, "%+v", m)
				assert.NotZero(s.t, m.Quantity, "%+v", m)
			case "recounted":
				allocated += m.Quantity
			case "none":
				assert.Positive(s.t, m.Quantity, "%+v", m)
				assert.NotEmpty(s.t, m.OrderID, "%+v", m)
			default:
				assert.Fail(s.t, "no such kind", "%+v", m)
			}
		}
		if len(movements) < order.MaxMovements {
			break
		}
	}
	assert.Equal(s.t, tally.Counters.Capacity, capacity, "%s: movements of the capacity", sku)
	assert.Equal(s.t, tally.Counters.Allocated, allocated, "%s: movements of what is allocated", sku)
	assert.Equal(s.t, tally.MovedCapacity, capacity, sku)
	assert.Equal(s.t, tally.MovedAllocated, allocated, sku)
	if s.silent {
		return
	}
	looked := 0
	for id, units := range orders {
		if looked++; looked > audited {
			return
		}
		o, err := s.store.Order(ctx, id)
		if !assert.NoError(s.t, err, "an order that moved units") {
			return
		}
		var has int64
		for _, unit := range o.Units() {
			if unit.SKU == sku && o.Status.Live() {
				has = unit.Quantity
			}
		}
		assert.Equal(s.t, has, units, "%s: movements of the %s order %s", sku, o.Status, id)
	}
}

// account is what the kind of a movement adds its quantity to.
func account(m order.Movement) string {
	switch m.Kind {
	case order.MovedOnSale, order.MovedCapacity, order.MovedRestock, order.MovedWriteOff:
		return "capacity"
	case order.MovedHeld, order.MovedBooked, order.MovedReclaimed, order.MovedCancelled, order.MovedExpired:
		return "order"
	case order.MovedRecounted:
		return "recounted"
	case order.MovedConfirmed:
		return "none"
	}
	return ""
}
