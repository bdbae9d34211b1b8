//go:build !linux

package servertest

import "syscall"

// diesWithParent is false: a guard has to do what the kernel does on Linux.
const diesWithParent = false

func dieWithParent(*syscall.SysProcAttr) {}
