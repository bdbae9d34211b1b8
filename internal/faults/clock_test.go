package faults_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/internal/servertest"
	"github.com/lastunit/lastunit/order"
)

// Row 28: clocks that differ by an hour, and that jump. Nothing here can set the clock
// of one process. What stands in: hooks make each service hear times of Redis that are
// an hour off, one way and the other, from those by which Redis judges its deadlines, as
// if Redis's clock or the service's jumped between two calls, each time; and Postgres
// finds a clock_timestamp of ours before its own, which is an hour ahead, and jumps.
func clocksApart(t *testing.T, m *measured) {
	t.Run("processes", func(t *testing.T) {
		t.Parallel()
		clocks := []*shiftedClock{{}, {}}
		clocks[0].ahead.Store(int64(time.Hour))
		clocks[1].ahead.Store(-int64(time.Hour))
		server := servertest.SharedRedis(t)
		s := begin(t, setup{redis: server, client: func(shop int) redis.UniversalClient {
			client := server.Client(t)
			if shop != noShop {
				client.AddHook(clocks[shop])
			}
			return client
		}})
		s.rush(m, func() {
			for i := range 8 {
				clocks[i%2].ahead.Store(int64(time.Hour) * int64(1-i%3))
				asked := clocks[i%2].shifted.Load()
				eventually(t, func() error { return missing(int(asked+1-clocks[i%2].shifted.Load()), "deducts by the other clock") })
			}
			for _, clock := range clocks { // one that tells another time than it goes by for good is no clock
				clock.ahead.Store(0)
			}
		})
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		s := begin(t, setup{poolOptions: func(c *pgxpool.Config) { c.ConnConfig.RuntimeParams["search_path"] = "shifted, pg_catalog" }})
		s.rush(m, func() {
			s.shiftPostgres("create schema shifted; create function shifted.clock_timestamp() returns timestamptz language plpgsql as $$ begin return pg_catalog.clock_timestamp() + interval '1 hour'; end $$")
			o := s.heldFor(time.Minute, 0)
			assert.Greater(t, time.Until(o.ExpiresAt), 30*time.Minute, "the clock is ahead")
			// It is an hour back now: the hold lasts for an hour and a minute.
			s.shiftPostgres("drop schema shifted cascade")
			s.mustBe(o.ID, order.Held)
			short := s.heldFor(time.Millisecond, 1)
			s.mustBe(short.ID, order.Expired)
			// And ahead: it is over.
			s.shiftPostgres("create schema shifted; create function shifted.clock_timestamp() returns timestamptz language plpgsql as $$ begin return pg_catalog.clock_timestamp() + interval '2 hours'; end $$")
			s.mustBe(o.ID, order.Expired)
		})
	})
}

// shiftPostgres changes what the services' connections find, and cuts them, so that no
// plan of theirs is older.
func (s *sale) shiftPostgres(sql string) {
	s.t.Helper()
	_, err := s.pool.Exec(s.t.Context(), sql)
	require.NoError(s.t, err)
	s.postgresProxy.CutAll()
}

// heldFor holds a unit that nobody counts: of the probe.
func (s *sale) heldFor(ttl time.Duration, n int) (o order.Order) {
	s.t.Helper()
	s.surely(func(ctx context.Context) (err error) {
		o, err = s.shops[n%2].Hold(ctx, request(probe, late+n), ttl)
		return err
	})
	return o
}

// mustBe waits until an order has a status.
func (s *sale) mustBe(id string, want order.Status) {
	s.t.Helper()
	eventually(s.t, func() error {
		o, err := s.orders.Order(context.Background(), id)
		if err == nil && o.Status != want {
			err = missing(1, string(want)+" orders")
		}
		return err
	})
}

// shiftedClock is a hook for which Redis's clock is ahead by so much.
type shiftedClock struct {
	ahead   atomic.Int64 // nanoseconds
	shifted atomic.Int64 // how many answers
}

// DialHook implements redis.Hook.
func (c *shiftedClock) DialHook(next redis.DialHook) redis.DialHook { return next }

// ProcessHook implements redis.Hook.
func (c *shiftedClock) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		c.shift(cmd)
		return err
	}
}

// ProcessPipelineHook implements redis.Hook.
func (c *shiftedClock) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, commands []redis.Cmder) error {
		err := next(ctx, commands)
		for _, cmd := range commands {
			c.shift(cmd)
		}
		return err
	}
}

// shift changes the time that Redis told, if it did.
func (c *shiftedClock) shift(cmd redis.Cmder) {
	ahead := time.Duration(c.ahead.Load())
	switch cmd := cmd.(type) {
	case *redis.TimeCmd:
		cmd.SetVal(cmd.Val().Add(ahead))
		c.shifted.Add(1)
	case *redis.Cmd:
		// What a deduct answers begins with decided and the time.
		if values, ok := cmd.Val().([]any); ok && len(values) > 4 && values[0] == "decided" {
			if now, ok := values[1].(int64); ok {
				values[1] = now + ahead.Milliseconds()
				c.shifted.Add(1)
			}
		}
	}
}
