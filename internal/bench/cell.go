package main

import (
	"context"
	"fmt"
	"runtime"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/redis/go-redis/v9"
)

// cell is one measurement of one row with so many callers. What it opens ends
// with it.
type cell struct {
	*scope
	settings settings
	servers  *servers
	callers  int
	first    bool // the first measurement of the row
}

// plenty is more units than any contender can sell in a run.
const plenty = 1_000_000_000_000

// measureCell measures a row once, on empty servers.
func measureCell(ctx context.Context, s settings, on *servers, r row, callers int, first bool) (result, error) {
	ctx, cancel := context.WithTimeout(ctx, s.cellLimit())
	defer cancel()
	var found result
	err := withScope(func(scope *scope) error {
		c := &cell{scope: scope, settings: s, servers: on, callers: callers, first: first}
		if err := c.empty(ctx); err != nil {
			return err
		}
		var err error
		found, err = r.measure(ctx, c)
		return err
	})
	if err != nil {
		return result{}, fmt.Errorf("%s with %d callers: %w", r.name, callers, err)
	}
	return found, nil
}

// empty makes Redis forget everything. Of Postgres, each gets a new database.
func (c *cell) empty(ctx context.Context) error {
	return c.goRedis().FlushAll(ctx).Err()
}

// settle makes everybody begin alike: what others wrote is on disk, and what they
// left on the heap is collected.
func (c *cell) settle(ctx context.Context) error {
	conn, err := pgx.Connect(ctx, c.servers.postgres.URL())
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	_, err = conn.Exec(ctx, "checkpoint")
	runtime.GC()
	return err
}

func (c *cell) window() window { return newWindow(c.settings.warmup, c.settings.length) }

// goRedis makes a client that is closed with the cell.
func (c *cell) goRedis() *redis.Client {
	client, err := newGoRedis(c.servers.redis.URL())
	if err != nil {
		c.Fatal(err)
	}
	c.Cleanup(func() { client.Close() })
	return client
}

// database makes a new one, by SQL, and a pool for it. Both go with the cell.
func (c *cell) database(ctx context.Context, sql string, args ...any) (*pgxpool.Pool, error) {
	pool, err := c.pool(ctx, c.servers.postgres.Database(c.scope))
	if err != nil {
		return nil, err
	}
	_, err = pool.Exec(ctx, sql, args...)
	return pool, err
}

// pool makes one that is closed with the cell.
func (c *cell) pool(ctx context.Context, url string, connected ...func(context.Context, *pgx.Conn) error) (*pgxpool.Pool, error) {
	pool, err := newPool(ctx, url, connected...)
	if err == nil {
		c.Cleanup(pool.Close)
	}
	return pool, err
}
