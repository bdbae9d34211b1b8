package main

import (
	"context"

	"github.com/redis/go-redis/v9"
)

// guardedDecrement is what the review of the seed asked for, with the numbers
// compared as numbers: 1 if the units were taken, 0 if too few are left.
const guardedDecrement = `
if tonumber(redis.call('GET', KEYS[1])) >= tonumber(ARGV[1]) then
	redis.call('DECRBY', KEYS[1], ARGV[1])
	return 1
end
return 0`

var guardedScript = redis.NewScript(guardedDecrement)

// luaPerCall sends one EVALSHA for each booking. Nothing is stored.
type luaPerCall struct {
	counter
}

func openLuaPerCall(ctx context.Context, c *cell, capacity int64) (contender, error) {
	counter, err := openCounter(ctx, c, capacity)
	return &luaPerCall{counter}, err
}

func (s *luaPerCall) call(ctx context.Context, _, _ int) (answer, error) {
	taken, err := guardedScript.Run(ctx, s.client, []string{counterKey}, 1).Int()
	return answerOf(taken), err
}

// answerOf is what the script's reply means.
func answerOf(taken int) answer {
	if taken == 1 {
		return booked
	}
	return refused
}
