package inventory_test

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/internal/servertest"
	"github.com/lastunit/lastunit/inventory"
)

// readmeRights are the commands that the README gives the user in Redis.
func readmeRights(t testing.TB) (rights []string) {
	t.Helper()
	readme, err := os.ReadFile("../README.md")
	require.NoError(t, err)
	_, line, _ := strings.Cut(string(readme), "ACL SETUSER shop on >PASSWORD ~lastunit:* ")
	line, _, _ = strings.Cut(line, "\n")
	rights = strings.Fields(line)
	require.NotEmpty(t, rights)
	for _, right := range rights {
		require.Regexp(t, `^\+[a-z]+$`, right)
	}
	doc, err := os.ReadFile("doc.go")
	require.NoError(t, err)
	require.Contains(t, string(doc), "ACL SETUSER shop on >PASSWORD ~lastunit:* "+line+"\n", "the package's documentation says the same")
	return rights
}

// user is a user of a server that has no rights but those it is given, and those of
// the keys that begin with lastunit-least.
type user struct {
	t      testing.TB
	server *servertest.Redis
	admin  *redis.Client
	repo   *inventory.Redis
}

const password = "a-password-1234"

func newUser(t testing.TB, server *servertest.Redis, options ...inventory.Option) *user {
	t.Helper()
	u := &user{t: t, server: server, admin: server.Client(t)}
	u.repo = inventory.NewRedis(u.client(), append(options, inventory.WithKeyPrefix("lastunit-least"))...)
	t.Cleanup(func() { u.admin.Do(background(t), "ACL", "DELUSER", "least") })
	return u
}

// client is one of the user's.
func (u *user) client(change ...func(*redis.Options)) *redis.Client {
	return u.server.Client(u.t, append(change, func(o *redis.Options) {
		o.Username, o.Password, o.MaxRetries, o.ContextTimeoutEnabled = "least", password, -1, true
	})...)
}

// grant gives the user these rights and no others. Redis keeps the rights of a
// connection up to date.
func (u *user) grant(rights ...string) {
	u.t.Helper()
	command := []any{"ACL", "SETUSER", "least", "reset", "on", ">" + password, "~lastunit-least:*"}
	for _, right := range rights {
		command = append(command, right)
	}
	require.NoError(u.t, u.admin.Do(background(u.t), command...).Err())
}

func TestLeastRights(t *testing.T) {
	server := servertest.StartRedis(t) // its own, for the users and the scripts are those of the whole server
	u, rights := newUser(t, server), readmeRights(t)
	admin, ctx := u.admin, background(t)
	s := &sale{
		t: t, client: admin, sku: "floor",
		repo:   u.repo,
		supply: inventory.Supply{SKU: "floor", Store: store, Epoch: 1, Version: 1, Units: 10},
	}
	s.key = s.repo.StockKey(s.sku)

	u.grant(rights...)
	require.NoError(t, s.repo.Load(ctx, s.supply))
	d := s.deduct("a")
	for method, err := range s.everyMethod(d) {
		require.NoError(t, err, method)
	}

	// One right fewer: something is refused, as unavailable.
	full := s.hash()
	for i, missing := range rights {
		u.grant(slices.Delete(slices.Clone(rights), i, i+1)...)
		require.NoError(t, admin.ScriptFlush(ctx).Err()) // else nobody needs EVAL
		s.replace(full)
		refused := 0
		next := s.supply
		next.Epoch++
		_, stockErr := s.repo.Stock(ctx, s.sku)
		b, deductErr := s.repo.Deduct(ctx, s.request("b"))
		_, listErr := s.repo.Unsettled(ctx, store, s.sku, 0, 10)
		var settleErr error
		if deductErr == nil {
			settleErr = s.repo.Settle(ctx, s.supply, b)
		}
		before := s.hash()
		loadErr := s.repo.Load(ctx, next)
		if loadErr != nil && len(s.hash()) > 0 {
			// It may be gone, as a load replaces it anyway, but not half there.
			assert.Equal(t, before, s.hash(), "without %v", missing)
		}
		for _, err := range []error{stockErr, deductErr, listErr, settleErr, loadErr} {
			if err != nil {
				unavailable(t, err)
				assert.NotContains(t, err.Error(), password)
				refused++
			}
		}
		assert.Positive(t, refused, "without %v all works", missing)
	}
}
