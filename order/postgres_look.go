package order

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// Look implements Store.
func (p *Postgres) Look(ctx context.Context, commits []Commit) ([]Outcome, []Counters, error) {
	if err := checkCommits(commits); err != nil {
		return nil, nil, err
	}
	if len(commits) == 0 {
		return nil, nil, nil
	}
	self, err := p.identify(ctx)
	if err != nil {
		return nil, nil, err
	}
	at, err := p.look(ctx, commits)
	if isApart(err) {
		at, err = p.lookApart(ctx, commits, err)
	}
	if err != nil {
		return nil, nil, err
	}
	for _, c := range at.counters {
		if c.Store != self.id { // the database was made anew, and so was the key of its digests
			p.self.CompareAndSwap(self, nil)
			return nil, nil, fmt.Errorf("%w: its name changed from %s to %s", ErrUnavailable, self.id, c.Store)
		}
	}
	if len(at.found) > 0 {
		// Nobody is told of an order that a standby might not have.
		err := p.transact(ctx, writing, func(batch *pgx.Batch) { batch.Queue("select lastunit.await_standbys()") })
		if err != nil {
			return nil, nil, err
		}
	}
	limited := limits(at.counters)
	outcomes := make([]Outcome, len(commits))
	consumed := make([]bool, deductionsOf(commits)) // one array for all outcomes
	for i := range commits {
		c, outcome := &commits[i], &outcomes[i]
		if r := at.found[c.Order.ID]; r != nil {
			*outcome = r.answer(*c, digest(self.key, *c))
		} else {
			if outcome.Err = at.failed[i]; outcome.Err != nil {
				outcome.Verdict = VerdictFailed
			}
			outcome.Consumed, consumed = consumed[:len(c.Deductions):len(c.Deductions)], consumed[len(c.Deductions):]
		}
		if limited {
			outcome.Used = usedBy(&c.Order, at.counters, at.used)
		}
	}
	return outcomes, at.counters, nil
}

// seen is what a look at orders finds.
type seen struct {
	counters []Counters
	used     map[customerUnit]int64 // what the customers have of SKUs with a limit; nil if none was asked for
	found    map[string]*record     // the orders that are there
	failed   map[int]error          // of those that the database does not let us ask for
}

// look looks at orders, and at what their customers have where a SKU has a limit.
func (p *Postgres) look(ctx context.Context, commits []Commit) (seen, error) {
	at, err := p.lookOnce(ctx, commits, p.limits.Load())
	if err == nil && at.used == nil && limits(at.counters) {
		p.limits.Store(true) // from now on they are asked for at once
		at, err = p.lookOnce(ctx, commits, true)
	}
	return at, err
}

// lookApart is look for orders that the database fails together. An order whose ID it
// cannot hold is not there.
func (p *Postgres) lookApart(ctx context.Context, commits []Commit, failed error) (seen, error) {
	all := seen{used: make(map[customerUnit]int64), found: make(map[string]*record), failed: make(map[int]error)}
	add := func(some seen, err error) error {
		if err != nil {
			return err
		}
		maps.Copy(all.found, some.found)
		maps.Copy(all.used, some.used)
		all.counters = append(all.counters, some.counters...)
		return nil
	}
	looking := apart{
		send: func(part []int) error { return add(p.look(ctx, pick(commits, part))) },
		fail: func(i int, err error) error {
			if cannotEncode(err) { // its customer, perhaps
				if err = add(p.lookOnce(ctx, commits[i:i+1], false)); cannotEncode(err) {
					return nil
				}
			}
			if !isApart(err) {
				return err
			}
			all.failed[i] = err
			return nil
		},
	}
	if err := looking.divide(indexes(len(commits)), failed); err != nil {
		return seen{}, err
	}
	// Of each SKU the counters that were read first: the orders that they count were
	// looked for later.
	slices.SortStableFunc(all.counters, func(a, b Counters) int { return strings.Compare(a.SKU, b.SKU) })
	all.counters = slices.CompactFunc(all.counters, func(a, b Counters) bool { return a.SKU == b.SKU })
	return all, nil
}

// lookOnce reads the counters, what the customers have of SKUs with a limit if that is
// asked for, and the orders that are there.
func (p *Postgres) lookOnce(ctx context.Context, commits []Commit, limits bool) (at seen, err error) {
	ids := make([]string, len(commits))
	for i := range commits {
		ids[i] = commits[i].Order.ID
	}
	at.found = make(map[string]*record)
	err = p.read(ctx, func(batch *pgx.Batch) {
		queueNoScan(batch)
		// Each statement has a snapshot of its own. The counters come first: an
		// order that they count is found by the last one. The other way round,
		// an order that comes in between would look both new and sold out.
		queueCounters(batch, skusOf(commits), &at.counters)
		if limits {
			queueUsed(batch, commits, &at.used)
		}
		queueRecords(batch, ids, at.found)
	})
	return at, err
}

// limits says whether one of the SKUs has a customer limit.
func limits(counters []Counters) bool {
	return slices.ContainsFunc(counters, func(c Counters) bool { return c.CustomerLimit > 0 })
}

// deductionsOf is how many there are.
func deductionsOf(commits []Commit) (n int) {
	for i := range commits {
		n += len(commits[i].Deductions)
	}
	return n
}

// customerUnit names what one customer has of one SKU.
type customerUnit struct{ customer, sku string }

// queueUsed reads what the customers have of those SKUs of their orders that
// have a limit. Where none has one, that costs no look at the orders.
func queueUsed(batch *pgx.Batch, commits []Commit, into *map[customerUnit]int64) {
	var customers, skus []string
	seen := make(map[customerUnit]bool)
	for i := range commits {
		c := &commits[i]
		for _, unit := range c.Order.Units() {
			if key := (customerUnit{c.Order.Customer, unit.SKU}); !seen[key] {
				seen[key] = true
				customers, skus = append(customers, key.customer), append(skus, key.sku)
			}
		}
	}
	batch.Queue(`select u.customer, u.sku, lastunit.used_by_customer(u.customer, u.sku)
		from unnest($1::text[], $2::text[]) u(customer, sku) join lastunit.skus s on s.sku = u.sku
		where s.customer_limit is not null`, customers, skus).Query(func(rows pgx.Rows) error {
		*into = make(map[customerUnit]int64)
		var key customerUnit
		var units int64
		_, err := pgx.ForEachRow(rows, []any{&key.customer, &key.sku, &units}, func() error {
			(*into)[key] = units
			return nil
		})
		return err
	})
}

// usedBy is Outcome.Used of an order.
func usedBy(o *Order, counters []Counters, used map[customerUnit]int64) []int64 {
	var all []int64
	units := o.Units()
	for i, unit := range units {
		if c, ok := find(counters, unit.SKU); ok && c.CustomerLimit > 0 {
			if all == nil {
				all = make([]int64, len(units))
			}
			all[i] = used[customerUnit{o.Customer, unit.SKU}]
		}
	}
	return all
}
