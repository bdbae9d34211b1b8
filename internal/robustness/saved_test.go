package robustness

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/order"
)

// saved is a history in a file, which LASTUNIT_HISTORY may name: it is checked again.
type saved struct {
	Calls  []call
	Killed map[int]int64
	Began  map[string]int64
	Direct bool
	At     int64
	Orders map[string]order.Order
	Ledger map[string][]order.Movement
	Stocks map[string]order.Counters
}

// save writes the history into the directory of the pictures.
func (h *history) save(t testing.TB, dir string) {
	text, err := json.Marshal(saved{h.calls, h.killed, h.began, h.direct, h.at, h.orders, h.ledger, h.stocks})
	require.NoError(t, err)
	require.NoError(t, os.MkdirAll(dir, 0o700))
	path := filepath.Join(dir, "history.json")
	require.NoError(t, os.WriteFile(path, text, 0o600))
	t.Logf("to check it again: LASTUNIT_HISTORY=%s", path)
}

// checkAgain checks a history that was saved.
func checkAgain(t *testing.T, path string) []problem {
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	var s saved
	require.NoError(t, json.Unmarshal(text, &s))
	h := &history{
		calls: s.Calls, killed: s.Killed, began: s.Began, direct: s.Direct, at: s.At, orders: s.Orders, ledger: s.Ledger, stocks: s.Stocks,
		skus: slices.Sorted(maps.Keys(s.Stocks)), // not those that were never opened
	}
	return h.check(t, filepath.Dir(path))
}

// check checks the history, and reports what there was.
func (h *history) check(t testing.TB, dir string) []problem {
	began := time.Now()
	h.readLedger()
	problems := h.audit()
	unexplained, searched := h.linearizable(h.partitions(), dir)
	h.report(t, time.Since(began), searched)
	return append(problems, unexplained...)
}
