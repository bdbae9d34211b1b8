package main

import (
	"context"

	"github.com/redis/go-redis/v9"
)

// seedRedis is what the seed did next: DECRBY, and an INCRBY that takes it back
// if there was too little. Nothing is stored.
type seedRedis struct {
	counter
}

func openSeedRedis(ctx context.Context, c *cell, capacity int64) (contender, error) {
	counter, err := openCounter(ctx, c, capacity)
	return &seedRedis{counter}, err
}

func (s *seedRedis) call(ctx context.Context, _, _ int) (answer, error) {
	left, err := s.client.DecrBy(ctx, counterKey, 1).Result()
	switch {
	case err != nil:
		return 0, err
	case left >= 0:
		return booked, nil
	}
	return refused, s.client.IncrBy(ctx, counterKey, 1).Err()
}

// counter is a key in Redis with the units that are left.
type counter struct {
	client   *redis.Client
	capacity int64
}

const counterKey = "event:floor:inventory"

func openCounter(ctx context.Context, c *cell, capacity int64) (counter, error) {
	s := counter{c.goRedis(), capacity}
	return s, s.client.Set(ctx, counterKey, capacity, 0).Err()
}

func (s counter) audit(ctx context.Context, told *told) error {
	left, err := s.client.Get(ctx, counterKey).Int64()
	if err != nil {
		return err
	}
	return told.checkUnits(s.capacity, s.capacity-left)
}

func (s counter) close() {}
