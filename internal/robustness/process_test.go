package robustness

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// worker is a process that makes calls.
type worker struct {
	t       testing.TB
	job     job
	command *exec.Cmd
	stdin   io.WriteCloser
	ended   chan error // has how it ended
}

func startWorker(t testing.TB, j job) *worker {
	t.Helper()
	text, err := json.Marshal(j)
	require.NoError(t, err)
	w := &worker{t: t, job: j, command: exec.Command(os.Args[0]), ended: make(chan error, 1)} //nolint:gosec // this binary
	w.command.Env = append(os.Environ(), jobVariable+"="+string(text))
	w.command.Stderr = os.Stderr
	w.stdin, err = w.command.StdinPipe()
	require.NoError(t, err)
	require.NoError(t, w.command.Start())
	go func() { w.ended <- w.command.Wait() }()
	t.Cleanup(w.kill)
	return w
}

// tell lets the worker know what is on sale. One that stands still reads it later.
func (w *worker) tell(on window) {
	if text, err := json.Marshal(on); err == nil {
		_, _ = w.stdin.Write(text) // it may just be killed
	}
}

// kill ends the worker at once, if it has not ended.
func (w *worker) kill() {
	_ = w.command.Process.Kill()
	err := <-w.ended
	w.ended <- err
}

// standStill stops the worker for a time. A shell lets it go on, also when this
// process is killed meanwhile: then its stdin ends.
func (w *worker) standStill(lasts time.Duration) {
	guard := exec.Command("sh", "-c", fmt.Sprintf("read x; kill -CONT %d", w.command.Process.Pid)) //nolint:gosec // a number
	release, err := guard.StdinPipe()
	require.NoError(w.t, err)
	require.NoError(w.t, guard.Start())
	require.NoError(w.t, freeze(w.command.Process))
	time.Sleep(lasts)
	require.NoError(w.t, release.Close())
	require.NoError(w.t, guard.Wait())
}

// end lets the worker finish what it has in hand.
func (w *worker) end() error {
	if err := w.command.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case err := <-w.ended:
		w.ended <- err
		return err
	case <-time.After(60 * time.Second):
		return fmt.Errorf("worker %d is still there a minute after SIGTERM", w.job.Process)
	}
}

func journalPath(dir string, process int) string {
	return filepath.Join(dir, fmt.Sprintf("calls-%d.json", process))
}
