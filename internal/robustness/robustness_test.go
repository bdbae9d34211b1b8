package robustness

import (
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A run of LASTUNIT_SECONDS, drawn from SEED; both are what make robustness takes.
// Without them it is short and always the same. The seed gives the schedule of the
// faults and what each client asks for; what meets what depends on the machine too,
// so that a seed leads near a failure, not always to it.
func settings(t *testing.T) (seed uint64, length time.Duration) {
	t.Helper()
	seed, length = 1, 8*time.Second
	if text := os.Getenv("LASTUNIT_SECONDS"); text != "" {
		seconds, err := strconv.Atoi(text)
		require.NoError(t, err)
		length = time.Duration(seconds) * time.Second
		seed = rand.Uint64N(1_000_000) //nolint:gosec // not a secret
	}
	if text := os.Getenv("SEED"); text != "" {
		var err error
		seed, err = strconv.ParseUint(text, 10, 64)
		require.NoError(t, err)
	}
	t.Logf("SEED=%d, %v", seed, length)
	return seed, length
}

// sellsDirect says whether Postgres sells while Redis is down: in every other run.
func sellsDirect(seed uint64) bool { return seed%2 == 0 }

// Everything fails, half of the time.
func TestRobustness(t *testing.T) {
	if path := os.Getenv("LASTUNIT_HISTORY"); path != "" {
		fail(t, checkAgain(t, path))
		return
	}
	seed, length := settings(t)
	fail(t, plan{seed: seed, length: length / 2, faults: all, direct: sellsDirect(seed)}.play(t))
}

// Where Redis loses nothing, the library must not believe that it did.
func TestRobustnessLossless(t *testing.T) {
	seed, length := settings(t)
	fail(t, plan{seed: seed, length: length / 4, faults: lossless, direct: sellsDirect(seed)}.play(t))
}

// Without Redis, Postgres keeps the same promises.
func TestRobustnessWithoutRedis(t *testing.T) {
	seed, length := settings(t)
	fail(t, plan{seed: seed, length: length / 4, faults: postgresAlone, alone: true}.play(t))
}

func fail(t *testing.T, problems []problem) {
	t.Helper()
	for i, p := range problems {
		if i == 20 {
			t.Errorf("and %d more", len(problems)-i)
			break
		}
		t.Error(p.String())
	}
}
