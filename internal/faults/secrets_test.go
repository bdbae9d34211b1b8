package faults_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/booking"
	"github.com/lastunit/lastunit/internal/servertest"
	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

// Row 34: while both servers fail, in every way that comes to mind, no text of the
// library or of the example service has a password or a URL with one in it.
func secrets(t *testing.T, m *measured) {
	var texts servertest.Output // log lines, and errors as callers print them
	s := begin(t, setup{
		redis: servertest.StartRedis(t), postgres: servertest.StartPostgres(t),
		config: func(c *booking.Config) {
			c.Logger = slog.New(slog.NewJSONHandler(&texts, &slog.HandlerOptions{Level: slog.LevelDebug}))
		},
	})
	tell := func(err error) { fmt.Fprintf(&texts, "%v\n%+v\n%#v\n%q\n", err, err, err, err) }
	b := s.boxoffice()
	s.rushWith(m, rush{buy: func(ctx context.Context, shop *booking.Service, r booking.Request) (order.Order, error) {
		buy := book
		if strings.HasSuffix(r.ID, "3") {
			buy = b.book
		}
		o, err := buy(ctx, shop, r)
		if err != nil {
			tell(err)
		}
		return o, err
	}}, func() {
		s.postgres.Kill()
		s.noticed()
		s.redis.Kill()
		s.noticed()
		for _, shop := range s.shops {
			_, err := shop.Check(t.Context())
			require.Error(t, err)
			tell(err)
		}
		s.postgres.Restart()
		s.redis.Restart()
	})

	const wrong = "a-wrong-secret-4711"
	client := s.redis.Client(t, func(o *redis.Options) { o.Password = wrong })
	pool := connect(t, s.database, func(c *pgxpool.Config) { c.ConnConfig.Password = wrong })
	shop, err := booking.New(booking.Config{Inventory: inventory.NewRedis(client), Orders: order.NewPostgres(pool), Logger: slog.New(slog.NewTextHandler(&texts, nil))})
	require.NoError(t, err)
	findings, err := shop.Check(t.Context())
	require.NoError(t, err, "both answer, and turn it away")
	require.ErrorIs(t, findings.Err(), inventory.ErrUnavailable)
	require.ErrorIs(t, findings.Err(), order.ErrUnavailable)
	tell(findings.Err())
	fmt.Fprintln(&texts, findings)
	_, err = shop.Book(t.Context(), request(floor, late))
	require.ErrorIs(t, err, order.ErrOutcomeUnknown)
	tell(err)
	tell(order.Migrate(t.Context(), pool))

	program := buildBoxoffice(t)
	for _, urls := range [][2]string{
		{"redis://:" + wrong + "@127.0.0.1:1/0", s.database},
		{"redis://:" + wrong + "@%zz", s.database},
		{"http://:" + wrong + "@127.0.0.1:1", s.database},
		{s.redis.URL(), "postgres://shop:" + wrong + "@127.0.0.1:1/shop"},
		{s.redis.URL(), "postgres://shop:" + wrong + "@%zz/shop"},
		{s.redis.URL(), "host=127.0.0.1 port=1 password=" + wrong + " x"},
	} {
		command := exec.Command(program, "-listen", "127.0.0.1:0")
		command.Env = append(os.Environ(), "REDIS_URL="+urls[0], "DATABASE_URL="+urls[1])
		out, err := command.CombinedOutput()
		require.Error(t, err, "it does not open: %s", out)
		require.NotEmpty(t, out)
		_, _ = texts.Write(out)
	}

	all := texts.String() + b.said.String()
	require.Contains(t, all, "lastunit: ", "it has logged something")
	require.Contains(t, all, order.ErrOutcomeUnknown.Error(), "callers were told something")
	for _, secret := range []string{wrong, s.redis.Password(), s.postgres.Password()} {
		require.NotEmpty(t, secret)
		if at := strings.Index(all, secret); at >= 0 {
			assert.Fail(t, "a password is told", "…%s…", all[max(0, at-300):min(len(all), at+100)])
		}
	}
}
