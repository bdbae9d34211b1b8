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
	self, err := p.identityFor(ctx, tx)
	if err != nil {
		return Order{}, fmt.Errorf("%s order %q: %w", action, id, err)
	}
	var verdict string
	var found []record
	var counters []Counters
	batch := &pgx.Batch{}
	queueAround(batch, tx.Conn(), func() {
		batch.Queue("select lastunit.change_in_transaction($1, $2, $3::text::uuid)", id, string(action), orNull(self)).
			QueryRow(func(row pgx.Row) error { return row.Scan(&verdict) })
		queueRecord(batch, id, &found)
		queueCountersOf(batch, []string{id}, &counters)
	})
	if err := tx.SendBatch(ctx, batch).Close(); err != nil {
		var answer *pgconn.PgError
		switch {
		case errors.As(err, &answer) && notMigrated(answer):
			err = fmt.Errorf("%w: %w", ErrNotMigrated, err)
		case sqlState(err) == "LU001":
			p.self.Store(nil) // unless this store's own database was made anew
			err = fmt.Errorf("%w: the transaction is of another lastunit database: %w", ErrUnavailable, err)
		default:
			var rejected *rejectedError
			if errors.As(classify(err, ErrOutcomeUnknown), &rejected) {
				err = rejected
			}
		}
		return Order{}, fmt.Errorf("%s order %q: %w", action, id, err)
	}
	if verdict == "missing" || len(found) == 0 {
		return Order{}, &OrderError{id, ErrNotFound}
	}
	return found[0].Order, refusal(verdict, found[0].Order, 0, 0, counters)
}

// identityFor is the ID of the store that a transaction must be of. It is empty while
// this process has not asked for it and need not: the transaction is of the very
// database that the pool connects to. To ask takes a connection of the pool, of which
// the callers of many transactions may have all.
func (p *Postgres) identityFor(ctx context.Context, tx pgx.Tx) (string, error) {
	if self := p.self.Load(); self != nil {
		return self.id, nil
	}
	if conn := tx.Conn(); conn != nil && sameDatabase(conn.Config(), p.pool.Config().ConnConfig) {
		return "", nil
	}
	self, err := p.identify(ctx)
	if err != nil {
		return "", err
	}
	return self.id, nil
}

func sameDatabase(a, b *pgx.ConnConfig) bool {
	return a.Host == b.Host && a.Port == b.Port && a.Database == b.Database
}
