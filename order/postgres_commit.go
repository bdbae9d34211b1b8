package order

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/lastunit/lastunit/inventory"
)

// Commit implements Store.
func (p *Postgres) Commit(ctx context.Context, commits []Commit) ([]Outcome, []Counters, error) {
	if err := checkCommits(commits); err != nil {
		return nil, nil, err
	}
	if len(commits) == 0 {
		return nil, nil, nil
	}
	outcomes := make([]Outcome, len(commits))
	counters, err := p.commitBatch(ctx, commits, outcomes)
	var rejected *rejectedError
	if errors.As(err, &rejected) {
		counters, err = p.commitHalves(ctx, commits, outcomes, rejected)
	}
	if err != nil {
		return nil, nil, err
	}

	// Those that were there before, or twice in this batch.
	var there []int
	for i := range outcomes {
		if outcomes[i].Verdict == VerdictExisting {
			there = append(there, i)
		}
	}
	if len(there) == 0 {
		return outcomes, counters, nil
	}
	found, _, err := p.Look(ctx, pick(commits, there))
	if err != nil {
		return nil, nil, inDoubt(err)
	}
	var refused []int // the first of two in this batch was, so this one is to be decided too
	for n, i := range there {
		if outcomes[i] = found[n]; found[n].Verdict == VerdictNew {
			refused = append(refused, i)
		}
	}
	if len(refused) == 0 {
		return outcomes, counters, nil
	}
	if len(refused) == len(commits) { // somebody deletes rows
		return nil, nil, fmt.Errorf("%w: orders came and went", ErrUnavailable)
	}
	decided, _, err := p.Commit(ctx, pick(commits, refused))
	if err == nil {
		counters, err = p.Counters(ctx, skusOf(commits)...)
	}
	if err != nil {
		return nil, nil, inDoubt(err)
	}
	for n, i := range refused {
		outcomes[i] = decided[n]
	}
	return outcomes, counters, nil
}

func pick(commits []Commit, indexes []int) []Commit {
	picked := make([]Commit, len(indexes))
	for n, i := range indexes {
		picked[n] = commits[i]
	}
	return picked
}

// commitHalves halves a batch that Postgres rejected as a whole, until only the
// orders to blame are alone.
func (p *Postgres) commitHalves(ctx context.Context, commits []Commit, outcomes []Outcome, rejected error) ([]Counters, error) {
	if err := p.halve(ctx, commits, outcomes, rejected); err != nil {
		return nil, inDoubt(err)
	}
	counters, err := p.Counters(ctx, skusOf(commits)...)
	if err != nil {
		return nil, inDoubt(err)
	}
	return counters, nil
}

func (p *Postgres) halve(ctx context.Context, commits []Commit, outcomes []Outcome, rejected error) error {
	if len(commits) == 1 {
		outcomes[0] = Outcome{Verdict: VerdictFailed, Consumed: make([]bool, len(commits[0].Deductions)), Err: rejected}
		return nil
	}
	middle := len(commits) / 2
	for _, half := range [...]struct{ from, to int }{{0, middle}, {middle, len(commits)}} {
		commits, outcomes := commits[half.from:half.to], outcomes[half.from:half.to]
		_, err := p.commitBatch(ctx, commits, outcomes)
		var rejected *rejectedError
		if errors.As(err, &rejected) {
			err = p.halve(ctx, commits, outcomes, rejected)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (p *Postgres) commitBatch(ctx context.Context, commits []Commit, outcomes []Outcome) (counters []Counters, err error) {
	skus := skusOf(commits)
	flat := flatten(commits, skus)
	var verdicts []string
	var deciding []int32
	var lefts []int64
	var again []bool
	var decidedAt time.Time
	err = p.write(ctx, func(self *identity, batch *pgx.Batch) {
		digests := make([][]byte, len(flat.orders))
		for n, i := range flat.orders {
			digests[n] = digest(self.key, commits[i].Order)
		}
		batch.Queue("select verdicts, deciding, lefts, again, decided_at from "+
			"lastunit.commit_orders($1::text::uuid, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
			self.id, flat.ids, flat.customers, digests, skus,
			flat.lineOrders, flat.lineNumbers, flat.lineSKUs, flat.quantities, flat.epochs, flat.seqs,
		).QueryRow(func(row pgx.Row) error {
			err := row.Scan(&verdicts, &deciding, &lefts, &again, &decidedAt)
			decidedAt = decidedAt.UTC()
			return err
		})
		queueCounters(batch, skus, &counters)
	})
	if err != nil {
		return nil, err
	}

	line := 0
	for i := range commits {
		outcomes[i] = Outcome{Verdict: VerdictExisting}
	}
	for n, i := range flat.orders {
		c, outcome := commits[i], &outcomes[i]
		outcome.Consumed = make([]bool, len(c.Deductions))
		switch verdicts[n] {
		case "booked":
			outcome.Verdict = VerdictBooked
			for l := range c.Deductions {
				outcome.Consumed[l] = c.identity(l) != (inventory.Identity{})
			}
			outcome.Order = (&record{Order: c.Order}).copy()
			outcome.Order.Status, outcome.Order.CreatedAt, outcome.Order.ChangedAt = Confirmed, decidedAt, decidedAt
		case "again":
			outcome.Verdict = VerdictAgain
			outcome.Again = again[line : line+len(c.Order.Lines)]
		case "full":
			outcome.Verdict, outcome.Line, outcome.Left = VerdictFull, int(deciding[n])-1, lefts[n]
		case "unknown":
			outcome.Verdict, outcome.Line = VerdictUnknown, int(deciding[n])-1
		}
		line += len(c.Order.Lines)
	}
	return counters, nil
}

// flat is a batch as commit_orders takes it: one array a column, and the lines
// of all orders in a row.
type flat struct {
	orders         []int // indexes into the batch, without second ones of an ID
	ids, customers []string

	lineOrders, lineSKUs     []int32 // from 1
	lineNumbers              []int64 // from 1
	quantities, epochs, seqs []int64
}

func flatten(commits []Commit, skus []string) *flat {
	position := make(map[string]int32, len(skus))
	for i, sku := range skus {
		position[sku] = int32(i) + 1
	}
	seen := make(map[string]bool, len(commits))
	f := &flat{}
	for i, c := range commits {
		if seen[c.Order.ID] {
			continue
		}
		seen[c.Order.ID] = true
		f.orders = append(f.orders, i)
		f.ids = append(f.ids, c.Order.ID)
		f.customers = append(f.customers, c.Order.Customer)
		for l, line := range c.Order.Lines {
			id := c.identity(l)
			f.lineOrders = append(f.lineOrders, int32(len(f.orders)))
			f.lineSKUs = append(f.lineSKUs, position[line.SKU])
			f.lineNumbers = append(f.lineNumbers, int64(l)+1)
			f.quantities = append(f.quantities, line.Quantity)
			f.epochs = append(f.epochs, id.Epoch)
			f.seqs = append(f.seqs, id.Seq)
		}
	}
	return f
}

// Look implements Store.
func (p *Postgres) Look(ctx context.Context, commits []Commit) ([]Outcome, []Counters, error) {
	if err := checkCommits(commits); err != nil {
		return nil, nil, err
	}
	if len(commits) == 0 {
		return nil, nil, nil
	}
	ids := make([]string, len(commits))
	for i, c := range commits {
		ids[i] = c.Order.ID
	}
	self, err := p.identify(ctx)
	if err != nil {
		return nil, nil, err
	}
	found := make(map[string]*record)
	var counters []Counters
	err = p.read(ctx, func(batch *pgx.Batch) {
		// Each statement has a snapshot of its own. The counters come first: an
		// order that they count is found by the second one. The other way round,
		// an order that comes in between would look both new and sold out.
		queueCounters(batch, skusOf(commits), &counters)
		queueNoScan(batch)
		batch.Queue(selectRecords+" where id = any($1)", ids).Query(func(rows pgx.Rows) error {
			records, err := scanRecords(rows)
			for i := range records {
				found[records[i].ID] = &records[i]
			}
			return err
		})
	})
	if err != nil {
		return nil, nil, err
	}
	for _, c := range counters {
		if c.Store != self.id { // the database was made anew, and so was the key of its digests
			p.self.CompareAndSwap(self, nil)
			return nil, nil, fmt.Errorf("%w: its name changed from %s to %s", ErrUnavailable, self.id, c.Store)
		}
	}
	if len(found) > 0 {
		// Nobody is told of an order that a standby might not have.
		err := p.transact(ctx, writing, func(batch *pgx.Batch) { batch.Queue("select lastunit.await_standbys()") })
		if err != nil {
			return nil, nil, err
		}
	}
	outcomes := make([]Outcome, len(commits))
	for i, c := range commits {
		if r := found[c.Order.ID]; r != nil {
			outcomes[i] = r.answer(c, digest(self.key, c.Order))
		} else {
			outcomes[i].Consumed = make([]bool, len(c.Deductions))
		}
	}
	return outcomes, counters, nil
}

// Fence implements Store.
func (p *Postgres) Fence(ctx context.Context, deductions []inventory.Deduction) (consumed []bool, counters []Counters, err error) {
	if err := checkFence(deductions); err != nil {
		return nil, nil, err
	}
	if len(deductions) == 0 {
		return nil, nil, nil
	}
	var skus, orders []string
	var epochs, seqs []int64
	for _, d := range deductions {
		skus, orders = append(skus, d.SKU), append(orders, d.OrderID)
		epochs, seqs = append(epochs, d.Epoch), append(seqs, d.Seq)
	}
	err = p.write(ctx, func(self *identity, batch *pgx.Batch) {
		batch.Queue("select lastunit.fence_deductions($1::text::uuid, $2, $3, $4, $5)", self.id, skus, orders, epochs, seqs).
			QueryRow(func(row pgx.Row) error { return row.Scan(&consumed) })
		queueCounters(batch, skus, &counters)
	})
	return consumed, counters, err
}
