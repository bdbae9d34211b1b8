package order_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/order"
)

// TestTakenForGood: an order whose ID stays taken, although no order is to be seen under
// it, is rejected alone: a policy hides the order that has the ID, or a trigger gives it
// that of another one.
func TestTakenForGood(t *testing.T) {
	t.Parallel()
	database := newDatabase(t)
	execute(t, database, `create function public.lower() returns trigger language plpgsql as $$ begin new.id = lower(new.id); return new; end $$;
		create trigger lower before insert on lastunit.orders for each row execute function public.lower()`)
	url := newRole(t, database, readmeGrants(t, false)) // a superuser is above policies
	first := order.NewPostgres(newPool(t, url))
	putOnSale(t, first, "floor", 100)
	require.Equal(t, []order.Verdict{order.VerdictBooked, order.VerdictBooked}, verdictsOf(t, first, direct("hidden", "floor"), direct("lower", "floor")))
	execute(t, database, `update lastunit.orders set created_at = created_at - interval '2 years' where id = 'hidden';
		alter table lastunit.orders enable row level security;
		create policy recent on lastunit.orders using (created_at > now() - interval '1 year') with check (true)`)

	pool := newPool(t, url)
	looking := order.NewPostgres(pool)
	require.Equal(t, []order.Verdict{order.VerdictExisting}, verdictsOf(t, looking, direct("lower", "floor")))
	for name, store := range map[string]*order.Postgres{"looks": looking, "does not look": order.NewPostgres(pool)} {
		var commits []order.Commit
		for i := range 10 {
			commits = append(commits, direct(fmt.Sprintf("%s %d", name, i), "floor"))
		}
		commits[4].Order.ID, commits[7].Order.ID = "hidden", "LOWER"
		outcomes, _, err := store.Commit(t.Context(), commits)
		require.NoError(t, err, name)
		for i, outcome := range outcomes {
			if i != 4 && i != 7 {
				require.Equal(t, order.VerdictBooked, outcome.Verdict, name)
				continue
			}
			require.Equal(t, order.VerdictFailed, outcome.Verdict, name)
			isRejected(t, outcome.Err, name)
		}

		// As a refused one it is not stored either.
		hidden := commits[4].Order
		hidden.Refused = order.Refusal{Why: order.WhyRejected}
		outcomes, err = store.Refuse(t.Context(), []order.Order{hidden})
		require.NoError(t, err, name)
		require.Equal(t, order.VerdictFailed, outcomes[0].Verdict, name)
		require.ErrorIs(t, outcomes[0].Err, order.ErrRejected, name)
	}
}
