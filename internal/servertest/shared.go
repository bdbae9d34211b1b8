package servertest

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"
)

// shared has the servers that all tests of a package use together.
var shared struct {
	mu       sync.Mutex
	allowed  bool // while Main runs
	redis    *server
	postgres *cluster
}

// Main is for TestMain: it runs the tests, ends the shared servers and exits.
func Main(m *testing.M) {
	os.Exit(Wrap(m).Run())
}

// Runner runs the tests and ends the shared servers.
type Runner struct {
	tests interface{ Run() int }
}

// Wrap is Main for those who have something more to do before they exit, such
// as goleak.VerifyTestMain(servertest.Wrap(m)).
func Wrap(m interface{ Run() int }) *Runner {
	return &Runner{tests: m}
}

// Run runs the tests, ends the shared servers and returns the exit code.
func (r *Runner) Run() int {
	shared.mu.Lock()
	shared.allowed = true
	shared.mu.Unlock()
	keepTemplate()

	code := r.tests.Run()

	err := endShared()
	releaseTemplate()
	if err != nil {
		fmt.Fprintf(os.Stderr, "servertest: cannot end the shared servers: %v\n", err)
		if code == 0 {
			code = 1
		}
	}
	return code
}

func endShared() error {
	shared.mu.Lock()
	defer shared.mu.Unlock()
	shared.allowed = false
	var err error
	if shared.redis != nil {
		err = errors.Join(err, shared.redis.end())
		shared.redis = nil
	}
	if shared.postgres != nil {
		err = errors.Join(err, shared.postgres.end())
		if shared.postgres.template != nil {
			shared.postgres.template.release()
		}
		shared.postgres = nil
	}
	return err
}

// WaitFunction is the function of the goroutine that waits for a server. A
// goleak check within a test, while a shared server runs, has to ignore it:
// goleak.IgnoreAnyFunction(servertest.WaitFunction).
const WaitFunction = "github.com/lastunit/lastunit/internal/servertest.(*process).live"

var errNoMain = errors.New("a shared server needs servertest.Main in TestMain, to end it")

// SharedRedis returns the redis-server that the tests of this package share.
// It cannot be killed or paused, and keys of other tests are in it. It may be
// the server of REDIS_URL, where even those of earlier runs are: take random
// keys, and change no setting of the server.
func SharedRedis(t testing.TB) *Redis {
	t.Helper()
	s, err := sharedRedis()
	if err != nil {
		giveUp(t, err)
	}
	r := &Redis{controls{t: t, s: s, shared: true}}
	t.Cleanup(r.showLog)
	return r
}

func sharedRedis() (*server, error) {
	shared.mu.Lock()
	defer shared.mu.Unlock()
	if !shared.allowed {
		return nil, errNoMain
	}
	if shared.redis == nil {
		s, err := newRedis(nil)
		if url := urlInstead(err); url != "" {
			s, err = externalRedis(url)
		}
		if err != nil {
			return nil, err
		}
		shared.redis = s
	}
	return shared.redis, nil
}

// SharedPostgres returns the PostgreSQL cluster that the tests of this package
// share. It cannot be killed or paused. A test takes a Database of its own. It
// may be the server of DATABASE_URL.
func SharedPostgres(t testing.TB) *Postgres {
	t.Helper()
	c, err := sharedPostgres()
	if err != nil {
		giveUp(t, err)
	}
	p := &Postgres{controls: controls{t: t, s: &c.server, shared: true}, cluster: c}
	t.Cleanup(p.showLog)
	return p
}

func sharedPostgres() (*cluster, error) {
	shared.mu.Lock()
	defer shared.mu.Unlock()
	if !shared.allowed {
		return nil, errNoMain
	}
	if shared.postgres == nil {
		c, err := newCluster(nil)
		if url := urlInstead(err); url != "" {
			c, err = externalCluster(url)
		}
		if err != nil {
			return nil, err
		}
		shared.postgres = c
	}
	return shared.postgres, nil
}
