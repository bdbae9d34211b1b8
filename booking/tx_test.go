package booking_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/booking"
	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

// payments is a pool of a test's own, with a table of its own in the order
// store's database.
func payments(t *testing.T, database string) *pgxpool.Pool {
	t.Helper()
	pool := connect(t, database)
	_, err := pool.Exec(t.Context(), "create table payments (id text primary key)")
	require.NoError(t, err)
	return pool
}

// pay begins a transaction that has a payment.
func pay(t *testing.T, pool *pgxpool.Pool, id string, level pgx.TxIsoLevel) pgx.Tx {
	t.Helper()
	tx, err := pool.BeginTx(context.Background(), pgx.TxOptions{IsoLevel: level})
	require.NoError(t, err)
	t.Cleanup(func() { _ = tx.Rollback(context.Background()) }) // if the test ended early
	_, err = tx.Exec(t.Context(), "insert into payments values ($1)", id)
	require.NoError(t, err)
	return tx
}

func paid(t *testing.T, pool *pgxpool.Pool) (n int) {
	t.Helper()
	require.NoError(t, pool.QueryRow(t.Context(), "select count(*) from payments").Scan(&n))
	return n
}

// A payment and the confirmation of its order are committed together or not at
// all, whatever the transaction's isolation is.
func TestConfirmTx(t *testing.T) {
	t.Parallel()
	all, database := several(t, 1)
	s, pool := all[0], payments(t, database)
	shop := open(t, s)
	background(t, shop)
	require.NoError(t, shop.PutOnSale(t.Context(), order.Item{SKU: "floor", Capacity: 100}))
	hold := func(i int, ttl time.Duration) order.Order {
		t.Helper()
		held, err := shop.Hold(t.Context(), request("floor", i), ttl)
		require.NoError(t, err)
		return held
	}
	for _, without := range []func(context.Context, pgx.Tx, string) (order.Order, error){shop.ConfirmTx, shop.CancelTx} {
		_, err := without(t.Context(), nil, "a")
		requireInvalid(t, "tx", err)
	}
	n, confirmed := 0, 0
	for _, level := range []pgx.TxIsoLevel{pgx.ReadCommitted, pgx.RepeatableRead, pgx.Serializable} {
		n += 10
		first, second := hold(n, time.Hour), hold(n+1, time.Hour)
		tx := pay(t, pool, first.ID, level)
		o, err := shop.ConfirmTx(t.Context(), tx, first.ID)
		require.NoError(t, err, level)
		assert.Equal(t, order.Confirmed, o.Status)
		assert.Equal(t, first.Lines, o.Lines)
		again, err := shop.ConfirmTx(t.Context(), tx, first.ID)
		require.NoError(t, err, "to repeat it is no error")
		assert.Equal(t, order.Confirmed, again.Status)
		assert.Equal(t, order.Held, orderOf(t, s, first.ID).Status, "nobody else sees it yet")
		require.NoError(t, tx.Commit(t.Context()))
		confirmed++
		assert.Equal(t, confirmed, paid(t, pool))
		assert.Equal(t, order.Confirmed, orderOf(t, s, first.ID).Status)

		tx = pay(t, pool, second.ID, level)
		_, err = shop.ConfirmTx(t.Context(), tx, second.ID)
		require.NoError(t, err)
		require.NoError(t, tx.Rollback(t.Context()))
		assert.Equal(t, confirmed, paid(t, pool))
		o = orderOf(t, s, second.ID)
		assert.Equal(t, order.Held, o.Status, "the hold is as it was")
		assert.True(t, second.ExpiresAt.Equal(o.ExpiresAt))

		// What can't be confirmed leaves the transaction usable.
		over, cancelled := hold(n+2, time.Millisecond), hold(n+3, time.Hour)
		_, err = shop.Cancel(t.Context(), cancelled.ID)
		require.NoError(t, err)
		passes(t, s, over)
		// The work in the background must not touch it meanwhile: to an older
		// snapshot that is a serialization failure.
		ends(t, s, over.ID, order.Expired)
		tx = pay(t, pool, fmt.Sprint("fine-", n), level)
		_, err = shop.ConfirmTx(t.Context(), tx, "nobody's")
		require.ErrorIs(t, err, order.ErrNotFound)
		_, err = shop.CancelTx(t.Context(), tx, "nobody's")
		require.ErrorIs(t, err, order.ErrNotFound)
		o, err = shop.ConfirmTx(t.Context(), tx, over.ID)
		require.ErrorIs(t, err, order.ErrHoldExpired)
		var expired *order.HoldExpiredError
		require.ErrorAs(t, err, &expired)
		assert.True(t, over.ExpiresAt.Equal(expired.ExpiredAt))
		require.Len(t, expired.Left, 1)
		assert.Equal(t, "floor", expired.Left[0].SKU)
		assert.Equal(t, over.ID, o.ID)
		o, err = shop.ConfirmTx(t.Context(), tx, cancelled.ID)
		require.ErrorIs(t, err, order.ErrCancelled)
		assert.Equal(t, order.Cancelled, o.Status)
		requireInvalid(t, "id", func() error { _, err := shop.ConfirmTx(t.Context(), tx, ""); return err }())
		require.NoError(t, tx.Commit(t.Context()))
		confirmed++
		assert.Equal(t, confirmed, paid(t, pool), "the rest of the transaction")
		_, err = shop.Order(t.Context(), "nobody's")
		require.ErrorIs(t, err, order.ErrNotFound, "it stays unknown")
	}
	books(t, shop, s, "floor")
	eventually(t, func() error { // a confirmation changes no counter: the books were right without it
		uncounted, err := s.orders.Uncounted(context.Background(), "", 1)
		if err == nil && len(uncounted) > 0 {
			err = fmt.Errorf("%v is not counted", uncounted)
		}
		return err
	})
	happened := ledger(t, s, "floor")
	for n := 10; n <= 30; n += 10 {
		assert.Equal(t, kinds(order.MovedHeld, order.MovedConfirmed), happened[request("floor", n).ID])
		assert.Equal(t, kinds(order.MovedHeld), happened[request("floor", n+1).ID])
		assert.Equal(t, kinds(order.MovedHeld, order.MovedExpired), happened[request("floor", n+2).ID])
	}
}

// An order that changed since the transaction's snapshot is the transaction's
// own failure, for its owner to try again; it changes nothing.
func TestConfirmTxOnAnOldSnapshot(t *testing.T) {
	t.Parallel()
	all, database := several(t, 1)
	s, pool := all[0], payments(t, database)
	shop := open(t, s)
	require.NoError(t, shop.PutOnSale(t.Context(), order.Item{SKU: "floor", Capacity: 10}))
	for i, level := range []pgx.TxIsoLevel{pgx.RepeatableRead, pgx.Serializable} {
		held, err := shop.Hold(t.Context(), request("floor", i), time.Hour)
		require.NoError(t, err)
		tx := pay(t, pool, held.ID, level) // its snapshot is of now
		_, err = shop.Cancel(t.Context(), held.ID)
		require.NoError(t, err)
		_, err = shop.ConfirmTx(t.Context(), tx, held.ID)
		var failure *pgconn.PgError
		require.ErrorAs(t, err, &failure, level)
		assert.Equal(t, "40001", failure.Code)
		require.NoError(t, tx.Rollback(t.Context()))
		assert.Equal(t, order.Cancelled, orderOf(t, s, held.ID).Status)
	}
	assert.Zero(t, paid(t, pool))
	assert.Zero(t, sold(t, s, "floor"))
	books(t, shop, s, "floor")
}

// While somebody's transaction has an order, the SKU is sold on; only changes of
// that order wait, and agree with what it becomes. Its time may pass meanwhile.
func TestConfirmTxHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	all, database := several(t, 2)
	s, pool := all[0], payments(t, database)
	shop, other := open(t, s), eager(t, all[1])
	background(t, other)
	require.NoError(t, shop.PutOnSale(t.Context(), order.Item{SKU: "floor", Capacity: 100}))
	var held order.Order
	var tx pgx.Tx
	for ttl := 300 * time.Millisecond; ; ttl *= 2 { // longer on a slow machine
		var err error
		held, err = shop.Hold(t.Context(), booking.Request{ID: fmt.Sprint("mine-", ttl), Customer: "c", Lines: lines("floor", 1)}, ttl)
		require.NoError(t, err)
		tx = pay(t, pool, held.ID, pgx.ReadCommitted)
		_, err = shop.ConfirmTx(t.Context(), tx, held.ID)
		if err == nil {
			break
		}
		require.ErrorIs(t, err, order.ErrHoldExpired)
		require.NoError(t, tx.Rollback(t.Context()))
	}
	theirs, err := shop.Hold(t.Context(), request("floor", 1000), time.Until(held.ExpiresAt)+100*time.Millisecond)
	require.NoError(t, err)

	type answer struct {
		order order.Order
		err   error
	}
	waits := make(chan answer, 1)
	go func() {
		o, err := other.Confirm(context.Background(), held.ID)
		waits <- answer{o, err}
	}()
	var group sync.WaitGroup
	for i := range 50 {
		group.Go(func() {
			_, err := shop.Book(context.Background(), request("floor", i))
			assert.NoError(t, err)
		})
	}
	group.Wait()
	require.False(t, t.Failed(), "they were held up")
	require.NoError(t, shop.SetCapacity(t.Context(), anAdjustment("floor", 90)))
	// A hold that ended after it has expired: so somebody has looked at both.
	ends(t, s, theirs.ID, order.Expired)
	assert.Equal(t, order.Held, orderOf(t, s, held.ID).Status)
	passes(t, s, held)
	select {
	case a := <-waits:
		assert.Fail(t, "it did not wait", "%+v", a)
	default:
	}
	require.NoError(t, tx.Commit(t.Context()))
	a := <-waits
	require.NoError(t, a.err, "it was confirmed in time")
	assert.Equal(t, order.Confirmed, a.order.Status)
	assert.Equal(t, order.Confirmed, orderOf(t, s, held.ID).Status)
	books(t, shop, s, "floor")
	assert.Equal(t, kinds(order.MovedHeld, order.MovedConfirmed), ledger(t, s, "floor")[held.ID])
	assert.EqualValues(t, 51, sold(t, s, "floor"))
	assert.Equal(t, 1, paid(t, pool))
}

// The caller's process ends with its commit: another one does what is left to do.
func TestCallerEndsWithItsCommit(t *testing.T) {
	t.Parallel()
	all, database := several(t, 2)
	s := all[0]
	payments(t, database)
	shop, other := open(t, s), open(t, all[1])
	require.NoError(t, shop.PutOnSale(t.Context(), order.Item{SKU: "floor", Capacity: 3}))
	for i := range 2 {
		_, err := shop.Hold(t.Context(), request("floor", i), time.Hour)
		require.NoError(t, err)
	}
	_, err := bookOnce(shop, request("floor", 2))
	require.NoError(t, err)

	conn, err := pgx.Connect(t.Context(), database)
	require.NoError(t, err)
	tx, err := conn.Begin(t.Context())
	require.NoError(t, err)
	_, err = shop.ConfirmTx(t.Context(), tx, request("floor", 0).ID)
	require.NoError(t, err)
	for _, i := range []int{1, 2} { // a hold, and a booking
		o, err := shop.CancelTx(t.Context(), tx, request("floor", i).ID)
		require.NoError(t, err)
		assert.Equal(t, order.Cancelled, o.Status)
	}
	require.NoError(t, tx.Commit(t.Context()))
	require.NoError(t, conn.PgConn().Conn().Close(), "without a word")

	// Nobody has counted yet: the units are not for sale.
	tallies, err := s.orders.Tally(t.Context(), "floor")
	require.NoError(t, err)
	assert.EqualValues(t, 2, tallies[0].Uncounted)
	assert.EqualValues(t, 1, tallies[0].Confirmed)
	assert.True(t, tallies[0].Balanced())
	differences, err := shop.Reconcile(t.Context(), booking.DryRun, "floor")
	require.NoError(t, err)
	assert.Contains(t, differences, booking.Difference{SKU: "floor", Kind: booking.KindUncounted, Redis: 2})
	_, err = bookOnce(shop, request("floor", 3))
	require.ErrorIs(t, err, inventory.ErrSoldOut)

	background(t, other)
	for _, i := range []int{3, 4} {
		eventually(t, func() error { _, err := shop.Book(t.Context(), request("floor", i)); return err })
	}
	_, err = book(shop, request("floor", 5))
	require.ErrorIs(t, err, inventory.ErrSoldOut)
	books(t, shop, s, "floor")
	happened := ledger(t, s, "floor")
	assert.Equal(t, kinds(order.MovedHeld, order.MovedConfirmed), happened[request("floor", 0).ID])
	assert.Equal(t, kinds(order.MovedHeld, order.MovedCancelled), happened[request("floor", 1).ID])
	assert.Equal(t, kinds(order.MovedBooked, order.MovedCancelled), happened[request("floor", 2).ID])
}

// A cancellation that is rolled back never was one; and in one transaction, or
// in several, an order may be confirmed and then cancelled.
func TestCancelTx(t *testing.T) {
	t.Parallel()
	all, database := several(t, 1)
	s, pool := all[0], payments(t, database)
	shop := open(t, s)
	require.NoError(t, shop.PutOnSale(t.Context(), order.Item{SKU: "floor", Capacity: 2, CustomerLimit: 2}))
	_, err := shop.Hold(t.Context(), units("a", "floor", 2), time.Hour)
	require.NoError(t, err)
	tx := pay(t, pool, "1", pgx.ReadCommitted)
	_, err = shop.CancelTx(t.Context(), tx, "a")
	require.NoError(t, err)
	// Somebody else's change of it gives up in time.
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err = shop.Confirm(ctx, "a")
	if !errors.Is(err, order.ErrOutcomeUnknown) && !errors.Is(err, booking.ErrNotSent) { // the time was over while it asked
		require.ErrorIs(t, err, order.ErrBusy)
	}
	require.NoError(t, tx.Rollback(t.Context()))
	_, err = shop.Confirm(t.Context(), "a")
	require.NoError(t, err)

	for i, step := range []func(context.Context, pgx.Tx, string) (order.Order, error){shop.ConfirmTx, shop.CancelTx} {
		tx := pay(t, pool, fmt.Sprint("step ", i), pgx.ReadCommitted)
		_, err = step(t.Context(), tx, "a")
		require.NoError(t, err)
		require.NoError(t, tx.Commit(t.Context()))
	}
	// Whatever looks at the order counts it first: here, a cancellation.
	for range 2 {
		o, err := shop.Cancel(t.Context(), "a")
		require.NoError(t, err)
		assert.Equal(t, order.Cancelled, o.Status)
	}
	_, err = book(shop, units("b", "floor", 2))
	require.NoError(t, err)
	tx = pay(t, pool, "both", pgx.ReadCommitted)
	_, err = shop.CancelTx(t.Context(), tx, "b")
	require.NoError(t, err)
	_, err = shop.ConfirmTx(t.Context(), tx, "b")
	require.ErrorIs(t, err, order.ErrCancelled)
	require.NoError(t, tx.Commit(t.Context()))
	_, err = shop.Confirm(t.Context(), "b")
	require.ErrorIs(t, err, order.ErrCancelled)
	_, err = book(shop, units("d", "floor", 2))
	require.NoError(t, err, "to ask for b has counted it")
	books(t, shop, s, "floor")
	happened := ledger(t, s, "floor")
	assert.Equal(t, kinds(order.MovedHeld, order.MovedConfirmed, order.MovedCancelled), happened["a"])
	assert.Equal(t, kinds(order.MovedBooked, order.MovedCancelled), happened["b"])
}

// An order that has expired is cancelled for good in a transaction too: nothing is left
// to count.
func TestCancelTxOfAnExpiredHold(t *testing.T) {
	t.Parallel()
	all, database := several(t, 1)
	s, pool := all[0], payments(t, database)
	shop := open(t, s)
	require.NoError(t, shop.PutOnSale(t.Context(), order.Item{SKU: "floor", Capacity: 2}))
	held, err := shop.Hold(t.Context(), request("floor", 1), time.Millisecond)
	require.NoError(t, err)
	expire(t, s, held)
	tx := pay(t, pool, "1", pgx.ReadCommitted)
	for range 2 {
		o, err := shop.CancelTx(t.Context(), tx, held.ID)
		require.NoError(t, err)
		assert.Equal(t, order.Cancelled, o.Status)
	}
	require.NoError(t, tx.Commit(t.Context()))
	uncounted, err := s.orders.Uncounted(t.Context(), "", 10)
	require.NoError(t, err)
	assert.Empty(t, uncounted)
	for _, late := range []func(context.Context, string) (order.Order, error){shop.Reclaim, shop.Confirm} {
		_, err = late(t.Context(), held.ID)
		require.ErrorIs(t, err, order.ErrCancelled)
	}
	books(t, shop, s, "floor")
	assert.Equal(t, kinds(order.MovedHeld, order.MovedExpired), ledger(t, s, "floor")[held.ID])
}

// A transaction of another lastunit database confirms and cancels nothing there, whether
// or not this process has asked for the name of its own store before.
func TestTxOfAnotherDatabase(t *testing.T) {
	t.Parallel()
	all, database := several(t, 1)
	ours := open(t, all[0])
	others, elsewhere := several(t, 1)
	theirs := others[0]
	there := open(t, theirs)
	require.NoError(t, there.PutOnSale(t.Context(), order.Item{SKU: "floor", Capacity: 2}))
	held, err := there.Hold(t.Context(), request("floor", 1), time.Hour)
	require.NoError(t, err)
	wrong, right := connect(t, elsewhere), connect(t, database)
	require.NoError(t, ours.PutOnSale(t.Context(), order.Item{SKU: "floor", Capacity: 2}))
	_, err = ours.Hold(t.Context(), request("floor", 1), time.Hour) // the very same ID
	require.NoError(t, err)
	for name, shop := range map[string]*booking.Service{
		"known": ours, "not yet": open(t, stores{orders: order.NewPostgres(connect(t, database))}),
	} {
		for _, change := range []func(context.Context, pgx.Tx, string) (order.Order, error){shop.ConfirmTx, shop.CancelTx} {
			tx, err := wrong.Begin(t.Context())
			require.NoError(t, err)
			_, err = change(t.Context(), tx, held.ID)
			require.ErrorIs(t, err, order.ErrUnavailable, name)
			require.ErrorContains(t, err, "another lastunit database", name)
			require.Error(t, tx.Commit(t.Context()), "what else was done there is undone")
			assert.Equal(t, order.Held, orderOf(t, theirs, held.ID).Status, name)
		}
		tx, err := right.Begin(t.Context())
		require.NoError(t, err)
		_, err = shop.ConfirmTx(t.Context(), tx, held.ID)
		require.NoError(t, err, name)
		require.NoError(t, tx.Rollback(t.Context()))
	}
	// All of a pool's connections have a transaction, and the store was never asked.
	config := right.Config()
	config.MaxConns = 1
	small, err := pgxpool.NewWithConfig(t.Context(), config)
	require.NoError(t, err)
	t.Cleanup(small.Close)
	tx, err := small.Begin(t.Context())
	require.NoError(t, err)
	_, err = order.NewPostgres(small).ConfirmTx(t.Context(), tx, held.ID)
	require.NoError(t, err)
	require.NoError(t, tx.Commit(t.Context()))
	books(t, ours, all[0], "floor")
}

// A store without transactions says so.
func TestNoTransactions(t *testing.T) {
	t.Parallel()
	s := embedded(t)
	shop := open(t, s)
	require.NoError(t, shop.PutOnSale(t.Context(), order.Item{SKU: "floor", Capacity: 2}))
	held, err := shop.Hold(t.Context(), request("floor", 1), time.Hour)
	require.NoError(t, err)
	_, err = shop.ConfirmTx(t.Context(), nil, held.ID)
	require.ErrorIs(t, err, order.ErrNoTransactions)
	_, err = shop.CancelTx(t.Context(), nil, held.ID)
	require.ErrorIs(t, err, order.ErrNoTransactions)
	assert.Equal(t, order.Held, orderOf(t, s, held.ID).Status)
	books(t, shop, s, "floor")
}
