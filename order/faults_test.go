package order_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/internal/servertest"
	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

// one commits one order.
func one(ctx context.Context, store order.Store, c order.Commit) (order.Outcome, error) {
	outcomes, _, err := store.Commit(ctx, []order.Commit{c})
	if err != nil {
		return order.Outcome{}, err
	}
	return outcomes[0], nil
}

// outcomeUnknown checks that nobody can take the error for "nothing was changed".
func outcomeUnknown(t testing.TB, err error) {
	t.Helper()
	require.ErrorIs(t, err, order.ErrOutcomeUnknown)
	require.NotErrorIs(t, err, order.ErrUnavailable)
}

func unavailable(t testing.TB, err error) {
	t.Helper()
	require.ErrorIs(t, err, order.ErrUnavailable)
	require.NotErrorIs(t, err, order.ErrOutcomeUnknown)
}

func TestConnectionCutAtCommit(t *testing.T) {
	t.Parallel()
	url := newDatabase(t)
	proxy := servertest.StartProxy(t, servertest.SharedPostgres(t).Addr())
	store := order.NewPostgres(newPool(t, proxy.URL(url)))
	counters := putOnSale(t, store, "floor", 10)

	for i, test := range []struct {
		name  string
		fault func(int, func([]byte) bool)
		want  order.Verdict // of the retry
	}{
		{"before", proxy.CutBefore, order.VerdictBooked},
		{"after", proxy.DropReplyTo, order.VerdictExisting},
	} {
		t.Run(test.name, func(t *testing.T) {
			id := "id-" + test.name
			c := deducted(id, counters, int64(i)+1)
			dropped := proxy.Dropped()
			// Begin, what is asked, and commit are one request.
			test.fault(1, contains(id))
			_, err := one(t.Context(), store, c)
			outcomeUnknown(t, err)
			require.Equal(t, dropped+1, proxy.Dropped())

			outcome, err := one(t.Context(), store, c)
			require.NoError(t, err)
			require.Equal(t, test.want, outcome.Verdict)
			require.Equal(t, []bool{true}, outcome.Consumed)
			require.Equal(t, order.Confirmed, outcome.Order.Status)
		})
	}
	books(t, store)
}

func TestConnectionCutAtCancel(t *testing.T) {
	t.Parallel()
	url := newDatabase(t)
	proxy := servertest.StartProxy(t, servertest.SharedPostgres(t).Addr())
	store := order.NewPostgres(newPool(t, proxy.URL(url)))
	putOnSale(t, store, "floor", 10)
	_, err := one(t.Context(), store, direct("id-1", "floor"))
	require.NoError(t, err)

	proxy.DropReplyTo(1, contains("id-1"))
	_, _, err = cancel(t.Context(), store, "id-1")
	outcomeUnknown(t, err)
	o, counters, err := cancel(t.Context(), store, "id-1")
	require.NoError(t, err)
	require.Equal(t, order.Cancelled, o.Status)
	require.Zero(t, counters[0].Allocated, "the units came back once")
	books(t, store)
}

func TestPoisonousOrder(t *testing.T) {
	t.Parallel()
	url := newDatabase(t)
	execute(t, url, `alter table lastunit.orders add constraint no_poison check (customer <> 'poison')`)
	store := order.NewPostgres(newPool(t, url))
	counters := putOnSale(t, store, "floor", 100)
	var commits []order.Commit
	for i := range 100 {
		c := deducted(fmt.Sprintf("%03d", i), counters, int64(i)+1)
		if i == 0 || i == 37 || i == 38 || i == 99 {
			c.Order.Customer = "poison"
		}
		commits = append(commits, c)
	}
	outcomes, after, err := store.Commit(t.Context(), commits)
	require.NoError(t, err)
	for i, outcome := range outcomes {
		if commits[i].Order.Customer != "poison" {
			require.Equal(t, order.VerdictBooked, outcome.Verdict, i)
			continue
		}
		require.Equal(t, order.VerdictFailed, outcome.Verdict, i)
		require.Equal(t, []bool{false}, outcome.Consumed)
		var answer *pgconn.PgError
		require.ErrorAs(t, outcome.Err, &answer)
		require.Equal(t, "no_poison", answer.ConstraintName)
	}
	require.Len(t, after, 1)
	require.Equal(t, int64(96), after[0].Allocated)

	// It alone.
	outcomes, after, err = store.Commit(t.Context(), commits[:1])
	require.NoError(t, err)
	require.Equal(t, order.VerdictFailed, outcomes[0].Verdict)
	require.Empty(t, after, "nothing was counted")
	books(t, store)
}

// TestTroubleAfterTheFirstHalf: once a part of a poisoned batch is booked, no
// error may say that nothing was changed.
func TestTroubleAfterTheFirstHalf(t *testing.T) {
	t.Parallel()
	url := newDatabase(t)
	// The device has no room for a byte. To raise that it has none is not the same.
	execute(t, url, `
		create function public.trouble() returns trigger language plpgsql as $$
		begin
			if new.customer = 'poison' then raise exception 'poison' using errcode = 'disk_full'; end if;
			if new.customer = 'trouble' then copy (select 1) to '/dev/full'; end if;
			return new;
		end $$;
		create trigger trouble before insert on lastunit.orders for each row execute function public.trouble()`)
	store := order.NewPostgres(newPool(t, url))
	putOnSale(t, store, "floor", 10)
	commits := []order.Commit{direct("1", "floor"), direct("2", "floor"), direct("3", "floor"), direct("4", "floor")}
	commits[1].Order.Customer = "poison"
	commits[2].Order.Customer = "trouble"
	_, _, err := store.Commit(t.Context(), commits)
	outcomeUnknown(t, err)
	var answer *pgconn.PgError
	require.ErrorAs(t, err, &answer)
	require.Equal(t, "53100", answer.Code)
	_, err = store.Order(t.Context(), "1")
	require.NoError(t, err, "it was booked")

	_, err = one(t.Context(), store, commits[2])
	unavailable(t, err)
	books(t, store)
}

// TestOpposingOrders is for deadlocks: several SKUs in all orders, and the same
// IDs with other SKUs, from two pools.
func TestOpposingOrders(t *testing.T) {
	t.Parallel()
	url := newDatabase(t)
	stores := []order.Store{order.NewPostgres(newPool(t, url)), order.NewPostgres(newPool(t, url))}
	skus := []string{"a", "b", "c", "d", "e", "f"}
	for _, sku := range skus {
		putOnSale(t, stores[0], sku, 200)
	}
	var callers sync.WaitGroup
	for caller := range 8 {
		callers.Go(func() {
			random := rand.New(rand.NewPCG(1, uint64(caller)))
			for range 40 {
				var commits []order.Commit
				for range 1 + random.IntN(20) {
					var some []string
					for _, sku := range skus {
						if random.IntN(3) == 0 {
							some = append(some, sku)
						}
					}
					if len(some) > 0 { // few IDs, so that they meet
						commits = append(commits, direct(fmt.Sprint(random.IntN(400)), some...))
					}
				}
				_, _, err := stores[caller%2].Commit(context.Background(), commits)
				assert.NoError(t, err)
				_, _, err = void(context.Background(), stores[caller%2], fmt.Sprint(random.IntN(400)))
				assert.NoError(t, err)
				_, _, err = stores[caller%2].Fence(context.Background(), []inventory.Deduction{
					{SKU: "f", OrderID: fmt.Sprint(random.IntN(400)), Epoch: 1, Seq: 1},
					{SKU: "a", OrderID: fmt.Sprint(random.IntN(400)), Epoch: 1, Seq: 1},
				})
				assert.NoError(t, err)
			}
		})
	}
	callers.Wait()
	books(t, stores[0])
}

// hold locks a SKU's row in an idle transaction until the test ends or release
// is called.
func hold(t testing.TB, url, sku string) (release func()) {
	t.Helper()
	conn, err := pgx.Connect(context.Background(), url)
	require.NoError(t, err)
	tx, err := conn.Begin(context.Background())
	require.NoError(t, err)
	_, err = tx.Exec(context.Background(), "select from lastunit.skus where sku = $1 for update", sku)
	require.NoError(t, err)
	release = sync.OnceFunc(func() { conn.Close(context.Background()) })
	t.Cleanup(release)
	return release
}

func TestHeldRowLock(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name     string
		settings []func(*pgxpool.Config)
		state    string
		from     time.Duration
	}{
		{"nobody bounds it", nil, "55P03", 4 * time.Second}, // 5 s each for the queue, for the next in the row's line, for the row
		{"lock_timeout", []func(*pgxpool.Config){set("lock_timeout", "200ms")}, "55P03", 150 * time.Millisecond},
		{"statement_timeout", []func(*pgxpool.Config){set("statement_timeout", "200ms")}, "57014", 150 * time.Millisecond},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			url := newDatabase(t)
			store := order.NewPostgres(newPool(t, url, append(test.settings, maxConns(16))...)) // all calls at once
			unbounded := order.NewPostgres(newPool(t, url))
			counters := putOnSale(t, unbounded, "floor", 10)
			_, err := one(t.Context(), unbounded, direct("1", "floor"))
			require.NoError(t, err)
			release := hold(t, url, "floor")

			ctx := bounded(t, patience) // the state says that it ended sooner
			var calls sync.WaitGroup
			for name, call := range map[string]func() error{
				"Commit":     func() error { _, err := one(ctx, store, direct("2", "floor")); return err },
				"Cancel":     func() error { _, _, err := void(ctx, store, "1"); return err },
				"Confirm":    func() error { _, _, err := change(ctx, store, "1", order.Confirm); return err },
				"Fence":      func() error { _, _, err := store.Fence(ctx, deducted("3", counters, 1).Deductions); return err },
				"Adjust":     func() error { return restock(ctx, store, "L-1", "floor") },
				"SetLimit":   func() error { _, err := store.SetLimit(ctx, "floor", 1); return err },
				"SetWindow":  func() error { _, err := store.SetWindow(ctx, "floor", time.Now(), time.Time{}); return err },
				"SetPaused":  func() error { _, err := store.SetPaused(ctx, "floor", true); return err },
				"SetLedger":  func() error { return store.SetLedger(ctx, false) },
				"BeginEpoch": func() error { _, _, err := store.BeginEpoch(ctx, "floor", counters.Epoch); return err },
				"Recount":    func() error { _, err := store.Recount(ctx, "floor"); return err },
			} {
				calls.Go(func() {
					start := time.Now()
					err := call()
					took := time.Since(start)
					if (name == "Cancel" || name == "Confirm") && test.state == "55P03" {
						// The orders of other SKUs must not wait for this one.
						assert.ErrorIs(t, err, order.ErrBusy, name)
						return
					}
					assert.ErrorIs(t, err, order.ErrUnavailable, name)
					assert.NotErrorIs(t, err, order.ErrOutcomeUnknown, name)
					var answer *pgconn.PgError
					if assert.ErrorAs(t, err, &answer, name) {
						assert.Equal(t, test.state, answer.Code, name)
					}
					assert.Greater(t, took, test.from, name)
				})
			}
			calls.Wait()
			// Who only reads does not wait.
			after, err := unbounded.Counters(t.Context(), "floor")
			require.NoError(t, err)
			require.Equal(t, int64(1), after[0].Allocated)
			require.Equal(t, counters.Epoch, after[0].Epoch)

			release()
			until(t, func() bool { _, err := one(t.Context(), store, direct("2", "floor")); return err == nil })
			books(t, unbounded)
		})
	}
}

// waiting waits until a session of the database waits for a lock, and returns
// its process ID.
func waiting(t testing.TB, url string) (pid int) {
	t.Helper()
	conn, err := pgx.Connect(context.Background(), url)
	require.NoError(t, err)
	defer conn.Close(context.Background())
	until(t, func() bool {
		return conn.QueryRow(context.Background(), `select pid from pg_stat_activity
			where datname = current_database() and wait_event_type = 'Lock'`).Scan(&pid) == nil
	})
	return pid
}

func TestErrorsInMidCall(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		end   func(t testing.TB, url string, pid int, cancel func())
		check func(t testing.TB, err error)
	}{
		"terminated": {
			func(t testing.TB, url string, pid int, _ func()) {
				execute(t, url, fmt.Sprintf("select pg_terminate_backend(%d)", pid))
			}, outcomeUnknown,
		},
		"cancelled by an administrator": {
			func(t testing.TB, url string, pid int, _ func()) {
				execute(t, url, fmt.Sprintf("select pg_cancel_backend(%d)", pid))
			}, unavailable,
		},
		"context ended": {
			func(_ testing.TB, _ string, _ int, cancel func()) { cancel() },
			outcomeUnknown,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := newDatabase(t)
			store := order.NewPostgres(newPool(t, url))
			putOnSale(t, store, "floor", 10)
			release := hold(t, url, "floor")
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			failed := make(chan error, 1)
			go func() {
				_, err := one(ctx, store, direct("1", "floor"))
				failed <- err
			}()
			test.end(t, url, waiting(t, url), cancel)
			test.check(t, <-failed)
			release()
			until(t, func() bool { _, err := one(t.Context(), store, direct("1", "floor")); return err == nil })
			books(t, store)
		})
	}
}

func TestPoolExhausted(t *testing.T) {
	t.Parallel()
	store, pool := newStore(t, maxConns(1))
	putOnSale(t, store, "floor", 10)
	conn, err := pool.Acquire(t.Context())
	require.NoError(t, err)
	_, err = one(bounded(t, 100*time.Millisecond), store, direct("1", "floor"))
	unavailable(t, err)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	conn.Release()
	outcome, err := one(t.Context(), store, direct("1", "floor"))
	require.NoError(t, err)
	require.Equal(t, order.VerdictBooked, outcome.Verdict)
}

// TestSerializationFailures: Postgres asks to try again, some times and always.
func TestSerializationFailures(t *testing.T) {
	t.Parallel()
	for _, state := range []string{"40001", "40P01"} {
		t.Run(state, func(t *testing.T) {
			t.Parallel()
			url := newDatabase(t)
			// A sequence counts also what is rolled back.
			execute(t, url, strings.ReplaceAll(`
				create sequence public.tries;
				create function public.fail() returns trigger language plpgsql as $$
				begin
					if nextval('public.tries') < 4 or exists (select from lastunit.orders where customer = 'always') then
						raise exception 'try again' using errcode = 'STATE';
					end if;
					return null;
				end $$;
				create trigger fail after insert on lastunit.orders execute function public.fail()`, "STATE", state))
			pool := newPool(t, url)
			store := order.NewPostgres(pool)
			putOnSale(t, store, "floor", 10)
			outcome, err := one(t.Context(), store, direct("1", "floor"))
			require.NoError(t, err)
			require.Equal(t, order.VerdictBooked, outcome.Verdict)

			always := direct("2", "floor")
			always.Order.Customer = "always"
			outcome, err = one(t.Context(), store, always)
			require.NoError(t, err)
			isRejected(t, outcome.Err, "always")
			var tries int
			require.NoError(t, pool.QueryRow(t.Context(), "select last_value from public.tries").Scan(&tries))
			require.Equal(t, 4+10, tries, "bounded")
			_, err = store.Order(t.Context(), "2")
			require.ErrorIs(t, err, order.ErrNotFound)
			books(t, store)
		})
	}
}

func TestServerStoppedAndKilledUnderLoad(t *testing.T) {
	t.Parallel()
	server := servertest.StartPostgres(t)
	url := server.Database(t)
	migrate(t, url)
	store := order.NewPostgres(newPool(t, url, maxConns(4)))
	counters := putOnSale(t, store, "floor", 1_000_000)

	var mu sync.Mutex
	acknowledged := make(map[string]order.Commit)
	troubles := 0
	count := func() (int, int) {
		mu.Lock()
		defer mu.Unlock()
		return len(acknowledged), troubles
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var callers sync.WaitGroup
	for caller := range 4 {
		callers.Go(func() {
			for n := int64(0); ctx.Err() == nil; n++ {
				c := deducted(fmt.Sprint(caller, "-", n), counters, n*4+int64(caller)+1)
				call, cancel := context.WithTimeout(context.Background(), 2*time.Second)
				outcome, err := one(call, store, c)
				cancel()
				mu.Lock()
				switch {
				case err == nil && assert.Equal(t, order.VerdictBooked, outcome.Verdict):
					acknowledged[c.Order.ID] = c
				case err != nil:
					troubles++
					assert.NotEqual(t, errors.Is(err, order.ErrUnavailable), errors.Is(err, order.ErrOutcomeUnknown), "%v", err)
					assert.NotContains(t, err.Error(), server.Password())
				}
				mu.Unlock()
			}
		})
	}
	booked, _ := count()
	for _, end := range []func(){server.Kill, server.Stop, server.Kill} {
		until(t, func() bool { n, _ := count(); return n > booked+50 })
		_, before := count()
		end()
		until(t, func() bool { _, n := count(); return n > before })
		// With nobody there, there is no doubt.
		fresh := order.NewPostgres(newPool(t, url))
		_, err := one(t.Context(), fresh, direct("nobody", "floor"))
		unavailable(t, err)
		server.Restart()
		booked, _ = count()
	}
	until(t, func() bool { n, _ := count(); return n > booked+50 })
	stop()
	callers.Wait()

	for _, c := range acknowledged {
		outcomes, _, err := store.Look(t.Context(), []order.Commit{c})
		require.NoError(t, err)
		require.Equal(t, order.VerdictExisting, outcomes[0].Verdict)
		require.Equal(t, []bool{true}, outcomes[0].Consumed)
	}
	books(t, store)
}

// TestAnswersAwaitTheStandbys: an answer about what was there before must not
// come sooner than the standbys have it.
func TestAnswersAwaitTheStandbys(t *testing.T) {
	t.Parallel()
	server := servertest.StartPostgres(t)
	url := server.Database(t)
	migrate(t, url)
	first := order.NewPostgres(newPool(t, url))
	counters := putOnSale(t, first, "floor", 10)
	booked := deducted("1", counters, 1)
	_, err := one(t.Context(), first, booked)
	require.NoError(t, err)
	_, _, err = void(t.Context(), first, "2")
	require.NoError(t, err)
	require.NoError(t, restock(t.Context(), first, "L-1", "floor"))
	putOnSale(t, first, "balcony", 10)
	execute(t, url, "alter system set synchronous_standby_names = 'nobody'")
	execute(t, url, "select pg_reload_conf()")
	t.Cleanup(func() { // else the database can't be dropped
		execute(t, url, "alter system reset synchronous_standby_names")
		execute(t, url, "select pg_reload_conf()")
	})

	pool := newPool(t, url, set("synchronous_commit", "off"))
	until(t, func() bool {
		var names string
		return pool.QueryRow(t.Context(), "show synchronous_standby_names").Scan(&names) == nil && names == "nobody"
	})
	pool.Reset()
	store := order.NewPostgres(pool)
	_, err = store.Order(t.Context(), "1")
	require.NoError(t, err)
	var calls sync.WaitGroup
	for name, call := range map[string]func(ctx context.Context) error{
		"Commit": func(ctx context.Context) error { _, err := one(ctx, store, booked); return err },
		"Look":   func(ctx context.Context) error { _, _, err := store.Look(ctx, []order.Commit{booked}); return err },
		"Cancel": func(ctx context.Context) error { _, _, err := void(ctx, store, "2"); return err },
		"Fence":  func(ctx context.Context) error { _, _, err := store.Fence(ctx, booked.Deductions); return err },
		"Adjust": func(ctx context.Context) error { return restock(ctx, store, "L-1", "floor") },
		"PutOnSale": func(ctx context.Context) error {
			_, _, err := store.PutOnSale(ctx, order.Item{SKU: "balcony", Capacity: 10})
			return err
		},
		// Also a new one, of course.
		"Commit of a new order": func(ctx context.Context) error { _, err := one(ctx, store, direct("3", "floor")); return err },
	} {
		calls.Go(func() {
			err := call(bounded(t, 2*time.Second))
			assert.ErrorIs(t, err, order.ErrOutcomeUnknown, name)
			assert.NotErrorIs(t, err, order.ErrUnavailable, name)
		})
	}
	calls.Wait()
}

// TestIDTakenMeanwhile: an order ID comes in by other SKUs, or is cancelled,
// after the commit looked for it and before it inserts.
func TestIDTakenMeanwhile(t *testing.T) {
	t.Parallel()
	url := newDatabase(t)
	store := order.NewPostgres(newPool(t, url))
	counters := putOnSale(t, store, "floor", 10)
	conn, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	defer conn.Close(context.Background())
	tx, err := conn.Begin(t.Context())
	require.NoError(t, err)
	_, err = tx.Exec(t.Context(), `insert into lastunit.orders (id, customer, status, counted, skus, quantities, consumed, created_at, changed_at)
		values ('1', '', 'cancelled', 'cancelled', '{}', '{}', '{}', now(), now())`)
	require.NoError(t, err)

	commits := []order.Commit{deducted("1", counters, 1), deducted("2", counters, 2)}
	outcomes, _, err := store.Commit(bounded(t, patience), commits)
	require.NoError(t, err)
	require.Equal(t, order.VerdictFailed, outcomes[0].Verdict, "what becomes of it is not known yet")
	unavailable(t, outcomes[0].Err)
	require.Equal(t, order.VerdictBooked, outcomes[1].Verdict, "it waits for no other")

	require.NoError(t, tx.Commit(t.Context()))
	outcomes, _, err = store.Commit(t.Context(), commits)
	require.NoError(t, err)
	require.Len(t, outcomes, 2)
	require.Equal(t, order.VerdictExisting, outcomes[0].Verdict)
	require.Equal(t, []bool{false}, outcomes[0].Consumed)
	require.Equal(t, order.VerdictExisting, outcomes[1].Verdict)
	require.Equal(t, []bool{true}, outcomes[1].Consumed)
	books(t, store)
}

func TestNoPasswordInErrors(t *testing.T) {
	t.Parallel()
	server := servertest.SharedPostgres(t)
	url := newDatabase(t)
	for name, url := range map[string]string{
		"wrong password":   as(t, url, "postgres"),
		"no such role":     as(t, url, "nobody"),
		"nobody listens":   strings.Replace(as(t, url, "postgres"), server.Addr(), "127.0.0.1:1", 1),
		"no such host":     strings.Replace(as(t, url, "postgres"), server.Addr(), "nowhere.invalid:5432", 1),
		"no such database": strings.Replace(server.URL(), "/postgres?", "/nothing?", 1),
	} {
		store := order.NewPostgres(newPool(t, url))
		_, err := one(bounded(t, 5*time.Second), store, direct("1", "floor"))
		unavailable(t, err)
		require.NotContains(t, err.Error(), "secret-of", name)
		require.NotContains(t, err.Error(), server.Password(), name)
		err = order.Migrate(bounded(t, 5*time.Second), newPool(t, url))
		require.Error(t, err)
		require.NotContains(t, err.Error(), "secret-of", name)
		require.NotContains(t, err.Error(), server.Password(), name)
	}
}
