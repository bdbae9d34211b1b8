package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/booking"
	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

func TestLifeOfAnOrder(t *testing.T) {
	t.Parallel()
	h := handler(t)
	for range 2 { // the same again is no error
		item := parseAnswer[order.Item](t, ask(t, h, "POST", "/api/v1/events", `{"sku":"floor","capacity":3}`))
		assert.Equal(t, order.Item{SKU: "floor", Capacity: 3}, item)
	}

	const body = `{"id":"4711","customer":"c-17","lines":[{"sku":"floor","quantity":2}]}`
	booked := parseAnswer[order.Order](t, ask(t, h, "POST", "/api/v1/book", body))
	assert.Equal(t, "4711", booked.ID)
	assert.Equal(t, "c-17", booked.Customer)
	assert.Equal(t, order.Confirmed, booked.Status)
	assert.Equal(t, []order.Line{{SKU: "floor", Quantity: 2}}, booked.Lines)
	assert.WithinDuration(t, time.Now(), booked.CreatedAt, time.Minute)

	again := parseAnswer[order.Order](t, ask(t, h, "POST", "/api/v1/book", body))
	assert.True(t, booked.CreatedAt.Equal(again.CreatedAt), "the first answer again")
	stored := parseAnswer[order.Order](t, ask(t, h, "GET", "/api/v1/orders/4711", ""))
	assert.True(t, booked.CreatedAt.Equal(stored.CreatedAt))

	stock := parseAnswer[booking.Stock](t, ask(t, h, "GET", "/api/v1/events/floor", ""))
	assert.Equal(t, booking.Stock{SKU: "floor", Capacity: 3, Allocated: 2, Available: 1}, stock)

	for range 2 {
		cancelled := parseAnswer[order.Order](t, ask(t, h, "DELETE", "/api/v1/orders/4711", ""))
		assert.Equal(t, order.Cancelled, cancelled.Status)
	}
	stock = parseAnswer[booking.Stock](t, ask(t, h, "GET", "/api/v1/events/floor", ""))
	assert.Equal(t, booking.Stock{SKU: "floor", Capacity: 3, Available: 3}, stock)
}

func TestAnIDIsMadeIfThereIsNone(t *testing.T) {
	t.Parallel()
	h := handler(t)
	ask(t, h, "POST", "/api/v1/events", `{"sku":"floor","capacity":1}`)
	o := parseAnswer[order.Order](t, ask(t, h, "POST", "/api/v1/book", `{"customer":"c","lines":[{"sku":"floor","quantity":1}]}`))
	require.NotEmpty(t, o.ID)
	assert.Equal(t, o.ID, parseAnswer[order.Order](t, ask(t, h, "GET", "/api/v1/orders/"+o.ID, "")).ID)

	refused := ask(t, h, "POST", "/api/v1/book", `{"customer":"c","lines":[{"sku":"floor","quantity":1}]}`)
	assert.Equal(t, "sold_out", refused.problem.Code)
	assert.NotEmpty(t, refused.problem.ID)
	assert.NotEqual(t, o.ID, refused.problem.ID)
}

func TestIDsInPaths(t *testing.T) {
	t.Parallel()
	h := handler(t)
	for i, id := range []string{"a/b", "../x", "a b", "100%", "a%2Fb", "käse?q=1#f", "{id}", "a//b", "+", "日本", "a;b", ".", ".."} {
		t.Run(id, func(t *testing.T) {
			sku := fmt.Sprint(id, i)
			ask(t, h, "POST", "/api/v1/events", fmt.Sprintf(`{"sku":%q,"capacity":5}`, sku))
			booked := ask(t, h, "POST", "/api/v1/book", fmt.Sprintf(`{"id":%q,"customer":"c","lines":[{"sku":%q,"quantity":1}]}`, id, sku))
			require.Equal(t, http.StatusOK, booked.Code, booked.Body)
			// What has a meaning of its own in a path is to be encoded too.
			escaped := url.PathEscape(id)
			if id == "." || id == ".." {
				escaped = map[string]string{".": "%2E", "..": "%2E%2E"}[id]
			}
			assert.Equal(t, id, parseAnswer[order.Order](t, ask(t, h, "GET", "/api/v1/orders/"+escaped, "")).ID)
			stock := parseAnswer[booking.Stock](t, ask(t, h, "GET", "/api/v1/events/"+url.PathEscape(sku), ""))
			assert.Equal(t, sku, stock.SKU)
			assert.EqualValues(t, 1, stock.Allocated)
			assert.Equal(t, id, parseAnswer[order.Order](t, ask(t, h, "POST", "/api/v1/orders/"+escaped+"/confirm", "")).ID)
			assert.Equal(t, order.Cancelled, parseAnswer[order.Order](t, ask(t, h, "DELETE", "/api/v1/orders/"+escaped, "")).Status)
			escapedSKU := url.PathEscape(sku)
			assert.True(t, parseAnswer[booking.Stock](t, ask(t, h, "POST", "/api/v1/events/"+escapedSKU+"/pause", "")).Paused)
			assert.EqualValues(t, 3, parseAnswer[movementsPage](t, ask(t, h, "GET", "/api/v1/events/"+escapedSKU+"/movements", "")).Next)
			stocks := parseAnswer[struct{ Events []booking.Stock }](t, ask(t, h, "GET", "/api/v1/events?sku="+url.QueryEscape(sku), "")).Events
			assert.Equal(t, sku, stocks[0].SKU)
		})
	}
}

func TestHistory(t *testing.T) {
	t.Parallel()
	h := handler(t)
	ask(t, h, "POST", "/api/v1/events", `{"sku":"floor","capacity":10}`)
	for i := range 5 {
		ask(t, h, "POST", "/api/v1/book", fmt.Sprintf(`{"id":"o%d","customer":"c","lines":[{"sku":"floor","quantity":1}]}`, i))
	}
	ask(t, h, "DELETE", "/api/v1/orders/o3", "")

	ids := func(page order.Page) (ids []string) {
		for _, o := range page.Orders {
			ids = append(ids, o.ID)
		}
		return ids
	}
	first := parseAnswer[order.Page](t, ask(t, h, "GET", "/api/v1/history?size=2&status=confirmed", ""))
	assert.Equal(t, []string{"o4", "o2"}, ids(first))
	second := parseAnswer[order.Page](t, ask(t, h, "GET", "/api/v1/history?size=2&status=confirmed&after="+url.QueryEscape(first.Next), ""))
	assert.Equal(t, []string{"o1", "o0"}, ids(second))
	assert.Empty(t, second.Next)
	assert.Equal(t, []string{"o4", "o3", "o2", "o1", "o0"}, ids(parseAnswer[order.Page](t, ask(t, h, "GET", "/api/v1/history", ""))))
	none := ask(t, h, "GET", "/api/v1/history?status=held", "")
	assert.JSONEq(t, `{"orders":[],"next":""}`, none.Body.String())
}

func TestErrors(t *testing.T) {
	t.Parallel()
	h := handler(t)
	ask(t, h, "POST", "/api/v1/events", `{"sku":"floor","capacity":2}`)
	ask(t, h, "POST", "/api/v1/book", `{"id":"there","customer":"c","lines":[{"sku":"floor","quantity":1}]}`)
	ask(t, h, "POST", "/api/v1/orders/gone/void", "")
	ask(t, h, "POST", "/api/v1/events", `{"sku":"hall","capacity":2,"pool_only":true}`)

	for name, test := range map[string]struct {
		method, target, body string
		status               int
		code                 string
	}{
		"sold out":            {"POST", "/api/v1/book", `{"id":"x","customer":"c","lines":[{"sku":"floor","quantity":2}]}`, 409, "sold_out"},
		"unknown SKU":         {"POST", "/api/v1/book", `{"id":"x","customer":"c","lines":[{"sku":"none","quantity":2}]}`, 404, "unknown_sku"},
		"unknown event":       {"GET", "/api/v1/events/none", "", 404, "unknown_sku"},
		"conflict":            {"POST", "/api/v1/book", `{"id":"there","customer":"other","lines":[{"sku":"floor","quantity":1}]}`, 409, "idempotency_conflict"},
		"cancelled":           {"POST", "/api/v1/book", `{"id":"gone","customer":"c","lines":[{"sku":"floor","quantity":1}]}`, 409, "cancelled"},
		"no such order":       {"GET", "/api/v1/orders/none", "", 404, "not_found"},
		"other capacity":      {"POST", "/api/v1/events", `{"sku":"floor","capacity":3}`, 409, "already_on_sale"},
		"confirm nothing":     {"POST", "/api/v1/orders/none/confirm", "", 404, "not_found"},
		"extend nothing":      {"POST", "/api/v1/orders/none/extend", `{"ttl":"1s"}`, 404, "not_found"},
		"reclaim nothing":     {"POST", "/api/v1/orders/none/reclaim", "", 404, "not_found"},
		"confirm gone":        {"POST", "/api/v1/orders/gone/confirm", "", 409, "cancelled"},
		"extend gone":         {"POST", "/api/v1/orders/gone/extend", `{"ttl":"1s"}`, 409, "cancelled"},
		"reclaim gone":        {"POST", "/api/v1/orders/gone/reclaim", "", 409, "cancelled"},
		"hold of none":        {"POST", "/api/v1/hold", `{"id":"x","customer":"c","lines":[{"sku":"none","quantity":2}],"ttl":"1s"}`, 404, "unknown_sku"},
		"hold what is booked": {"POST", "/api/v1/hold", `{"id":"there","customer":"c","lines":[{"sku":"floor","quantity":1}],"ttl":"1s"}`, 409, "idempotency_conflict"},
		"adjust nothing":      {"POST", "/api/v1/events/none/capacity", `{"id":"x","kind":"restock","units":1}`, 404, "unknown_sku"},
		"limit nothing":       {"PUT", "/api/v1/events/none/limit", `{"customer_limit":1}`, 404, "unknown_sku"},
		"window nothing":      {"PUT", "/api/v1/events/none/window", `{"opens_at":null,"closes_at":null}`, 404, "unknown_sku"},
		"pause nothing":       {"POST", "/api/v1/events/none/pause", "", 404, "unknown_sku"},
		"resume nothing":      {"POST", "/api/v1/events/none/resume", "", 404, "unknown_sku"},
		"stocks of none":      {"GET", "/api/v1/events?sku=floor&sku=none", "", 404, "unknown_sku"},
		"movements of none":   {"GET", "/api/v1/events/none/movements", "", 404, "unknown_sku"},
		"draw on nothing":     {"POST", "/api/v1/events", `{"sku":"x","capacity":3,"draws":[{"sku":"none","quantity":1}]}`, 404, "unknown_sku"},
		"other limit":         {"POST", "/api/v1/events", `{"sku":"floor","capacity":2,"customer_limit":1}`, 409, "already_on_sale"},
		"get a feed":          {"GET", "/api/v1/feed", "", 405, "method_not_allowed"},
		"no such path":        {"GET", "/nothing", "", 404, "not_found"},
		"other method":        {"PUT", "/api/v1/book", "", 405, "method_not_allowed"},
		"pool only":           {"POST", "/api/v1/hold", `{"customer":"c","lines":[{"sku":"hall","quantity":1}],"ttl":"1m"}`, 409, "pool_only"},
		"pool only or not":    {"POST", "/api/v1/events", `{"sku":"hall","capacity":2}`, 409, "already_on_sale"},
		"a typo":              {"DELETE", "/api/v1/orders/nobodys", "", 404, "not_found"},
		"no order":            {"DELETE", "/api/v1/orders/", "", 404, "not_found"},
		"long ID in path":     {"GET", "/api/v1/orders/" + long(129), "", 400, "invalid_request"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := ask(t, h, test.method, test.target, test.body)
			assert.Equal(t, test.status, a.Code, a.Body)
			assert.Equal(t, test.code, a.problem.Code)
		})
	}

	soldOut := ask(t, h, "POST", "/api/v1/book", `{"id":"x","customer":"c","lines":[{"sku":"floor","quantity":2}]}`)
	assert.JSONEq(t, `{"error":{"code":"sold_out","message":"SKU \"floor\": sold out: 2 requested, 1 available, 0 in flight",
		"id":"x","sku":"floor","requested":2,"available":1}}`, soldOut.Body.String())
	assert.Empty(t, soldOut.Header().Get("Retry-After"))
	require.Equal(t, http.StatusOK, ask(t, h, "POST", "/api/v1/events", `{"sku":"gallery","capacity":1}`).Code)
	several := ask(t, h, "POST", "/api/v1/book", `{"id":"x","customer":"c","lines":[{"sku":"floor","quantity":2},{"sku":"gallery","quantity":3}]}`)
	assert.JSONEq(t, `{"error":{"code":"sold_out",
		"message":"SKU \"floor\": sold out: 2 requested, 1 available, 0 in flight; SKU \"gallery\": sold out: 3 requested, 1 available, 0 in flight",
		"id":"x","sku":"floor","requested":2,"available":1,
		"short":[{"sku":"floor","requested":2,"available":1},{"sku":"gallery","requested":3,"available":1}]}}`, several.Body.String())
	assert.Equal(t, "POST", ask(t, h, "PUT", "/api/v1/book", "").Header().Get("Allow"))
}

// Each error that has facts has them as fields; what may change soon is a 503.
func TestFacts(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 12, 1, 20, 0, 0, 0, time.UTC)
	for _, test := range []struct {
		err    error
		status int
		want   string
	}{
		{
			&inventory.LimitError{SKU: "a", Limit: 4, Requested: 3, Used: 2}, 409,
			`{"code":"limit_exceeded","message":"SKU \"a\": customer limit exceeded: 3 requested, 2 used, 0 in flight, at most 4 for one customer",
			"sku":"a","customer_limit":4,"requested":3,"used":2}`,
		},
		{
			&inventory.LimitError{SKU: "a", Limit: 4, Requested: 3, Used: 0, InFlight: 2}, 503,
			`{"code":"try_again","message":"no units available at the moment, try again","sku":"a","customer_limit":4,"requested":3,"used":0}`,
		},
		{
			&inventory.WindowError{SKU: "a", OpensAt: at, Err: inventory.ErrNotOpen}, 409,
			`{"code":"not_open","message":"SKU \"a\": not open yet: it opens at 2026-12-01T20:00:00Z","sku":"a","opens_at":"2026-12-01T20:00:00Z"}`,
		},
		{
			&inventory.WindowError{SKU: "a", OpensAt: at, ClosesAt: at.Add(time.Hour), Err: inventory.ErrClosed}, 409,
			`{"code":"closed","message":"SKU \"a\": closed: it closed at 2026-12-01T21:00:00Z","sku":"a",
			"opens_at":"2026-12-01T20:00:00Z","closes_at":"2026-12-01T21:00:00Z"}`,
		},
		{
			&inventory.WindowError{SKU: "a", Err: inventory.ErrPaused}, 409,
			`{"code":"paused","message":"SKU \"a\": paused","sku":"a"}`,
		},
		{
			&failed{"4711", &order.HoldExpiredError{ID: "4711", ExpiredAt: at, Left: []order.Line{{SKU: "a", Quantity: 0}}}}, 409,
			`{"code":"hold_expired","message":"order \"4711\": the hold has expired at 2026-12-01T20:00:00Z","id":"4711",
			"expired_at":"2026-12-01T20:00:00Z","left":[{"sku":"a","quantity":0}]}`,
		},
		{
			&order.OrderError{ID: "4711", Err: order.ErrBusy}, 503,
			`{"code":"busy","message":"` + order.ErrBusy.Error() + `, try again","id":"4711"}`,
		},
		{
			&failed{"4711", fmt.Errorf("%w: 10000 are waiting", booking.ErrOverloaded)}, 503,
			`{"code":"overloaded","message":"` + booking.ErrOverloaded.Error() + `","id":"4711"}`,
		},
		{
			&failed{"4711", &order.RefusedError{ID: "4711", Refusal: order.Refusal{Why: order.WhyUnknown, SKU: "a"}}}, 409,
			`{"code":"refused","message":"order \"4711\": refused after it was accepted: SKU \"a\": unknown SKU","id":"4711","sku":"a"}`,
		},
		{
			&failed{"adjustment", &order.AdjustmentError{ID: "adjustment", Err: order.ErrIdempotencyConflict}}, 409,
			`{"code":"idempotency_conflict","message":"the ID was used for something else","id":"adjustment"}`,
		},
		{
			fmt.Errorf("%w: check constraint secret", order.ErrRejected), 422,
			`{"code":"rejected","message":"rejected by the database"}`,
		},
	} {
		w := httptest.NewRecorder()
		writeProblem(w, explain(httptest.NewRequest("POST", "/", nil), test.err))
		assert.Equal(t, test.status, w.Code)
		assert.JSONEq(t, `{"error":`+test.want+`}`, w.Body.String())
		assert.Equal(t, test.status == 503, w.Header().Get("Retry-After") == "1")
		assert.Equal(t, test.status == 503, retryable(&refusal{Code: explain(httptest.NewRequest("POST", "/", nil), test.err).Code}))
	}
}

// A page of another site can't make a visitor's browser change anything.
func TestCrossOrigin(t *testing.T) {
	t.Parallel()
	h := handler(t)
	ask(t, h, "POST", "/api/v1/events", `{"sku":"floor","capacity":1}`)
	for name, value := range map[string]string{"Sec-Fetch-Site": "cross-site", "Origin": "https://elsewhere.example"} {
		from := func(r *http.Request) { r.Header.Set(name, value) }
		for _, target := range []string{"/api/v1/events/floor/pause", "/api/v1/orders/x/confirm"} {
			a := ask(t, h, "POST", target, "", from)
			assert.Equal(t, http.StatusForbidden, a.Code)
			assert.Equal(t, "cross_origin", a.problem.Code)
		}
		assert.Equal(t, http.StatusForbidden, ask(t, h, "DELETE", "/api/v1/orders/x", "", from).Code)
		assert.False(t, parseAnswer[booking.Stock](t, ask(t, h, "GET", "/api/v1/events/floor", "", from)).Paused)
	}
	same := func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "same-origin") }
	assert.Equal(t, http.StatusOK, ask(t, h, "POST", "/api/v1/events/floor/pause", "", same).Code)
}

// Units that are in flight elsewhere may come back.
func TestTryAgain(t *testing.T) {
	t.Parallel()
	on := inside(t)
	h := newAPI(newShop(t, on), on.ping, quiet)
	ask(t, h, "POST", "/api/v1/events", `{"sku":"floor","capacity":1}`)
	counters, err := on.orders.Counters(t.Context(), "floor")
	require.NoError(t, err)
	_, err = on.inventory.Deduct(t.Context(), inventory.Request{
		SKU: "floor", Store: counters[0].Store, Attempt: "of another process", OrderID: "other", Customer: "other", Quantity: 1,
	})
	require.NoError(t, err)

	a := ask(t, h, "POST", "/api/v1/book", `{"id":"x","customer":"c","lines":[{"sku":"floor","quantity":1}]}`)
	assert.Equal(t, http.StatusServiceUnavailable, a.Code)
	assert.Equal(t, "1", a.Header().Get("Retry-After"))
	assert.JSONEq(t, `{"error":{"code":"try_again","message":"no units available at the moment, try again",
		"id":"x","sku":"floor","requested":1,"available":0}}`, a.Body.String())
}

// What is behind a failure of ours is nobody's business.
func TestFailuresTellNothing(t *testing.T) {
	t.Parallel()
	on := inside(t)
	secret := errors.New("dial tcp 10.1.2.3:5432: user=admin password=hunter2 select")
	on.orders = failing{on.orders, fmt.Errorf("%w: %w", order.ErrUnavailable, secret)}
	h := newAPI(newShop(t, on), func(context.Context) error { return secret }, quiet)
	const (
		book    = `{"id":"x","customer":"c","lines":[{"sku":"floor","quantity":1}]}`
		hold    = `{"id":"x","customer":"c","lines":[{"sku":"floor","quantity":1}],"ttl":"1s"}`
		unknown = "it may have been done or not: send the same request again, with the same ID"
	)
	for _, test := range []struct{ method, target, body, code, message string }{
		{"POST", "/api/v1/book", book, "outcome_unknown", unknown},
		{"POST", "/api/v1/events", `{"sku":"floor","capacity":1}`, "outcome_unknown", unknown},
		{"DELETE", "/api/v1/orders/x", "", "outcome_unknown", unknown},
		{"POST", "/api/v1/hold", hold, "outcome_unknown", unknown},
		{"POST", "/api/v1/orders/x/confirm", "", "outcome_unknown", unknown},
		{"POST", "/api/v1/orders/x/extend", `{"ttl":"1s"}`, "outcome_unknown", unknown},
		{"POST", "/api/v1/orders/x/reclaim", "", "outcome_unknown", unknown},
		{"POST", "/api/v1/events/x/capacity", `{"id":"x","kind":"restock","units":1}`, "outcome_unknown", unknown},
		{"POST", "/api/v1/events/x/pause", "", "outcome_unknown", unknown},
		{"GET", "/api/v1/events?sku=x", "", "unavailable", "the service can't answer at the moment, try again"},
		{"GET", "/api/v1/events/x/movements", "", "unavailable", "the service can't answer at the moment, try again"},
		{"POST", "/api/v1/feed", `{}`, "unavailable", "the service can't answer at the moment, try again"},
		{"GET", "/api/v1/orders/x", "", "unavailable", "the service can't answer at the moment, try again"},
		{"GET", "/api/v1/events/x", "", "unavailable", "the service can't answer at the moment, try again"},
		{"GET", "/healthz", "", "unavailable", "a server behind the service does not answer"},
	} {
		t.Run(test.method+" "+test.target, func(t *testing.T) {
			a := ask(t, h, test.method, test.target, test.body)
			assert.Equal(t, http.StatusServiceUnavailable, a.Code)
			assert.Equal(t, "1", a.Header().Get("Retry-After"))
			assert.Equal(t, test.code, a.problem.Code)
			assert.Equal(t, test.message, a.problem.Message)
			assert.NotContains(t, a.Body.String(), "10.1.2.3")
		})
	}

	bug := explain(&http.Request{Method: "POST"}, secret)
	assert.Equal(t, &problem{status: 500, Code: "internal", Message: "internal error"}, bug)
}

func TestHealth(t *testing.T) {
	t.Parallel()
	assert.JSONEq(t, `{"status":"ok"}`, ask(t, handler(t), "GET", "/healthz", "").Body.String())
}
