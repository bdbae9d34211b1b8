package main

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/order"
)

func TestMovements(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, h http.Handler) {
		ask(t, h, "POST", "/api/v1/events", `{"sku":"floor","capacity":3}`)
		book(t, h, "1", "floor", 2)
		ask(t, h, "DELETE", "/api/v1/orders/1", "")
		page := func(query string) movementsPage {
			return parseAnswer[movementsPage](t, ask(t, h, "GET", "/api/v1/events/floor/movements"+query, ""))
		}
		all := page("")
		require.Len(t, all.Movements, 3)
		assert.EqualValues(t, 3, all.Next)
		for i, want := range []order.Movement{
			{Kind: order.MovedOnSale, Quantity: 3},
			{Kind: order.MovedBooked, Quantity: 2, OrderID: "1"},
			{Kind: order.MovedCancelled, Quantity: -2, OrderID: "1"},
		} {
			want.SKU, want.Number, want.At = "floor", int64(i+1), all.Movements[i].At
			assert.Equal(t, want, all.Movements[i])
		}
		assert.Equal(t, movementsPage{all.Movements[:2], 2}, page("?size=2"))
		assert.Equal(t, movementsPage{all.Movements[2:], 3}, page("?size=2&after=2"))
		end := ask(t, h, "GET", "/api/v1/events/floor/movements?after=3", "")
		assert.JSONEq(t, `{"movements":[],"next":3}`, end.Body.String())
		assert.EqualValues(t, 9223372036854775807, page("?after=9223372036854775807").Next)
	})
}

// Whoever keeps the cursor misses nothing and gets nothing twice.
func TestFeed(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, h http.Handler) {
		feed := func(body string) feedPage { return parseAnswer[feedPage](t, ask(t, h, "POST", "/api/v1/feed", body)) }
		begin := feed(`{"after":""}`)
		assert.Equal(t, begin, feed(`{"after":null,"size":null}`))
		assert.Empty(t, begin.Movements)
		assert.Zero(t, begin.Next.Positions)

		ask(t, h, "POST", "/api/v1/events", `{"sku":"floor","capacity":9}`)
		ask(t, h, "POST", "/api/v1/events", `{"sku":"hall","capacity":9}`)
		for i := range 7 {
			book(t, h, fmt.Sprint(i), []string{"floor", "hall"}[i%2], 1)
		}
		first := feed(`{"size":4}`)
		assert.Equal(t, first, feed(`{"size":4}`), "the same again")
		numbers := make(map[string]int64)
		units := 0
		next := first
		for len(next.Movements) > 0 {
			assert.LessOrEqual(t, len(next.Movements), 4)
			for _, m := range next.Movements {
				numbers[m.SKU]++
				assert.Equal(t, numbers[m.SKU], m.Number)
				if m.Kind == order.MovedBooked {
					units += int(m.Quantity)
				}
			}
			next = feed(inJSONText(t, map[string]any{"after": next.Next, "size": 4}))
		}
		assert.Equal(t, 7, units)
		assert.Equal(t, map[string]int64{"floor": 5, "hall": 4}, numbers)

		// A cursor of before a restore, and one of another database.
		ahead := next.Next
		ahead.Positions[17]++
		for _, after := range []order.Cursor{ahead, {Store: "another"}} {
			a := ask(t, h, "POST", "/api/v1/feed", inJSONText(t, map[string]any{"after": after}))
			assert.Equal(t, http.StatusConflict, a.Code, a.Body)
			assert.Equal(t, "unknown_cursor", a.problem.Code)
			assert.Equal(t, "after", a.problem.Field)
		}
	})
}
