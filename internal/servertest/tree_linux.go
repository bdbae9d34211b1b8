package servertest

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
)

func listProcesses() ([]running, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	var all []running
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		stat, err := os.ReadFile(filepath.Join("/proc", entry.Name(), "stat"))
		if err != nil {
			continue // it has ended since
		}
		// The line is: pid (name) state parent ... The name may have blanks
		// and brackets in it, so look from the last bracket on.
		fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
		if len(fields) < 2 {
			return nil, fmt.Errorf("cannot read the process table: /proc/%d/stat", pid)
		}
		parent, err := strconv.Atoi(string(fields[1]))
		if err != nil {
			return nil, fmt.Errorf("cannot read the process table: /proc/%d/stat: %w", pid, err)
		}
		all = append(all, running{pid: pid, parent: parent, state: fields[0][0]})
	}
	return all, nil
}
