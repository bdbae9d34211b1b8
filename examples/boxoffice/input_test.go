package main

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/lastunit/lastunit/booking"
)

func long(n int) string { return strings.Repeat("x", n) }

// Each is refused with the field that is wrong, and nothing is touched.
func TestBadInput(t *testing.T) {
	t.Parallel()
	h := handler(t)
	ask(t, h, "POST", "/api/v1/events", `{"sku":"floor","capacity":5}`)

	line := func(lines string) string { return `{"id":"x","customer":"c","lines":` + lines + `}` }
	quantity := func(n string) string { return line(`[{"sku":"floor","quantity":` + n + `}]`) }
	id := func(id string) string {
		return `{"id":` + id + `,"customer":"c","lines":[{"sku":"floor","quantity":1}]}`
	}
	customer := func(id string) string {
		return `{"id":"x","customer":` + id + `,"lines":[{"sku":"floor","quantity":1}]}`
	}
	many := line("[" + strings.Repeat(`{"sku":"floor","quantity":1},`, 100) + `{"sku":"floor","quantity":1}]`)
	event := func(capacity string) string { return `{"sku":"new","capacity":` + capacity + `}` }

	for name, test := range map[string]struct{ target, body, field string }{
		"quantity 0":         {"/api/v1/book", quantity("0"), "lines[0].quantity"},
		"quantity missing":   {"/api/v1/book", line(`[{"sku":"floor"}]`), "lines[0].quantity"},
		"quantity negative":  {"/api/v1/book", quantity("-1"), "lines[0].quantity"},
		"quantity too large": {"/api/v1/book", quantity("1000001"), "lines[0].quantity"},
		"above 2^53":         {"/api/v1/book", quantity("9007199254740993"), "lines[0].quantity"},
		"above 2^63":         {"/api/v1/book", quantity("9223372036854775808"), "lines.quantity"},
		"a fraction":         {"/api/v1/book", quantity("1.5"), "lines.quantity"},
		"an exponent":        {"/api/v1/book", quantity("1e2"), "lines.quantity"},
		"text":               {"/api/v1/book", quantity(`"1"`), "lines.quantity"},
		"nan":                {"/api/v1/book", quantity("NaN"), "body"},
		"a plus":             {"/api/v1/book", quantity("+1"), "body"},
		"no lines":           {"/api/v1/book", line("[]"), "lines"},
		"lines missing":      {"/api/v1/book", `{"id":"x","customer":"c"}`, "lines"},
		"lines null":         {"/api/v1/book", line("null"), "lines"},
		"lines an object":    {"/api/v1/book", line("{}"), "lines"},
		"too many lines":     {"/api/v1/book", many, "lines"},
		"the sum too large": {
			"/api/v1/book", line(`[{"sku":"floor","quantity":1000000},{"sku":"floor","quantity":1}]`),
			`lines: the sum for SKU "floor"`,
		},
		"SKU empty":          {"/api/v1/book", line(`[{"sku":"","quantity":1}]`), "lines[0].sku"},
		"SKU NUL":            {"/api/v1/book", line(`[{"sku":"a\u0000b","quantity":1}]`), "lines[0].sku"},
		"SKU too long":       {"/api/v1/book", line(`[{"sku":"` + long(129) + `","quantity":1}]`), "lines[0].sku"},
		"ID empty":           {"/api/v1/book", id(`""`), "id"},
		"ID too long":        {"/api/v1/book", id(`"` + long(129) + `"`), "id"},
		"ID with newline":    {"/api/v1/book", id(`"a\nb"`), "id"},
		"ID with NUL":        {"/api/v1/book", id(`"a\u0000"`), "id"},
		"ID a number":        {"/api/v1/book", id(`4711`), "id"},
		"ID bad UTF-8":       {"/api/v1/book", id("\"a\xff\""), "body"},
		"customer missing":   {"/api/v1/book", `{"id":"x","lines":[{"sku":"floor","quantity":1}]}`, "customer"},
		"customer bad UTF-8": {"/api/v1/book", customer("\"\xc3\x28\""), "body"},
		"customer too long":  {"/api/v1/book", customer(`"` + long(129) + `"`), "customer"},
		"unknown field":      {"/api/v1/book", `{"id":"x","customer":"c","lines":[{"sku":"floor","quantity":1,"price":0}]}`, "body"},
		"trailing data":      {"/api/v1/book", quantity("1") + quantity("1"), "body"},
		"trailing rubbish":   {"/api/v1/book", quantity("1") + "]", "body"},
		"cut short":          {"/api/v1/book", quantity("1")[:20], "body"},
		"only blanks":        {"/api/v1/book", "   ", "body"},
		"null":               {"/api/v1/book", "null", "customer"},
		"an array":           {"/api/v1/book", "[]", "body"},
		"very deep":          {"/api/v1/book", line(strings.Repeat("[", 20_000)), "body"},
		"capacity missing":   {"/api/v1/events", `{"sku":"new"}`, "capacity"},
		"capacity negative":  {"/api/v1/events", event("-1"), "capacity"},
		"capacity too large": {"/api/v1/events", event("1000000000001"), "capacity"},
		"capacity text":      {"/api/v1/events", event(`"5"`), "capacity"},
		"event unknown":      {"/api/v1/events", `{"sku":"new","capacity":1,"x":1}`, "body"},
		"event no SKU":       {"/api/v1/events", `{"capacity":1}`, "sku"},
	} {
		t.Run(name, func(t *testing.T) {
			a := ask(t, h, "POST", test.target, test.body)
			assert.Equal(t, http.StatusBadRequest, a.Code, a.Body)
			assert.Equal(t, "invalid_request", a.problem.Code)
			assert.Equal(t, test.field, a.problem.Field, a.problem.Message)
		})
	}

	for _, query := range []string{"size=0", "size=-1", "size=1001", "size=x", "size=", "status=Confirmed", "status=x", "after=x", "after=-1", "page=2", "size=%zz"} {
		a := ask(t, h, "GET", "/api/v1/history?"+query, "")
		assert.Equal(t, http.StatusBadRequest, a.Code, query)
		assert.NotEmpty(t, a.problem.Field, query)
	}
	for _, target := range []string{"/api/v1/orders/%00", "/api/v1/orders/%ff", "/api/v1/events/%0a"} {
		assert.Equal(t, http.StatusBadRequest, ask(t, h, "GET", target, "").Code, target)
	}

	stock := parseAnswer[booking.Stock](t, ask(t, h, "GET", "/api/v1/events/floor", ""))
	assert.Equal(t, booking.Stock{SKU: "floor", Capacity: 5, Available: 5}, stock)
	assert.Equal(t, http.StatusNotFound, ask(t, h, "GET", "/api/v1/events/new", "").Code)
	assert.JSONEq(t, `{"orders":[],"next":""}`, ask(t, h, "GET", "/api/v1/history", "").Body.String())
}

func TestLinesOfOneSKUAreSummed(t *testing.T) {
	t.Parallel()
	h := handler(t)
	ask(t, h, "POST", "/api/v1/events", `{"sku":"{a}%","capacity":5}`)
	ask(t, h, "POST", "/api/v1/book", `{"id":"x","customer":"{c}","lines":[{"sku":"{a}%","quantity":1},{"sku":"{a}%","quantity":2}]}`)
	stock := parseAnswer[booking.Stock](t, ask(t, h, "GET", "/api/v1/events/%7Ba%7D%25", ""))
	assert.EqualValues(t, 3, stock.Allocated)
	assert.EqualValues(t, 2, stock.Available)
}

func TestBodyBounds(t *testing.T) {
	t.Parallel()
	h := handler(t)
	ask(t, h, "POST", "/api/v1/events", `{"sku":"floor","capacity":5}`)
	const good = `{"id":"x","customer":"c","lines":[{"sku":"floor","quantity":1}]}`

	tooLarge := ask(t, h, "POST", "/api/v1/book", good+strings.Repeat(" ", maxBody))
	assert.Equal(t, http.StatusRequestEntityTooLarge, tooLarge.Code)
	assert.Equal(t, "too_large", tooLarge.problem.Code)
	assert.Equal(t, "close", tooLarge.Header().Get("Connection"))
	fits := ask(t, h, "POST", "/api/v1/book", good+strings.Repeat(" ", maxBody-len(good)))
	assert.Equal(t, http.StatusOK, fits.Code)

	for _, media := range []string{"", "text/plain", "application/x-www-form-urlencoded", "json", "application/json; charset"} {
		a := ask(t, h, "POST", "/api/v1/book", good, func(r *http.Request) { r.Header.Set("Content-Type", media) })
		assert.Equal(t, http.StatusUnsupportedMediaType, a.Code, media)
		assert.Equal(t, "unsupported_media_type", a.problem.Code)
	}
	// An order of the most and longest lines fits.
	var lines []string
	for i := range 100 {
		lines = append(lines, fmt.Sprintf(`{"sku":"%s%03d","quantity":1000000}`, strings.Repeat("é", 62), i))
	}
	a := ask(t, h, "POST", "/api/v1/book", `{"id":"y","customer":"c","lines":[`+strings.Join(lines, ",")+`]}`)
	assert.Equal(t, "unknown_sku", a.problem.Code)
}
