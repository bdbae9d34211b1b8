package booking_test

import (
	"context"
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

// several are the stores of so many processes on one database and one Redis:
// each has a pool of its own. The database is for a test that needs it too.
func several(t testing.TB, n int) (all []stores, database string) {
	database = testdb.New(t, servertest.SharedPostgres(t))
	all = []stores{at(t, servertest.SharedRedis(t).Client(t), order.NewPostgres(connect(t, database)))}
	for len(all) < n {
		next := all[0]
		next.orders = order.NewPostgres(connect(t, database))
		next.inventory = inventory.NewRedis(next.client, inventory.WithKeyPrefix(next.prefix))
		all = append(all, next)
	}
	return all, database
}

// eager is a service whose background work looks for holds all the time.
func eager(t testing.TB, s stores) *booking.Service {
	t.Helper()
	return open(t, s, func(c *booking.Config) { c.CheckEvery = 20 * time.Millisecond })
}

// books audits both sides of the SKUs: no difference, and sums that agree.
func books(t testing.TB, shop *booking.Service, s stores, skus ...string) {
	t.Helper()
	exact(t, shop)
	tallies, err := s.orders.Tally(context.Background(), skus...)
	require.NoError(t, err)
	require.Len(t, tallies, len(skus))
	for _, tally := range tallies {
		assert.True(t, tally.Ledger)
		assert.True(t, tally.Balanced(), "%+v", tally)
		assert.Zero(t, tally.Uncounted)
	}
}

// ledger reads all movements of a SKU, which must be numbered without a gap and
// add up to the counters. It returns what happened to each order, in turn.
func ledger(t testing.TB, s stores, sku string) map[string][]order.MovementKind {
	t.Helper()
	happened := make(map[string][]order.MovementKind)
	var capacity, allocated, last int64
	for {
		page, err := s.orders.Movements(context.Background(), sku, last, 1000)
		require.NoError(t, err)
		if len(page) == 0 {
			break
		}
		for _, m := range page {
			last++
			require.Equal(t, last, m.Number, "movements are numbered without a gap")
			require.Equal(t, sku, m.SKU)
			switch m.Kind {
			case order.MovedOnSale, order.MovedCapacity, order.MovedRestock, order.MovedWriteOff:
				capacity += m.Quantity
			case order.MovedConfirmed: // changes neither
			default:
				allocated += m.Quantity
			}
			if m.OrderID != "" {
				happened[m.OrderID] = append(happened[m.OrderID], m.Kind)
			}
		}
	}
	counters, err := s.orders.Counters(context.Background(), sku)
	require.NoError(t, err)
	require.Len(t, counters, 1)
	assert.Equal(t, counters[0].Capacity, capacity, "the ledger's capacity of %s", sku)
	assert.Equal(t, counters[0].Allocated, allocated, "the ledger's allocated of %s", sku)
	return happened
}

// orderOf reads an order that must be there.
func orderOf(t testing.TB, s stores, id string) order.Order {
	t.Helper()
	o, err := s.orders.Order(context.Background(), id)
	require.NoError(t, err)
	return o
}

// allOrders reads all orders of a test, up to a page.
func allOrders(t testing.TB, s stores) map[string]order.Order {
	t.Helper()
	page, err := s.orders.Orders(context.Background(), order.Query{Size: order.MaxPage})
	require.NoError(t, err)
	orders := make(map[string]order.Order, len(page.Orders))
	for _, o := range page.Orders {
		orders[o.ID] = o
	}
	return orders
}

// haveEnded waits until no hold is over and still there, and returns all orders.
func haveEnded(t testing.TB, s stores, sku string) (orders map[string]order.Order) {
	t.Helper()
	eventually(t, func() error {
		c, err := s.orders.Counters(context.Background(), sku)
		require.NoError(t, err)
		orders = allOrders(t, s)
		for id, o := range orders {
			if o.Status == order.Held && !o.ExpiresAt.After(c[0].At) {
				return fmt.Errorf("%s is still held", id)
			}
		}
		return nil
	})
	return orders
}

// ends waits until an order has a status.
func ends(t testing.TB, s stores, id string, status order.Status) order.Order {
	t.Helper()
	var o order.Order
	eventually(t, func() error {
		if o = orderOf(t, s, id); o.Status != status {
			return fmt.Errorf("%s is %s, want %s", id, o.Status, status)
		}
		return nil
	})
	return o
}

// aim makes two calls meet: whoever loses gets a head start, a bigger one the longer
// it has lost, however fast the machine is.
type aim struct {
	mu          sync.Mutex
	wins, loses int64 // of the first side; to be read once the races are over

	lead time.Duration // of the first side; below zero of the second
	row  int           // wins of the first side in a row; below zero of the second
}

func (a *aim) note(won bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if won {
		a.wins++
		a.row = max(a.row, 0) + 1
	} else {
		a.loses++
		a.row = min(a.row, 0) - 1
	}
	steps := 1 + max(a.row, -a.row)/racesAtOnce // those under way all end alike
	if won {
		steps = -steps
	}
	a.lead += time.Duration(steps) * 300 * time.Microsecond
}

// first and second are how long each side holds back.
func (a *aim) first() time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	return max(0, -a.lead)
}

func (a *aim) second() time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	return max(0, a.lead)
}

// bothWon proves that the race was one.
func (a *aim) bothWon(t *testing.T) {
	t.Helper()
	t.Logf("the first side won %d times, the second %d times", a.wins, a.loses)
	assert.Greater(t, a.wins, int64(50), "wins of the first side")
	assert.Greater(t, a.loses, int64(50), "wins of the second side")
}

const races, racesAtOnce = 1000, 100

// race runs all races, so many at once.
func race(run func(i int)) {
	var group sync.WaitGroup
	next := make(chan int)
	for range racesAtOnce {
		group.Go(func() {
			for i := range next {
				run(i)
			}
		})
	}
	for i := range races {
		next <- i
	}
	close(next)
	group.Wait()
}

// twoSKUs is an order of two SKUs.
func twoSKUs(i int) booking.Request {
	return booking.Request{
		ID: fmt.Sprint("race-", i), Customer: fmt.Sprint("customer-", i),
		Lines: []order.Line{{SKU: "balcony", Quantity: 2}, {SKU: "floor", Quantity: 1}},
	}
}

func sellTwoSKUs(t *testing.T, shop *booking.Service) {
	require.NoError(t, shop.PutOnSale(t.Context(),
		order.Item{SKU: "balcony", Capacity: 10 * races}, order.Item{SKU: "floor", Capacity: 5 * races}))
}

// isExpired says whether an error is what a late call gets for its order.
func isExpired(t *testing.T, err error, o order.Order) bool {
	var late *order.HoldExpiredError
	return assert.ErrorIs(t, err, order.ErrHoldExpired) && assert.ErrorAs(t, err, &late) &&
		assert.Equal(t, o.ID, late.ID) &&
		assert.True(t, o.ExpiresAt.Equal(late.ExpiredAt), "%v %v", o.ExpiresAt, late.ExpiredAt) &&
		assert.Len(t, late.Left, 2) &&
		assert.Equal(t, "balcony", late.Left[0].SKU) && assert.Equal(t, "floor", late.Left[1].SKU) &&
		assert.Positive(t, late.Left[0].Quantity) && assert.Positive(t, late.Left[1].Quantity)
}

// A hold is confirmed, or it expires: at the very moment, too, with two other
// processes that end holds all the time.
func TestConfirmAgainstExpiry(t *testing.T) {
	t.Parallel()
	all, _ := several(t, 3)
	shops := []*booking.Service{open(t, all[0]), eager(t, all[1]), eager(t, all[2])}
	sellTwoSKUs(t, shops[0])
	stop := []func(){background(t, shops[1]), background(t, shops[2])}

	var aim aim
	var confirmed sync.Map
	race(func(i int) {
		shop := shops[i%len(shops)]
		// The longer the hold, the easier for the confirmation.
		held, err := shop.Hold(context.Background(), twoSKUs(i), time.Millisecond+aim.second())
		if !assert.NoError(t, err) {
			return
		}
		time.Sleep(aim.first()) // to come later
		o, err := shops[(i+1)%len(shops)].Confirm(context.Background(), held.ID)
		aim.note(err == nil)
		assert.Equal(t, held.ID, o.ID, "the order comes beside the error, too")
		assert.True(t, held.ExpiresAt.Equal(o.ExpiresAt))
		if err != nil {
			isExpired(t, err, held)
			return
		}
		assert.Equal(t, order.Confirmed, o.Status)
		confirmed.Store(held.ID, true)
	})
	aim.bothWon(t)

	// As a process does that took them all and was then paused for long.
	slow := make([]order.Change, 0, races)
	for id := range haveEnded(t, all[0], "floor") {
		slow = append(slow, order.Change{ID: id, Action: order.Expire})
	}
	_, _, err := all[1].orders.Change(t.Context(), slow)
	require.NoError(t, err)
	orders := allOrders(t, all[0])
	require.Len(t, orders, races)
	for id, o := range orders {
		want := order.Expired
		if _, ok := confirmed.Load(id); ok {
			want = order.Confirmed
		}
		assert.Equal(t, want, o.Status, id)
	}
	for _, stop := range stop {
		stop()
	}
	books(t, shops[0], all[0], "balcony", "floor")
	for _, sku := range []string{"balcony", "floor"} {
		happened := ledger(t, all[0], sku)
		require.Len(t, happened, races)
		for id, kinds := range happened {
			want := []order.MovementKind{order.MovedHeld, order.MovedExpired}
			if _, ok := confirmed.Load(id); ok {
				want[1] = order.MovedConfirmed
			}
			assert.Equal(t, want, kinds, id)
		}
	}
	assert.Equal(t, aim.wins, sold(t, all[0], "floor"))
	assert.Equal(t, 2*aim.wins, sold(t, all[0], "balcony"))
}

// An extension that succeeded holds; one that failed came too late.
func TestExtendAgainstExpiry(t *testing.T) {
	t.Parallel()
	all, _ := several(t, 3)
	shops := []*booking.Service{open(t, all[0]), eager(t, all[1]), eager(t, all[2])}
	sellTwoSKUs(t, shops[0])
	stop := []func(){background(t, shops[1]), background(t, shops[2])}

	var aim aim
	var extended sync.Map
	race(func(i int) {
		shop := shops[i%len(shops)]
		held, err := shop.Hold(context.Background(), twoSKUs(i), time.Millisecond+aim.second())
		if !assert.NoError(t, err) {
			return
		}
		time.Sleep(aim.first()) // to come later
		o, err := shops[(i+1)%len(shops)].Extend(context.Background(), held.ID, time.Hour)
		aim.note(err == nil)
		if err != nil {
			isExpired(t, err, held)
			return
		}
		assert.Equal(t, order.Held, o.Status)
		assert.Greater(t, o.ExpiresAt.Sub(held.ExpiresAt), 59*time.Minute)
		extended.Store(held.ID, o.ExpiresAt)
	})
	aim.bothWon(t)

	orders := haveEnded(t, all[0], "floor")
	require.Len(t, orders, races)
	for id, o := range orders {
		until, ok := extended.Load(id)
		if !ok {
			assert.Equal(t, order.Expired, o.Status, id)
			continue
		}
		assert.Equal(t, order.Held, o.Status, id)
		assert.True(t, o.ExpiresAt.Equal(until.(time.Time)))
	}
	for _, stop := range stop {
		stop()
	}
	books(t, shops[0], all[0], "balcony", "floor")
	happened := ledger(t, all[0], "floor")
	require.Len(t, happened, races)
	for id, kinds := range happened {
		want := []order.MovementKind{order.MovedHeld, order.MovedExpired}
		if _, ok := extended.Load(id); ok {
			want = want[:1] // still held
		}
		assert.Equal(t, want, kinds, id)
	}
	assert.Equal(t, aim.wins, sold(t, all[0], "floor"))
}

// However a cancellation, a second copy of it and a confirmation meet, the order
// is cancelled, its units come back once, and the confirmation says whether it
// came first.
func TestCancelAgainstConfirm(t *testing.T) {
	t.Parallel()
	all, _ := several(t, 3)
	shops := []*booking.Service{open(t, all[0]), open(t, all[1]), open(t, all[2])}
	sellTwoSKUs(t, shops[0])

	var aim aim
	var confirmed sync.Map
	race(func(i int) {
		held, err := shops[i%3].Hold(context.Background(), twoSKUs(i), time.Hour)
		if !assert.NoError(t, err) {
			return
		}
		var both sync.WaitGroup
		for copied := range 2 {
			both.Go(func() {
				time.Sleep(aim.second()) // to come later
				o, err := shops[(i+1+copied)%3].Cancel(context.Background(), held.ID)
				assert.NoError(t, err)
				assert.Equal(t, order.Cancelled, o.Status)
			})
		}
		time.Sleep(aim.first()) // to come later
		o, err := shops[i%3].Confirm(context.Background(), held.ID)
		both.Wait()
		aim.note(err == nil)
		assert.Equal(t, held.ID, o.ID, "the order comes beside the error, too")
		if err == nil {
			assert.Equal(t, order.Confirmed, o.Status)
			confirmed.Store(held.ID, true)
			return
		}
		assert.ErrorIs(t, err, order.ErrCancelled)
		assert.Equal(t, order.Cancelled, o.Status)
	})
	aim.bothWon(t)

	books(t, shops[0], all[0], "balcony", "floor")
	for _, sku := range []string{"balcony", "floor"} {
		happened := ledger(t, all[0], sku)
		require.Len(t, happened, races)
		for id, kinds := range happened {
			want := []order.MovementKind{order.MovedHeld, order.MovedCancelled}
			if _, ok := confirmed.Load(id); ok {
				want = []order.MovementKind{order.MovedHeld, order.MovedConfirmed, order.MovedCancelled}
			}
			assert.Equal(t, want, kinds, id)
		}
		assert.Zero(t, sold(t, all[0], sku))
	}
}

// sweeper is the orders of a process, and how many due holds it took.
type sweeper struct {
	order.Store
	took atomic.Int64
}

func (s *sweeper) Due(ctx context.Context, again time.Duration, limit int) ([]order.Order, error) {
	due, err := s.Store.Due(ctx, again, limit)
	s.took.Add(int64(len(due)))
	return due, err
}

// Two processes end holds, and two slow ones end all of them once more: each
// hold ends once.
func TestTwoSweepers(t *testing.T) {
	t.Parallel()
	all, _ := several(t, 4)
	sweepers := []*sweeper{{Store: all[1].orders}, {Store: all[2].orders}}
	shop := open(t, all[0])
	sellTwoSKUs(t, shop)
	for i, s := range sweepers {
		all[i+1].orders = s
		background(t, eager(t, all[i+1]))
	}
	const together = 20
	for first := 0; first < races; first += 25 * together {
		var batches sync.WaitGroup
		for from := first; from < min(races, first+25*together); from += together {
			batches.Go(func() {
				changes := make([]order.Change, together)
				var last time.Time
				for i := range changes {
					held, err := shop.Hold(context.Background(), twoSKUs(from+i), 2*time.Millisecond)
					if !assert.NoError(t, err) {
						return
					}
					changes[i] = order.Change{ID: held.ID, Action: order.Expire}
					last = held.ExpiresAt
				}
				// As two processes do that took them and were then paused.
				var slow sync.WaitGroup
				for _, s := range []stores{all[0], all[3]} {
					slow.Go(func() {
						time.Sleep(time.Until(last)) // to meet the others there
						_, _, err := s.orders.Change(context.Background(), changes)
						assert.NoError(t, err)
					})
				}
				slow.Wait()
			})
		}
		batches.Wait()
	}
	orders := haveEnded(t, all[0], "floor")
	require.Len(t, orders, races)
	for id, o := range orders {
		assert.Equal(t, order.Expired, o.Status, id)
	}
	t.Logf("the sweepers took %d and %d of %d holds", sweepers[0].took.Load(), sweepers[1].took.Load(), races)
	for _, s := range sweepers {
		assert.Positive(t, s.took.Load(), "holds that a sweeper took")
	}
	books(t, shop, all[0], "balcony", "floor")
	for _, sku := range []string{"balcony", "floor"} {
		happened := ledger(t, all[0], sku)
		require.Len(t, happened, races)
		for id, kinds := range happened {
			assert.Equal(t, []order.MovementKind{order.MovedHeld, order.MovedExpired}, kinds, id)
		}
		assert.Zero(t, sold(t, all[0], sku))
	}
}
