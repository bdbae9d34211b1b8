package booking_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/booking"
	"github.com/lastunit/lastunit/internal/servertest"
	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

// checked makes a service over the two sides and checks it.
func checked(t testing.TB, config booking.Config) (brief []string, findings inventory.Findings, err error) {
	t.Helper()
	shop, err := booking.New(config)
	require.NoError(t, err)
	findings, err = shop.Check(t.Context())
	for _, f := range findings {
		brief = append(brief, fmt.Sprintf("%s %s: %s=%s", f.Severity, f.Where, f.What, f.Found))
	}
	return brief, findings, err
}

func TestCheck(t *testing.T) {
	t.Parallel()
	t.Run("memory", func(t *testing.T) {
		t.Parallel()
		brief, findings, err := checked(t, booking.Config{Inventory: inventory.NewMemory(), Orders: order.NewMemory()})
		require.NoError(t, err)
		assert.Empty(t, brief)
		require.NoError(t, findings.Err())
	})
	t.Run("real", func(t *testing.T) {
		t.Parallel()
		redis := servertest.StartRedis(t, "--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru")
		postgres := servertest.StartPostgres(t, "fsync=on")
		pool := connect(t, postgres.URL())
		client := redis.Client(t, func(o *goredis.Options) { o.DialerRetries = 1 })
		config := booking.Config{Inventory: inventory.NewRedis(client), Orders: order.NewPostgres(pool)}
		brief, findings, err := checked(t, config)
		require.NoError(t, err)
		assert.Equal(t, []string{
			"problem Redis: maxmemory-policy=allkeys-lru", "problem PostgreSQL: SCHEMA lastunit=missing",
			"notice go-redis: ContextTimeoutEnabled=false", "notice Redis: appendonly=no, without snapshots",
		}, brief, "the problems first, and the clocks of one machine agree")
		require.ErrorIs(t, findings.Err(), order.ErrNotMigrated)
		require.ErrorContains(t, findings.Err(), "allkeys-lru")

		require.NoError(t, order.Migrate(t.Context(), pool))
		require.NoError(t, client.ConfigSet(t.Context(), "maxmemory-policy", "noeviction").Err())
		_, findings, err = checked(t, config)
		require.NoError(t, err)
		require.NoError(t, findings.Err())

		redis.Kill()
		brief, _, err = checked(t, config)
		require.ErrorIs(t, err, inventory.ErrUnavailable)
		assert.Equal(t, []string{"notice go-redis: ContextTimeoutEnabled=false"}, brief)
		config.WhenRedisDown = booking.SellDirect
		brief, findings, err = checked(t, config)
		require.NoError(t, err)
		assert.Contains(t, brief, "notice Redis: connection=dead")
		require.NoError(t, findings.Err())

		postgres.Kill()
		_, _, err = checked(t, config)
		require.ErrorIs(t, err, order.ErrUnavailable)
		require.NotErrorIs(t, err, inventory.ErrUnavailable)
	})
}

// side says of either side of a sale what it is told to.
type side struct {
	inventory.Checkup
	err    error
	silent bool // until its context ends
}

func (s side) Check(ctx context.Context) (inventory.Checkup, error) {
	if s.silent {
		<-ctx.Done()
		return inventory.Checkup{}, fmt.Errorf("%w: %w", inventory.ErrUnavailable, ctx.Err())
	}
	return s.Checkup, s.err
}

type (
	fastSide struct {
		inventory.InventoryRepository
		inventory.Checker
	}
	durableSide struct {
		order.Store
		inventory.Checker
	}
)

func TestCheckComparesClocks(t *testing.T) {
	t.Parallel()
	clock := func(where string, ahead, within time.Duration) side {
		return side{Checkup: inventory.Checkup{Clocks: []inventory.Clock{{Where: where, Ahead: ahead, Within: within}}}}
	}
	const s = time.Second
	for _, test := range []struct {
		redis, postgres, within time.Duration
		want                    []string
	}{
		{0, 0, 0, nil},
		{s - 1, 0, 0, nil},
		{0, s - 1, 0, nil},
		{3 * s, 0, 0, []string{"notice Redis: clock=3s ahead of PostgreSQL's"}},
		{-3 * s, 0, 0, []string{"notice Redis: clock=3s behind PostgreSQL's"}},
		{2 * s, 0, s + 1, nil}, // the round trips may be all of it
		{0, 2 * s, 0, []string{"notice PostgreSQL: clock=2s ahead of this process's", "notice Redis: clock=2s behind PostgreSQL's"}},
		{-9 * s, -9 * s, 0, []string{"notice PostgreSQL: clock=9s behind this process's"}},
	} {
		brief, findings, err := checked(t, booking.Config{
			Inventory: fastSide{inventory.NewMemory(), clock("Redis", test.redis, test.within)},
			Orders:    durableSide{order.NewMemory(), clock("PostgreSQL", test.postgres, 0)},
		})
		require.NoError(t, err)
		assert.Equal(t, test.want, brief, "%+v", test)
		require.NoError(t, findings.Err())
	}
	brief, _, err := checked(t, booking.Config{Orders: durableSide{order.NewMemory(), clock("PostgreSQL", s, 0)}})
	require.NoError(t, err)
	assert.Equal(t, []string{"notice PostgreSQL: clock=1s ahead of this process's"}, brief, "without Redis")
}

func TestCheckOfWhatDoesNotAnswer(t *testing.T) {
	t.Parallel()
	notice := inventory.Findings{{Severity: inventory.Notice, What: "a"}}
	problem := inventory.Findings{{Severity: inventory.Problem, What: "b", Err: order.ErrNotMigrated}}
	broken := errors.New("broken")
	_, findings, err := checked(t, booking.Config{
		Inventory: fastSide{inventory.NewMemory(), side{Checkup: inventory.Checkup{Findings: notice}, err: broken}},
		Orders:    durableSide{order.NewMemory(), side{Checkup: inventory.Checkup{Findings: problem}}},
	})
	require.ErrorIs(t, err, broken)
	require.NotErrorIs(t, err, order.ErrNotMigrated)
	assert.Equal(t, slices.Concat(problem, notice), findings, "what is known comes beside it")
	require.ErrorIs(t, findings.Err(), order.ErrNotMigrated)
	assert.Len(t, strings.Split(findings.Err().Error(), "\n"), 1)

	// A side that says nothing at all keeps nobody longer than Timeout.
	_, findings, err = checked(t, booking.Config{
		Timeout:   10 * time.Millisecond,
		Inventory: fastSide{inventory.NewMemory(), side{silent: true}},
		Orders:    durableSide{order.NewMemory(), side{Checkup: inventory.Checkup{Findings: problem}}},
	})
	require.ErrorIs(t, err, context.DeadlineExceeded)
	assert.Equal(t, problem, findings)
}

// Two databases under one prefix each rebuild what the other one has.
func TestCheckOfAPrefixThatTwoUse(t *testing.T) {
	t.Parallel()
	ours := stores{inventory: inventory.NewMemory(), orders: order.NewMemory()}
	shop := open(t, ours)
	items := []order.Item{{SKU: "balcony", Capacity: 1}, {SKU: "floor", Capacity: 1}}
	require.NoError(t, shop.PutOnSale(t.Context(), items...))
	findings, err := shop.Check(t.Context())
	require.NoError(t, err)
	require.NoError(t, findings.Err())

	theirs := ours
	theirs.orders = order.NewMemory()
	other := open(t, theirs)
	require.NoError(t, other.PutOnSale(t.Context(), items[1]))
	findings, err = shop.Check(t.Context())
	require.NoError(t, err)
	require.ErrorContains(t, findings.Err(), `problem: Redis: the store of SKU "floor" is another one: another database`)
	require.ErrorContains(t, findings.Err(), "inventory.WithKeyPrefix")
	findings, err = other.Check(t.Context())
	require.NoError(t, err)
	require.NoError(t, findings.Err(), "it has not noticed yet")

	_, err = shop.ReconcileAll(t.Context(), booking.Repair)
	require.NoError(t, err)
	findings, err = shop.Check(t.Context())
	require.NoError(t, err)
	require.NoError(t, findings.Err(), "the advice mends it")
}
