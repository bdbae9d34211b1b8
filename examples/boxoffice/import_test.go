package main

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/booking"
	"github.com/lastunit/lastunit/internal/servertest"
	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

// importCSV sends a file.
func importCSV(t testing.TB, h http.Handler, text string) answered {
	t.Helper()
	return ask(t, h, "POST", "/api/v1/events", text, func(r *http.Request) { r.Header.Set("Content-Type", "text/csv") })
}

func TestGoodCSV(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 12, 1, 20, 0, 0, 0, time.UTC)
	for name, test := range map[string]struct {
		text string
		want []order.Item
	}{
		"two columns":     {"sku,capacity\na,1\nb,2\n", []order.Item{{SKU: "a", Capacity: 1}, {SKU: "b", Capacity: 2}}},
		"no last newline": {"sku,capacity\na,1", []order.Item{{SKU: "a", Capacity: 1}}},
		"CRLF":            {"sku,capacity\r\na,1\r\n", []order.Item{{SKU: "a", Capacity: 1}}},
		"a BOM":           {"\ufeffsku,capacity\na,1\n", []order.Item{{SKU: "a", Capacity: 1}}},
		"a BOM, quoted":   {"\ufeff\"sku\",\"capacity\"\n\"a\",\"1\"\n", []order.Item{{SKU: "a", Capacity: 1}}},
		"blank lines":     {"\nsku,capacity\n\r\na,1\n\n\nb,2\n\n", []order.Item{{SKU: "a", Capacity: 1}, {SKU: "b", Capacity: 2}}},
		"another order":   {"capacity,sku\n1,a\n", []order.Item{{SKU: "a", Capacity: 1}}},
		"quoted cells":    {"sku,capacity\n\"row \"\"A\"\", seat 1\",\"1\"\n", []order.Item{{SKU: `row "A", seat 1`, Capacity: 1}}},
		"blanks in SKUs":  {"sku,capacity\n a ,1\n", []order.Item{{SKU: " a ", Capacity: 1}}},
		"zeros":           {"sku,capacity\na,0\nb,0100\n", []order.Item{{SKU: "a"}, {SKU: "b", Capacity: 100}}},
		"the most":        {"sku,capacity\n" + strings.Repeat("é", 64) + ",1000000000000\n", []order.Item{{SKU: strings.Repeat("é", 64), Capacity: inventory.MaxCapacity}}},
		"all columns": {
			"sku,capacity,customer_limit,opens_at,closes_at\na,1,4,2026-12-01T20:00:00Z,2026-12-01T22:00:00.5+01:00\nb,2,,,\n",
			[]order.Item{
				{SKU: "a", Capacity: 1, CustomerLimit: 4, OpensAt: at, ClosesAt: at.Add(time.Hour + 500*time.Millisecond)},
				{SKU: "b", Capacity: 2},
			},
		},
		"a pool only":    {"sku,pool_only,capacity\na,true,1\nb,false,1\nc,,1\n", []order.Item{{SKU: "a", Capacity: 1, PoolOnly: true}, {SKU: "b", Capacity: 1}, {SKU: "c", Capacity: 1}}},
		"only closes_at": {"closes_at,sku,capacity\n,a,1\n2026-12-01T20:00:00Z,b,1\n", []order.Item{{SKU: "a", Capacity: 1}, {SKU: "b", Capacity: 1, ClosesAt: at}}},
		"only quotes":    {"sku,capacity\n\"" + strings.Repeat(`""`, 128) + "\",1\n", []order.Item{{SKU: strings.Repeat(`"`, 128), Capacity: 1}}},
	} {
		items, err := parseItems([]byte(test.text))
		require.NoError(t, err, name)
		assert.True(t, slices.EqualFunc(test.want, items, sameItem), "%s: %v", name, items)
	}
}

func sameItem(a, b order.Item) bool {
	return a.SKU == b.SKU && a.Capacity == b.Capacity && a.CustomerLimit == b.CustomerLimit &&
		a.OpensAt.Equal(b.OpensAt) && a.ClosesAt.Equal(b.ClosesAt) && a.PoolOnly == b.PoolOnly
}

// Each is refused with its line, and its column if one cell is wrong.
func TestBadCSV(t *testing.T) {
	t.Parallel()
	h := handler(t)
	capacity := func(cell string) string { return "sku,capacity\na,1\nb," + cell + "\n" }
	limit := func(cell string) string { return "sku,capacity,customer_limit\na,1," + cell + "\n" }
	opens := func(cell string) string { return "sku,capacity,opens_at\na,1," + cell + "\n" }
	for name, test := range map[string]struct{ text, field, says string }{
		"only blanks":         {" ", "line 1", `the column " "`},
		"only a BOM":          {"\ufeff", "line 1", "want a header"},
		"only blank lines":    {"\n\n", "line 1", "want a header"},
		"no header":           {"a,1\nb,2\n", "line 1", `the column "a", want sku,capacity,customer_limit,opens_at,closes_at`},
		"no items":            {"sku,capacity\n", "line 2", "there are no items"},
		"no items, CRLF":      {"sku,capacity\r\n\r\n", "line 3", "there are no items"},
		"unknown column":      {"sku,capacity,price\na,1,2\n", "line 1", `the column "price"`},
		"unnamed column":      {"sku,capacity,\na,1,\n", "line 1", `the column ""`},
		"duplicate column":    {"sku,capacity,sku\na,1,a\n", "line 1: sku", "twice"},
		"no SKUs":             {"capacity\n1\n", "line 1: sku", "missing"},
		"no capacities":       {"sku\na\n", "line 1: capacity", "missing"},
		"upper case":          {"SKU,Capacity\na,1\n", "line 1", `the column "SKU"`},
		"blank in the header": {"sku, capacity\na,1\n", "line 1", `the column " capacity"`},
		"semicolons":          {"sku;capacity\na;1\n", "line 1", `the column "sku;capacity"`},
		"tabs":                {"sku\tcapacity\na\t1\n", "line 1", `the column "sku\tcapacity"`},
		"UTF-16":              {"\xff\xfes\x00k\x00u\x00", "line 1", "the column"},
		"two BOMs":            {"\ufeff\ufeffsku,capacity\na,1\n", "line 1", "the column"},
		"a late header":       {"\n\nskus,capacity\n", "line 3", "the column"},

		"a pool or not": {"sku,capacity,pool_only\na,1,yes\n", "line 2: pool_only", "want true or false"},

		"too few cells":      {"sku,capacity\na,1\nb\n", "line 3", "has 1 cells, want 2"},
		"too many cells":     {"sku,capacity\na,1,\n", "line 2", "has 3 cells, want 2"},
		"a line of blanks":   {"sku,capacity\n  \n", "line 2", "has 1 cells, want 2"},
		"an open quote":      {"sku,capacity\n\"a,1\nb,2\n", "line 3", "no good CSV"},
		"a bare quote":       {"sku,capacity\na\",1\n", "line 2", "no good CSV"},
		"after a quote":      {"sku,capacity\n\"a\"b,1\n", "line 2", "no good CSV"},
		"before a quote":     {"sku,capacity\na, \"1\"\n", "line 2", "no good CSV"},
		"header quote":       {"sku,\"capacity\n", "line 1", "no good CSV"},
		"a long line":        {"sku,capacity\na,1" + strings.Repeat(",", maxLine) + "\n", "line 2", "longer than"},
		"a long header":      {strings.Repeat(",", 2*maxLine), "line 1", "longer than"},
		"a comment":          {"sku,capacity\n# more\n", "line 2", "has 1 cells"},
		"empty SKU":          {"sku,capacity\n,1\n", "line 2: sku", "is empty"},
		"long SKU":           {"sku,capacity\n" + long(129) + ",1\n", "line 2: sku", "129 bytes"},
		"bad UTF-8":          {"sku,capacity\na\xff,1\n", "line 2: sku", "UTF-8"},
		"NUL":                {"sku,capacity\na\x00,1\n", "line 2: sku", "control character"},
		"a newline in a SKU": {"sku,capacity\na,1\n\"b\nb\",1\n", "line 3: sku", "control character"},
		"the same SKU":       {"sku,capacity\na,1\nb,1\n\na,1\n", "line 5: sku", `"a", as in line 2`},

		"no capacity":        {capacity(""), "line 3: capacity", `is "", want a whole number from 0 to 1000000000000`},
		"a sign":             {capacity("-1"), "line 3: capacity", `"-1"`},
		"a plus":             {capacity("+1"), "line 3: capacity", `"+1"`},
		"a blank before":     {capacity(" 1"), "line 3: capacity", `" 1"`},
		"a blank after":      {capacity("1 "), "line 3: capacity", `"1 "`},
		"an exponent":        {capacity("1e3"), "line 3: capacity", `"1e3"`},
		"a fraction":         {capacity("1.0"), "line 3: capacity", `"1.0"`},
		"hexadecimal":        {capacity("0x10"), "line 3: capacity", `"0x10"`},
		"an underscore":      {capacity("1_000"), "line 3: capacity", `"1_000"`},
		"thousands":          {capacity(`"1,000"`), "line 3: capacity", `"1,000"`},
		"full-width digits":  {capacity("１"), "line 3: capacity", `"１"`},
		"NaN":                {capacity("NaN"), "line 3: capacity", `"NaN"`},
		"too many units":     {capacity("1000000000001"), "line 3: capacity", "from 0 to"},
		"above 2^63":         {capacity("9223372036854775808"), "line 3: capacity", "from 0 to"},
		"very long":          {capacity(strings.Repeat("9", 500)), "line 3: capacity", `is "` + strings.Repeat("9", 40) + `", want`},
		"a CR in a cell":     {"sku,capacity\na,1\rb,2\n", "line 2", "has 3 cells"},
		"limit 0":            {limit("0"), "line 2: customer_limit", "from 1 to 1000000"},
		"limit negative":     {limit("-1"), "line 2: customer_limit", "from 1 to 1000000"},
		"limit too large":    {limit("1000001"), "line 2: customer_limit", "from 1 to 1000000"},
		"limit blank":        {limit(" "), "line 2: customer_limit", "from 1 to 1000000"},
		"no time":            {opens("tomorrow"), "line 2: opens_at", "want a time such as"},
		"no zone":            {opens("2026-12-01T20:00:00"), "line 2: opens_at", "want a time such as"},
		"one digit":          {opens("2026-12-01T9:00:00Z"), "line 2: opens_at", "want a time such as"},
		"a comma in a time":  {opens(`"2026-12-01T20:00:00,5Z"`), "line 2: opens_at", "want a time such as"},
		"a blank in a time":  {opens("2026-12-01T20:00:00Z "), "line 2: opens_at", "want a time such as"},
		"a large offset":     {opens("2026-12-01T20:00:00+24:00"), "line 2: opens_at", "want a time such as"},
		"lower case":         {opens("2026-12-01t20:00:00z"), "line 2: opens_at", "want a time such as"},
		"a second too many":  {opens("2026-12-01T20:00:60Z"), "line 2: opens_at", "want a time such as"},
		"the zero time":      {opens("0001-01-01T00:00:00Z"), "line 2: opens_at", "want a time such as"},
		"before 1970":        {opens("1969-12-01T20:00:00Z"), "line 2: opens_at", "1970"},
		"closes before open": {"sku,capacity,opens_at,closes_at\na,1,2026-12-01T20:00:00Z,2026-12-01T20:00:00Z\n", "line 2: closes_at", "later than opens_at"},
	} {
		t.Run(name, func(t *testing.T) {
			a := importCSV(t, h, test.text)
			assert.Equal(t, http.StatusBadRequest, a.Code, a.Body)
			assert.Equal(t, "invalid_request", a.problem.Code)
			assert.Equal(t, test.field, a.problem.Field, a.problem.Message)
			assert.Contains(t, a.problem.Message, test.says)
			assert.Less(t, len(a.problem.Message), 400)
		})
	}
	assert.Equal(t, "line 1", importCSV(t, h, "").problem.Field)
	for _, sku := range []string{"a", "b"} {
		assert.Equal(t, "unknown_sku", ask(t, h, "GET", "/api/v1/events/"+sku, "").problem.Code, "nothing of them was put on sale")
	}
}

func TestImport(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, h http.Handler) {
		const text = "sku,capacity,customer_limit,opens_at\nred,10,4,\nblue,20,,2099-12-01T20:00:00Z\n"
		for range 2 { // the second click
			assert.JSONEq(t, `{"imported":2}`, importCSV(t, h, text).Body.String())
		}
		assert.JSONEq(t, `{"events":[
			{"sku":"red","capacity":10,"allocated":0,"in_flight":0,"over":0,"available":10,"customer_limit":4,"paused":false},
			{"sku":"blue","capacity":20,"allocated":0,"in_flight":0,"over":0,"available":20,"opens_at":"2099-12-01T20:00:00Z","paused":false}]}`,
			ask(t, h, "GET", "/api/v1/events?sku=red&sku=blue", "").Body.String())

		// All or nothing.
		there := importCSV(t, h, "sku,capacity\nnew,1\nred,11\n")
		assert.Equal(t, http.StatusConflict, there.Code)
		assert.Equal(t, "already_on_sale", there.problem.Code)
		assert.Equal(t, "red", there.problem.SKU)
		assert.Equal(t, "unknown_sku", ask(t, h, "GET", "/api/v1/events/new", "").problem.Code)
	})
}

// rows is a file of so many items.
func rows(n int) string {
	var text strings.Builder
	text.WriteString("sku,capacity,customer_limit,opens_at,closes_at\r\n")
	for i := range n {
		fmt.Fprintf(&text, "%s%05d,%d,1000000,2020-12-01T20:00:00.123456+01:00,2099-12-01T20:00:00.123456+01:00\r\n", long(123), i, i)
	}
	return text.String()
}

func TestTheMostRows(t *testing.T) {
	t.Parallel()
	h := serverHandler(t)
	tooMany := importCSV(t, h, rows(order.MaxItems+1))
	assert.Equal(t, fmt.Sprintf("line %d", order.MaxItems+2), tooMany.problem.Field)
	assert.Contains(t, tooMany.problem.Message, "at most 10000 items")
	assert.Equal(t, "unknown_sku", ask(t, h, "GET", "/api/v1/events/"+long(123)+"00000", "").problem.Code)

	assert.JSONEq(t, `{"imported":10000}`, importCSV(t, h, rows(order.MaxItems)).Body.String())
	for _, i := range []int{1, 5000, order.MaxItems - 1} {
		sku := fmt.Sprintf("%s%05d", long(123), i)
		assert.EqualValues(t, i, parseAnswer[booking.Stock](t, ask(t, h, "GET", "/api/v1/events/"+sku, "")).Available)
		assert.Equal(t, http.StatusOK, book(t, h, sku, sku, 1).Code)
	}
}

func TestCSVBody(t *testing.T) {
	t.Parallel()
	h := handler(t)
	const good = "sku,capacity\na,1\n"
	fits := importCSV(t, h, good+strings.Repeat("\n", maxLargeBody-len(good)))
	assert.Equal(t, http.StatusOK, fits.Code)
	tooLarge := importCSV(t, h, good+strings.Repeat("\n", maxLargeBody-len(good)+1))
	assert.Equal(t, http.StatusRequestEntityTooLarge, tooLarge.Code)
	assert.Equal(t, "too_large", tooLarge.problem.Code)
	for media, code := range map[string]int{
		"text/csv; charset=utf-8": 200, `Text/CSV; header=present; charset="UTF-8"`: 200,
		"text/csv; charset=iso-8859-1": 415, "text/csv; charset": 415, "application/csv": 415, "text/plain": 415,
	} {
		a := ask(t, h, "POST", "/api/v1/events", good, func(r *http.Request) { r.Header.Set("Content-Type", media) })
		assert.Equal(t, code, a.Code, media)
	}
	book := ask(t, h, "POST", "/api/v1/book", good, func(r *http.Request) { r.Header.Set("Content-Type", "text/csv") })
	assert.Equal(t, "unsupported_media_type", book.problem.Code)
}

func TestImportAtTheStart(t *testing.T) {
	t.Parallel()
	redis := servertest.SharedRedis(t)
	database := servertest.SharedPostgres(t).Database(t)
	path := filepath.Join(t.TempDir(), "events.csv")
	require.NoError(t, os.WriteFile(path, []byte("sku,capacity\nred,10\nblue,20\n"), 0o600))
	for range 2 { // it is started again with the same file
		code, _, stderr := runs(t, environment("REDIS_URL="+redis.URL(), "DATABASE_URL="+database),
			"-import", path, "-rush", "5", "-capacity", "3", "-prefix", t.Name(), "-anyway")
		require.Equal(t, 0, code, stderr)
		assert.Contains(t, stderr, "items=2")
	}
	h := newAPI(newShop(t, outside(t, redis, database)), nil, quiet)
	stocks := parseAnswer[struct{ Events []booking.Stock }](t, ask(t, h, "GET", "/api/v1/events?sku=red&sku=blue", "")).Events
	assert.Equal(t, []booking.Stock{{SKU: "red", Capacity: 10, Available: 10}, {SKU: "blue", Capacity: 20, Available: 20}}, stocks)

	for name, test := range map[string]struct{ text, want string }{
		"bad":       {"sku,capacity\nred,10\nblue,x\n", path + `: invalid: line 3: capacity is "x"`},
		"too large": {strings.Repeat("\n", maxLargeBody+1), path + " has more than 4194304 bytes"},
		"other":     {"sku,capacity\ngreen,1\nred,11\n", path + `: SKU "red": already on sale`},
	} {
		require.NoError(t, os.WriteFile(path, []byte(test.text), 0o600))
		var stdout, stderr strings.Builder
		code := run(t.Context(), []string{"-import", path, "-listen", "127.0.0.1:0", "-prefix", t.Name(), "-anyway"},
			environment("REDIS_URL="+redis.URL(), "DATABASE_URL="+database), &stdout, &stderr)
		assert.Equal(t, 1, code, name)
		assert.Contains(t, stderr.String(), test.want)
		assert.Empty(t, stdout.String(), "it is not open")
	}
	var stdout, stderr strings.Builder
	assert.Equal(t, 1, run(t.Context(), []string{"-import", path + "x", "-listen", "127.0.0.1:0"}, environment(), &stdout, &stderr))
	assert.Contains(t, stderr.String(), "no such file")
}

// A file that is taken says the same when it is written again; one that is not
// taken is refused with one of its lines.
func FuzzImport(f *testing.F) {
	for _, text := range []string{
		"", "sku,capacity\na,1\n", "\ufeffcapacity,sku\r\n1,a\r\n", "sku,capacity\n\"a \"\"b\"\", c\",1\n",
		"sku,capacity,customer_limit,opens_at,closes_at\na,1,4,2026-12-01T20:00:00Z,2026-12-01T22:00:00.5+01:00\nb,2,,,\n",
		"sku,pool_only,capacity\na,true,1\nb,false,1\nc,,1\n", "sku,capacity,pool_only\na,1,yes\n",
		"sku,capacity\na,-1\n", "sku,capacity\na,1e3\n", "sku,capacity\na\n", "sku,capacity,sku\na,1,b\n", "sku,capacity\n\"a,1\n",
		"sku,capacity\na,1\na,1\n", "sku,capacity\n\"a\nb\",1\n", "\n\n\nsku,capacity\n\n\xff,1\n", "sku,capacity\na,00000000000000000000001\n",
		"sku,capacity,opens_at\na,1,9999-12-31T23:59:59.999999999-23:59\n", "sku,capacity,\n", strings.Repeat(",", 2000), "\r\r\n\r",
	} {
		f.Add([]byte(text))
	}
	ofALine := regexp.MustCompile(`^line (\d+)(: (sku|capacity|customer_limit|opens_at|closes_at|pool_only))?$`)
	f.Fuzz(func(t *testing.T, text []byte) {
		items, err := parseItems(text)
		if err != nil {
			var invalid *inventory.InvalidError
			if !errors.As(err, &invalid) || items != nil {
				t.Fatalf("%v, and %d items", err, len(items))
			}
			match := ofALine.FindStringSubmatch(invalid.Field)
			if match == nil || invalid.Reason == "" {
				t.Fatalf("no line: %v", err)
			}
			// What is missing at the end is so in the line after it.
			if line, _ := strconv.Atoi(match[1]); line < 1 || line > bytes.Count(text, []byte("\n"))+2 {
				t.Fatalf("no such line: %v", err)
			}
			return
		}
		if len(items) == 0 || len(items) > order.MaxItems {
			t.Fatalf("%d items", len(items))
		}
		written := writeItems(t, items)
		again, err := parseItems(written)
		if err != nil || !slices.EqualFunc(items, again, sameItem) {
			t.Fatalf("%v, then as %q %v, %v", items, written, again, err)
		}
	})
}

// writeItems is a file with all columns.
func writeItems(t *testing.T, items []order.Item) []byte {
	var text bytes.Buffer
	writer := csv.NewWriter(&text)
	stamp := func(at time.Time) string {
		if at.IsZero() {
			return ""
		}
		return at.Format(time.RFC3339Nano)
	}
	require.NoError(t, writer.Write(columns))
	for _, item := range items {
		require.NoError(t, item.Check())
		limit := ""
		if item.CustomerLimit > 0 {
			limit = strconv.FormatInt(item.CustomerLimit, 10)
		}
		require.NoError(t, writer.Write([]string{item.SKU, strconv.FormatInt(item.Capacity, 10), limit, stamp(item.OpensAt), stamp(item.ClosesAt), strconv.FormatBool(item.PoolOnly)}))
	}
	writer.Flush()
	require.NoError(t, writer.Error())
	return text.Bytes()
}
