package main

import (
	"bytes"
	"errors"
	"net/http"
	"time"

	"github.com/lastunit/lastunit/booking"
	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

// problem is the JSON of an error. Clients go by the code; the message is for
// people.
type problem struct {
	status int

	Code      string  `json:"code"`
	Message   string  `json:"message"`
	ID        string  `json:"id,omitempty"`    // of the order, or of the adjustment
	Field     string  `json:"field,omitempty"` // of the request
	SKU       string  `json:"sku,omitempty"`
	Requested *int64  `json:"requested,omitempty"` // units
	Available *int64  `json:"available,omitempty"` // units
	Short     []short `json:"short,omitempty"`     // all that fall short, the first one too, where several do

	// Of the customer's limit: what it is, and how much of it is used.
	CustomerLimit int64  `json:"customer_limit,omitempty"`
	Used          *int64 `json:"used,omitempty"`

	// Of a sale that is not open.
	OpensAt  time.Time `json:"opens_at,omitzero"`
	ClosesAt time.Time `json:"closes_at,omitzero"`

	// Of a hold that has expired: when, and how many units of each SKU are left.
	ExpiredAt time.Time    `json:"expired_at,omitzero"`
	Left      []order.Line `json:"left,omitempty"`
}

func (p *problem) Error() string { return p.Message }

// short is an event of which an order asks for more than there is.
type short struct {
	SKU       string `json:"sku"`
	Requested int64  `json:"requested"` // units
	Available int64  `json:"available"` // units
}

// failed names the order, or the adjustment, that an error is about.
type failed struct {
	id  string
	err error
}

func (e *failed) Error() string { return e.err.Error() }
func (e *failed) Unwrap() error { return e.err }

// fail answers with an error. What is behind an error of ours, such as the
// address of a server, goes to the log alone.
func (a *api) fail(w http.ResponseWriter, r *http.Request, err error) {
	p := explain(r, err)
	if p.status >= 500 && p.Code != "try_again" && p.Code != "busy" && p.Code != "overloaded" && r.Context().Err() == nil {
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
	var named *failed
	var ofOrder *order.OrderError
	if errors.As(err, &named) {
		p.ID = named.id
	} else if errors.As(err, &ofOrder) {
		p.ID = ofOrder.ID
	}
	if p.status < 500 && p.Message == "" {
		p.Message = err.Error()
	}
	return p
}

func kind(r *http.Request, err error) *problem {
	var stock *inventory.StockError
	var limit *inventory.LimitError
	var window *inventory.WindowError
	var expired *order.HoldExpiredError
	var invalid *inventory.InvalidError
	var refused *order.RefusedError
	var ofSKU *order.SKUError
	switch {
	// It comes first: what caused it may look like one of the others.
	case errors.Is(err, order.ErrOutcomeUnknown):
		return &problem{status: http.StatusServiceUnavailable, Code: "outcome_unknown", Message: "it may have been done or not: send the same request again, with the same ID"}
	// So does this one: it is the error of its reason too, and unlike that for good.
	case errors.As(err, &refused):
		return &problem{status: http.StatusConflict, Code: "refused", SKU: refused.SKU}
	case errors.Is(err, booking.ErrOverloaded):
		return &problem{status: http.StatusServiceUnavailable, Code: "overloaded", Message: booking.ErrOverloaded.Error()}
	case errors.As(err, &stock):
		p := &problem{status: http.StatusConflict, Code: "sold_out", SKU: stock.SKU, Requested: &stock.Requested, Available: &stock.Available}
		if all := stock.All(); len(all) > 1 {
			p.Short = shortLines(all)
		}
		if errors.Is(err, inventory.ErrTryAgain) {
			p.status, p.Code, p.Message = http.StatusServiceUnavailable, "try_again", inventory.ErrTryAgain.Error()
		}
		return p
	case errors.As(err, &limit):
		p := &problem{status: http.StatusConflict, Code: "limit_exceeded", SKU: limit.SKU, CustomerLimit: limit.Limit, Requested: &limit.Requested, Used: &limit.Used}
		if errors.Is(err, inventory.ErrTryAgain) {
			p.status, p.Code, p.Message = http.StatusServiceUnavailable, "try_again", inventory.ErrTryAgain.Error()
		}
		return p
	case errors.As(err, &window):
		return &problem{status: http.StatusConflict, Code: closed(window), SKU: window.SKU, OpensAt: window.OpensAt, ClosesAt: window.ClosesAt}
	case errors.As(err, &expired):
		return &problem{status: http.StatusConflict, Code: "hold_expired", ExpiredAt: expired.ExpiredAt, Left: expired.Left}
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
	case errors.Is(err, order.ErrUnknownCursor):
		return &problem{status: http.StatusConflict, Code: "unknown_cursor", Field: "after"}
	case errors.Is(err, order.ErrIdempotencyConflict):
		return &problem{status: http.StatusConflict, Code: "idempotency_conflict", Message: order.ErrIdempotencyConflict.Error()}
	case errors.Is(err, order.ErrCancelled):
		return &problem{status: http.StatusConflict, Code: "cancelled"}
	case errors.Is(err, order.ErrRejected):
		return &problem{status: http.StatusUnprocessableEntity, Code: "rejected", Message: order.ErrRejected.Error()}
	case errors.Is(err, order.ErrBusy):
		return &problem{status: http.StatusServiceUnavailable, Code: "busy", Message: order.ErrBusy.Error() + ", try again"}
	case errors.Is(err, order.ErrUnavailable): // of what only reads
		return &problem{status: http.StatusServiceUnavailable, Code: "unavailable", Message: "the service can't answer at the moment, try again"}
	case r.Pattern == "GET /healthz":
		return &problem{status: http.StatusServiceUnavailable, Code: "unavailable", Message: "a server behind the service does not answer"}
	}
	return &problem{status: http.StatusInternalServerError, Code: "internal", Message: "internal error"}
}

func shortLines(all []*inventory.StockError) (lines []short) {
	for _, e := range all {
		lines = append(lines, short{e.SKU, e.Requested, e.Available})
	}
	return lines
}

// closed says in what way a sale is not open.
func closed(window *inventory.WindowError) string {
	switch {
	case errors.Is(window, inventory.ErrPaused):
		return "paused"
	case errors.Is(window, inventory.ErrNotOpen):
		return "not_open"
	}
	return "closed"
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
