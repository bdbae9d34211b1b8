package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sort"

	"github.com/lastunit/lastunit/order"
)

const (
	zipfSKUs  = 1000
	zipfLines = 3
)

// zipf is booking.Service.Book of orders with three lines, one unit each, of a
// thousand SKUs. A SKU is chosen in inverse proportion to its rank: the first one
// is in two orders of five.
type zipf struct{ *shop }

func openZipf(ctx context.Context, c *cell, capacity int64) (contender, error) {
	items := make([]order.Item, zipfSKUs)
	for i := range items {
		items[i] = order.Item{SKU: zipfNames[i], Capacity: capacity}
	}
	s, err := putOnSale(ctx, c, c.goRedis(), items...)
	return &zipf{s}, err
}

func (s *zipf) call(ctx context.Context, caller, n int) (answer, error) {
	r := request(caller, n, zipfOrder(caller, n))
	return definitely(r.ID, func() (order.Order, error) { return s.service.Book(ctx, r) })
}

func (s *zipf) audit(ctx context.Context, told *told) error {
	return s.checkBooks(ctx, told, zipfOrder)
}

// zipfNames are the SKUs by rank, zipfSums the sums of their weights up to each.
var zipfNames, zipfSums = func() (names []string, sums []float64) {
	sum := 0.0
	for rank := 1; rank <= zipfSKUs; rank++ {
		sum += 1 / float64(rank)
		names = append(names, fmt.Sprintf("sku-%04d", rank))
		sums = append(sums, sum)
	}
	return names, sums
}()

// zipfOrder is what the n-th order of a caller is for: always the same, so that
// the audit knows it too.
func zipfOrder(caller, n int) []order.Line {
	random := rand.NewPCG(uint64(caller), uint64(n))
	lines := make([]order.Line, 0, zipfLines)
	for len(lines) < zipfLines {
		at := float64(random.Uint64()>>11) / (1 << 53) * zipfSums[zipfSKUs-1]
		sku := zipfNames[min(sort.SearchFloat64s(zipfSums, at), zipfSKUs-1)]
		if !slices.ContainsFunc(lines, func(l order.Line) bool { return l.SKU == sku }) {
			lines = append(lines, order.Line{SKU: sku, Quantity: 1})
		}
	}
	return lines
}
