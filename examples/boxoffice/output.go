package main

import (
	"io"
	"sync"
)

// oneAtATime is a writer that several goroutines share: the log, and the progress of a
// rush.
type oneAtATime struct {
	mu sync.Mutex
	to io.Writer
}

func (w *oneAtATime) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.to.Write(p)
}
