package servertest

import (
	"io"
	"os"
	"os/exec"
	"strconv"
)

// guard is a shell that kills processes when the test process dies.
//
// It is needed for paused ones: a paused child of a killed postmaster never
// learns of it, and would stay for ever.
type guard struct {
	cmd *exec.Cmd
	end io.WriteCloser
}

// The shell reads a line when all is well, and the end of the file when the
// test process, which has the other end of the pipe, is no more.
const guardScript = `read line || kill -KILL "$@"`

func startGuard(pids []int) (*guard, error) {
	args := []string{"-c", guardScript, "sh"}
	for _, pid := range pids {
		args = append(args, strconv.Itoa(pid))
	}
	read, write, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer func() { _ = read.Close() }()
	cmd := exec.Command("/bin/sh", args...)
	cmd.Stdin = read
	cmd.SysProcAttr = attributes(nil)
	if err := cmd.Start(); err != nil {
		_ = write.Close()
		return nil, err
	}
	return &guard{cmd: cmd, end: write}, nil
}

// release ends the guard without harm to the processes.
func (g *guard) release() {
	if g == nil {
		return
	}
	_, _ = io.WriteString(g.end, "\n")
	_ = g.end.Close()
	_ = g.cmd.Wait()
}
