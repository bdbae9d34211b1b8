package main

import (
	"bytes"
	"errors"
	"net/http"

	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

// problem is the JSON of an error. Clients go by the code; the message is for
// people.
type problem struct {
	status int

	Code      string `json:"code"`
	Message   string `json:"message"`
	ID        string `json:"id,omitempty"`    // of the order
	Field     string `json:"field,omitempty"` // of the request
	SKU       string `json:"sku,omitempty"`
	Requested *int64 `json:"requested,omitempty"`
	Available *int64 `json:"available,omitempty"`
}

func (p *problem) Error() string { return p.Message }

// orderFailed names the order that an error is about.
type orderFailed struct {
	id  string
	err error
}

func (e *orderFailed) Error() string { return e.err.Error() }
func (e *orderFailed) Unwrap() error { return e.err }

// fail answers with an error. What is behind an error of ours, such as the
// address of a server, goes to the log alone.
func (a *api) fail(w http.ResponseWriter, r *http.Request, err error) {
	p := explain(r, err)
	if p.status >= 500 && p.Code != "try_again" && r.Context().Err() == nil {
		a.log.WarnContext(r.Context(), "request failed", "method", r.Method, "path", r.URL.Path, "code", p.Code, "error", err)
	}
	writeProblem(w, p)
}

// explain finds the problem of an error.
func explain(r *http.Request, err error) *problem {
	var p *problem
	if errors.As(err, &p) {
		return p
	}
	p = kind(r, err)
	var failed *orderFailed
	var ofOrder *order.OrderError
	if errors.As(err, &failed) {
		p.ID = failed.id
	} else if errors.As(err, &ofOrder) {
		p.ID = ofOrder.ID
	}
	if p.status < 500 && p.Message == "" {
		p.Message = err.Error()
	}
	return p
}

func kind(r *http.Request, err error) *problem {
	var short *inventory.StockError
	var invalid *inventory.InvalidError
	var ofSKU *order.SKUError
	switch {
	// It comes first: what caused it may look like one of the others.
	case errors.Is(err, order.ErrOutcomeUnknown):
		return &problem{status: http.StatusServiceUnavailable, Code: "outcome_unknown", Message: "it may have been done or not: send the same request again, with the same ID"}
	case errors.As(err, &short):
		p := &problem{status: http.StatusConflict, Code: "sold_out", SKU: short.SKU, Requested: &short.Requested, Available: &short.Available}
		if errors.Is(err, inventory.ErrTryAgain) {
			p.status, p.Code, p.Message = http.StatusServiceUnavailable, "try_again", inventory.ErrTryAgain.Error()
		}
		return p
	case errors.As(err, &invalid):
		return &problem{status: http.StatusBadRequest, Code: "invalid_request", Field: invalid.Field}
	case errors.Is(err, order.ErrUnknownSKU):
		p := &problem{status: http.StatusNotFound, Code: "unknown_sku"}
		if errors.As(err, &ofSKU) {
			p.SKU = ofSKU.SKU
		}
		return p
	case errors.Is(err, order.ErrAlreadyOnSale):
		p := &problem{status: http.StatusConflict, Code: "already_on_sale"}
		if errors.As(err, &ofSKU) {
			p.SKU = ofSKU.SKU
		}
		return p
	case errors.Is(err, order.ErrNotFound):
		return &problem{status: http.StatusNotFound, Code: "not_found"}
	case errors.Is(err, order.ErrIdempotencyConflict):
		return &problem{status: http.StatusConflict, Code: "idempotency_conflict"}
	case errors.Is(err, order.ErrCancelled):
		return &problem{status: http.StatusConflict, Code: "cancelled"}
	case errors.Is(err, order.ErrRejected):
		return &problem{status: http.StatusUnprocessableEntity, Code: "rejected", Message: order.ErrRejected.Error()}
	case errors.Is(err, order.ErrUnavailable): // of what only reads
		return &problem{status: http.StatusServiceUnavailable, Code: "unavailable", Message: "the service can't answer at the moment, try again"}
	case r.Pattern == "GET /healthz":
		return &problem{status: http.StatusServiceUnavailable, Code: "unavailable", Message: "a server behind the service does not answer"}
	}
	return &problem{status: http.StatusInternalServerError, Code: "internal", Message: "internal error"}
}

func writeProblem(w http.ResponseWriter, p *problem) {
	if p.status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "1")
	}
	if p.status == http.StatusRequestEntityTooLarge || p.status == http.StatusRequestTimeout {
		// The rest of the body is not worth reading.
		w.Header().Set("Connection", "close")
	}
	write(w, p.status, map[string]*problem{"error": p})
}

// inJSON makes the router's own answers, such as 404 and 405, JSON too.
func inJSON(mux *http.ServeMux) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		handler, pattern := mux.Handler(r)
		if pattern != "" {
			mux.ServeHTTP(w, r)
			return
		}
		answer := &answer{header: w.Header()}
		handler.ServeHTTP(answer, r)
		code := "not_found"
		if answer.status == http.StatusMethodNotAllowed {
			code = "method_not_allowed"
		}
		writeProblem(w, &problem{status: answer.status, Code: code, Message: string(bytes.TrimSpace(answer.body))})
	})
}

// answer keeps what a handler writes.
type answer struct {
	header http.Header
	status int
	body   []byte
}

func (a *answer) Header() http.Header    { return a.header }
func (a *answer) WriteHeader(status int) { a.status = status }
func (a *answer) Write(b []byte) (int, error) {
	a.body = append(a.body, b...)
	return len(b), nil
}
