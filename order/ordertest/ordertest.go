// Package ordertest checks that an order.Store keeps its promises, and makes one
// for tests that need a store but no database.
package ordertest

import (
	"context"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/lastunit/lastunit/order"
)

// New makes an empty store in memory for one test. When the test ends, it checks
// that the store's books are right.
func New(t testing.TB) order.Store {
	t.Helper()
	store := order.NewMemory()
	t.Cleanup(func() {
		tallies, err := store.TallyAll(context.Background())
		if assert.NoError(t, err) {
			checkTallies(t, tallies)
		}
	})
	return store
}

// Run checks everything that the comments of order.Store promise. Each subtest
// calls open once and uses SKUs and order IDs of its own, so open may return the
// same store each time. Nothing else may use the store meanwhile.
func Run(t *testing.T, open func(t testing.TB) order.Store) {
	t.Helper()
	for _, group := range []struct {
		name  string
		tests []test
	}{
		{"PutOnSale", putOnSaleTests},
		{"Adjust", adjustTests},
		{"Commit", commitTests},
		{"Batch", batchTests},
		{"Consumed", consumedTests},
		{"Look", lookTests},
		{"Hold", holdTests},
		{"Change", changeTests},
		{"Cancel", slices.Concat(cancelTests, cancelHoldTests)},
		{"Refuse", refuseTests},
		{"Retire", retireTests},
		{"Purge", purgeTests},
		{"Due", dueTests},
		{"Limit", limitTests},
		{"Window", windowTests},
		{"Pool", poolTests},
		{"Reopening", reopeningTests},
		{"Fence", fenceTests},
		{"BeginEpoch", beginEpochTests},
		{"Lists", listTests},
		{"Ledger", ledgerTests},
		{"Background", backgroundTests},
		{"Books", booksTests},
		{"Races", slices.Concat(commitRaceTests, changeRaceTests)},
		{"Bounds", boundsTests},
		{"Context", contextTests},
		{"Bulk", bulkTests},
	} {
		t.Run(group.name, func(t *testing.T) {
			for _, test := range group.tests {
				t.Run(test.name, func(t *testing.T) { test.run(newShop(t, open(t))) })
			}
		})
	}
}

// test is one promise.
type test struct {
	name string
	run  func(s *shop)
}
