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
	consumed, counters, err = p.fence(ctx, deductions)
	if !isApart(err) {
		return consumed, counters, err
	}
	consumed = make([]bool, len(deductions))
	fencing := apart{
		send: func(part []int) error {
			answers, _, err := p.fence(ctx, pick(deductions, part))
			for n := range answers {
				consumed[part[n]] = answers[n]
			}
			return err
		},
		fail: func(i int, err error) error {
			if !cannotEncode(err) {
				return err
			}
			// No order has an ID that the database cannot hold. The fence needs none.
			anonymous := deductions[i]
			anonymous.OrderID = ""
			if _, _, err = p.fence(ctx, []inventory.Deduction{anonymous}); cannotEncode(err) {
				return nil // nor has a SKU such a name
			}
			return err
		},
	}
	if err = fencing.divide(indexes(len(deductions)), err); err == nil {
		skus := make([]string, len(deductions))
		for i, d := range deductions {
			skus[i] = d.SKU
		}
		counters, err = p.Counters(ctx, skus...)
	}
	if err != nil && fencing.sent {
		err = inDoubt(err)
	}
	return consumed, counters, err
}

// fence decides about deductions in one transaction.
func (p *Postgres) fence(ctx context.Context, deductions []inventory.Deduction) (consumed []bool, counters []Counters, err error) {
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
