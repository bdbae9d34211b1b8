package robustness

import (
	"fmt"
	"hash/fnv"
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
	if r.verb == hold {
		r.ttl = time.Duration(20+roll(16)*60) * time.Millisecond
	}
	return r
}

func customerOf(id string) string { return "customer of " + id }
