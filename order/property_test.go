package order_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

// model is a store written once more, as plainly as can be: what it knows is
// what the comments of order.Store say. Epochs are 0, 1, 2 and so on.
type model struct {
	skus   map[string]*modelSKU
	orders map[string]*modelOrder
	fences map[modelIdentity]bool
}

type modelSKU struct{ capacity, allocated, admitted, epoch int64 }

type modelOrder struct {
	content  string // empty if it was cancelled before it was booked
	lines    []order.Line
	live     bool
	consumed []modelIdentity
}

type modelIdentity struct {
	sku        string
	epoch, seq int64
}

// ask is a commit in the words of the model.
type ask struct {
	id, customer string
	lines        []order.Line
	identities   []modelIdentity // one a line, or none at all; seq 0 is no deduction
}

func (a ask) content() string { return fmt.Sprint(a.customer, a.lines) }

// answer is an outcome that both can be asked for.
type answer struct {
	verdict  order.Verdict
	live     bool
	consumed []bool
	again    []bool
	line     int
	left     int64
}

func (m *model) look(a ask) answer {
	out := answer{verdict: order.VerdictNew, consumed: make([]bool, len(a.identities))}
	o := m.orders[a.id]
	if o == nil {
		return out
	}
	for i, identity := range a.identities {
		out.consumed[i] = identity.seq != 0 && slices.Contains(o.consumed, identity)
	}
	if o.content != "" && o.content != a.content() {
		out.verdict = order.VerdictConflict
		return out
	}
	out.verdict, out.live = order.VerdictExisting, o.live
	return out
}

func (m *model) commit(a ask) answer {
	out := m.look(a)
	if out.verdict != order.VerdictNew {
		return out
	}
	var dead []bool
	full := -1
	for i, line := range a.lines {
		sku := m.skus[line.SKU]
		if sku == nil {
			return answer{verdict: order.VerdictUnknown, line: i, consumed: out.consumed}
		}
		if len(a.identities) > 0 {
			identity := a.identities[i]
			dead = append(dead, identity.seq != 0 && (identity.epoch != sku.epoch || m.fences[identity]))
		}
		if full < 0 && sku.allocated+line.Quantity > sku.capacity {
			full = i
		}
	}
	switch {
	case slices.Contains(dead, true):
		out.verdict, out.again = order.VerdictAgain, dead
		return out
	case full >= 0:
		sku := m.skus[a.lines[full].SKU]
		out.verdict, out.line, out.left = order.VerdictFull, full, max(0, sku.capacity-sku.allocated)
		return out
	}
	o := &modelOrder{content: a.content(), lines: a.lines, live: true}
	for i, line := range a.lines {
		m.skus[line.SKU].allocated += line.Quantity
		if len(a.identities) > 0 && a.identities[i].seq != 0 {
			m.skus[line.SKU].admitted += line.Quantity
			o.consumed = append(o.consumed, a.identities[i])
			out.consumed[i] = true
		}
	}
	m.orders[a.id] = o
	out.verdict, out.live = order.VerdictBooked, true
	return out
}

func (m *model) cancel(id string) {
	o := m.orders[id]
	if o == nil {
		m.orders[id] = &modelOrder{}
		return
	}
	if o.live {
		o.live = false
		for _, line := range o.lines {
			m.skus[line.SKU].allocated -= line.Quantity
		}
	}
}

func (m *model) fence(id string, identity modelIdentity) bool {
	if o := m.orders[id]; o != nil {
		return slices.Contains(o.consumed, identity)
	}
	if sku := m.skus[identity.sku]; sku != nil && sku.epoch == identity.epoch {
		m.fences[identity] = true
	}
	return false
}

// pair does everything to a store and to its model. All names carry a prefix,
// so that many runs can share a store.
type pair struct {
	*require.Assertions
	t      *rapid.T
	store  order.Store
	model  *model
	prefix string
	epochs map[string][]int64 // the store's, by the model's
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

var (
	someSKU      = rapid.SampledFrom([]string{"a", "b", "c"})
	someID       = rapid.SampledFrom([]string{"1", "2", "3", "4", "5"})
	someQuantity = rapid.Int64Range(1, 4)
	someSeq      = rapid.Int64Range(1, 3) // few, so that fences are met
)

func (p *pair) identity(sku string) modelIdentity {
	last := max(0, len(p.epochs[sku])-1)
	epoch := rapid.IntRange(max(0, last-1), last).Draw(p.t, "epoch")
	return modelIdentity{sku, int64(epoch), someSeq.Draw(p.t, "seq")}
}

func (p *pair) asks(n int) (asks []ask, commits []order.Commit) {
	for range rapid.IntRange(1, n).Draw(p.t, "batch") {
		a := ask{id: someID.Draw(p.t, "id"), customer: rapid.SampledFrom([]string{"x", "y"}).Draw(p.t, "customer")}
		if rapid.IntRange(0, 9).Draw(p.t, "alike") > 0 {
			a.customer = "x"
		}
		skus := rapid.SliceOfNDistinct(someSKU, 1, 3, rapid.ID[string]).Draw(p.t, "skus")
		slices.Sort(skus)
		for _, sku := range skus {
			a.lines = append(a.lines, order.Line{SKU: sku, Quantity: someQuantity.Draw(p.t, "quantity")})
		}
		c := order.Commit{Order: order.Order{ID: p.prefix + a.id, Customer: a.customer}}
		for _, line := range a.lines {
			c.Order.Lines = append(c.Order.Lines, order.Line{SKU: p.prefix + line.SKU, Quantity: line.Quantity})
		}
		if rapid.IntRange(0, 3).Draw(p.t, "with deductions") > 0 {
			for _, line := range a.lines {
				identity := p.identity(line.SKU)
				if rapid.IntRange(0, 5).Draw(p.t, "direct") == 0 {
					identity = modelIdentity{}
				}
				a.identities = append(a.identities, identity)
				c.Deductions = append(c.Deductions, p.deduction(a.id, line, identity))
			}
		}
		asks, commits = append(asks, a), append(commits, c)
	}
	return asks, commits
}

func (p *pair) same(want []answer, outcomes []order.Outcome) {
	p.Len(outcomes, len(want))
	for i, outcome := range outcomes {
		got := answer{verdict: outcome.Verdict, consumed: outcome.Consumed}
		switch outcome.Verdict {
		case order.VerdictBooked, order.VerdictExisting:
			got.live = outcome.Order.Status.Live()
		case order.VerdictAgain:
			got.again = outcome.Again
		case order.VerdictFull:
			got.line, got.left = outcome.Line, outcome.Left
		case order.VerdictUnknown:
			got.line = outcome.Line
		}
		p.Equal(want[i], got, "commit %d", i)
	}
}

func (p *pair) run() {
	ctx := context.Background()
	p.t.Repeat(map[string]func(*rapid.T){
		"PutOnSale": func(t *rapid.T) {
			sku, capacity := someSKU.Draw(t, "sku"), rapid.Int64Range(0, 12).Draw(t, "capacity")
			c, err := p.store.PutOnSale(ctx, order.Item{SKU: p.prefix + sku, Capacity: capacity})
			switch there := p.model.skus[sku]; {
			case there == nil:
				p.NoError(err)
				p.model.skus[sku] = &modelSKU{capacity: capacity}
				p.epochs[sku] = []int64{c.Epoch}
			case there.capacity == capacity:
				p.NoError(err)
			default:
				p.ErrorIs(err, order.ErrAlreadyOnSale)
			}
		},
		"SetCapacity": func(t *rapid.T) {
			sku, capacity := someSKU.Draw(t, "sku"), rapid.Int64Range(0, 12).Draw(t, "capacity")
			_, err := p.store.SetCapacity(ctx, p.prefix+sku, capacity)
			if p.model.skus[sku] == nil {
				p.ErrorIs(err, order.ErrUnknownSKU)
				return
			}
			p.NoError(err)
			p.model.skus[sku].capacity = capacity
		},
		"Commit": func(*rapid.T) {
			asks, commits := p.asks(5)
			// An ID that comes twice is decided at any time after the first one,
			// so the books could differ; that is looked at in a batch of one.
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
			outcomes, _, err := p.store.Commit(ctx, commits)
			p.NoError(err)
			p.same(want, outcomes)
		},
		"Look": func(*rapid.T) {
			asks, commits := p.asks(5)
			var want []answer
			for _, a := range asks {
				want = append(want, p.model.look(a))
			}
			outcomes, _, err := p.store.Look(ctx, commits)
			p.NoError(err)
			p.same(want, outcomes)
		},
		"Cancel": func(t *rapid.T) {
			id := someID.Draw(t, "id")
			p.model.cancel(id)
			o, _, err := p.store.Cancel(ctx, p.prefix+id)
			p.NoError(err)
			p.Equal(order.Cancelled, o.Status)
		},
		"Fence": func(t *rapid.T) {
			id, sku := someID.Draw(t, "id"), someSKU.Draw(t, "sku")
			identity := p.identity(sku)
			want := p.model.fence(id, identity)
			consumed, _, err := p.store.Fence(ctx, []inventory.Deduction{p.deduction(id, order.Line{SKU: sku, Quantity: 1}, identity)})
			p.NoError(err)
			p.Equal([]bool{want}, consumed)
		},
		"BeginEpoch": func(t *rapid.T) {
			sku := someSKU.Draw(t, "sku")
			there := p.model.skus[sku]
			if there == nil {
				_, _, err := p.store.BeginEpoch(ctx, p.prefix+sku, 1)
				p.ErrorIs(err, order.ErrUnknownSKU)
				return
			}
			seen := p.identity(sku).epoch
			c, _, err := p.store.BeginEpoch(ctx, p.prefix+sku, p.epochs[sku][seen])
			p.NoError(err)
			if seen == there.epoch {
				there.epoch++
				there.admitted = 0
				p.Greater(c.Epoch, p.epochs[sku][seen])
				p.epochs[sku] = append(p.epochs[sku], c.Epoch)
			}
		},
		"": func(*rapid.T) { // after each of them
			var skus []string
			for sku := range p.model.skus {
				skus = append(skus, p.prefix+sku)
			}
			if len(skus) == 0 {
				return
			}
			tallies, err := p.store.Tally(ctx, skus...)
			p.NoError(err)
			p.Len(tallies, len(skus))
			for _, tally := range tallies {
				c := tally.Counters
				sku := c.SKU[len(p.prefix):]
				want := p.model.skus[sku]
				p.Equal(*want, modelSKU{c.Capacity, c.Allocated, c.Admitted, int64(slices.Index(p.epochs[sku], c.Epoch))}, sku)
				p.Equal(c.Allocated, tally.Held+tally.Confirmed)
			}
		},
	})
}

func checkAgainstModel(t *rapid.T, store order.Store, run int64) {
	p := &pair{
		Assertions: require.New(t), t: t, store: store, prefix: fmt.Sprintf("%d.", run),
		model: &model{
			skus: make(map[string]*modelSKU), orders: make(map[string]*modelOrder), fences: make(map[modelIdentity]bool),
		},
		epochs: make(map[string][]int64),
	}
	p.run()
}

func TestMemoryAgainstModel(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) { checkAgainstModel(t, order.NewMemory(), 0) })
}

func TestPostgresAgainstModel(t *testing.T) {
	t.Parallel()
	store, _ := newStore(t, maxConns(1))
	run, failed, start := int64(0), false, time.Now()
	rapid.Check(t, func(t *rapid.T) {
		if !failed && time.Since(start) > 6*time.Second { // each operation is several round trips
			return
		}
		ended := false
		defer func() { failed = failed || !ended }()
		run++
		checkAgainstModel(t, store, run)
		ended = true
	})
}
