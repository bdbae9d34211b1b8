package servertest

import (
	"errors"
	"time"
)

// pollPause is the pause between two looks.
const pollPause = 5 * time.Millisecond

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
	deadline := time.Now().Add(limit)
	for {
		done, err := look()
		if done || err != nil {
			return err
		}
		if time.Now().After(deadline) {
			return errTooLate
		}
		time.Sleep(pollPause)
	}
}
