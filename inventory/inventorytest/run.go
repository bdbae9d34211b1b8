// Package inventorytest has what tests of and with an
// [inventory.InventoryRepository] need: Run, the suite that every
// implementation must pass, and New, a repository that is ready to use.
package inventorytest

import (
	"testing"

	"github.com/lastunit/lastunit/inventory"
)

// Run checks that a repository keeps the promises of the comments of
// [inventory.InventoryRepository]. It calls open for every subtest, with the
// subtest's t, and closes nothing: open leaves that to t.Cleanup.
//
// What open returns may be one and the same repository each time, with other
// SKUs in it: the suite touches only SKUs with random names, and the canaries, which
// nobody else may plant meanwhile. To a repository that is shared it leaves them behind. Its clock must be within half an hour of
// this process's.
func Run(t *testing.T, open func(t testing.TB) inventory.InventoryRepository) {
	t.Helper()
	for _, method := range []struct {
		name  string
		cases []testCase
	}{
		{"Load", loadCases},
		{"Push", pushCases},
		{"Deduct", deductCases},
		{"Window", windowCases},
		{"Limit", limitCases},
		{"Reopening", reopeningCases},
		{"Accept", acceptCases},
		{"Settle", settleCases},
		{"Restore", restoreCases},
		{"Unsettled", unsettledCases},
		{"Stock", stockCases},
		{"Remove", removeCases},
		{"Bounds", boundsCases},
		{"Canary", canaryCases},
		{"Together", togetherCases},
	} {
		t.Run(method.name, func(t *testing.T) {
			for _, c := range method.cases {
				t.Run(c.name, func(t *testing.T) {
					s := newShelf(t, open(t))
					c.run(s)
					s.audit()
				})
			}
		})
	}
}

// testCase is one promise.
type testCase struct {
	name string
	run  func(s *shelf)
}
