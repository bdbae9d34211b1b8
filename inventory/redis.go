package inventory

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// Redis is the InventoryRepository in Redis 7.0 or newer, alone, with replicas
// or as a cluster. Each SKU is one hash; each method is one script, which Redis
// runs as a whole or not at all; Load and Stock send theirs in pipelines, one
// for 2,500 SKUs. Make one with NewRedis.
//
// It is correct whatever the client's settings are: a script that the client
// sends again after a lost reply has no second effect. Errors that Redis answers
// with while it cannot serve (OOM, READONLY, NOREPLICAS, LOADING, CLUSTERDOWN,
// BUSY and so on) are ErrUnavailable.
type Redis struct {
	client redis.UniversalClient
	keys   keys
	// ahead is how many milliseconds Redis's clock is ahead of ours, as of the
	// last reply; asked says that there was one. In a cluster it is some node's.
	ahead atomic.Int64
	asked atomic.Bool

	nodes  nodes // where the keys are, if not on one server
	shared *node // of a client of one server, and of what is nobody knows where

	replicas     int // that Accept waits for, and for how long
	replicasWait time.Duration
}

var _ InventoryRepository = (*Redis)(nil)

// Option changes a Redis repository as it is made.
type Option func(*Redis)

// WithKeyPrefix changes what all keys begin with. Two order stores that share a
// Redis need two prefixes. Defaults to DefaultKeyPrefix.
func WithKeyPrefix(prefix string) Option {
	return func(r *Redis) { r.keys.prefix = tag.Replace(prefix) }
}

// NewRedis makes a repository over the caller's client. It sends nothing, and
// never closes the client. Of a nil client it makes a nil repository, which booking.New
// refuses.
func NewRedis(client redis.UniversalClient, options ...Option) *Redis {
	if v := reflect.ValueOf(client); !v.IsValid() || v.Kind() == reflect.Pointer && v.IsNil() {
		return nil
	}
	r := &Redis{client: client, keys: keys{prefix: DefaultKeyPrefix}}
	for _, option := range options {
		option(r)
	}
	r.nodes.find(client)
	r.shared = r.newNode()
	return r
}

// Load implements InventoryRepository.
func (r *Redis) Load(ctx context.Context, supplies ...Supply) error {
	if err := checkLoad(supplies); err != nil {
		return err
	}
	if r.nodes.client == nil {
		return r.load(ctx, supplies)
	}
	parts := r.parts(ctx, len(supplies), func(i int) string { return supplies[i].SKU })
	return each(parts, func(p part) error { return r.load(ctx, pick(p, supplies)) })
}

// load loads what is on one node, or on the only server.
func (r *Redis) load(ctx context.Context, supplies []Supply) error {
	load := bulk{
		redis: r, script: loadScript, did: "load",
		of: func(i int) (string, []any) {
			s := supplies[i]
			return s.SKU, append(append([]any{s.Store, s.Epoch, s.Version, s.Units}, s.termArguments()...), s.Replaces)
		},
		answer: func(_ int, _ *reply, err error) error { return err },
	}
	return load.run(ctx, len(supplies))
}

// termArguments are the terms as load.lua and settle.lua take them.
func (t Terms) termArguments() []any {
	opensAt, closesAt := t.window()
	return []any{t.CustomerLimit, opensAt, closesAt, flag(t.Paused)}
}

// flag is a truth as the scripts take it.
func flag(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// Push implements InventoryRepository.
func (r *Redis) Push(ctx context.Context, supply Supply) error {
	return r.Settle(ctx, supply)
}

// scriptBatch is how many deductions one call of a script handles: enough to
// make the round trip cheap, few enough that Redis is back within a millisecond
// or so.
const scriptBatch = 500

// Settle implements InventoryRepository.
func (r *Redis) Settle(ctx context.Context, supply Supply, deductions ...Deduction) error {
	// All are looked at before the first batch goes out.
	if err := checkSettle(supply, deductions); err != nil {
		return err
	}
	live := make([]*Deduction, 0, len(deductions))
	for i := range deductions {
		if d := &deductions[i]; d.Epoch == supply.Epoch && d.Store == supply.Store {
			live = append(live, d) // the others are void
		}
	}
	head := append([]any{supply.Store, supply.Epoch, supply.Version, supply.Units, supply.Admitted}, supply.termArguments()...)
	settle := bulk{
		redis: r, script: settleScript, did: "settle",
		of: func(page int) (string, []any) {
			from := page * scriptBatch
			return supply.SKU, appendIdentities(head, live[from:min(from+scriptBatch, len(live))])
		},
		answer: func(_ int, _ *reply, err error) error { return err },
	}
	// Without deductions it is still a push.
	return settle.run(ctx, max(1, (len(live)+scriptBatch-1)/scriptBatch))
}

// appendIdentities returns arguments with the attempts and seqs of deductions
// after them. These are pointers, which cost no allocation each.
func appendIdentities(head []any, deductions []*Deduction) []any {
	arguments := make([]any, len(head), len(head)+2*len(deductions))
	copy(arguments, head)
	for _, d := range deductions {
		arguments = append(arguments, &d.Attempt, &d.Seq)
	}
	return arguments
}

// Restore implements InventoryRepository. Calls that come while others are under
// way travel together, in one call of the script for each epoch of a SKU.
func (r *Redis) Restore(ctx context.Context, deductions ...Deduction) error {
	if err := checkRestore(deductions); err != nil || len(deductions) == 0 {
		return err
	}
	if len(deductions) == 1 || r.nodes.client == nil {
		deductions = slices.Clone(deductions) // a caller that leaves may change its own
		return r.restore(ctx, r.nodeOf(ctx, deductions[0].SKU), deductions)
	}
	parts := r.parts(ctx, len(deductions), func(i int) string { return deductions[i].SKU })
	return each(parts, func(p part) error { return r.restore(ctx, p.node, pick(p, deductions)) })
}

// restore restores what is on one node.
func (r *Redis) restore(ctx context.Context, n *node, deductions []Deduction) error {
	sku := deductions[0].SKU
	failed, err := n.restores[lane(sku)].Do(ctx, deductions)
	if err != nil {
		return unavailable("restore", sku, err)
	}
	return failed
}

// restoreBatch carries calls out, all in one round trip.
func (r *Redis) restoreBatch(ctx context.Context, calls [][]Deduction) ([]error, error) {
	var all []*Deduction
	var callers []int // of each deduction
	for caller, deductions := range calls {
		for i := range deductions {
			all = append(all, &deductions[i])
			callers = append(callers, caller)
		}
	}
	groups := groupsOf(len(all), func(i, j int) int { return compareLives(all[i], all[j]) })
	failed := make([]error, len(calls))
	together := bulk{
		redis: r, script: restoreScript, did: "restore",
		of: func(g int) (string, []any) {
			group := make([]*Deduction, len(groups[g]))
			for n, i := range groups[g] {
				group[n] = all[i]
			}
			return group[0].SKU, appendIdentities([]any{group[0].Store, group[0].Epoch, flag(group[0].Accepted != "")}, group)
		},
		answer: func(g int, _ *reply, err error) error {
			// Counters that were lost took the deductions with them.
			if why := (*NotLoadedError)(nil); err == nil || errors.As(err, &why) && why.Why != WhyGarbage && why.Why != WhyFormat {
				return nil
			}
			for _, i := range groups[g] {
				if caller := callers[i]; !errors.Is(failed[caller], err) { // it may have several in the group
					failed[caller] = errors.Join(failed[caller], err)
				}
			}
			return nil
		},
	}
	if err := together.run(ctx, len(groups)); err != nil {
		return nil, err
	}
	return failed, nil
}

// compareLives is 0 for deductions of one epoch of a SKU, all of accepted orders
// that are done with, or none.
func compareLives(a, b *Deduction) int {
	return cmp.Or(strings.Compare(a.SKU, b.SKU), strings.Compare(a.Store, b.Store), cmp.Compare(a.Epoch, b.Epoch),
		cmp.Compare(flag(a.Accepted != ""), flag(b.Accepted != "")))
}

const listsUnsettled = "list unsettled"

// Unsettled implements InventoryRepository.
func (r *Redis) Unsettled(ctx context.Context, store, sku string, age time.Duration, limit int) ([]Deduction, error) {
	if err := checkUnsettled(store, sku, age, limit); err != nil {
		return nil, err
	}
	var found []Deduction
	seen := make(map[string]bool) // HSCAN may repeat itself
	for cursor := "0"; ; {
		reply, err := patiently(ctx, r.nodeOf(ctx, sku), didFor(listsUnsettled, sku), func() (*reply, error) {
			return r.run(ctx, unsettledScript, listsUnsettled, sku, store, age.Milliseconds(), cursor, scriptBatch)
		})
		if err != nil {
			return nil, err
		}
		epoch := reply.number(2)
		for i := 3; i+2 < len(reply.values); i += 3 {
			d, err := parseDeduction(reply.text(i), reply.text(i+1))
			if err != nil {
				return nil, &NotLoadedError{sku, WhyGarbage}
			}
			if seen[d.Attempt] {
				continue
			}
			seen[d.Attempt] = true
			d.SKU, d.Store, d.Epoch, d.Accepted = sku, store, epoch, reply.text(i+2)
			if found = append(found, d); len(found) == limit {
				return found, reply.err
			}
		}
		if cursor = reply.text(1); cursor == "0" || reply.err != nil {
			return found, reply.err
		}
	}
}

// Remove implements InventoryRepository.
func (r *Redis) Remove(ctx context.Context, store, sku string, epoch int64) (accepted int64, _ error) {
	if err := checkRemove(store, sku, epoch); err != nil {
		return 0, err
	}
	reply, err := r.run(ctx, removeScript, "remove", sku, store, epoch)
	if err != nil {
		return 0, err
	}
	if reply.text(0) == "accepted" {
		accepted = reply.number(1)
	}
	return accepted, reply.err
}

// run runs a script on a SKU's stock hash, in a call alone.
func (r *Redis) run(ctx context.Context, script *redis.Script, did, sku string, arguments ...any) (*reply, error) {
	if err := ctx.Err(); err != nil {
		return nil, unavailable(did, sku, err)
	}
	return judge(did, sku, script.Run(ctx, r.client, []string{r.keys.stock(sku)}, arguments...))
}

// judge tells the errors of a script's call apart.
func judge(did, sku string, call *redis.Cmd) (*reply, error) {
	result, err := call.Slice()
	switch {
	case err == nil:
	case wrongType(err):
		return nil, &NotLoadedError{sku, WhyGarbage}
	case redis.HasErrorPrefix(err, "LASTUNIT "):
		return nil, fmt.Errorf("%s SKU %q: %w: %w", did, sku, ErrInvalid, err)
	default:
		return nil, unavailable(did, sku, err)
	}
	answer := &reply{values: result}
	if answer.text(0) == "unusable" {
		return nil, &NotLoadedError{sku, Why(answer.text(len(result) - 1))}
	}
	return answer, answer.err
}

// wrongType looks for more than the first word, which may be in a SKU that an
// error quotes, and not only at the start, where miniredis says more.
func wrongType(err error) bool {
	return strings.Contains(err.Error(), "WRONGTYPE Operation against a key")
}
