package inventory

import (
	"context"
	"errors"
	"slices"
	"strconv"
)

const readsStock = "read stock of"

// Stock implements InventoryRepository.
func (r *Redis) Stock(ctx context.Context, skus ...string) ([]Stock, error) {
	if err := checkStock(skus); err != nil {
		return nil, err
	}
	if len(skus) == 0 {
		return nil, nil
	}
	if r.nodes.client == nil {
		return patiently(ctx, r.shared, didFor(readsStock, skus[0]), func() ([]Stock, error) { return r.readStock(ctx, skus) })
	}
	stocks := make([]Stock, len(skus))
	parts := r.parts(ctx, len(skus), func(i int) string { return skus[i] })
	err := each(parts, func(p part) error {
		mine := pick(p, skus)
		found, err := patiently(ctx, p.node, didFor(readsStock, mine[0]), func() ([]Stock, error) { return r.readStock(ctx, mine) })
		for n, i := range p.at {
			if stocks[i] = (Stock{SKU: skus[i], Err: err}); n < len(found) {
				stocks[i] = found[n]
			}
		}
		return err
	})
	return stocks, err
}

// readStock reads what is on one node, or on the only server.
func (r *Redis) readStock(ctx context.Context, skus []string) ([]Stock, error) {
	stocks := make([]Stock, len(skus))
	read := bulk{
		// By a script, as a client may send mere reads to replicas, which may be
		// far behind: a loss is told from these numbers.
		redis: r, script: stockScript, did: readsStock,
		of: func(i int) (string, []any) { return skus[i], nil },
		answer: func(i int, reply *reply, err error) error {
			var garbage *NotLoadedError
			switch {
			case errors.As(err, &garbage):
				stocks[i] = Stock{SKU: skus[i], Why: garbage.Why}
			case err != nil:
				return err
			default:
				stocks[i] = parseStock(skus[i], reply.values[1:])
			}
			return nil
		},
	}
	err := read.run(ctx, len(skus))
	if err != nil {
		for i := range stocks {
			if stocks[i].SKU == "" {
				stocks[i] = Stock{SKU: skus[i], Err: err}
			}
		}
	}
	return stocks, err
}

// stockFormat is FORMAT of prelude.lua: the layout of the hash that this build reads.
var stockFormat = strconv.Itoa(Format)

// parseStock reads the fields as read_stock in prelude.lua does: garbage in the
// terms makes the counters unusable too. None at all are of a key of another type.
func parseStock(sku string, fields []any) Stock {
	stock := Stock{SKU: sku}
	numbers := [...]*int64{&stock.Epoch, &stock.Supply, &stock.Version, &stock.Taken, &stock.Seq, &stock.Unsettled}
	var limit, opensAt, closesAt, paused int64
	terms := [...]*int64{&limit, &opensAt, &closesAt, &paused}
	if len(fields) != 1+len(numbers)+len(terms)+1 {
		return Stock{SKU: sku, Why: WhyGarbage}
	}
	missing := 0
	for _, field := range fields {
		if field == nil {
			missing++
		}
	}
	if missing == len(fields) {
		return Stock{SKU: sku, Why: WhyMissing}
	}
	if stock.Store, _ = fields[0].(string); stock.Store == "" {
		return Stock{SKU: sku, Why: WhyGarbage}
	}
	if format, _ := fields[len(fields)-1].(string); format != stockFormat {
		return Stock{SKU: sku, Why: WhyFormat}
	}
	for i, number := range slices.Concat(numbers[:], terms[:]) {
		text, _ := fields[1+i].(string)
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil || strconv.FormatInt(n, 10) != text || n < -maxCounter || n > maxCounter {
			return Stock{SKU: sku, Why: WhyGarbage}
		}
		*number = n
	}
	if stock.Epoch < 1 || stock.Version < 1 || stock.Taken < 0 || stock.Seq < 0 ||
		stock.Unsettled < 0 || stock.Unsettled > stock.Taken ||
		limit < 0 || limit > MaxQuantity || opensAt < 0 || closesAt < 0 || closesAt > 0 && closesAt <= opensAt ||
		paused < 0 || paused > 1 {
		return Stock{SKU: sku, Why: WhyGarbage}
	}
	stock.Terms = Terms{CustomerLimit: limit, OpensAt: fromWindow(opensAt), ClosesAt: fromWindow(closesAt), Paused: paused == 1}
	return stock
}
