package main

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

// fuzzed is a box office that a fuzz test makes requests to, one after the other.
type fuzzed struct {
	t  *testing.T
	on *stores
	h  http.Handler
}

// newFuzzed has a SKU on sale of which a unit is sold and one is held.
func newFuzzed(t *testing.T) *fuzzed {
	t.Helper()
	on := inside(t)
	f := &fuzzed{t, on, newAPI(newShop(t, on), on.ping, quiet)}
	for _, request := range [][2]string{
		{"/api/v1/events", `{"sku":"floor","capacity":5,"customer_limit":4}`},
		{"/api/v1/events", `{"sku":"seat","capacity":5,"draws":[{"sku":"floor","quantity":1}]}`},
		{"/api/v1/book", `{"id":"sold","customer":"c","lines":[{"sku":"floor","quantity":1}]}`},
		{"/api/v1/hold", `{"id":"held","customer":"c","lines":[{"sku":"floor","quantity":1}],"ttl":"10m"}`},
	} {
		require.Equal(t, http.StatusOK, ask(t, f.h, "POST", request[0], request[1]).Code)
	}
	return f
}

// books is all that the durable side knows: orders, movements and counters.
type books struct {
	Orders    []order.Order
	Movements []order.Movement
	Tallies   []order.Tally
}

// books reads them, and requires that they balance and nothing is oversold.
func (f *fuzzed) books() (found books) {
	f.t.Helper()
	ctx := f.t.Context()
	page, err := f.on.orders.Orders(ctx, order.Query{Size: order.MaxPage})
	require.NoError(f.t, err)
	require.Empty(f.t, page.Next)
	found.Orders = page.Orders
	found.Movements, _, err = f.on.orders.Feed(ctx, order.Cursor{}, order.MaxMovements)
	require.NoError(f.t, err)
	found.Tallies, err = f.on.orders.TallyAll(ctx)
	require.NoError(f.t, err)
	for i, tally := range found.Tallies {
		require.True(f.t, tally.Balanced(), "%+v", tally)
		found.Tallies[i].Counters.At = time.Time{} // it is when they were asked for
	}
	return found
}

// restored waits until Redis has nothing in flight of a SKU.
func (f *fuzzed) restored(sku string, want int64) {
	f.t.Helper()
	var stocks []inventory.Stock
	require.Eventually(f.t, func() bool {
		var err error
		stocks, err = f.on.inventory.Stock(f.t.Context(), sku)
		return err == nil && stocks[0].Unsettled == 0 && stocks[0].Available() == want
	}, testPatience, time.Millisecond, "Redis has %d available, and nothing in flight, of %s: %+v", want, sku, &stocks)
}

// FuzzHTTP sends any method, target, content type and body. The answer is JSON
// and never a failure of the service, and changes nothing unless it is 200.
func FuzzHTTP(f *testing.F) {
	f.Fuzz(func(t *testing.T, method, target, contentType string, body []byte) {
		r, err := http.NewRequestWithContext(t.Context(), method, "http://shop", bytes.NewReader(body))
		if err != nil {
			return // no server would hand it on
		}
		r.RequestURI = target
		if r.URL, err = r.URL.Parse(target); err != nil {
			return
		}
		if len(body) == 0 {
			r.Body = http.NoBody
		}
		r.Header.Set("Content-Type", contentType)

		shop := newFuzzed(t)
		before := shop.books()
		w := httptest.NewRecorder()
		shop.h.ServeHTTP(w, r)
		require.Less(t, w.Code, 500, "%s %q: %s", method, target, w.Body)
		after := shop.books()
		switch {
		case w.Code == http.StatusOK:
			require.True(t, json.Valid(w.Body.Bytes()), "%s", w.Body)
		case w.Code >= 400:
			var said struct{ Error problem }
			require.NoError(t, json.Unmarshal(w.Body.Bytes(), &said), "%s", w.Body)
			require.NotEmpty(t, said.Error.Code)
		}
		if w.Code != http.StatusOK || r.Method == http.MethodGet || r.Method == http.MethodHead {
			require.Equal(t, before, after, "%s %q %d: %s", method, target, w.Code, w.Body)
			for _, tally := range after.Tallies {
				shop.restored(tally.Counters.SKU, tally.Counters.Capacity-tally.Counters.Allocated)
			}
		}
	})
}

var (
	fieldOfCSV = regexp.MustCompile(`\Aline [1-9][0-9]*(: (sku|capacity|customer_limit|opens_at|closes_at|pool_only))?\z`)
	startOfCSV = []byte("\ufeff")
)

// FuzzCSV imports any file. It is refused with its line, and then nothing has
// changed; or all of it is on sale with just the numbers that stand there.
func FuzzCSV(f *testing.F) {
	f.Fuzz(func(t *testing.T, text []byte) {
		items, err := parseItems(text)
		shop := newFuzzed(t)
		before := shop.books()
		if len(text) > 0 {
			defer func() { shop.imported(string(text), items, err, before) }()
		}
		if err != nil {
			var invalid *inventory.InvalidError
			require.ErrorAs(t, err, &invalid)
			require.Regexp(t, fieldOfCSV, invalid.Field, err)
			require.Empty(t, items)
			return
		}
		require.NotEmpty(t, items)
		rows, err := csv.NewReader(bytes.NewReader(bytes.TrimPrefix(text, startOfCSV))).ReadAll()
		require.NoError(t, err)
		require.Len(t, items, len(rows)-1)
		for i, item := range items {
			require.NoError(t, item.Check())
			require.Equal(t, cellOf(rows, i, "sku"), item.SKU)
			require.Equal(t, withoutZeros(cellOf(rows, i, "capacity")), strconv.FormatInt(item.Capacity, 10))
			if limit := cellOf(rows, i, "customer_limit"); limit != "" {
				require.Equal(t, withoutZeros(limit), strconv.FormatInt(item.CustomerLimit, 10))
			}
			require.Equal(t, cellOf(rows, i, "pool_only") == "true", item.PoolOnly)
			for name, at := range map[string]time.Time{"opens_at": item.OpensAt, "closes_at": item.ClosesAt} {
				cell := cellOf(rows, i, name)
				require.Equal(t, cell == "", at.IsZero())
				if cell != "" {
					read, err := time.Parse(time.RFC3339Nano, cell)
					require.NoError(t, err)
					require.True(t, read.Equal(at))
				}
			}
		}
	})
}

// cellOf is a cell of the n-th item; empty if there is no such column.
func cellOf(rows [][]string, n int, column string) string {
	if at := slices.Index(rows[0], column); at >= 0 {
		return rows[n+1][at]
	}
	return ""
}

func withoutZeros(digits string) string {
	if trimmed := strings.TrimLeft(digits, "0"); trimmed != "" {
		return trimmed
	}
	return "0"
}

// imported imports the file that was read as items, or refused.
func (f *fuzzed) imported(text string, items []order.Item, refused error, before books) {
	f.t.Helper()
	answer := importCSV(f.t, f.h, text)
	after := f.books()
	if answer.Code != http.StatusOK {
		require.Less(f.t, answer.Code, 500, "%s", answer.Body)
		require.Equal(f.t, before, after, "%s", answer.Body)
		known := slices.ContainsFunc(items, func(i order.Item) bool { return i.SKU == "floor" || i.SKU == "seat" })
		require.True(f.t, refused != nil || known, "%s", answer.Body) // on sale already, in another way
		return
	}
	require.NoError(f.t, refused)
	for _, item := range items {
		at := slices.IndexFunc(after.Tallies, func(t order.Tally) bool { return t.Counters.SKU == item.SKU })
		require.GreaterOrEqual(f.t, at, 0, "%q is on sale", item.SKU)
		require.Equal(f.t, item.Capacity, after.Tallies[at].Counters.Capacity)
	}
}
