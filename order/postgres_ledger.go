package order

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/lastunit/lastunit/inventory"
)

const movementColumns = `m.sku, m.number, m.kind::text, m.quantity, coalesce(m.order_id, ''), coalesce(m.reference, ''), coalesce(m.reason, ''), m.moved_at`

func intoMovements(into *[]Movement) func(pgx.Rows) error {
	return func(rows pgx.Rows) (err error) {
		*into, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (m Movement, err error) {
			err = row.Scan(&m.SKU, &m.Number, &m.Kind, &m.Quantity, &m.OrderID, &m.Reference, &m.Reason, &m.At)
			m.At = m.At.UTC()
			return m, err
		})
		return err
	}
}

// Movements implements Store.
func (p *Postgres) Movements(ctx context.Context, sku string, after int64, limit int) (movements []Movement, err error) {
	if err := inventory.CheckID("sku", sku); err != nil {
		return nil, err
	}
	if err := checkMovements(after, limit); err != nil {
		return nil, err
	}
	err = p.read(ctx, func(batch *pgx.Batch) {
		batch.Queue("select "+movementColumns+" from lastunit.movements_after($1, $2, $3) m order by m.number", sku, after, limit).Query(intoMovements(&movements))
	})
	return movements, err
}

// Feed implements Store. It looks at every SKU's row, and of those that have
// news at no more movements than it returns.
func (p *Postgres) Feed(ctx context.Context, after Cursor, limit int) (movements []Movement, next Cursor, err error) {
	if err := after.check(); err != nil {
		return nil, nil, err
	}
	if err := checkMovements(0, limit); err != nil {
		return nil, nil, err
	}
	skus, numbers := make([]string, 0, len(after)), make([]int64, 0, len(after))
	for sku, number := range after {
		skus, numbers = append(skus, sku), append(numbers, number)
	}
	err = p.read(ctx, func(batch *pgx.Batch) {
		batch.Queue("select set_config('jit', 'off', true)")
		// The SKU whose next movement is the oldest comes first, so that none
		// waits for long behind a busy one; and each has its share of the page.
		batch.Queue(`with news as materialized (
				select s.sku, coalesce(c.number, 0) as after
				from lastunit.skus s left join unnest($1::text[], $2::bigint[]) c(sku, number) on c.sku = s.sku
				where s.moved > coalesce(c.number, 0)
			), heads as materialized (
				select n.sku, n.after, h.moved_at, count(*) over () as news
				from news n cross join lateral (
					select b.moved_at from lastunit.movement_batches b
					where b.sku = n.sku and b.last_number > n.after order by b.last_number limit 1) h
				order by h.moved_at, n.sku limit $3
			)
			select `+movementColumns+`
			from heads h cross join lateral lastunit.movements_after(h.sku, h.after, greatest(1, $3::bigint / h.news)) m
			order by h.moved_at, m.sku, m.number limit $3`, skus, numbers, limit).Query(intoMovements(&movements))
	})
	if err != nil {
		return nil, nil, err
	}
	return movements, after.after(movements), nil
}

// SetLedger implements Store.
func (p *Postgres) SetLedger(ctx context.Context, on bool) error {
	return p.write(ctx, func(self *identity, batch *pgx.Batch) {
		batch.Queue("select lastunit.set_ledger($1::text::uuid, $2)", self.id, on)
	})
}
