package main

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// checkUnits compares the units that a store says it sold with what the callers
// were told, one unit for each order.
func (t *told) checkUnits(capacity, sold int64) error {
	told := t.count(booked)
	switch {
	case told > capacity:
		return fmt.Errorf("oversold: %d callers were told that they have one of %d units", told, capacity)
	case sold > capacity:
		return fmt.Errorf("oversold: the store sold %d of %d units", sold, capacity)
	case sold != told:
		return fmt.Errorf("the store sold %d units, and %d callers were told that they have one", sold, told)
	case t.count(refused) > 0 && sold != capacity:
		return fmt.Errorf("%d callers were told that all is sold, and %d of %d units are", t.count(refused), sold, capacity)
	}
	return nil
}

// checkOrders compares the orders that a store has with what the callers were
// told: each of them there once, and no other.
func (t *told) checkOrders(ids func(yield func(id string) error) error) error {
	seen := make([][]bool, len(t.Answers))
	for caller, answers := range t.Answers {
		seen[caller] = make([]bool, len(answers))
	}
	found := int64(0)
	err := ids(func(id string) error {
		caller, n, err := parseID(id)
		if err != nil {
			return err
		}
		if t.got(caller, n) != booked {
			return fmt.Errorf("the store has order %s, and its caller was not told so", id)
		}
		if seen[caller][n] {
			return fmt.Errorf("the store has order %s twice", id)
		}
		seen[caller][n] = true
		found++
		return nil
	})
	if told := t.count(booked); err == nil && found != told {
		return fmt.Errorf("lost: the store has %d orders, and %d callers were told that they have one", found, told)
	}
	return err
}

// idsFrom reads the IDs of orders by a query with one column.
func idsFrom(ctx context.Context, pool *pgxpool.Pool, query string) func(func(string) error) error {
	return func(yield func(string) error) error {
		rows, _ := pool.Query(ctx, query) //nolint:rowserrcheck // ForEachRow tells its error too
		var id string
		_, err := pgx.ForEachRow(rows, []any{&id}, func() error { return yield(id) })
		return err
	}
}

// number reads one number.
func number(ctx context.Context, pool *pgxpool.Pool, query string) (n int64, err error) {
	err = pool.QueryRow(ctx, query).Scan(&n)
	return n, err
}
