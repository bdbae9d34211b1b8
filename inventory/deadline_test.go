package inventory_test

import (
	"context"
	"net"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/internal/servertest"
	"github.com/lastunit/lastunit/inventory"
)

var callsOfEvalsha = regexp.MustCompile(`cmdstat_evalsha:calls=(\d+)`)

// scriptCalls is how many scripts the server ran so far.
func scriptCalls(t testing.TB, client *redis.Client) int {
	info, err := client.Info(context.Background(), "commandstats").Result()
	require.NoError(t, err)
	found := callsOfEvalsha.FindStringSubmatch(info)
	if found == nil {
		return 0
	}
	n, err := strconv.Atoi(found[1])
	require.NoError(t, err)
	return n
}

func TestCopyPastTheDeadlineDoesNothing(t *testing.T) {
	t.Parallel()
	server := servertest.StartRedis(t)
	direct := server.Client(t)
	s := onSale(t, server.Client(t, func(o *redis.Options) { o.MaxRetries, o.ContextTimeoutEnabled = -1, true }), 10)
	s.deduct("warm up")
	before, calls := s.hash(), scriptCalls(t, direct)

	server.Pause()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second) // it is sent before that
	defer cancel()
	_, err := s.repo.Deduct(ctx, s.request("late"))
	unavailable(t, err)
	by, _ := ctx.Deadline()
	eventually(t, "the deadline has passed", func() bool { return time.Now().After(by.Add(20 * time.Millisecond)) })
	server.Resume()

	eventually(t, "the copy arrives", func() bool { return scriptCalls(t, direct) > calls })
	s.client = direct
	assert.Equal(t, before, s.hash())
}

// A call that failed may still be carried out before its deadline. Asked
// again, it is the same deduction.
func TestCopyBeforeTheDeadlineCountsOnce(t *testing.T) {
	server := servertest.StartRedis(t)
	s := onSale(t, server.Client(t), 10)
	hurried := inventory.NewRedis(server.Client(t, func(o *redis.Options) { o.MaxRetries, o.ReadTimeout = -1, 100*time.Millisecond }),
		inventory.WithKeyPrefix(s.key[:len(s.key)-len(":{floor}:stock")]))
	eventually(t, "Redis's clock is known", func() bool {
		_, err := hurried.Deduct(background(t), s.request("warm up"))
		return err == nil
	})

	server.Pause()
	_, err := hurried.Deduct(background(t), s.request("late"))
	unavailable(t, err)
	server.Resume()

	direct := server.Client(t)
	eventually(t, "the copy is carried out", func() bool { return direct.HExists(context.Background(), s.key, "d:late").Val() })
	assert.Equal(t, int64(2), s.stock().Taken)
	assert.Equal(t, int64(2), s.deduct("late").Seq)
	assert.Equal(t, int64(2), s.stock().Taken)
}

func TestClocksApart(t *testing.T) {
	for name, offset := range map[string]time.Duration{"ahead": time.Hour, "behind": -time.Hour} {
		t.Run(name, func(t *testing.T) {
			server := miniredis.RunT(t)
			s := onSale(t, clientOf(t, server), 10)
			deduct := func(attempt string, timeout time.Duration) inventory.Deduction {
				t.Helper()
				ctx, cancel := context.WithTimeout(context.Background(), timeout)
				defer cancel()
				d, err := s.repo.Deduct(ctx, s.request(attempt))
				require.NoError(t, err)
				return d
			}
			server.SetTime(time.Now().Add(offset))
			// By the caller's deadline, and by DeductTimeout.
			assert.WithinDuration(t, time.Now().Add(offset), deduct("a", time.Second).At, time.Minute)
			deduct("b", time.Minute)
			// The clock jumps, to where it should be and beyond.
			server.SetTime(time.Now())
			deduct("c", time.Second)
			server.SetTime(time.Now().Add(-offset))
			deduct("d", time.Second)
			deduct("e", time.Minute)
			assert.Equal(t, int64(5), s.stock().Taken)
		})
	}
}

// delayed holds back each Deduct until something happened.
type delayed struct {
	before func()
	after  func()
}

func (d *delayed) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) { return next(ctx, network, addr) }
}

func (d *delayed) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		before, after := d.before, d.after
		d.before, d.after = nil, nil
		if before == nil {
			return next(ctx, cmd)
		}
		before()
		err := next(ctx, cmd)
		after()
		return err
	}
}

func (d *delayed) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

// However far the clocks are apart, a copy that is on its way for longer than
// DeductTimeout does nothing; and a caller who still waits gets the units after all.
func TestCopyPastDeductTimeoutIsAskedAgain(t *testing.T) {
	for name, offset := range map[string]time.Duration{"equal": 0, "ahead": time.Hour, "behind": -time.Hour} {
		t.Run(name, func(t *testing.T) {
			server := miniredis.RunT(t)
			client := clientOf(t, server)
			s := onSale(t, client, 10)
			now := time.Now().Add(offset)
			server.SetTime(now)
			s.deduct("warm up") // and tells the clock
			before := s.hash()

			slow := client.WithTimeout(time.Minute) // the same server, with a hook
			hook := &delayed{}
			slow.AddHook(hook)
			repo := inventory.NewRedis(slow, inventory.WithKeyPrefix(s.key[:len(s.key)-len(":{floor}:stock")]))
			require.Equal(t, s.key, repo.StockKey(s.sku))
			_, err := repo.Deduct(background(t), s.request("warm up"))
			require.NoError(t, err)

			arrived := false
			hook.before = func() { server.SetTime(now.Add(inventory.DeductTimeout + 2*time.Second)) }
			hook.after = func() {
				arrived = true
				assert.Equal(t, before, s.hash(), "the late copy does nothing")
			}
			d, err := repo.Deduct(background(t), s.request("a"))
			require.NoError(t, err)
			assert.True(t, arrived)
			assert.Equal(t, int64(2), d.Seq)
			assert.Equal(t, int64(2), s.stock().Taken)
		})
	}
}

// Redis's clock was set back: what is from the future is not forgotten.
func TestDeductionFromTheFutureIsListed(t *testing.T) {
	server := miniredis.RunT(t)
	s := onSale(t, clientOf(t, server), 10)
	d := s.deduct("a")
	list := func(age time.Duration) int {
		ds, err := s.repo.Unsettled(background(t), store, s.sku, age, 10)
		require.NoError(t, err)
		return len(ds)
	}
	for _, test := range []struct {
		later time.Duration
		want  int
	}{
		{0, 0}, {59 * time.Second, 0}, {time.Minute, 1}, {time.Hour, 1}, {-500 * time.Millisecond, 0}, {-time.Hour, 1},
	} {
		server.SetTime(d.At.Add(test.later))
		assert.Equal(t, test.want, list(time.Minute), "%v later", test.later)
	}
}
