package order_test

import (
	"testing"

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
