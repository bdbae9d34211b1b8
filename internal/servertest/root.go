package servertest

import (
	"os"
	"path/filepath"
)

// temporaryRoot is the usual temporary directory if it is short and every
// user can pass through, else /tmp.
func temporaryRoot() string {
	const longest = 40
	root := os.TempDir()
	if !supported {
		return root
	}
	if len(root) > longest || !filepath.IsAbs(root) {
		return "/tmp"
	}
	for dir := root; dir != "/"; dir = filepath.Dir(dir) {
		info, err := os.Stat(dir)
		if err != nil || info.Mode()&0o001 == 0 {
			return "/tmp"
		}
	}
	return root
}

// quickRoot is for files that need not be on a disk. It is in memory, where there is
// room: a database is hundreds of files, made and removed by each test, and on a disk
// that is a sixth of the work of all tests. Whoever sets TMPDIR has chosen otherwise.
func quickRoot() string {
	if os.Getenv("TMPDIR") == "" && memoryHasRoom() {
		return memoryRoot
	}
	return temporaryRoot()
}
