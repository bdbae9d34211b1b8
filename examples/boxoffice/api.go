package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"

	"github.com/lastunit/lastunit/booking"
	"github.com/lastunit/lastunit/inventory"
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
	mux := http.NewServeMux()
	for pattern, handle := range map[string]func(*http.Request) (any, error){
		"POST /api/v1/events":        a.putOnSale,
		"GET /api/v1/events/{sku}":   a.stock,
		"POST /api/v1/book":          a.book,
		"GET /api/v1/orders/{id}":    a.order,
		"DELETE /api/v1/orders/{id}": a.cancel,
		"GET /api/v1/history":        a.history,
		"GET /healthz":               a.health,
	} {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
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

// putOnSale answers as often as it is asked: the same event again is no error.
func (a *api) putOnSale(r *http.Request) (any, error) {
	// A pointer, so that a capacity that was forgotten is not one of 0.
	var body struct {
		SKU      string `json:"sku"`
		Capacity *int64 `json:"capacity"`
	}
	if err := read(r, &body); err != nil {
		return nil, err
	}
	if body.Capacity == nil {
		return nil, &inventory.InvalidError{Field: "capacity", Reason: "is missing"}
	}
	item := order.Item{SKU: body.SKU, Capacity: *body.Capacity}
	return item, a.shop.PutOnSale(r.Context(), item)
}

func (a *api) stock(r *http.Request) (any, error) {
	return a.shop.Stock(r.Context(), r.PathValue("sku"))
}

func (a *api) book(r *http.Request) (any, error) {
	var body struct {
		ID       *string      `json:"id"`
		Customer string       `json:"customer"`
		Lines    []order.Line `json:"lines"`
	}
	if err := read(r, &body); err != nil {
		return nil, err
	}
	// Who gives no ID gets one, and is told it also when the outcome is unknown.
	// An empty one is a mistake of the client that would make it book twice.
	id := rand.Text()
	if body.ID != nil {
		id = *body.ID
		if err := inventory.CheckID("id", id); err != nil {
			return nil, err
		}
	}
	o, err := a.shop.Book(r.Context(), booking.Request{ID: id, Customer: body.Customer, Lines: body.Lines})
	if err != nil {
		return nil, &orderFailed{id, err}
	}
	return o, nil
}

func (a *api) order(r *http.Request) (any, error) {
	return a.shop.Order(r.Context(), r.PathValue("id"))
}

func (a *api) cancel(r *http.Request) (any, error) {
	o, err := a.shop.Cancel(r.Context(), r.PathValue("id"))
	if err != nil {
		return nil, &orderFailed{r.PathValue("id"), err}
	}
	return o, nil
}

func (a *api) history(r *http.Request) (any, error) {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, &inventory.InvalidError{Field: "query", Reason: "is badly encoded"}
	}
	var query order.Query
	for name := range values {
		value := values.Get(name)
		switch name {
		case "status":
			query.Status = order.Status(value)
		case "after":
			query.After = value
		case "size":
			if query.Size, err = strconv.Atoi(value); err != nil || query.Size < 1 {
				return nil, &inventory.InvalidError{Field: "size", Reason: "is not a number from 1 to " + strconv.Itoa(order.MaxPage)}
			}
		default:
			return nil, &inventory.InvalidError{Field: name, Reason: "is unknown, want status, size or after"}
		}
	}
	return a.shop.Orders(r.Context(), query)
}

// health says whether both servers answer.
func (a *api) health(r *http.Request) (any, error) {
	ctx, cancel := context.WithTimeout(r.Context(), pingTimeout)
	defer cancel()
	return map[string]string{"status": "ok"}, a.ping(ctx)
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
