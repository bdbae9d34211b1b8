package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/booking"
	"github.com/lastunit/lastunit/order"
)

func TestTermsOfAnEvent(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, h http.Handler) {
		const body = `{"sku":"floor","capacity":9,"customer_limit":4,"opens_at":"2020-12-01T21:00:00+01:00","closes_at":"2099-12-01T20:00:00.5Z"}`
		for range 2 {
			item := ask(t, h, "POST", "/api/v1/events", body)
			assert.JSONEq(t, body, item.Body.String())
		}
		assert.JSONEq(t, `{"sku":"floor","capacity":9,"allocated":0,"in_flight":0,"over":0,"available":9,"customer_limit":4,
			"opens_at":"2020-12-01T20:00:00Z","closes_at":"2099-12-01T20:00:00.5Z","paused":false}`,
			ask(t, h, "GET", "/api/v1/events/floor", "").Body.String())
		none := ask(t, h, "POST", "/api/v1/events", `{"sku":"other","capacity":1,"customer_limit":null,"opens_at":null,"closes_at":null,"draws":null}`)
		assert.JSONEq(t, `{"sku":"other","capacity":1}`, none.Body.String())
	})
}

func TestDraws(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, h http.Handler) {
		ask(t, h, "POST", "/api/v1/events", `{"sku":"hall","capacity":5}`)
		ask(t, h, "POST", "/api/v1/events", `{"sku":"pair","capacity":9,"draws":[{"sku":"hall","quantity":2}]}`)
		stocks := ask(t, h, "GET", "/api/v1/events?sku=pair&sku=hall&sku=pair", "")
		assert.JSONEq(t, `{"events":[
			{"sku":"pair","capacity":9,"allocated":0,"in_flight":0,"over":0,"available":2,"paused":false,"draws":[{"sku":"hall","quantity":2}]},
			{"sku":"hall","capacity":5,"allocated":0,"in_flight":0,"over":0,"available":5,"paused":false},
			{"sku":"pair","capacity":9,"allocated":0,"in_flight":0,"over":0,"available":2,"paused":false,"draws":[{"sku":"hall","quantity":2}]}]}`, stocks.Body.String())

		o := parseAnswer[order.Order](t, book(t, h, "1", "pair", 2))
		assert.Equal(t, []order.Line{{SKU: "hall", Quantity: 4}}, o.Draws)
		full := book(t, h, "2", "pair", 1)
		assert.Equal(t, "sold_out", full.problem.Code)
		assert.Equal(t, "hall", full.problem.SKU)
		assert.EqualValues(t, 2, *full.problem.Requested)
		assert.EqualValues(t, 1, *full.problem.Available)

		circle := ask(t, h, "POST", "/api/v1/events", `{"sku":"snake","capacity":1,"draws":[{"sku":"snake","quantity":1}]}`)
		assert.Equal(t, "draws", circle.problem.Field)
	})
}

func TestCapacity(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, h http.Handler) {
		ask(t, h, "POST", "/api/v1/events", `{"sku":"floor","capacity":2}`)
		book(t, h, "1", "floor", 2)
		adjust := func(id, kind string, units int) answered {
			return ask(t, h, "POST", "/api/v1/events/floor/capacity",
				fmt.Sprintf(`{"id":%q,"kind":%q,"units":%d,"reason":"stocktaking","reference":"note 17"}`, id, kind, units))
		}
		for range 2 { // the second click adds nothing
			stock := parseAnswer[booking.Stock](t, adjust("a", "restock", 3))
			assert.Equal(t, booking.Stock{SKU: "floor", Capacity: 5, Allocated: 2, Available: 3}, stock)
		}
		assert.EqualValues(t, 1, parseAnswer[booking.Stock](t, adjust("b", "write_off", 4)).Capacity)
		over := parseAnswer[booking.Stock](t, adjust("c", "set_capacity", 0))
		assert.Equal(t, booking.Stock{SKU: "floor", Allocated: 2, Over: 2}, over)
		assert.Equal(t, "sold_out", book(t, h, "2", "floor", 1).problem.Code)
		// Long after, the first click once more.
		assert.EqualValues(t, 0, parseAnswer[booking.Stock](t, adjust("a", "restock", 3)).Capacity)

		conflict := adjust("a", "restock", 4)
		assert.Equal(t, http.StatusConflict, conflict.Code)
		assert.Equal(t, "idempotency_conflict", conflict.problem.Code)
		assert.Equal(t, "a", conflict.problem.ID)
		assert.Equal(t, "idempotency_conflict", adjust("a", "write_off", 3).problem.Code)
		tooMany := adjust("d", "write_off", 1)
		assert.Equal(t, "invalid_request", tooMany.problem.Code)
		assert.Equal(t, "units", tooMany.problem.Field)
		assert.Equal(t, "d", tooMany.problem.ID)

		movements := parseAnswer[movementsPage](t, ask(t, h, "GET", "/api/v1/events/floor/movements?after=2", "")).Movements
		require.Len(t, movements, 3)
		for i, want := range []order.Movement{
			{Number: 3, Kind: order.MovedRestock, Quantity: 3},
			{Number: 4, Kind: order.MovedWriteOff, Quantity: -4},
			{Number: 5, Kind: order.MovedCapacity, Quantity: -1},
		} {
			want.SKU, want.Reason, want.Reference, want.At = "floor", "stocktaking", "note 17", movements[i].At
			assert.Equal(t, want, movements[i])
		}
	})
}

func TestCustomerLimit(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, h http.Handler) {
		ask(t, h, "POST", "/api/v1/events", `{"sku":"floor","capacity":9}`)
		booked := parseAnswer[order.Order](t, book(t, h, "1", "floor", 2))
		limit := func(limit string) answered {
			return ask(t, h, "PUT", "/api/v1/events/floor/limit", `{"customer_limit":`+limit+`}`)
		}
		for range 2 {
			assert.EqualValues(t, 3, parseAnswer[booking.Stock](t, limit("3")).CustomerLimit)
		}
		refused := book(t, h, "2", "floor", 2)
		assert.Equal(t, http.StatusConflict, refused.Code)
		assert.JSONEq(t, `{"error":{"code":"limit_exceeded","message":"SKU \"floor\": customer limit exceeded: 2 requested, 2 used, 0 in flight, at most 3 for one customer",
			"id":"2","sku":"floor","customer_limit":3,"requested":2,"used":2}}`, refused.Body.String())
		assert.Equal(t, http.StatusOK, ask(t, h, "POST", "/api/v1/book", `{"id":"3","customer":"d","lines":[{"sku":"floor","quantity":3}]}`).Code)

		parseAnswer[booking.Stock](t, limit("1"))
		again := parseAnswer[order.Order](t, book(t, h, "1", "floor", 2))
		assert.True(t, booked.CreatedAt.Equal(again.CreatedAt), "the second click, over the limit by now")
		assert.Zero(t, parseAnswer[booking.Stock](t, limit("null")).CustomerLimit)
		assert.Equal(t, http.StatusOK, book(t, h, "2", "floor", 2).Code)
	})
}

func TestWindow(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, h http.Handler) {
		ask(t, h, "POST", "/api/v1/events", `{"sku":"floor","capacity":9,"opens_at":"2099-12-01T20:00:00Z"}`)
		notOpen := book(t, h, "1", "floor", 1)
		assert.Equal(t, http.StatusConflict, notOpen.Code)
		assert.JSONEq(t, `{"error":{"code":"not_open","message":"SKU \"floor\": not open yet: it opens at 2099-12-01T20:00:00Z",
			"id":"1","sku":"floor","opens_at":"2099-12-01T20:00:00Z"}}`, notOpen.Body.String())

		window := func(opensAt, closesAt string) booking.Stock {
			return parseAnswer[booking.Stock](t, ask(t, h, "PUT", "/api/v1/events/floor/window",
				`{"opens_at":`+opensAt+`,"closes_at":`+closesAt+`}`))
		}
		for range 2 {
			stock := window(`"2020-12-01T20:00:00Z"`, `null`)
			assert.True(t, stock.OpensAt.Equal(time.Date(2020, 12, 1, 20, 0, 0, 0, time.UTC)))
			assert.Zero(t, stock.ClosesAt)
		}
		booked := parseAnswer[order.Order](t, book(t, h, "1", "floor", 1))
		window(`null`, `"2020-12-01T20:00:00Z"`)
		closed := book(t, h, "2", "floor", 1)
		assert.Equal(t, http.StatusConflict, closed.Code)
		assert.JSONEq(t, `{"error":{"code":"closed","message":"SKU \"floor\": closed: it closed at 2020-12-01T20:00:00Z",
			"id":"2","sku":"floor","closes_at":"2020-12-01T20:00:00Z"}}`, closed.Body.String())
		again := parseAnswer[order.Order](t, book(t, h, "1", "floor", 1))
		assert.True(t, booked.CreatedAt.Equal(again.CreatedAt), "the second click, after the sale")
		window(`null`, `null`)
		assert.Equal(t, http.StatusOK, book(t, h, "2", "floor", 1).Code)
	})
}

func TestPause(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, h http.Handler) {
		ask(t, h, "POST", "/api/v1/events", `{"sku":"floor","capacity":9}`)
		held := parseAnswer[order.Order](t, hold(t, h, "held", "floor", 1, "1h"))
		for _, body := range []string{"", "{}"} {
			assert.True(t, parseAnswer[booking.Stock](t, ask(t, h, "POST", "/api/v1/events/floor/pause", body)).Paused)
		}
		paused := book(t, h, "1", "floor", 1)
		assert.Equal(t, http.StatusConflict, paused.Code)
		assert.JSONEq(t, `{"error":{"code":"paused","message":"SKU \"floor\": paused","id":"1","sku":"floor"}}`, paused.Body.String())
		confirmed := parseAnswer[order.Order](t, ask(t, h, "POST", "/api/v1/orders/held/confirm", ""))
		assert.True(t, held.CreatedAt.Equal(confirmed.CreatedAt), "what is held can be confirmed")
		for range 2 {
			assert.False(t, parseAnswer[booking.Stock](t, ask(t, h, "POST", "/api/v1/events/floor/resume", "")).Paused)
		}
		assert.Equal(t, http.StatusOK, book(t, h, "1", "floor", 1).Code)
	})
}

// Many at once, and as many as the URL has room for.
func TestStocks(t *testing.T) {
	t.Parallel()
	h := handler(t)
	var query []string
	for i := range 1000 {
		sku := fmt.Sprintf("käse/%d", i)
		ask(t, h, "POST", "/api/v1/events", fmt.Sprintf(`{"sku":%q,"capacity":%d}`, sku, i))
		query = append(query, fmt.Sprintf("sku=k%%C3%%A4se/%d", i))
	}
	stocks := parseAnswer[struct{ Events []booking.Stock }](t, ask(t, h, "GET", "/api/v1/events?"+strings.Join(query, "&"), "")).Events
	require.Len(t, stocks, 1000)
	for i, stock := range stocks {
		assert.Equal(t, booking.Stock{SKU: fmt.Sprintf("käse/%d", i), Capacity: int64(i), Available: int64(i)}, stock)
	}
	tooMany := ask(t, h, "GET", "/api/v1/events?sku=a"+strings.Repeat("&sku=a", order.MaxItems), "")
	assert.Equal(t, "invalid_request", tooMany.problem.Code)

	on := inside(t)
	url := start(t, on, newShop(t, on))
	response, err := http.Get(url + "/api/v1/events?sku=a" + strings.Repeat("&sku=a", 2*maxHeaderBytes/6))
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	assert.Equal(t, http.StatusRequestHeaderFieldsTooLarge, response.StatusCode)
	http.DefaultClient.CloseIdleConnections()
}

// book books units of one event, as customer c.
func book(t testing.TB, h http.Handler, id, sku string, quantity int) answered {
	t.Helper()
	return ask(t, h, "POST", "/api/v1/book", fmt.Sprintf(`{"id":%q,"customer":"c","lines":[{"sku":%q,"quantity":%d}]}`, id, sku, quantity))
}

// hold holds units of one event, as customer c.
func hold(t testing.TB, h http.Handler, id, sku string, quantity int, ttl string) answered {
	t.Helper()
	return ask(t, h, "POST", "/api/v1/hold", fmt.Sprintf(`{"id":%q,"customer":"c","lines":[{"sku":%q,"quantity":%d}],"ttl":%q}`, id, sku, quantity, ttl))
}

// movementsPage is a page of the ledger of one event.
type movementsPage struct {
	Movements []order.Movement `json:"movements"`
	Next      int64            `json:"next"`
}

// feedPage is a page of the feed.
type feedPage struct {
	Movements []order.Movement `json:"movements"`
	Next      order.Cursor     `json:"next"`
}

func inJSONText(t testing.TB, value any) string {
	t.Helper()
	text, err := json.Marshal(value)
	require.NoError(t, err)
	return string(text)
}
