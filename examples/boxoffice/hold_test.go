package main

import (
	"net/http"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/booking"
	"github.com/lastunit/lastunit/internal/servertest"
	"github.com/lastunit/lastunit/order"
)

func TestLifeOfAHold(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, h http.Handler) {
		ask(t, h, "POST", "/api/v1/events", `{"sku":"floor","capacity":3}`)
		held := parseAnswer[order.Order](t, hold(t, h, "4711", "floor", 2, "10m"))
		assert.Equal(t, order.Held, held.Status)
		assert.Equal(t, 10*time.Minute, held.ExpiresAt.Sub(held.CreatedAt))
		for _, ttl := range []string{"10m", "1h30m"} { // the second click, whatever its ttl
			again := parseAnswer[order.Order](t, hold(t, h, "4711", "floor", 2, ttl))
			assert.True(t, held.ExpiresAt.Equal(again.ExpiresAt))
		}
		assert.Equal(t, "idempotency_conflict", book(t, h, "4711", "floor", 2).problem.Code)
		assert.EqualValues(t, 1, parseAnswer[booking.Stock](t, ask(t, h, "GET", "/api/v1/events/floor", "")).Available)
		assert.Equal(t, "sold_out", hold(t, h, "x", "floor", 2, "1s").problem.Code)

		extend := func(ttl string) order.Order {
			return parseAnswer[order.Order](t, ask(t, h, "POST", "/api/v1/orders/4711/extend", `{"ttl":"`+ttl+`"}`))
		}
		later := extend("1h")
		assert.WithinDuration(t, held.ExpiresAt.Add(50*time.Minute), later.ExpiresAt, time.Minute)
		assert.True(t, later.ExpiresAt.Equal(extend("1m").ExpiresAt), "no sooner")

		for _, verb := range []string{"confirm", "confirm", "reclaim"} {
			confirmed := parseAnswer[order.Order](t, ask(t, h, "POST", "/api/v1/orders/4711/"+verb, ""))
			assert.Equal(t, order.Confirmed, confirmed.Status)
			assert.True(t, later.ExpiresAt.Equal(confirmed.ExpiresAt))
		}
		assert.Equal(t, order.Confirmed, extend("1h").Status)
		assert.Equal(t, order.Confirmed, parseAnswer[order.Order](t, hold(t, h, "4711", "floor", 2, "10m")).Status, "the first click again")

		made := parseAnswer[order.Order](t, ask(t, h, "POST", "/api/v1/hold", `{"customer":"c","lines":[{"sku":"floor","quantity":1}],"ttl":"90s"}`))
		assert.NotEmpty(t, made.ID)
		for range 2 {
			assert.Equal(t, order.Cancelled, parseAnswer[order.Order](t, ask(t, h, "DELETE", "/api/v1/orders/"+made.ID, "")).Status)
		}
		assert.Equal(t, "cancelled", ask(t, h, "POST", "/api/v1/orders/"+made.ID+"/confirm", "").problem.Code)
	})
}

// The clock decides, whether or not anybody has made the hold expire.
func TestHoldThatIsOver(t *testing.T) {
	t.Parallel()
	h := handler(t) // nothing works in the background
	ask(t, h, "POST", "/api/v1/events", `{"sku":"floor","capacity":3}`)
	held := parseAnswer[order.Order](t, hold(t, h, "4711", "floor", 2, "1ms"))
	require.Eventually(t, func() bool { return time.Now().After(held.ExpiresAt) }, testPatience, time.Millisecond)
	for _, target := range []string{"confirm", "extend"} {
		body := map[string]string{"extend": `{"ttl":"1h"}`}[target]
		expired := ask(t, h, "POST", "/api/v1/orders/4711/"+target, body)
		assert.Equal(t, http.StatusConflict, expired.Code)
		assert.Equal(t, "hold_expired", expired.problem.Code)
		assert.Equal(t, "4711", expired.problem.ID)
		assert.True(t, held.ExpiresAt.Equal(expired.problem.ExpiredAt))
		assert.Equal(t, []order.Line{{SKU: "floor", Quantity: 1}}, expired.problem.Left)
	}
	assert.Equal(t, order.Confirmed, parseAnswer[order.Order](t, ask(t, h, "POST", "/api/v1/orders/4711/reclaim", "")).Status)
}

func TestHoldExpires(t *testing.T) {
	t.Parallel()
	h := serverHandler(t)
	ask(t, h, "POST", "/api/v1/events", `{"sku":"floor","capacity":3,"customer_limit":2}`)
	parseAnswer[order.Order](t, hold(t, h, "4711", "floor", 2, "1ms"))
	assert.Eventually(t, func() bool {
		return parseAnswer[order.Order](t, ask(t, h, "GET", "/api/v1/orders/4711", "")).Status == order.Expired
	}, testPatience, 20*time.Millisecond)
	assert.EqualValues(t, 3, parseAnswer[booking.Stock](t, ask(t, h, "GET", "/api/v1/events/floor", "")).Available)

	again := hold(t, h, "4711", "floor", 2, "10m")
	assert.Equal(t, "hold_expired", again.problem.Code)
	assert.Equal(t, []order.Line{{SKU: "floor", Quantity: 3}}, again.problem.Left)

	// It can be had back while it is there, and within the limit.
	reclaim := func() answered { return ask(t, h, "POST", "/api/v1/orders/4711/reclaim", "") }
	book(t, h, "mine", "floor", 1)
	assert.Equal(t, "limit_exceeded", reclaim().problem.Code)
	ask(t, h, "DELETE", "/api/v1/orders/mine", "")
	ask(t, h, "POST", "/api/v1/book", `{"id":"theirs","customer":"d","lines":[{"sku":"floor","quantity":2}]}`)
	soldOut := reclaim()
	assert.Equal(t, http.StatusConflict, soldOut.Code)
	assert.Equal(t, "sold_out", soldOut.problem.Code)
	assert.EqualValues(t, 1, *soldOut.problem.Available)
	ask(t, h, "DELETE", "/api/v1/orders/theirs", "")
	for range 2 {
		assert.Equal(t, order.Confirmed, parseAnswer[order.Order](t, reclaim()).Status)
	}
}

// An order that a payment's open transaction has is not ours to change yet.
func TestBusy(t *testing.T) {
	t.Parallel()
	database := servertest.SharedPostgres(t).Database(t)
	on := outside(t, servertest.SharedRedis(t), database)
	shop := newShop(t, on)
	h := newAPI(shop, on.ping, quiet)
	hurried, err := booking.New(booking.Config{Inventory: on.inventory, Orders: on.orders, Logger: quiet, Timeout: time.Second})
	require.NoError(t, err)
	ask(t, h, "POST", "/api/v1/events", `{"sku":"floor","capacity":1}`)
	parseAnswer[order.Order](t, hold(t, h, "4711", "floor", 1, "1h"))

	pool, err := pgxpool.New(t.Context(), database)
	require.NoError(t, err)
	defer pool.Close()
	tx, err := pool.Begin(t.Context())
	require.NoError(t, err)
	_, err = shop.ConfirmTx(t.Context(), tx, "4711")
	require.NoError(t, err)
	require.Eventually(t, func() bool { // it may also be the time that is over
		a := ask(t, newAPI(hurried, on.ping, quiet), "DELETE", "/api/v1/orders/4711", "")
		require.Equal(t, http.StatusServiceUnavailable, a.Code)
		require.Equal(t, "1", a.Header().Get("Retry-After"))
		require.Equal(t, "4711", a.problem.ID)
		return a.problem.Code == "busy"
	}, testPatience, time.Millisecond)
	require.NoError(t, tx.Commit(t.Context()))
	assert.Equal(t, order.Confirmed, parseAnswer[order.Order](t, ask(t, h, "POST", "/api/v1/orders/4711/confirm", "")).Status)
}
