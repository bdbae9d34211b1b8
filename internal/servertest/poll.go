package servertest

import (
	"errors"
	"time"
)

// The pause between two looks: a tenth of the wait until then, as one that takes long
// may be over a little later, and each look costs what else runs.
const (
	shortestPause = 5 * time.Millisecond
	longestPause  = 50 * time.Millisecond
)

var errTooLate = errors.New("time is up")

// Eventually looks until the check returns nothing. When the time is up it returns what
// the check said last. Unlike require.Eventually it leaves no goroutine behind.
func Eventually(limit time.Duration, check func() error) error {
	var last error
	_ = poll(limit, func() (bool, error) {
		last = check()
		return last == nil, nil
	})
	return last
}

// poll looks until the thing is done or fails, or the time is up.
func poll(limit time.Duration, look func() (done bool, err error)) error {
	began := time.Now()
	for {
		done, err := look()
		if done || err != nil {
			return err
		}
		waited := time.Since(began)
		if waited > limit {
			return errTooLate
		}
		time.Sleep(min(max(waited/10, shortestPause), longestPause))
	}
}
