package robustness

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/anishathalye/porcupine"
	"golang.org/x/sync/errgroup"
)

// sort is what kind of promise was broken.
type sort string

const (
	notLinearizable sort = "an answer that nothing explains"
	notChecked      sort = "the check of a history took too long"
	oversold        sort = "oversold"
	lost            sort = "an acknowledged order is lost"
	wrongOrder      sort = "an order that nobody asked for so"
	wrongFeed       sort = "the feed is not what the ledger has"
	wrongLedger     sort = "the ledger does not add up"
	notExact        sort = "the books don't become exact"
	stranded        sort = "units that nobody can buy"
	needlessRebuild sort = "counters were rebuilt although Redis lost nothing"
	wrongAnswer     sort = "an answer that no call may give"
	notStopped      sort = "a process that does not end"
	thin            sort = "too little happened for the run to mean anything"
)

// problem is a promise that was broken.
type problem struct {
	sort sort
	text string
}

func (p problem) String() string { return fmt.Sprintf("%s: %s", p.sort, p.text) }

// checkTime bounds the check of one SKU's history: most take milliseconds. One that
// takes longer fails. With a planted bug most would fail, and nobody wants to wait.
const (
	checkTime        = patience
	plantedCheckTime = 2 * time.Second
)

func (h *history) patience() time.Duration {
	if h.planted {
		return plantedCheckTime
	}
	return checkTime
}

// linearizable checks the history of each SKU. Those that fail are drawn into the
// directory. It says how many had to be searched.
func (h *history) linearizable(partitions []*partition, dir string) (problems []problem, searched int) {
	var mu sync.Mutex
	var group errgroup.Group
	group.SetLimit(2)
	for _, p := range partitions {
		group.Go(func() error {
			m := model(p.capacity, p.limit)
			if moments, found := h.witnessOf(p); found && porcupine.CheckOperationsTimeout(m, moments, checkTime) == porcupine.Ok {
				return nil
			}
			mu.Lock()
			searched++
			mu.Unlock()
			result, info := porcupine.CheckOperationsVerbose(m, p.operations, h.patience())
			if result == porcupine.Ok {
				return nil
			}
			found := problem{notLinearizable, fmt.Sprintf("SKU %s, %d events", p.sku, len(p.operations))}
			if result == porcupine.Unknown {
				found.sort = notChecked
			}
			path := filepath.Join(dir, p.sku+".html")
			if err := os.MkdirAll(dir, 0o700); err != nil {
				found.text += fmt.Sprintf(" (no picture: %v)", err)
			} else if err := porcupine.VisualizePath(m, info, path); err != nil {
				found.text += fmt.Sprintf(" (no picture: %v)", err)
			} else {
				found.text += ", see " + path
			}
			mu.Lock()
			defer mu.Unlock()
			problems = append(problems, found)
			return nil
		})
	}
	_ = group.Wait() // none fails
	return problems, searched
}
