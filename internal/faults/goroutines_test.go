package faults_test

import (
	"bytes"
	"context"
	"fmt"
	"runtime/pprof"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// labelled are the goroutines of one case: rows run at the same time, in one process.
type labelled struct {
	t    testing.TB
	mark string
}

// label marks the goroutines that are started by this one from now on.
func label(t testing.TB) labelled {
	pprof.SetGoroutineLabels(pprof.WithLabels(context.Background(), pprof.Labels("case", t.Name())))
	return labelled{t, fmt.Sprintf("%q:%q", "case", t.Name())}
}

// now is how many of them are in the library's packages, or were started for them.
func (l labelled) now() (n int) {
	l.t.Helper()
	var text bytes.Buffer
	require.NoError(l.t, pprof.Lookup("goroutine").WriteTo(&text, 1))
	_, records, _ := strings.Cut(text.String(), "\n") // without the total
	for record := range strings.SplitSeq(records, "\n\n") {
		if !strings.Contains(record, l.mark) {
			continue
		}
		for _, of := range []string{"lastunit/booking.", "lastunit/order.", "lastunit/inventory.", "internal/gather."} {
			if strings.Contains(record, of) {
				count, err := strconv.Atoi(strings.TrimSpace(record[:max(0, strings.Index(record, "@"))]))
				require.NoError(l.t, err, record)
				n += count
				break
			}
		}
	}
	return n
}

// end waits until none is left.
func (l labelled) end() {
	l.t.Helper()
	eventually(l.t, func() error { return missing(l.now(), "ends of goroutines") })
}
