package booking

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"
)

// warning is one that comes again and again while a fault lasts.
type warning struct{ sku, message string }

// warn logs that something about a SKU went wrong and is mended. With every batch that
// would be a flood: once in a second it is a warning, else it is Debug.
func (s *Service) warn(ctx context.Context, sku, message string, attributes ...any) {
	level, now := slog.LevelWarn, sinceStart(time.Now())
	if found, there := s.warned.LoadOrStore(warning{sku, message}, new(atomic.Int64)); there {
		last := found.(*atomic.Int64)
		if at := last.Load(); now-at < int64(time.Second) || !last.CompareAndSwap(at, now) {
			level = slog.LevelDebug
		}
	} else {
		found.(*atomic.Int64).Store(now)
	}
	s.log.Log(ctx, level, message, append([]any{"sku", sku}, attributes...)...)
}
