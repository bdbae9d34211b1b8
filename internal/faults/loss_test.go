package faults_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/booking"
	"github.com/lastunit/lastunit/internal/servertest"
)

// Row 11: Redis dies and comes back empty.
func killedWithoutPersistence(t *testing.T, m *measured) {
	s := begin(t, setup{redis: servertest.StartRedis(t)})
	before := s.counters()
	s.rush(m, func() {
		s.redis.Kill()
		s.noticed()
		s.redis.Restart()
	})
	assert.Greater(t, s.counters().Epoch, before.Epoch, "the counters were rebuilt")
}

// Row 12: somebody wipes Redis, or a part of it.
func wiped(t *testing.T, m *measured) {
	for name, wipe := range map[string]func(context.Context, *sale) *redis.StatusCmd{
		"flushall":     func(ctx context.Context, s *sale) *redis.StatusCmd { return s.client.FlushAll(ctx) },
		"script_flush": func(ctx context.Context, s *sale) *redis.StatusCmd { return s.client.ScriptFlush(ctx) },
		"one_sku": func(ctx context.Context, s *sale) *redis.StatusCmd {
			return redis.NewStatusResult("", s.client.Del(ctx, s.stockKey(floor)).Err())
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := begin(t, setup{redis: servertest.StartRedis(t)})
			before := s.counters()
			s.rush(m, func() {
				for range 3 {
					require.NoError(t, wipe(t.Context(), s).Err())
				}
			})
			after := s.counters()
			assert.Equal(t, name != "script_flush", after.Epoch > before.Epoch, "a rebuild where counters were lost, else none: epoch %d, then %d", before.Epoch, after.Epoch)
		})
	}
}

// Row 13: Redis comes back on a copy of its data from before the rush, in which some
// orders were only just deducted.
func oldCopyComesBack(t *testing.T, m *measured) {
	for name, test := range map[string]struct {
		options []string
		save    func(*testing.T, *sale) int64  // keeps the copy, and says how far it reaches
		rewind  func(*testing.T, *sale, int64) // makes it Redis's, which is down
	}{
		"snapshot": {
			save: func(t *testing.T, s *sale) int64 {
				require.NoError(t, s.client.Save(t.Context()).Err())
				return 0
			},
			rewind: func(*testing.T, *sale, int64) {}, // Redis saves nothing by itself
		},
		"truncated_aof": {
			options: []string{"--appendonly", "yes", "--appendfsync", "always"},
			save:    func(t *testing.T, s *sale) int64 { return size(t, s.aof(t)) },
			rewind: func(t *testing.T, s *sale, reach int64) {
				require.Greater(t, size(t, s.aof(t)), reach, "it has grown since")
				require.NoError(t, os.Truncate(s.aof(t), reach+1)) // in the middle of a command
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := begin(t, setup{redis: servertest.StartRedis(t, test.options...), idle: true}) // nobody sweeps before the copy is made
			before := s.counters()
			far, _, farPostgres := s.far(setup{})
			commit := hold(t, farPostgres, mentions(floor+"-"))
			waits := make(chan struct{})
			go func() {
				defer close(waits)
				_, err := s.ask(far, request(floor, late), book)
				assert.NoError(t, err)
			}()
			commit.await(1)
			require.Positive(t, s.stock().Unsettled) // more than one if it had to ask again
			reach := test.save(t, s)
			s.work()
			commit.release()
			<-waits
			s.rush(m, func() {
				s.redis.Kill()
				test.rewind(t, s, reach)
				s.redis.Restart()
			})
			assert.Greater(t, s.counters().Epoch, before.Epoch, "it was noticed, and rebuilt")
		})
	}
}

// Row 16: Redis is full of what others put there, and evicts keys, the SKU's among them.
func evicted(t *testing.T, m *measured) {
	var log servertest.Output
	s := begin(t, setup{
		redis: servertest.StartRedis(t, "--maxmemory-policy", "allkeys-random"),
		config: func(c *booking.Config) {
			c.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
		},
	})
	s.rush(m, func() {
		full, err := s.client.InfoMap(t.Context(), "memory").Result()
		require.NoError(t, err)
		used, err := strconv.Atoi(full["Memory"]["used_memory"])
		require.NoError(t, err)
		require.NoError(t, s.client.ConfigSet(t.Context(), "maxmemory", strconv.Itoa(used+2_000_000)).Err())

		checkup, err := s.inventory.Check(t.Context())
		require.NoError(t, err)
		require.ErrorContains(t, checkup.Findings.Err(), "maxmemory-policy", "whoever starts now is told")

		before, n := s.counters().Epoch, 0
		eventually(t, func() error {
			n++
			// It may be refused for want of memory.
			_ = s.client.Set(context.Background(), fmt.Sprint("filler-", n), strings.Repeat("x", 100_000), 0).Err()
			if s.counters().Epoch == before {
				return errors.New("the SKU's counters are not evicted")
			}
			return nil
		})
		require.NoError(t, s.client.ConfigSet(t.Context(), "maxmemory", "0").Err())
	})
	assert.Contains(t, log.String(), "rebuilding the counters in Redis", "it is told in the log")
}

// aof is the file that Redis appends commands to.
func (s *sale) aof(t *testing.T) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(s.redis.Dir(), "appendonlydir", "*.incr.aof"))
	require.NoError(t, err)
	require.Len(t, files, 1)
	return files[0]
}

func size(t *testing.T, file string) int64 {
	t.Helper()
	info, err := os.Stat(file)
	require.NoError(t, err)
	return info.Size()
}
