//go:build !linux

package servertest

import (
	"bytes"
	"fmt"
	"os/exec"
	"strconv"
)

func listProcesses() ([]running, error) {
	out, err := exec.Command("ps", "-A", "-o", "pid=,ppid=,stat=").Output()
	if err != nil {
		return nil, fmt.Errorf("cannot read the process table: %w", err)
	}
	var all []running
	for line := range bytes.Lines(out) {
		fields := bytes.Fields(line)
		if len(fields) < 3 {
			continue
		}
		pid, pidErr := strconv.Atoi(string(fields[0]))
		parent, parentErr := strconv.Atoi(string(fields[1]))
		if pidErr != nil || parentErr != nil {
			return nil, fmt.Errorf("cannot read the process table: %q", line)
		}
		all = append(all, running{pid: pid, parent: parent, state: fields[2][0]})
	}
	return all, nil
}
