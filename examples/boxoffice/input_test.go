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
	hold := func(ttl string) string {
		return `{"id":"x","customer":"c","lines":[{"sku":"floor","quantity":1}],"ttl":` + ttl + `}`
	}
	with := func(field string) string { return `{"sku":"new","capacity":1,` + field + `}` }
	adjust := func(kind, units string) string { return `{"id":"x","kind":` + kind + `,"units":` + units + `}` }
	event := func(capacity string) string { return `{"sku":"new","capacity":` + capacity + `}` }

	for name, test := range map[string]struct{ target, body, field string }{
		"quantity 0":         {"/api/v1/book", quantity("0"), "lines[0].quantity"},
		"quantity missing":   {"/api/v1/book", line(`[{"sku":"floor"}]`), "lines[0].quantity"},
		"quantity negative":  {"/api/v1/book", quantity("-1"), "lines[0].quantity"},
		"quantity too large": {"/api/v1/book", quantity("1000001"), "lines[0].quantity"},
		"above 2^53":         {"/api/v1/book", quantity("9007199254740993"), "lines[0].quantity"},
		"above 2^63":         {"/api/v1/book", quantity("9223372036854775808"), "lines[0].quantity"},
		"a fraction":         {"/api/v1/book", quantity("1.5"), "lines[0].quantity"},
		"an exponent":        {"/api/v1/book", quantity("1e2"), "lines[0].quantity"},
		"text":               {"/api/v1/book", quantity(`"1"`), "lines[0].quantity"},
		"the second line":    {"/api/v1/book", line(`[{"sku":"a","quantity":1},{"quantity":1,"sku":2}]`), "lines[1].sku"},
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
		"limit 0":            {"/api/v1/events", with(`"customer_limit":0`), "customer_limit"},
		"limit negative":     {"/api/v1/events", with(`"customer_limit":-1`), "customer_limit"},
		"limit too large":    {"/api/v1/events", with(`"customer_limit":1000001`), "customer_limit"},
		"limit text":         {"/api/v1/events", with(`"customer_limit":"4"`), "customer_limit"},
		"opens empty":        {"/api/v1/events", with(`"opens_at":""`), "opens_at"},
		"opens a number":     {"/api/v1/events", with(`"opens_at":1790000000`), "opens_at"},
		"opens a date":       {"/api/v1/events", with(`"opens_at":"2026-12-01"`), "opens_at"},
		"opens without zone": {"/api/v1/events", with(`"opens_at":"2026-12-01T20:00:00"`), "opens_at"},
		"opens blank":        {"/api/v1/events", with(`"opens_at":"2026-12-01 20:00:00Z"`), "opens_at"},
		"opens February 30":  {"/api/v1/events", with(`"opens_at":"2026-02-30T20:00:00Z"`), "opens_at"},
		"opens in year 1":    {"/api/v1/events", with(`"opens_at":"0001-01-01T00:00:00Z"`), "opens_at"},
		"closes before 1970": {"/api/v1/events", with(`"closes_at":"1969-12-31T23:59:59Z"`), "closes_at"},
		"closes first":       {"/api/v1/events", with(`"opens_at":"2026-12-01T20:00:00Z","closes_at":"2026-12-01T20:00:00Z"`), "closes_at"},
		"draws none":         {"/api/v1/events", with(`"draws":[{"sku":"floor","quantity":0}]`), "draws[0].quantity"},
		"draws an object":    {"/api/v1/events", with(`"draws":{"sku":"floor","quantity":1}`), "draws"},
		"draws unknown":      {"/api/v1/events", with(`"draws":[{"sku":"floor","units":1}]`), "body"},
		"an array of events": {"/api/v1/events", "[" + event("1") + "]", "body"},

		"no ttl":              {"/api/v1/hold", quantity("1"), "ttl"},
		"ttl null":            {"/api/v1/hold", hold("null"), "ttl"},
		"ttl a number":        {"/api/v1/hold", hold("600"), "ttl"},
		"ttl without unit":    {"/api/v1/hold", hold(`"600"`), "ttl"},
		"ttl empty":           {"/api/v1/hold", hold(`""`), "ttl"},
		"ttl words":           {"/api/v1/hold", hold(`"10 minutes"`), "ttl"},
		"ttl days":            {"/api/v1/hold", hold(`"1d"`), "ttl"},
		"ttl 0":               {"/api/v1/hold", hold(`"0"`), "ttl"},
		"ttl 0s":              {"/api/v1/hold", hold(`"0s"`), "ttl"},
		"ttl negative":        {"/api/v1/hold", hold(`"-10m"`), "ttl"},
		"ttl too short":       {"/api/v1/hold", hold(`"999us"`), "ttl"},
		"ttl too long":        {"/api/v1/hold", hold(`"720h0m1s"`), "ttl"},
		"ttl far too long":    {"/api/v1/hold", hold(`"99999999999h"`), "ttl"},
		"a hold's ID empty":   {"/api/v1/hold", `{"id":"","customer":"c","lines":[{"sku":"floor","quantity":1}],"ttl":"1s"}`, "id"},
		"a hold of nothing":   {"/api/v1/hold", `{"id":"x","customer":"c","lines":[],"ttl":"1s"}`, "lines"},
		"a ttl of a booking":  {"/api/v1/book", hold(`"10m"`), "body"},
		"extend without ttl":  {"/api/v1/orders/x/extend", `{}`, "ttl"},
		"extend by a number":  {"/api/v1/orders/x/extend", `{"ttl":5}`, "ttl"},
		"extend without unit": {"/api/v1/orders/x/extend", `{"ttl":"5"}`, "ttl"},
		"confirm with a ttl":  {"/api/v1/orders/x/confirm", `{"ttl":"5s"}`, "body"},
		"confirm null":        {"/api/v1/orders/x/confirm", `[]`, "body"},
		"confirm a long ID":   {"/api/v1/orders/" + long(129) + "/confirm", "", "id"},
		"reclaim with a body": {"/api/v1/orders/x/reclaim", `{"id":"x"}`, "body"},
		"pause with a body":   {"/api/v1/events/floor/pause", `{"paused":false}`, "body"},
		"resume with a body":  {"/api/v1/events/floor/resume", `{"paused":false}`, "body"},
		"pause a bad SKU":     {"/api/v1/events/%0a/pause", "", "sku"},

		"adjust without ID":    {"/api/v1/events/floor/capacity", `{"kind":"restock","units":1}`, "id"},
		"adjust with empty ID": {"/api/v1/events/floor/capacity", `{"id":"","kind":"restock","units":1}`, "id"},
		"adjust without kind":  {"/api/v1/events/floor/capacity", `{"id":"x","units":1}`, "kind"},
		"adjust otherwise":     {"/api/v1/events/floor/capacity", adjust(`"Restock"`, "1"), "kind"},
		"adjust kind number":   {"/api/v1/events/floor/capacity", adjust("1", "1"), "kind"},
		"adjust without units": {"/api/v1/events/floor/capacity", `{"id":"x","kind":"set_capacity"}`, "units"},
		"restock 0":            {"/api/v1/events/floor/capacity", adjust(`"restock"`, "0"), "units"},
		"restock negative":     {"/api/v1/events/floor/capacity", adjust(`"restock"`, "-1"), "units"},
		"restock too much":     {"/api/v1/events/floor/capacity", adjust(`"restock"`, "1000000000000"), "units"},
		"write off too much":   {"/api/v1/events/floor/capacity", adjust(`"write_off"`, "6"), "units"},
		"set to a negative":    {"/api/v1/events/floor/capacity", adjust(`"set_capacity"`, "-1"), "units"},
		"set to too much":      {"/api/v1/events/floor/capacity", adjust(`"set_capacity"`, "1000000000001"), "units"},
		"a long reason":        {"/api/v1/events/floor/capacity", `{"id":"x","kind":"restock","units":1,"reason":"` + long(129) + `"}`, "reason"},
		"a bad reference":      {"/api/v1/events/floor/capacity", `{"id":"x","kind":"restock","units":1,"reference":"\u0000"}`, "reference"},
		"adjust another SKU":   {"/api/v1/events/floor/capacity", `{"id":"x","sku":"other","kind":"restock","units":1}`, "body"},

		"feed size 0":         {"/api/v1/feed", `{"size":0}`, "size"},
		"feed size too large": {"/api/v1/feed", `{"size":10001}`, "size"},
		"feed size text":      {"/api/v1/feed", `{"size":"5"}`, "size"},
		"feed after a number": {"/api/v1/feed", `{"after":5}`, "after"},
		"feed after negative": {"/api/v1/feed", `{"after":"store/1:-1"}`, "after"},
		"feed after nothing":  {"/api/v1/feed", `{"after":"store"}`, "after"},
		"feed after an old":   {"/api/v1/feed", `{"after":{"floor":1}}`, "after"}, // of an earlier build
	} {
		t.Run(name, func(t *testing.T) {
			a := ask(t, h, "POST", test.target, test.body)
			assert.Equal(t, http.StatusBadRequest, a.Code, a.Body)
			assert.Equal(t, "invalid_request", a.problem.Code)
			assert.Equal(t, test.field, a.problem.Field, a.problem.Message)
		})
	}

	for name, test := range map[string]struct{ target, body, field string }{
		"no limit given":  {"limit", `{}`, "customer_limit"},
		"limit 0":         {"limit", `{"customer_limit":0}`, "customer_limit"},
		"limit negative":  {"limit", `{"customer_limit":-1}`, "customer_limit"},
		"limit too large": {"limit", `{"customer_limit":1000001}`, "customer_limit"},
		"limit text":      {"limit", `{"customer_limit":"4"}`, "customer_limit"},
		"limit misspelt":  {"limit", `{"limit":4}`, "body"},
		"no body":         {"limit", ` `, "body"},
		"no window":       {"window", `{}`, "opens_at"},
		"half a window":   {"window", `{"opens_at":null}`, "closes_at"},
		"the other half":  {"window", `{"closes_at":null}`, "opens_at"},
		"opens empty":     {"window", `{"opens_at":"","closes_at":null}`, "opens_at"},
		"closes a number": {"window", `{"opens_at":null,"closes_at":5}`, "closes_at"},
		"closes never":    {"window", `{"opens_at":null,"closes_at":"never"}`, "closes_at"},
		"closes first":    {"window", `{"opens_at":"2026-12-01T20:00:00Z","closes_at":"2026-12-01T20:00:00+01:00"}`, "closes_at"},
	} {
		t.Run(name, func(t *testing.T) {
			a := ask(t, h, "PUT", "/api/v1/events/floor/"+test.target, test.body)
			assert.Equal(t, http.StatusBadRequest, a.Code, a.Body)
			assert.Equal(t, "invalid_request", a.problem.Code)
			assert.Equal(t, test.field, a.problem.Field, a.problem.Message)
		})
	}

	for query, field := range map[string]string{
		"": "sku", "sku=": "sku", "sku=floor&sku=": "sku", "sku=%ff": "sku", "sku=floor&size=1": "size", "sku=a;sku=b": "query",
	} {
		a := ask(t, h, "GET", "/api/v1/events?"+query, "")
		assert.Equal(t, http.StatusBadRequest, a.Code, query)
		assert.Equal(t, field, a.problem.Field, query)
	}
	for query, field := range map[string]string{
		"size=0": "size", "size=10001": "size", "size=": "size", "size=%2B5": "size", "size=1&size=2": "size", "after=-1": "after",
		"after=x": "after", "after=": "after", "after=9223372036854775808": "after", "after=1e3": "after", "status=held": "status",
	} {
		a := ask(t, h, "GET", "/api/v1/events/floor/movements?"+query, "")
		assert.Equal(t, http.StatusBadRequest, a.Code, query)
		assert.Equal(t, field, a.problem.Field, query)
	}
	for _, query := range []string{"size=1&size=2", "size=%2B5", "size=0", "size=-1", "size=1001", "size=x", "size=", "status=Confirmed", "status=x", "after=x", "after=-1", "page=2", "size=%zz"} {
		a := ask(t, h, "GET", "/api/v1/history?"+query, "")
		assert.Equal(t, http.StatusBadRequest, a.Code, query)
		assert.NotEmpty(t, a.problem.Field, query)
	}
	for _, target := range []string{"/api/v1/orders/%00", "/api/v1/orders/%ff", "/api/v1/events/%0a", "/api/v1/events/%0a/movements"} {
		a := ask(t, h, "GET", target, "")
		assert.Equal(t, http.StatusBadRequest, a.Code, target)
		assert.Contains(t, []string{"id", "sku"}, a.problem.Field, target)
	}

	stock := parseAnswer[booking.Stock](t, ask(t, h, "GET", "/api/v1/events/floor", ""))
	assert.Equal(t, booking.Stock{SKU: "floor", Capacity: 5, Available: 5}, stock)
	assert.Equal(t, http.StatusNotFound, ask(t, h, "GET", "/api/v1/events/new", "").Code)
	assert.JSONEq(t, `{"orders":[],"next":""}`, ask(t, h, "GET", "/api/v1/history", "").Body.String())
	assert.EqualValues(t, 1, parseAnswer[movementsPage](t, ask(t, h, "GET", "/api/v1/events/floor/movements", "")).Next)
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
	for method, target := range map[string]string{"POST": "/api/v1/events", "PUT": "/api/v1/events/floor/limit"} {
		a := ask(t, h, method, target, `{"sku":"floor","capacity":5}`, func(r *http.Request) { r.Header.Set("Content-Type", "text/plain") })
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
