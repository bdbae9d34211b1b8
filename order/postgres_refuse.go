package order

import (
	"cmp"
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
)

// Refuse implements Store. Where the database rejects an order even as a refused
// one, it is stored without its customer and lines.
func (p *Postgres) Refuse(ctx context.Context, orders []Order) ([]Outcome, error) {
	if err := checkRefused(orders); err != nil {
		return nil, err
	}
	if len(orders) == 0 {
		return nil, nil
	}
	written, failed := make(map[int]bool), make(map[int]error)
	all := indexes(len(orders))
	refusal := apart{
		send: func(part []int) error { return p.refuseBatch(ctx, orders, part, false, written) },
		fail: func(i int, err error) error {
			var rejected *rejectedError
			if errors.As(err, &rejected) {
				err = p.refuseBatch(ctx, orders, []int{i}, true, written)
			}
			if failed[i] = err; err != nil && !isApart(err) {
				return err
			}
			return nil
		},
	}
	err := refusal.send(all)
	if isApart(err) {
		if err = refusal.divide(all, err); err != nil && (refusal.sent || len(written) > 0) {
			err = inDoubt(err)
		}
	}
	if err != nil {
		return nil, err
	}
	outcomes, _, err := p.Look(ctx, commitsOf(orders))
	if err != nil {
		return nil, inDoubt(err)
	}
	for i := range outcomes {
		switch {
		case written[i]:
			outcomes[i].Verdict = VerdictRefused
		case outcomes[i].Verdict == VerdictNew || outcomes[i].Verdict == VerdictFailed:
			outcomes[i] = Outcome{Verdict: VerdictFailed, Err: cmp.Or(failed[i], outcomes[i].Err, errUnseen)}
		}
	}
	return outcomes, nil
}

// errUnseen is for an order that was not written, and is not to be seen either.
var errUnseen error = &rejectedError{errors.New("the order was not stored, and there is none to be seen: " +
	"a trigger dropped it, or a policy of row-level security hides one with its ID")}

// refuseBatch writes those of the orders that the indexes name, in one call, and
// notes which were not there. Bare ones have neither customer nor lines.
func (p *Postgres) refuseBatch(ctx context.Context, orders []Order, indexes []int, bare bool, written map[int]bool) error {
	commits := make([]Commit, len(indexes))
	for n, i := range indexes {
		commits[n] = Commit{Order: orders[i]}
	}
	flat := flatten(commits)
	var whys, whySKUs []string
	for _, n := range flat.orders {
		whys, whySKUs = append(whys, string(commits[n].Order.Refused.Why)), append(whySKUs, commits[n].Order.Refused.SKU)
	}
	var answers []bool
	err := p.write(ctx, func(self *identity, batch *pgx.Batch) {
		batch.Queue("select lastunit.refuse_orders($1::text::uuid, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
			self.id, flat.ids, flat.customers, digests(self.key, commits, flat.orders), whys, whySKUs, flat.skus,
			flat.unitOrders, flat.unitNumbers, flat.unitSKUs, flat.quantities, flat.drawn, bare,
		).QueryRow(func(row pgx.Row) error { return row.Scan(&answers) })
	})
	if err != nil {
		return err
	}
	for n, i := range flat.orders {
		written[indexes[i]] = answers[n]
	}
	return nil
}
