package order_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

// refusing makes the database refuse orders by their customer, each in a way that
// somebody's own trigger, constraint or policy does, when they are stored, and when
// their status changes to what the customer names behind the colon.
const refusing = `
	create function public.refuse() returns trigger language plpgsql as $$
	begin
		if tg_op = 'UPDATE' and new.customer <> split_part(new.customer, ':', 1) || ':' || new.status then return new; end if;
		if tg_op = 'INSERT' and new.customer like '%:%' then return new; end if;
		case split_part(new.customer, ':', 1)
		when 'plain' then raise exception 'no';
		when 'no data' then raise exception 'no' using errcode = 'P0002';
		when 'own state' then raise exception 'no' using errcode = 'AB123';
		when 'as a table' then raise exception 'no' using errcode = 'undefined_table';
		when 'as a right' then raise exception 'no' using errcode = 'insufficient_privilege';
		when 'assert' then assert false, 'no';
		when 'zero' then perform 1 / 0;
		when 'too long' then perform 'no'::"char"::text::int;
		else
			if new.customer ~ '^[0-9A-Z]{5}(:|$)' then raise exception 'no' using errcode = left(new.customer, 5); end if;
		end case;
		return new;
	end $$;
	create function public.refuse_late() returns trigger language plpgsql as $$
	begin
		if split_part(new.customer, ':', 1) = 'deferred' and (tg_op = 'INSERT') <> (new.customer like '%:%')
			and (tg_op = 'INSERT' or new.customer = 'deferred:' || new.status) then
			raise exception 'no';
		end if;
		return null;
	end $$;
	create trigger refuse before insert or update of status on lastunit.orders for each row execute function public.refuse();
	create constraint trigger refuse_late after insert or update on lastunit.orders deferrable initially deferred
		for each row execute function public.refuse_late();
	alter table lastunit.orders enable row level security;
	create policy theirs on lastunit.orders using (true)
		with check (customer <> 'policy' and (customer not like 'policy:%' or customer <> 'policy:' || status::text));`

var refusals = []string{
	"plain", "no data", "own state", "as a table", "as a right", "assert", "zero", "too long", "deferred", "policy",
	// Of the classes of trouble, and two of which nobody would know what became of the transaction.
	"0A000", "25006", "28000", "3D000", "40P01", "53100", "55P03", "57014", "58030", "F0000", "XX000", "08006", "40003",
}

// newRefusing makes a store whose database refuses some orders.
func newRefusing(t testing.TB) (store *order.Postgres, url string) {
	t.Helper()
	database := newDatabase(t)
	execute(t, database, refusing)
	url = newRole(t, database, readmeGrants(t, false)) // a superuser is above policies
	return order.NewPostgres(newPool(t, url)), database
}

func isRejected(t testing.TB, err error, message string) {
	t.Helper()
	require.ErrorIs(t, err, order.ErrRejected, message)
	for _, other := range []error{order.ErrUnavailable, order.ErrNotMigrated, order.ErrOutcomeUnknown} {
		require.NotErrorIs(t, err, other, message)
	}
	var answer *pgconn.PgError
	require.ErrorAs(t, err, &answer, "the database's own words")
}

func TestRejected(t *testing.T) {
	t.Parallel()
	store, _ := newRefusing(t)
	counters := putOnSale(t, store, "floor", 1000)

	t.Run("insert", func(t *testing.T) {
		var commits []order.Commit
		for i := range 6 * len(refusals) {
			c := deducted(fmt.Sprint("insert-", i), counters, int64(i)+1)
			if i%6 == 0 {
				c.Order.Customer = refusals[i/6]
			}
			commits = append(commits, c)
		}
		outcomes, after, err := store.Commit(t.Context(), commits)
		require.NoError(t, err)
		for i, outcome := range outcomes {
			if i%6 != 0 {
				require.Equal(t, order.VerdictBooked, outcome.Verdict, i)
				continue
			}
			require.Equal(t, order.VerdictFailed, outcome.Verdict, refusals[i/6])
			require.Equal(t, []bool{false}, outcome.Consumed)
			isRejected(t, outcome.Err, refusals[i/6])
			alone, err := one(t.Context(), store, commits[i])
			require.NoError(t, err)
			isRejected(t, alone.Err, refusals[i/6])
		}
		require.Equal(t, int64(5*len(refusals)), after[0].Allocated)

		// As refused ones they are stored without their customer.
		var orders []order.Order
		for _, c := range commits {
			c.Order.Refused = order.Refusal{Why: order.WhyRejected}
			orders = append(orders, c.Order)
		}
		outcomes, err = store.Refuse(t.Context(), orders)
		require.NoError(t, err)
		for i, outcome := range outcomes {
			if i%6 == 0 {
				require.Equal(t, order.VerdictRefused, outcome.Verdict, refusals[i/6])
			} else {
				require.Equal(t, order.VerdictExisting, outcome.Verdict)
			}
		}
	})

	for action, status := range map[order.Action]order.Status{
		order.Confirm: order.Confirmed, order.Cancel: order.Cancelled, order.Expire: order.Expired, order.Reclaim: order.Confirmed,
	} {
		t.Run(string(action), func(t *testing.T) {
			var commits []order.Commit
			var changes []order.Change
			for i := range 6 * len(refusals) {
				c := direct(fmt.Sprint(action, "-", i), "floor")
				if c.Hold = time.Hour; action == order.Expire {
					c.Hold = time.Millisecond
				}
				if i%6 == 0 {
					c.Order.Customer = refusals[i/6] + ":" + string(status)
				}
				commits = append(commits, c)
				changes = append(changes, order.Change{ID: c.Order.ID, Action: action})
			}
			outcomes, _, err := store.Commit(t.Context(), commits)
			require.NoError(t, err)
			for _, outcome := range outcomes {
				require.Equal(t, order.VerdictBooked, outcome.Verdict)
			}
			if action == order.Expire {
				until(t, func() bool {
					due, err := store.Due(t.Context(), time.Hour, 6*len(refusals))
					return assert.NoError(t, err) && len(due) == 0
				})
			}
			changed, after, err := store.Change(t.Context(), changes)
			require.NoError(t, err)
			for i, c := range changed {
				if i%6 == 0 {
					isRejected(t, c.Err, refusals[i/6])
					continue
				}
				require.NoError(t, c.Err)
				require.Equal(t, status, c.Order.Status)
			}
			require.Len(t, after, 1)
		})
	}
	books(t, store)
}

// TestHoldThatCannotBeTouched: a trigger that refuses every change of a row, even that
// somebody takes it as due.
func TestHoldThatCannotBeTouched(t *testing.T) {
	t.Parallel()
	url := newDatabase(t)
	execute(t, url, `
		create function public.refuse() returns trigger language plpgsql as $$
		begin
			if old.customer = 'blocked' then raise exception 'no' using errcode = 'object_not_in_prerequisite_state'; end if;
			return new;
		end $$;
		create trigger refuse before update on lastunit.orders for each row execute function public.refuse()`)
	pool := newPool(t, url)
	store := order.NewPostgres(pool)
	putOnSale(t, store, "floor", 100)
	var commits []order.Commit
	for i := range 20 {
		c := direct(fmt.Sprint(i), "floor")
		if c.Hold = time.Millisecond; i == 3 || i == 4 {
			c.Order.Customer = "blocked"
		}
		commits = append(commits, c)
	}
	_, _, err := store.Commit(t.Context(), commits)
	require.NoError(t, err)

	mine := direct("mine", "floor")
	mine.Hold, mine.Order.Customer = time.Hour, "blocked"
	_, err = one(t.Context(), store, mine)
	require.NoError(t, err)
	for _, change := range []func(context.Context, pgx.Tx, string) (order.Order, error){store.ConfirmTx, store.CancelTx} {
		tx, err := pool.Begin(t.Context())
		require.NoError(t, err)
		_, err = change(t.Context(), tx, "mine")
		isRejected(t, err, "in a transaction of one's own")
		require.NoError(t, tx.Rollback(t.Context()))
	}

	due := make(map[string]int)
	until(t, func() bool {
		page, err := store.Due(t.Context(), time.Hour, 5)
		require.NoError(t, err)
		for _, o := range page {
			due[o.ID]++
		}
		return len(due) == 20
	})
	for id, times := range due {
		require.Equal(t, 1, times, "%s is left to whoever took it", id)
	}
}

// TestReadRejected: a policy whose function fails for one order.
func TestReadRejected(t *testing.T) {
	t.Parallel()
	store, database := newRefusing(t)
	counters := putOnSale(t, store, "floor", 10)
	commits := []order.Commit{deducted("1", counters, 1), deducted("2", counters, 2), deducted("3", counters, 3)}
	_, _, err := store.Commit(t.Context(), commits)
	require.NoError(t, err)
	execute(t, database, `
		create function public.show(id text) returns boolean language plpgsql as $$
		begin
			if id = '2' then raise exception 'no'; end if;
			return true;
		end $$;
		create policy readable on lastunit.orders as restrictive for select using (public.show(id))`)
	outcomes, after, err := store.Look(t.Context(), append(commits, direct("4", "floor")))
	require.NoError(t, err)
	require.Equal(t, order.VerdictExisting, outcomes[0].Verdict)
	require.Equal(t, order.VerdictFailed, outcomes[1].Verdict)
	isRejected(t, outcomes[1].Err, "2")
	require.Equal(t, order.VerdictExisting, outcomes[2].Verdict)
	require.Equal(t, order.VerdictNew, outcomes[3].Verdict)
	require.Len(t, after, 1)

	// What it consumed nobody may give back.
	_, _, err = store.Fence(t.Context(), []inventory.Deduction{commits[0].Deductions[0], commits[1].Deductions[0]})
	require.ErrorIs(t, err, order.ErrRejected)
	consumed, _, err := store.Fence(t.Context(), commits[0].Deductions)
	require.NoError(t, err)
	require.Equal(t, []bool{true}, consumed)
}

// TestMissingRightIsNobodysFault: it concerns every order, and none is to blame.
func TestMissingRightIsNobodysFault(t *testing.T) {
	t.Parallel()
	store, database := newRefusing(t)
	putOnSale(t, store, "floor", 10)
	execute(t, database, "revoke insert on lastunit.orders from role_testmissingrightisnobodysfault")
	commits := []order.Commit{direct("1", "floor"), direct("2", "floor"), direct("3", "floor")}
	_, _, err := store.Commit(t.Context(), commits[:1])
	unavailable(t, err)
	require.NotErrorIs(t, err, order.ErrRejected)
	_, _, err = store.Commit(t.Context(), commits)
	unavailable(t, err)
	require.NotErrorIs(t, err, order.ErrRejected)
	var answer *pgconn.PgError
	require.True(t, errors.As(err, &answer) && answer.Code == "42501")
}

// TestOwnConstraints holds the list of the constraints that the migrations make.
func TestOwnConstraints(t *testing.T) {
	t.Parallel()
	_, pool := newStore(t)
	var names string
	require.NoError(t, pool.QueryRow(t.Context(), `select string_agg(conname, ' ' order by conname collate "C")
		from pg_constraint where connamespace = 'lastunit'::regnamespace and contype <> 'n'`).Scan(&names))
	require.Equal(t, strings.Join(order.OwnConstraints(), " "), names)
}

// TestTablesThatContradictEachOther: a hand in the tables is nobody's fault, and
// concerns the orders of that SKU alone.
func TestTablesThatContradictEachOther(t *testing.T) {
	t.Parallel()
	url := newDatabase(t)
	store := order.NewPostgres(newPool(t, url))
	putOnSale(t, store, "wrong", 10)
	putOnSale(t, store, "right", 10)
	_, _, err := store.Commit(t.Context(), []order.Commit{direct("0", "wrong"), direct("00", "right")})
	require.NoError(t, err)
	execute(t, url, "update lastunit.skus set moved = moved - 1 where sku = 'wrong'")

	var commits []order.Commit
	for i := range 8 { // two movements of one batch would not meet the last one
		commits = append(commits, direct(fmt.Sprint(i+1), "right"))
	}
	commits[3] = direct("4", "wrong")
	outcomes, _, err := store.Commit(t.Context(), commits)
	require.NoError(t, err)
	for i, outcome := range outcomes {
		if i != 3 {
			require.Equal(t, order.VerdictBooked, outcome.Verdict)
			continue
		}
		require.Equal(t, order.VerdictFailed, outcome.Verdict)
		unavailable(t, outcome.Err)
		require.NotErrorIs(t, outcome.Err, order.ErrRejected)
		require.ErrorContains(t, outcome.Err, "movement_batches_pkey")
	}
	_, _, err = store.Commit(t.Context(), commits[3:4])
	unavailable(t, err)
	require.NotErrorIs(t, err, order.ErrRejected)
	err = restock(t.Context(), store, "r-1", "wrong")
	unavailable(t, err)
	require.NotErrorIs(t, err, order.ErrRejected)
	changed, _, err := store.Change(t.Context(), []order.Change{{ID: "0", Action: order.Cancel}, {ID: "00", Action: order.Cancel}})
	require.NoError(t, err)
	unavailable(t, changed[0].Err)
	require.NoError(t, changed[1].Err)

	tallies, err := store.TallyAll(t.Context())
	require.NoError(t, err)
	require.Equal(t, "wrong", tallies[1].Counters.SKU)
	require.Equal(t, int64(1), tallies[1].Behind)
	require.False(t, tallies[1].Balanced())
	require.True(t, tallies[0].Balanced())
	_, err = store.Recount(t.Context(), "wrong")
	require.NoError(t, err)
	_, _, err = cancel(t.Context(), store, "0")
	require.NoError(t, err)
	require.NoError(t, restock(t.Context(), store, "r-1", "wrong"))
	books(t, store)
}

// TestOrphans: somebody deletes the row of a SKU that is sold, with a ledger and without.
func TestOrphans(t *testing.T) {
	t.Parallel()
	for name, ledger := range map[string]bool{"with a ledger": true, "without": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := newDatabase(t)
			store := order.NewPostgres(newPool(t, url))
			require.NoError(t, store.SetLedger(t.Context(), ledger))
			for _, sku := range []string{"gone", "stays", "unsold"} {
				putOnSale(t, store, sku, 1)
			}
			outcome, err := one(t.Context(), store, direct("1", "gone"))
			require.NoError(t, err)
			require.Equal(t, order.VerdictBooked, outcome.Verdict)
			execute(t, url, "delete from lastunit.skus where sku in ('gone', 'unsold')")

			tallies, err := store.TallyAll(t.Context())
			require.NoError(t, err)
			require.Equal(t, order.Tally{Counters: order.Counters{SKU: "gone"}, Confirmed: 1, Orphan: true}, tallies[0])
			require.False(t, tallies[0].Balanced())
			named, err := store.Tally(t.Context(), "gone", "stays")
			require.NoError(t, err)
			require.Len(t, named, 2)

			_, _, err = store.PutOnSale(t.Context(), order.Item{SKU: "new", Capacity: 1}, order.Item{SKU: "gone", Capacity: 1})
			require.ErrorIs(t, err, order.ErrOrphaned)
			var of *order.SKUError
			require.ErrorAs(t, err, &of)
			require.Equal(t, "gone", of.SKU)
			counters, err := store.Counters(t.Context(), "gone", "new")
			require.NoError(t, err)
			require.Empty(t, counters, "all of them or none")
			outcome, err = one(t.Context(), store, direct("2", "gone"))
			require.NoError(t, err)
			require.Equal(t, order.VerdictUnknown, outcome.Verdict)

			_, _, err = store.PutOnSale(t.Context(), order.Item{SKU: "unsold", Capacity: 1})
			if ledger { // its first movement is there
				require.ErrorIs(t, err, order.ErrOrphaned)
			} else {
				require.NoError(t, err)
			}
			_, _, err = cancel(t.Context(), store, "1")
			require.NoError(t, err)
			execute(t, url, "delete from lastunit.movement_batches where sku = 'gone'")
			putOnSale(t, store, "gone", 1)
		})
	}
}
