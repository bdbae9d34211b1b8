package inventory

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"
)

// WithReplicas makes Accept wait, at most for the timeout, until so many replicas
// have what it has kept (Redis's WAIT). It lowers the risk that a failover loses
// an accepted order, and promises nothing: a replica that had the order may not
// be the one that takes over. Acceptance.Replicas says how many had it; fewer
// than asked for are no error. Each wait holds up the orders behind it. Fewer than one
// replica is none, and a timeout below 1 ms is 1 ms; it must be shorter than the client's
// ReadTimeout. It needs the right to WAIT, and a *redis.Client or *redis.ClusterClient; with any other client
// nobody is asked.
func WithReplicas(replicas int, timeout time.Duration) Option {
	return func(r *Redis) { r.replicas, r.replicasWait = max(0, replicas), max(time.Millisecond, timeout) }
}

// acceptCall is one call of Accept as it travels with others.
type acceptCall struct {
	accepted   string
	deductions []Deduction
}

// accepted is what became of it.
type accepted struct {
	Acceptance
	err error
}

// Accept implements InventoryRepository. Calls that come while others are under
// way travel together, as those of Deduct.
func (r *Redis) Accept(ctx context.Context, order string, deductions ...Deduction) (Acceptance, error) {
	if err := checkAccept(order, deductions); err != nil {
		return Acceptance{}, err
	}
	if len(deductions) == 1 || r.nodes.client == nil {
		deductions = slices.Clone(deductions) // a caller that leaves may change its own
		return r.acceptAt(ctx, r.nodeOf(ctx, deductions[0].SKU), order, deductions)
	}
	parts := r.parts(ctx, len(deductions), func(i int) string { return deductions[i].SKU })
	keeping, replicas := make([]Keeping, len(deductions)), make([]int, len(deductions))
	err := each(parts, func(p part) error {
		answer, err := r.acceptAt(ctx, p.node, order, pick(p, deductions))
		if err != nil {
			return err
		}
		for n, i := range p.at {
			keeping[i], replicas[i] = answer.Keeping[n], answer.Replicas
		}
		return nil
	})
	return Acceptance{Keeping: keeping, Replicas: slices.Min(replicas)}, err
}

// acceptAt accepts what is on one node.
func (r *Redis) acceptAt(ctx context.Context, n *node, order string, deductions []Deduction) (Acceptance, error) {
	sku := deductions[0].SKU
	answer, err := n.accepts[lane(sku)].Do(ctx, acceptCall{order, deductions})
	if err != nil {
		return Acceptance{}, unavailable("accept", sku, err)
	}
	return answer.Acceptance, answer.err
}

// beside names a deduction of a call.
type beside struct{ call, deduction int }

// acceptBatch carries calls out: what is of one SKU and epoch in one call of the
// script, all of these in one round trip.
func (r *Redis) acceptBatch(ctx context.Context, calls []acceptCall) ([]accepted, error) {
	answers := make([]accepted, len(calls))
	var all []beside
	for i, call := range calls {
		answers[i].Keeping = make([]Keeping, len(call.deductions))
		answers[i].Replicas = r.replicas
		for d := range call.deductions {
			all = append(all, beside{i, d})
		}
	}
	of := func(i int) *Deduction { return &calls[all[i].call].deductions[all[i].deduction] }
	groups := groupsOf(len(all), func(i, j int) int { return compareLives(of(i), of(j)) })
	together := bulk{
		redis: r, script: acceptScript, did: "accept",
		of: func(g int) (string, []any) {
			first := of(groups[g][0])
			arguments := make([]any, 0, 2+3*len(groups[g]))
			arguments = append(arguments, first.Store, first.Epoch)
			for _, i := range groups[g] {
				d := of(i)
				arguments = append(arguments, &d.Attempt, &d.Seq, &calls[all[i].call].accepted)
			}
			return first.SKU, arguments
		},
		answer: func(g int, reply *reply, err error) error {
			for n, i := range groups[g] {
				answers[all[i].call].hear(all[i].deduction, reply, n+1, err)
			}
			return nil
		},
	}
	if r.replicas <= 0 {
		return answers, together.run(ctx, len(groups))
	}
	for g, group := range groups {
		replicas := r.acceptAndWait(ctx, &together, g)
		for _, i := range group {
			answers[all[i].call].Replicas = min(answers[all[i].call].Replicas, replicas)
		}
	}
	return answers, nil
}

// hear reads the answer about one deduction: a value of the reply, or the error.
func (a *accepted) hear(deduction int, reply *reply, at int, err error) {
	var unusable *NotLoadedError
	switch {
	case errors.As(err, &unusable):
		a.Keeping[deduction] = Gone // with the counters
	case err != nil:
		a.err = errors.Join(a.err, err)
	default:
		switch answer := reply.text(at); answer {
		case "kept":
			a.Keeping[deduction] = Kept
		case "gone":
			a.Keeping[deduction] = Gone
		case "first":
			a.Keeping[deduction] = DecideFirst
		case "other":
			a.err = errors.Join(a.err, errOtherOrder())
		default:
			a.err = errors.Join(a.err, reply.unknown("accept", ""))
		}
	}
}

// acceptAndWait makes one of the calls with a WAIT behind it on the same
// connection, and returns how many replicas had it. What gets no answer is made
// again without.
func (r *Redis) acceptAndWait(ctx context.Context, calls *bulk, i int) (replicas int) {
	sku, arguments := calls.of(i)
	key := r.keys.stock(sku)
	var node *redis.Client
	switch client := r.client.(type) {
	case *redis.Client:
		node = client
	case *redis.ClusterClient:
		node, _ = client.MasterForKey(ctx, key)
	}
	if node != nil {
		var kept *redis.Cmd
		waited := redis.NewIntCmd(ctx, "wait", r.replicas, r.replicasWait.Milliseconds())
		_, _ = node.Pipelined(ctx, func(pipe redis.Pipeliner) error {
			kept = calls.script.Eval(ctx, pipe, []string{key}, arguments...) // Redis may not know it yet, and to ask twice is two connections
			return pipe.Process(ctx, waited)
		})
		if reply, err := judge(calls.did, sku, kept); !errors.Is(err, ErrUnavailable) {
			_ = calls.answer(i, reply, err)
			return int(max(0, waited.Val()))
		}
	}
	reply, err := r.run(ctx, calls.script, calls.did, sku, arguments...)
	_ = calls.answer(i, reply, err)
	return 0
}
