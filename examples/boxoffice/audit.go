package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/lastunit/lastunit/booking"
	"github.com/lastunit/lastunit/order"
)

// audit compares what the stores hold with what the buyers were told.
type audit struct {
	capacity int64
	sold     int64 // units in live orders, counted
	oversold int64 // units sold beyond the capacity
	lost     int64 // orders that were acknowledged and are not there
	drift    int64 // how far the two sides are apart

	notes []string // why it is not clean
}

func (a *audit) String() string {
	return fmt.Sprintf("audit: capacity=%d sold=%d oversold=%d lost=%d drift=%d", a.capacity, a.sold, a.oversold, a.lost, a.drift)
}

// clean says whether everything is right after the demand of so many units.
func (a *audit) clean(demand int) bool {
	return a.oversold == 0 && a.lost == 0 && a.drift == 0 && a.sold == min(int64(demand), a.capacity) && len(a.notes) == 0
}

// settleTimeout is how long the work in the background may take to make the
// books exact: several times booking.Config.SweepAfter.
const settleTimeout = 30 * time.Second

// auditSKU looks into both stores. It asks no service, so that a service can't
// hide anything; the work in the background must be running somewhere.
func auditSKU(ctx context.Context, on *stores, shop *booking.Service, item order.Item, acknowledged []order.Order) (*audit, error) {
	a := &audit{capacity: item.Capacity}
	deadline := time.Now().Add(settleTimeout)
	for wait := 10 * time.Millisecond; ; wait = min(2*wait, 500*time.Millisecond) {
		err := a.compare(ctx, on, shop, item.SKU)
		if err == nil && a.drift == 0 {
			break
		}
		if time.Now().After(deadline) {
			if err != nil {
				return a, err
			}
			break
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return a, errors.Join(ctx.Err(), err)
		}
	}
	if err := a.findLost(ctx, on.orders, acknowledged); err != nil {
		return a, err
	}
	if told := int64(len(acknowledged)); a.sold != told && a.lost == 0 {
		a.notes = append(a.notes, fmt.Sprintf("%d units are sold, but %d buyers were told that they have one", a.sold, told))
	}
	return a, nil
}

// compare sets sold, oversold and drift.
func (a *audit) compare(ctx context.Context, on *stores, shop *booking.Service, sku string) error {
	ctx, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()
	differences, err := shop.Reconcile(ctx, booking.DryRun, sku)
	if err != nil {
		return err
	}
	tallies, err := on.orders.Tally(ctx, sku)
	if err != nil {
		return err
	}
	if len(tallies) != 1 {
		return fmt.Errorf("SKU %q has %d tallies", sku, len(tallies))
	}

	a.notes = nil
	a.sold = tallies[0].Held + tallies[0].Confirmed
	a.oversold = max(0, a.sold-a.capacity)
	a.drift = 0
	var unsettled int64
	if on.inventory != nil { // else there is no other side to be apart
		stocks, err := on.inventory.Stock(ctx, sku)
		if err != nil {
			return err
		}
		if len(stocks) != 1 {
			return fmt.Errorf("SKU %q has %d stocks", sku, len(stocks))
		}
		unsettled = stocks[0].Unsettled
		a.drift = distance(stocks[0].Available(), a.capacity-a.sold) + unsettled
		if a.drift > 0 {
			a.notes = append(a.notes, fmt.Sprintf("Redis has %+v", stocks[0]))
		}
	}
	if by := unbalanced(tallies[0]); by > 0 {
		a.drift += by
		a.notes = append(a.notes, fmt.Sprintf("the ledger does not balance: %+v", tallies[0]))
	}
	for _, d := range differences {
		a.notes = append(a.notes, fmt.Sprintf("Reconcile reports %+v", d))
		if d.Kind != booking.KindUnsettled { // those are counted
			a.drift += max(1, distance(d.Redis, d.Postgres))
		} else if unsettled == 0 {
			a.drift++ // they were there a moment ago: look again
		}
	}
	return nil
}

// unbalanced is by how many units the counters, the orders and the ledger are
// apart; 0 if they agree.
func unbalanced(t order.Tally) int64 {
	if t.Balanced() {
		return 0
	}
	by := distance(t.Counters.Allocated, t.Held+t.Confirmed+t.Uncounted)
	if t.Ledger {
		by += distance(t.MovedCapacity, t.Counters.Capacity) + distance(t.MovedAllocated, t.Counters.Allocated)
	}
	return max(1, by)
}

// findLost counts the acknowledged orders that are not confirmed in the store
// with just this content.
func (a *audit) findLost(ctx context.Context, orders order.Store, acknowledged []order.Order) error {
	a.lost = 0
	seen := make(map[string]bool, len(acknowledged))
	for len(acknowledged) > 0 {
		page := acknowledged[:min(len(acknowledged), order.MaxCommits)]
		acknowledged = acknowledged[len(page):]
		asked := make([]order.Commit, len(page))
		for i, o := range page {
			asked[i].Order = o
		}
		found, _, err := orders.Look(ctx, asked)
		if err != nil {
			return err
		}
		for i, outcome := range found {
			id := page[i].ID
			if outcome.Verdict != order.VerdictExisting || outcome.Order.Status != order.Confirmed || seen[id] {
				a.lost++
				a.notes = append(a.notes, fmt.Sprintf("order %q was acknowledged and is %v %s", id, outcome.Verdict, outcome.Order.Status))
			}
			seen[id] = true
		}
	}
	return nil
}

func distance(a, b int64) int64 { return max(a-b, b-a) }
