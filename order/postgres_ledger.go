package order

import (
	"cmp"
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/lastunit/lastunit/inventory"
)

const movementColumns = `m.sku, m.number, m.kind::text, m.quantity, coalesce(m.order_id, ''), coalesce(m.reference, ''), coalesce(m.reason, ''), m.moved_at`

// scanMovement reads what comes before movementColumns, and these.
func scanMovement(row pgx.CollectableRow, before ...any) (m Movement, err error) {
	err = row.Scan(append(before, &m.SKU, &m.Number, &m.Kind, &m.Quantity, &m.OrderID, &m.Reference, &m.Reason, &m.At)...)
	m.At = m.At.UTC()
	return m, err
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
		batch.Queue("select "+movementColumns+" from lastunit.movements_after($1, $2, $3) m order by m.number", sku, after, limit).Query(func(rows pgx.Rows) (err error) {
			movements, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (Movement, error) { return scanMovement(row) })
			return err
		})
	})
	return movements, err
}

// Feed implements Store. Without news it looks at the ends of the partitions only; of
// those that have news it reads no more movements than it returns.
func (p *Postgres) Feed(ctx context.Context, after Cursor, limit int) (movements []Movement, next Cursor, err error) {
	if err := after.check(); err != nil {
		return nil, Cursor{}, err
	}
	if err := checkMovements(0, limit); err != nil {
		return nil, Cursor{}, err
	}
	var partitions, positions []int64
	for partition, position := range after.Positions {
		if position > 0 {
			partitions, positions = append(partitions, int64(partition)), append(positions, position)
		}
	}
	next = after
	var unknown error
	err = p.read(ctx, func(batch *pgx.Batch) {
		queueNoJIT(batch)
		queueFeedEnd(batch, after, partitions, positions, &next.Store, &unknown)
		// The partition whose next movement is the oldest comes first, so that none
		// waits for long behind a busy one; and each has its share of the page.
		batch.Queue(`with news as materialized (
				select f.partition, coalesce(c.position, 0) as after
				from lastunit.feed f left join unnest($1::bigint[], $2::bigint[]) c(partition, position) on c.partition = f.partition
				where f.position > coalesce(c.position, 0)
			), heads as materialized (
				select n.partition, n.after, h.moved_at, count(*) over () as news
				from news n cross join lateral lastunit.feed_head(n.partition, n.after) h(moved_at)
				order by h.moved_at nulls first, n.partition limit $3
			)
			select m.partition, m.feed_position, `+movementColumns+`
			from heads h cross join lateral lastunit.feed_after(h.partition, h.after, greatest(1, $3::bigint / h.news)) m
			order by h.moved_at nulls first, m.partition, m.feed_position limit $3`, partitions, positions, limit).Query(func(rows pgx.Rows) (err error) {
			movements, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (Movement, error) {
				var partition int
				var position int64
				m, err := scanMovement(row, &partition, &position)
				if err == nil && (partition < 0 || partition >= Partitions) {
					err = fmt.Errorf("partition %d, want 0 to %d", partition, Partitions-1)
				}
				if err == nil {
					next.Positions[partition] = max(next.Positions[partition], position)
				}
				return m, err
			})
			return err
		})
	})
	if err := cmp.Or(err, unknown); err != nil {
		return nil, Cursor{}, err
	}
	return movements, next, nil
}

// queueFeedEnd reads the store's name, and finds the CursorError of a cursor that is of
// another store, or beyond the end of a partition.
func queueFeedEnd(batch *pgx.Batch, after Cursor, partitions, positions []int64, store *string, unknown *error) {
	batch.Queue(`select t.id::text, b.partition, b.position, b.ends
		from lastunit.store t left join lateral (
			select c.partition, c.position, coalesce(f.position, 0) as ends
			from unnest($1::bigint[], $2::bigint[]) c(partition, position) left join lastunit.feed f on f.partition = c.partition
			where c.position > coalesce(f.position, 0) limit 1
		) b on true`, partitions, positions).QueryRow(func(row pgx.Row) error {
		var partition, position, end *int64
		if err := row.Scan(store, &partition, &position, &end); err != nil {
			return err
		}
		switch {
		case after.Store != "" && after.Store != *store:
			*unknown = &CursorError{Store: *store, Of: after.Store}
		case partition != nil:
			*unknown = &CursorError{Store: *store, Of: *store, Partition: int(*partition), Position: *position, End: *end}
		}
		return nil
	})
}

// SetLedger implements Store.
func (p *Postgres) SetLedger(ctx context.Context, on bool) error {
	return p.write(ctx, func(self *identity, batch *pgx.Batch) {
		batch.Queue("select lastunit.set_ledger($1::text::uuid, $2)", self.id, on)
	})
}
