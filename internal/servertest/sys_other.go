//go:build !unix

package servertest

import (
	"errors"
	"os"
	"syscall"
)

// supported is false: servers are never found here, so that the tests which
// need one are left out, while the package still builds.
const supported = false

const (
	signalPause  = syscall.SIGKILL
	signalResume = syscall.SIGKILL
)

type account struct{}

func (*account) give(string) error { return nil }

func unprivilegedAccount() (*account, error) { return nil, nil }

func attributes(*account) *syscall.SysProcAttr { return &syscall.SysProcAttr{} }

func sendSignal(int, syscall.Signal) error { return errors.ErrUnsupported }

func tryLock(*os.File) bool { return true }

func ownedByUs(os.FileInfo) bool { return false }
