package main

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/internal/servertest"
	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

// lastLine is what the audit must say.
func lastLine(t *testing.T, out string) string {
	t.Helper()
	require.True(t, strings.HasSuffix(out, "\n"))
	lines := strings.Split(strings.TrimSuffix(out, "\n"), "\n")
	return lines[len(lines)-1]
}

func TestRushEmbedded(t *testing.T) {
	t.Parallel()
	var stdout, stderr strings.Builder
	code := run(t.Context(), []string{"-rush", "2000", "-capacity", "100", "-at-once", "100"}, environment(), &stdout, &stderr)
	require.Equal(t, 0, code, stderr.String())
	assert.Equal(t, "audit: capacity=100 sold=100 oversold=0 lost=0 drift=0", lastLine(t, stdout.String()))
	assert.Contains(t, stdout.String(), "buyers 2000: booked 100, sold out 1900, failed 0;")
}

// More than enough for everybody, and nothing at all.
func TestRushWithoutScarcity(t *testing.T) {
	t.Parallel()
	for capacity, want := range map[string]string{
		"500": "audit: capacity=500 sold=50 oversold=0 lost=0 drift=0",
		"0":   "audit: capacity=0 sold=0 oversold=0 lost=0 drift=0",
	} {
		var stdout, stderr strings.Builder
		code := run(t.Context(), []string{"-rush", "50", "-capacity", capacity}, environment(), &stdout, &stderr)
		require.Equal(t, 0, code, stderr.String())
		assert.Equal(t, want, lastLine(t, stdout.String()))
	}
}

func TestRushOnRealServers(t *testing.T) {
	t.Parallel()
	redis := servertest.SharedRedis(t)
	database := servertest.SharedPostgres(t).Database(t)
	code, stdout, stderr := runs(t, environment("REDIS_URL="+redis.URL(), "DATABASE_URL="+database),
		"-rush", "2000", "-capacity", "300", "-prefix", t.Name(), "-anyway")
	require.Equal(t, 0, code, stderr)
	assert.Equal(t, "audit: capacity=300 sold=300 oversold=0 lost=0 drift=0", lastLine(t, stdout))
}

func TestRushOnPostgresAlone(t *testing.T) {
	t.Parallel()
	database := servertest.SharedPostgres(t).Database(t)
	code, stdout, stderr := runs(t, environment(), "-rush", "2000", "-capacity", "300", "-postgres", database, "-anyway")
	require.Equal(t, 0, code, stderr)
	assert.Contains(t, stdout, "(on PostgreSQL alone)")
	assert.Equal(t, "audit: capacity=300 sold=300 oversold=0 lost=0 drift=0", lastLine(t, stdout))
}

func TestRushIsBrokenOff(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var stdout, stderr strings.Builder
	require.Equal(t, 1, run(ctx, []string{"-rush", "2000"}, environment(), &stdout, &stderr))
	assert.Contains(t, stderr.String(), "broken off")
	assert.NotContains(t, stdout.String(), "audit:")
}

// An audit that can't fail proves nothing.
func TestAuditSeesWhatIsWrong(t *testing.T) {
	t.Parallel()
	on := inside(t)
	shop := newShop(t, on)
	item := order.Item{SKU: "floor", Capacity: 3}
	require.NoError(t, shop.PutOnSale(t.Context(), item))
	booked := make([]order.Order, 2)
	for i := range booked {
		o, _, err := on.orders.Commit(t.Context(), []order.Commit{{Order: order.Order{
			ID: string(rune('a' + i)), Customer: "c", Lines: []order.Line{{SKU: "floor", Quantity: 1}},
		}}})
		require.NoError(t, err)
		require.Equal(t, order.VerdictBooked, o[0].Verdict)
		booked[i] = o[0].Order
	}
	look := func(acknowledged ...order.Order) *audit {
		t.Helper()
		a := &audit{capacity: item.Capacity}
		require.NoError(t, a.compare(t.Context(), on, shop, item.SKU))
		require.NoError(t, a.findLost(t.Context(), on.orders, acknowledged))
		return a
	}

	// Redis has not heard of the two: a version behind, and two units too many.
	a := look(booked...)
	assert.EqualValues(t, 2, a.sold)
	assert.GreaterOrEqual(t, a.drift, int64(3))
	assert.False(t, a.clean(2))
	require.NoError(t, shop.Rebuild(t.Context(), "floor"))
	a = look(booked...)
	assert.Equal(t, "audit: capacity=3 sold=2 oversold=0 lost=0 drift=0", a.String())
	assert.True(t, a.clean(2))
	assert.False(t, a.clean(3), "one more could have been sold")

	// A unit that nobody settles, as long as Run does not sweep.
	counters, err := on.orders.Counters(t.Context(), "floor")
	require.NoError(t, err)
	stray, err := on.inventory.Deduct(t.Context(), inventory.Request{SKU: "floor", Store: counters[0].Store, Attempt: "x", OrderID: "x", Customer: "c", Quantity: 1})
	require.NoError(t, err)
	assert.Equal(t, "audit: capacity=3 sold=2 oversold=0 lost=0 drift=2", look(booked...).String(), "one too few, one unsettled")
	require.NoError(t, on.inventory.Restore(t.Context(), stray))

	// Orders that are not there, are another's, are no more, or are the same twice.
	never := booked[0]
	never.ID = "never"
	others := booked[1]
	others.Customer = "d"
	assert.EqualValues(t, 1, look(never).lost)
	assert.EqualValues(t, 1, look(others).lost)
	assert.EqualValues(t, 1, look(booked[0], booked[0]).lost)
	_, err = shop.Cancel(t.Context(), booked[1].ID)
	require.NoError(t, err)
	assert.EqualValues(t, 1, look(booked...).lost)

	// Fewer are acknowledged than sold; more are sold than there are.
	a, err = auditSKU(t.Context(), on, shop, item, nil)
	require.NoError(t, err)
	assert.False(t, a.clean(1))
	assert.Len(t, a.notes, 1)
	a = &audit{capacity: 0}
	require.NoError(t, a.compare(t.Context(), on, shop, item.SKU))
	assert.EqualValues(t, 1, a.oversold)
}

// unbalancedOrders are orders whose sums are not those of the counters.
type unbalancedOrders struct {
	order.Store
	change func(*order.Tally)
}

func (u unbalancedOrders) Tally(ctx context.Context, skus ...string) ([]order.Tally, error) {
	tallies, err := u.Store.Tally(ctx, skus...)
	for i := range tallies {
		u.change(&tallies[i])
	}
	return tallies, err
}

func TestAuditSeesTheLedger(t *testing.T) {
	t.Parallel()
	on := inside(t)
	shop := newShop(t, on) // it sees the books as they are
	require.NoError(t, shop.PutOnSale(t.Context(), order.Item{SKU: "floor", Capacity: 3}))
	orders := on.orders
	for name, test := range map[string]struct {
		change func(*order.Tally)
		drift  int64
	}{
		"right":                 {func(*order.Tally) {}, 0},
		"the ledger is off":     {func(t *order.Tally) { t.Ledger, t.MovedCapacity = false, 0 }, 0},
		"capacity not moved":    {func(t *order.Tally) { t.MovedCapacity -= 2 }, 2},
		"sold, but not moved":   {func(t *order.Tally) { t.MovedAllocated -= 3 }, 3},
		"counted, without them": {func(t *order.Tally) { t.Counters.Allocated, t.MovedAllocated = 1, 1 }, 1},
	} {
		a := &audit{capacity: 3}
		on.orders = unbalancedOrders{orders, test.change}
		require.NoError(t, a.compare(t.Context(), on, shop, "floor"))
		assert.Equal(t, test.drift, a.drift, name)
		assert.Equal(t, test.drift == 0, a.clean(0), name)
	}
}

// A connection that breaks, and an answer that is not definite, are asked about
// again with the same ID; any other answer is the answer.
func TestClientRetries(t *testing.T) {
	t.Parallel()
	on := inside(t)
	shop := newShop(t, on)
	url := start(t, on, shop)
	require.NoError(t, shop.PutOnSale(t.Context(), order.Item{SKU: "floor", Capacity: 5}))
	tries := 0
	gone := "http://" + closedPort(t)
	c := newClient(func() string {
		if tries++; tries <= 3 {
			return gone
		}
		return url
	}, 1)
	defer c.close()
	retries := 0
	c.retried = func() { retries++ }
	request := map[string]any{"id": "x", "customer": "c", "lines": []order.Line{{SKU: "floor", Quantity: 1}}}
	var o order.Order
	require.NoError(t, c.post(t.Context(), "/api/v1/book", request, &o))
	assert.Equal(t, "x", o.ID)
	assert.Equal(t, 3, retries)

	request["customer"] = "d"
	var no *refusal
	require.ErrorAs(t, c.post(t.Context(), "/api/v1/book", request, &o), &no)
	assert.Equal(t, "idempotency_conflict", no.Code)
	assert.Equal(t, 3, retries)

	tries = -1000
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, c.post(ctx, "/api/v1/book", request, &o), context.DeadlineExceeded)
}
