package inventory

import (
	"context"
	"errors"

	"github.com/redis/go-redis/v9"
)

// bulkPage is how many calls of a script go in one pipeline: enough that the
// round trips hardly count, few enough that Redis sees to others in between.
const bulkPage = 2500

// bulk is one script that runs on many SKUs, in pipelines.
type bulk struct {
	redis  *Redis
	script *redis.Script
	did    string
	// of is the SKU of the i-th call, and its arguments.
	of func(i int) (sku string, arguments []any)
	// answer takes the reply or the definite error of the i-th call, or the
	// error of a call that came to nothing. What it returns ends the run.
	answer func(i int, reply *reply, err error) error
}

// run makes n calls. Those that got no answer in a pipeline are made again.
func (b *bulk) run(ctx context.Context, n int) error {
	for from := 0; from < n; from += bulkPage {
		calls := make([]int, min(bulkPage, n-from))
		for i := range calls {
			calls[i] = from + i
		}
		if err := b.page(ctx, calls); err != nil {
			return err
		}
	}
	return nil
}

// page makes calls until each is answered. A first pipeline trusts Redis to know
// the script; those after it bring it along, so that a Redis that forgot it costs
// one round trip (in a cluster, one for each node that did). Where nothing of a
// pipeline is answered, a call alone tells what is wrong, or that it is over.
func (b *bulk) page(ctx context.Context, calls []int) error {
	for stuck, bring := false, false; len(calls) > 1; bring = true {
		left, unknown, err := b.pipeline(ctx, calls, bring)
		if err != nil {
			return err
		}
		if len(left) == len(calls) && (bring || !unknown) {
			if stuck {
				break // pipelines get nowhere, and calls alone do
			}
			stuck = true
			if err := b.alone(ctx, left[:1]); err != nil {
				return err
			}
			left = left[1:]
		}
		calls = left
	}
	return b.alone(ctx, calls)
}

// pipeline makes calls in one round trip, and returns those without an answer;
// unknown says that Redis didn't know the script of the first of them.
func (b *bulk) pipeline(ctx context.Context, calls []int, bring bool) (left []int, unknown bool, err error) {
	if err := ctx.Err(); err != nil {
		sku, _ := b.of(calls[0])
		return nil, false, unavailable(b.did, sku, err)
	}
	// The error is that of a command, which is looked at below, or that of a
	// connection. Then commands may be without one, and without a value.
	commands, _ := b.redis.client.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		for n, i := range calls {
			sku, arguments := b.of(i)
			send := b.script.EvalSha
			if bring && n == 0 {
				send = b.script.Eval
			}
			send(ctx, pipe, []string{b.redis.keys.stock(sku)}, arguments...)
		}
		return nil
	})
	for n, i := range calls {
		var command *redis.Cmd
		if n < len(commands) {
			command, _ = commands[n].(*redis.Cmd)
		}
		if command == nil {
			left = append(left, i)
			continue
		}
		sku, _ := b.of(i)
		reply, err := judge(b.did, sku, command)
		if errors.Is(err, ErrUnavailable) {
			unknown = unknown || len(left) == 0 && redis.HasErrorPrefix(command.Err(), "NOSCRIPT")
			left = append(left, i)
			continue
		}
		if err := b.answer(i, reply, err); err != nil {
			return nil, false, err
		}
	}
	return left, unknown, nil
}

// alone makes calls one by one.
func (b *bulk) alone(ctx context.Context, calls []int) error {
	for _, i := range calls {
		sku, arguments := b.of(i)
		reply, err := b.redis.run(ctx, b.script, b.did, sku, arguments...)
		if err := b.answer(i, reply, err); err != nil {
			return err
		}
	}
	return nil
}
