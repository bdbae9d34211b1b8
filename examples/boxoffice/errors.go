package main

import (
	"bytes"
	"errors"
	"net/http"
	"path"
	"strings"
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
	if p.status >= 500 && p.Code != "try_again" && p.Code != "busy" && p.Code != "overloaded" && p.Code != "pending" && p.Code != "not_sent" && r.Context().Err() == nil {
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

// kinds are the answers to errors: the first that an error is decides.
var kinds = []struct {
	of      error
	status  int
	code    string
	message string // the error's own if it is empty
}{
	// These come first: what caused them may look like one of the others.
	{order.ErrOutcomeUnknown, http.StatusServiceUnavailable, "outcome_unknown", "it may have been done or not: send the same request again, with the same ID"},
	{booking.ErrNotSent, http.StatusServiceUnavailable, "not_sent", "it was not done: send the same request again, with the same ID"},
	{order.ErrRefused, http.StatusConflict, "refused", ""}, // is the error of its reason too, and unlike that for good
	{booking.ErrOverloaded, http.StatusServiceUnavailable, "overloaded", booking.ErrOverloaded.Error()},
	{inventory.ErrTryAgain, http.StatusServiceUnavailable, "try_again", inventory.ErrTryAgain.Error()},
	{inventory.ErrSoldOut, http.StatusConflict, "sold_out", ""},
	{inventory.ErrLimitExceeded, http.StatusConflict, "limit_exceeded", ""},
	{inventory.ErrPaused, http.StatusConflict, "paused", ""},
	{order.ErrRetired, http.StatusConflict, "retired", ""}, // which is ErrClosed too
	{inventory.ErrNotOpen, http.StatusConflict, "not_open", ""},
	{inventory.ErrClosed, http.StatusConflict, "closed", ""},
	{order.ErrHoldExpired, http.StatusConflict, "hold_expired", ""},
	{order.ErrUnknownCursor, http.StatusConflict, "unknown_cursor", `the cursor is another database's, or beyond the end of this one's feed: begin anew with "after": ""`},
	{inventory.ErrInvalid, http.StatusBadRequest, "invalid_request", ""},
	{order.ErrUnknownSKU, http.StatusNotFound, "unknown_sku", ""},
	{order.ErrPoolOnly, http.StatusConflict, "pool_only", ""},
	{order.ErrAlreadyOnSale, http.StatusConflict, "already_on_sale", ""},
	{order.ErrOrphaned, http.StatusConflict, "orphaned", ""},
	{order.ErrNotFound, http.StatusNotFound, "not_found", ""},
	{order.ErrIdempotencyConflict, http.StatusConflict, "idempotency_conflict", order.ErrIdempotencyConflict.Error()},
	{order.ErrSuperseded, http.StatusConflict, "superseded", order.ErrSuperseded.Error()},
	{order.ErrCancelled, http.StatusConflict, "cancelled", ""},
	{order.ErrPurged, http.StatusConflict, "purged", ""},
	{booking.ErrPending, http.StatusServiceUnavailable, "pending", booking.ErrPending.Error()},
	{order.ErrRejected, http.StatusUnprocessableEntity, "rejected", order.ErrRejected.Error()},
	{order.ErrBusy, http.StatusServiceUnavailable, "busy", order.ErrBusy.Error() + ", try again"},
	// What its operator has to mend, and what only reads.
	{order.ErrNotMigrated, http.StatusServiceUnavailable, "unavailable", unavailable},
	{order.ErrNewerSchema, http.StatusServiceUnavailable, "unavailable", unavailable},
	{order.ErrOtherBuild, http.StatusServiceUnavailable, "unavailable", unavailable},
	{order.ErrUnavailable, http.StatusServiceUnavailable, "unavailable", unavailable},
	{inventory.ErrUnavailable, http.StatusServiceUnavailable, "unavailable", unavailable},
	{inventory.ErrNotLoaded, http.StatusServiceUnavailable, "unavailable", unavailable},
}

const unavailable = "the service can't answer at the moment, try again"

func kind(r *http.Request, err error) *problem {
	if r.Pattern == "GET /healthz" && !errors.Is(err, inventory.ErrInvalid) {
		return &problem{status: http.StatusServiceUnavailable, Code: "unavailable", Message: ails(err)}
	}
	for _, k := range kinds {
		if errors.Is(err, k.of) {
			p := &problem{status: k.status, Code: k.code, Message: k.message}
			p.detail(err)
			return p
		}
	}
	return &problem{status: http.StatusInternalServerError, Code: "internal", Message: "internal error"}
}

// detail adds what the error has besides, if it is what the code is about.
func (p *problem) detail(err error) {
	var stock *inventory.StockError
	var reopening *inventory.ReopeningError
	var limit *inventory.LimitError
	var window *inventory.WindowError
	var expired *order.HoldExpiredError
	var invalid *inventory.InvalidError
	var refused *order.RefusedError
	var ofSKU *order.SKUError
	switch p.Code {
	case "refused":
		if errors.As(err, &refused) {
			p.SKU = refused.SKU
		}
	case "sold_out", "limit_exceeded", "try_again":
		switch {
		case errors.As(err, &stock):
			p.SKU, p.Requested, p.Available = stock.SKU, &stock.Requested, &stock.Available
			if all := stock.All(); len(all) > 1 {
				p.Short = shortLines(all)
			}
		case errors.As(err, &limit):
			p.SKU, p.CustomerLimit, p.Requested, p.Used = limit.SKU, limit.Limit, &limit.Requested, &limit.Used
		case errors.As(err, &reopening):
			p.SKU = reopening.SKU
		}
	case "paused", "not_open", "closed":
		if errors.As(err, &window) {
			p.SKU, p.OpensAt, p.ClosesAt = window.SKU, window.OpensAt, window.ClosesAt
		}
	case "hold_expired":
		if errors.As(err, &expired) {
			p.ExpiredAt, p.Left = expired.ExpiredAt, expired.Left
		}
	case "unknown_cursor":
		p.Field = "after"
	case "invalid_request":
		if errors.As(err, &invalid) {
			p.Field = invalid.Field
		}
	case "unknown_sku", "pool_only", "already_on_sale", "retired", "orphaned":
		if errors.As(err, &ofSKU) {
			p.SKU = ofSKU.SKU
		}
	}
}

// ails is what is wrong with the servers, without their addresses.
func ails(err error) string {
	var dead []string
	var collect func(error)
	collect = func(err error) {
		var one *unreachable
		if joined, is := err.(interface{ Unwrap() []error }); is {
			for _, err := range joined.Unwrap() {
				collect(err)
			}
		} else if errors.As(err, &one) {
			dead = append(dead, one.server)
		}
	}
	collect(err)
	switch {
	case len(dead) > 0:
		return strings.Join(dead, " and ") + " cannot be reached"
	case errors.Is(err, order.ErrNotMigrated), errors.Is(err, order.ErrNewerSchema), errors.Is(err, order.ErrOtherBuild):
		return "the database does not have the tables of this version"
	}
	return "a server behind the service does not answer"
}

func shortLines(all []*inventory.StockError) (lines []short) {
	for _, e := range all {
		lines = append(lines, short{e.SKU, e.Requested, e.Available})
	}
	return lines
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

// inJSON makes the router's own answers, such as 404 and 405, JSON too. A path that it
// would clean, and send its client to, is not found.
func inJSON(mux *http.ServeMux) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !isClean(r.URL.EscapedPath()) {
			writeProblem(w, &problem{
				status: http.StatusNotFound, Code: "not_found",
				Message: "the path has an empty part, or one that is . or ..: encode a / in an ID as %2F, and . and .. as %2E and %2E%2E",
			})
			return
		}
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

// isClean says whether a path is as the router wants it: it may end with a slash.
func isClean(escaped string) bool {
	clean := path.Clean("/" + escaped)
	return escaped == clean || clean != "/" && escaped == clean+"/"
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
