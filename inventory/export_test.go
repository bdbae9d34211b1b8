package inventory

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"
)

// Scripts are the scripts by name, for tests that send them what Redis never
// sends.
var Scripts = map[string]*redis.Script{
	"deduct":    deductScript,
	"accept":    acceptScript,
	"settle":    settleScript,
	"restore":   restoreScript,
	"load":      loadScript,
	"unsettled": unsettledScript,
}

// StockKey is the key of a SKU's hash.
func (r *Redis) StockKey(sku string) string { return r.keys.stock(sku) }

// InFlight returns the units that count for each customer of a SKU.
func (m *Memory) InFlight(sku string) map[string]int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	found := make(map[string]int64)
	if c, ok := m.skus[sku]; ok {
		for customer, units := range c.inFlight {
			found[customer] = units
		}
	}
	return found
}

// Reopen ends what is kept of a SKU.
func (m *Memory) Reopen(sku string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if c, ok := m.skus[sku]; ok {
		c.reopened = time.Time{}
	}
}

// DeductTogether sends requests as one batch, with the time by which the caller
// of each has given up, zero for never; late says that Redis took it for past.
func (r *Redis) DeductTogether(ctx context.Context, requests []Request, by []time.Time) (ds []Deduction, late []bool, errs []error) {
	calls := make([]*deductCall, len(requests))
	for i, request := range requests {
		calls[i] = &deductCall{Request: request}
		if by != nil {
			calls[i].by = by[i]
		}
	}
	answers, err := r.deductBatch(ctx, calls)
	ds, late, errs = make([]Deduction, len(calls)), make([]bool, len(calls)), make([]error, len(calls))
	for i := range calls {
		switch {
		case err != nil:
			errs[i] = err
		case answers[i].late:
			late[i] = true
		case answers[i].err != nil:
			errs[i] = answers[i].err
		default:
			ds[i] = answers[i].deduction(&requests[i])
		}
	}
	return ds, late, errs
}

// RestoreTogether sends what several callers restore as one batch.
func (r *Redis) RestoreTogether(ctx context.Context, calls ...[]Deduction) ([]error, error) {
	return r.restoreBatch(ctx, calls)
}

// Wait returns once no deduction and no restore is under way.
func (r *Redis) Wait(ctx context.Context) error {
	var errs []error
	all := []*node{r.shared}
	if known := r.nodes.all.Load(); known != nil {
		all = slices.AppendSeq(all, maps.Values(*known))
	}
	for _, n := range all {
		for lane := range lanes {
			errs = append(errs, n.deducts[lane].Wait(ctx), n.restores[lane].Wait(ctx))
		}
	}
	return errors.Join(errs...)
}
