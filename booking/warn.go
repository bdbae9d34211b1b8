package booking

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// warnEvery is how often a warning of one kind is logged while a fault lasts.
const warnEvery = 5 * time.Second

// warning is what was not logged of one kind of warning since its last line.
type warning struct {
	mu    sync.Mutex
	quiet bool            // a line was logged less than warnEvery ago
	times int             // since then
	skus  map[string]bool // of these
	last  []any           // the attributes of the last one, as an example
}

// warn logs that something about a SKU went wrong and is mended. A lost Redis is that for
// each SKU and each batch. So the first one of a kind is a line at once, and those of the
// next warnEvery are one line at its end, with how many they were; each is Debug besides.
func (s *Service) warn(ctx context.Context, sku, message string, attributes ...any) {
	attributes = append([]any{"sku", sku}, attributes...)
	found, _ := s.warned.LoadOrStore(message, new(warning))
	w := found.(*warning)
	w.mu.Lock()
	first := !w.quiet
	if first {
		w.quiet = true
		time.AfterFunc(warnEvery, func() { s.warnAgain(message, w) })
	} else {
		if w.skus == nil {
			w.skus = make(map[string]bool)
		}
		w.times++
		w.skus[sku] = true
		w.last = attributes
	}
	w.mu.Unlock()
	level := slog.LevelDebug
	if first {
		level = slog.LevelWarn
	}
	s.log.Log(ctx, level, message, attributes...)
}

// warnAgain logs what was not logged of a kind of warning, if there was any.
func (s *Service) warnAgain(message string, w *warning) {
	w.mu.Lock()
	times, skus, last := w.times, len(w.skus), w.last
	w.times, w.skus, w.last = 0, nil, nil
	if w.quiet = times > 0; w.quiet {
		time.AfterFunc(warnEvery, func() { s.warnAgain(message, w) })
	}
	w.mu.Unlock()
	if times > 0 {
		s.log.Warn(message, append(last, "times", times, "skus", skus, "in", warnEvery)...)
	}
}
