package main

import (
	"context"

	"github.com/redis/rueidis"
)

// rueidisClient sends the same script as luaPerCall by a client that pipelines
// what comes at the same time. Its options are its defaults, without the cache on
// the client's side, which nothing here reads.
type rueidisClient struct {
	counter
	client rueidis.Client
	script *rueidis.Lua
}

func openRueidis(ctx context.Context, c *cell, capacity int64) (contender, error) {
	counter, err := openCounter(ctx, c, capacity)
	if err != nil {
		return nil, err
	}
	client, err := rueidis.NewClient(rueidis.ClientOption{
		InitAddress:       []string{c.servers.redis.Addr()},
		Password:          c.servers.redis.Password(),
		ForceSingleClient: true,
		DisableCache:      true,
	})
	return &rueidisClient{counter, client, rueidis.NewLuaScript(guardedDecrement)}, err
}

func (s *rueidisClient) call(ctx context.Context, _, _ int) (answer, error) {
	taken, err := s.script.Exec(ctx, s.client, []string{counterKey}, []string{"1"}).AsInt64()
	return answerOf(int(taken)), err
}

func (s *rueidisClient) close() { s.client.Close() }
