package main

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// redisLog writes what go-redis logs to the service's own log. While Redis is down
// go-redis writes a line for each connection that it can't make, so that of many lines
// one is written every redisLogEvery, with the number of those left out before it.
type redisLog struct {
	to *slog.Logger

	mu      sync.Mutex
	next    time.Time // when the next line is written; zero at once
	leftOut int
}

const redisLogEvery = 10 * time.Second

// Printf implements the logger of go-redis.
func (l *redisLog) Printf(ctx context.Context, format string, values ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if now.Before(l.next) {
		l.leftOut++
		return
	}
	l.to.WarnContext(ctx, "go-redis: "+fmt.Sprintf(format, values...), "left_out", l.leftOut)
	l.next, l.leftOut = now.Add(redisLogEvery), 0
}
