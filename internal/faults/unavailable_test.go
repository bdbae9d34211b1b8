package faults_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/booking"
	"github.com/lastunit/lastunit/internal/servertest"
	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

// refusal is a way in which a Redis that runs can't serve.
type refusal struct {
	says    string   // how its errors begin
	options []string // of the server
	begin   func(context.Context, *sale) error
	end     func(context.Context, *sale) error
}

// Row 17: Redis is there and can't serve: never "sold out", and nothing half done.
func cannotServe(t *testing.T, m *measured) {
	set := func(name, value string) func(context.Context, *sale) error {
		return func(ctx context.Context, s *sale) error { return s.client.ConfigSet(ctx, name, value).Err() }
	}
	for _, r := range []refusal{
		{
			says:    "OOM",
			options: []string{"--maxmemory-policy", "noeviction"},
			begin:   set("maxmemory", "100kb"), // less than an empty Redis has
			end:     set("maxmemory", "0"),
		},
		{
			says: "READONLY",
			// Of a master where nobody listens.
			begin: func(ctx context.Context, s *sale) error { return s.client.ReplicaOf(ctx, "127.0.0.1", "1").Err() },
			end:   func(ctx context.Context, s *sale) error { return s.client.ReplicaOf(ctx, "NO", "ONE").Err() },
		},
		{says: "NOREPLICAS", begin: set("min-replicas-to-write", "1"), end: set("min-replicas-to-write", "0")},
		{says: "CLUSTERDOWN", options: servertest.ClusterOptions(t), begin: slots("delslotsrange"), end: slots("addslotsrange")},
		{says: "BUSY", options: []string{"--busy-reply-threshold", "20"}, begin: beginEndless, end: endEndless},
		{
			says: "LOADING",
			// There for tests: microseconds for each key, so that a restart takes as long as
			// the test wants. Redis answers after each key, as a key is as long as the interval.
			options: []string{
				"--key-load-delay", keyLoadDelay, "--rdbcompression", "no",
				"--loading-process-events-interval-bytes", "1024",
			},
			begin: beginLoading, end: endLoading,
		},
	} {
		t.Run(r.says, func(t *testing.T) {
			t.Parallel()
			server := servertest.StartRedis(t, r.options...)
			if r.says == "CLUSTERDOWN" {
				require.NoError(t, slots("addslotsrange")(t.Context(), &sale{client: server.Client(t)}))
			}
			eventually(t, func() error { return server.Client(t).Set(t.Context(), "ready", "1", 0).Err() })
			s := begin(t, setup{redis: server})
			s.rush(m, func() {
				require.NoError(t, r.begin(t.Context(), s))
				s.refusesAs(r.says)
				require.NoError(t, r.end(t.Context(), s))
			})
		})
	}
}

// refusesAs calls until the services refuse with what Redis says, and looks at how.
func (s *sale) refusesAs(says string) {
	s.t.Helper()
	for i, shop := range s.shops {
		eventually(s.t, func() error {
			ctx, cancel := context.WithTimeout(context.Background(), oneTry)
			defer cancel()
			_, err := shop.Book(ctx, request(probe, late+i))
			if err == nil || !strings.Contains(err.Error(), says) {
				return fmt.Errorf("want %s, have: %w", says, err)
			}
			assert.ErrorIs(s.t, err, order.ErrOutcomeUnknown)
			assert.ErrorIs(s.t, err, inventory.ErrUnavailable)
			assert.NotErrorIs(s.t, err, inventory.ErrSoldOut)
			return nil
		})
	}
}

// slots gives a cluster's only node all slots, or takes them.
func slots(command string) func(context.Context, *sale) error {
	return func(ctx context.Context, s *sale) error {
		return s.client.Do(ctx, "cluster", command, 0, 16383).Err()
	}
}

// beginEndless occupies Redis with a script.
func beginEndless(ctx context.Context, s *sale) error {
	client := s.redis.Client(s.t, func(o *redis.Options) { o.MaxRetries = -1 })
	go func() { _ = client.WithTimeout(-1).Eval(context.WithoutCancel(ctx), "while true do end", nil).Err() }()
	return until(ctx, s, "BUSY")
}

func endEndless(ctx context.Context, s *sale) error { return s.client.ScriptKill(ctx).Err() }

// until waits until Redis answers so.
func until(ctx context.Context, s *sale, says string) error {
	client := s.redis.Client(s.t, func(o *redis.Options) { o.MaxRetries = -1 })
	eventually(s.t, func() error {
		err := client.Ping(ctx).Err()
		if err == nil || !strings.HasPrefix(err.Error(), says) {
			return fmt.Errorf("want %s, have: %w", says, err)
		}
		return nil
	})
	return nil
}

// keyLoadDelay makes Redis load for some minutes, unless it is told to go on.
const keyLoadDelay = "10000"

// beginLoading restarts Redis with so much data that it loads until endLoading.
func beginLoading(ctx context.Context, s *sale) error {
	pipe := s.client.Pipeline()
	for i := range 15_000 {
		pipe.Set(ctx, fmt.Sprint("filler-", i), strings.Repeat("x", 1024), 0)
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return err
	}
	if err := s.client.Save(ctx).Err(); err != nil {
		return err
	}
	s.restarted = make(chan struct{})
	go func() {
		defer close(s.restarted)
		s.redis.Restart()
	}()
	return until(ctx, s, "LOADING")
}

func endLoading(ctx context.Context, s *sale) error {
	if err := s.client.ConfigSet(ctx, "key-load-delay", "0").Err(); err != nil {
		return err
	}
	select {
	case <-s.restarted:
		return nil
	case <-time.After(patience):
		return errors.New("it loads for ever")
	}
}

// Row 18: Redis is gone until all is sold, and Postgres sells alone.
func downForGood(t *testing.T, m *measured) {
	s := begin(t, setup{
		redis:  servertest.StartRedis(t),
		config: func(c *booking.Config) { c.WhenRedisDown = booking.SellDirect },
	})
	// A call ends when the library ends it: a caller who leaves, as a shop may still be
	// opening its connections to Postgres, would count as one whom Redis failed.
	patient := func(ctx context.Context, shop *booking.Service, r booking.Request) (order.Order, error) {
		return book(context.WithoutCancel(ctx), shop, r)
	}
	s.rushWith(m, rush{buy: patient}, func() {
		s.redis.Kill()
		eventually(t, func() error { return missing(int(s.capacity)-s.told.acknowledged(), "orders") })
		s.redis.Restart()
	})
	assert.LessOrEqual(t, s.told.unknown(), 40, "no call failed but those under way when Redis died")
	seq := func() int64 {
		stocks, err := s.inventory.Stock(t.Context(), probe)
		require.NoError(t, err)
		return stocks[0].Seq
	}
	before := seq()
	eventually(t, func() error { // Redis is asked again
		s.probes++
		_, err := s.shops[0].Book(t.Context(), request(probe, s.probes))
		require.NoError(t, err)
		return missing(int(before+1-seq()), "deductions")
	})
}
