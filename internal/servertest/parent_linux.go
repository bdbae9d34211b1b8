package servertest

import "syscall"

const diesWithParent = true

// dieWithParent makes the kernel kill the process when the thread that starts
// it ends, so also when the test process is killed.
func dieWithParent(attr *syscall.SysProcAttr) {
	attr.Pdeathsig = syscall.SIGKILL
}
