package robustness

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

// bug is one that is planted to see that it is found.
type bug struct {
	name   string
	breaks string // what a user would suffer, or what the library does needlessly to spare them

	// Where it is.
	functions []mutation // of the database
	scripts   []mutation
	store     func(order.Store) order.Store
	inventory func(inventory.InventoryRepository) inventory.InventoryRepository

	// What finds it: one of these, in a scene or, where there is none, in a run with
	// these faults.
	finds      []sort
	scene      *scene
	faults     []fault
	checkEvery time.Duration
	quick      bool // it is found within seconds, and looked for in make test, too

	swapped atomic.Int64 // scripts, in this process
}

var bugs = []*bug{
	{
		name:    "no replay check in deduct.lua",
		breaks:  "a deduct whose reply was lost takes its units twice, and nobody gets the first ones",
		scripts: []mutation{{"deduct", "  if values[n] then\n    records", "  if false then\n    records"}},
		finds:   []sort{notExact, stranded, needlessRebuild}, faults: []fault{redisUnheard, connectionsCut},
	},
	{
		name:    "versions are compared as text",
		breaks:  "supply 10 does not replace supply 9: units that came back are not sold any more",
		scripts: []mutation{{"settle", "if version > stock.version then", "if digits(version) > digits(stock.version) then"}},
		finds:   []sort{notExact, stranded}, faults: []fault{capacities, scriptFlush},
	},
	{
		name:   "no capacity check at commit",
		breaks: "a Redis that lost something oversells",
		functions: []mutation{
			{"commit_orders", "bool_and(s.allocated + s.asked <= s.capacity)", "true"},
			{"decide_orders", "v_allocated[k] + p_unit_quantities[l] > v_capacity[k]", "false"},
		},
		finds: []sort{oversold}, faults: []fault{flushAll, snapshot, oneDeleted, capacities},
	},
	{
		name:   "no epoch check at commit",
		breaks: "a commit that comes late books behind the back of a buyer who was refused",
		functions: []mutation{
			{"commit_orders", "bool_and(s.epoch = s.first_epoch and s.epoch = s.last_epoch)", "true"},
			{"decide_orders", "p_unit_epochs[l] <> v_epoch[k]", "false"},
		},
		finds: []sort{notLinearizable}, scene: &lateCommitOfAnOldEpoch,
	},
	{
		name:    "restore without the seq",
		breaks:  "a late copy of a restore gives back what somebody has just bought",
		scripts: []mutation{{"restore", "seq == arguments[first + 2 * i - 1]", "true"}},
		finds:   []sort{needlessRebuild}, scene: &lateRestore, quick: true,
	},
	{
		name:      "sweep without the fence",
		breaks:    "a commit that comes late books behind the back of a buyer who was refused",
		functions: []mutation{{"fence_deductions", "where not exists (", "where false and not exists ("}},
		finds:     []sort{notLinearizable}, scene: &lateCommit, quick: true,
	},
	{
		name:   "give back after an outcome in doubt",
		breaks: "the units of an order that was committed after all are sold a second time by Redis",
		store:  func(s order.Store) order.Store { return neverInDoubt{s} },
		finds:  []sort{needlessRebuild}, faults: []fault{commitUnheard, commitUnheard, connectionsCut},
	},
	{
		name:   "refusal without the ID look-up",
		breaks: "a second click after the last unit is told \"sold out\", although the order is there",
		store:  func(s order.Store) order.Store { return neverSeen{s} },
		finds:  []sort{notLinearizable}, faults: []fault{scriptFlush}, quick: true,
	},
	{
		name:      "settle before commit",
		breaks:    "units of a process that dies in between are gone, and nothing tells of them",
		inventory: func(r inventory.InventoryRepository) inventory.InventoryRepository { return settledAtOnce{r} },
		finds:     []sort{needlessRebuild}, faults: []fault{workerKilled, workerPaused},
	},
	{
		name:   "confirm without the expiry condition",
		breaks: "a hold whose time is over is confirmed",
		functions: []mutation{
			{"change_orders", "r.status = 'held' and r.expires_at <= v_now and r.action in ('confirm', 'extend')", "false"},
		},
		finds: []sort{notLinearizable}, faults: []fault{scriptFlush, capacities}, checkEvery: 4 * time.Second,
	},
	{
		name:   "no limit check at commit",
		breaks: "a customer gets more than their limit",
		functions: []mutation{
			{"beyond_limits", "where a.units + lastunit.used_by_customer(a.customer, s.sku) > s.customer_limit", "where false"},
			{"decide_orders", "v_used[v_pair[l]] + p_unit_quantities[l] > v_limit[k]", "false"},
		},
		finds: []sort{notLinearizable}, faults: []fault{scriptFlush},
	},
	{
		name:      "no capacity check when an order is reclaimed",
		breaks:    "a payment that comes too late oversells",
		functions: []mutation{{"change_orders", "s.allocated + r.quantities[u] > s.capacity", "false"}},
		finds:     []sort{oversold}, faults: []fault{scriptFlush, capacities},
	},
	{
		name:   "the content of a repeated ID is not compared",
		breaks: "a customer is told that they have the order of somebody else",
		store:  func(s order.Store) order.Store { return sameForAll{s} },
		finds:  []sort{wrongAnswer, notLinearizable}, faults: []fault{scriptFlush},
	},
}

// sameForAll is a Store that takes whatever has an ID for what was asked for.
type sameForAll struct{ order.Store }

func (s sameForAll) Commit(ctx context.Context, commits []order.Commit) ([]order.Outcome, []order.Counters, error) {
	outcomes, counters, err := s.Store.Commit(ctx, commits)
	return s.agree(outcomes), counters, err
}

func (s sameForAll) Look(ctx context.Context, commits []order.Commit) ([]order.Outcome, []order.Counters, error) {
	outcomes, counters, err := s.Store.Look(ctx, commits)
	return s.agree(outcomes), counters, err
}

func (sameForAll) agree(outcomes []order.Outcome) []order.Outcome {
	for i := range outcomes {
		if outcomes[i].Verdict == order.VerdictConflict {
			outcomes[i].Verdict = order.VerdictExisting
		}
	}
	return outcomes
}

// neverInDoubt is a Store that takes a commit whose answer was lost for one that
// never was.
type neverInDoubt struct{ order.Store }

func (s neverInDoubt) Commit(ctx context.Context, commits []order.Commit) ([]order.Outcome, []order.Counters, error) {
	outcomes, counters, err := s.Store.Commit(ctx, commits)
	if errors.Is(err, order.ErrOutcomeUnknown) {
		err = fmt.Errorf("%w: %s", order.ErrUnavailable, err.Error())
	}
	return outcomes, counters, err
}

// neverSeen is a Store that knows no order when it is asked for one.
type neverSeen struct{ order.Store }

func (s neverSeen) Look(ctx context.Context, commits []order.Commit) ([]order.Outcome, []order.Counters, error) {
	outcomes, counters, err := s.Store.Look(ctx, commits)
	for i := range outcomes {
		outcomes[i] = order.Outcome{Verdict: order.VerdictNew, Used: outcomes[i].Used}
	}
	return outcomes, counters, err
}

// settledAtOnce is a repository that forgets a deduction as soon as it was made.
type settledAtOnce struct{ inventory.InventoryRepository }

func (r settledAtOnce) Deduct(ctx context.Context, request inventory.Request) (inventory.Deduction, error) {
	d, err := r.InventoryRepository.Deduct(ctx, request)
	if err == nil {
		// The first version there is: it brings no supply.
		err = r.Settle(ctx, inventory.Supply{SKU: d.SKU, Store: d.Store, Epoch: d.Epoch, Version: 1}, d)
	}
	return d, err
}

// bugNamed is a planted bug; the empty name is that of none.
func bugNamed(name string) *bug {
	if name == "" {
		return &bug{}
	}
	for _, b := range bugs {
		if b.name == name {
			return b
		}
	}
	panic("no such bug: " + name)
}

// among is where what the bug breaks is among what was found; -1 if it is not.
func (b *bug) among(problems []problem) int {
	return slices.IndexFunc(problems, func(p problem) bool { return slices.Contains(b.finds, p.sort) })
}

// Every bug of the list is found: a few by the plain run, all of them with
// LASTUNIT_FAULTS=full.
func TestPlantedBugs(t *testing.T) {
	for _, b := range bugs {
		if !b.quick && os.Getenv("LASTUNIT_FAULTS") != "full" {
			continue
		}
		t.Run(b.name, func(t *testing.T) {
			length := 4 * time.Second
			if b.quick {
				length = time.Second
			}
			var others []problem
			for seed := range uint64(6) {
				var problems []problem
				if b.scene != nil {
					problems = b.scene.play(t, b.name)
				} else {
					problems = plan{seed: seed, length: length, faults: b.faults, bug: b.name, checkEvery: b.checkEvery}.play(t)
				}
				if !b.active() {
					t.Fatal("the bug was never met")
				}
				if at := b.among(problems); at >= 0 {
					t.Logf("found with seed %d: %s", seed, problems[at])
					return
				}
				others = append(others, problems...)
			}
			t.Errorf("nothing found it, but %v", others)
		})
	}
}
