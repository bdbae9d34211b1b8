package main

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/booking"
	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

// errorsOf are the exported errors of a package, by the names of its variables, and its
// exported types that are errors.
func errorsOf(t *testing.T, name string) (names []string) {
	t.Helper()
	files, err := filepath.Glob("../../" + name + "/*.go")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		require.NoError(t, err)
		for _, declaration := range parsed.Decls {
			switch d := declaration.(type) {
			case *ast.GenDecl:
				for _, spec := range d.Specs {
					if values, is := spec.(*ast.ValueSpec); is && d.Tok == token.VAR {
						for _, value := range values.Names {
							if strings.HasPrefix(value.Name, "Err") {
								names = append(names, name+"."+value.Name)
							}
						}
					}
				}
			case *ast.FuncDecl:
				if d.Recv == nil || d.Name.Name != "Error" {
					continue
				}
				of := d.Recv.List[0].Type
				if star, is := of.(*ast.StarExpr); is {
					of = star.X
				}
				if named := of.(*ast.Ident); named.IsExported() {
					names = append(names, name+"."+named.Name)
				}
			}
		}
	}
	return names
}

// Each error that the library exports has its answer here: one that is added needs one too.
func TestEveryErrorHasItsAnswer(t *testing.T) {
	t.Parallel()
	type answer struct {
		err    error
		status int
		code   string
	}
	answers := map[string]answer{
		"booking.ErrNotSent":              {booking.ErrNotSent, 503, "not_sent"},
		"booking.ErrOverloaded":           {booking.ErrOverloaded, 503, "overloaded"},
		"booking.ErrPending":              {booking.ErrPending, 503, "pending"},
		"inventory.ErrClosed":             {inventory.ErrClosed, 409, "closed"},
		"inventory.ErrInvalid":            {inventory.ErrInvalid, 400, "invalid_request"},
		"inventory.ErrLimitExceeded":      {inventory.ErrLimitExceeded, 409, "limit_exceeded"},
		"inventory.ErrNotLoaded":          {inventory.ErrNotLoaded, 503, "unavailable"},
		"inventory.ErrNotOpen":            {inventory.ErrNotOpen, 409, "not_open"},
		"inventory.ErrPaused":             {inventory.ErrPaused, 409, "paused"},
		"inventory.ErrSoldOut":            {inventory.ErrSoldOut, 409, "sold_out"},
		"inventory.ErrTryAgain":           {inventory.ErrTryAgain, 503, "try_again"},
		"inventory.ErrUnavailable":        {inventory.ErrUnavailable, 503, "unavailable"},
		"inventory.InvalidError":          {&inventory.InvalidError{Field: "id"}, 400, "invalid_request"},
		"inventory.LimitError":            {&inventory.LimitError{Requested: 1}, 409, "limit_exceeded"},
		"inventory.NotLoadedError":        {&inventory.NotLoadedError{}, 503, "unavailable"},
		"inventory.ReopeningError":        {&inventory.ReopeningError{Wait: time.Millisecond}, 503, "try_again"},
		"inventory.StockError":            {&inventory.StockError{Requested: 1}, 409, "sold_out"},
		"inventory.WindowError":           {&inventory.WindowError{Err: inventory.ErrClosed}, 409, "closed"},
		"order.AdjustmentError":           {&order.AdjustmentError{Err: order.ErrIdempotencyConflict}, 409, "idempotency_conflict"},
		"order.CursorError":               {&order.CursorError{}, 409, "unknown_cursor"},
		"order.ErrAlreadyOnSale":          {order.ErrAlreadyOnSale, 409, "already_on_sale"},
		"order.ErrPoolOnly":               {order.ErrPoolOnly, 409, "pool_only"},
		"order.ErrSuperseded":             {order.ErrSuperseded, 409, "superseded"},
		"order.ErrBusy":                   {order.ErrBusy, 503, "busy"},
		"order.ErrCancelled":              {order.ErrCancelled, 409, "cancelled"},
		"order.ErrHoldExpired":            {order.ErrHoldExpired, 409, "hold_expired"},
		"order.ErrIdempotencyConflict":    {order.ErrIdempotencyConflict, 409, "idempotency_conflict"},
		"order.ErrRetired":                {order.ErrRetired, 409, "retired"},
		"order.ErrPurged":                 {order.ErrPurged, 409, "purged"},
		"order.ErrOrphaned":               {order.ErrOrphaned, 409, "orphaned"},
		"order.ErrNewerSchema":            {order.ErrNewerSchema, 503, "unavailable"},
		"order.ErrNoTransactions":         {order.ErrNoTransactions, 500, "internal"}, // it has none
		"order.ErrNotFound":               {order.ErrNotFound, 404, "not_found"},
		"order.ErrNotMigrated":            {order.ErrNotMigrated, 503, "unavailable"},
		"order.ErrOtherBuild":             {order.ErrOtherBuild, 503, "unavailable"},
		"order.ErrOutcomeUnknown":         {order.ErrOutcomeUnknown, 503, "outcome_unknown"},
		"order.ErrRefused":                {order.ErrRefused, 409, "refused"},
		"order.ErrRejected":               {order.ErrRejected, 422, "rejected"},
		"order.ErrUnavailable":            {order.ErrUnavailable, 503, "unavailable"},
		"order.ErrUnknownCursor":          {order.ErrUnknownCursor, 409, "unknown_cursor"},
		"order.ErrUnknownSKU":             {order.ErrUnknownSKU, 404, "unknown_sku"},
		"order.HoldExpiredError":          {&order.HoldExpiredError{}, 409, "hold_expired"},
		"order.OrderError":                {&order.OrderError{Err: order.ErrNotFound}, 404, "not_found"},
		"order.RefusedError":              {&order.RefusedError{Refusal: order.Refusal{Why: order.WhySoldOut}}, 409, "refused"},
		"order.SKUError":                  {&order.SKUError{Err: order.ErrUnknownSKU}, 404, "unknown_sku"},
		"an outcome unknown with a cause": {fmt.Errorf("%w: %w", order.ErrOutcomeUnknown, inventory.ErrSoldOut), 503, "outcome_unknown"},
		"any other":                       {errors.New("what is this"), 500, "internal"},
	}
	for _, of := range []string{"inventory", "order", "booking"} {
		for _, name := range errorsOf(t, of) {
			assert.Contains(t, answers, name, "what does the service answer?")
		}
	}
	for name, want := range answers {
		request := httptest.NewRequest(http.MethodPost, "/api/v1/book", nil)
		p := explain(request, &failed{"4711", want.err})
		assert.Equal(t, [...]any{want.status, want.code}, [...]any{p.status, p.Code}, name)
		assert.NotEmpty(t, p.Message, name)
		recorded := httptest.NewRecorder()
		writeProblem(recorded, p)
		assert.Equal(t, want.status == 503, recorded.Header().Get("Retry-After") != "", name)
	}
}
