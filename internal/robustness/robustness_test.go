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

// Everything fails, half of the time. In the other half nothing does that loses data in
// Redis, as the library must not believe then that it did, or there is no Redis, as
// Postgres alone keeps the same promises; the short run does without these two.
func TestRobustness(t *testing.T) {
	if path := os.Getenv("LASTUNIT_HISTORY"); path != "" {
		fail(t, checkAgain(t, path))
		return
	}
	seed, length := settings(t)
	direct := sellsDirect(seed)
	t.Run("everything", func(t *testing.T) {
		fail(t, plan{seed: seed, length: length / 2, faults: all, direct: direct}.play(t))
	})
	if os.Getenv("LASTUNIT_SECONDS") == "" {
		return
	}
	t.Run("lossless", func(t *testing.T) {
		fail(t, plan{seed: seed, length: length / 4, faults: lossless, direct: direct}.play(t))
	})
	t.Run("without_redis", func(t *testing.T) {
		fail(t, plan{seed: seed, length: length / 4, faults: postgresAlone, alone: true}.play(t))
	})
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
