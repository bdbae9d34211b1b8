package faults_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/booking"
	"github.com/lastunit/lastunit/internal/servertest"
	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

// Row 19: Postgres dies and comes back.
func postgresKilled(t *testing.T, m *measured) {
	s := begin(t, setup{postgres: servertest.StartPostgres(t)})
	s.rush(m, func() {
		s.postgres.Kill()
		s.noticed()
		s.postgres.Restart()
	})
}

// Row 19: Postgres stands still, with all its connections open.
func postgresStopped(t *testing.T, m *measured) {
	s := begin(t, setup{postgres: servertest.StartPostgres(t)})
	s.rush(m, func() {
		s.postgres.Pause()
		s.noticed()
		lasts(either(10*time.Second, 0))
		s.postgres.Resume()
	})
}

// ofTheShops marks the connections of the services.
func ofTheShops(config *pgxpool.Config) { config.ConnConfig.RuntimeParams["application_name"] = "shop" }

// Row 19: every connection to Postgres is ended by the server, and every one to both
// servers is cut, again and again.
func everyConnectionCut(t *testing.T, m *measured) {
	s := begin(t, setup{poolOptions: ofTheShops})
	s.rush(m, func() {
		for range either(20, 4) {
			eventually(t, func() error {
				var ended int
				err := s.pool.QueryRow(t.Context(), `select count(pg_terminate_backend(pid)) from pg_stat_activity
					where datname = current_database() and application_name = 'shop'`).Scan(&ended)
				return errors.Join(err, missing(1-ended, "connections to end"))
			})
			s.redisProxy.CutAll()
			s.postgresProxy.CutAll()
		}
	})
}

// Row 20: somebody's idle transaction has the SKU's row, and a service's connections are
// all taken by those that wait for it; or the server ends each statement that waits.
func locked(t *testing.T, m *measured) {
	for name, change := range map[string]func(*pgxpool.Config){
		"pool_exhausted":    func(c *pgxpool.Config) { c.MaxConns = 1 },
		"statement_timeout": func(c *pgxpool.Config) { c.ConnConfig.RuntimeParams["statement_timeout"] = "1s" },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			mine := label(t)
			t.Cleanup(mine.end) // when the services have ended
			s := begin(t, setup{poolOptions: change})
			callers := 40
			var tx pgx.Tx
			lock := func() {
				var err error
				tx, err = s.pool.Begin(t.Context())
				require.NoError(t, err)
				t.Cleanup(func() { _ = tx.Rollback(context.Background()) }) // if the test ended early
				_, err = tx.Exec(t.Context(), "select from lastunit.skus where sku = $1 for update", floor)
				require.NoError(t, err)
			}
			s.rushWith(m, rush{atOnce: callers, prepare: lock}, func() {
				defer func() { assert.NoError(t, tx.Rollback(context.Background())) }()
				// While it is locked, as many calls end as there are callers.
				unknown := s.told.unknown()
				eventually(t, func() error { return missing(unknown+callers-s.told.unknown(), "calls that end") })
				require.Positive(t, mine.now(), "the services' goroutines are seen")
				if name == "pool_exhausted" {
					// Nor is there a connection for another SKU, unless it is there as a
					// wait for the lock has just timed out.
					n := late
					eventually(t, func() error {
						ctx, cancel := context.WithTimeout(t.Context(), oneTry)
						defer cancel()
						n++
						_, err := s.shops[0].Book(ctx, request(probe, n))
						if err == nil {
							return errors.New("there is a connection for another SKU")
						}
						require.ErrorIs(t, err, order.ErrOutcomeUnknown)
						return nil
					})
				}
			})
		})
	}
}

// Row 21: the services' transactions are rolled back for others, and no caller hears of
// it.
func rolledBack(t *testing.T, m *measured) {
	t.Run("deadlock", func(t *testing.T) {
		t.Parallel()
		s := begin(t, setup{poolOptions: func(c *pgxpool.Config) {
			ofTheShops(c)
			// They find the deadlock before the other one does, and are rolled back.
			c.ConnConfig.RuntimeParams["deadlock_timeout"] = "300ms"
		}})
		s.rushWith(m, rush{buy: s.twoLines}, func() {
			for deadlocks := 0; deadlocks < either(20, 3); {
				if s.opposite() {
					deadlocks++
				}
			}
		})
	})
	t.Run("serialization_failure", func(t *testing.T) {
		t.Parallel()
		s := begin(t, setup{})
		s.rushWith(m, rush{buy: s.twoLines}, func() {
			// A sequence counts what is rolled back too: of three statements one fails.
			_, err := s.pool.Exec(t.Context(), `create sequence public.tries;
				create function public.fail() returns trigger language plpgsql as $$ begin
					if nextval('public.tries') % 3 = 1 then raise exception 'not now' using errcode = '40001'; end if;
					return null;
				end $$;
				create trigger fail after insert on lastunit.orders for each statement execute function public.fail()`)
			require.NoError(t, err)
			eventually(t, func() error {
				var tries int
				err := s.pool.QueryRow(t.Context(), "select last_value from public.tries").Scan(&tries)
				return errors.Join(err, missing(9-tries, "tries"))
			})
		})
	})
}

// twoLines orders of both SKUs, in either order, and complains of what only the library
// should see.
func (s *sale) twoLines(ctx context.Context, shop *booking.Service, r booking.Request) (order.Order, error) {
	other := order.Line{SKU: probe, Quantity: 1}
	if len(r.ID)%2 == 0 {
		r.Lines = []order.Line{r.Lines[0], other}
	} else {
		r.Lines = []order.Line{other, r.Lines[0]}
	}
	o, err := shop.Book(ctx, r)
	var failure *pgconn.PgError
	if errors.As(err, &failure) && (failure.Code == "40001" || failure.Code == "40P01") {
		s.told.complain("order %s: a caller saw %v", r.ID, err)
	}
	return o, err
}

// opposite locks the two rows in the opposite order of the library's, the second one
// once a service waits for the first. If it gets both, the service was rolled back.
func (s *sale) opposite() bool {
	s.t.Helper()
	ctx := context.Background()
	tx, err := s.pool.Begin(ctx)
	require.NoError(s.t, err)
	defer func() { _ = tx.Rollback(ctx) }()
	_, err = tx.Exec(ctx, "select from lastunit.skus where sku = $1 for update", probe)
	require.NoError(s.t, err)
	waits := false
	// Not for ever: those who wait here may be in doubt, and ask again elsewhere.
	for deadline := time.Now().Add(oneTry); !waits && time.Now().Before(deadline); lasts(time.Millisecond) {
		require.NoError(s.t, s.pool.QueryRow(ctx, `select exists (select from pg_stat_activity a
			where datname = current_database() and application_name = 'shop' and wait_event_type = 'Lock'
			and query like '%commit_orders%' and exists (select from unnest(pg_blocking_pids(pid)) p where p = $1))`,
			tx.Conn().PgConn().PID()).Scan(&waits))
	}
	if !waits {
		return false
	}
	_, err = tx.Exec(ctx, "select from lastunit.skus where sku = $1 for update", floor)
	return err == nil
}

// Row 22: the database refuses every tenth order, by a constraint of its owner's.
func poisonousOrders(t *testing.T, m *measured) {
	refusesPoison(t, m, "alter table lastunit.orders add constraint no_poison check (customer <> 'poison')")
}

// Row 35: it does so by a trigger of its owner's that raises what it likes, at once or at
// the commit.
func ownTriggers(t *testing.T, m *measured) {
	for name, trigger := range map[string]string{
		"plain":     "trigger no before insert on lastunit.orders for each row execute function public.no()",
		"deferred":  "constraint trigger no after insert on lastunit.orders deferrable initially deferred for each row execute function public.no()",
		"own_state": "trigger no before insert on lastunit.orders for each row execute function public.no('55000')",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			refusesPoison(t, m, `create function public.no() returns trigger language plpgsql as $$ begin
				if new.customer = 'poison' then raise exception 'no' using errcode = coalesce(tg_argv[0], 'P0001'); end if;
				return new; end $$; create `+trigger)
		})
	}
}

func refusesPoison(t *testing.T, m *measured, sql string) {
	s := begin(t, setup{})
	_, err := s.pool.Exec(t.Context(), sql)
	require.NoError(t, err)
	var rejected atomic.Int64
	s.rushWith(m, rush{buy: func(ctx context.Context, shop *booking.Service, r booking.Request) (order.Order, error) {
		if !strings.HasSuffix(r.ID, "5") {
			return shop.Book(ctx, r)
		}
		r.Customer = "poison"
		o, err := shop.Book(ctx, r)
		if errors.Is(err, order.ErrRejected) {
			rejected.Add(1)
			return o, inventory.ErrSoldOut // for the audit: nobody may have it
		}
		if err == nil {
			s.told.complain("poisonous order %s was booked", r.ID)
		}
		return o, err
	}}, func() {
		eventually(t, func() error { return missing(int(5-rejected.Load()), "poisonous orders to be rejected") })
	})
}

// Row 24: Postgres is down while orders are accepted.
func acceptedMeanwhile(t *testing.T, m *measured) {
	const backlog = 15
	s := begin(t, setup{postgres: servertest.StartPostgres(t), config: func(c *booking.Config) { c.Backlog = backlog }})
	var down, held atomic.Bool
	var underWay, overloaded, whileDown atomic.Int64
	var accepted sync.Map // of receipts, by order ID
	accept := func(ctx context.Context, shop *booking.Service, r booking.Request) (order.Order, error) {
		underWay.Add(1)
		defer underWay.Add(-1)
		if held.Load() {
			return order.Order{}, fmt.Errorf("%w: nobody may ask now, says the test", order.ErrOutcomeUnknown)
		}
		receipt, err := shop.Accept(ctx, r)
		if errors.Is(err, booking.ErrOverloaded) && down.Load() {
			overloaded.Add(1)
		}
		if err != nil {
			return order.Order{}, err
		}
		if _, before := accepted.LoadOrStore(r.ID, receipt); !before && down.Load() {
			whileDown.Add(1)
		}
		o, err := receipt.Wait(ctx)
		if errors.Is(err, booking.ErrPending) {
			err = fmt.Errorf("%w: %w", order.ErrOutcomeUnknown, err) // it will, asked again
		}
		return o, err
	}
	undecided := func() (n int) {
		accepted.Range(func(_, receipt any) bool {
			select {
			case <-receipt.(booking.Receipt).Done():
			default:
				n++
			}
			return true
		})
		return n
	}
	// Of a slow Postgres the backlog is full already.
	drain := func() {
		held.Store(true)
		eventually(t, func() error {
			return errors.Join(missing(int(underWay.Load()), "answers"), missing(undecided(), "orders that were accepted"))
		})
	}
	s.rushWith(m, rush{atOnce: 100, buy: accept, prepare: drain}, func() {
		s.postgres.Kill()
		down.Store(true)
		held.Store(false)
		eventually(t, func() error {
			return errors.Join(missing(int(1-whileDown.Load()), "orders that are accepted all the same"),
				missing(int(10-overloaded.Load()), "callers who are told to back off"))
		})
		lasts(either(time.Minute, 0))
		assert.LessOrEqual(t, undecided(), len(s.shops)*backlog, "and no more than the backlog")
		down.Store(false)
		s.postgres.Restart()
	})
	accepted.Range(func(id, _ any) bool {
		_, booked := s.told.booked[id.(string)]
		return assert.True(t, booked, "order %s was accepted and is lost", id)
	})
}
