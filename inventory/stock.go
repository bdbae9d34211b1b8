package inventory

import (
	"context"
	"errors"
	"strconv"

	"github.com/redis/go-redis/v9"
)

// stockPage is how many hashes one pipeline reads.
const stockPage = 500

// Stock implements InventoryRepository.
func (r *Redis) Stock(ctx context.Context, skus ...string) ([]Stock, error) {
	for _, sku := range skus {
		if err := CheckID("sku", sku); err != nil {
			return nil, err
		}
	}
	stocks := make([]Stock, 0, len(skus))
	for len(skus) > 0 {
		page := skus[:min(len(skus), stockPage)]
		skus = skus[len(page):]
		if err := ctx.Err(); err != nil {
			return nil, unavailable("read stock of", page[0], err)
		}
		// By a script, as a client may send mere reads to replicas, which may be
		// far behind: a loss is told from these numbers.
		commands, _ := r.client.Pipelined(ctx, func(pipe redis.Pipeliner) error {
			for _, sku := range page {
				stockScript.EvalSha(ctx, pipe, []string{r.keys.stock(sku)})
			}
			return nil
		})
		for i, sku := range page {
			stock, err := r.stockOf(ctx, sku, commands, i)
			if err != nil {
				return nil, err
			}
			stocks = append(stocks, stock)
		}
	}
	return stocks, nil
}

// stockOf reads the i-th reply. Where Redis did not know the script yet, or where
// no connection could be made (then a command may have no error of its own), the
// call is made again alone.
func (r *Redis) stockOf(ctx context.Context, sku string, commands []redis.Cmder, i int) (Stock, error) {
	if i < len(commands) {
		if command, ok := commands[i].(*redis.Cmd); ok {
			fields, err := command.Slice()
			if err == nil && len(fields) > 0 {
				return parseStock(sku, fields[1:]), nil
			}
			if err != nil && wrongType(err) {
				return Stock{SKU: sku, Why: WhyGarbage}, nil
			}
		}
	}
	reply, err := r.run(ctx, stockScript, "read stock of", sku)
	var garbage *NotLoadedError
	switch {
	case errors.As(err, &garbage):
		return Stock{SKU: sku, Why: garbage.Why}, nil
	case err != nil:
		return Stock{}, err
	}
	return parseStock(sku, reply.values[1:]), nil
}

// parseStock reads the fields as read_stock in prelude.lua does. None at all
// are of a key of another type.
func parseStock(sku string, fields []any) Stock {
	stock := Stock{SKU: sku}
	numbers := [...]*int64{&stock.Epoch, &stock.Supply, &stock.Version, &stock.Taken, &stock.Seq, &stock.Unsettled}
	if len(fields) != 1+len(numbers) {
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
	stock.Store, _ = fields[0].(string)
	for i, number := range numbers {
		text, _ := fields[1+i].(string)
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil || strconv.FormatInt(n, 10) != text || n < -maxCounter || n > maxCounter {
			return Stock{SKU: sku, Why: WhyGarbage}
		}
		*number = n
	}
	if stock.Store == "" || stock.Epoch < 1 || stock.Version < 1 || stock.Taken < 0 || stock.Seq < 0 ||
		stock.Unsettled < 0 || stock.Unsettled > stock.Taken {
		return Stock{SKU: sku, Why: WhyGarbage}
	}
	return stock
}
