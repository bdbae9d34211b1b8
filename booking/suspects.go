package booking

import (
	"sync"
	"sync/atomic"
	"time"
)

// suspects is who had something rejected by the database a short while ago: customers,
// or order IDs. What comes from them gathers apart from the rest, because a batch that
// is rejected is divided, and that takes time from everybody in it. The zero value is
// ready, and has nobody. It is safe for concurrent use.
type suspects struct {
	n  atomic.Int64 // of until, so that it costs nothing while there are none
	mu sync.Mutex

	until map[string]time.Time
}

const (
	// suspectFor is for how long somebody is a suspect after a rejection.
	suspectFor = time.Minute

	// maxSuspects bounds them. Those beyond it are none.
	maxSuspects = 10_000
)

// add makes somebody a suspect for a while. Nobody in particular, the empty name, is
// never one.
func (s *suspects) add(name string, lasts time.Duration) {
	if name == "" {
		return
	}
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.until == nil {
		s.until = make(map[string]time.Time)
	}
	if _, there := s.until[name]; !there && len(s.until) >= maxSuspects {
		for old, until := range s.until {
			if !until.After(now) {
				delete(s.until, old)
			}
		}
		if len(s.until) >= maxSuspects {
			return
		}
	}
	s.until[name] = now.Add(lasts)
	s.n.Store(int64(len(s.until)))
}

// has reports whether somebody is a suspect.
func (s *suspects) has(name string) bool {
	if s.n.Load() == 0 {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	until, there := s.until[name]
	if there && !until.After(time.Now()) {
		delete(s.until, name)
		s.n.Store(int64(len(s.until)))
		return false
	}
	return there
}
