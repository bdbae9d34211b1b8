package robustness

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/lastunit/lastunit/internal/servertest"
)

// workerKind is the kind of child that makes calls.
const workerKind = "worker"

// worker is a process that makes calls.
type worker struct {
	*servertest.Child
	job job
}

func startWorker(t testing.TB, j job) *worker {
	return &worker{servertest.StartChild(t, workerKind, j), j}
}

// tell lets the worker know what is on sale. One that stands still reads it later.
func (w *worker) tell(on window) {
	if text, err := json.Marshal(on); err == nil {
		_, _ = w.Stdin.Write(text) // it may just be killed
	}
}

func (w *worker) standStill(lasts time.Duration) {
	w.Pause()
	time.Sleep(lasts)
	w.Resume()
}

// end lets the worker finish what it has in hand. One that has only just started
// would be ended by the signal itself: it listens before it has a journal.
func (w *worker) end() error {
	err := servertest.Eventually(patience, func() error {
		_, err := os.Stat(w.job.Journal)
		return err
	})
	if err == nil {
		err = w.Terminate()
	}
	if err == nil {
		err = w.Wait(patience)
	}
	if err != nil {
		return fmt.Errorf("worker %d: %w", w.job.Process, err)
	}
	return nil
}

func journalPath(dir string, process int) string {
	return filepath.Join(dir, fmt.Sprintf("calls-%d.json", process))
}
