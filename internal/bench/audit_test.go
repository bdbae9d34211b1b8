package main

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
)

// careless looks and then takes, as two calls: many callers take the last unit.
type careless struct{ counter }

func (s *careless) call(ctx context.Context, _, _ int) (answer, error) {
	left, err := s.client.Get(ctx, counterKey).Int64()
	if err != nil || left <= 0 {
		return refused, err
	}
	return booked, s.client.DecrBy(ctx, counterKey, 1).Err()
}

// forgetful says yes without taking anything.
type forgetful struct{ counter }

func (s *forgetful) call(context.Context, int, int) (answer, error) { return booked, nil }

// miserly leaves one unit unsold.
type miserly struct{ seedRedis }

func (s *miserly) call(ctx context.Context, caller, n int) (answer, error) {
	if caller == 0 {
		return refused, nil
	}
	return s.seedRedis.call(ctx, caller, n)
}

func TestAuditCatches(t *testing.T) {
	on := startServers(t, "fsync=off")
	opened := func(of func(counter) contender) opener {
		return func(ctx context.Context, c *cell, capacity int64) (contender, error) {
			counter, err := openCounter(ctx, c, capacity)
			return of(counter), err
		}
	}
	for name, test := range map[string]struct {
		open opener
		want string
	}{
		"oversells": {opened(func(c counter) contender { return &careless{c} }), "oversold"},
		"forgets":   {opened(func(c counter) contender { return &forgetful{c} }), "oversold"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := measureCell(t.Context(), testSettings(), on, row{name: name, measure: sells(test.open)}, 4, true)
			require.ErrorContains(t, err, "to the last unit")
			require.ErrorContains(t, err, test.want)
		})
	}
	t.Run("loses", func(t *testing.T) {
		open := opened(func(c counter) contender { return &forgetful{c} })
		_, err := measureCell(t.Context(), testSettings(), on, row{name: "loses", measure: stores(open)}, 4, true)
		require.ErrorContains(t, err, "the store sold 0 units")
	})
	t.Run("refuses", func(t *testing.T) {
		open := opened(func(c counter) contender { return &miserly{seedRedis{c}} })
		_, err := measureCell(t.Context(), testSettings(), on, row{name: "refuses", measure: stores(open)}, 4, true)
		require.ErrorContains(t, err, "were told that all is sold")
	})
}

// What is wrong with the books of ours is found too.
func TestAuditOfOursCatches(t *testing.T) {
	t.Parallel()
	on := startServers(t, "fsync=off")
	for name, test := range map[string]struct{ plant, want string }{
		"a lost order":       {"delete from lastunit.orders where id = 'c0-0'", "lost"},
		"a stranger's order": {"update lastunit.orders set id = 'c9-0' where id = 'c0-0'", "its caller was not told so"},
		"a cancelled order":  {"update lastunit.orders set status = 'cancelled' where id = 'c0-0'", "not confirmed"},
		"a wrong counter":    {"update lastunit.skus set allocated = allocated + 1", "allocated"},
		"a wrong quantity":   {"update lastunit.orders set quantities = '{2}' where id = 'c0-0'", "the books differ"},
		"a lost movement":    {"delete from lastunit.movement_batches where 'c0-0' = any(order_ids)", "the books differ"},
	} {
		t.Run(name, func(t *testing.T) {
			open := func(ctx context.Context, c *cell, capacity int64) (contender, error) {
				s, err := openBook(ctx, c, capacity)
				if err != nil {
					return nil, err
				}
				return &planted{s.(*book), test.plant}, nil
			}
			_, err := measureCell(t.Context(), testSettings(), on, row{name: "book", measure: stores(open)}, 4, true)
			require.ErrorContains(t, err, test.want)
		})
	}
}

// planted is book, and then something goes wrong.
type planted struct {
	*book
	plant string
}

func (s *planted) audit(ctx context.Context, told *told) error {
	if err := s.book.audit(ctx, told); err != nil {
		return err
	}
	if _, err := s.pool.Exec(ctx, s.plant); err != nil {
		return err
	}
	s.patience = 0 // all is settled, so that nothing will mend this
	return s.book.audit(ctx, told)
}

func TestToldChecks(t *testing.T) {
	all := &told{Answers: [][]answer{{booked, refused}, {booked, repeated}}}
	require.NoError(t, all.checkUnits(2, 2))
	require.ErrorContains(t, all.checkUnits(1, 2), "oversold")
	require.ErrorContains(t, all.checkUnits(2, 3), "oversold")
	require.ErrorContains(t, all.checkUnits(2, 1), "were told")
	require.ErrorContains(t, all.checkUnits(3, 2), "all is sold")

	for want, ids := range map[string][]string{
		"":          {"c0-0", "c1-0"},
		"lost":      {"c0-0"},
		"twice":     {"c0-0", "c0-0"},
		"not told":  {"c0-0", "c0-1"},
		"any":       {"c0-00"},
		"anybody":   {"x"},
		"was not":   {"c7-0"},
		"anybody m": {"c-1-0"},
	} {
		err := all.checkOrders(func(yield func(string) error) error {
			for _, id := range ids {
				if err := yield(id); err != nil {
					return err
				}
			}
			return nil
		})
		if want == "" {
			require.NoError(t, err)
		} else {
			require.ErrorContains(t, err, want)
		}
	}
}

func TestZipfOrder(t *testing.T) {
	again := zipfOrder(3, 4)
	require.Equal(t, again, zipfOrder(3, 4))
	first := 0
	for n := range 1000 {
		lines := zipfOrder(1, n)
		require.Len(t, lines, zipfLines)
		seen := map[string]bool{}
		for _, line := range lines {
			require.False(t, seen[line.SKU])
			seen[line.SKU] = true
			if line.SKU == zipfNames[0] {
				first++
			}
		}
	}
	require.InDelta(t, 370, first, 60, "orders with the first SKU")
}
