package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/booking"
	"github.com/lastunit/lastunit/order"
)

// What package json would quietly make something else of is refused.
func TestStrictJSON(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{
		`{"id":"\ud800"}`, `{"id":"\udfff"}`, `{"id":"\uDBFFx"}`, `{"id":"\ud800\ud800"}`, `{"\ud800":1}`, `{"id":"\\\ud800"}`,
		`{"id":"a","id":"b"}`, `{"id":"a","ID":"b"}`, `{"id":"a","\u0069d":"b"}`, `{"lines":[{"sku":"a","sku":"b"}]}`, `{"a":{},"a":1}`,
		`{"ID":"a"}`, `{"lines":[{"sku":"a","ſku":"x"}]}`, `{"lines":[{"\u017fku":"x"}]}`, `{"lines":[{"SKU":"a"}]}`,
	} {
		var into struct {
			ID    string       `json:"id"`
			Lines []order.Line `json:"lines"`
		}
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "/", strings.NewReader(bad))
		require.NoError(t, err)
		request.Header.Set("Content-Type", "application/json")
		p := explain(request, read(request, &into))
		assert.Equal(t, "invalid_request", p.Code, bad)
	}
	for _, good := range []string{
		`{"id":"\ud83d\ude00"}`, `{"id":"\\ud800"}`, `{"id":"\u00e9\ufffd"}`, `{"lines":[{"sku":"sku"},{"sku":"sku"}],"id":"lines"}`, `[`, `{"a"`, `{}x`, ``, `"\u12`,
	} {
		_, err := strictJSON([]byte(good), nil)
		require.NoError(t, err, good)
	}
}

// What is no address of ours is so in JSON, and nobody is sent elsewhere.
func TestUncleanPaths(t *testing.T) {
	t.Parallel()
	for _, target := range []string{"/api//v1/history", "/api/v1/./history", "/api/v1/orders/..", "/api/v1/orders/../history", "//", "/api/v1//book/", "/nowhere", "/"} {
		for _, method := range []string{"GET", "POST"} {
			a := ask(t, handler(t), method, target, "")
			assert.Equal(t, http.StatusNotFound, a.Code, "%s %s: %s", method, target, a.Body)
			assert.Equal(t, "not_found", a.problem.Code, target)
			assert.NotEmpty(t, a.problem.Message, target)
			assert.Empty(t, a.Header().Get("Location"), target)
		}
	}
}

func TestUnknownParameters(t *testing.T) {
	t.Parallel()
	h := handler(t)
	for target, method := range map[string]string{
		"/api/v1/events/floor?a=1": "GET", "/api/v1/orders/x?a=1": "GET", "/healthz?a=1": "GET", "/api/v1/orders/x/confirm?a=1": "POST",
		"/api/v1/history?a=1": "GET", "/api/v1/events/floor/limit?a=1": "PUT",
	} {
		a := ask(t, h, method, target, "")
		assert.Equal(t, http.StatusBadRequest, a.Code, target)
		assert.Equal(t, "a", a.problem.Field, target)
	}
}

func TestEmptyChunks(t *testing.T) {
	t.Parallel()
	a := ask(t, handler(t), "POST", "/api/v1/orders/x/confirm", "", func(r *http.Request) {
		r.Body, r.ContentLength = io.NopCloser(strings.NewReader("")), -1
		r.Header.Del("Content-Type")
	})
	assert.Equal(t, "not_found", a.problem.Code, a.Body)
}

func TestCharset(t *testing.T) {
	t.Parallel()
	for charset, status := range map[string]int{
		"utf-8": http.StatusNotFound, "UTF-8": http.StatusNotFound, `"utf-8"`: http.StatusNotFound,
		"utf-16": http.StatusUnsupportedMediaType, "iso-8859-1": http.StatusUnsupportedMediaType, "us-ascii": http.StatusUnsupportedMediaType,
	} {
		for _, media := range []string{"application/json", "text/csv"} {
			target, body := "/api/v1/book", `{"customer":"c","lines":[{"sku":"none","quantity":1}]}`
			if media == "text/csv" {
				target, body = "/api/v1/events", "sku,capacity\n"
			}
			request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, target, strings.NewReader(body))
			require.NoError(t, err)
			request.Header.Set("Content-Type", media+"; charset="+charset)
			recorded := httptest.NewRecorder()
			handler(t).ServeHTTP(recorded, request)
			if media == "application/json" || status == http.StatusUnsupportedMediaType {
				assert.Equal(t, status, recorded.Code, "%s %s: %s", media, charset, recorded.Body)
			}
		}
	}
}

// brokenOrders are orders whose tables are gone.
type brokenOrders struct{ order.Store }

func (brokenOrders) Orders(context.Context, order.Query) (order.Page, error) {
	return order.Page{}, fmt.Errorf("%w: no table", order.ErrNotMigrated)
}

// Each server has its own result: one that hangs is not the other one's death.
func TestHealthTellsWhich(t *testing.T) {
	t.Parallel()
	shop, err := booking.New(booking.Config{Orders: order.NewMemory(), Logger: quiet})
	require.NoError(t, err)
	broken, err := booking.New(booking.Config{Orders: brokenOrders{order.NewMemory()}, Logger: quiet})
	require.NoError(t, err)
	fine := func(context.Context) error { return nil }
	hangs := func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
		defer cancel()
		<-ctx.Done()
		return named("Redis", ctx.Err())
	}
	dead := func(ctx context.Context) error { return named("PostgreSQL", ctx.Err()) } // if its time was used up
	for _, test := range []struct {
		shop    *booking.Service
		ping    func(context.Context) error
		status  int
		message string
	}{
		{shop, fine, http.StatusOK, ""},
		{shop, func(ctx context.Context) error { return sideBySide(ctx, hangs, dead) }, http.StatusServiceUnavailable, "Redis cannot be reached"},
		{broken, fine, http.StatusServiceUnavailable, "the database does not have the tables of this version"},
	} {
		a := ask(t, newAPI(test.shop, test.ping, quiet), "GET", "/healthz", "")
		assert.Equal(t, test.status, a.Code)
		assert.Equal(t, test.message, a.problem.Message)
	}
}
