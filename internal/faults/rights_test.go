package faults_test

import (
	"context"
	"crypto/rand"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/internal/servertest"
	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

// documented are the rights that the README gives the users of both servers.
func documented(t *testing.T) (commands, grants []string) {
	t.Helper()
	text, err := os.ReadFile("../../README.md")
	require.NoError(t, err)
	for line := range strings.Lines(string(text)) {
		if rights, ok := strings.CutPrefix(line, "    ACL SETUSER shop on >PASSWORD ~lastunit:* "); ok {
			commands = strings.Fields(rights)
		}
		if grant, ok := strings.CutPrefix(line, "    GRANT "); ok {
			grant, _, ok = strings.Cut(grant, " TO shop;")
			require.True(t, ok, line)
			grants = append(grants, grant)
		}
	}
	require.NotEmpty(t, commands)
	require.NotEmpty(t, grants)
	return commands, grants
}

// Row 32: users of both servers with the documented rights and no others. With one
// right fewer, what is asked at the start names it.
func leastRights(t *testing.T, m *measured) {
	commands, grants := documented(t)
	server, postgres := servertest.StartRedis(t), servertest.StartPostgres(t)
	admin := server.Client(t)
	password := rand.Text()
	allow := func(commands ...string) {
		arguments := []any{"ACL", "SETUSER", "shop", "reset", "on", ">" + password, "~faults-*"}
		for _, command := range commands {
			arguments = append(arguments, command)
		}
		require.NoError(t, admin.Do(t.Context(), arguments...).Err())
	}
	allow(commands...)
	var once sync.Once
	s := begin(t, setup{
		redis: server, postgres: postgres,
		clientOptions: func(o *redis.Options) { o.Username, o.Password = "shop", password },
		poolOptions: func(c *pgxpool.Config) {
			once.Do(func() { // the tables are there
				conn, err := pgx.ConnectConfig(t.Context(), c.ConnConfig.Copy())
				require.NoError(t, err)
				defer func() { assert.NoError(t, conn.Close(context.Background())) }()
				_, err = conn.Exec(t.Context(), "create role shop login password '"+password+"'")
				require.NoError(t, err)
				for _, grant := range grants {
					_, err = conn.Exec(t.Context(), "grant "+grant+" to shop")
					require.NoError(t, err, grant)
				}
			})
			c.ConnConfig.User, c.ConnConfig.Password = "shop", password
		},
	})
	for _, shop := range s.shops {
		findings, err := shop.Check(t.Context())
		require.NoError(t, err)
		for _, finding := range findings {
			if finding.Severity == inventory.Problem {
				assert.Equal(t, "fsync", finding.What, "%v", finding) // our servers run without
			}
		}
	}
	s.rush(m, func() {
		// All that there is to do, a rebuild by the services themselves included.
		require.NoError(t, admin.FlushAll(t.Context()).Err())
		require.NoError(t, admin.ScriptFlush(t.Context()).Err())
		held := s.heldFor(time.Hour, 0)
		s.surely(func(ctx context.Context) error { _, err := s.shops[0].Extend(ctx, held.ID, 2*time.Hour); return err })
		s.surely(func(ctx context.Context) error { _, err := s.shops[1].Confirm(ctx, held.ID); return err })
		s.surely(func(ctx context.Context) error { _, err := s.shops[0].Cancel(ctx, held.ID); return err })
		s.mustBe(s.heldFor(time.Millisecond, 1).ID, order.Expired)
		s.surely(func(ctx context.Context) error {
			receipt, err := s.shops[0].Accept(ctx, request(probe, late+2))
			if err == nil {
				_, err = receipt.Wait(ctx)
			}
			return err
		})
		s.surely(func(ctx context.Context) error {
			return s.shops[1].Restock(ctx, order.Adjustment{ID: "more", SKU: probe, Units: 1})
		})
		s.surely(func(ctx context.Context) error { return s.shops[1].SetLimit(ctx, probe, 0) })
		s.surely(func(ctx context.Context) error { return s.shops[0].Rebuild(ctx, probe) })
	})

	for _, without := range commands {
		var others []string
		for _, command := range commands {
			if command != without {
				others = append(others, command)
			}
		}
		allow(others...)
		s.names(without)
	}
	allow(commands...)
	for _, grant := range grants {
		privileges, objects, _ := strings.Cut(grant, " ON ")
		for privilege := range strings.SplitSeq(privileges, ", ") {
			for object := range strings.SplitSeq(objects, ", ") {
				right := privilege + " ON " + object
				_, err := s.pool.Exec(t.Context(), "revoke "+right+" from shop")
				require.NoError(t, err, right)
				s.names(right)
				_, err = s.pool.Exec(t.Context(), "grant "+right+" to shop")
				require.NoError(t, err, right)
			}
		}
	}
}

// Row 32: a right is taken in the middle of a rush, which ends scripts between two of
// their writes, and comes back.
func rightTaken(t *testing.T, m *measured) {
	s := begin(t, setup{redis: servertest.StartRedis(t)})
	s.rush(m, func() {
		for _, right := range []string{"hset", "hdel", "hmget"} {
			require.NoError(t, s.client.Do(t.Context(), "ACL", "SETUSER", "default", "-"+right).Err())
			s.noticed()
			require.NoError(t, s.client.Do(t.Context(), "ACL", "SETUSER", "default", "+"+right).Err())
		}
	})
}

// names requires that the check at the start names a right that is missing.
func (s *sale) names(right string) {
	s.t.Helper()
	var findings inventory.Findings
	s.surely(func(ctx context.Context) (err error) {
		findings, err = s.shops[0].Check(ctx)
		return err
	})
	for _, finding := range findings {
		if finding.What == right && finding.Found == "missing" {
			return
		}
	}
	assert.Fail(s.t, "nobody says that a right is missing", "%s: %v", right, findings)
}
