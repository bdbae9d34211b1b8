package main

import (
	"fmt"
	"net/http"

	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

// putOnSale answers as often as it is asked: the same event again is no error.
func (a *api) putOnSale(r *http.Request) (any, error) {
	if mediaType(r) == "text/csv" {
		return a.importEvents(r)
	}
	// Pointers, so that what was forgotten is not 0.
	var body struct {
		SKU           string       `json:"sku"`
		Capacity      *int64       `json:"capacity"`
		CustomerLimit *int64       `json:"customer_limit"`
		OpensAt       *string      `json:"opens_at"`
		ClosesAt      *string      `json:"closes_at"`
		Draws         []order.Line `json:"draws"`
		PoolOnly      bool         `json:"pool_only"`
	}
	if err := read(r, &body); err != nil {
		return nil, err
	}
	if body.Capacity == nil {
		return nil, missing("capacity")
	}
	item := order.Item{SKU: body.SKU, Capacity: *body.Capacity, Draws: body.Draws, PoolOnly: body.PoolOnly}
	if body.CustomerLimit != nil {
		item.CustomerLimit = *body.CustomerLimit
		// A 0 would be no limit, which whoever wrote it hardly meant.
		if err := inventory.CheckQuantity("customer_limit", item.CustomerLimit); err != nil {
			return nil, err
		}
	}
	var err error
	if item.OpensAt, err = moment("opens_at", body.OpensAt); err != nil {
		return nil, err
	}
	if item.ClosesAt, err = moment("closes_at", body.ClosesAt); err != nil {
		return nil, err
	}
	return item, a.shop.PutOnSale(r.Context(), item)
}

// stock is what there is of an event.
func (a *api) stock(r *http.Request) (any, error) {
	sku := r.PathValue("sku")
	if err := inventory.CheckID("sku", sku); err != nil { // it would be called skus[0]
		return nil, err
	}
	return a.shop.Stock(r.Context(), sku)
}

// stocks is what there is of the events that are named, in their order.
func (a *api) stocks(r *http.Request) (any, error) {
	values, err := query(r, "sku")
	if err != nil {
		return nil, err
	}
	skus := values["sku"]
	if len(skus) == 0 {
		return nil, missing("sku")
	}
	for _, sku := range skus {
		if err := inventory.CheckID("sku", sku); err != nil {
			return nil, err
		}
	}
	stocks, err := a.shop.Stocks(r.Context(), skus...)
	return map[string]any{"events": stocks}, err
}

// adjust changes a capacity, once under the ID that it must be given: a second
// click must not restock twice.
func (a *api) adjust(r *http.Request) (any, error) {
	var body struct {
		ID        string               `json:"id"`
		Kind      order.AdjustmentKind `json:"kind"`
		Units     *int64               `json:"units"`
		Reason    string               `json:"reason"`
		Reference string               `json:"reference"`
	}
	if err := read(r, &body); err != nil {
		return nil, err
	}
	if body.Units == nil {
		return nil, missing("units")
	}
	adjust, ok := map[order.AdjustmentKind]func(order.Adjustment) error{
		order.SetCapacity: func(to order.Adjustment) error { return a.shop.SetCapacity(r.Context(), to) },
		order.Restock:     func(by order.Adjustment) error { return a.shop.Restock(r.Context(), by) },
		order.WriteOff:    func(by order.Adjustment) error { return a.shop.WriteOff(r.Context(), by) },
	}[body.Kind]
	if !ok {
		return nil, &inventory.InvalidError{Field: "kind", Reason: fmt.Sprintf("is %.40q, want %s, %s or %s", body.Kind, order.SetCapacity, order.Restock, order.WriteOff)}
	}
	err := adjust(order.Adjustment{
		ID: body.ID, SKU: r.PathValue("sku"), Units: *body.Units, Reason: body.Reason, Reference: body.Reference,
	})
	if err != nil {
		return nil, &failed{body.ID, err}
	}
	return a.stock(r)
}

func (a *api) setLimit(r *http.Request) (any, error) {
	var body struct {
		CustomerLimit nullable[int64] `json:"customer_limit"`
	}
	if err := read(r, &body); err != nil {
		return nil, err
	}
	if !body.CustomerLimit.given {
		return nil, missing("customer_limit")
	}
	limit := int64(0) // none
	if body.CustomerLimit.value != nil {
		limit = *body.CustomerLimit.value
		if err := inventory.CheckQuantity("customer_limit", limit); err != nil {
			return nil, err
		}
	}
	if err := a.shop.SetLimit(r.Context(), r.PathValue("sku"), limit); err != nil {
		return nil, err
	}
	return a.stock(r)
}

// setWindow wants both times, so that who moves one does not drop the other one.
func (a *api) setWindow(r *http.Request) (any, error) {
	var body struct {
		OpensAt  nullable[string] `json:"opens_at"`
		ClosesAt nullable[string] `json:"closes_at"`
	}
	if err := read(r, &body); err != nil {
		return nil, err
	}
	switch {
	case !body.OpensAt.given:
		return nil, missing("opens_at")
	case !body.ClosesAt.given:
		return nil, missing("closes_at")
	}
	opensAt, err := moment("opens_at", body.OpensAt.value)
	if err != nil {
		return nil, err
	}
	closesAt, err := moment("closes_at", body.ClosesAt.value)
	if err != nil {
		return nil, err
	}
	if err := a.shop.SetWindow(r.Context(), r.PathValue("sku"), opensAt, closesAt); err != nil {
		return nil, err
	}
	return a.stock(r)
}

func (a *api) pause(r *http.Request) (any, error) {
	if err := readNothing(r); err != nil {
		return nil, err
	}
	if err := a.shop.Pause(r.Context(), r.PathValue("sku")); err != nil {
		return nil, err
	}
	return a.stock(r)
}

func (a *api) resume(r *http.Request) (any, error) {
	if err := readNothing(r); err != nil {
		return nil, err
	}
	if err := a.shop.Resume(r.Context(), r.PathValue("sku")); err != nil {
		return nil, err
	}
	return a.stock(r)
}
