package robustness

import (
	"fmt"
	"hash/fnv"
	"strings"
	"time"

	"github.com/lastunit/lastunit/booking"
	"github.com/lastunit/lastunit/order"
)

// window is the SKUs that are on sale at a time. There are few of them, for a short
// time, so that many calls meet at few units and each history stays small.
type window struct {
	SKUs  []string
	Since int64 // as now tells
}

// What the SKUs of a window are: SKU a is like any other, of b a customer may have
// two, c draws on d, and d opens late.
const (
	skuLimited = "-b"
	skuDrawing = "-c"
	skuOpening = "-d" // a pool

	customerLimit = 2
	opensAfter    = 150 * time.Millisecond // the window does
)

func limitOf(sku string) int64 {
	if strings.HasSuffix(sku, skuLimited) {
		return customerLimit
	}
	return 0
}

func drawsOf(sku string) []order.Line {
	if with, is := strings.CutSuffix(sku, skuDrawing); is {
		return []order.Line{{SKU: with + skuOpening, Quantity: 1}}
	}
	return nil
}

// unitsOf is what an order takes of SKUs, pools included.
func unitsOf(lines []order.Line) []order.Line {
	draws, err := order.DrawsOf(lines, drawsOf)
	if err != nil {
		panic(err) // they are few
	}
	return order.Order{Lines: lines, Draws: draws}.Units()
}

// request is what is asked for under an order ID. The ID alone says what that is,
// so that any client of any process can click a second time.
type request struct {
	booking.Request
	verb verb // book, hold or accept
	ttl  time.Duration
}

// requestOf is the request number n for one of the SKUs of a window.
func (w window) requestOf(sku, n int) request {
	id := fmt.Sprintf("%s-%d", w.SKUs[sku], n)
	hash := fnv.New64a()
	hash.Write([]byte(id))
	// The low bits of the hash of similar texts are similar too.
	dice := hash.Sum64() * 0x9E3779B97F4A7C15 >> 20
	roll := func(faces uint64) int {
		face := dice % faces
		dice /= faces
		return int(face) //nolint:gosec // few faces
	}
	r := request{verb: []verb{book, book, book, hold, hold, hold, hold, accept, accept, accept}[roll(10)]}
	r.ID, r.Customer = id, customerOf(id)
	r.Lines = []order.Line{{SKU: w.SKUs[sku], Quantity: int64(1 + roll(5)/4)}}
	if other := (sku + 1) % len(w.SKUs); roll(7) == 0 && other != sku {
		r.Lines = append(r.Lines, order.Line{SKU: w.SKUs[other], Quantity: 1})
		if r.Lines[0].SKU > r.Lines[1].SKU {
			r.Lines[0], r.Lines[1] = r.Lines[1], r.Lines[0]
		}
	}
	for _, line := range r.Lines {
		if limitOf(line.SKU) > 0 {
			r.Customer = fmt.Sprintf("%s-%d", customerOf(line.SKU), roll(3)) // they come again
		}
	}
	if r.verb == hold {
		r.ttl = time.Duration(20+roll(16)*20) * time.Millisecond
	}
	return r
}

// twin is something else under the same ID: of the two, one is a conflict.
func (r request) twin() request {
	switch {
	case len(r.ID)%2 == 0:
		r.Customer += "'s twin"
	case r.verb == hold:
		r.verb, r.ttl = book, 0
	default:
		r.verb, r.ttl = hold, 100*time.Millisecond
	}
	return r
}

func customerOf(id string) string { return "customer of " + id }

// content is what a repeated ID must agree with, beside the lines, which are the same
// for both twins. That of an order that was cancelled before it was booked is empty.
func content(customer string, held bool) string {
	if held {
		return customer + ", held"
	}
	return customer
}

func (c *call) content() string { return content(c.Customer, c.Verb == hold) }

func contentOf(o order.Order) string { return content(o.Customer, !o.ExpiresAt.IsZero()) }
