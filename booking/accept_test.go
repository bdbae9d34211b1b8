package booking_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/lastunit/lastunit/booking"
	"github.com/lastunit/lastunit/internal/servertest"
	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

// stalled are orders whose commits fail as long as the test says, as if Postgres
// were down.
type stalled struct {
	order.Store
	down    atomic.Bool
	commits atomic.Int64
}

func (s *stalled) Commit(ctx context.Context, commits []order.Commit) ([]order.Outcome, []order.Counters, error) {
	s.commits.Add(1)
	if s.down.Load() {
		return nil, nil, fmt.Errorf("%w: the test says so", order.ErrUnavailable)
	}
	return s.Store.Commit(ctx, commits)
}

// accepting is a service whose commits the test can stall, with what became of
// the orders that were refused.
type accepting struct {
	*booking.Service
	stalled *stalled

	mu      sync.Mutex
	refused map[string][]error
}

func (a *accepting) refusals(id string) []error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.refused[id]
}

// accepts makes such a service over the stores.
func accepts(t testing.TB, s stores, backlog int) *accepting {
	t.Helper()
	a := &accepting{stalled: &stalled{Store: s.orders}, refused: make(map[string][]error)}
	s.orders = a.stalled
	a.Service = open(t, s, func(c *booking.Config) {
		c.Backlog = backlog
		c.OnRefused = func(ctx context.Context, o order.Order, why error) {
			if ctx.Err() != nil {
				return
			}
			a.mu.Lock()
			defer a.mu.Unlock()
			a.refused[o.ID] = append(a.refused[o.ID], why)
		}
	})
	return a
}

// accepter is a service, or one with more around it.
type accepter interface {
	Accept(ctx context.Context, request booking.Request) (booking.Receipt, error)
}

func accept(t testing.TB, shop accepter, r booking.Request) booking.Receipt {
	t.Helper()
	var receipt booking.Receipt
	eventually(t, func() (err error) { // a slow machine may have to ask again
		receipt, err = shop.Accept(t.Context(), r)
		if !errors.Is(err, order.ErrOutcomeUnknown) {
			require.NoError(t, err)
		}
		return err
	})
	assert.Equal(t, r.ID, receipt.ID)
	assert.Equal(t, r.Customer, receipt.Customer)
	return receipt
}

// waits is what became of a receipt, soon.
func waits(t testing.TB, receipt booking.Receipt) (order.Order, error) {
	t.Helper()
	ctx := patiently(t)
	o, err := receipt.Wait(ctx)
	require.NoError(t, ctx.Err(), "it is not decided")
	select {
	case <-receipt.Done():
	default:
		assert.Fail(t, "it is decided and not done")
	}
	return o, err
}

func confirmed(t testing.TB, o order.Order, err error, r booking.Request) {
	t.Helper()
	require.NoError(t, err)
	assert.Equal(t, order.Confirmed, o.Status)
	assert.Equal(t, r.ID, o.ID)
	assert.Equal(t, r.Customer, o.Customer)
	assert.ElementsMatch(t, r.Lines, o.Lines)
}

// looked polls until it is decided.
func looked(t testing.TB, shop *booking.Service, r booking.Request) (o order.Order, err error) {
	t.Helper()
	eventually(t, func() error {
		if o, err = shop.Lookup(context.Background(), r); errors.Is(err, booking.ErrPending) {
			return err
		}
		return nil
	})
	return o, err
}

func TestAccept(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, s stores) {
		shop := accepts(t, s, 0)
		background(t, shop.Service)
		require.NoError(t, shop.PutOnSale(t.Context(), order.Item{SKU: "floor", Capacity: 3}, order.Item{SKU: "balcony", Capacity: 9}))
		r := booking.Request{ID: "1", Customer: "c", Lines: []order.Line{{SKU: "floor", Quantity: 2}, {SKU: "balcony", Quantity: 4}}}
		receipt := accept(t, shop, r)
		assert.Zero(t, receipt.Replicas)
		o, err := waits(t, receipt)
		confirmed(t, o, err, r)
		stored, err := shop.Order(t.Context(), "1")
		confirmed(t, stored, err, r)
		o, err = shop.Lookup(t.Context(), r)
		confirmed(t, o, err, r)

		_, err = shop.Accept(t.Context(), request("floor", 2))
		require.NoError(t, err)
		_, err = shop.Accept(t.Context(), units("3", "floor", 1))
		for errors.Is(err, inventory.ErrTryAgain) {
			time.Sleep(betweenTries)
			_, err = shop.Accept(t.Context(), units("3", "floor", 1))
		}
		require.ErrorIs(t, err, inventory.ErrSoldOut)
		require.NotErrorIs(t, err, order.ErrRefused)
		_, err = shop.Lookup(t.Context(), units("3", "floor", 1))
		require.ErrorIs(t, err, order.ErrNotFound)
		exact(t, shop.Service)
		assert.EqualValues(t, 3, sold(t, s, "floor"))
		assert.EqualValues(t, 4, sold(t, s, "balcony"))
	})
}

// What is told before Postgres has the order, and after.
func TestAcceptIsNotBooked(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, s stores) {
		shop := accepts(t, s, 0)
		other := open(t, s)
		require.NoError(t, shop.PutOnSale(t.Context(), order.Item{SKU: "floor", Capacity: 3}))
		r := request("floor", 1)
		shop.stalled.down.Store(true)
		receipt := accept(t, shop, r)
		r.Lines[0].Quantity = 3 // what the caller does with it now is its own affair
		r.Lines = lines("floor", 1)
		for _, anybody := range []*booking.Service{shop.Service, other} {
			_, err := anybody.Lookup(t.Context(), r)
			require.ErrorIs(t, err, booking.ErrPending)
			_, err = anybody.Order(t.Context(), r.ID)
			require.ErrorIs(t, err, order.ErrNotFound)
		}
		select {
		case <-receipt.Done():
			require.Fail(t, "it is done")
		default:
		}
		ctx, leave := context.WithTimeout(t.Context(), time.Millisecond)
		defer leave()
		_, err := receipt.Wait(ctx)
		require.ErrorIs(t, err, booking.ErrPending)
		require.ErrorIs(t, err, context.DeadlineExceeded)

		// The receipt travels as JSON, and is the request with which it is found.
		text, err := json.Marshal(receipt)
		require.NoError(t, err)
		assert.JSONEq(t, `{"id":"floor-1","customer":"customer-1","lines":[{"sku":"floor","quantity":1}]}`, string(text))
		var kept booking.Receipt
		require.NoError(t, json.Unmarshal(text, &kept))
		_, err = kept.Wait(t.Context())
		require.ErrorIs(t, err, inventory.ErrInvalid)
		assert.Nil(t, kept.Done())
		var again booking.Request
		require.NoError(t, json.Unmarshal(text, &again))
		assert.Equal(t, r, again)

		shop.stalled.down.Store(false)
		o, err := waits(t, receipt)
		confirmed(t, o, err, r)
		o, err = looked(t, other, again)
		confirmed(t, o, err, r)
		exact(t, shop.Service)
	})
}

// The same ID, again: one order, or a conflict, whoever asks for what.
func TestAcceptTwice(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, s stores) {
		shop := accepts(t, s, 0)
		other := accepts(t, s, 0)
		for _, b := range []*accepting{shop, other} {
			background(t, b.Service)
		}
		require.NoError(t, shop.PutOnSale(t.Context(), order.Item{SKU: "floor", Capacity: 100}))
		shop.stalled.down.Store(true)

		// Here, while it is on its way.
		r := request("floor", 1)
		first := accept(t, shop, r)
		second := accept(t, shop, r)
		conflict := r
		conflict.Customer = "another"
		ctx, leave := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer leave()
		_, err := shop.Accept(ctx, conflict)
		require.ErrorIs(t, err, order.ErrOutcomeUnknown, "only Postgres knows whose the ID is")
		shop.stalled.down.Store(false)
		_, err = waits(t, accept(t, shop, conflict))
		require.ErrorIs(t, err, order.ErrIdempotencyConflict)
		for _, receipt := range []booking.Receipt{first, second, accept(t, shop, r), accept(t, other, r)} {
			o, err := waits(t, receipt)
			confirmed(t, o, err, r)
		}

		// Elsewhere, by Accept and by Book, before and after it is committed.
		for i := 2; i < 20; i++ {
			r := request("floor", i)
			var clicks sync.WaitGroup
			for range 2 {
				for _, b := range []*accepting{shop, other} {
					clicks.Go(func() {
						receipt, err := b.Accept(context.Background(), r)
						if assert.NoError(t, err) {
							o, err := receipt.Wait(context.Background())
							assert.NoError(t, err)
							assert.Equal(t, r.ID, o.ID)
						}
					})
					clicks.Go(func() {
						_, err := book(b.Service, r)
						assert.NoError(t, err)
					})
				}
			}
			clicks.Wait()
		}
		// Book, and then Accept with the same and with another content.
		r = request("floor", 20)
		_, err = bookOnce(shop.Service, r)
		require.NoError(t, err)
		o, err := waits(t, accept(t, shop, r))
		confirmed(t, o, err, r)
		conflict = r
		conflict.Lines = lines("floor", 2)
		if receipt, err := shop.Accept(t.Context(), conflict); err == nil { // it may not be known yet
			_, err = waits(t, receipt)
			require.ErrorIs(t, err, order.ErrIdempotencyConflict)
			require.Empty(t, shop.refusals(r.ID), "the order of this ID stands")
		} else {
			require.ErrorIs(t, err, order.ErrIdempotencyConflict)
		}
		_, err = other.Lookup(t.Context(), conflict)
		require.ErrorIs(t, err, order.ErrIdempotencyConflict)
		exact(t, shop.Service)
		assert.EqualValues(t, 20, sold(t, s, "floor"))
	})
}

// A second click on the last unit gets its receipt, in every process, also while
// the order is nowhere but in Redis.
func TestSecondClickOnTheLastAcceptedUnit(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, s stores) {
		other := accepts(t, s, 0)
		require.NoError(t, other.PutOnSale(t.Context(), order.Item{SKU: "floor", Capacity: 1}))
		r := request("floor", 1)
		gone(t, s, r)
		var o order.Order
		eventually(t, func() (err error) { // all is in flight until a sweep carries it out
			o, err = other.Book(context.Background(), r)
			if errors.Is(err, inventory.ErrTryAgain) {
				_, err := other.ReconcileAll(context.Background(), booking.Repair)
				return errors.Join(errors.New("in flight"), err)
			}
			require.NoError(t, err)
			return nil
		})
		confirmed(t, o, nil, r)
		exact(t, other.Service)
		assert.EqualValues(t, 1, sold(t, s, "floor"))
	})
}

// Cancelled before it was committed: it is not booked any more.
func TestAcceptedAndCancelled(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, s stores) {
		shop := accepts(t, s, 0)
		require.NoError(t, shop.PutOnSale(t.Context(), order.Item{SKU: "floor", Capacity: 1}))
		shop.stalled.down.Store(true)
		r := request("floor", 1)
		receipt := accept(t, shop, r)
		_, err := shop.Cancel(t.Context(), r.ID)
		require.ErrorIs(t, err, order.ErrNotFound, "Postgres does not have it yet")
		_, err = shop.Void(t.Context(), r.ID)
		require.NoError(t, err)
		shop.stalled.down.Store(false)
		_, err = waits(t, receipt)
		require.ErrorIs(t, err, order.ErrCancelled)
		require.NotErrorIs(t, err, order.ErrRefused)
		exact(t, shop.Service)
		assert.Empty(t, shop.refusals(r.ID))
		_, err = book(shop.Service, request("floor", 2))
		require.NoError(t, err, "the unit came back")
	})
}

// An order of a SKU with a customer's limit is booked before it is accepted: only
// Postgres knows what the customer has.
func TestAcceptUnderALimit(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, s stores) {
		shop := accepts(t, s, 0)
		background(t, shop.Service)
		require.NoError(t, shop.PutOnSale(t.Context(), order.Item{SKU: "floor", Capacity: 10, CustomerLimit: 2}))
		for i := range 2 {
			r := booking.Request{ID: fmt.Sprint(i), Customer: "c", Lines: lines("floor", 1)}
			receipt := accept(t, shop, r)
			select {
			case <-receipt.Done():
			default:
				assert.Fail(t, "it is not decided")
			}
			o, err := waits(t, receipt)
			confirmed(t, o, err, r)
		}
		exact(t, shop.Service)
		_, err := shop.Accept(t.Context(), booking.Request{ID: "3", Customer: "c", Lines: lines("floor", 1)})
		isLimited(t, err, "floor", 2, 1, 2)
		_, err = shop.Order(t.Context(), "3")
		require.ErrorIs(t, err, order.ErrNotFound, "it is not written: the ID may be tried again")
		require.NoError(t, shop.SetLimit(t.Context(), "floor", 3))
		accept(t, shop, booking.Request{ID: "3", Customer: "c", Lines: lines("floor", 1)})
		exact(t, shop.Service)
	})
}

// The backlog is full: nobody's units are taken.
func TestBacklogIsFull(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, s stores) {
		const backlog = 20
		shop := accepts(t, s, backlog)
		background(t, shop.Service)
		require.NoError(t, shop.PutOnSale(t.Context(), order.Item{SKU: "floor", Capacity: 100}))
		shop.stalled.down.Store(true)
		var receipts []booking.Receipt
		for i := range backlog {
			receipts = append(receipts, accept(t, shop, request("floor", i)))
		}
		stocks, err := s.inventory.Stock(t.Context(), "floor")
		require.NoError(t, err)
		_, err = shop.Accept(t.Context(), request("floor", backlog))
		require.ErrorIs(t, err, booking.ErrOverloaded)
		require.NotErrorIs(t, err, order.ErrOutcomeUnknown)
		again, err := s.inventory.Stock(t.Context(), "floor")
		require.NoError(t, err)
		assert.Equal(t, stocks, again, "nothing was taken")
		accept(t, shop, request("floor", 0)) // a repeat needs no room
		shop.stalled.down.Store(false)
		for i, receipt := range receipts {
			o, err := waits(t, receipt)
			confirmed(t, o, err, request("floor", i))
		}
		accept(t, shop, request("floor", backlog))
		exact(t, shop.Service)
		assert.EqualValues(t, backlog+1, sold(t, s, "floor"))
	})
}

// A rush by Accept and by Book sells exactly the capacity, with rebuilds meanwhile.
func TestARushOfAcceptsSellsExactlyTheCapacity(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, s stores) {
		const capacity, buyers = 150, 600
		shops := []*accepting{accepts(t, s, 0), accepts(t, s, 0)}
		for _, shop := range shops {
			background(t, shop.Service)
		}
		require.NoError(t, shops[0].PutOnSale(t.Context(),
			order.Item{SKU: "hall", Capacity: capacity}, order.Item{SKU: "floor", Capacity: buyers, Draws: []order.Line{{SKU: "hall", Quantity: 1}}}))
		var group, rebuilding sync.WaitGroup
		answers := make(chan struct{}, buyers)
		rebuilding.Go(func() {
			// Twice both, so four times: who is told to deduct again a fifth time gives up.
			for n := 1; n <= buyers; n++ {
				<-answers
				if n%250 == 0 {
					assert.NoError(t, shops[0].Rebuild(context.Background(), "hall"))
					assert.NoError(t, shops[0].Rebuild(context.Background(), "floor"))
				}
			}
		})
		var mu sync.Mutex
		has := make(map[string]bool)
		for i := range buyers {
			group.Go(func() {
				defer func() { answers <- struct{}{} }()
				r := request("floor", i)
				var err error
				if i%3 == 0 {
					_, err = book(shops[i%2].Service, r)
				} else {
					var receipt booking.Receipt
					for {
						receipt, err = shops[i%2].Accept(context.Background(), r)
						if !errors.Is(err, inventory.ErrTryAgain) && !errors.Is(err, order.ErrOutcomeUnknown) {
							break
						}
						time.Sleep(betweenTries)
					}
					if err == nil {
						_, err = receipt.Wait(context.Background())
						assert.NoError(t, err, "Redis lost nothing, so that no accepted order is refused")
					}
				}
				if err != nil {
					assert.ErrorIs(t, err, inventory.ErrSoldOut)
					return
				}
				mu.Lock()
				defer mu.Unlock()
				has[r.ID] = true
			})
		}
		group.Wait()
		rebuilding.Wait()
		assert.Len(t, has, capacity)
		for id := range has {
			o, err := shops[0].Order(t.Context(), id)
			require.NoError(t, err)
			assert.Equal(t, order.Confirmed, o.Status)
		}
		exact(t, shops[0].Service)
		assert.EqualValues(t, capacity, sold(t, s, "hall"))
		assert.EqualValues(t, capacity, sold(t, s, "floor"))
	})
}

// Run's end finishes what was accepted, and leaves no goroutine. Not parallel, as
// it looks at all goroutines.
func TestRunFinishesWhatWasAccepted(t *testing.T) {
	ignore := []goleak.Option{goleak.IgnoreCurrent(), goleak.IgnoreAnyFunction(servertest.WaitFunction)}
	server := miniredis.NewMiniRedis()
	require.NoError(t, server.Start())
	client := redis.NewClient(&redis.Options{Addr: server.Addr()})
	s := at(t, client, order.NewMemory())
	shop := accepts(t, s, 0)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- shop.Run(ctx) }()
	require.NoError(t, shop.PutOnSale(t.Context(), order.Item{SKU: "floor", Capacity: 500}))
	shop.stalled.down.Store(true)
	for i := range 500 {
		accept(t, shop, request("floor", i))
	}
	cancel()
	shop.stalled.down.Store(false)
	require.NoError(t, <-ended)
	stocks, err := s.inventory.Stock(context.Background(), "floor")
	require.NoError(t, err)
	assert.Zero(t, stocks[0].Unsettled, "everything in hand was settled")
	assert.EqualValues(t, 500, sold(t, s, "floor"))
	require.NoError(t, client.Close())
	server.Close()
	goleak.VerifyNone(t, ignore...)
}

// Postgres stays down past the end of Run: whoever waits hears that it is not
// known here any more, and another process carries the order out.
func TestRunEndsBeforeItIsCommitted(t *testing.T) {
	t.Parallel()
	s := embedded(t)
	down := &stalled{Store: s.orders}
	shop, err := booking.New(booking.Config{Inventory: s.inventory, Orders: down, Logger: quiet, Timeout: 2 * time.Second})
	require.NoError(t, err)
	require.NoError(t, shop.PutOnSale(t.Context(), order.Item{SKU: "floor", Capacity: 5}))
	down.down.Store(true)
	r := request("floor", 1)
	receipt := accept(t, shop, r)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.NoError(t, shop.Run(ctx))
	_, err = waits(t, receipt)
	require.ErrorIs(t, err, order.ErrOutcomeUnknown)
	commits := down.commits.Load()
	other := open(t, s)
	background(t, other)
	o, err := looked(t, other, r)
	confirmed(t, o, err, r)
	exact(t, other)
	assert.LessOrEqual(t, down.commits.Load(), commits+1, "it is given up")
}

func TestAcceptBounds(t *testing.T) {
	t.Parallel()
	s := embedded(t)
	shop := accepts(t, s, 0)
	wide := booking.Request{ID: strings.Repeat("i", inventory.MaxIDBytes), Customer: strings.Repeat("c", inventory.MaxIDBytes)}
	var items []order.Item
	for i := range order.MaxLines {
		sku := fmt.Sprintf("%0*d", inventory.MaxIDBytes, i)
		items = append(items, order.Item{SKU: sku, Capacity: inventory.MaxQuantity})
		wide.Lines = append(wide.Lines, order.Line{SKU: sku, Quantity: inventory.MaxQuantity})
	}
	quoted := booking.Request{ID: "quoted", Customer: "c"}
	for i := range order.MaxLines {
		quoted.Lines = append(quoted.Lines, order.Line{SKU: strings.Repeat(`"`, 120) + fmt.Sprint(i), Quantity: 1})
	}
	require.NoError(t, shop.PutOnSale(t.Context(), items...))
	o, err := waits(t, accept(t, shop, wide))
	confirmed(t, o, err, wide)
	_, err = shop.Accept(t.Context(), quoted)
	require.ErrorIs(t, err, inventory.ErrInvalid)
	require.ErrorContains(t, err, "16384")
	_, err = shop.Accept(t.Context(), booking.Request{ID: "1", Customer: "c"})
	require.ErrorIs(t, err, inventory.ErrInvalid)
	_, err = shop.Accept(t.Context(), request("nothing", 1))
	require.ErrorIs(t, err, order.ErrUnknownSKU)
	_, err = shop.Lookup(t.Context(), booking.Request{Customer: "c", Lines: lines("floor", 1)})
	require.ErrorIs(t, err, inventory.ErrInvalid)
	_, err = booking.New(booking.Config{Inventory: s.inventory, Orders: s.orders, Backlog: -1})
	require.Error(t, err)
	exact(t, shop.Service)
}

// Another process may still say "sold out" for a moment after units came back: a
// receipt is given only when it doesn't, so that a second click there gets the
// order.
func TestSecondClickWhileUnitsComeBack(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, s stores) {
		shop, other := accepts(t, s, 0), accepts(t, s, 0)
		for i := range 10 {
			sku := fmt.Sprint("floor-", i)
			require.NoError(t, shop.PutOnSale(t.Context(), order.Item{SKU: sku, Capacity: 1}))
			_, err := book(shop.Service, units("first "+sku, sku, 1))
			require.NoError(t, err)
			eventually(t, func() error { return settled(s, sku) })
			for n := range 30 { // it learns that it is sold out
				_, err := book(other.Service, units(fmt.Sprint("loser ", n, sku), sku, 1))
				require.ErrorIs(t, err, inventory.ErrSoldOut)
			}
			_, err = shop.Cancel(t.Context(), "first "+sku)
			require.NoError(t, err)
			r := units("second "+sku, sku, 1)
			var receipt booking.Receipt
			eventually(t, func() error {
				receipt, err = shop.Accept(context.Background(), r)
				return err
			})
			o, err := other.Book(t.Context(), r)
			require.NotErrorIs(t, err, inventory.ErrSoldOut, "it has a receipt")
			if err == nil {
				confirmed(t, o, nil, r)
			}
			o, err = waits(t, receipt)
			confirmed(t, o, err, r)
		}
		exact(t, shop.Service)
	})
}
