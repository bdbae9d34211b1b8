package order

import (
	"context"
	"fmt"
	"slices"
	"strings"
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
	if isApart(err) {
		counters, err = p.commitApart(ctx, commits, outcomes, err)
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

// pick are the elements that the indexes name.
func pick[T any](all []T, indexes []int) []T {
	picked := make([]T, len(indexes))
	for n, i := range indexes {
		picked[n] = all[i]
	}
	return picked
}

// commitApart commits what it can of a batch that failed as a whole. The database
// fails those alone that are to blame, and those of a SKU whose rows are wrong.
func (p *Postgres) commitApart(ctx context.Context, commits []Commit, outcomes []Outcome, failed error) ([]Counters, error) {
	division := apart{
		send: func(part []int) error {
			some := make([]Outcome, len(part))
			_, err := p.commitBatch(ctx, pick(commits, part), some)
			for n, i := range part {
				outcomes[i] = some[n]
			}
			return err
		},
		fail: func(i int, err error) error {
			outcomes[i] = Outcome{Verdict: VerdictFailed, Consumed: make([]bool, len(commits[i].Deductions)), Err: err}
			return nil
		},
		skus: func(i int) string {
			var skus strings.Builder
			for _, unit := range commits[i].Order.Units() {
				skus.WriteString(unit.SKU)
				skus.WriteByte(0)
			}
			return skus.String()
		},
	}
	err := division.divide(indexes(len(commits)), failed)
	var counters []Counters
	if err == nil && division.sent { // if it failed them all, nothing was counted
		counters, err = p.Counters(ctx, skusOf(commits)...)
	}
	if err != nil && division.sent {
		err = inDoubt(err)
	}
	return counters, err
}

func (p *Postgres) commitBatch(ctx context.Context, commits []Commit, outcomes []Outcome) (counters []Counters, err error) {
	flat := flatten(commits)
	skus := flat.skus
	if len(flat.orders) < len(commits) {
		skus = skusOf(commits) // also those of second ones of an ID
	}
	var verdicts []string
	var deciding []int32
	var lefts []int64
	var again []bool
	var decidedAt time.Time
	tries, looked := 0, false
	err = p.write(ctx, func(self *identity, batch *pgx.Batch) {
		if tries++; tries > 1 {
			p.repeats.expect()
		}
		looked = tries > 1 || p.repeats.expected()
		batch.Queue("select verdicts, deciding, lefts, again, decided_at from "+
			"lastunit.commit_orders($1::text::uuid, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
			self.id, looked, flat.ids, flat.customers, digests(self.key, commits, flat.orders), flat.holds, flat.skus,
			flat.unitOrders, flat.unitNumbers, flat.unitSKUs, flat.quantities, flat.drawn, flat.epochs, flat.seqs,
		).QueryRow(func(row pgx.Row) error {
			err := row.Scan(&verdicts, &deciding, &lefts, &again, &decidedAt)
			decidedAt = decidedAt.UTC()
			return err
		})
		queueCounters(batch, skus, &counters)
	})
	if err != nil {
		p.repeats.expect() // of these, if they were committed
		if !looked && waitedForAnOrder(err) {
			return p.commitBatch(ctx, commits, outcomes)
		}
		return nil, err
	}
	p.repeats.pass()

	for i := range commits {
		outcomes[i] = Outcome{Verdict: VerdictExisting}
	}
	// One array each for all outcomes.
	consumed := make([]bool, len(flat.unitOrders))
	lines := make([]Line, 0, len(flat.unitOrders))
	unit := 0
	for n, i := range flat.orders {
		c, outcome := &commits[i], &outcomes[i]
		units := c.Order.Units()
		first, next := unit, unit+len(units)
		unit = next
		outcome.Consumed = consumed[first : first+len(c.Deductions) : first+len(c.Deductions)]
		verdict := "booked"
		if verdicts != nil {
			verdict = verdicts[n]
		}
		switch verdict {
		case "booked":
			outcome.Verdict = VerdictBooked
			for u := range outcome.Consumed {
				outcome.Consumed[u] = flat.epochs[first+u] != 0
			}
			lines = append(lines, c.Order.Lines...)
			outcome.Order = Order{
				ID: c.Order.ID, Customer: c.Order.Customer, Status: c.status(), CreatedAt: decidedAt, ChangedAt: decidedAt,
				Lines: lines[len(lines)-len(c.Order.Lines) : len(lines) : len(lines)], Draws: slices.Clone(c.Order.Draws),
			}
			if c.Hold > 0 {
				outcome.Order.ExpiresAt = decidedAt.Add(c.Hold.Truncate(time.Microsecond))
			}
		case "again":
			outcome.Verdict = VerdictAgain
			outcome.Again = again[first : first+len(c.Deductions)]
		case "existing":
			p.repeats.expect()
		case "full", "reopening", "unknown", "limited", "paused", "closed", "not_open":
			refused(outcome, verdict, units, int(deciding[n])-1, lefts[n], counters)
		default:
			outcome.Verdict, outcome.Err = VerdictFailed, newerVerdict(verdict)
		}
	}
	return counters, nil
}

// waitedForAnOrder says whether a batch that had not looked its IDs up gave up waiting
// for a lock that was none of a SKU's or the feed's: probably one of the orders is
// there, and somebody's transaction has changed it.
func waitedForAnOrder(err error) bool {
	answer := pgErrorOf(err)
	return answer != nil && !isRaised(answer) && waitedForOthers(answer)
}

// refused makes the outcome of an order that was not booked because of one of
// its units. The number is what is left of it, or what the customer has of it.
func refused(outcome *Outcome, verdict string, units []Line, unit int, number int64, counters []Counters) {
	outcome.Unit = unit
	sku := units[unit]
	terms, _ := find(counters, sku.SKU)
	switch verdict {
	case "full":
		outcome.Verdict, outcome.Left = VerdictFull, number
		outcome.Err = NewStockError(units, unit, number, counters)
	case "reopening":
		outcome.Verdict, outcome.Wait = VerdictReopening, time.Duration(number)*time.Microsecond
	case "unknown":
		outcome.Verdict = VerdictUnknown
	case "limited":
		outcome.Verdict = VerdictLimited
		outcome.Err = &inventory.LimitError{SKU: sku.SKU, Limit: terms.CustomerLimit, Requested: sku.Quantity, Used: number}
	case "paused":
		outcome.Verdict = VerdictClosed
		outcome.Err = &inventory.WindowError{SKU: sku.SKU, OpensAt: terms.OpensAt, ClosesAt: terms.ClosesAt, Err: inventory.ErrPaused}
		if terms.Retired() {
			outcome.Err = &SKUError{sku.SKU, ErrRetired}
		}
	default: // closed, not_open
		why := map[string]error{"closed": inventory.ErrClosed, "not_open": inventory.ErrNotOpen}[verdict]
		outcome.Verdict = VerdictClosed
		outcome.Err = &inventory.WindowError{SKU: sku.SKU, OpensAt: terms.OpensAt, ClosesAt: terms.ClosesAt, Err: why}
	}
}

// find finds the counters of a SKU among those that are sorted.
func find(counters []Counters, sku string) (Counters, bool) {
	i, ok := slices.BinarySearchFunc(counters, sku, func(c Counters, sku string) int { return strings.Compare(c.SKU, sku) })
	if !ok {
		return Counters{}, false
	}
	return counters[i], true
}

// flat is a batch as commit_orders takes it: one array a column, and the units
// of all orders in a row.
type flat struct {
	orders         []int // indexes into the batch, without second ones of an ID
	skus           []string
	ids, customers []string
	holds          []int64 // microseconds

	unitOrders, unitSKUs     []int32 // from 1
	unitNumbers              []int64 // from 1
	quantities, epochs, seqs []int64
	drawn                    []int64 // nil if no order draws on a pool
}

func flatten(commits []Commit) *flat {
	f := &flat{
		orders: make([]int, 0, len(commits)), ids: make([]string, 0, len(commits)), customers: make([]string, 0, len(commits)),
		holds: make([]int64, 0, len(commits)),
	}
	drawing, size := false, 0
	seen := make(map[string]struct{}, len(commits))
	position := make(map[string]int32)
	for i := range commits {
		o := &commits[i].Order
		seen[o.ID] = struct{}{}
		if len(seen) == len(f.orders) {
			continue
		}
		f.orders = append(f.orders, i)
		f.ids = append(f.ids, o.ID)
		f.customers = append(f.customers, o.Customer)
		f.holds = append(f.holds, commits[i].Hold.Microseconds())
		drawing = drawing || len(o.Draws) > 0
		for _, lines := range [...][]Line{o.Lines, o.Draws} {
			size += len(lines)
			for _, line := range lines {
				if _, ok := position[line.SKU]; !ok {
					position[line.SKU] = 0
					f.skus = append(f.skus, line.SKU)
				}
			}
		}
	}
	slices.Sort(f.skus)
	for k, sku := range f.skus {
		position[sku] = int32(k) + 1
	}
	numbers := make([]int64, 4*size)
	f.unitNumbers, f.quantities = numbers[:0:size], numbers[size:size:2*size]
	f.epochs, f.seqs = numbers[2*size:2*size:3*size], numbers[3*size:3*size]
	f.unitOrders, f.unitSKUs = make([]int32, 0, size), make([]int32, 0, size)
	for n, i := range f.orders {
		c := &commits[i]
		for u, unit := range c.Order.Units() {
			id := c.identity(u)
			f.unitOrders = append(f.unitOrders, int32(n)+1)
			f.unitSKUs = append(f.unitSKUs, position[unit.SKU])
			f.unitNumbers = append(f.unitNumbers, int64(u)+1)
			f.quantities = append(f.quantities, unit.Quantity)
			f.epochs = append(f.epochs, id.Epoch)
			f.seqs = append(f.seqs, id.Seq)
			if drawing {
				f.drawn = append(f.drawn, quantityOf(c.Order.Draws, unit.SKU))
			}
		}
	}
	return f
}

// quantityOf is how much of a SKU there is in lines.
func quantityOf(lines []Line, sku string) int64 {
	for _, line := range lines {
		if line.SKU == sku {
			return line.Quantity
		}
	}
	return 0
}
