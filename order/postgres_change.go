package order

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/lastunit/lastunit/inventory"
)

// Change implements Store.
func (p *Postgres) Change(ctx context.Context, changes []Change) ([]Changed, []Counters, error) {
	if err := checkChanges(changes); err != nil {
		return nil, nil, err
	}
	answers := make([]Changed, len(changes))
	var counters []Counters
	calls := 0
	skip := false // once a SKU was waited for in vain, none is
	for from := 0; from < len(changes); {
		to := from + together(changes[from:])
		open := make([]int, to-from) // indexes of those that are not answered yet
		for i := range open {
			open[i] = from + i
		}
		// What another call of ours is changing is most often done by now.
		for try := 1; len(open) > 0 && try <= maxBusy; try++ {
			round, n, err := p.changeAll(ctx, changes, open, answers, &skip)
			if err != nil {
				if calls+n > 0 {
					err = inDoubt(err)
				}
				return nil, nil, err
			}
			if calls, counters = calls+n, round; n > 1 || round == nil {
				calls = max(calls, 2) // the counters of one call are not all
			}
			open = slices.DeleteFunc(open, func(i int) bool { return !errors.Is(answers[i].Err, ErrBusy) })
		}
		from = to
	}
	if calls > 1 {
		var err error
		if counters, err = p.countersOf(ctx, changes); err != nil {
			return nil, nil, inDoubt(err)
		}
	}
	return answers, counters, nil
}

// maxBusy bounds how often a change is tried whose order is being changed.
const maxBusy = 3

// together is how many of the first changes one call of change_orders decides:
// as long as no ID is there twice; and reclaims are apart from the others, as
// they need the units that those before them gave back.
func together(changes []Change) int {
	seen := make(map[string]bool, len(changes))
	for i, c := range changes {
		if seen[c.ID] || (c.Action == Reclaim) != (changes[0].Action == Reclaim) {
			return i
		}
		seen[c.ID] = true
	}
	return len(changes)
}

func (p *Postgres) countersOf(ctx context.Context, changes []Change) (counters []Counters, err error) {
	ids := make([]string, len(changes))
	for i, c := range changes {
		ids[i] = c.ID
	}
	err = p.read(ctx, func(batch *pgx.Batch) {
		queueNoScan(batch)
		queueCountersOf(batch, ids, &counters)
	})
	return counters, err
}

// changeAll makes those of the changes that the indexes name, and says in how
// many calls: in one, unless Postgres rejects some order, which then is alone to
// blame, or somebody keeps a SKU locked, whose orders are busy then.
func (p *Postgres) changeAll(
	ctx context.Context, changes []Change, indexes []int, answers []Changed, skip *bool,
) (counters []Counters, calls int, err error) {
	counters, err = p.changeTogether(ctx, changes, indexes, answers, *skip)
	if sqlState(err) == "55P03" && !*skip {
		*skip = true
		counters, err = p.changeTogether(ctx, changes, indexes, answers, true)
	}
	var rejected *rejectedError
	switch {
	case err == nil:
		return counters, 1, nil
	case !errors.As(err, &rejected):
		return nil, 0, err
	}
	if len(indexes) == 1 {
		answers[indexes[0]] = Changed{Err: &OrderError{changes[indexes[0]].ID, rejected}}
		return nil, 1, nil
	}
	for _, half := range [...][]int{indexes[:len(indexes)/2], indexes[len(indexes)/2:]} {
		_, n, err := p.changeAll(ctx, changes, half, answers, skip)
		if calls += n; err != nil {
			return nil, calls, err
		}
	}
	return nil, calls, nil
}

// changeTogether makes those of the changes that the indexes name, in one call.
// To skip is not to wait for SKUs that somebody has locked.
func (p *Postgres) changeTogether(ctx context.Context, changes []Change, indexes []int, answers []Changed, skip bool) (counters []Counters, err error) {
	ids, actions, holds := make([]string, len(indexes)), make([]string, len(indexes)), make([]int64, len(indexes))
	for n, i := range indexes {
		ids[n], actions[n], holds[n] = changes[i].ID, string(changes[i].Action), changes[i].Hold.Microseconds()
	}
	var verdicts []string
	var deciding []int32
	var lefts []int64
	found := make(map[string]*record)
	err = p.write(ctx, func(self *identity, batch *pgx.Batch) {
		batch.Queue("select verdicts, deciding, lefts from lastunit.change_orders($1::text::uuid, $2, $3, $4, $5)", self.id, ids, actions, holds, skip).
			QueryRow(func(row pgx.Row) error { return row.Scan(&verdicts, &deciding, &lefts) })
		queueNoScan(batch)
		queueRecords(batch, ids, found)
		queueCountersOf(batch, ids, &counters)
	})
	if err != nil {
		return nil, err
	}
	for n, i := range indexes {
		id := changes[i].ID
		switch r := found[id]; {
		case verdicts[n] == "busy":
			answers[i] = Changed{Err: &OrderError{id, ErrBusy}}
		case verdicts[n] == "missing" || r == nil:
			answers[i] = Changed{Err: &OrderError{id, ErrNotFound}}
		default:
			answers[i] = Changed{Order: r.copy(), Err: refusal(verdicts[n], r.Order, int(deciding[n])-1, lefts[n], counters)}
		}
	}
	return counters, nil
}

// refusal is the error of a verdict of change_orders; nil if it is done. The
// unit is the one that decided, and the number is what is left of it, or what
// the customer has of it.
func refusal(verdict string, o Order, unit int, number int64, counters []Counters) error {
	switch verdict {
	case "cancelled":
		return &OrderError{o.ID, ErrCancelled}
	case "expired":
		return NewHoldExpiredError(o, counters)
	case "full":
		return NewStockError(o.Units(), unit, number, counters)
	case "limited":
		u := o.Units()[unit]
		c, _ := find(counters, u.SKU)
		return &inventory.LimitError{SKU: u.SKU, Limit: c.CustomerLimit, Requested: u.Quantity, Used: number}
	}
	return nil
}

// Due implements Store.
func (p *Postgres) Due(ctx context.Context, again time.Duration, limit int) (orders []Order, err error) {
	if err := checkDue(again, limit); err != nil {
		return nil, err
	}
	err = p.transact(ctx, writing, func(batch *pgx.Batch) {
		queueNoScan(batch)
		batch.Queue(`with due as materialized (
				select id, due_at from lastunit.orders where status = 'held' and due_at <= (select clock_timestamp())
				order by due_at limit $2 for update skip locked
			), taken as (
				update lastunit.orders set due_at = clock_timestamp() + $1::bigint * interval '1 microsecond'
				where id in (select id from due)
				returning `+recordColumns+`
			)
			select taken.* from taken join due on due.id = taken.id order by due.due_at, due.id`, again.Microseconds(), limit).Query(func(rows pgx.Rows) error {
			records, err := scanRecords(rows)
			for _, r := range records {
				orders = append(orders, r.Order)
			}
			return err
		})
	})
	return orders, err
}

// Uncounted implements Store.
func (p *Postgres) Uncounted(ctx context.Context, limit int) (ids []string, err error) {
	if err := checkLimit(limit); err != nil {
		return nil, err
	}
	// Without those that somebody has locked: they can't be counted now, and
	// must not stand in the way of others.
	err = p.transact(ctx, mode{writing.begin, ErrUnavailable}, func(batch *pgx.Batch) {
		queueNoScan(batch)
		batch.Queue("select id from lastunit.orders where status <> counted order by id limit $1 for update skip locked", limit).Query(func(rows pgx.Rows) (err error) {
			ids, err = pgx.CollectRows(rows, pgx.RowTo[string])
			return err
		})
	})
	return ids, err
}
