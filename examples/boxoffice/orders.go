package main

import (
	"context"
	"crypto/rand"
	"net/http"

	"github.com/lastunit/lastunit/booking"
	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

func (a *api) book(r *http.Request) (any, error) {
	var body struct {
		ID       *string      `json:"id"`
		Customer string       `json:"customer"`
		Lines    []order.Line `json:"lines"`
	}
	if err := read(r, &body); err != nil {
		return nil, err
	}
	id, err := chosenID(body.ID)
	if err != nil {
		return nil, err
	}
	return about(id)(a.shop.Book(r.Context(), booking.Request{ID: id, Customer: body.Customer, Lines: body.Lines}))
}

func (a *api) hold(r *http.Request) (any, error) {
	var body struct {
		ID       *string      `json:"id"`
		Customer string       `json:"customer"`
		Lines    []order.Line `json:"lines"`
		TTL      *string      `json:"ttl"`
	}
	if err := read(r, &body); err != nil {
		return nil, err
	}
	id, err := chosenID(body.ID)
	if err != nil {
		return nil, err
	}
	ttl, err := duration("ttl", body.TTL)
	if err != nil {
		return nil, err
	}
	return about(id)(a.shop.Hold(r.Context(), booking.Request{ID: id, Customer: body.Customer, Lines: body.Lines}, ttl))
}

// chosenID is the order's ID. Who gives none gets one, and is told it also when
// the outcome is unknown. An empty one is a mistake of the client that would make
// it book twice.
func chosenID(given *string) (string, error) {
	if given == nil {
		return rand.Text(), nil
	}
	return *given, inventory.CheckID("id", *given)
}

// about names the order in the error, if there is one.
func about(id string) func(order.Order, error) (any, error) {
	return func(o order.Order, err error) (any, error) {
		if err != nil {
			return nil, &failed{id, err}
		}
		return o, nil
	}
}

func (a *api) order(r *http.Request) (any, error) {
	return a.shop.Order(r.Context(), r.PathValue("id"))
}

func (a *api) cancel(r *http.Request) (any, error) { return change(r, a.shop.Cancel) }

func (a *api) void(r *http.Request) (any, error) { return change(r, a.shop.Void) }

func (a *api) confirm(r *http.Request) (any, error) { return change(r, a.shop.Confirm) }

func (a *api) reclaim(r *http.Request) (any, error) { return change(r, a.shop.Reclaim) }

// change does with an order what needs nothing but its ID.
func change(r *http.Request, do func(context.Context, string) (order.Order, error)) (any, error) {
	if err := readNothing(r); err != nil {
		return nil, err
	}
	id := r.PathValue("id")
	return about(id)(do(r.Context(), id))
}

func (a *api) extend(r *http.Request) (any, error) {
	var body struct {
		TTL *string `json:"ttl"`
	}
	if err := read(r, &body); err != nil {
		return nil, err
	}
	ttl, err := duration("ttl", body.TTL)
	if err != nil {
		return nil, err
	}
	id := r.PathValue("id")
	return about(id)(a.shop.Extend(r.Context(), id, ttl))
}

func (a *api) history(r *http.Request) (any, error) {
	values, err := query(r, "status", "size", "after")
	if err != nil {
		return nil, err
	}
	size, err := pageSize(values.Get("size"), values.Has("size"), order.MaxPage)
	if err != nil {
		return nil, err
	}
	return a.shop.Orders(r.Context(), order.Query{
		Status: order.Status(values.Get("status")), Size: size, After: values.Get("after"),
	})
}
