package robustness

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/booking"
	"github.com/lastunit/lastunit/internal/servertest"
	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

// A scene is a run that leads to one rare moment and nowhere else, in this process.
// What it does is checked in the same way.
type scene struct {
	name     string
	rebuilds bool
	run      func(r *run)
}

// play is the scene, and what was wrong.
func (s *scene) play(t *testing.T, bug string) []problem {
	t.Helper()
	p := plan{bug: bug}
	if s.rebuilds {
		p.faults = []fault{rebuilding}
	}
	r := p.on(t, servertest.SharedRedis(t), servertest.SharedPostgres(t))
	s.run(r)
	return r.judge()
}

// The library as it is plays them all without a fault.
func TestScenes(t *testing.T) {
	for _, s := range []*scene{&lateCommit, &lateCommitOfAnOldEpoch, &lateRestore} {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			assert.Empty(t, s.play(t, ""))
		})
	}
}

var (
	lateCommit             = scene{"a commit comes late", false, func(r *run) { r.refuseAndLand(false) }}
	lateCommitOfAnOldEpoch = scene{"a commit comes after a rebuild", true, func(r *run) { r.refuseAndLand(true) }}
)

// refuseAndLand lets a commit be on its way while its buyer asks again and is
// refused. Then units come back, and it lands.
func (r *run) refuseAndLand(rebuild bool) {
	held := &heldUp{Store: r.store}
	ctx, leave := context.WithCancel(context.Background())
	held.meanwhile = leave
	shop, err := r.job.shop(r.inventory, held)
	require.NoError(r.t, err)
	w := r.onSale()
	sku := w.SKUs[0]
	wanted := request{verb: book, Request: booking.Request{
		ID: sku + "-late", Customer: customerOf(sku + "-late"), Lines: []order.Line{{SKU: sku, Quantity: 1}},
	}}

	buyer := r.client()
	first := call{Process: buyer.process, Client: buyer.name, Verb: book, ID: wanted.ID, Lines: wanted.Lines, Start: now()}
	_, err = shop.Book(ctx, wanted.Request)
	first.answer(err)
	require.Equal(r.t, unknown, first.Outcome, first.Why)
	r.write(first)

	r.setCapacity(sku, 0)
	require.NoError(r.t, servertest.Eventually(patience, func() error {
		if got := r.client().ask(wanted); got != soldOut {
			return fmt.Errorf("the buyer is told: %s", got)
		}
		return nil
	}))
	if rebuild {
		require.NoError(r.t, r.keeper.Rebuild(context.Background(), sku))
	}
	r.setCapacity(sku, 1)
	require.NoError(r.t, servertest.Eventually(patience, held.land))
}

// setCapacity is a call like any other.
func (r *run) setCapacity(sku string, units int64) {
	c := r.client()
	a := order.Adjustment{ID: fmt.Sprintf("%s-by-%d", sku, c.name), SKU: sku, Units: units}
	a.Reference = a.ID
	require.NoError(r.t, servertest.Eventually(patience, func() error {
		got := c.do(call{Verb: setCapacity, ID: a.ID, SKU: sku, Units: units}, func(ctx context.Context, _ *call) error {
			return c.shop.SetCapacity(ctx, a)
		})
		if got != done {
			return fmt.Errorf("the capacity is not set: %s", got)
		}
		return nil
	}))
}

// heldUp is a Store whose first commit does not come through before it is landed.
type heldUp struct {
	order.Store
	commits   []order.Commit
	meanwhile func()
}

func (s *heldUp) Commit(ctx context.Context, commits []order.Commit) ([]order.Outcome, []order.Counters, error) {
	if s.commits != nil {
		return s.Store.Commit(ctx, commits)
	}
	for _, c := range commits {
		c.Deductions = slices.Clone(c.Deductions)
		s.commits = append(s.commits, c)
	}
	s.meanwhile()
	return nil, nil, fmt.Errorf("%w: the connection is lost", order.ErrOutcomeUnknown)
}

// land lets the commit come through. It fails while units are kept that only just
// came back.
func (s *heldUp) land() error {
	outcomes, _, err := s.Store.Commit(context.Background(), s.commits)
	if err == nil && outcomes[0].Verdict == order.VerdictReopening {
		err = errors.New("it is reopening")
	}
	return err
}

// lateRestore is a sweep that overtakes a slow deduct, and whose restore arrives a
// second time: after the deduct's second copy, which is the one that its caller
// hears of. (A client sends again what was not answered.)
var lateRestore = scene{"a restore comes twice", false, func(r *run) {
	shop, err := r.job.shop(&overtaken{InventoryRepository: r.inventory, orders: r.store}, r.store)
	require.NoError(r.t, err)
	sku := r.onSale().SKUs[0]
	buyer := r.client()
	buyer.shop = shop
	id := sku + "-slow"
	got := buyer.ask(request{verb: book, Request: booking.Request{
		ID: id, Customer: customerOf(id), Lines: []order.Line{{SKU: sku, Quantity: 1}},
	}})
	require.Equal(r.t, done, got)
}}

type overtaken struct {
	inventory.InventoryRepository
	orders order.Store
	once   bool
}

func (o *overtaken) Deduct(ctx context.Context, request inventory.Request) (inventory.Deduction, error) {
	first, err := o.InventoryRepository.Deduct(ctx, request)
	if err != nil || o.once {
		return first, err
	}
	o.once = true
	if _, _, err := o.orders.Fence(ctx, []inventory.Deduction{first}); err != nil {
		return first, err
	}
	if err := o.Restore(ctx, first); err != nil {
		return first, err
	}
	second, err := o.InventoryRepository.Deduct(ctx, request)
	if err != nil {
		return second, err
	}
	return second, o.Restore(ctx, first)
}
