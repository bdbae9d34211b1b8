package order

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/lastunit/lastunit/inventory"
)

// Fence implements Store.
func (p *Postgres) Fence(ctx context.Context, deductions []inventory.Deduction) (consumed []bool, counters []Counters, err error) {
	if err := checkFence(deductions); err != nil {
		return nil, nil, err
	}
	if len(deductions) == 0 {
		return nil, nil, nil
	}
	var skus, orders []string
	var epochs, seqs []int64
	for _, d := range deductions {
		skus, orders = append(skus, d.SKU), append(orders, d.OrderID)
		epochs, seqs = append(epochs, d.Epoch), append(seqs, d.Seq)
	}
	err = p.write(ctx, func(self *identity, batch *pgx.Batch) {
		batch.Queue("select lastunit.fence_deductions($1::text::uuid, $2, $3, $4, $5)", self.id, skus, orders, epochs, seqs).
			QueryRow(func(row pgx.Row) error { return row.Scan(&consumed) })
		queueCounters(batch, skus, &counters)
	})
	return consumed, counters, err
}
