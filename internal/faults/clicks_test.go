package faults_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/booking"
	"github.com/lastunit/lastunit/internal/servertest"
	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

// Row 4: the same request again, whenever and wherever, is the same order.
func secondClick(t *testing.T, m *measured) {
	s := begin(t, setup{redis: servertest.StartRedis(t)})
	far, _, farPostgres := s.far(setup{})
	r := request(floor, late)
	everywhere := func(when string) {
		t.Helper()
		for _, shop := range append(s.shops, far) {
			_, err := s.ask(shop, r, book) // takes note if it is another order than the last time
			require.NoError(t, err, when)
		}
	}

	// During the first: its commit is held.
	commit := hold(t, farPostgres, mentions(r.ID))
	var first sync.WaitGroup
	for range 2 { // the second one joins the first, in its process
		first.Go(func() {
			_, err := s.ask(far, r, book)
			assert.NoError(t, err)
		})
	}
	commit.await(1)
	_, err := s.ask(s.shops[0], r, book)
	require.NoError(t, err, "from another process, meanwhile")
	commit.release()
	first.Wait()

	s.exact()
	everywhere("after it was settled")
	// In a rush each buyer clicks at two services at once, while Redis is wiped.
	s.rushWith(m, rush{buy: s.twoClicks}, func() {
		require.NoError(t, s.client.FlushAll(t.Context()).Err())
	})
	require.Equal(t, s.capacity, s.sold())
	everywhere("after the last unit was sold")
	require.NoError(t, s.client.FlushAll(t.Context()).Err())
	everywhere("after a wipe")

	// From another process: all who have an order, and as many who don't.
	var have int
	for i := range int(s.capacity) {
		if _, ok := s.told.booked[request(floor, i).ID]; ok {
			have++
		}
	}
	before := len(s.told.booked)
	child := s.start(s.job(0, int(s.capacity), 20))
	var again int
	for {
		report, ok := s.next(child)
		if !ok || report.Said == saidDone {
			break
		}
		if report.Said == saidBooked {
			again++
		}
	}
	require.NoError(t, child.Terminate())
	require.Len(t, s.told.booked, before, "nobody new has an order")
	assert.Equal(t, have, again, "in another process all of them get theirs")
	s.exact()
	s.audit()
}

// twoClicks books at two services at once: where one says that it is booked the other
// may not refuse it.
func (s *sale) twoClicks(ctx context.Context, _ *booking.Service, r booking.Request) (order.Order, error) {
	var orders [2]order.Order
	var errs [2]error
	var clicks sync.WaitGroup
	for i := range orders {
		clicks.Go(func() { orders[i], errs[i] = s.shops[i].Book(ctx, r) })
	}
	clicks.Wait()
	for i := range orders {
		if errs[i] == nil {
			if errors.Is(errs[1-i], inventory.ErrSoldOut) {
				s.told.complain("order %s: booked by one click and refused to the other: %v", r.ID, errs[1-i])
			}
			return orders[i], nil
		}
	}
	if !errors.Is(errs[0], inventory.ErrSoldOut) {
		return orders[0], errs[0]
	}
	return orders[1], errs[1]
}

// Row 5: a caller who leaves while the call is queued, in this process, has taken
// nothing.
func leavesQueued(t *testing.T, _ *measured) {
	s := begin(t, setup{})
	far, farRedis, _ := s.far(setup{config: func(c *booking.Config) { c.Timeout = patience }})
	_, err := s.ask(far, request(floor, late), book)
	require.NoError(t, err)
	s.exact()
	before := s.stock()

	// One call is held on its way to Redis: the others wait for it.
	deduct := hold(t, farRedis, isScript)
	stuck := make(chan error, 1)
	go func() {
		_, err := s.ask(far, request(floor, late+1), book)
		stuck <- err
	}()
	deduct.await(1)
	var queued sync.WaitGroup
	for i := range 20 {
		queued.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			_, err := far.Book(ctx, request(floor, late+100+i))
			assert.ErrorIs(t, err, booking.ErrNotSent)
			assert.NotErrorIs(t, err, order.ErrOutcomeUnknown)
		})
	}
	queued.Wait()
	deduct.release()
	require.NoError(t, <-stuck)
	s.exact()
	after := s.stock()
	assert.Equal(t, before.Taken+1, after.Taken)
	assert.Equal(t, before.Seq+1, after.Seq, "those who left have taken nothing, at no moment")
	for i := range 20 {
		_, err := s.orders.Order(t.Context(), request(floor, late+100+i).ID)
		assert.ErrorIs(t, err, order.ErrNotFound)
	}
	s.sellTheRest()
	s.audit()
}

// Row 5: a caller who leaves while the commit is under way does not know. The sweep
// decides, and whoever asks again gets to know.
func leavesInFlight(t *testing.T, m *measured) {
	s := begin(t, setup{idle: true}) // nobody sweeps before we have looked
	far, _, farPostgres := s.far(setup{config: func(c *booking.Config) { c.Timeout = patience }})
	_, err := s.ask(far, request(floor, late), book)
	require.NoError(t, err)
	s.exact()

	r := request(floor, late+1)
	commit := hold(t, farPostgres, mentions(r.ID))
	ctx, cancel := context.WithCancel(context.Background())
	answer := make(chan error, 1)
	go func() {
		_, err := far.Book(ctx, r)
		answer <- err
	}()
	commit.await(1)
	require.EqualValues(t, 1, s.stock().Unsettled, "it has deducted")
	cancel()
	err = <-answer
	require.ErrorIs(t, err, order.ErrOutcomeUnknown)
	require.ErrorIs(t, err, context.Canceled)
	s.work()
	s.swept()
	commit.release() // too late
	_, err = s.ask(s.shops[0], r, book)
	require.NoError(t, err)
	s.recover(m, s.rushOf(0, int(s.capacity)+10))
}

// swept waits until nothing is unsettled, by the sweep of the services.
func (s *sale) swept() {
	s.t.Helper()
	eventually(s.t, func() error { return missing(int(s.stock().Unsettled), "settled units") })
}

// rushOf sends buyers at all services, and returns what waits for them.
func (s *sale) rushOf(first, buyers int) (wait func()) {
	var callers sync.WaitGroup
	next := make(chan int, buyers)
	for i := range buyers {
		next <- first + i
	}
	close(next)
	for caller := range 20 {
		callers.Go(func() {
			for i := range next {
				_, _ = s.ask(s.shops[caller%len(s.shops)], request(floor, i), book)
			}
		})
	}
	return callers.Wait
}

// Row 6: the retry was told "sold out", and then the original arrives.
func lateOriginal(t *testing.T, m *measured) {
	for _, what := range []string{"deduct", "commit"} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			s := begin(t, setup{})
			// It does not give up while the original is on its way.
			far, farRedis, farPostgres := s.far(setup{config: func(c *booking.Config) { c.Timeout = patience }})
			_, err := s.ask(far, request(floor, late), book)
			require.NoError(t, err)
			s.exact()

			r := request(floor, late+1)
			proxy := farRedis
			if what == "commit" {
				proxy = farPostgres
			}
			original := hold(t, proxy, mentions(r.ID))
			ctx, leave := context.WithCancel(context.Background())
			defer leave()
			answer := make(chan error, 1)
			go func() {
				_, err := far.Book(ctx, r)
				answer <- err
			}()
			original.await(1)
			leave()
			require.ErrorIs(t, <-answer, order.ErrOutcomeUnknown)
			s.swept()
			s.rushOf(0, int(s.capacity)+10)()
			_, err = s.ask(s.shops[0], r, book)
			require.ErrorIs(t, err, inventory.ErrSoldOut)
			s.cancelOrders(1) // there is a unit again, for those who ask now
			original.release()
			ended, end := context.WithCancel(context.Background())
			end()
			require.NoError(t, far.Run(ended), "the original has arrived")
			_, err = s.orders.Order(t.Context(), r.ID)
			require.ErrorIs(t, err, order.ErrNotFound)
			eventually(t, func() error { // it may say "sold out" from memory for a moment yet
				_, err := s.ask(s.shops[0], request(floor, late+2), book)
				return err
			})
			s.recover(m, nil)
		})
	}
}
