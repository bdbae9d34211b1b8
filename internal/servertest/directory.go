package servertest

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
)

const (
	directoryPrefix = "lastunit-"
	lockName        = "lock"
	dataName        = "data"
)

// directory is a temporary directory of one server. Its lock is held as long
// as this process lives: a directory with a free lock was left behind by a
// test process that was killed.
type directory struct {
	path string
	lock *os.File
}

var sweepOnce sync.Once

// newDirectory makes a directory in a root which other users may pass through but not
// list. t.TempDir would not do: an unprivileged server cannot reach it if the
// test is run by root, and its path may be too long for a socket.
func newDirectory(root, kind string) (*directory, error) {
	sweepOnce.Do(sweepAll)
	path, err := os.MkdirTemp(root, directoryPrefix+kind+"-")
	if err != nil {
		return nil, err
	}
	d := &directory{path: path}
	if err := d.prepare(); err != nil {
		_ = d.remove()
		return nil, err
	}
	return d, nil
}

func (d *directory) prepare() error {
	if err := os.Chmod(d.path, 0o711); err != nil {
		return err
	}
	// The lock gets its name when it is locked, so that a sweep of another
	// process never sees it free.
	f, err := os.OpenFile(d.join("new-"+lockName), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	d.lock = f
	tryLock(f) // nobody else knows the file
	return os.Rename(f.Name(), d.join(lockName))
}

func (d *directory) join(name string) string { return filepath.Join(d.path, name) }

func (d *directory) data() string { return d.join(dataName) }

func (d *directory) remove() error {
	// The lock goes last: if the data cannot be removed, as a dying server
	// still writes, then a later sweep finds the rest.
	err := os.RemoveAll(d.data())
	if err == nil {
		err = os.RemoveAll(d.path)
	}
	if d.lock != nil {
		_ = d.lock.Close()
	}
	return err
}

// sweepAll sweeps wherever directories may be.
func sweepAll() {
	sweep(temporaryRoot())
	if memoryRoot != "" {
		sweep(memoryRoot)
	}
}

// sweep removes what killed test processes of this user have left behind. It
// is a courtesy, so errors do not matter.
func sweep(root string) {
	entries, _ := os.ReadDir(root)
	for _, entry := range entries {
		if !entry.IsDir() || !strings.HasPrefix(entry.Name(), directoryPrefix) {
			continue
		}
		if info, err := entry.Info(); err != nil || !ownedByUs(info) {
			continue
		}
		d := &directory{path: filepath.Join(root, entry.Name())}
		lock, err := os.OpenFile(d.join(lockName), os.O_RDWR, 0)
		if err != nil {
			continue
		}
		d.lock = lock
		// Only the pid file names the segment: as long as that is in use, all stays for
		// a later sweep.
		if !tryLock(lock) || !forgetPostmaster(d.data()) {
			_ = lock.Close()
			continue
		}
		_ = d.remove()
	}
}
