package order

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/lastunit/lastunit/inventory"
)

// Retire implements Store.
func (p *Postgres) Retire(ctx context.Context, sku string) (Counters, error) {
	if err := inventory.CheckID("sku", sku); err != nil {
		return Counters{}, err
	}
	c, _, err := p.change(ctx, sku, "retire($1::text::uuid, $2)")
	return c, err
}

// Removed implements Store.
func (p *Postgres) Removed(ctx context.Context, skus ...string) error {
	if err := checkSKUs(skus); err != nil {
		return err
	}
	return p.write(ctx, func(self *identity, batch *pgx.Batch) {
		batch.Queue("select lastunit.removed($1::text::uuid, $2)", self.id, append([]string{}, skus...))
	})
}
