package main

import "golang.org/x/sys/unix"

// takeRealTime gives the thread that calls it real-time priority: no thread of ordinary
// priority runs on its processor until it sleeps or ends. A thread that it starts doesn't
// inherit that.
func takeRealTime() error {
	return unix.SchedSetAttr(0, &unix.SchedAttr{
		Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Flags: unix.SCHED_FLAG_RESET_ON_FORK, Priority: 1,
	}, 0)
}
