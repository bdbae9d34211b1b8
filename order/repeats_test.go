package order_test

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/order"
)

// A store that has met no repeat yet does not look IDs up first. The first repeat is
// recognized all the same: among new orders, and where nothing is left.
func TestFirstRepeat(t *testing.T) {
	first, pool := newStore(t)
	putOnSale(t, first, "floor", 3)
	putOnSale(t, first, "balcony", 3)
	assert.Equal(t, []order.Verdict{order.VerdictBooked}, verdictsOf(t, first, direct("a", "floor")))

	mixed := []order.Commit{direct("b", "floor"), direct("a", "floor"), direct("c", "balcony")}
	assert.Equal(t, []order.Verdict{order.VerdictBooked, order.VerdictExisting, order.VerdictBooked}, verdictsOf(t, order.NewPostgres(pool), mixed...))
	assert.Equal(t, []order.Verdict{order.VerdictConflict}, verdictsOf(t, order.NewPostgres(pool), direct("a", "balcony")))

	assert.Equal(t, []order.Verdict{order.VerdictBooked}, verdictsOf(t, first, direct("d", "floor")))
	assert.Equal(t, []order.Verdict{order.VerdictExisting}, verdictsOf(t, order.NewPostgres(pool), direct("d", "floor")), "nothing is left, and it needs nothing")
	assert.Equal(t, []order.Verdict{order.VerdictFull}, verdictsOf(t, order.NewPostgres(pool), direct("e", "floor")))
	books(t, first)
}

func verdictsOf(t *testing.T, store order.Store, commits ...order.Commit) (verdicts []order.Verdict) {
	t.Helper()
	outcomes, _, err := store.Commit(t.Context(), commits)
	require.NoError(t, err)
	for _, o := range outcomes {
		verdicts = append(verdicts, o.Verdict)
	}
	return verdicts
}

// A second click on an order that somebody's own transaction has changed, and not
// committed yet, waits for nobody, and keeps nobody from the SKU.
func TestFirstRepeatOfALockedOrder(t *testing.T) {
	t.Parallel()
	first, pool := newStore(t)
	putOnSale(t, first, "floor", 10)
	impatient := newPool(t, pool.Config().ConnString(), set("lock_timeout", "100ms"))
	held := direct("held", "floor")
	held.Hold = time.Hour
	assert.Equal(t, []order.Verdict{order.VerdictBooked, order.VerdictBooked}, verdictsOf(t, first, held, direct("a", "floor")))
	for name, change := range map[string]func(context.Context, pgx.Tx, string) (order.Order, error){"confirm": first.ConfirmTx, "cancel": first.CancelTx} {
		t.Run(name, func(t *testing.T) {
			tx, err := pool.Begin(t.Context())
			require.NoError(t, err)
			defer func() { _ = tx.Rollback(context.Background()) }()
			_, err = change(t.Context(), tx, "held")
			require.NoError(t, err)
			// If it waited for the transaction, that would end it.
			outcomes, _, err := order.NewPostgres(impatient).Commit(t.Context(), []order.Commit{held, direct("by "+name, "floor")})
			require.NoError(t, err)
			assert.Equal(t, order.VerdictExisting, outcomes[0].Verdict)
			assert.Equal(t, order.Held, outcomes[0].Order.Status)
			assert.Equal(t, order.VerdictBooked, outcomes[1].Verdict)
		})
	}
	books(t, first)
}
