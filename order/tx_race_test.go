package order_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/order"
)

// What a change in somebody's own transaction decides holds at one moment, whoever
// changes the order at the same time.
func TestTransactionsRace(t *testing.T) {
	t.Parallel()
	pool := newPool(t, newDatabase(t))
	store := order.NewPostgres(pool)
	const races = 400
	putOnSale(t, store, "floor", 3*races)
	inTransaction := func(change func(context.Context, pgx.Tx, string) (order.Order, error), id string) (o order.Order, err error) {
		err = pgx.BeginFunc(context.Background(), pool, func(tx pgx.Tx) error {
			var err error
			o, err = change(context.Background(), tx, id)
			return err
		})
		return o, err
	}
	at := func(moment time.Time) { time.Sleep(time.Until(moment)) } // both at the same time
	t.Run("cancel and reclaim", func(t *testing.T) {
		for i := range races {
			id := fmt.Sprint("reclaimed-", i)
			holds(t, store, "floor", time.Millisecond, id)
			require.Eventually(t, func() bool {
				o, _, err := change(t.Context(), store, id, order.Expire)
				return err == nil && o.Status == order.Expired
			}, patience, time.Millisecond)
			var both sync.WaitGroup
			begin := time.Now().Add(time.Millisecond)
			both.Go(func() {
				at(begin)
				_, _, _ = change(context.Background(), store, id, order.Reclaim)
			})
			at(begin)
			o, err := inTransaction(store.CancelTx, id)
			both.Wait()
			require.NoError(t, err)
			require.NotEqual(t, order.Confirmed, o.Status, "race %d: it is told that it was cancelled", i)
		}
	})
	t.Run("confirm and extend", func(t *testing.T) {
		expired, extended := 0, 0
		for i := range races {
			id := fmt.Sprint("extended-", i)
			holds(t, store, "floor", 10*time.Millisecond, id)
			o, err := store.Order(t.Context(), id)
			require.NoError(t, err)
			var both sync.WaitGroup
			var late error
			both.Go(func() {
				at(o.ExpiresAt)
				_, late = inTransaction(store.ConfirmTx, id)
			})
			at(o.ExpiresAt.Add(-time.Duration(i%20) * 250 * time.Microsecond))
			_, _, err = change(context.Background(), store, id, order.Extend)
			both.Wait()
			if errors.Is(late, order.ErrHoldExpired) {
				expired++
				require.Error(t, err, "race %d: extended, and over", i)
			}
			if err == nil {
				extended++
			}
		}
		t.Logf("%d of %d were told that it was over, %d extended it", expired, races, extended)
	})
}
