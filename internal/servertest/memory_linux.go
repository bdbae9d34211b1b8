package servertest

import "golang.org/x/sys/unix"

// memoryRoot is a file system in memory, if memoryHasRoom.
const memoryRoot = "/dev/shm"

// memoryHasRoom says whether there is room for the clusters of several test processes.
// Those of two took 300 MB together at most.
func memoryHasRoom() bool {
	const wanted = 2 << 30
	var fs unix.Statfs_t
	return unix.Statfs(memoryRoot, &fs) == nil && fs.Type == unix.TMPFS_MAGIC &&
		fs.Bavail*uint64(fs.Bsize) >= wanted && unix.Access(memoryRoot, unix.W_OK|unix.X_OK) == nil
}
