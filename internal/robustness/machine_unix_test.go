//go:build unix

package robustness

import "golang.org/x/sys/unix"

// now is the machine's monotonic clock, in nanoseconds. All processes of the
// machine share it, so that calls in one can be compared with those in another.
func now() int64 {
	var at unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &at); err != nil {
		panic(err)
	}
	return at.Nano()
}
