package faults_test

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"net"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/booking"
	"github.com/lastunit/lastunit/internal/servertest"
	"github.com/lastunit/lastunit/order"
)

// Row 37: a rush in sessions whose settings are odd, and through a PgBouncer that gives
// each transaction another session; what can't be right is named before the sale.
func oddSessions(t *testing.T, m *measured) {
	mode := func(mode pgx.QueryExecMode, settings ...string) func(*pgxpool.Config) {
		return func(c *pgxpool.Config) {
			c.ConnConfig.DefaultQueryExecMode = mode
			for _, setting := range settings {
				name, value, _ := strings.Cut(setting, "=")
				c.ConnConfig.RuntimeParams[name] = value
			}
		}
	}
	through := func(change func(*pgxpool.Config), bouncer *servertest.PgBouncer) func(*pgxpool.Config) {
		host, port, err := net.SplitHostPort(bouncer.Addr())
		require.NoError(t, err)
		number, err := strconv.ParseUint(port, 10, 16)
		require.NoError(t, err)
		return func(c *pgxpool.Config) {
			change(c)
			c.ConnConfig.Host, c.ConnConfig.Port = host, uint16(number)
		}
	}
	bouncer := servertest.StartPgBouncer(t, servertest.SharedPostgres(t))
	texts := []string{"datestyle=German", "bytea_output=escape", "array_nulls=off"}
	for name, options := range map[string]func(*pgxpool.Config){
		"simple_protocol":          mode(pgx.QueryExecModeSimpleProtocol, texts...),
		"exec":                     mode(pgx.QueryExecModeExec, append(texts, "client_encoding=LATIN1")...),
		"pgbouncer_cache_describe": through(mode(pgx.QueryExecModeCacheDescribe), bouncer),
		"pgbouncer_exec":           through(mode(pgx.QueryExecModeExec), bouncer),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := begin(t, setup{poolOptions: options})
			s.rushWith(m, rush{buy: bookOrAccept}, func() {})
		})
	}
	t.Run("refused", func(t *testing.T) {
		t.Parallel()
		s := begin(t, setup{})
		pool := connect(t, s.database, through(mode(pgx.QueryExecModeCacheStatement), bouncer))
		found, err := order.NewPostgres(pool).Check(t.Context())
		require.NoError(t, err)
		require.ErrorContains(t, found.Findings.Err(), "default_query_exec_mode=cache_describe")

		const latin = "faults_latin1"
		_, err = s.pool.Exec(t.Context(), "create database "+latin+" template template0 encoding 'LATIN1' lc_collate 'C' lc_ctype 'C'")
		require.NoError(t, err)
		defer func() {
			_, err := s.pool.Exec(t.Context(), "drop database "+latin+" with (force)")
			assert.NoError(t, err)
		}()
		other := connect(t, s.database, func(c *pgxpool.Config) { c.ConnConfig.Database = latin })
		require.ErrorContains(t, order.Migrate(t.Context(), other), "LATIN1")
	})
}

// bookOrAccept accepts every other order, and waits for what becomes of it.
func bookOrAccept(ctx context.Context, shop *booking.Service, r booking.Request) (order.Order, error) {
	sum := fnv.New32a()
	_, _ = sum.Write([]byte(r.ID)) // never fails
	if sum.Sum32()%2 == 0 {
		return shop.Book(ctx, r)
	}
	receipt, err := shop.Accept(ctx, r)
	if err != nil {
		return order.Order{}, err
	}
	o, err := receipt.Wait(ctx)
	if errors.Is(err, booking.ErrPending) {
		err = fmt.Errorf("%w: %w", order.ErrOutcomeUnknown, err) // it will be known, asked again
	}
	return o, err
}
