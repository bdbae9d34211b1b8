package soak_test

import (
	"context"
	"fmt"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/booking"
	"github.com/lastunit/lastunit/order"
)

// exact waits until the books are exact: no hold is left whose time is over, the two
// sides are equal, and nothing is unsettled.
func (s *soak) exact() {
	s.t.Helper()
	ctx := context.Background()
	// Within the capacity that was lowered last, nobody can be told to have too much.
	require.NoError(s.t, s.shops[0].SetCapacity(ctx, order.Adjustment{ID: "last", SKU: balcony, Units: 1_000_000}))
	s.eventually(func() error {
		page, err := s.shops[0].Orders(ctx, order.Query{Status: order.Held})
		if err == nil && len(page.Orders) > 0 {
			err = fmt.Errorf("%d orders are held", len(page.Orders))
		}
		return err
	})
	s.eventually(func() error {
		differences, err := s.shops[0].ReconcileAll(ctx, booking.DryRun)
		if err == nil && len(differences) > 0 {
			err = fmt.Errorf("the two sides differ: %+v", differences)
		}
		return err
	})
}

// audit checks the books, and every order, after the services have stopped.
func (s *soak) audit() {
	s.t.Helper()
	assert.Empty(s.t, s.buyers.wrong, "answers that nobody may get")
	ctx := context.Background()
	tallies, err := order.NewPostgres(s.pool).TallyAll(ctx)
	require.NoError(s.t, err)
	require.Len(s.t, tallies, len(skus))
	for _, tally := range tallies {
		c := tally.Counters
		assert.True(s.t, tally.Balanced(), "%+v", tally)
		assert.Zero(s.t, tally.Held, c.SKU)
		assert.LessOrEqual(s.t, tally.Confirmed, c.Capacity, "%s is oversold", c.SKU)
		stocks, err := s.inventory.Stock(ctx, c.SKU)
		require.NoError(s.t, err)
		assert.Zero(s.t, stocks[0].Unsettled, c.SKU)
		assert.Equal(s.t, c.Left(), stocks[0].Available(), "%s: Redis and Postgres", c.SKU)
		fields, err := s.client.HKeys(ctx, stockKey(c.SKU)).Result()
		require.NoError(s.t, err)
		assert.LessOrEqual(s.t, len(fields), countersInHash, "%s: %q", c.SKU, fields)
		if c.SKU == stage {
			assert.Equal(s.t, c.Capacity, tally.Confirmed, "the stage is sold to the last unit")
		}
	}
	s.auditOrders(ctx)
	for _, shop := range s.shops {
		s.eventually(func() error {
			// pgx closes a connection behind its caller where the context ended in the
			// middle of a query, as Run's did, and counts it as acquired until then.
			if n := shop.pool.Stat().AcquiredConns(); n > 0 {
				return fmt.Errorf("%d connections of the pgx pool are not given back", n)
			}
			if in := shop.client.PoolStats(); in.IdleConns != in.TotalConns {
				return fmt.Errorf("connections are not given back: %+v", in)
			}
			return nil
		})
	}
}

// countersInHash is how many fields a hash has at most without anything in flight: those
// that are always there, accepting and reopened.
const countersInHash = 14

// auditOrders compares every order with what its buyer was told.
func (s *soak) auditOrders(ctx context.Context) {
	s.t.Helper()
	found := make([]outcome, len(s.buyers.outcomes))
	for query := (order.Query{Size: order.MaxPage}); ; {
		page, err := order.NewPostgres(s.pool).Orders(ctx, query)
		require.NoError(s.t, err)
		for _, o := range page.Orders {
			var n int
			if _, err := fmt.Sscanf(o.ID, "order-%d", &n); err != nil {
				continue // of a crowd
			}
			assert.Equal(s.t, none, found[n], "%s is there twice", o.ID)
			found[n] = map[order.Status]outcome{order.Confirmed: confirmed, order.Cancelled: cancelled, order.Expired: expired}[o.Status]
		}
		if query.After = page.Next; page.Next == "" {
			break
		}
	}
	wrong := 0
	for n, told := range s.buyers.outcomes {
		if found[n] != told {
			if wrong++; wrong <= 20 {
				assert.Fail(s.t, "an order is not what its buyer was told", "order-%d: told %d, found %d", n, told, found[n])
			}
		}
	}
	assert.Zero(s.t, wrong, "orders that are not what their buyers were told")
	assert.Positive(s.t, time.Duration(s.buyers.sold.Load()))
}
