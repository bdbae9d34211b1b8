package booking_test

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

// The walks must be able to fail: with a rule broken they find it.
func TestWalksFindPlantedBugs(t *testing.T) {
	t.Parallel()
	server := miniredis.RunT(t)
	client := redis.NewClient(&redis.Options{Addr: server.Addr(), MaxRetries: -1})
	t.Cleanup(func() { client.Close() })
	for name, bug := range map[string]struct {
		plant  func(order.Store) order.Store
		events []int // that bring it to light; others would hide it for long
	}{
		"the sweep does not fence":             {func(s order.Store) order.Store { return noFence{s} }, []int{sweeping}},
		"the sweep restores what was consumed": {func(s order.Store) order.Store { return restoreConsumed{s} }, []int{sweeping, cancelling}},
		"a commit does not look at the epoch":  {func(s order.Store) order.Store { return noEpoch{s} }, []int{rebuilding, late}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for seed := range uint64(1000) {
				w := newWalk(client, fmt.Sprintf("planted-%s-%d", name, seed), bug.plant(order.NewMemory()), seed)
				for event := range w.enabled {
					w.enabled[event] = slices.Contains(bug.events, eventKind(event))
				}
				w.faces = 13 // more events for each step of a process
				if err := w.play(); err != nil {
					t.Logf("found by walk %d: %v", seed, err)
					return
				}
			}
			t.Error("no walk found it")
		})
	}
}

// noFence is a Store whose sweep gives units back without a fence.
type noFence struct{ order.Store }

func (s noFence) Fence(ctx context.Context, deductions []inventory.Deduction) ([]bool, []order.Counters, error) {
	return lookOnly(ctx, s.Store, deductions)
}

// lookOnly says what was consumed, and makes sure of nothing.
func lookOnly(ctx context.Context, s order.Store, deductions []inventory.Deduction) (consumed []bool, _ []order.Counters, _ error) {
	var counters []order.Counters
	for _, d := range deductions {
		outcomes, found, err := s.Look(ctx, []order.Commit{{
			Order:      order.Order{ID: d.OrderID, Customer: "c", Lines: []order.Line{{SKU: d.SKU, Quantity: d.Quantity}}},
			Deductions: []inventory.Deduction{d},
		}})
		if err != nil {
			return nil, nil, err
		}
		consumed = append(consumed, outcomes[0].Consumed[0])
		counters = found
	}
	return consumed, counters, nil
}

// restoreConsumed is a Store whose sweep takes the deductions of a cancelled
// order for not consumed.
type restoreConsumed struct{ order.Store }

func (s restoreConsumed) Fence(ctx context.Context, deductions []inventory.Deduction) ([]bool, []order.Counters, error) {
	consumed, counters, err := s.Store.Fence(ctx, deductions)
	for i := range consumed {
		if o, err := s.Order(ctx, deductions[i].OrderID); err == nil && !o.Status.Live() {
			consumed[i] = false
		}
	}
	return consumed, counters, err
}

// noEpoch is a Store that takes deductions of older epochs for current ones.
type noEpoch struct{ order.Store }

func (s noEpoch) Commit(ctx context.Context, commits []order.Commit) ([]order.Outcome, []order.Counters, error) {
	for i, c := range commits {
		forged := append([]inventory.Deduction(nil), c.Deductions...)
		for l, d := range forged {
			if found, err := s.Counters(ctx, d.SKU); err == nil && len(found) > 0 {
				forged[l].Epoch = found[0].Epoch
			}
		}
		commits[i].Deductions = forged
	}
	return s.Store.Commit(ctx, commits)
}
