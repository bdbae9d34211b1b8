package order

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/lastunit/lastunit/inventory"
)

// PutOnSale implements Store, in two round trips: it reads what is there, and
// makes what isn't. If somebody else made that meanwhile, it reads again.
func (p *Postgres) PutOnSale(ctx context.Context, items ...Item) ([]Counters, []bool, error) {
	if err := checkItems(items); err != nil {
		return nil, nil, err
	}
	if len(items) == 0 {
		return nil, nil, nil
	}
	for try := 1; ; try++ {
		counters, made, err := p.putOnSale(ctx, items)
		if orphan := orphanOf(err); orphan != "" {
			return nil, nil, &SKUError{orphan, ErrOrphaned}
		}
		if sqlState(err) != "LU002" || try == maxTries {
			return counters, made, err
		}
	}
}

// orphanOf is the SKU whose row was deleted, if lastunit.put_on_sale raised that.
func orphanOf(err error) string {
	var answer *pgconn.PgError
	if errors.As(err, &answer) && answer.Code == "LU004" {
		return answer.Detail
	}
	return ""
}

func (p *Postgres) putOnSale(ctx context.Context, items []Item) ([]Counters, []bool, error) {
	there, err := p.itemsAndPools(ctx, items)
	if err != nil {
		return nil, nil, err
	}
	known := make(map[string][]Line, len(there))
	for sku, c := range there {
		known[sku] = c.Draws
	}
	if err := checkRetired(items, func(sku string) bool { return there[sku].Retired() }, known); err != nil {
		return nil, nil, err
	}
	draws, err := pools(items, known)
	if err != nil {
		return nil, nil, err
	}
	var columns itemColumns
	made := make([]bool, len(items))
	for i, item := range items {
		if c, ok := there[item.SKU]; !ok {
			made[i] = true
			columns.add(item, draws[item.SKU])
		} else if err := item.differs(c, draws[item.SKU]); err != nil {
			return nil, nil, err
		}
	}
	// Also if there is nothing to make: the standbys must have what is there.
	var fresh []Counters
	err = p.write(ctx, func(self *identity, batch *pgx.Batch) {
		batch.Queue("select lastunit.put_on_sale($1::text::uuid, $2, $3::bigint[]::smallint[], $4, $5, $6, $7, $8, $9, $10, $11)",
			self.id, columns.skus, columns.partitions, columns.capacities, columns.limits, columns.opens, columns.closes,
			columns.drawItems, columns.drawSKUs, columns.drawQuantities, columns.poolOnly)
		queueCounters(batch, columns.skus, &fresh)
	})
	if err != nil {
		return nil, nil, err
	}
	for _, c := range fresh {
		there[c.SKU] = c
	}
	counters := make([]Counters, len(items))
	for i, item := range items {
		counters[i] = there[item.SKU]
	}
	return counters, made, nil
}

// itemsAndPools reads the counters of the items' SKUs and of the pools that they
// name, as far as they are there. What a SKU draws never changes.
func (p *Postgres) itemsAndPools(ctx context.Context, items []Item) (map[string]Counters, error) {
	var skus []string
	for _, item := range items {
		skus = append(skus, item.SKU)
		for _, draw := range item.Draws {
			skus = append(skus, draw.SKU)
		}
	}
	found, err := p.Counters(ctx, skus...)
	if err != nil {
		return nil, err
	}
	there := make(map[string]Counters, len(items))
	for _, c := range found {
		there[c.SKU] = c
	}
	return there, nil
}

// itemColumns are items as put_on_sale takes them: one array a column.
type itemColumns struct {
	skus           []string
	partitions     []int64
	capacities     []int64
	limits         []*int64
	opens, closes  []*time.Time
	drawItems      []int32 // from 1
	drawSKUs       []string
	drawQuantities []int64
	poolOnly       []bool
}

func (c *itemColumns) add(item Item, draws []Line) {
	c.skus = append(c.skus, item.SKU)
	c.partitions = append(c.partitions, int64(partitionOf(item.SKU)))
	c.capacities = append(c.capacities, item.Capacity)
	c.limits = append(c.limits, orNull(item.CustomerLimit))
	c.opens = append(c.opens, orNull(item.Terms().OpensAt))
	c.closes = append(c.closes, orNull(item.Terms().ClosesAt))
	c.poolOnly = append(c.poolOnly, item.PoolOnly)
	for _, draw := range draws {
		c.drawItems = append(c.drawItems, int32(len(c.skus)))
		c.drawSKUs = append(c.drawSKUs, draw.SKU)
		c.drawQuantities = append(c.drawQuantities, draw.Quantity)
	}
}

// orNull makes a zero value null.
func orNull[T comparable](value T) *T {
	var zero T
	if value == zero {
		return nil
	}
	return &value
}

// change runs a function on a SKU. It returns the SKU's counters then, and
// whether the function changed them.
func (p *Postgres) change(ctx context.Context, sku, call string, arguments ...any) (_ Counters, changed bool, _ error) {
	var counters []Counters
	err := p.write(ctx, func(self *identity, batch *pgx.Batch) {
		batch.Queue("select lastunit."+call, append([]any{self.id, sku}, arguments...)...).
			QueryRow(func(row pgx.Row) error { return row.Scan(&changed) })
		queueCounters(batch, []string{sku}, &counters)
	})
	if err != nil {
		return Counters{}, false, err
	}
	if len(counters) == 0 {
		return Counters{}, false, &SKUError{sku, ErrUnknownSKU}
	}
	return counters[0], changed, nil
}

// Adjust implements Store.
func (p *Postgres) Adjust(ctx context.Context, a Adjustment) (Counters, error) {
	if err := a.Check(); err != nil {
		return Counters{}, err
	}
	var answer string
	var counters []Counters
	err := p.write(ctx, func(self *identity, batch *pgx.Batch) {
		batch.Queue("select lastunit.adjust_capacity($1::text::uuid, $2, $3, $4, $5, $6, $7)",
			self.id, a.ID, a.SKU, string(a.Kind), a.Units, a.Reason, a.Reference,
		).QueryRow(func(row pgx.Row) error { return row.Scan(&answer) })
		queueCounters(batch, []string{a.SKU}, &counters)
	})
	switch {
	case err != nil:
		return Counters{}, err
	case answer == "unknown" || len(counters) == 0:
		return Counters{}, &SKUError{a.SKU, ErrUnknownSKU}
	case answer == "conflict":
		return Counters{}, &AdjustmentError{a.ID, ErrIdempotencyConflict}
	case answer == "superseded":
		return Counters{}, &AdjustmentError{a.ID, ErrSuperseded}
	case answer == "done":
		return counters[0], nil
	}
	capacity, err := strconv.ParseInt(answer, 10, 64)
	if err != nil {
		return Counters{}, inDoubt(err)
	}
	return Counters{}, a.checkAdjusted(capacity)
}

// SetLimit implements Store.
func (p *Postgres) SetLimit(ctx context.Context, sku string, limit int64) (Counters, error) {
	if err := inventory.CheckID("sku", sku); err != nil {
		return Counters{}, err
	}
	if err := checkCustomerLimit(limit); err != nil {
		return Counters{}, err
	}
	c, _, err := p.change(ctx, sku, "set_limit($1::text::uuid, $2, $3)", orNull(limit))
	return c, err
}

// SetWindow implements Store.
func (p *Postgres) SetWindow(ctx context.Context, sku string, opensAt, closesAt time.Time) (Counters, error) {
	item := Item{SKU: sku, OpensAt: opensAt, ClosesAt: closesAt}
	if err := item.Check(); err != nil {
		return Counters{}, err
	}
	c, _, err := p.change(ctx, sku, "set_window($1::text::uuid, $2, $3, $4)", orNull(item.Terms().OpensAt), orNull(item.Terms().ClosesAt))
	return c, err
}

// SetPaused implements Store.
func (p *Postgres) SetPaused(ctx context.Context, sku string, paused bool) (Counters, error) {
	if err := inventory.CheckID("sku", sku); err != nil {
		return Counters{}, err
	}
	c, _, err := p.change(ctx, sku, "set_paused($1::text::uuid, $2, $3)", paused)
	if err == nil && c.Retired() && !paused {
		return Counters{}, &SKUError{sku, ErrRetired}
	}
	return c, err
}

// BeginEpoch implements Store.
func (p *Postgres) BeginEpoch(ctx context.Context, sku string, seen int64) (_ Counters, begun bool, _ error) {
	if err := inventory.CheckID("sku", sku); err != nil {
		return Counters{}, false, err
	}
	return p.change(ctx, sku, "begin_epoch($1::text::uuid, $2, $3)", seen)
}

// Recount implements Store.
func (p *Postgres) Recount(ctx context.Context, sku string) (Counters, error) {
	if err := inventory.CheckID("sku", sku); err != nil {
		return Counters{}, err
	}
	c, _, err := p.change(ctx, sku, "recount($1::text::uuid, $2)")
	return c, err
}
