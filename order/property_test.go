package order_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

// pair does everything to a store and to its model. All names carry a prefix,
// so that many runs can share a store.
type pair struct {
	*require.Assertions
	t      *rapid.T
	store  order.Store
	reopen func() // ends what Reopening keeps
	model  *model
	prefix string
	epochs map[string][]int64      // the store's, by the model's
	shape  map[string][]order.Line // what each SKU draws on, when it is put on sale
	places []place                 // where the feed was
}

var (
	someSKU      = rapid.SampledFrom([]string{"a", "b", "c"})
	someID       = rapid.SampledFrom([]string{"1", "2", "3", "4", "5"})
	someQuantity = rapid.Int64Range(1, 4)
	someSeq      = rapid.Int64Range(1, 3) // few, so that fences are met
	someLimit    = rapid.SampledFrom([]int64{0, 0, 0, 3, 6})
	someAction   = rapid.SampledFrom([]order.Action{
		order.Confirm, order.ConfirmLate, order.Cancel, order.Void, order.Expire, order.Extend, order.Reclaim, order.Count,
	})
	someShape = rapid.SampledFrom([]map[string][]order.Line{
		nil,
		{"b": {{SKU: "a", Quantity: 1}}},
		{"a": {{SKU: "c", Quantity: 1}}, "b": {{SKU: "c", Quantity: 1}}},
		{"a": {{SKU: "b", Quantity: 2}}, "b": {{SKU: "c", Quantity: 1}}},
	})
)

// prefixed are lines in the words of the store.
func (p *pair) prefixed(lines []order.Line) (all []order.Line) {
	for _, line := range lines {
		all = append(all, order.Line{SKU: p.prefix + line.SKU, Quantity: line.Quantity})
	}
	return all
}

func (p *pair) deduction(id string, line order.Line, identity modelIdentity) inventory.Deduction {
	if identity.seq == 0 {
		return inventory.Deduction{}
	}
	epoch := int64(1) // of an unknown SKU
	if epochs := p.epochs[identity.sku]; len(epochs) > 0 {
		epoch = epochs[identity.epoch]
	}
	return inventory.Deduction{
		SKU: p.prefix + line.SKU, OrderID: p.prefix + id, Quantity: line.Quantity, Epoch: epoch, Seq: identity.seq, Attempt: "a",
	}
}

func (p *pair) identity(sku string) modelIdentity {
	last := max(0, len(p.epochs[sku])-1)
	epoch := rapid.IntRange(max(0, last-1), last).Draw(p.t, "epoch")
	return modelIdentity{sku, int64(epoch), someSeq.Draw(p.t, "seq")}
}

// ask makes a commit, for the model and for the store.
func (p *pair) ask() (ask, order.Commit) {
	a := ask{id: someID.Draw(p.t, "id"), customer: rapid.SampledFrom([]string{"x", "y"}).Draw(p.t, "customer")}
	if rapid.IntRange(0, 9).Draw(p.t, "alike") > 0 {
		a.customer = "x"
	}
	skus := rapid.SliceOfNDistinct(someSKU, 1, 3, rapid.ID[string]).Draw(p.t, "skus")
	slices.Sort(skus)
	for _, sku := range skus {
		a.lines = append(a.lines, order.Line{SKU: sku, Quantity: someQuantity.Draw(p.t, "quantity")})
	}
	a.draws = p.model.drawsOf(a.lines)
	if rapid.IntRange(0, 9).Draw(p.t, "wrong draws") == 0 {
		a.draws[someSKU.Draw(p.t, "pool")] = someQuantity.Draw(p.t, "drawn")
	}
	o := order.Order{ID: a.id, Lines: a.lines}
	for _, pool := range []string{"a", "b", "c"} {
		if units := a.draws[pool]; units > 0 {
			o.Draws = append(o.Draws, order.Line{SKU: pool, Quantity: units})
		}
	}
	a.units = o.Units()
	c := order.Commit{Order: order.Order{ID: p.prefix + a.id, Customer: a.customer, Lines: p.prefixed(a.lines), Draws: p.prefixed(o.Draws)}}
	switch rapid.IntRange(0, 3).Draw(p.t, "hold") {
	case 0:
		a.held, a.over, c.Hold = true, true, time.Millisecond
	case 1:
		a.held, c.Hold = true, time.Hour
	}
	if rapid.IntRange(0, 3).Draw(p.t, "with deductions") > 0 {
		for _, unit := range a.units {
			identity := p.identity(unit.SKU)
			if rapid.IntRange(0, 5).Draw(p.t, "direct") == 0 {
				identity = modelIdentity{}
			}
			a.identities = append(a.identities, identity)
			c.Deductions = append(c.Deductions, p.deduction(a.id, unit, identity))
		}
	}
	return a, c
}

func (p *pair) asks(n int) (asks []ask, commits []order.Commit) {
	for range rapid.IntRange(1, n).Draw(p.t, "batch") {
		a, c := p.ask()
		asks, commits = append(asks, a), append(commits, c)
	}
	return asks, commits
}

func (p *pair) same(want []answer, outcomes []order.Outcome) {
	p.Len(outcomes, len(want))
	for i, outcome := range outcomes {
		got := answer{verdict: outcome.Verdict, consumed: outcome.Consumed, err: kind(outcome.Err)}
		switch outcome.Verdict {
		case order.VerdictBooked, order.VerdictExisting:
			got.status = outcome.Order.Status
		case order.VerdictAgain:
			got.again = outcome.Again
			if got.again == nil {
				got.again = []bool{}
			}
		case order.VerdictFull:
			got.unit, got.left = outcome.Unit, outcome.Left
		case order.VerdictLimited:
			var limit *inventory.LimitError
			p.ErrorAs(outcome.Err, &limit)
			got.unit, got.used = outcome.Unit, limit.Used
		case order.VerdictUnknown, order.VerdictClosed:
			got.unit = outcome.Unit
		}
		p.Equal(want[i], got, "commit %d", i)
	}
}

// elapse waits until the holds of the orders that were meant to be short are over.
func (p *pair) elapse(outcomes []order.Outcome, asks []ask) {
	for i, outcome := range outcomes {
		for outcome.Verdict == order.VerdictBooked && asks[i].over {
			counters, err := p.store.Counters(context.Background(), outcome.Order.Lines[0].SKU)
			p.NoError(err)
			if !counters[0].At.Before(outcome.Order.ExpiresAt) {
				break
			}
			time.Sleep(100 * time.Microsecond)
		}
	}
}

func (p *pair) run() {
	p.t.Repeat(map[string]func(*rapid.T){
		"PutOnSale":  p.putOnSale,
		"Terms":      p.setTerms,
		"Adjust":     p.adjust,
		"Commit":     p.commit,
		"Look":       p.look,
		"Change":     p.change,
		"Fence":      p.fence,
		"BeginEpoch": p.beginEpoch,
		"Ledger":     p.ledger,
		"Movements":  p.movements,
		"":           p.check, // after each of them
	})
}

func (p *pair) putOnSale(t *rapid.T) {
	sku, capacity, limit := someSKU.Draw(t, "sku"), rapid.Int64Range(0, 12).Draw(t, "capacity"), someLimit.Draw(t, "limit")
	counters, made, err := p.store.PutOnSale(context.Background(), order.Item{
		SKU: p.prefix + sku, Capacity: capacity, CustomerLimit: limit, Draws: p.prefixed(p.shape[sku]),
	})
	draws := make(map[string]int64)
	for _, draw := range p.shape[sku] {
		pool := p.model.skus[draw.SKU]
		if pool == nil {
			p.ErrorIs(err, order.ErrUnknownSKU)
			return
		}
		draws[draw.SKU] += draw.Quantity
		for below, units := range pool.draws {
			draws[below] += units * draw.Quantity
		}
	}
	switch there := p.model.skus[sku]; {
	case there == nil:
		p.NoError(err)
		p.Equal([]bool{true}, made)
		p.model.skus[sku] = &modelSKU{capacity: capacity, limit: limit, draws: draws}
		p.epochs[sku] = []int64{counters[0].Epoch}
	case there.capacity == capacity && there.limit == limit:
		p.NoError(err)
		p.Equal([]bool{false}, made)
	default:
		p.ErrorIs(err, order.ErrAlreadyOnSale)
	}
}

func (p *pair) setTerms(t *rapid.T) {
	sku, limit, paused := someSKU.Draw(t, "sku"), someLimit.Draw(t, "limit"), rapid.IntRange(0, 4).Draw(t, "paused") == 0
	there := p.model.skus[sku]
	_, err := p.store.SetPaused(context.Background(), p.prefix+sku, paused)
	if there == nil {
		p.ErrorIs(err, order.ErrUnknownSKU)
		return
	}
	p.NoError(err)
	there.paused, there.limit = paused, limit
	_, err = p.store.SetLimit(context.Background(), p.prefix+sku, limit)
	p.NoError(err)
}

func (p *pair) adjust(t *rapid.T) {
	a := order.Adjustment{
		ID: someID.Draw(t, "id"), SKU: someSKU.Draw(t, "sku"), Units: rapid.Int64Range(1, 6).Draw(t, "units"),
		Kind: rapid.SampledFrom([]order.AdjustmentKind{order.SetCapacity, order.Restock, order.WriteOff}).Draw(t, "kind"),
	}
	if rapid.Bool().Draw(t, "another ID") {
		a.ID = fmt.Sprint("adjust", len(p.model.adjustments))
	}
	want := p.model.adjust(a)
	a.ID, a.SKU = p.prefix+a.ID, p.prefix+a.SKU
	_, err := p.store.Adjust(context.Background(), a)
	p.Equal(want, kind(err))
}

func (p *pair) commit(*rapid.T) {
	asks, commits := p.asks(5)
	// An ID that comes twice is decided at any time after the first one, so the
	// books could differ; that is looked at in a batch of one.
	ids := make(map[string]bool)
	for i, a := range asks {
		if ids[a.id] {
			asks, commits = asks[:i], commits[:i]
			break
		}
		ids[a.id] = true
	}
	var want []answer
	for _, a := range asks {
		want = append(want, p.model.commit(a))
	}
	p.reopen() // the model knows of no time
	outcomes, _, err := p.store.Commit(context.Background(), commits)
	p.NoError(err)
	p.same(want, outcomes)
	p.elapse(outcomes, asks)
}

func (p *pair) look(*rapid.T) {
	asks, commits := p.asks(5)
	var want []answer
	for _, a := range asks {
		want = append(want, p.model.look(a))
	}
	outcomes, _, err := p.store.Look(context.Background(), commits)
	p.NoError(err)
	p.same(want, outcomes)
	for i, outcome := range outcomes {
		for u, used := range outcome.Used {
			if sku := p.model.skus[asks[i].units[u].SKU]; sku != nil && sku.limit > 0 && want[i].verdict == order.VerdictNew {
				p.Equal(p.model.has(asks[i].customer, asks[i].units[u].SKU), used)
			}
		}
	}
}

func (p *pair) change(t *rapid.T) {
	type result struct {
		status order.Status
		err    error
	}
	var changes []order.Change
	var want, got []result
	for range rapid.IntRange(1, 4).Draw(t, "changes") {
		c := order.Change{ID: someID.Draw(t, "id"), Action: someAction.Draw(t, "action")}
		if c.Action == order.Extend {
			c.Hold = time.Hour
		}
		status, err := p.model.act(c.ID, c.Action)
		want = append(want, result{status, err})
		c.ID = p.prefix + c.ID
		changes = append(changes, c)
	}
	answers, _, err := p.store.Change(context.Background(), changes)
	p.NoError(err)
	for _, answer := range answers {
		got = append(got, result{answer.Order.Status, kind(answer.Err)})
	}
	p.Equal(want, got, "%v", changes)
}

func (p *pair) fence(t *rapid.T) {
	id, sku := someID.Draw(t, "id"), someSKU.Draw(t, "sku")
	identity := p.identity(sku)
	want := p.model.fence(id, identity)
	consumed, _, err := p.store.Fence(context.Background(), []inventory.Deduction{p.deduction(id, order.Line{SKU: sku, Quantity: 1}, identity)})
	p.NoError(err)
	p.Equal([]bool{want}, consumed)
}

func (p *pair) beginEpoch(t *rapid.T) {
	sku := someSKU.Draw(t, "sku")
	there := p.model.skus[sku]
	if there == nil {
		_, _, err := p.store.BeginEpoch(context.Background(), p.prefix+sku, 1)
		p.ErrorIs(err, order.ErrUnknownSKU)
		return
	}
	seen := p.identity(sku).epoch
	c, begun, err := p.store.BeginEpoch(context.Background(), p.prefix+sku, p.epochs[sku][seen])
	p.NoError(err)
	p.Equal(seen == there.epoch, begun)
	if begun {
		there.epoch++
		there.admitted = 0
		p.Greater(c.Epoch, p.epochs[sku][seen])
		p.epochs[sku] = append(p.epochs[sku], c.Epoch)
	}
}

func (p *pair) ledger(t *rapid.T) {
	p.NoError(p.store.SetLedger(context.Background(), rapid.IntRange(0, 3).Draw(t, "on") > 0))
}

// movements reads a SKU's movements from anywhere, by Movements and by Feed: they
// are what is there of all.
func (p *pair) movements(t *rapid.T) {
	sku := p.prefix + someSKU.Draw(t, "sku")
	all, err := p.store.Movements(context.Background(), sku, 0, order.MaxMovements)
	p.NoError(err)
	for i, m := range all {
		p.Equal(sku, m.SKU)
		p.Equal(int64(i)+1, m.Number)
		p.True(i == 0 || !m.At.Before(all[i-1].At), "%+v", m)
	}
	after, limit := rapid.IntRange(0, len(all)).Draw(t, "after"), rapid.IntRange(1, len(all)+1).Draw(t, "limit")
	page, err := p.store.Movements(context.Background(), sku, int64(after), limit)
	p.NoError(err)
	p.Equal(all[after:min(after+limit, len(all))], append(all[:0:0], page...))

	if len(p.places) == 0 {
		p.feed(place{}, order.MaxMovements) // what other runs have moved too
	}
	from := rapid.SampledFrom(p.places).Draw(t, "from")
	fed := p.feed(from, limit)
	for _, sku := range []string{"a", "b", "c"} {
		all, err := p.store.Movements(context.Background(), p.prefix+sku, 0, order.MaxMovements)
		p.NoError(err)
		p.Equal(all[from.read[sku]:], append(all[:0:0], fed[sku]...))
	}
}

// place is where the feed was, and how many movements of each SKU had been read there.
type place struct {
	cursor order.Cursor
	read   map[string]int
}

// feed reads the feed from a place to its end. It notes the last places.
func (p *pair) feed(from place, limit int) map[string][]order.Movement {
	fed := make(map[string][]order.Movement)
	for at := from; ; {
		page, next, err := p.store.Feed(context.Background(), at.cursor, limit)
		p.NoError(err)
		at = place{next, maps.Clone(at.read)}
		if at.read == nil {
			at.read = make(map[string]int)
		}
		for _, m := range page {
			if sku, ours := strings.CutPrefix(m.SKU, p.prefix); ours {
				fed[sku] = append(fed[sku], m)
				at.read[sku]++
			}
		}
		p.places = append(p.places, at)
		p.places = p.places[max(0, len(p.places)-10):]
		if len(page) == 0 {
			return fed
		}
	}
}

// check compares the books.
func (p *pair) check(*rapid.T) {
	var skus []string
	for sku := range p.model.skus {
		skus = append(skus, p.prefix+sku)
	}
	if len(skus) == 0 {
		return
	}
	tallies, err := p.store.Tally(context.Background(), skus...)
	p.NoError(err)
	p.Len(tallies, len(skus))
	for _, tally := range tallies {
		c := tally.Counters
		sku := c.SKU[len(p.prefix):]
		draws := make(map[string]int64)
		for _, draw := range c.Draws {
			draws[strings.TrimPrefix(draw.SKU, p.prefix)] = draw.Quantity
		}
		want := *p.model.skus[sku]
		p.Equal(want, modelSKU{
			capacity: c.Capacity, admitted: c.Admitted, epoch: int64(slices.Index(p.epochs[sku], c.Epoch)),
			limit: c.CustomerLimit, paused: c.Paused, draws: draws,
		}, sku)
		p.Equal(p.model.allocated(sku), c.Allocated, sku)
		p.Equal(p.model.of(sku, func(o *modelOrder) bool { return o.status == order.Held }), tally.Held, sku)
		p.True(tally.Balanced(), "%+v", tally)
	}
}

func checkAgainstModel(t *rapid.T, store order.Store, reopen func(), run int64) {
	p := &pair{
		Assertions: require.New(t), t: t, store: store, reopen: reopen, prefix: fmt.Sprintf("%d.", run),
		model: newModel(), epochs: make(map[string][]int64), shape: someShape.Draw(t, "shape"),
	}
	p.run()
}

func TestMemoryAgainstModel(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		store := order.NewMemory()
		checkAgainstModel(t, store, store.ReopenAll, 0)
	})
}

func TestPostgresAgainstModel(t *testing.T) {
	t.Parallel()
	url := newDatabase(t)
	pool := newPool(t, url, maxConns(1), queryModes["Exec"])
	stores := map[string]*order.Postgres{
		"Exec":          order.NewPostgres(pool),
		"CacheDescribe": order.NewPostgres(newPool(t, url, maxConns(1), queryModes["CacheDescribe"])),
	}
	reopen := func() {
		_, err := pool.Exec(context.Background(), "update lastunit.skus set reopens_at = null where reopens_at is not null")
		require.NoError(t, err)
	}
	run, start := int64(0), time.Now()
	enough := func() bool { return time.Since(start) > 6*time.Second }
	checkUntil(t, enough, func(t *rapid.T) {
		run++
		checkAgainstModel(t, stores[rapid.SampledFrom([]string{"Exec", "CacheDescribe"}).Draw(t, "query mode")], reopen, run)
	})
}

// checkUntil is rapid.Check that checks nothing more once it was enough, where a check is
// many round trips. One that has failed is made smaller all the same.
func checkUntil(t *testing.T, enough func() bool, check func(*rapid.T)) {
	failed := false
	rapid.Check(t, func(t *rapid.T) {
		if !failed && enough() {
			return
		}
		ended := false
		defer func() { failed = failed || !ended }()
		check(t)
		ended = true
	})
}
