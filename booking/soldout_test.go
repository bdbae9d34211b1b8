package booking_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/booking"
	"github.com/lastunit/lastunit/internal/servertest"
	"github.com/lastunit/lastunit/internal/testdb"
	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

// questions counts what losers ask both sides.
type questions struct{ deducts, looks atomic.Int64 }

type askedInventory struct {
	inventory.InventoryRepository
	*questions
}

func (a askedInventory) Deduct(ctx context.Context, r inventory.Request) (inventory.Deduction, error) {
	a.deducts.Add(1)
	return a.InventoryRepository.Deduct(ctx, r)
}

type askedOrders struct {
	order.Store
	*questions
}

func (a askedOrders) Look(ctx context.Context, commits []order.Commit) ([]order.Outcome, []order.Counters, error) {
	a.looks.Add(int64(len(commits)))
	return a.Store.Look(ctx, commits)
}

// sellOut sells all units of a new SKU, one to an order.
func sellOut(t *testing.T, shop *booking.Service, sku string, units int) {
	require.NoError(t, shop.PutOnSale(t.Context(), order.Item{SKU: sku, Capacity: int64(units)}))
	for i := range units {
		_, err := bookOnce(shop, request(sku, i))
		require.NoError(t, err)
	}
}

// soonBooked books in a process that may still know the SKU to be sold out, for
// order.Reopening at most.
func soonBooked(t *testing.T, shop *booking.Service, r booking.Request) {
	t.Helper()
	eventually(t, func() error {
		_, err := shop.Book(t.Context(), r)
		if err != nil {
			require.ErrorIs(t, err, inventory.ErrSoldOut)
		}
		return err
	})
}

// lose asks for new orders until so many in a row were refused without anybody
// being asked.
func (a *questions) lose(t *testing.T, shop *booking.Service, sku string, inARow int) {
	row, n := 0, 0
	eventually(t, func() error {
		for range inARow {
			before := a.deducts.Load() + a.looks.Load()
			n++
			_, err := shop.Book(t.Context(), booking.Request{ID: fmt.Sprint(sku, "-lost-", n), Customer: "c", Lines: lines(sku, 2)})
			var short *inventory.StockError
			require.ErrorAs(t, err, &short)
			require.ErrorIs(t, err, inventory.ErrSoldOut)
			require.Equal(t, int64(2), short.Requested)
			if row++; a.deducts.Load()+a.looks.Load() > before {
				row = 0
			}
		}
		if row < inARow {
			return fmt.Errorf("%d in a row", row)
		}
		return nil
	})
}

// Losers ask nobody, and a second click gets its order all the same.
func TestLosersAskNobody(t *testing.T) {
	onBoth(t, func(t *testing.T, s stores) {
		a := &questions{}
		s.inventory, s.orders = askedInventory{s.inventory, a}, askedOrders{s.orders, a}
		shop, other := open(t, s), open(t, s)
		sellOut(t, other, "floor", 100)
		for _, shop := range []*booking.Service{shop, other} {
			a.lose(t, shop, "floor", 100)
			for i := range 100 {
				o, err := bookOnce(shop, request("floor", i))
				require.NoError(t, err)
				require.Equal(t, request("floor", i).ID, o.ID)
			}
			a.lose(t, shop, "floor", 20)
			_, err := bookOnce(shop, booking.Request{ID: request("floor", 7).ID, Customer: "c", Lines: lines("floor", 1)})
			require.ErrorIs(t, err, order.ErrIdempotencyConflict)
			_, err = bookOnce(shop, booking.Request{Customer: "c", Lines: lines("floor", 1)})
			require.ErrorIs(t, err, inventory.ErrSoldOut)
		}

		// Units that come back are seen at once in the process that gives them back.
		_, err := shop.Cancel(t.Context(), request("floor", 3).ID)
		require.NoError(t, err)
		_, err = bookOnce(shop, request("floor", 1003))
		require.NoError(t, err)
		a.lose(t, shop, "floor", 20)
		o, err := bookOnce(shop, request("floor", 3))
		require.ErrorIs(t, err, order.ErrCancelled)
		require.Equal(t, order.Cancelled, o.Status)

		// In another process, soon.
		a.lose(t, other, "floor", 20)
		_, err = shop.Cancel(t.Context(), request("floor", 1003).ID)
		require.NoError(t, err)
		soonBooked(t, other, request("floor", 1004))
		require.Equal(t, int64(100), sold(t, s, "floor"))
		exact(t, shop)
	})
}

// An order that another process booked, with a unit that came back only just now,
// is not denied by one that still knows the SKU to be sold out.
func TestNoOrderIsDeniedThatAnotherProcessBooked(t *testing.T) {
	t.Parallel()
	s := onServers(t)
	a := &questions{}
	counted := stores{askedInventory{s.inventory, a}, askedOrders{s.orders, a}, s.client, s.prefix}
	shop, other := open(t, counted), open(t, s)
	sellOut(t, other, "floor", 10)
	for i := range 50 {
		// It knows since a moment ago, and asks again only in a while.
		a.lose(t, shop, "floor", 3)
		last := request("floor", 9+i)
		_, err := other.Cancel(t.Context(), last.ID)
		require.NoError(t, err)
		_, err = bookOnce(other, request("floor", 10+i))
		require.NoError(t, err)
		_, err = bookOnce(shop, request("floor", 10+i))
		require.NoError(t, err, "its order is there")
	}
}

// Where the ledger does not tell of all orders, IDs are looked up.
func TestLosersWithoutALedger(t *testing.T) {
	t.Parallel()
	s := onServers(t)
	shop := open(t, s)
	ledger := s.orders.SetLedger
	require.NoError(t, ledger(t.Context(), false))
	sellOut(t, shop, "floor", 10)
	second := func() {
		for range 5 {
			_, err := bookOnce(shop, request("floor", 1000))
			require.ErrorIs(t, err, inventory.ErrSoldOut)
			for i := range 10 {
				_, err := bookOnce(shop, request("floor", i))
				require.NoError(t, err)
			}
		}
	}
	second()
	require.NoError(t, ledger(t.Context(), true))
	second()
}

// More orders than the filter had room for at first: they come and go.
func TestLosersAmongManyCancelled(t *testing.T) {
	t.Parallel()
	s := embedded(t)
	a := &questions{}
	s.inventory, s.orders = askedInventory{s.inventory, a}, askedOrders{s.orders, a}
	shop := open(t, s)
	sellOut(t, shop, "floor", 2)
	a.lose(t, shop, "floor", 20)
	for i := 2; i < 300; i++ {
		_, err := shop.Cancel(t.Context(), request("floor", i-2).ID)
		require.NoError(t, err)
		_, err = book(shop, request("floor", i)) // it may have to wait for the unit
		require.NoError(t, err)
	}
	a.lose(t, shop, "floor", 20)
	for i := range 298 {
		_, err := bookOnce(shop, request("floor", i))
		require.ErrorIs(t, err, order.ErrCancelled)
	}
}

// A pool that is sold out turns away those who draw on it.
func TestLosersOfAPool(t *testing.T) {
	t.Parallel()
	s := embedded(t)
	a := &questions{}
	s.inventory, s.orders = askedInventory{s.inventory, a}, askedOrders{s.orders, a}
	shop := open(t, s)
	sellOut(t, shop, "house", 10)
	require.NoError(t, shop.PutOnSale(t.Context(), order.Item{SKU: "seat", Capacity: 100, Draws: []order.Line{{SKU: "house", Quantity: 1}}}))
	_, err := bookOnce(shop, request("seat", 1))
	require.ErrorIs(t, err, inventory.ErrSoldOut)
	eventually(t, func() error {
		before := a.deducts.Load() + a.looks.Load()
		_, err := bookOnce(shop, request("seat", 2))
		require.ErrorIs(t, err, inventory.ErrSoldOut)
		if n := a.deducts.Load() + a.looks.Load() - before; n > 0 {
			return fmt.Errorf("%d asked", n)
		}
		return nil
	})
}

// Cancels, bookings and second clicks in two processes, at the last unit: nobody
// who has an order is told that there is none.
func TestSecondClicksAtTheLastUnit(t *testing.T) {
	t.Parallel()
	s := onServers(t)
	shops := []*booking.Service{open(t, s), open(t, s)}
	background(t, shops[0])
	sellOut(t, shops[0], "floor", 5)
	var mu sync.Mutex
	var live []string // orders that nobody is cancelling
	for i := range 5 {
		live = append(live, request("floor", i).ID)
	}
	var next, came, denied atomic.Int64
	next.Store(5)
	const enough = 20
	var wait sync.WaitGroup
	for caller := range 16 {
		wait.Go(func() {
			for came.Load() < enough && !t.Failed() {
				mu.Lock()
				var give string
				if caller == 0 && len(live) > 0 {
					give, live = live[0], live[1:]
				}
				mu.Unlock()
				if give != "" {
					_, err := shops[0].Cancel(t.Context(), give)
					assert.NoError(t, err)
				}
				i := int(next.Add(1))
				if _, err := shops[caller%2].Book(t.Context(), request("floor", i)); err != nil {
					continue
				}
				came.Add(1)
				if _, err := shops[1-caller%2].Book(t.Context(), request("floor", i)); err != nil {
					denied.Add(1)
					t.Errorf("order %d: %v", i, err)
				}
				mu.Lock()
				live = append(live, request("floor", i).ID)
				mu.Unlock()
			}
		})
	}
	wait.Wait()
	require.Zero(t, denied.Load())
	exact(t, shops[0])
}

// One order goes and another comes while the ledger is off: the sums say nothing
// of that, and the second click on it gets it all the same.
func TestLosersWhereTheLedgerWasOff(t *testing.T) {
	onBoth(t, func(t *testing.T, s stores) {
		shop := open(t, s)
		sellOut(t, shop, "floor", 10)
		require.NoError(t, s.orders.SetLedger(t.Context(), false))
		_, err := shop.Cancel(t.Context(), request("floor", 3).ID)
		require.NoError(t, err)
		_, err = bookOnce(shop, request("floor", 100))
		require.NoError(t, err)
		require.NoError(t, s.orders.SetLedger(t.Context(), true))
		for since := time.Now(); time.Since(since) < 3*order.Reopening; { // it is learned anew on the way
			_, err := bookOnce(shop, booking.Request{Customer: "c", Lines: lines("floor", 1)})
			require.ErrorIs(t, err, inventory.ErrSoldOut)
			_, err = bookOnce(shop, request("floor", 100))
			require.NoError(t, err)
		}
	})
}

// A first click takes no unit that came back before all processes have forgotten
// that there was none: so when its outcome is unknown, and a second click elsewhere
// is told "sold out", no order comes of the first one.
func TestNoOrderAfterARefusalWhileUnitsComeBack(t *testing.T) {
	t.Parallel()
	url := testdb.New(t, servertest.SharedPostgres(t))
	s := at(t, servertest.SharedRedis(t).Client(t), order.NewPostgres(connect(t, url)))
	slow := connect(t, url)
	first := open(t, stores{s.inventory, order.NewPostgres(slow), s.client, s.prefix})
	a := &questions{}
	second := open(t, stores{askedInventory{s.inventory, a}, askedOrders{s.orders, a}, s.client, s.prefix})
	other := open(t, s)
	sellOut(t, other, "floor", 10)
	_, err := first.Book(t.Context(), request("floor", 1)) // it has met the SKU
	require.NoError(t, err)
	for i := range 5 {
		var release []func()
		for range slow.Config().MaxConns { // its commits wait for a connection
			c, err := slow.Acquire(t.Context())
			require.NoError(t, err)
			release = append(release, c.Release)
		}
		r := request("floor", 10+i)
		a.lose(t, second, "floor", 3)
		_, err = other.Cancel(t.Context(), request("floor", 9+i).ID)
		require.NoError(t, err)
		ctx, leave := context.WithTimeout(t.Context(), 15*time.Millisecond)
		_, unsure := first.Book(ctx, r)
		leave()
		require.Error(t, unsure)
		_, refusal := second.Book(t.Context(), r)
		time.Sleep(order.Reopening) // before that, no commit lands anyway
		for _, let := range release {
			let()
		}
		if errors.Is(refusal, inventory.ErrSoldOut) {
			// What the first click had on its way lands before the second of these.
			for n := range 2 {
				_, err = first.Void(t.Context(), fmt.Sprint("nothing-", i, "-", n))
				require.NoError(t, err)
			}
			eventually(t, func() error { return settled(s, "floor") })
			_, err := other.Order(t.Context(), r.ID)
			require.ErrorIs(t, err, order.ErrNotFound)
		}
		soonBooked(t, other, r)
	}
}
