package main

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// growth is how the costs of book change while orders pile up.
type growth struct {
	Orders      int64     `json:"orders"`
	Callers     int       `json:"callers"`
	PerSecond   []float64 `json:"per_second"` // of each tenth of the orders
	RedisBefore int64     `json:"redis_bytes_before"`
	RedisAfter  int64     `json:"redis_bytes_after"`
}

// slowestGrowth bounds how long it takes.
const slowestGrowth = 1000 // orders per second

// grow books so many orders of one SKU, and audits them.
func grow(ctx context.Context, s settings, on *servers, progress io.Writer) (*growth, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute+time.Duration(s.orders/slowestGrowth)*time.Second)
	defer cancel()
	found := &growth{Orders: s.orders, Callers: shownCallers}
	err := withScope(func(scope *scope) error {
		c := &cell{scope: scope, settings: s, servers: on, callers: found.Callers}
		if err := c.empty(ctx); err != nil {
			return err
		}
		contender, err := openBook(ctx, c, plenty)
		if err != nil {
			return err
		}
		defer contender.close()
		if found.RedisBefore, err = on.redisMemory(ctx); err != nil {
			return err
		}
		var asked, ended atomic.Int64
		var printing sync.Mutex // two tenths may end at once
		tenths := make([]time.Time, 11)
		tenths[0] = time.Now()
		l, err := crowd(ctx, window{}, found.Callers, func(ctx context.Context, i int, me *caller, stopped *atomic.Bool) error {
			for n := 0; asked.Add(1) <= s.orders && !stopped.Load(); n++ {
				a, err := contender.call(ctx, i, n)
				if err != nil {
					return err
				}
				me.answers = append(me.answers, a)
				if k := ended.Add(1); k*10%s.orders < 10 {
					tenths[k*10/s.orders] = time.Now()
					printing.Lock()
					fmt.Fprintf(progress, "%d of %d orders\n", k, s.orders)
					printing.Unlock()
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		for i := range 10 {
			found.PerSecond = append(found.PerSecond, float64(s.orders)/10/tenths[i+1].Sub(tenths[i]).Seconds())
		}
		if err := contender.audit(ctx, l.told); err != nil {
			return fmt.Errorf("audit: %w", err)
		}
		found.RedisAfter, err = on.redisMemory(ctx)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("%d orders: %w", s.orders, err)
	}
	return found, nil
}

// redisMemory is how many bytes Redis has allocated.
func (s *servers) redisMemory(ctx context.Context) (int64, error) {
	client, err := newGoRedis(s.redis.URL())
	if err != nil {
		return 0, err
	}
	defer client.Close()
	info, err := client.InfoMap(ctx, "memory").Result()
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(info["Memory"]["used_memory"], 10, 64)
}

// print writes it in a sentence.
func (g *growth) print(w io.Writer) {
	fmt.Fprintf(w, "\n%s orders of one SKU by %s callers: %s per second in the first tenth, %s in the last (%.2f of it). Redis used %s KiB before and %s KiB after.\n",
		thousands(float64(g.Orders)), thousands(float64(g.Callers)), thousands(g.PerSecond[0]), thousands(g.PerSecond[9]),
		g.PerSecond[9]/g.PerSecond[0], thousands(float64(g.RedisBefore)/1024), thousands(float64(g.RedisAfter)/1024))
}
