package faults_test

import (
	"fmt"
	"os"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// tableFile is where the table stands in the repository.
const tableFile = "../../docs/faults.md"

// tableHead has a place for the number of cores. It has none for the date: it would make
// each run a change.
const tableHead = `# Faults that lastunit survives

Written by ` + "`make faults`" + `, which injects each of these into a rush on real redis-server and
postgres processes: by kill -9, SIGSTOP, a proxy that drops, delays or cuts, an old copy of
the data. Afterwards one audit runs: never more sold than there is, at any moment; every
acknowledged order is there once, as its caller was told; nobody who was refused has an
order; the capacity is sold to the last unit; Redis equals Postgres, and nothing is left in
between.

*Ask again* is what a caller does who is told ErrOutcomeUnknown or ErrTryAgain: the same
request with the same ID. *Sells again* is the time from the end of the fault until every
service has sold something. *Books exact* is the time until Redis equals Postgres and
nothing is unsettled, with the rest of the rush in it. Where a row has several cases it is
the slowest. With a dash there is nothing to recover from.

*Rebuilt* are the counters of a SKU in Redis, from Postgres, when they were lost. The
*sweep* finds units that somebody took and left behind: it gives them back, or *settles*
them, which is to see that their order is in Postgres. It waits for Config.SweepAfter, by
default 5 seconds: so do books that are exact only after that.

Times depend on the machine and its load; expect others. These are of one run, on one
machine with %d cores that ran four rows at a time, servers and callers included; its date
is that of the commit that last changed the times.

| fault | what happens to callers | what is lost | sells again | books exact |
|---|---|---|---|---|
`

// cells are what the table says of a row, other than the figures.
func (r row) cells() string {
	return fmt.Sprintf("| %s | %s | %s |", strings.ReplaceAll(r.name, "_", " "), r.callers, r.lost)
}

// writeTable writes the table to the file that LASTUNIT_FAULTS_TABLE names, unless only
// some of the rows ran.
func writeTable(t *testing.T, all []row, results []*measured) {
	t.Helper()
	file := os.Getenv("LASTUNIT_FAULTS_TABLE")
	if file == "" {
		return
	}
	var text strings.Builder
	fmt.Fprintf(&text, tableHead, runtime.NumCPU())
	for i, r := range all {
		if results[i] == nil {
			t.Logf("%s was not run: no table", r.name)
			return
		}
		selling, exact := "–", "–"
		if results[i].known {
			selling, exact = figure(results[i].selling), figure(results[i].exact)
		}
		fmt.Fprintf(&text, "%s %s | %s |\n", r.cells(), selling, exact)
	}
	require.NoError(t, os.WriteFile(file, []byte(text.String()), 0o644))
}

// figure is a time with two digits that mean something.
func figure(d time.Duration) string {
	if d < 10*time.Millisecond {
		return "< 10 ms"
	}
	if d < time.Second {
		return fmt.Sprintf("%d ms", d.Round(10*time.Millisecond).Milliseconds())
	}
	return fmt.Sprintf("%.1f s", d.Seconds())
}

var coresOfRun = regexp.MustCompile(`\bmachine with (\d+) cores\b`)

// The table in the repository has the head and the rows of the code, in their order.
func TestTable(t *testing.T) {
	text, err := os.ReadFile(tableFile)
	require.NoError(t, err)
	cores := coresOfRun.FindStringSubmatch(string(text))
	require.NotNil(t, cores, "the table's head does not say on how many cores it ran: run make faults")
	n, err := strconv.Atoi(cores[1])
	require.NoError(t, err)
	body, found := strings.CutPrefix(string(text), fmt.Sprintf(tableHead, n))
	require.True(t, found, "the table has another head than the code: run make faults")
	lines := strings.Split(strings.TrimSpace(body), "\n")
	all := rows()
	for i, r := range all {
		require.Less(t, i, len(lines), "%s is missing: run make faults", r.name)
		require.True(t, strings.HasPrefix(lines[i], r.cells()), "%s: the table says %q: run make faults", r.name, lines[i])
	}
	require.Len(t, lines, len(all), "the table has rows that the code has not: run make faults")
}
