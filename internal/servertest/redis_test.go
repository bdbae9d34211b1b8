package servertest

import (
	"context"
	"net"
	"os"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

func TestRedisForgetsWithoutAppendOnly(t *testing.T) {
	t.Parallel()
	r := StartRedis(t)
	ctx := testContext(t)
	client := r.Client(t)
	require.NoError(t, client.Set(ctx, "a", "1", 0).Err())
	addr := r.Addr()

	r.Kill()
	_, err := net.Dial("tcp", addr)
	require.Error(t, err)
	r.Restart()

	require.Equal(t, addr, r.Addr())
	require.ErrorIs(t, client.Get(ctx, "a").Err(), redis.Nil)
}

func TestRedisKeepsAppendOnlyFileUntilWiped(t *testing.T) {
	t.Parallel()
	r := StartRedis(t, "--appendonly", "yes", "--appendfsync", "always")
	ctx := testContext(t)
	client := r.Client(t)
	require.NoError(t, client.Set(ctx, "a", "1", 0).Err())

	r.Kill()
	r.Restart()
	require.Equal(t, "1", client.Get(ctx, "a").Val())

	r.Restart() // kills by itself
	require.Equal(t, "1", client.Get(ctx, "a").Val())

	r.Stop()
	r.Restart()
	require.Equal(t, "1", client.Get(ctx, "a").Val())

	r.Kill()
	r.Wipe()
	entries, err := os.ReadDir(r.Dir())
	require.NoError(t, err)
	require.Empty(t, entries)
	r.Restart()
	require.ErrorIs(t, client.Get(ctx, "a").Err(), redis.Nil)
}

func TestRedisNeedsPassword(t *testing.T) {
	t.Parallel()
	r := StartRedis(t)
	ctx := testContext(t)
	err := r.Client(t, func(o *redis.Options) { o.Password = "" }).Get(ctx, "a").Err()
	require.ErrorContains(t, err, "NOAUTH")

	options, err := redis.ParseURL(r.URL())
	require.NoError(t, err)
	require.Equal(t, r.Password(), options.Password)
	require.Equal(t, r.Addr(), options.Addr)
}

func TestRedisPause(t *testing.T) {
	t.Parallel()
	r := StartRedis(t)
	ctx := testContext(t)
	client := r.Client(t, func(o *redis.Options) { o.MaxRetries = -1 })
	require.NoError(t, client.Set(ctx, "a", "1", 0).Err())

	r.Pause()
	r.Pause() // changes nothing
	err := client.WithTimeout(100*time.Millisecond).Get(ctx, "a").Err()
	var timeout net.Error
	require.ErrorAs(t, err, &timeout)
	require.True(t, timeout.Timeout())

	r.Resume()
	require.Equal(t, "1", client.Get(ctx, "a").Val())
}

func TestRedisKilledWhilePaused(t *testing.T) {
	t.Parallel()
	r := StartRedis(t)
	r.Pause()
	r.Kill()
	r.Restart()
	require.NoError(t, r.Client(t).Ping(testContext(t)).Err())
}

// The child that saves in the background has to go together with its parent.
func TestRedisKillTakesChildren(t *testing.T) {
	t.Parallel()
	r := StartRedis(t, "--rdb-key-save-delay", "100000")
	ctx := testContext(t)
	client := r.Client(t)
	for _, key := range []string{"a", "b", "c"} {
		values := make([]any, 0, 2000)
		for i := range 1000 {
			values = append(values, i, i)
		}
		require.NoError(t, client.HSet(ctx, key, values...).Err())
		require.NoError(t, client.MSet(ctx, values...).Err())
	}
	require.NoError(t, client.BgSave(ctx).Err())
	children := childrenOf(t, r.s.proc.pid())
	require.NotEmpty(t, children)
	r.Kill()
	requireDead(t, children)
}

func TestRedisEndsWithTest(t *testing.T) {
	t.Parallel()
	needPrograms(t)
	var pid int
	var dir string
	t.Run("server", func(t *testing.T) {
		r := StartRedis(t)
		pid, dir = r.s.proc.pid(), r.s.dir.path
		require.DirExists(t, dir)
	})
	require.NoDirExists(t, dir)
	requireDead(t, []int{pid})
}

func TestRedisMany(t *testing.T) {
	t.Parallel()
	for range 6 {
		t.Run("one", func(t *testing.T) {
			t.Parallel()
			r := StartRedis(t)
			ctx := testContext(t)
			client := r.Client(t)
			for range 3 {
				require.EqualValues(t, 1, client.Incr(ctx, "n").Val())
				r.Kill()
				r.Restart()
			}
		})
	}
}

func TestRedisSaysWhyItDoesNotStart(t *testing.T) {
	t.Parallel()
	needPrograms(t)
	_, err := newRedis([]string{"--no-such-option", "1"})
	require.ErrorContains(t, err, "redis-server did not start")
	require.ErrorContains(t, err, "no-such-option")
}

// Another process may take the port after it was found to be free.
func TestPortTaken(t *testing.T) {
	t.Parallel()
	r := StartRedis(t)
	r.Kill()
	other, err := net.Listen("tcp", r.Addr())
	require.NoError(t, err)
	defer func() { _ = other.Close() }()
	r.s.mu.Lock()
	err = r.s.start()
	r.s.mu.Unlock()
	require.ErrorIs(t, err, errPortTaken)
	require.NotContains(t, err.Error(), r.Password())

	done := make(chan struct{})
	go func() {
		defer close(done)
		r.Restart() // tries until the port is free
	}()
	require.NoError(t, other.Close())
	<-done
	require.NoError(t, r.Client(t).Ping(context.Background()).Err())
}
