package inventory

import (
	"cmp"
	"context"
	"hash/fnv"
	"slices"
	"strings"
	"time"

	"github.com/lastunit/lastunit/internal/gather"
)

// DeductTimeout bounds how long a copy of a Deduct that is still on its way can
// do anything, if its context has no earlier deadline.
const DeductTimeout = 5 * time.Second

const (
	// lanes is how many batches of deductions may be under way at once. Each SKU
	// keeps to one of them, so that what comes while one is under way gathers.
	lanes = 4

	// maxQueue bounds the calls that wait in one process.
	maxQueue = 100_000
)

// lane is where the deductions of a SKU gather.
func (r *Redis) lane(sku string) *gather.Gather[deductCall, deducted] {
	hash := fnv.New32a()
	hash.Write([]byte(sku))
	return r.deducts[hash.Sum32()%lanes]
}

// deductCall is one call of Deduct as it travels with others.
type deductCall struct {
	Request
	by       time.Time // when its caller will have given up, on the monotonic clock
	deadline int64     // the same by Redis's clock, in milliseconds
}

// deducted is what became of it.
type deducted struct {
	deduction Deduction
	err       error
	late      bool // by Redis's clock it came after its deadline
}

// Deduct implements InventoryRepository. Calls that come while others are under
// way travel together, in one call of the script for each SKU. A caller that
// leaves while its call is queued leaves without a trace.
func (r *Redis) Deduct(ctx context.Context, request Request) (Deduction, error) {
	if err := request.check(); err != nil {
		return Deduction{}, err
	}
	for {
		left := DeductTimeout
		if by, ok := ctx.Deadline(); ok {
			left = min(left, time.Until(by))
		}
		answer, err := r.lane(request.SKU).Do(ctx, deductCall{Request: request, by: time.Now().Add(left)})
		switch {
		case err != nil:
			return Deduction{}, unavailable("deduct", request.SKU, err)
		case !answer.late:
			return answer.deduction, answer.err
		}
		// Redis took the deadline for past: our notion of its clock was wrong,
		// or the call was really late. Now we know its clock.
		if err := ctx.Err(); err != nil {
			return Deduction{}, unavailable("deduct", request.SKU, err)
		}
	}
}

// deductBatch carries calls out: those of one SKU in one call of the script, all
// of these in one round trip.
func (r *Redis) deductBatch(ctx context.Context, calls []deductCall) ([]deducted, error) {
	ahead, err := r.clock(ctx, calls[0].SKU)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	for i := range calls {
		calls[i].deadline = now.Add(calls[i].by.Sub(now)).UnixMilli() + ahead
	}
	answers := make([]deducted, len(calls))
	groups := groupDeducts(calls)
	together := bulk{
		redis: r, script: deductScript, did: "deduct",
		of: func(g int) (string, []any) { return deductArguments(calls, groups[g]) },
		answer: func(g int, reply *reply, err error) error {
			r.hearDeducts(calls, groups[g], reply, err, answers)
			return nil
		},
	}
	if err := together.run(ctx, len(groups)); err != nil {
		return nil, err
	}
	return answers, nil
}

// groupDeducts are the indexes of the calls that one call of the script can
// carry out: of one SKU and store, and all cleared or none.
func groupDeducts(calls []deductCall) [][]int {
	all := make([]int, len(calls))
	one := true
	for i := range calls {
		all[i] = i
		one = one && compareCarriers(&calls[i], &calls[0]) == 0
	}
	if one {
		return [][]int{all}
	}
	slices.SortStableFunc(all, func(i, j int) int { return compareCarriers(&calls[i], &calls[j]) })
	var groups [][]int
	for from := 0; from < len(all); {
		to := from + 1
		for to < len(all) && compareCarriers(&calls[all[from]], &calls[all[to]]) == 0 {
			to++
		}
		groups = append(groups, all[from:to])
		from = to
	}
	return groups
}

func compareCarriers(a, b *deductCall) int {
	return cmp.Or(strings.Compare(a.SKU, b.SKU), strings.Compare(a.Store, b.Store), cmp.Compare(flag(a.Cleared), flag(b.Cleared)))
}

// deductArguments are the arguments of the script. Where there are many they are
// pointers, which cost no allocation each.
func deductArguments(calls []deductCall, group []int) (sku string, arguments []any) {
	var known Watermark // the furthest that any of the callers knows of
	for _, i := range group {
		mark := calls[i].Watermark
		if cmp.Or(cmp.Compare(mark.Epoch, known.Epoch), cmp.Compare(mark.Seq, known.Seq)) > 0 {
			known = mark
		}
	}
	first := &calls[group[0]]
	arguments = make([]any, 0, 4+5*len(group))
	arguments = append(arguments, first.Store, known.Epoch, known.Seq, flag(first.Cleared))
	for _, i := range group {
		c := &calls[i]
		arguments = append(arguments, &c.deadline, &c.Attempt, &c.Quantity, &c.OrderID, &c.Customer)
	}
	return first.SKU, arguments
}

// hearDeducts reads the script's reply to a group.
func (r *Redis) hearDeducts(calls []deductCall, group []int, reply *reply, err error, answers []deducted) {
	if err != nil {
		for _, i := range group {
			answers[i].err = err
		}
		return
	}
	now, epoch, version := reply.number(1), reply.number(2), reply.number(3)
	r.hear(now)
	for n, i := range group {
		answers[i] = hearDeduct(&calls[i], reply, n+4, now, epoch, version)
		if reply.err != nil {
			answers[i] = deducted{err: reply.err}
		}
	}
}

// hearDeduct reads the answer to one call: a value of the reply.
func hearDeduct(c *deductCall, whole *reply, at int, now, epoch, version int64) deducted {
	granted := func(seq, version, at int64) deducted {
		return deducted{deduction: Deduction{
			SKU: c.SKU, Store: c.Store, Attempt: c.Attempt, OrderID: c.OrderID, Quantity: c.Quantity,
			Epoch: epoch, Seq: seq, Version: version, At: time.UnixMilli(at),
		}}
	}
	if at < len(whole.values) {
		switch value := whole.values[at].(type) {
		case int64:
			return granted(value, version, now)
		case []any:
			own := &reply{values: value}
			answer := deducted{}
			switch status := own.text(0); status {
			case "again":
				answer = granted(own.number(1), own.number(2), own.number(3))
			case "late":
				answer.late = true
			case "other":
				answer.err = errOtherRequest()
			case "spent":
				answer.err = &NotLoadedError{c.SKU, WhySpent}
			case "paused", "unopened", "closed", "limit", "short":
				answer.err = refusal(&c.Request, status, epoch, version, own.number(1), own.number(2), own.number(3))
			default:
				answer.err = own.unknown("deduct", c.SKU)
			}
			if own.err != nil {
				return deducted{err: own.err}
			}
			return answer
		}
	}
	whole.fail(at)
	return deducted{}
}

// refusal is the error for what the script refuses by the supply and the terms.
func refusal(request *Request, status string, epoch, version, a, b, unsettled int64) error {
	switch status {
	case "short":
		return shortOf(request.SKU, request.Quantity, a, unsettled, epoch, version)
	case "limit":
		return &LimitError{
			SKU: request.SKU, Limit: a, Requested: request.Quantity, InFlight: b,
			Unsettled: unsettled, Epoch: epoch, Version: version,
		}
	}
	why := map[string]error{"paused": ErrPaused, "unopened": ErrNotOpen, "closed": ErrClosed}[status]
	return &WindowError{
		SKU: request.SKU, OpensAt: fromWindow(a), ClosesAt: fromWindow(b), Err: why,
		Unsettled: unsettled, Epoch: epoch, Version: version,
	}
}

// clock is how many milliseconds Redis's clock is ahead of ours.
func (r *Redis) clock(ctx context.Context, sku string) (int64, error) {
	if r.asked.Load() {
		return r.ahead.Load(), nil
	}
	now, err := r.client.Time(ctx).Result()
	if err != nil {
		return 0, unavailable("deduct", sku, err)
	}
	return r.hear(now.UnixMilli()), nil
}

// hear takes note of Redis's clock.
func (r *Redis) hear(now int64) (ahead int64) {
	ahead = now - time.Now().UnixMilli()
	r.ahead.Store(ahead)
	r.asked.Store(true)
	return ahead
}
