package booking

import (
	"context"
	"sync/atomic"
)

// inHand counts what is under way. Unlike a sync.WaitGroup it may be entered
// while somebody waits, and the wait can be given up. Every booking enters it, so
// it has no lock.
type inHand struct {
	n    atomic.Int64
	idle atomic.Pointer[chan struct{}] // of those who wait; closed by the last one that leaves
}

func (h *inHand) enter() { h.n.Add(1) }

func (h *inHand) leave() {
	if h.n.Add(-1) == 0 {
		if idle := h.idle.Swap(nil); idle != nil {
			close(*idle)
		}
	}
}

// wait returns when nothing is under way, or with the context's error.
func (h *inHand) wait(ctx context.Context) error {
	for {
		idle := h.idle.Load()
		if idle == nil {
			fresh := make(chan struct{})
			if idle = &fresh; !h.idle.CompareAndSwap(nil, idle) {
				continue // somebody else waits too
			}
		}
		// Only now: whoever leaves after this finds the channel.
		if h.n.Load() == 0 {
			return nil
		}
		select {
		case <-*idle:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
