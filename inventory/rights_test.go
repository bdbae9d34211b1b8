package inventory_test

import (
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/internal/servertest"
	"github.com/lastunit/lastunit/inventory"
)

// The rights in Redis that the repository needs, besides those to its keys.
var rights = []any{
	"+evalsha", "+eval", "+time", "+type", "+hmget", "+hset", "+hdel", "+hscan", "+del",
}

func TestLeastRights(t *testing.T) {
	server := servertest.StartRedis(t) // its own, for the users and the scripts are those of the whole server
	admin := server.Client(t)
	ctx := background(t)
	const user, password = "least", "a-password-1234"
	grant := func(rights []any) {
		t.Helper()
		command := append([]any{"ACL", "SETUSER", user, "reset", "on", ">" + password, "~lastunit-least:*"}, rights...)
		require.NoError(t, admin.Do(ctx, command...).Err())
	}
	t.Cleanup(func() { admin.Do(background(t), "ACL", "DELUSER", user) })
	s := &sale{
		t: t, client: admin, sku: "floor",
		repo: inventory.NewRedis(server.Client(t, func(o *redis.Options) {
			o.Username, o.Password, o.MaxRetries = user, password, -1
		}), inventory.WithKeyPrefix("lastunit-least")),
		supply: inventory.Supply{SKU: "floor", Store: store, Epoch: 1, Version: 1, Units: 10},
	}
	s.key = s.repo.StockKey(s.sku)

	grant(rights)
	require.NoError(t, s.repo.Load(ctx, s.supply))
	d := s.deduct("a")
	for method, err := range s.everyMethod(d) {
		require.NoError(t, err, method)
	}

	// One right fewer: something is refused, as unavailable. Redis keeps the rights of a connection up to date.
	full := s.hash()
	for i, missing := range rights {
		grant(append(append([]any{}, rights[:i]...), rights[i+1:]...))
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
