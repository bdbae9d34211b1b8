//go:build !linux

package servertest

// memoryRoot is a file system in memory, if memoryHasRoom: we know of none here.
const memoryRoot = ""

func memoryHasRoom() bool { return false }
