package servertest

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// childVariable tells a test binary that it is a child: of which kind, and its job.
const childVariable = "LASTUNIT_CHILD"

// childRoom is for more lines than any child prints, so that none waits for its test.
const childRoom = 1 << 14

// Child is this very test binary in a process of its own, which does a job. It ends
// with the test, and with the process of the test, however that ends.
type Child struct {
	*process
	t testing.TB

	Stdin io.WriteCloser
	Lines <-chan string // of its stdout; closed when it has ended
}

// StartChild starts a process that finds its job, which must fit JSON, by ChildJob. What
// it prints to stderr appears with what the test prints.
func StartChild(t testing.TB, kind string, job any) *Child {
	t.Helper()
	c := &Child{t: t}
	if os.Getenv(childVariable) != "" {
		t.Fatal("a child runs tests: TestMain does not ask for its kind") // or they would start more and more
	}
	text, err := json.Marshal(job)
	c.check(err)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childVariable+"="+kind+" "+string(text))
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = attributes(nil)
	c.Stdin, err = cmd.StdinPipe()
	c.check(err)
	// StdoutPipe would lose what was not read when the child ends.
	out, in, err := os.Pipe()
	c.check(err)
	cmd.Stdout = in
	c.process, err = startProcess(cmd)
	_ = in.Close()
	c.check(err)
	lines := make(chan string, childRoom)
	c.Lines = lines
	go func() {
		defer func() { close(lines); _ = out.Close() }()
		for scanner := bufio.NewScanner(out); scanner.Scan(); {
			lines <- scanner.Text()
		}
	}()
	t.Cleanup(c.Kill)
	return c
}

// ChildJob is for TestMain: it says whether this process is a child of that kind, and
// if so decodes its job.
func ChildJob(kind string, job any) bool {
	is, text, _ := strings.Cut(os.Getenv(childVariable), " ")
	if is != kind {
		return false
	}
	if err := json.Unmarshal([]byte(text), job); err != nil {
		panic(err)
	}
	return true
}

// Kill ends the child by SIGKILL, unless it has ended, and waits until it is gone. Lines
// still has what it had printed.
func (c *Child) Kill() {
	_ = c.cmd.Process.Kill() // fails only if it has ended
	<-c.done
}

// Terminate asks the child to end, by SIGTERM. It fails if it has ended.
func (c *Child) Terminate() error { return c.cmd.Process.Signal(syscall.SIGTERM) }

// Wait waits for the end of the child, and says how it ended if not well.
func (c *Child) Wait(limit time.Duration) error {
	select {
	case <-c.done:
		return c.err
	case <-time.After(limit):
		return fmt.Errorf("process %d still runs after %v", c.pid(), limit)
	}
}

// Pause stops the child by SIGSTOP, and returns when it stands still.
func (c *Child) Pause() {
	c.t.Helper()
	_, err := c.freeze()
	c.check(err)
}

// Resume lets a paused child go on.
func (c *Child) Resume() {
	c.t.Helper()
	c.check(c.cmd.Process.Signal(signalResume))
}

func (c *Child) check(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err.Error())
	}
}
