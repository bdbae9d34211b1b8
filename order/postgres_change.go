package order

import (
	"context"
	"errors"
	"fmt"
	"slices"

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
	apart := false // some were changed apart, so that the counters of one call are not all
	skip := false  // once a SKU was waited for in vain, none is
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
			calls, counters = calls+n, round
			apart = apart || round == nil
			open = slices.DeleteFunc(open, func(i int) bool { return !errors.Is(answers[i].Err, ErrBusy) })
		}
		from = to
	}
	if calls > 1 || apart {
		var err error
		if counters, err = p.countersOf(ctx, changes, answers); err != nil {
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

// countersOf reads the counters of the orders' SKUs.
func (p *Postgres) countersOf(ctx context.Context, changes []Change, answers []Changed) (counters []Counters, err error) {
	ids := make([]string, 0, len(changes))
	for i, c := range changes {
		if !cannotEncode(answers[i].Err) { // there is no such order
			ids = append(ids, c.ID)
		}
	}
	err = p.read(ctx, func(batch *pgx.Batch) {
		queueNoScan(batch)
		queueCountersOf(batch, ids, &counters)
	})
	return counters, err
}

// changeAll makes those of the changes that the indexes name, and returns how many
// transactions that took: one, unless Postgres fails some order, which then fails
// alone, or somebody keeps a SKU locked, whose orders are busy then.
func (p *Postgres) changeAll(
	ctx context.Context, changes []Change, indexes []int, answers []Changed, skip *bool,
) (counters []Counters, calls int, err error) {
	division := apart{
		send: func(part []int) (err error) {
			counters, err = p.changeTogether(ctx, changes, part, answers, *skip)
			if sqlState(err) == "55P03" && !isApart(err) && !*skip {
				*skip = true
				counters, err = p.changeTogether(ctx, changes, part, answers, true)
			}
			if err == nil {
				calls++
			}
			return err
		},
		fail: func(i int, err error) error {
			answers[i] = Changed{Err: &OrderError{changes[i].ID, err}}
			return nil
		},
	}
	if err = division.send(indexes); err == nil {
		return counters, calls, nil
	}
	if isApart(err) {
		err = division.divide(indexes, err)
	}
	return nil, calls, err
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
	case "done":
		return nil
	case "cancelled":
		return &OrderError{o.ID, ErrCancelled}
	case "expired":
		return NewHoldExpiredError(o, counters)
	case "purged":
		return &OrderError{o.ID, ErrPurged}
	case "retired":
		return &SKUError{o.Units()[unit].SKU, ErrRetired}
	case "full":
		return NewStockError(o.Units(), unit, number, counters)
	case "limited":
		u := o.Units()[unit]
		c, _ := find(counters, u.SKU)
		return &inventory.LimitError{SKU: u.SKU, Limit: c.CustomerLimit, Requested: u.Quantity, Used: number}
	}
	return &OrderError{o.ID, newerVerdict(verdict)}
}

// newerVerdict is the error of a verdict that this build does not know.
func newerVerdict(verdict string) error {
	return fmt.Errorf("%w: %q is an answer of a newer schema", ErrNewerSchema, verdict)
}
