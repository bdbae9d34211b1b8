package order

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Purge implements Store. It locks nothing but the orders that it strips.
//
// An order that the database lets nobody strip, as somebody's trigger does, is put off in
// this process, so that it stands in the way of no other one.
func (p *Postgres) Purge(ctx context.Context, before time.Time, limit int) (purged int, _ error) {
	if err := checkPurge(limit); err != nil {
		return 0, err
	}
	var kept []error
	for {
		put := p.unpurged.ids(time.Now())
		n, err := p.purge(ctx, before, limit, "id <> all($3)", put)
		putOff := 0
		if isApart(err) {
			n, putOff, err = p.purgeApart(ctx, before, limit, put, err, &kept)
		}
		if err != nil || n > 0 || putOff == 0 {
			return n, errors.Join(err, someOf(kept))
		}
		// A whole page of those that are put off: others may be behind it.
	}
}

// purgeApart purges what it can of a page that failed as a whole, and adds an error for each
// order that it can't. Those that it put off are no part of the next page.
func (p *Postgres) purgeApart(
	ctx context.Context, before time.Time, limit int, put []string, failed error, kept *[]error,
) (purged, putOff int, _ error) {
	var ids []string
	err := p.read(ctx, func(batch *pgx.Batch) {
		queueNoScan(batch)
		batch.Queue("select id "+purgeable+"id <> all($3) order by changed_at limit $2", microsecond(before), limit, put).
			Query(func(rows pgx.Rows) (err error) {
				ids, err = pgx.CollectRows(rows, pgx.RowTo[string])
				return err
			})
	})
	if err != nil || len(ids) == 0 {
		return 0, 0, err
	}
	dividing := apart{
		send: func(part []int) error {
			n, err := p.purge(ctx, before, limit, "id = any($3)", pick(ids, part))
			purged += n
			return err
		},
		fail: func(i int, err error) error {
			if p.unpurged.add(ids[i], time.Now().Add(unpurgedFor)) {
				putOff++
			}
			*kept = append(*kept, &OrderError{ids[i], err})
			return nil
		},
	}
	if err := dividing.divide(indexes(len(ids)), failed); err != nil {
		if purged > 0 {
			err = inDoubt(err)
		}
		return purged, putOff, err
	}
	return purged, putOff, nil
}

// purgeable are the orders that may be purged.
const purgeable = "from lastunit.orders where status in ('cancelled', 'expired') and skus <> '{}' and status = counted and changed_at < $1 and "

// purge strips orders, of those that the condition on $3 allows.
func (p *Postgres) purge(ctx context.Context, before time.Time, limit int, which string, ids []string) (purged int, _ error) {
	err := p.write(ctx, func(self *identity, batch *pgx.Batch) {
		queueNoScan(batch)
		batch.Queue("select lastunit.enter($1::text::uuid)", self.id)
		batch.Queue(`update lastunit.orders
			set customer = '', skus = '{}', quantities = '{}', drawn = null, consumed = '{}', limited = false
			where id = any(array(select id `+purgeable+which+` order by changed_at limit $2 for update skip locked))`,
			microsecond(before), limit, ids).
			Exec(func(tag pgconn.CommandTag) error {
				purged = int(tag.RowsAffected())
				return nil
			})
	})
	if err != nil {
		return 0, err
	}
	return purged, nil
}

// unpurgedFor is for how long an order is passed over that could not be purged.
const unpurgedFor = time.Minute

// maxNamed is how many orders an error names.
const maxNamed = 10

// someOf is many errors as one.
func someOf(errs []error) error {
	if more := len(errs) - maxNamed; more > 0 {
		errs = append(errs[:maxNamed:maxNamed], fmt.Errorf("and %d errors more", more))
	}
	return errors.Join(errs...)
}
