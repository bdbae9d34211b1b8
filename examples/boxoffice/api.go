package main

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"

	"github.com/lastunit/lastunit/booking"
	"github.com/lastunit/lastunit/order"
)

// api is the service's HTTP interface.
type api struct {
	shop *booking.Service
	ping func(context.Context) error
	log  *slog.Logger
}

// newAPI returns the handler of all requests.
func newAPI(shop *booking.Service, ping func(context.Context) error, log *slog.Logger) http.Handler {
	a := &api{shop, ping, log}
	// So that no page of another site can make a browser post here: a confirm or
	// a pause has no body whose type could tell.
	origin := http.NewCrossOriginProtection()
	mux := http.NewServeMux()
	for pattern, handle := range map[string]func(*http.Request) (any, error){
		"POST /api/v1/events":                a.putOnSale,
		"GET /api/v1/events":                 a.stocks,
		"GET /api/v1/events/{sku}":           a.stock,
		"POST /api/v1/events/{sku}/capacity": a.adjust,
		"PUT /api/v1/events/{sku}/limit":     a.setLimit,
		"PUT /api/v1/events/{sku}/window":    a.setWindow,
		"POST /api/v1/events/{sku}/pause":    a.pause,
		"POST /api/v1/events/{sku}/resume":   a.resume,
		"GET /api/v1/events/{sku}/movements": a.movements,
		"POST /api/v1/feed":                  a.feed,
		"POST /api/v1/book":                  a.book,
		"POST /api/v1/hold":                  a.hold,
		"GET /api/v1/orders/{id}":            a.order,
		"DELETE /api/v1/orders/{id}":         a.cancel,
		"POST /api/v1/orders/{id}/void":      a.void,
		"POST /api/v1/orders/{id}/confirm":   a.confirm,
		"POST /api/v1/orders/{id}/extend":    a.extend,
		"POST /api/v1/orders/{id}/reclaim":   a.reclaim,
		"GET /api/v1/history":                a.history,
		"GET /healthz":                       a.health,
	} {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			if err := origin.Check(r); err != nil {
				a.fail(w, r, &problem{status: http.StatusForbidden, Code: "cross_origin", Message: err.Error()})
				return
			}
			if !queried[pattern] {
				if _, err := query(r); err != nil {
					a.fail(w, r, err)
					return
				}
			}
			answer, err := handle(r)
			if err != nil {
				a.fail(w, r, err)
				return
			}
			write(w, http.StatusOK, answer)
		})
	}
	return inJSON(mux)
}

// queried are those that read the parameters of their query. The others take none.
var queried = map[string]bool{
	"GET /api/v1/events": true, "GET /api/v1/events/{sku}/movements": true, "GET /api/v1/history": true,
}

// health says whether both servers answer, and the orders' tables are there.
func (a *api) health(r *http.Request) (any, error) {
	ctx, cancel := context.WithTimeout(r.Context(), pingTimeout)
	defer cancel()
	err := sideBySide(ctx, a.ping, func(ctx context.Context) error {
		_, err := a.shop.Orders(ctx, order.Query{Size: 1})
		return err
	})
	return map[string]string{"status": "ok"}, err
}

// write answers in JSON.
func write(w http.ResponseWriter, status int, answer any) {
	body, err := json.Marshal(answer)
	if err != nil { // no type of ours has such a value
		status, body = http.StatusInternalServerError, []byte(`{"error":{"code":"internal","message":"internal error"}}`)
	}
	header := w.Header()
	header.Set("Content-Type", "application/json")
	header.Set("Cache-Control", "no-store")
	header.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	w.Write(append(body, '\n'))
}
