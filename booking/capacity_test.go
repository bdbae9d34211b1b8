package booking_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/booking"
	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

// throng are buyers who ask all the time, each under a new ID once the last one
// was answered for good, in turn in all of the services.
type throng struct {
	shops   []*booking.Service
	sku     string
	stop    chan struct{}
	buyers  sync.WaitGroup
	asked   atomic.Int64
	refused atomic.Int64
	bought  atomic.Int64
	booked  sync.Map // by ID
}

// gather makes a throng that never accepts another refusal than those.
func gather(t *testing.T, sku string, n int, refusals []error, shops ...*booking.Service) *throng {
	c := &throng{shops: shops, sku: sku, stop: make(chan struct{})}
	for range n {
		c.buyers.Go(func() {
			for {
				select {
				case <-c.stop:
					return
				default:
				}
				i := c.asked.Add(1)
				r := booking.Request{ID: fmt.Sprintf("%s-throng-%d", sku, i), Customer: fmt.Sprint("throng-", i), Lines: lines(sku, 1)}
				o, err := book(c.shops[i%int64(len(c.shops))], r)
				if err == nil {
					c.bought.Add(1)
					c.booked.Store(o.ID, o)
					continue
				}
				allowed := false
				for _, refusal := range refusals {
					allowed = allowed || errors.Is(err, refusal)
				}
				assert.True(t, allowed, "%v", err)
				c.refused.Add(1)
			}
		})
	}
	return c
}

// hears waits until so many more were refused: whoever asked since was.
func (c *throng) hears(t *testing.T, n int64) {
	t.Helper()
	until := c.refused.Load() + n
	eventually(t, func() error {
		if refused := c.refused.Load(); refused < until {
			return fmt.Errorf("%d were refused, %d bought", refused, c.bought.Load())
		}
		return nil
	})
}

// buys waits until the throng has bought so many in all.
func (c *throng) buys(t *testing.T, n int64) {
	t.Helper()
	eventually(t, func() error {
		if bought := c.bought.Load(); bought < n {
			return fmt.Errorf("%d were bought", bought)
		}
		return nil
	})
}

// leaves ends it. Every acknowledged order must be there.
func (c *throng) leaves(t *testing.T, s stores) {
	t.Helper()
	close(c.stop)
	c.buyers.Wait()
	c.booked.Range(func(id, _ any) bool {
		o, err := s.orders.Order(context.Background(), id.(string))
		assert.NoError(t, err)
		assert.Equal(t, order.Confirmed, o.Status)
		return true
	})
	t.Logf("%d asked, %d bought, %d were refused", c.asked.Load(), c.bought.Load(), c.refused.Load())
}

// The capacity goes down below what is sold and up again under buyers who never
// stop asking, in two services and without any background work.
func TestCapacityUnderLoad(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, s stores) {
		const buyers = 10
		shop, other := open(t, s), open(t, s)
		require.NoError(t, shop.PutOnSale(t.Context(), order.Item{SKU: "floor", Capacity: 1000}))
		var group sync.WaitGroup
		for i := range 700 {
			group.Go(func() {
				_, err := book(shop, request("floor", i))
				assert.NoError(t, err)
			})
		}
		group.Wait()
		set := func(units int64) {
			t.Helper()
			require.NoError(t, other.SetCapacity(t.Context(), order.Adjustment{ID: fmt.Sprint("to-", units), SKU: "floor", Units: units}))
		}
		stock := func(capacity, allocated, over int64) {
			t.Helper()
			stock, err := shop.Stock(t.Context(), "floor")
			require.NoError(t, err)
			assert.Equal(t, capacity, stock.Capacity)
			assert.Equal(t, allocated, stock.Allocated)
			assert.Equal(t, over, stock.Over)
			assert.Zero(t, stock.Available)
		}
		cancel := func(from, to int) {
			t.Helper()
			var group sync.WaitGroup
			for i := from; i < to; i++ {
				group.Go(func() {
					_, err := shop.Cancel(context.Background(), request("floor", i).ID)
					assert.NoError(t, err)
				})
			}
			group.Wait()
		}

		set(500)
		stock(500, 700, 200)
		throng := gather(t, "floor", buyers, []error{inventory.ErrSoldOut}, shop, other)
		throng.hears(t, 2*buyers)
		stock(500, 700, 200)
		cancel(0, 150) // not enough
		throng.hears(t, 2*buyers)
		stock(500, 550, 50)
		assert.Zero(t, throng.bought.Load())
		cancel(150, 200) // none is over, and none is left
		throng.hears(t, 2*buyers)
		stock(500, 500, 0)
		assert.Zero(t, throng.bought.Load())
		cancel(200, 300)
		throng.buys(t, 100)
		throng.hears(t, 2*buyers)
		stock(500, 500, 0)
		assert.EqualValues(t, 100, throng.bought.Load())
		set(600)
		throng.buys(t, 200)
		throng.hears(t, 2*buyers)
		stock(600, 600, 0)
		require.NoError(t, shop.Restock(t.Context(), anAdjustment("floor", 50)))
		throng.buys(t, 250)
		require.NoError(t, other.WriteOff(t.Context(), order.Adjustment{ID: "broken", SKU: "floor", Units: 25, Reason: "broken"}))
		throng.hears(t, 2*buyers)
		stock(625, 650, 25)
		throng.leaves(t, s)
		assert.EqualValues(t, 250, throng.bought.Load())
		assert.EqualValues(t, 650, sold(t, s, "floor"))
		background(t, shop)
		books(t, shop, s, "floor")
		ledger(t, s, "floor")
	})
}

// An adjustment is made once under its ID, however often and wherever it is
// asked for, and under that ID no other one is made.
func TestAdjustmentsAreMadeOnce(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, s stores) {
		shops := []*booking.Service{open(t, s), open(t, s)}
		call := func(shop *booking.Service, a order.Adjustment) error {
			switch a.Kind {
			case order.Restock:
				return shop.Restock(context.Background(), a)
			case order.WriteOff:
				return shop.WriteOff(context.Background(), a)
			default:
				return shop.SetCapacity(context.Background(), a)
			}
		}
		capacity := func(sku string) int64 {
			t.Helper()
			stock, err := shops[1].Stock(t.Context(), sku)
			require.NoError(t, err)
			return stock.Capacity
		}
		for kind, want := range map[order.AdjustmentKind]int64{order.SetCapacity: 30, order.Restock: 130, order.WriteOff: 70} {
			sku := string(kind)
			require.NoError(t, shops[0].PutOnSale(t.Context(), order.Item{SKU: sku, Capacity: 100}))
			a := order.Adjustment{ID: "once " + sku, SKU: sku, Kind: kind, Units: 30, Reason: "a reason", Reference: "a note"}
			var group sync.WaitGroup
			for i := range 50 {
				group.Go(func() { assert.NoError(t, call(shops[i%2], a)) })
			}
			group.Wait()
			assert.Equal(t, want, capacity(sku))
			// It is not made anew later, when it would change something again.
			require.NoError(t, call(shops[0], order.Adjustment{ID: "later " + sku, SKU: sku, Kind: order.Restock, Units: 7}))
			if err := call(shops[1], a); kind == order.SetCapacity {
				require.ErrorIs(t, err, order.ErrSuperseded)
				var named *order.AdjustmentError
				require.ErrorAs(t, err, &named)
				assert.Equal(t, a.ID, named.ID)
			} else {
				require.NoError(t, err)
			}
			assert.Equal(t, want+7, capacity(sku))
			for name, change := range map[string]func(*order.Adjustment){
				"units":     func(a *order.Adjustment) { a.Units++ },
				"reason":    func(a *order.Adjustment) { a.Reason = "" },
				"reference": func(a *order.Adjustment) { a.Reference = "another" },
				"kind": func(a *order.Adjustment) {
					a.Kind = map[order.AdjustmentKind]order.AdjustmentKind{
						order.SetCapacity: order.Restock, order.Restock: order.WriteOff, order.WriteOff: order.SetCapacity,
					}[a.Kind]
				},
			} {
				other := a
				change(&other)
				err := call(shops[0], other)
				require.ErrorIs(t, err, order.ErrIdempotencyConflict, name)
				var named *order.AdjustmentError
				require.ErrorAs(t, err, &named)
				assert.Equal(t, a.ID, named.ID)
			}
			assert.Equal(t, want+7, capacity(sku))
			movements, err := shops[0].Movements(t.Context(), sku, 1, 10)
			require.NoError(t, err)
			require.Len(t, movements, 2, "one movement for each adjustment")
			assert.Equal(t, want-100, movements[0].Quantity)
			assert.Equal(t, a.Reason, movements[0].Reason)
			assert.Equal(t, a.Reference, movements[0].Reference)
			books(t, shops[0], s, sku)
			ledger(t, s, sku)
		}

		// One ID for two SKUs, at once: one of them has it.
		require.NoError(t, shops[0].PutOnSale(t.Context(), order.Item{SKU: "a", Capacity: 0}, order.Item{SKU: "b", Capacity: 0}))
		for i := range 50 {
			var errs [2]error
			var group sync.WaitGroup
			for n, sku := range []string{"a", "b"} {
				group.Go(func() {
					errs[n] = call(shops[n], order.Adjustment{ID: fmt.Sprint("either ", i), SKU: sku, Kind: order.Restock, Units: 1})
				})
			}
			group.Wait()
			if errs[0] == nil {
				errs[0], errs[1] = errs[1], nil
			}
			require.NoError(t, errs[1])
			require.ErrorIs(t, errs[0], order.ErrIdempotencyConflict)
		}
		assert.EqualValues(t, 50, capacity("a")+capacity("b"))
		books(t, shops[0], s, "a", "b")
	})
}

// What can't be is refused, and changes nothing, not even what is known of its ID.
func TestAdjustmentsOutOfBounds(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, s stores) {
		shop := open(t, s)
		require.NoError(t, shop.PutOnSale(t.Context(), order.Item{SKU: "floor", Capacity: 10}))
		requireInvalid(t, "units", shop.WriteOff(t.Context(), order.Adjustment{ID: "1", SKU: "floor", Units: 11}))
		requireInvalid(t, "units", shop.Restock(t.Context(), order.Adjustment{ID: "1", SKU: "floor", Units: inventory.MaxCapacity - 9}))
		requireInvalid(t, "units", shop.Restock(t.Context(), order.Adjustment{ID: "1", SKU: "floor", Units: 0}))
		requireInvalid(t, "units", shop.WriteOff(t.Context(), order.Adjustment{ID: "1", SKU: "floor", Units: -1}))
		requireInvalid(t, "units", shop.SetCapacity(t.Context(), order.Adjustment{ID: "1", SKU: "floor", Units: -1}))
		requireInvalid(t, "units", shop.SetCapacity(t.Context(), order.Adjustment{ID: "1", SKU: "floor", Units: inventory.MaxCapacity + 1}))
		requireInvalid(t, "reason", shop.Restock(t.Context(), order.Adjustment{ID: "1", SKU: "floor", Units: 1, Reason: "a\x00b"}))
		require.ErrorIs(t, shop.Restock(t.Context(), order.Adjustment{ID: "1", SKU: "nowhere", Units: 1}), order.ErrUnknownSKU)
		for kind, adjust := range map[order.AdjustmentKind]func(context.Context, order.Adjustment) error{
			order.SetCapacity: shop.SetCapacity, order.Restock: shop.Restock, order.WriteOff: shop.WriteOff,
		} {
			requireInvalid(t, "id", adjust(t.Context(), order.Adjustment{SKU: "floor", Units: 1})) // a repeat would add twice
			for _, other := range []order.AdjustmentKind{order.SetCapacity, order.Restock, order.WriteOff, "loss"} {
				if other != kind {
					requireInvalid(t, "kind", adjust(t.Context(), order.Adjustment{ID: "1", SKU: "floor", Kind: other, Units: 1}))
				}
			}
		}
		movements, err := shop.Movements(t.Context(), "floor", 0, 10)
		require.NoError(t, err)
		assert.Len(t, movements, 1, "nothing was changed")
		require.NoError(t, shop.WriteOff(t.Context(), order.Adjustment{ID: "1", SKU: "floor", Units: 10}), "the ID is free")
		for range 2 { // what was made is no error, though it couldn't be made again
			require.NoError(t, shop.WriteOff(t.Context(), order.Adjustment{ID: "1", SKU: "floor", Units: 10}))
		}
		_, err = book(shop, request("floor", 1))
		require.ErrorIs(t, err, inventory.ErrSoldOut)
		books(t, shop, s, "floor")
		ledger(t, s, "floor")
	})
}
