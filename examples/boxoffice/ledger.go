package main

import (
	"math"
	"net/http"

	"github.com/lastunit/lastunit/order"
)

// movements lists what happened to an event, page by page: next is the after of
// the next page.
func (a *api) movements(r *http.Request) (any, error) {
	values, err := query(r, "after", "size")
	if err != nil {
		return nil, err
	}
	var after int64
	if values.Has("after") {
		if after, err = number("after", values.Get("after"), 0, math.MaxInt64); err != nil {
			return nil, err
		}
	}
	size, err := pageSize(values.Get("size"), values.Has("size"), order.MaxMovements)
	if err != nil {
		return nil, err
	}
	sku := r.PathValue("sku")
	movements, err := a.shop.Movements(r.Context(), sku, after, size)
	if err != nil {
		return nil, err
	}
	if len(movements) == 0 { // there may be no such event
		_, err := a.shop.Stock(r.Context(), sku)
		return map[string]any{"movements": []order.Movement{}, "next": after}, err
	}
	return map[string]any{"movements": movements, "next": movements[len(movements)-1].Number}, nil
}

// feed lists what happened to all events since a cursor. It is a POST, as the cursor may
// be long for a URL.
func (a *api) feed(r *http.Request) (any, error) {
	var body struct {
		After order.Cursor `json:"after"`
		Size  *int64       `json:"size"`
	}
	if err := read(r, &body); err != nil {
		return nil, err
	}
	size := order.DefaultPage
	if body.Size != nil {
		if err := inRange("size", *body.Size, 1, order.MaxMovements); err != nil {
			return nil, err
		}
		size = int(*body.Size)
	}
	movements, next, err := a.shop.Feed(r.Context(), body.After, size)
	if err != nil {
		return nil, err
	}
	if movements == nil {
		movements = []order.Movement{} // in JSON, too, it is a list
	}
	return map[string]any{"movements": movements, "next": next}, nil
}
