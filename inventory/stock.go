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
		commands, failed := r.client.Pipelined(ctx, func(pipe redis.Pipeliner) error {
			for _, sku := range page {
				pipe.HMGet(ctx, r.keys.stock(sku), "store", "epoch", "supply", "version", "taken", "seq", "unsettled")
			}
			return nil
		})
		// It is the first error of the commands. But where no connection could be
		// made, as with a wrong password, the commands have none of their own.
		if failed != nil && !wrongType(failed) {
			return nil, unavailable("read stock of", page[0], failed)
		}
		for i, sku := range page {
			if i >= len(commands) {
				return nil, unavailable("read stock of", sku, errors.New("no reply"))
			}
			fields, err := commands[i].(*redis.SliceCmd).Result()
			if err != nil && !wrongType(err) {
				return nil, unavailable("read stock of", sku, err)
			}
			stocks = append(stocks, parseStock(sku, fields))
		}
	}
	return stocks, nil
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
