package faults_test

import (
	"flag"
	"os"
	"testing"

	"github.com/lastunit/lastunit/internal/servertest"
)

// atOnce is how many rows run at the same time. They mostly wait, so that there may
// be more than the machine has cores.
const atOnce = "4"

// TestMain is also the main of the processes that the rows start.
func TestMain(m *testing.M) {
	var j job
	if servertest.ChildJob(seller, &j) {
		j.run()
		return
	}
	flag.Parse()
	if err := flag.Set("test.parallel", atOnce); err != nil {
		panic(err)
	}
	servertest.Main(m)
}

// full says that rows take as long as they need, with the default settings of a
// service, and not only as long as a test of every day may.
func full() bool { return os.Getenv("LASTUNIT_FAULTS") == "full" }

// either is the first in full, and the second in the short tests of every day.
func either[T any](inFull, short T) T {
	if full() {
		return inFull
	}
	return short
}
