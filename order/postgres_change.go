package order

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/lastunit/lastunit/inventory"
)

// change runs a function of 001_core.sql on a SKU. It returns the SKU's counters
// then, and whether the function changed them.
func (p *Postgres) change(ctx context.Context, sku, call string, arguments ...any) (_ Counters, changed bool, _ error) {
	var counters []Counters
	err := p.write(ctx, func(self *identity, batch *pgx.Batch) {
		batch.Queue("select lastunit."+call, append([]any{self.id, sku}, arguments...)...).
			QueryRow(func(row pgx.Row) error { return row.Scan(&changed) })
		queueCounters(batch, []string{sku}, &counters)
	})
	if err != nil {
		return Counters{}, false, err
	}
	if len(counters) == 0 {
		return Counters{}, false, &SKUError{sku, ErrUnknownSKU}
	}
	return counters[0], changed, nil
}

// PutOnSale implements Store.
func (p *Postgres) PutOnSale(ctx context.Context, item Item) (Counters, error) {
	if err := item.Check(); err != nil {
		return Counters{}, err
	}
	c, _, err := p.change(ctx, item.SKU, "put_on_sale($1::text::uuid, $2, $3::bigint::smallint, $4)", int64(partitionOf(item.SKU)), item.Capacity)
	if err == nil && c.Capacity != item.Capacity {
		return Counters{}, &SKUError{item.SKU, ErrAlreadyOnSale}
	}
	return c, err
}

// SetCapacity implements Store.
func (p *Postgres) SetCapacity(ctx context.Context, sku string, capacity int64) (Counters, error) {
	if err := (Item{sku, capacity}).Check(); err != nil {
		return Counters{}, err
	}
	c, _, err := p.change(ctx, sku, "set_capacity($1::text::uuid, $2, $3)", capacity)
	return c, err
}

// BeginEpoch implements Store.
func (p *Postgres) BeginEpoch(ctx context.Context, sku string, seen int64) (_ Counters, begun bool, _ error) {
	if err := inventory.CheckID("sku", sku); err != nil {
		return Counters{}, false, err
	}
	return p.change(ctx, sku, "begin_epoch($1::text::uuid, $2, $3)", seen)
}

// Recount implements Store.
func (p *Postgres) Recount(ctx context.Context, sku string) (Counters, error) {
	if err := inventory.CheckID("sku", sku); err != nil {
		return Counters{}, err
	}
	c, _, err := p.change(ctx, sku, "recount($1::text::uuid, $2)")
	return c, err
}

// Cancel implements Store.
func (p *Postgres) Cancel(ctx context.Context, id string) (Order, []Counters, error) {
	if err := inventory.CheckID("id", id); err != nil {
		return Order{}, nil, err
	}
	var found []record
	var counters []Counters
	err := p.write(ctx, func(self *identity, batch *pgx.Batch) {
		batch.Queue("select lastunit.cancel_order($1::text::uuid, $2)", self.id, id)
		queueRecord(batch, id, &found)
		batch.Queue(selectCounters+" where s.sku in (select unnest(o.skus) from lastunit.orders o where o.id = $1) order by s.sku", id).
			Query(intoCounters(&counters))
	})
	if err != nil {
		return Order{}, nil, err
	}
	if len(found) == 0 {
		return Order{}, nil, &OrderError{id, ErrNotFound} // somebody deletes rows
	}
	return found[0].Order, counters, nil
}

// Claim implements Store.
func (p *Postgres) Claim(ctx context.Context, period time.Duration, limit int) (claimed []int, err error) {
	if err := checkClaim(period, limit); err != nil {
		return nil, err
	}
	err = p.transact(ctx, writing, func(batch *pgx.Batch) {
		// A claim from the future is none: the clock was set back since.
		batch.Queue(`update lastunit.partitions set claimed_at = clock_timestamp()
			where partition in (
				select partition from lastunit.partitions
				where claimed_at <= clock_timestamp() - make_interval(secs => $1) or claimed_at > clock_timestamp()
				order by claimed_at > clock_timestamp() desc, claimed_at, partition limit $2 for update skip locked)
			returning partition`, period.Seconds(), limit).Query(func(rows pgx.Rows) (err error) {
			claimed, err = pgx.CollectRows(rows, pgx.RowTo[int])
			return err
		})
	})
	return claimed, err
}
