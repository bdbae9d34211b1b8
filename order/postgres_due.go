package order

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

// Due implements Store.
func (p *Postgres) Due(ctx context.Context, again time.Duration, limit int) ([]Order, error) {
	if err := checkDue(again, limit); err != nil {
		return nil, err
	}
	put := p.putOff.ids(time.Now())
	orders, err := p.due(ctx, again, limit, "id <> all($3)", put)
	if !isApart(err) {
		return orders, err
	}
	// Somebody's trigger keeps an order from being changed in any way.
	var ids []string
	failed := err
	err = p.read(ctx, func(batch *pgx.Batch) {
		queueNoScan(batch)
		batch.Queue(selectDue+"id <> all($2) order by due_at limit $1", limit, put).Query(func(rows pgx.Rows) (err error) {
			ids, err = pgx.CollectRows(rows, pgx.RowTo[string])
			return err
		})
	})
	if err != nil || len(ids) == 0 {
		return nil, err
	}
	dividing := apart{
		send: func(part []int) error {
			due, err := p.due(ctx, again, limit, "id = any($3)", pick(ids, part))
			orders = append(orders, due...)
			return err
		},
		fail: func(i int, _ error) error {
			o, err := p.Order(ctx, ids[i])
			switch {
			case isApart(err) || errors.Is(err, ErrNotFound):
				return nil
			case err != nil:
				return err
			}
			if o.Status == Held && p.putOff.add(o.ID, time.Now().Add(max(again, putOffFor))) {
				orders = append(orders, o) // another process may have it too
			}
			return nil
		},
	}
	if err := dividing.divide(indexes(len(ids)), failed); err != nil && len(orders) == 0 {
		return nil, err
	}
	return orders, nil
}

const selectDue = `select id from lastunit.orders where status = 'held' and due_at <= (select clock_timestamp()) and `

// due takes orders that are due, of those that the condition on $3 allows.
func (p *Postgres) due(ctx context.Context, again time.Duration, limit int, which string, ids []string) (orders []Order, err error) {
	err = p.transact(ctx, writing, func(batch *pgx.Batch) {
		queueNoScan(batch)
		// What waits is a trigger of the owner's: no order of ours is waited for.
		batch.Queue("select set_config('lock_timeout', '50ms', true)")
		batch.Queue(`with due as materialized (
				select id, due_at from lastunit.orders where status = 'held' and due_at <= (select clock_timestamp()) and `+which+`
				order by due_at limit $2 for update skip locked
			), taken as (
				update lastunit.orders set due_at = clock_timestamp() + $1::bigint * interval '1 microsecond'
				where id in (select id from due)
				returning `+recordColumns+`
			)
			select taken.* from taken join due on due.id = taken.id order by due.due_at, due.id`, again.Microseconds(), limit, ids).Query(func(rows pgx.Rows) error {
			records, err := scanRecords(rows)
			orders = nil
			for _, r := range records {
				orders = append(orders, r.Order)
			}
			return err
		})
	})
	switch {
	case sqlState(err) == "55P03":
		return nil, waitedError(err)
	case err != nil:
		return nil, err
	}
	return orders, nil
}

// putOff is orders whose row the database does not let us change, as they are due or are to
// be purged, each with the time from which it is tried again. It is in this process alone.
type putOff struct {
	mu    sync.Mutex
	until map[string]time.Time
}

const (
	// putOffFor is for how long an order is put off at least: to find it among those
	// that are due takes several transactions.
	putOffFor = 10 * time.Second

	// maxPutOff bounds them. Those beyond it are not taken.
	maxPutOff = 10_000
)

// add puts an order off, and reports whether there was room.
func (p *putOff) add(id string, until time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.until) >= maxPutOff {
		return false
	}
	if p.until == nil {
		p.until = make(map[string]time.Time)
	}
	p.until[id] = until
	return true
}

// ids are those that are not due again yet.
func (p *putOff) ids(now time.Time) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	ids := make([]string, 0, len(p.until))
	for id, until := range p.until {
		if until.After(now) {
			ids = append(ids, id)
		} else {
			delete(p.until, id)
		}
	}
	return ids
}

// Uncounted implements Store.
func (p *Postgres) Uncounted(ctx context.Context, after string, limit int) (ids []string, err error) {
	if err := checkLimit(limit); err != nil {
		return nil, err
	}
	// Without those that somebody has locked: they can't be counted now, and
	// must not stand in the way of others.
	err = p.transact(ctx, mode{writing.begin, ErrUnavailable}, func(batch *pgx.Batch) {
		queueNoScan(batch)
		batch.Queue("select id from lastunit.orders where status <> counted and id > $2 order by id limit $1 for update skip locked", limit, after).Query(func(rows pgx.Rows) (err error) {
			ids, err = pgx.CollectRows(rows, pgx.RowTo[string])
			return err
		})
	})
	return ids, err
}
