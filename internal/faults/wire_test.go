package faults_test

import (
	"bytes"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/lastunit/lastunit/internal/servertest"
)

// mentions matches requests that have the text in them.
func mentions(text string) func([]byte) bool {
	return func(request []byte) bool { return bytes.Contains(request, []byte(text)) }
}

// isScript matches a call of a script.
func isScript(request []byte) bool {
	return bytes.Contains(bytes.ToLower(request), []byte("\r\nevalsha\r\n"))
}

// held is a request that a proxy keeps.
type held struct {
	t    testing.TB
	seen atomic.Int64
	free chan struct{}
	once sync.Once
}

// hold makes a proxy keep requests that match, each with its connection, until they
// are released. All else goes through.
func hold(t testing.TB, p *servertest.Proxy, match func(request []byte) bool) *held {
	h := &held{t: t, free: make(chan struct{})}
	p.CutBefore(1, func(request []byte) bool {
		if match(request) {
			h.seen.Add(1)
			<-h.free
		}
		return false
	})
	t.Cleanup(h.release)
	return h
}

// await waits until so many are there.
func (h *held) await(n int) {
	h.t.Helper()
	eventually(h.t, func() error { return missing(n-int(h.seen.Load()), "requests") })
}

// release lets the requests go on, and all further ones through.
func (h *held) release() { h.once.Do(func() { close(h.free) }) }
