package booking

import (
	"context"
	"sync"
)

// inHand counts what is under way. Unlike a sync.WaitGroup it may be entered
// while somebody waits, and the wait can be given up.
type inHand struct {
	mu   sync.Mutex
	n    int
	idle chan struct{}
}

func (h *inHand) enter() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.n == 0 {
		h.idle = make(chan struct{})
	}
	h.n++
}

func (h *inHand) leave() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.n--; h.n == 0 {
		close(h.idle)
	}
}

// wait returns when nothing is under way, or with the context's error.
func (h *inHand) wait(ctx context.Context) error {
	h.mu.Lock()
	n, idle := h.n, h.idle
	h.mu.Unlock()
	if n == 0 {
		return nil
	}
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
