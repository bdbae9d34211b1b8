package inventory_test

import (
	"context"
	"crypto/rand"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/lastunit/lastunit/internal/servertest"
	"github.com/lastunit/lastunit/inventory"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(servertest.Wrap(m))
}

// counters is how many fields a hash has that nobody deducted from.
const counters = 12

const store = "0b7e1c52-6f1e-4c38-9b0e-3d8f5a7c2e11"

// onBoth runs a test against miniredis and against a real Redis.
func onBoth(t *testing.T, run func(t *testing.T, client *redis.Client)) {
	t.Helper()
	t.Run("miniredis", func(t *testing.T) { run(t, embedded(t)) })
	t.Run("redis", func(t *testing.T) { run(t, servertest.SharedRedis(t).Client(t)) })
}

func embedded(t testing.TB) *redis.Client {
	return clientOf(t, miniredis.RunT(t))
}

func clientOf(t testing.TB, server *miniredis.Miniredis) *redis.Client {
	client := redis.NewClient(&redis.Options{Addr: server.Addr()})
	t.Cleanup(func() { client.Close() })
	return client
}

// sale is one SKU on sale in Redis, with keys of its own.
type sale struct {
	t      testing.TB
	client *redis.Client // sees the hash without what is between repo and Redis
	repo   *inventory.Redis
	key    string
	sku    string
	supply inventory.Supply
}

// onSale loads a SKU by the client.
func onSale(t testing.TB, client *redis.Client, units int64) *sale {
	t.Helper()
	repo := inventory.NewRedis(client, inventory.WithKeyPrefix("test-"+rand.Text()))
	s := &sale{
		t: t, client: client, repo: repo, key: repo.StockKey("floor"), sku: "floor",
		supply: inventory.Supply{SKU: "floor", Store: store, Epoch: 3, Version: 1, Units: units},
	}
	require.NoError(t, repo.Load(background(t), s.supply))
	return s
}

// request returns a request for one unit.
func (s *sale) request(attempt string) inventory.Request {
	return inventory.Request{
		SKU: s.sku, Store: store, Attempt: attempt, OrderID: "order of " + attempt, Customer: "carol", Quantity: 1,
	}
}

func (s *sale) deduct(attempt string) inventory.Deduction {
	s.t.Helper()
	d, err := s.repo.Deduct(background(s.t), s.request(attempt))
	require.NoError(s.t, err)
	return d
}

// terms pushes other terms.
func (s *sale) terms(terms inventory.Terms) {
	s.t.Helper()
	s.supply.Version++
	s.supply.Terms = terms
	require.NoError(s.t, s.repo.Push(background(s.t), s.supply))
}

// hash returns the whole hash.
func (s *sale) hash() map[string]string {
	s.t.Helper()
	fields, err := s.client.HGetAll(background(s.t), s.key).Result()
	require.NoError(s.t, err)
	return fields
}

func (s *sale) stock() inventory.Stock {
	s.t.Helper()
	stocks, err := s.repo.Stock(background(s.t), s.sku)
	require.NoError(s.t, err)
	return stocks[0]
}

// replace puts other fields in place of the hash.
func (s *sale) replace(fields map[string]string) {
	s.t.Helper()
	ctx := background(s.t)
	require.NoError(s.t, s.client.Del(ctx, s.key).Err())
	if len(fields) > 0 {
		require.NoError(s.t, s.client.HSet(ctx, s.key, fields).Err())
	}
}

// with returns a copy of the fields with one changed, or left out if the value is "".
func with(fields map[string]string, name, value string) map[string]string {
	changed := make(map[string]string, len(fields))
	for k, v := range fields {
		changed[k] = v
	}
	changed[name] = value
	if value == "" {
		delete(changed, name)
	}
	return changed
}

// notLoaded requires a NotLoadedError with this reason.
func notLoaded(t testing.TB, err error, why inventory.Why) {
	t.Helper()
	require.ErrorIs(t, err, inventory.ErrNotLoaded)
	var details *inventory.NotLoadedError
	require.ErrorAs(t, err, &details)
	require.Equal(t, why, details.Why)
}

// unavailable requires that an error is ErrUnavailable and nothing definite.
func unavailable(t testing.TB, err error) {
	t.Helper()
	require.ErrorIs(t, err, inventory.ErrUnavailable)
	for _, definite := range []error{
		inventory.ErrSoldOut, inventory.ErrTryAgain, inventory.ErrNotLoaded, inventory.ErrInvalid,
		inventory.ErrLimitExceeded, inventory.ErrNotOpen, inventory.ErrClosed, inventory.ErrPaused,
	} {
		require.NotErrorIs(t, err, definite)
	}
}

// patience bounds all waiting for something that must come.
const patience = 5 * time.Minute

// background ends long after the test should.
func background(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// eventually polls until the thing is so.
func eventually(t testing.TB, what string, so func() bool) {
	t.Helper()
	require.Eventually(t, so, patience, 5*time.Millisecond, what)
}
