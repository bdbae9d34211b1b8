package order_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

// A constraint of the database's owner rejects some orders even as refused ones:
// those are refused all the same, without what may be to blame.
func TestPoisonousRefusal(t *testing.T) {
	t.Parallel()
	url := newDatabase(t)
	execute(t, url, `alter table lastunit.orders add constraint no_poison check (customer <> 'poison')`)
	store := order.NewPostgres(newPool(t, url))
	counters := putOnSale(t, store, "floor", 100)
	var orders []order.Order
	for i := range 9 {
		o := deducted(fmt.Sprint(i), counters, int64(i)+1).Order
		if i%4 == 0 {
			o.Customer = "poison"
		}
		o.Refused = order.Refusal{Why: order.WhyRejected}
		orders = append(orders, o)
	}
	outcomes, err := store.Refuse(t.Context(), orders)
	require.NoError(t, err)
	for i, outcome := range outcomes {
		require.Equal(t, order.VerdictRefused, outcome.Verdict, i)
		require.Equal(t, order.WhyRejected, outcome.Order.Refused.Why, i)
		require.Equal(t, i%4 == 0, outcome.Order.Customer == "", i)
	}
	execute(t, url, `alter table lastunit.orders add constraint no_refusal check (id <> '5a') not valid`)
	orders[0].ID, orders[1].ID = "4a", "5a"
	outcomes, err = store.Refuse(t.Context(), orders[:2])
	require.NoError(t, err)
	require.Equal(t, order.VerdictRefused, outcomes[0].Verdict)
	require.Equal(t, order.VerdictFailed, outcomes[1].Verdict)
	require.ErrorIs(t, outcomes[1].Err, order.ErrRejected)
	books(t, store)
}

func TestRefusedError(t *testing.T) {
	t.Parallel()
	err := error(&order.RefusedError{ID: "1", Refusal: order.Refusal{Why: order.WhySoldOut, SKU: "floor"}})
	require.ErrorIs(t, err, order.ErrRefused)
	require.ErrorIs(t, err, inventory.ErrSoldOut)
	require.NotErrorIs(t, err, order.ErrCancelled)
	require.EqualError(t, err, `order "1": refused after it was accepted: SKU "floor": sold out`)
	require.EqualError(t, &order.RefusedError{ID: "1", Refusal: order.Refusal{Why: "new"}}, `order "1": refused after it was accepted: new`)
}
