package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
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
			assert.Equal(t, order.Cancelled, parseAnswer[order.Order](t, ask(t, h, "DELETE", "/api/v1/orders/"+escaped, "")).Status)
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
	ask(t, h, "DELETE", "/api/v1/orders/gone", "")

	for name, test := range map[string]struct {
		method, target, body string
		status               int
		code                 string
	}{
		"sold out":        {"POST", "/api/v1/book", `{"id":"x","customer":"c","lines":[{"sku":"floor","quantity":2}]}`, 409, "sold_out"},
		"unknown SKU":     {"POST", "/api/v1/book", `{"id":"x","customer":"c","lines":[{"sku":"none","quantity":2}]}`, 404, "unknown_sku"},
		"unknown event":   {"GET", "/api/v1/events/none", "", 404, "unknown_sku"},
		"conflict":        {"POST", "/api/v1/book", `{"id":"there","customer":"other","lines":[{"sku":"floor","quantity":1}]}`, 409, "idempotency_conflict"},
		"cancelled":       {"POST", "/api/v1/book", `{"id":"gone","customer":"c","lines":[{"sku":"floor","quantity":1}]}`, 409, "cancelled"},
		"no such order":   {"GET", "/api/v1/orders/none", "", 404, "not_found"},
		"other capacity":  {"POST", "/api/v1/events", `{"sku":"floor","capacity":3}`, 409, "already_on_sale"},
		"no such path":    {"GET", "/nothing", "", 404, "not_found"},
		"other method":    {"PUT", "/api/v1/book", "", 405, "method_not_allowed"},
		"no order":        {"DELETE", "/api/v1/orders/", "", 404, "not_found"},
		"long ID in path": {"GET", "/api/v1/orders/" + long(129), "", 400, "invalid_request"},
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
	assert.Equal(t, "POST", ask(t, h, "PUT", "/api/v1/book", "").Header().Get("Allow"))
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
		SKU: "floor", Store: counters[0].Store, Attempt: "of another process", OrderID: "other", Quantity: 1,
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
	const book = `{"id":"x","customer":"c","lines":[{"sku":"floor","quantity":1}]}`
	for _, test := range []struct{ method, target, body, code, message string }{
		{"POST", "/api/v1/book", book, "outcome_unknown", "it may have been done or not: send the same request again, with the same ID"},
		{"POST", "/api/v1/events", `{"sku":"floor","capacity":1}`, "outcome_unknown", "it may have been done or not: send the same request again, with the same ID"},
		{"DELETE", "/api/v1/orders/x", "", "outcome_unknown", "it may have been done or not: send the same request again, with the same ID"},
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
