package servertest

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// forgetPostmaster removes what a killed postmaster could not: its shared
// memory segment, which no directory holds, and its pid file. With the file
// left, a restart would refuse if a stranger has the old pid by then. It reports
// whether both are gone: they stay as long as a process uses the segment.
func forgetPostmaster(data string) bool {
	name := filepath.Join(data, "postmaster.pid")
	text, err := os.ReadFile(name)
	if err != nil {
		return true // it ended in the orderly way, or is no cluster
	}
	if id, ok := segmentID(string(text)); ok && !removeSegment(id) {
		return false
	}
	_ = os.Remove(name)
	return true
}

// segmentID reads the seventh line, which has the key and the id of the
// segment.
func segmentID(pidFile string) (int, bool) {
	const line = 6
	lines := strings.Split(pidFile, "\n")
	if len(lines) <= line {
		return 0, false
	}
	fields := strings.Fields(lines[line])
	if len(fields) != 2 {
		return 0, false
	}
	id, err := strconv.Atoi(fields[1])
	return id, err == nil
}
