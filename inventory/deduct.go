package inventory

import (
	"cmp"
	"context"
	"hash/maphash"
	"slices"
	"strconv"
	"strings"
	"time"
)

// DeductTimeout bounds how long a copy of a Deduct that was sent, and is still on
// its way, can do anything, if its context has no earlier deadline.
const DeductTimeout = 5 * time.Second

const (
	// lanes is in how many places calls for a node gather. Each SKU keeps to one of
	// them, so that what comes while others are under way gathers.
	lanes = 4

	// abreast is how many batches of one lane may be under way at once: with two,
	// Redis works on one while its client is busy with the other.
	abreast = 2

	// maxQueue bounds the calls that wait in one process.
	maxQueue = 100_000
)

// lane is which of them a SKU keeps to.
func lane(sku string) uint64 { return maphash.String(laneSeed, sku) % lanes }

var laneSeed = maphash.MakeSeed()

// deductCall is one call of Deduct as it travels with others.
type deductCall struct {
	Request
	by    time.Time // when its caller will have given up, on the monotonic clock; zero for never
	asked string    // quantity and deadline, as the script takes them
}

// deducted is what became of it.
type deducted struct {
	epoch, seq, version, at int64
	err                     error
	late                    bool // by Redis's clock it came after its deadline
}

// deduction is what a request was granted.
func (d deducted) deduction(r *Request) Deduction {
	return Deduction{
		SKU: r.SKU, Store: r.Store, Attempt: r.Attempt, OrderID: r.OrderID, Quantity: r.Quantity,
		Epoch: d.epoch, Seq: d.seq, Version: d.version, At: time.UnixMilli(d.at),
	}
}

// Deduct implements InventoryRepository. Calls that come while others are under
// way travel together, in one call of the script for each SKU. A caller that
// leaves while its call is queued leaves without a trace.
func (r *Redis) Deduct(ctx context.Context, request Request) (Deduction, error) {
	if err := request.check(); err != nil {
		return Deduction{}, err
	}
	for {
		c := &deductCall{Request: request}
		c.by, _ = ctx.Deadline()
		answer, err := r.nodeOf(ctx, c.SKU).deducts[lane(c.SKU)].Do(ctx, c)
		switch {
		case err != nil:
			return Deduction{}, unavailable("deduct", request.SKU, err)
		case answer.err != nil:
			return Deduction{}, answer.err
		case !answer.late:
			return answer.deduction(&request), nil
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
func (r *Redis) deductBatch(ctx context.Context, calls []*deductCall) ([]deducted, error) {
	ahead, err := r.clock(ctx, calls[0].SKU)
	if err != nil {
		return nil, err
	}
	writeAsked(calls, ahead)
	answers := make([]deducted, len(calls))
	groups := groupsOf(len(calls), func(i, j int) int { return compareCarriers(calls[i], calls[j]) })
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

// writeAsked gives each call its deadline by Redis's clock, and puts it into
// words with the quantity. Most have the words of the one before.
func writeAsked(calls []*deductCall, ahead int64) {
	now := time.Now()
	latest := now.Add(DeductTimeout)
	var quantity, deadline int64
	var asked string
	for _, c := range calls {
		by := latest
		if !c.by.IsZero() && c.by.Before(latest) {
			by = now.Add(c.by.Sub(now)) // on the monotonic clock, if it has it
		}
		if milliseconds := by.UnixMilli() + ahead; asked == "" || c.Quantity != quantity || milliseconds != deadline {
			quantity, deadline = c.Quantity, milliseconds
			asked = strconv.FormatInt(quantity, 10) + ":" + strconv.FormatInt(deadline, 10)
		}
		c.asked = asked
	}
}

// groupsOf are the indexes from 0 to n-1 in groups of those that are equal, each
// in order, and of scriptBatch at most.
func groupsOf(n int, compare func(i, j int) int) [][]int {
	all := make([]int, n)
	sorted := true
	for i := range all {
		all[i] = i
		sorted = sorted && (i == 0 || compare(i-1, i) <= 0)
	}
	if !sorted {
		slices.SortStableFunc(all, compare)
	}
	var groups [][]int
	for from := 0; from < n; {
		to := from + 1
		for to < n && to-from < scriptBatch && compare(all[from], all[to]) == 0 {
			to++
		}
		groups = append(groups, all[from:to])
		from = to
	}
	return groups
}

// compareCarriers is 0 for calls that one call of the script can carry out: of
// one SKU and store, and both cleared or not.
func compareCarriers(a, b *deductCall) int {
	return cmp.Or(strings.Compare(a.SKU, b.SKU), strings.Compare(a.Store, b.Store), cmp.Compare(flag(a.Cleared), flag(b.Cleared)))
}

// deductArguments are the arguments of the script. Where there are many they are
// pointers, which cost no allocation each.
func deductArguments(calls []*deductCall, group []int) (sku string, arguments []any) {
	arguments = make([]any, 4, 4+4*len(group))
	var known Watermark // the furthest that any of the callers knows of
	for _, i := range group {
		c := calls[i]
		if mark := c.Watermark; mark.Epoch > known.Epoch || mark.Epoch == known.Epoch && mark.Seq > known.Seq {
			known = mark
		}
		arguments = append(arguments, &c.asked, &c.Attempt, &c.OrderID, &c.Customer)
	}
	first := calls[group[0]]
	arguments[0], arguments[1], arguments[2], arguments[3] = first.Store, known.Epoch, known.Seq, flag(first.Cleared)
	return first.SKU, arguments
}

// hearDeducts reads the script's reply to a group. A reply that can't be read is
// everybody's error.
func (r *Redis) hearDeducts(calls []*deductCall, group []int, reply *reply, err error, answers []deducted) {
	if err == nil {
		r.hear(reply.number(1))
		hearDeductions(calls, group, reply, answers)
		err = reply.err
	}
	if err != nil {
		for _, i := range group {
			answers[i] = deducted{err: err}
		}
	}
}

// hearDeductions gives the calls of a group that were deducted just now their
// seq, each the next one, and the others what the reply lists of them.
func hearDeductions(calls []*deductCall, group []int, reply *reply, answers []deducted) {
	const listed = 5 // values of each that is listed
	now, epoch, version, seq := reply.number(1), reply.number(2), reply.number(3), reply.number(4)
	at := 5
	for n, i := range group {
		if at == len(reply.values) || reply.number(at) != int64(n+1) {
			answers[i] = deducted{epoch: epoch, seq: seq, version: version, at: now}
			seq++
			continue
		}
		status, a, b, c := reply.text(at+1), reply.number(at+2), reply.number(at+3), reply.number(at+4)
		at += listed
		switch status {
		case "again":
			answers[i] = deducted{epoch: epoch, seq: a, version: b, at: c}
		case "late":
			answers[i].late = true
		case "other":
			answers[i].err = errOtherRequest()
		case "spent":
			answers[i].err = &NotLoadedError{calls[i].SKU, WhySpent}
		case "reopening":
			answers[i].err = &ReopeningError{calls[i].SKU, time.Duration(a) * time.Millisecond}
		case "paused", "unopened", "closed", "limit", "short":
			answers[i].err = refusal(&calls[i].Request, status, epoch, version, a, b, c)
		default:
			answers[i].err = reply.unknown("deduct", calls[i].SKU)
		}
	}
	if at != len(reply.values) {
		reply.fail(at) // it lists what nobody asked for
	}
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
	client := r.client
	if node := r.clientOf(ctx, sku); node != nil {
		client = node // and not one that may hang
	}
	now, err := client.Time(ctx).Result()
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
