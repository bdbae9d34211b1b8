package servertest

import (
	"io"
	"os"
	"strings"
)

// logTail is how much of a log is shown.
const logTail = 4 << 10

// logFile has what a server printed, over all its starts.
type logFile struct {
	path   string
	secret string // never shown
}

func (l logFile) open() (*os.File, error) {
	return os.OpenFile(l.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
}

func (l logFile) size() int64 {
	info, err := os.Stat(l.path)
	if err != nil {
		return 0
	}
	return info.Size()
}

// since returns what was logged from an offset on.
func (l logFile) since(offset int64) string {
	f, err := os.Open(l.path)
	if err != nil {
		return err.Error()
	}
	defer func() { _ = f.Close() }()
	if _, err := f.Seek(offset, io.SeekStart); err != nil {
		return err.Error()
	}
	text, err := io.ReadAll(f)
	if err != nil {
		return err.Error()
	}
	return strings.ReplaceAll(string(text), l.secret, "(password)")
}

// tail returns the end of the log.
func (l logFile) tail() string {
	return l.since(max(0, l.size()-logTail))
}
