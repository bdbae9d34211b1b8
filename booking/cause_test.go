package booking_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/booking"
	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

// answering is a store whose commits end with these errors, one after the other, and then
// are carried out.
type answering struct {
	order.Store
	errs    []error
	commits int
}

func (a *answering) Commit(ctx context.Context, commits []order.Commit) ([]order.Outcome, []order.Counters, error) {
	a.commits++
	if a.commits <= len(a.errs) {
		return nil, nil, a.errs[a.commits-1]
	}
	return a.Store.Commit(ctx, commits)
}

// What is known to have stored nothing is answered at once, with its cause.
func TestNothingWasStored(t *testing.T) {
	t.Parallel()
	// sale is one that has sold a unit, with Redis or without.
	sale := func(t *testing.T, s stores) *booking.Service {
		shop := open(t, s)
		require.NoError(t, shop.PutOnSale(t.Context(), order.Item{SKU: "floor", Capacity: 2}))
		_, err := shop.Book(t.Context(), request("floor", 0))
		require.NoError(t, err)
		return shop
	}
	t.Run("the tables are gone", func(t *testing.T) {
		t.Parallel()
		for _, direct := range []bool{false, true} {
			all, database := several(t, 1)
			s := all[0]
			if direct {
				s.inventory = nil
			}
			counted := &answering{Store: s.orders}
			s.orders = counted
			shop := sale(t, s)
			_, err := connect(t, database).Exec(t.Context(), "drop schema lastunit cascade")
			require.NoError(t, err)
			before := counted.commits
			_, err = shop.Book(t.Context(), request("floor", 1))
			require.ErrorIs(t, err, order.ErrNotMigrated)
			require.NotErrorIs(t, err, order.ErrOutcomeUnknown)
			require.ErrorContains(t, err, "lastunit", "the database's own words")
			assert.Equal(t, 1, counted.commits-before, "commits")
		}
	})
	t.Run("the store is broken", func(t *testing.T) {
		t.Parallel()
		broken := fmt.Errorf("%w: no disk", order.ErrUnavailable)
		counted := &answering{Store: order.NewMemory()}
		shop := sale(t, stores{orders: counted})
		counted.commits, counted.errs = 0, []error{broken}
		_, err := shop.Book(t.Context(), request("floor", 1))
		require.ErrorIs(t, err, order.ErrUnavailable)
		require.ErrorContains(t, err, "no disk")
		assert.Equal(t, 1, counted.commits)
	})
	t.Run("it is in doubt", func(t *testing.T) {
		t.Parallel()
		lost := fmt.Errorf("%w: the connection broke", order.ErrOutcomeUnknown)
		counted := &answering{Store: order.NewMemory()}
		shop := sale(t, stores{orders: counted})
		counted.commits, counted.errs = 0, []error{lost}
		two := request("floor", 1)
		two.Lines = lines("floor", 2)
		_, err := shop.Book(t.Context(), two)
		require.ErrorIs(t, err, order.ErrOutcomeUnknown)
		require.ErrorContains(t, err, "the connection broke", "why it is unknown")
		require.ErrorContains(t, err, "sold out", "what was found since")
		require.NotErrorIs(t, err, inventory.ErrSoldOut, "which is not definite")
	})
}

// A context that had ended before a call has that call do nothing, and the error is its
// word for it.
func TestAContextThatHasEnded(t *testing.T) {
	t.Parallel()
	type call = func(ctx context.Context, shop *booking.Service) error
	adjustment := order.Adjustment{ID: "a", SKU: "floor", Units: 1}
	ofOrder := func(do func(*booking.Service, context.Context, string) (order.Order, error)) call {
		return func(ctx context.Context, shop *booking.Service) error {
			_, err := do(shop, ctx, "floor-0")
			return err
		}
	}
	calls := map[string]call{
		"Book": func(ctx context.Context, shop *booking.Service) error {
			_, err := shop.Book(ctx, request("floor", 1))
			return err
		},
		"Hold": func(ctx context.Context, shop *booking.Service) error {
			_, err := shop.Hold(ctx, request("floor", 1), time.Minute)
			return err
		},
		"Accept": func(ctx context.Context, shop *booking.Service) error {
			_, err := shop.Accept(ctx, request("floor", 1))
			return err
		},
		"Confirm": ofOrder((*booking.Service).Confirm),
		"Cancel":  ofOrder((*booking.Service).Cancel),
		"Void":    ofOrder((*booking.Service).Void),
		"Reclaim": ofOrder((*booking.Service).Reclaim),
		"Extend": func(ctx context.Context, shop *booking.Service) error {
			_, err := shop.Extend(ctx, "floor-0", time.Minute)
			return err
		},
		"PutOnSale": func(ctx context.Context, shop *booking.Service) error {
			return shop.PutOnSale(ctx, order.Item{SKU: "balcony", Capacity: 1})
		},
		"SetCapacity": func(ctx context.Context, shop *booking.Service) error { return shop.SetCapacity(ctx, adjustment) },
		"Restock":     func(ctx context.Context, shop *booking.Service) error { return shop.Restock(ctx, adjustment) },
		"WriteOff":    func(ctx context.Context, shop *booking.Service) error { return shop.WriteOff(ctx, adjustment) },
		"SetLimit":    func(ctx context.Context, shop *booking.Service) error { return shop.SetLimit(ctx, "floor", 2) },
		"SetWindow": func(ctx context.Context, shop *booking.Service) error {
			return shop.SetWindow(ctx, "floor", time.Time{}, time.Time{})
		},
		"Retire": func(ctx context.Context, shop *booking.Service) error { return shop.Retire(ctx, "floor") },
		"Purge": func(ctx context.Context, shop *booking.Service) error {
			_, err := shop.Purge(ctx, time.Now().Add(-24*time.Hour))
			return err
		},
		"Pause":   func(ctx context.Context, shop *booking.Service) error { return shop.Pause(ctx, "floor") },
		"Resume":  func(ctx context.Context, shop *booking.Service) error { return shop.Resume(ctx, "floor") },
		"Rebuild": func(ctx context.Context, shop *booking.Service) error { return shop.Rebuild(ctx, "floor") },
		"Reconcile": func(ctx context.Context, shop *booking.Service) error {
			_, err := shop.Reconcile(ctx, booking.Repair, "floor")
			return err
		},
		"ReconcileAll": func(ctx context.Context, shop *booking.Service) error {
			_, err := shop.ReconcileAll(ctx, booking.Repair)
			return err
		},
	}
	// These change nothing, or are part of somebody's own transaction, or have no end
	// but that of the context.
	others := []string{"Order", "Orders", "Stock", "Stocks", "Movements", "Feed", "Lookup", "Check", "Run", "ConfirmTx", "CancelTx"}
	methods := reflect.TypeFor[*booking.Service]()
	for i := range methods.NumMethod() {
		name := methods.Method(i).Name
		if _, there := calls[name]; !there {
			assert.Contains(t, others, name, "is it to be ErrNotSent too?")
		}
	}

	onBoth(t, func(t *testing.T, s stores) {
		for _, direct := range []bool{false, true} {
			if direct {
				s.inventory = nil
			}
			shop := open(t, s)
			require.NoError(t, shop.PutOnSale(t.Context(), order.Item{SKU: "floor", Capacity: 2}))
			_, err := shop.Hold(t.Context(), request("floor", 0), time.Hour)
			require.NoError(t, err)
			before, err := s.orders.Counters(t.Context(), "floor")
			require.NoError(t, err)
			left, leave := context.WithCancel(t.Context())
			leave()
			late, cancel := context.WithDeadline(t.Context(), time.Unix(1, 0))
			t.Cleanup(cancel)
			for name, call := range calls {
				for _, ctx := range []context.Context{left, late} {
					err := call(ctx, shop)
					require.ErrorIs(t, err, booking.ErrNotSent, name)
					require.ErrorIs(t, err, ctx.Err(), name)
					require.NotErrorIs(t, err, order.ErrOutcomeUnknown, name)
				}
			}
			for _, ctx := range []context.Context{left, late} {
				_, err := shop.Lookup(ctx, request("floor", 0))
				require.True(t, errors.Is(err, order.ErrUnavailable) || errors.Is(err, inventory.ErrUnavailable), err)
				require.ErrorIs(t, err, ctx.Err())
			}
			after, err := s.orders.Counters(t.Context(), "floor")
			require.NoError(t, err)
			assert.Equal(t, before[0].Version, after[0].Version)
			_, err = s.orders.Order(t.Context(), request("floor", 1).ID)
			require.ErrorIs(t, err, order.ErrNotFound)
		}
	})
}

// A call whose context ends while it waits for its turn did nothing either.
func TestAContextThatEndsInTheQueue(t *testing.T) {
	t.Parallel()
	gate, entered := make(chan struct{}), make(chan struct{})
	orders := &gated{Store: order.NewMemory(), entered: entered, gate: gate}
	shop := open(t, stores{orders: orders})
	require.NoError(t, shop.PutOnSale(t.Context(), order.Item{SKU: "floor", Capacity: 2}))
	first := make(chan error, 1)
	go func() {
		_, err := shop.Book(context.WithoutCancel(t.Context()), request("floor", 0))
		first <- err
	}()
	<-entered
	ctx, leave := context.WithCancel(t.Context())
	second := make(chan error, 1)
	go func() {
		_, err := shop.Book(ctx, request("floor", 1))
		second <- err
	}()
	leave()
	err := <-second
	require.ErrorIs(t, err, booking.ErrNotSent)
	require.ErrorIs(t, err, context.Canceled)
	require.NotErrorIs(t, err, order.ErrOutcomeUnknown)
	close(gate)
	require.NoError(t, <-first)
}

// gated is a store whose commits wait.
type gated struct {
	order.Store
	entered, gate chan struct{}
}

func (g *gated) Commit(ctx context.Context, commits []order.Commit) ([]order.Outcome, []order.Counters, error) {
	g.entered <- struct{}{}
	<-g.gate
	return g.Store.Commit(ctx, commits)
}
