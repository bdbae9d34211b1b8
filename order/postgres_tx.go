package order

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/lastunit/lastunit/inventory"
)

var _ TxStore = (*Postgres)(nil)

// ConfirmTx implements TxStore.
func (p *Postgres) ConfirmTx(ctx context.Context, tx pgx.Tx, id string) (Order, error) {
	return p.changeTx(ctx, tx, id, Confirm)
}

// CancelTx implements TxStore.
func (p *Postgres) CancelTx(ctx context.Context, tx pgx.Tx, id string) (Order, error) {
	return p.changeTx(ctx, tx, id, Cancel)
}

// changeTx asks on the transaction's connection alone: a second one might not be
// had while its owner keeps this one.
func (p *Postgres) changeTx(ctx context.Context, tx pgx.Tx, id string, action Action) (Order, error) {
	if err := inventory.CheckID("id", id); err != nil {
		return Order{}, err
	}
	if tx == nil {
		return Order{}, &inventory.InvalidError{Field: "tx", Reason: "is nil, want a transaction"}
	}
	var verdict string
	var found []record
	var counters []Counters
	batch := &pgx.Batch{}
	queueAround(batch, tx.Conn(), func() {
		batch.Queue("select lastunit.change_in_transaction($1, $2)", id, string(action)).
			QueryRow(func(row pgx.Row) error { return row.Scan(&verdict) })
		queueRecord(batch, id, &found)
		queueCountersOf(batch, []string{id}, &counters)
	})
	if err := tx.SendBatch(ctx, batch).Close(); err != nil {
		var answer *pgconn.PgError
		if errors.As(err, &answer) && notMigrated(answer) {
			err = fmt.Errorf("%w: %w", ErrNotMigrated, err)
		}
		return Order{}, fmt.Errorf("%s order %q: %w", action, id, err)
	}
	if verdict == "missing" || len(found) == 0 {
		return Order{}, &OrderError{id, ErrNotFound}
	}
	return found[0].Order, refusal(verdict, found[0].Order, 0, 0, counters)
}
