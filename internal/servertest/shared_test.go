package servertest

import (
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestSharedIsOne(t *testing.T) {
	t.Parallel()
	first := SharedRedis(t).Addr()
	require.Equal(t, first, SharedRedis(t).Addr())
	url := SharedPostgres(t).URL()
	require.Equal(t, url, SharedPostgres(t).URL())
}

func TestSharedIsNotKilled(t *testing.T) {
	t.Parallel()
	r := SharedRedis(t)
	v := &verdictOf{TB: t}
	r.t = v
	for _, disturb := range []func(){r.Kill, r.Stop, r.Pause, r.Resume, r.Restart, r.Wipe} {
		v.failed = ""
		require.Panics(t, disturb)
		require.Contains(t, v.failed, "share")
	}
	r.t = t
	require.NoError(t, r.Client(t).Ping(testContext(t)).Err())
}

// This one is not parallel, so that nothing else runs.
func TestWaitFunction(t *testing.T) {
	needPrograms(t)
	SharedRedis(t)
	goleak.VerifyNone(t, goleak.IgnoreAnyFunction(WaitFunction), goleak.IgnoreAnyFunction("testing.tRunner"))
	require.Error(t, goleak.Find(goleak.IgnoreAnyFunction("testing.tRunner")))
}
