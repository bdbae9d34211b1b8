package faults_test

import (
	"slices"
	"sync"
	"testing"
	"time"
)

// row is one fault of the matrix.
type row struct {
	name    string // NN_what_happens, with a letter after the number if the row has several
	callers string // what callers see, for the table
	lost    string // what is lost, for the table

	// run injects the fault and audits the sale afterwards. Its cases may be subtests,
	// also parallel ones.
	run func(t *testing.T, m *measured)
}

// rows is the whole matrix in its order.
func rows() []row { return slices.Concat(firstRows, laterRows, fieldRows) }

// TestFault runs every row, a few of them at the same time, and writes the table if
// it is asked to.
func TestFault(t *testing.T) {
	all := rows()
	results := make([]*measured, len(all))
	t.Cleanup(func() {
		if !t.Failed() {
			writeTable(t, all, results)
		}
	})
	for i, r := range all {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			results[i] = &measured{}
			r.run(t, results[i])
		})
	}
}

// measured is how long the recovery of a row took: of its cases, the longest.
type measured struct {
	mu      sync.Mutex
	known   bool
	selling time.Duration // from the fault's end until every service has sold again
	exact   time.Duration // from the fault's end until the books are exact, the rest of the rush included
}

// note takes note of a recovery.
func (m *measured) note(selling, exact time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.known = true
	m.selling, m.exact = max(m.selling, selling), max(m.exact, exact)
}
