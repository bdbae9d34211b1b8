//go:build linux || darwin

package servertest

import "golang.org/x/sys/unix"

// removeSegment removes a shared memory segment that no process uses. It
// reports whether the segment is gone.
func removeSegment(id int) bool {
	var about unix.SysvShmDesc
	if _, err := unix.SysvShmCtl(id, unix.IPC_STAT, &about); err != nil {
		return true
	}
	if about.Nattch != 0 {
		return false
	}
	_, err := unix.SysvShmCtl(id, unix.IPC_RMID, nil)
	return err == nil
}
