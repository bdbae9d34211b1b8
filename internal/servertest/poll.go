package servertest

import (
	"errors"
	"time"
)

// pollPause is the pause between two looks.
const pollPause = 5 * time.Millisecond

var errTooLate = errors.New("time is up")

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
