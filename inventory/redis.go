package inventory

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lastunit/lastunit/internal/gather"
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

	deducts [lanes]*gather.Gather[deductCall, deducted] // see lane
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
// never closes the client.
func NewRedis(client redis.UniversalClient, options ...Option) *Redis {
	r := &Redis{client: client, keys: keys{prefix: DefaultKeyPrefix}}
	for _, option := range options {
		option(r)
	}
	for lane := range r.deducts {
		r.deducts[lane] = gather.New(gather.Config{Batch: scriptBatch, Queue: maxQueue, Timeout: 2 * DeductTimeout, CallerCarries: true}, r.deductBatch)
	}
	return r
}

// Load implements InventoryRepository.
func (r *Redis) Load(ctx context.Context, supplies ...Supply) error {
	if err := checkLoad(supplies); err != nil {
		return err
	}
	load := bulk{
		redis: r, script: loadScript, did: "load",
		of: func(i int) (string, []any) {
			s := supplies[i]
			return s.SKU, append([]any{s.Store, s.Epoch, s.Version, s.Units}, s.termArguments()...)
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
	head := append([]any{supply.Store, supply.Epoch, supply.Version, supply.Units, supply.Admitted}, supply.termArguments()...)
	full := len(head) + 2*scriptBatch
	arguments := make([]any, len(head), len(head)+2*min(len(deductions), scriptBatch))
	copy(arguments, head)
	for _, d := range deductions {
		if d.Epoch != supply.Epoch || d.Store != supply.Store {
			continue // void
		}
		if len(arguments) == full {
			if _, err := r.run(ctx, settleScript, "settle", supply.SKU, arguments...); err != nil {
				return err
			}
			arguments = arguments[:len(head)]
		}
		arguments = append(arguments, d.Attempt, d.Seq)
	}
	_, err := r.run(ctx, settleScript, "settle", supply.SKU, arguments...)
	return err
}

// Restore implements InventoryRepository.
func (r *Redis) Restore(ctx context.Context, deductions ...Deduction) error {
	if err := checkRestore(deductions); err != nil {
		return err
	}
	type life struct {
		sku, store string
		epoch      int64
	}
	calls := make(map[life][]any)
	for _, d := range deductions {
		of := life{d.SKU, d.Store, d.Epoch}
		if calls[of] == nil {
			calls[of] = []any{d.Store, d.Epoch}
		}
		calls[of] = append(calls[of], d.Attempt, d.Seq)
	}
	var failed error
	for of, arguments := range calls {
		for rest := arguments[2:]; len(rest) > 0; {
			page := rest[:min(len(rest), 2*scriptBatch)]
			rest = rest[len(page):]
			_, err := r.run(ctx, restoreScript, "restore", of.sku, append(arguments[:2:2], page...)...)
			// Counters that were lost took the deductions with them.
			if why := (*NotLoadedError)(nil); err != nil && (!errors.As(err, &why) || why.Why == WhyGarbage) {
				failed = errors.Join(failed, err)
			}
		}
	}
	return failed
}

// Unsettled implements InventoryRepository.
func (r *Redis) Unsettled(ctx context.Context, store, sku string, age time.Duration, limit int) ([]Deduction, error) {
	if err := checkUnsettled(store, sku, age, limit); err != nil {
		return nil, err
	}
	var found []Deduction
	seen := make(map[string]bool) // HSCAN may repeat itself
	for cursor := "0"; ; {
		reply, err := r.run(ctx, unsettledScript, "list unsettled", sku, store, age.Milliseconds(), cursor, scriptBatch)
		if err != nil {
			return nil, err
		}
		epoch := reply.number(2)
		for i := 3; i+1 < len(reply.values); i += 2 {
			d, err := parseDeduction(reply.text(i), reply.text(i+1))
			if err != nil {
				return nil, &NotLoadedError{sku, WhyGarbage}
			}
			if seen[d.Attempt] {
				continue
			}
			seen[d.Attempt] = true
			d.SKU, d.Store, d.Epoch = sku, store, epoch
			if found = append(found, d); len(found) == limit {
				return found, reply.err
			}
		}
		if cursor = reply.text(1); cursor == "0" || reply.err != nil {
			return found, reply.err
		}
	}
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
