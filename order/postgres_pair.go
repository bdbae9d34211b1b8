package order

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/lastunit/lastunit/inventory"
)

// Paired implements Store.
func (p *Postgres) Paired(ctx context.Context) (pairing Pairing, err error) {
	err = p.read(ctx, func(batch *pgx.Batch) { queuePairing(batch, &pairing) })
	return pairing, err
}

// Pair implements Store.
func (p *Postgres) Pair(ctx context.Context, seen, name string) (pairing Pairing, err error) {
	if err := inventory.CheckID("inventory", name); err != nil {
		return Pairing{}, err
	}
	err = p.write(ctx, func(self *identity, batch *pgx.Batch) {
		batch.Queue("select lastunit.enter($1::text::uuid)", self.id)
		batch.Queue("update lastunit.store set inventory = $2 where inventory = $1", seen, name)
		queuePairing(batch, &pairing)
	})
	return pairing, err
}

func queuePairing(batch *pgx.Batch, into *Pairing) {
	batch.Queue("select id::text, inventory from lastunit.store").QueryRow(func(row pgx.Row) error {
		return row.Scan(&into.Store, &into.Inventory)
	})
}
