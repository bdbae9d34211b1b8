package inventory_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/internal/servertest"
	"github.com/lastunit/lastunit/inventory"
)

// allUnavailable requires that every method is refused as unavailable.
func (s *sale) allUnavailable(d inventory.Deduction) {
	s.t.Helper()
	for method, err := range s.everyMethod(d) {
		s.t.Log(method)
		unavailable(s.t, err)
		require.Equal(s.t, 1, strings.Count(err.Error(), inventory.ErrUnavailable.Error()), err)
	}
	_, err := s.repo.Stock(background(s.t), s.sku)
	unavailable(s.t, err)
	unavailable(s.t, s.repo.Load(background(s.t), s.supply))
}

// What Redis answers while it cannot serve, said by miniredis: the real ones
// that can be had are below.
func TestErrorsOfARedisThatCannotServe(t *testing.T) {
	server := miniredis.RunT(t)
	client := redis.NewClient(&redis.Options{Addr: server.Addr(), MaxRetries: -1})
	t.Cleanup(func() { client.Close() })
	for _, message := range []string{
		"OOM command not allowed when used memory > 'maxmemory'.",
		"READONLY You can't write against a read only replica.",
		"NOREPLICAS Not enough good replicas to write.",
		"LOADING Redis is loading the dataset in memory",
		"MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
		"MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk.",
		"CLUSTERDOWN The cluster is down",
		"TRYAGAIN Multiple keys request during rehashing of slot",
		"BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.",
		"UNKILLABLE Sorry the script already executed write commands against the dataset.",
		"NOPERM this user has no permissions to run the 'evalsha' command",
		"NOAUTH Authentication required.",
		"ERR max number of clients reached",
		"ERR unknown command 'evalsha', with args beginning with: 'x' '1' 'lastunit:{LASTUNIT WRONGTYPE }:stock'",
		"gibberish",
	} {
		t.Run(strings.Fields(message)[0], func(t *testing.T) {
			s := onSale(t, client, 10)
			d := s.deduct("a")
			before := s.hash()
			server.SetError(message)
			s.allUnavailable(d)
			server.SetError("")
			assert.Equal(t, before, s.hash())
		})
	}
}

// config sets a parameter of the server.
func config(t testing.TB, client *redis.Client, name string, value any) {
	t.Helper()
	require.NoError(t, client.ConfigSet(background(t), name, fmt.Sprint(value)).Err())
}

func TestOutOfMemory(t *testing.T) {
	client := servertest.StartRedis(t, "--maxmemory-policy", "noeviction").Client(t)
	s := onSale(t, client, 10)
	s.terms(inventory.Terms{CustomerLimit: 9}) // so that a customer is written too
	s.deduct("kept")
	a, b, full := s.deduct("a"), s.deduct("b"), s.hash()
	supply := s.supply
	supply.Version, supply.Units = 3, 20

	// Without the scripts in Redis's cache go-redis sends EVAL, which is refused too.
	for _, flush := range []bool{false, true} {
		if flush {
			require.NoError(t, client.ScriptFlush(background(t)).Err())
		}
		config(t, client, "maxmemory", "100kb") // less than an empty Redis has
		_, err := s.repo.Deduct(background(t), s.request("new"))
		unavailable(t, err)
		require.ErrorContains(t, err, "OOM")
		unavailable(t, s.repo.Push(background(t), supply))
		assert.Equal(t, full, s.hash(), "nothing half done")
		assert.Equal(t, a.Seq, s.deduct("a").Seq, "what needs no memory works")
		config(t, client, "maxmemory", "0")
	}

	// These drop a record first, and may then not stop half-way.
	config(t, client, "maxmemory", "100kb")
	require.NoError(t, s.repo.Restore(background(t), a))
	require.NoError(t, s.repo.Settle(background(t), supply, b))
	stock := s.stock()
	assert.Equal(t, int64(2), stock.Taken)
	assert.Equal(t, int64(1), stock.Unsettled)
	assert.Equal(t, "1", s.hash()["c:carol"])
	assert.Equal(t, int64(20), stock.Supply)
	next := s.supply
	next.Epoch++
	require.NoError(t, s.repo.Load(background(t), next))
	assert.Equal(t, int64(10), s.stock().Available())

	config(t, client, "maxmemory", "0")
	s.deduct("new")
}

// refusing returns SKUs that are refused, each for another reason, with a
// request for one unit.
func refusing(t *testing.T, client *redis.Client) map[string]*sale {
	t.Helper()
	soldOut, inFlight := onSale(t, client, 1), onSale(t, client, 1)
	inFlight.deduct("a")
	soldOut.supply.Admitted = 1
	require.NoError(t, soldOut.repo.Settle(background(t), soldOut.supply, soldOut.deduct("a")))
	of := func(terms inventory.Terms) *sale {
		s := onSale(t, client, 10)
		s.terms(terms)
		return s
	}
	limited := of(inventory.Terms{CustomerLimit: 1})
	limited.deduct("a")
	all := map[string]*sale{
		"sold out": soldOut, "in flight": inFlight, "limited": limited,
		"paused":   of(inventory.Terms{Paused: true}),
		"not open": of(inventory.Terms{OpensAt: time.Now().Add(time.Hour)}),
		"closed":   of(inventory.Terms{ClosesAt: time.Now().Add(-time.Hour)}),
	}
	for reason, want := range map[string]error{
		"sold out": inventory.ErrSoldOut, "in flight": inventory.ErrTryAgain, "limited": inventory.ErrTryAgain,
		"paused": inventory.ErrPaused, "not open": inventory.ErrNotOpen, "closed": inventory.ErrClosed,
	} {
		before := all[reason].hash()
		_, err := all[reason].repo.Deduct(background(t), all[reason].request("new"))
		require.ErrorIs(t, err, want)
		require.Equal(t, before, all[reason].hash(), "a refusal writes nothing")
	}
	return all
}

// A replica, or an old master that has become one, may be behind: its "sold
// out" is not to be believed, nor any other refusal.
func TestReplicaSellsNothingAndRefusesNobody(t *testing.T) {
	server := servertest.StartRedis(t)
	client := server.Client(t, func(o *redis.Options) { o.MaxRetries = -1 })
	free, all := onSale(t, client, 10), refusing(t, client)
	d := free.deduct("a")
	before := free.hash()

	require.NoError(t, client.ReplicaOf(background(t), "127.0.0.1", "1").Err()) // where nobody listens
	all["free"] = free
	for reason, s := range all {
		_, err := s.repo.Deduct(background(t), s.request("new"))
		unavailable(t, err)
		require.ErrorContains(t, err, "READONLY", reason)
	}
	unavailable(t, free.repo.Restore(background(t), d))
	supply := free.supply
	supply.Version++
	unavailable(t, free.repo.Settle(background(t), supply, d))
	unavailable(t, free.repo.Push(background(t), supply))
	supply.Epoch++
	unavailable(t, free.repo.Load(background(t), supply))
	assert.Equal(t, before, free.hash())

	config(t, client, "replica-serve-stale-data", "no")
	free.allUnavailable(d)
	config(t, client, "replica-serve-stale-data", "yes")

	require.NoError(t, client.ReplicaOf(background(t), "NO", "ONE").Err())
	assert.Equal(t, before, free.hash())
	free.deduct("new")
}

// A master that is cut off from its replicas, and is told to stop then.
func TestMasterWithoutReplicas(t *testing.T) {
	client := servertest.StartRedis(t).Client(t, func(o *redis.Options) { o.MaxRetries = -1 })
	free, all := onSale(t, client, 10), refusing(t, client)
	d := free.deduct("a")
	before := free.hash()
	config(t, client, "min-replicas-to-write", "1")
	all["free"] = free
	for reason, s := range all {
		_, err := s.repo.Deduct(background(t), s.request("new"))
		unavailable(t, err)
		require.ErrorContains(t, err, "NOREPLICAS", reason)
	}
	unavailable(t, free.repo.Restore(background(t), d))
	assert.Equal(t, before, free.hash())
	config(t, client, "min-replicas-to-write", "0")
	free.deduct("new")
}

func TestScriptFlush(t *testing.T) {
	onBoth(t, func(t *testing.T, client *redis.Client) {
		s := onSale(t, client, 10)
		flush := func() { require.NoError(t, client.ScriptFlush(background(t)).Err()) }
		flush()
		a := s.deduct("a")
		flush()
		assert.Equal(t, a.Seq, s.deduct("a").Seq)
		flush()
		ds, err := s.repo.Unsettled(background(t), store, s.sku, 0, 10)
		require.NoError(t, err)
		assert.Len(t, ds, 1)
		flush()
		require.NoError(t, s.repo.Restore(background(t), a))
		flush()
		require.NoError(t, s.repo.Push(background(t), s.supply))
		flush()
		assert.Equal(t, int64(10), s.stock().Available())
		flush()
		s.repairs()
	})
}

func TestLoading(t *testing.T) {
	// key-load-delay is there for tests: microseconds for each key, so that the
	// restart takes a while. Redis answers in between.
	server := servertest.StartRedis(t, "--key-load-delay", "1000", "--loading-process-events-interval-bytes", "1024")
	ctx := background(t)
	client := server.Client(t, func(o *redis.Options) { o.MaxRetries = -1 })
	s := onSale(t, client, 10)
	d := s.deduct("a")
	before := s.hash()
	pipe := client.Pipeline()
	for i := range 700 {
		pipe.Set(ctx, fmt.Sprint("filler-", i), strings.Repeat("x", 50), 0)
	}
	_, err := pipe.Exec(ctx)
	require.NoError(t, err)
	require.NoError(t, client.Save(ctx).Err())

	restarted := make(chan struct{})
	go func() {
		defer close(restarted)
		server.Restart()
	}()
	eventually(t, "Redis says LOADING", func() bool {
		err := client.Ping(ctx).Err()
		return err != nil && strings.HasPrefix(err.Error(), "LOADING")
	})
	_, err = s.repo.Deduct(ctx, s.request("new"))
	unavailable(t, err)
	require.ErrorContains(t, err, "LOADING")
	s.allUnavailable(d)
	<-restarted
	assert.Equal(t, before, s.hash())
	s.deduct("new")
}

func TestBusy(t *testing.T) {
	server := servertest.StartRedis(t, "--busy-reply-threshold", "20")
	client := server.Client(t, func(o *redis.Options) { o.MaxRetries = -1 })
	s := onSale(t, client, 10)
	d := s.deduct("a")
	before := s.hash()

	stuck := make(chan error, 1)
	ctx := background(t)
	go func() {
		stuck <- client.WithTimeout(-1).Eval(ctx, "while true do end", nil).Err()
	}()
	eventually(t, "Redis says BUSY", func() bool {
		err := client.Ping(ctx).Err()
		return err != nil && strings.HasPrefix(err.Error(), "BUSY")
	})
	s.allUnavailable(d)
	require.NoError(t, client.ScriptKill(ctx).Err())
	require.Error(t, <-stuck)
	assert.Equal(t, before, s.hash())
	s.deduct("new")
}

func TestWrongPassword(t *testing.T) {
	server := servertest.SharedRedis(t)
	s := onSale(t, server.Client(t), 10)
	d := s.deduct("a")
	before := s.hash()
	const secret = "not-the-password-1234"
	for name, client := range map[string]*redis.Client{
		"wrong": server.Client(t, func(o *redis.Options) { o.Password = secret }),
		"none":  server.Client(t, func(o *redis.Options) { o.Password = "" }),
	} {
		t.Run(name, func(t *testing.T) {
			other := *s
			other.t, other.repo = t, inventory.NewRedis(client)
			other.allUnavailable(d)
			for method, err := range other.everyMethod(d) {
				assert.NotContains(t, err.Error(), secret, method)
				assert.NotContains(t, err.Error(), server.Password(), method)
			}
			_, err := other.repo.Stock(background(t), "floor")
			assert.NotContains(t, err.Error(), secret)
		})
	}
	assert.Equal(t, before, s.hash())
}

func TestNobodyListens(t *testing.T) {
	const secret = "the-password-1234"
	options, err := redis.ParseURL("redis://user:" + secret + "@127.0.0.1:1/0")
	require.NoError(t, err)
	options.MaxRetries, options.DialerRetries = -1, 1
	client := redis.NewClient(options)
	t.Cleanup(func() { client.Close() })
	s := &sale{t: t, client: client, repo: inventory.NewRedis(client), sku: "floor", supply: inventory.Supply{
		SKU: "floor", Store: store, Epoch: 1, Version: 1,
	}}
	d := inventory.Deduction{SKU: "floor", Store: store, Epoch: 1, Seq: 1, Attempt: "a"}
	s.allUnavailable(d)
	for _, err := range s.everyMethod(d) {
		assert.NotContains(t, err.Error(), secret)
	}
	client.Close()
	s.allUnavailable(d) // a client that its owner closed
}

func TestContextThatEnded(t *testing.T) {
	onBoth(t, func(t *testing.T, client *redis.Client) {
		s := onSale(t, client, 10)
		d := s.deduct("a")
		before := s.hash()
		ctx, cancel := context.WithCancel(background(t))
		cancel()
		_, err := s.repo.Deduct(ctx, s.request("new"))
		unavailable(t, err)
		require.ErrorIs(t, err, context.Canceled, "the cause is told")
		unavailable(t, s.repo.Restore(ctx, d))
		unavailable(t, s.repo.Settle(ctx, s.supply, d))
		unavailable(t, s.repo.Push(ctx, s.supply))
		unavailable(t, s.repo.Load(ctx, s.supply))
		_, err = s.repo.Unsettled(ctx, store, s.sku, 0, 1)
		unavailable(t, err)
		_, err = s.repo.Stock(ctx, s.sku)
		unavailable(t, err)
		assert.Equal(t, before, s.hash())
	})
}
