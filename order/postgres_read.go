package order

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/lastunit/lastunit/inventory"
)

const recordColumns = `id, number, customer, status::text, counted::text, digest, skus, quantities, drawn, consumed, expires_at, created_at, changed_at,
	coalesce(refused, ''), coalesce(refused_sku, '')`

const selectRecords = `select ` + recordColumns + ` from lastunit.orders`

func scanRecords(rows pgx.Rows) ([]record, error) {
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (record, error) {
		var r record
		var skus []string
		var quantities, drawn []int64
		var consumed [][]int64
		var expiresAt *time.Time
		err := row.Scan(&r.ID, &r.number, &r.Customer, &r.Status, &r.counted, &r.digest, &skus, &quantities, &drawn, &consumed,
			&expiresAt, &r.CreatedAt, &r.ChangedAt, &r.Refused.Why, &r.Refused.SKU)
		if err != nil {
			return r, err
		}
		if len(skus) != len(quantities) || len(drawn) != 0 && len(drawn) != len(skus) {
			return r, fmt.Errorf("order %q has %d SKUs and %d quantities", r.ID, len(skus), len(quantities))
		}
		r.CreatedAt, r.ChangedAt = r.CreatedAt.UTC(), r.ChangedAt.UTC()
		if expiresAt != nil {
			r.ExpiresAt = expiresAt.UTC()
		}
		r.Lines = make([]Line, 0, len(skus))
		for i, sku := range skus {
			quantity := quantities[i]
			if len(drawn) != 0 && drawn[i] > 0 {
				r.Draws = append(r.Draws, Line{sku, drawn[i]})
				quantity -= drawn[i]
			}
			if quantity > 0 {
				r.Lines = append(r.Lines, Line{sku, quantity})
			}
		}
		for _, c := range consumed {
			r.consumed = append(r.consumed, consumption{int(c[0]) - 1, inventory.Identity{Epoch: c[1], Seq: c[2]}})
		}
		return r, nil
	})
}

// theStore is the one row of lastunit.store. The limit is for the planner: it takes a table
// that nobody has analyzed for hundreds of rows, and what is joined with those for so dear
// that it is compiled first.
const theStore = "(select id from lastunit.store limit 1) t"

// counterColumns is of lastunit.skus s and theStore.
const counterColumns = `s.sku, s.capacity, s.allocated, s.admitted, s.epoch, s.version, s.top_seq, s.recorded, t.id::text,
	coalesce(s.customer_limit, 0), s.opens_at, s.closes_at, s.paused, s.retired_at, s.draw_skus, s.draw_quantities, s.pool_only, clock_timestamp()`

const selectCounters = `select ` + counterColumns + ` from lastunit.skus s, ` + theStore

// scanCounters reads counterColumns, and what comes after them into the rest.
func scanCounters(row pgx.CollectableRow, rest ...any) (c Counters, err error) {
	var opensAt, closesAt, retiredAt *time.Time
	var skus []string
	var quantities []int64
	err = row.Scan(append([]any{
		&c.SKU, &c.Capacity, &c.Allocated, &c.Admitted, &c.Epoch, &c.Version, &c.TopSeq, &c.Recorded, &c.Store,
		&c.CustomerLimit, &opensAt, &closesAt, &c.Paused, &retiredAt, &skus, &quantities, &c.PoolOnly, &c.At,
	}, rest...)...)
	if err != nil {
		return c, err
	}
	if len(skus) != len(quantities) {
		return c, fmt.Errorf("SKU %q draws on %d SKUs and %d quantities", c.SKU, len(skus), len(quantities))
	}
	if opensAt != nil {
		c.OpensAt = opensAt.UTC()
	}
	if closesAt != nil {
		c.ClosesAt = closesAt.UTC()
	}
	if retiredAt != nil {
		c.RetiredAt = retiredAt.UTC()
	}
	c.At = c.At.UTC()
	for i, sku := range skus {
		c.Draws = append(c.Draws, Line{sku, quantities[i]})
	}
	return c, nil
}

// intoCounters collects what selectCounters selects.
func intoCounters(into *[]Counters) func(pgx.Rows) error {
	return func(rows pgx.Rows) (err error) {
		*into, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (Counters, error) { return scanCounters(row) })
		return err
	}
}

// queueCounters reads the counters of SKUs, sorted, into the given slice.
func queueCounters(batch *pgx.Batch, skus []string, into *[]Counters) {
	batch.Queue(selectCounters+" where s.sku = any($1) order by s.sku", skus).Query(intoCounters(into))
}

// queueNoScan keeps the rest of the transaction from scanning the orders. A
// session that planned a look-up by ID while there were few would do so ever
// after. Without jit, as what can't but be scanned then looks dear. The plans are
// kept: to make one is dearer than to look up an order.
func queueNoScan(batch *pgx.Batch) {
	batch.Queue("select set_config('enable_seqscan', 'off', true), set_config('jit', 'off', true), " +
		"set_config('plan_cache_mode', 'force_generic_plan', true)")
}

// queueNoJIT is for what reads many rows: tables that were never analyzed look so large
// that to compile the query takes seconds, for an answer that takes milliseconds.
func queueNoJIT(batch *pgx.Batch) { batch.Queue("select set_config('jit', 'off', true)") }

// queueCountersOf reads the counters of the SKUs of orders, sorted.
func queueCountersOf(batch *pgx.Batch, ids []string, into *[]Counters) {
	batch.Queue(selectCounters+` where s.sku in (
		select l.sku from lastunit.orders o, unnest(o.skus) l(sku) where o.id = any($1)) order by s.sku`, ids).Query(intoCounters(into))
}

// queueRecords reads orders into the given map, by their IDs.
func queueRecords(batch *pgx.Batch, ids []string, into map[string]*record) {
	batch.Queue(selectRecords+" where id = any($1)", ids).Query(func(rows pgx.Rows) error {
		records, err := scanRecords(rows)
		for i := range records {
			into[records[i].ID] = &records[i]
		}
		return err
	})
}

// queueRecord reads one order into the given slice, empty if there is none.
func queueRecord(batch *pgx.Batch, id string, into *[]record) {
	batch.Queue(selectRecords+" where id = $1", id).Query(func(rows pgx.Rows) (err error) {
		*into, err = scanRecords(rows)
		return err
	})
}

// Order implements Store.
func (p *Postgres) Order(ctx context.Context, id string) (Order, error) {
	if err := inventory.CheckID("id", id); err != nil {
		return Order{}, err
	}
	var found []record
	err := p.read(ctx, func(batch *pgx.Batch) {
		queueNoScan(batch)
		queueRecord(batch, id, &found)
	})
	if err != nil && !cannotEncode(err) {
		return Order{}, err
	}
	if len(found) == 0 {
		return Order{}, &OrderError{id, ErrNotFound}
	}
	return found[0].Order, nil
}

// Orders implements Store. A page costs the same wherever it is in the list.
func (p *Postgres) Orders(ctx context.Context, query Query) (Page, error) {
	if err := query.check(); err != nil {
		return Page{}, err
	}
	before, _ := query.before()
	statuses := []Status{query.Status}
	if query.Status == "" {
		statuses = []Status{Held, Confirmed, Cancelled, Expired}
	}
	// One ordered read of the index for each status, of which the newest are taken.
	sql := ""
	for _, status := range statuses {
		if sql != "" {
			sql += " union all "
		}
		sql += "(" + selectRecords + " where status = '" + string(status) + "' and number < $1 order by number desc limit $2)"
	}
	var found []record
	err := p.read(ctx, func(batch *pgx.Batch) {
		queueNoJIT(batch)
		batch.Queue("select * from ("+sql+") o order by number desc limit $2", before, query.size()+1).
			Query(func(rows pgx.Rows) (err error) {
				found, err = scanRecords(rows)
				return err
			})
	})
	if err != nil {
		return Page{}, err
	}
	return query.page(found), nil
}

// Counters implements Store.
func (p *Postgres) Counters(ctx context.Context, skus ...string) (counters []Counters, err error) {
	if err := checkSKUs(skus); err != nil {
		return nil, err
	}
	err = p.read(ctx, func(batch *pgx.Batch) {
		queueNoJIT(batch)
		queueCounters(batch, skus, &counters)
	})
	return counters, err
}

// Latest implements Store. It waits for who has the rows locked.
func (p *Postgres) Latest(ctx context.Context, skus ...string) (counters []Counters, err error) {
	if err := checkSKUs(skus); err != nil {
		return nil, err
	}
	err = p.write(ctx, func(self *identity, batch *pgx.Batch) {
		batch.Queue("select lastunit.enter($1::text::uuid)", self.id)
		batch.Queue("select from lastunit.skus where sku = any($1) order by sku for share", skus)
		queueCounters(batch, skus, &counters)
	})
	return counters, err
}

// Scan implements Store.
func (p *Postgres) Scan(ctx context.Context, partition int, after string, limit int) (counters []Counters, err error) {
	if err := checkScan(partition, after, limit); err != nil {
		return nil, err
	}
	where, arguments := " where s.sku > $1 and not s.removed order by s.sku limit $2", []any{after, limit}
	if partition != AllPartitions {
		where, arguments = " where s.sku > $1 and s.partition = $3 and not s.removed order by s.sku limit $2", append(arguments, partition)
	}
	err = p.read(ctx, func(batch *pgx.Batch) {
		queueNoScan(batch) // it may be planned while the SKUs are few
		batch.Queue(selectCounters+where, arguments...).Query(intoCounters(&counters))
	})
	return counters, err
}

// Tally implements Store.
func (p *Postgres) Tally(ctx context.Context, skus ...string) (tallies []Tally, err error) {
	if err := checkSKUs(skus); err != nil || len(skus) == 0 {
		return nil, err
	}
	return p.tally(ctx, skus)
}

// TallyAll implements Store.
func (p *Postgres) TallyAll(ctx context.Context) ([]Tally, error) { return p.tally(ctx, nil) }

// tally is of the SKUs, or of all if they are nil.
func (p *Postgres) tally(ctx context.Context, skus []string) (tallies []Tally, err error) {
	err = p.read(ctx, func(batch *pgx.Batch) {
		queueNoJIT(batch)
		batch.Queue(`with live as (
				select l.sku, sum(l.quantity) filter (where o.status = 'held') as held,
					sum(l.quantity) filter (where o.status = 'confirmed') as confirmed,
					sum(l.quantity) filter (where o.status not in ('held', 'confirmed')) as uncounted
				from lastunit.orders o, unnest(o.skus, o.quantities) l(sku, quantity)
				where o.counted in ('held', 'confirmed')
				group by l.sku
			), moved as (
				select * from lastunit.moved_units(array(
					select s.sku from lastunit.skus s where $1::text[] is null or s.sku = any($1)))
			)
			select `+counterColumns+`, coalesce(l.held, 0)::bigint, coalesce(l.confirmed, 0)::bigint, coalesce(l.uncounted, 0)::bigint,
				s.ledger, coalesce(m.capacity, 0), coalesce(m.allocated, 0),
				greatest(0, (select max(b.last_number) from lastunit.movement_batches b where b.sku = s.sku) - s.moved,
					(select max(e.last_position) from lastunit.feed_entries e where e.partition = s.partition)
						- coalesce((select f.position from lastunit.feed f where f.partition = s.partition), -1))
			from `+theStore+`, lastunit.skus s left join live l on l.sku = s.sku left join moved m on m.sku = s.sku
			where $1::text[] is null or s.sku = any($1)
			order by s.sku`, skus).Query(func(rows pgx.Rows) (err error) {
			tallies, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (t Tally, err error) {
				t.Counters, err = scanCounters(row, &t.Held, &t.Confirmed, &t.Uncounted, &t.Ledger, &t.MovedCapacity, &t.MovedAllocated, &t.Behind)
				return t, err
			})
			return err
		})
		// Those whose row was deleted.
		batch.Queue(`with live as (
				select l.sku, sum(l.quantity) filter (where o.status = 'held') as held,
					sum(l.quantity) filter (where o.status = 'confirmed') as confirmed,
					sum(l.quantity) filter (where o.status not in ('held', 'confirmed')) as uncounted
				from lastunit.orders o, unnest(o.skus, o.quantities) l(sku, quantity)
				where o.counted in ('held', 'confirmed') and not exists (select from lastunit.skus s where s.sku = l.sku)
				group by l.sku
			), orphans as (
				select l.sku from live l
				union select b.sku from lastunit.movement_batches b where not exists (select from lastunit.skus s where s.sku = b.sku)
			)
			select o.sku, coalesce(l.held, 0)::bigint, coalesce(l.confirmed, 0)::bigint, coalesce(l.uncounted, 0)::bigint
			from orphans o left join live l on l.sku = o.sku
			where $1::text[] is null or o.sku = any($1)`, skus).Query(func(rows pgx.Rows) error {
			orphans, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (t Tally, err error) {
				t.Orphan = true
				return t, row.Scan(&t.Counters.SKU, &t.Held, &t.Confirmed, &t.Uncounted)
			})
			tallies = append(tallies, orphans...)
			return err
		})
	})
	slices.SortFunc(tallies, func(a, b Tally) int { return strings.Compare(a.Counters.SKU, b.Counters.SKU) })
	return tallies, err
}
