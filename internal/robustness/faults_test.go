package robustness

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"
)

// fault is a way to break something. It returns when whatever it broke works again.
type fault struct {
	name  string
	loses bool // Redis may lose something by it, or is rebuilt
	run   func(r *run, s stroke)
}

// stroke is one fault of a schedule.
type stroke struct {
	fault fault
	pause time.Duration // before it
	lasts time.Duration // of those that last
	pick  int           // of those that choose somebody
}

func (s stroke) String() string {
	return fmt.Sprintf("after %v: %s (for %v, %d)", s.pause, s.fault.name, s.lasts, s.pick)
}

// The faults. Together they are those of a machine, a network and an operator.
var (
	redisKilled = fault{"Redis is killed, and comes back with its data", false, func(r *run, _ stroke) {
		r.redis.Restart()
	}}
	redisLost = fault{"Redis is killed, and comes back empty", true, func(r *run, _ stroke) {
		r.redis.Kill()
		r.redis.Wipe()
		r.redis.Restart()
	}}
	flushAll = fault{"FLUSHALL", true, func(r *run, _ stroke) {
		r.try(r.admin.FlushAll(context.Background()).Err())
	}}
	scriptFlush = fault{"SCRIPT FLUSH", false, func(r *run, _ stroke) {
		r.try(r.admin.ScriptFlush(context.Background()).Err())
	}}
	oneDeleted = fault{"the keys of one SKU are deleted", true, func(r *run, s stroke) {
		skus := r.onSale().SKUs
		r.try(r.admin.Del(context.Background(), r.key(skus[s.pick%len(skus)])).Err())
	}}
	snapshot = fault{"an old snapshot of the stock comes back", true, func(r *run, s stroke) {
		skus := r.onSale().SKUs
		old := make([]map[string]string, len(skus))
		for i, sku := range skus {
			old[i] = r.admin.HGetAll(context.Background(), r.key(sku)).Val()
		}
		time.Sleep(s.lasts) // how old it is
		for i, sku := range skus {
			if len(old[i]) == 0 {
				continue
			}
			_, err := r.admin.TxPipelined(context.Background(), func(pipe redis.Pipeliner) error {
				pipe.Del(context.Background(), r.key(sku))
				pipe.HSet(context.Background(), r.key(sku), old[i])
				return nil
			})
			r.try(err)
		}
	}}
	redisPaused = fault{"Redis stands still", false, func(r *run, s stroke) {
		r.redis.Pause()
		time.Sleep(s.lasts)
		r.redis.Resume()
	}}
	postgresPaused = fault{"Postgres stands still", false, func(r *run, s stroke) {
		r.postgres.Pause()
		time.Sleep(s.lasts)
		r.postgres.Resume()
	}}
	postgresKilled = fault{"Postgres is killed and restarted", false, func(r *run, _ stroke) {
		r.postgres.Restart()
	}}
	workerPaused = fault{"a worker stands still", false, func(r *run, s stroke) {
		r.workers[s.pick%len(r.workers)].standStill(2 * s.lasts)
	}}
	workerKilled = fault{"a worker is killed, and another one started", false, func(r *run, s stroke) {
		r.replace(s.pick % len(r.workers))
	}}
	connectionsCut = fault{"every connection is cut", false, func(r *run, _ stroke) {
		r.redisProxy.CutAll()
		r.postgresProxy.CutAll()
	}}
	redisUnheard = fault{"replies of Redis to scripts are dropped", false, func(r *run, s stroke) {
		r.redisProxy.DropReplyTo(1+s.pick%10, func(request []byte) bool { return bytes.Contains(request, []byte("evalsha")) })
	}}
	postgresUnheard = fault{"replies of Postgres are dropped", false, func(r *run, s stroke) {
		r.postgresProxy.DropReplies(1 + s.pick%6)
	}}
	commitUnheard = fault{"replies of Postgres to commits are dropped", false, func(r *run, s stroke) {
		// No other call tells the customers.
		r.postgresProxy.DropReplyTo(1+s.pick%4, func(request []byte) bool { return bytes.Contains(request, []byte(customerOf(""))) })
	}}
	rebuilding = fault{"every SKU is rebuilt all the time", true, func(r *run, s stroke) {
		for end := time.Now().Add(s.lasts); time.Now().Before(end); {
			for _, sku := range r.onSale().SKUs {
				r.try(r.keeper.Rebuild(context.Background(), sku))
			}
		}
	}}
	rightTaken = fault{"Redis's user loses a right for a while", true, func(r *run, s stroke) {
		right := []string{"hset", "hdel", "hmget", "evalsha"}[s.pick%4]
		r.try(r.admin.Do(context.Background(), "ACL", "SETUSER", "default", "-"+right).Err())
		time.Sleep(s.lasts)
		r.try(r.admin.Do(context.Background(), "ACL", "SETUSER", "default", "+"+right).Err())
	}}
	pausing = fault{"the sale is paused for a while", false, func(r *run, s stroke) {
		skus := r.onSale().SKUs
		admin := r.client()
		for _, sku := range skus {
			admin.setPaused(pause, sku)
		}
		time.Sleep(s.lasts / 4)
		r.resumeAll(skus)
	}}
	capacities = fault{"capacities go down and up", false, func(r *run, _ stroke) {
		admin := r.client()
		for range 4 {
			for _, sku := range r.onSale().SKUs {
				admin.adjust(sku)
			}
		}
	}}
)

// all are the faults, those of them after which Redis has all that it had, and those
// that are none of Redis.
var (
	all = []fault{
		redisKilled, redisLost, flushAll, scriptFlush, oneDeleted, snapshot, redisPaused, postgresPaused, postgresKilled,
		workerPaused, workerKilled, connectionsCut, redisUnheard, postgresUnheard, commitUnheard, rebuilding, rightTaken, capacities, pausing,
	}
	lossless = slices.DeleteFunc(slices.Clone(all), func(f fault) bool { return f.loses })

	postgresAlone = []fault{
		postgresPaused, postgresKilled, workerPaused, workerKilled, connectionsCut, postgresUnheard, commitUnheard, capacities, pausing,
	}
)

// schedule draws as many strokes as a run can use: each of the faults comes once
// before any of them comes again.
func schedule(random *rand.Rand, faults []fault, length time.Duration) []stroke {
	var strokes []stroke
	var deck []fault
	for planned := time.Duration(0); planned < length; {
		if len(deck) == 0 {
			deck = slices.Clone(faults)
			random.Shuffle(len(deck), func(i, j int) { deck[i], deck[j] = deck[j], deck[i] })
		}
		s := stroke{
			fault: deck[0],
			pause: time.Duration(50+random.IntN(250)) * time.Millisecond,
			lasts: time.Duration(50+random.IntN(600)) * time.Millisecond,
			pick:  random.IntN(1000),
		}
		deck = deck[1:]
		planned += s.pause
		strokes = append(strokes, s)
	}
	return strokes
}
