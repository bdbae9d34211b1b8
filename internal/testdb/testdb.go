// Package testdb makes databases for tests that have the tables of package order, as
// Migrate leaves them. On a shared server each is a copy of one that was migrated, which
// takes a fraction of the work.
package testdb

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/lastunit/lastunit/internal/servertest"
	"github.com/lastunit/lastunit/order"
)

// New makes a database and returns its URL. It goes as servertest's do.
func New(t testing.TB, p *servertest.Postgres) (url string) {
	t.Helper()
	url = p.Filled(t, migrate)
	pool, err := pgxpool.New(context.Background(), url)
	if err != nil {
		t.Fatalf("no pool: %v", err)
	}
	defer pool.Close()
	rename(t, pool)
	return url
}

// Pool makes a database, and returns a pool on it that connect makes.
func Pool(t testing.TB, p *servertest.Postgres, connect func(t testing.TB, url string) *pgxpool.Pool) *pgxpool.Pool {
	t.Helper()
	pool := connect(t, p.Filled(t, migrate))
	rename(t, pool)
	return pool
}

func migrate(url string) error {
	pool, err := pgxpool.New(context.Background(), url)
	if err != nil {
		return err
	}
	defer pool.Close()
	return order.Migrate(context.Background(), pool)
}

// rename gives a copy what tells a database from all others: the name of the store and
// the key of its digests, each as a new row would have it.
func rename(t testing.TB, pool *pgxpool.Pool) {
	t.Helper()
	_, err := pool.Exec(context.Background(), "update lastunit.store set id = default, digest_key = default")
	if err != nil {
		t.Fatalf("cannot rename a store: %v", err)
	}
}
