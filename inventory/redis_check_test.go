package inventory_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/internal/servertest"
	"github.com/lastunit/lastunit/inventory"
)

// briefly are findings as "severity where: what=found", sorted.
func briefly(findings inventory.Findings) []string {
	brief := []string{}
	for _, f := range findings {
		brief = append(brief, fmt.Sprintf("%s %s: %s=%s", f.Severity, f.Where, f.What, f.Found))
	}
	slices.Sort(brief)
	return brief
}

// checkup is what a check finds on a server that answers.
func checkup(t testing.TB, repo *inventory.Redis) inventory.Checkup {
	t.Helper()
	up, err := repo.Check(background(t))
	require.NoError(t, err)
	for _, f := range up.Findings {
		for _, text := range []string{f.Where, f.What, f.Means, f.Advice} {
			assert.NotEmpty(t, text, "%+v", f)
		}
		assert.Contains(t, f.String(), f.Advice)
	}
	return up
}

// advised are the settings of a client that the documentation advises.
func advised(o *redis.Options) { o.ContextTimeoutEnabled, o.DialerRetries = true, 1 }

func TestCheckOfAServer(t *testing.T) {
	for name, test := range map[string]struct {
		arguments []string
		want      []string
	}{
		"as it should be":      {[]string{"--appendonly", "yes"}, []string{}},
		"snapshots":            {[]string{"--save", "3600 1"}, []string{"notice Redis: appendonly=no, with snapshots"}},
		"nothing on disk":      {nil, []string{"notice Redis: appendonly=no, without snapshots"}},
		"expiring keys go":     {[]string{"--appendonly", "yes", "--maxmemory", "100mb", "--maxmemory-policy", "volatile-lru"}, []string{}},
		"would evict":          {[]string{"--appendonly", "yes", "--maxmemory-policy", "allkeys-lru"}, []string{"notice Redis: maxmemory-policy=allkeys-lru"}},
		"evicts":               {[]string{"--appendonly", "yes", "--maxmemory", "100mb", "--maxmemory-policy", "allkeys-random"}, []string{"problem Redis: maxmemory-policy=allkeys-random"}},
		"replicas are missing": {[]string{"--appendonly", "yes", "--min-replicas-to-write", "1"}, []string{"problem Redis: NOREPLICAS=answered"}},
		"memory is full":       {[]string{"--appendonly", "yes", "--maxmemory", "1"}, []string{"problem Redis: OOM=answered"}},
	} {
		t.Run(name, func(t *testing.T) {
			client := servertest.StartRedis(t, test.arguments...).Client(t, advised)
			up := checkup(t, inventory.NewRedis(client))
			assert.Equal(t, test.want, briefly(up.Findings))
			if problems := strings.Count(fmt.Sprint(test.want), "problem "); problems == 0 {
				assert.NoError(t, up.Findings.Err())
			} else {
				assert.Len(t, strings.Split(up.Findings.Err().Error(), "\n"), problems)
			}
			info, err := client.Info(background(t), "persistence").Result()
			require.NoError(t, err)
			assert.Contains(t, info, "rdb_changes_since_last_save:0\r\n", "it has written nothing")
		})
	}
}

// Volatile policies are no finding, as Redis refuses writes under them, too: none of
// our keys expires.
func TestVolatilePoliciesEvictNoCounters(t *testing.T) {
	server := servertest.StartRedis(t, "--maxmemory-policy", "volatile-lru")
	s := onSale(t, server.Client(t, func(o *redis.Options) { o.MaxRetries = -1 }), 10)
	d := s.deduct("a")
	require.NoError(t, s.repo.Settle(background(t), s.supply))
	require.NoError(t, s.client.ConfigSet(background(t), "maxmemory", "1").Err())
	_, err := s.repo.Deduct(background(t), s.request("b"))
	unavailable(t, err)
	require.ErrorContains(t, err, "OOM")
	require.NoError(t, s.repo.Restore(background(t), d))
	assert.Equal(t, int64(10), s.stock().Supply)
	assert.Equal(t, time.Duration(-1), s.client.TTL(background(t), s.key).Val())
}

func TestCheckOfAReplica(t *testing.T) {
	master := servertest.StartRedis(t, "--appendonly", "yes")
	host, port, _ := strings.Cut(master.Addr(), ":")
	replica := servertest.StartRedis(t, "--appendonly", "yes", "--replicaof", host+" "+port).Client(t, advised)
	require.NoError(t, replica.ConfigSet(background(t), "masterauth", master.Password()).Err())
	up := checkup(t, inventory.NewRedis(replica))
	assert.Subset(t, briefly(up.Findings), []string{"problem Redis: READONLY=answered", "problem Redis: role=replica"})

	// One that takes writes would lose them.
	require.NoError(t, replica.ConfigSet(background(t), "replica-read-only", "no").Err())
	up = checkup(t, inventory.NewRedis(replica))
	assert.Contains(t, briefly(up.Findings), "problem Redis: role=replica")
	assert.NotContains(t, briefly(up.Findings), "problem Redis: READONLY=answered")

	waits := inventory.NewRedis(master.Client(t, advised), inventory.WithReplicas(2, time.Millisecond))
	eventually(t, "the replica is connected", func() bool {
		up := checkup(t, waits)
		return slices.Equal([]string{"notice Redis: connected_slaves=1"}, briefly(up.Findings))
	})
	waits = inventory.NewRedis(master.Client(t, advised), inventory.WithReplicas(1, time.Millisecond))
	assert.Empty(t, briefly(checkup(t, waits).Findings), "one is enough for one")
}

// What the documented user can't ask is a notice, and what it can is found all the same.
func TestCheckWithTheDocumentedRights(t *testing.T) {
	server := servertest.StartRedis(t)
	u := newUser(t, server)
	u.grant(readmeRights(t)...)
	assert.Equal(t, []string{"notice Redis: +info=missing"}, briefly(checkup(t, u.repo).Findings))
	u.grant(append(readmeRights(t), "+info")...)
	assert.Equal(t, []string{"notice Redis: appendonly=no"}, briefly(checkup(t, u.repo).Findings))
	u.grant(append(readmeRights(t), "+info", "+config|get")...)
	assert.Equal(t, []string{"notice Redis: appendonly=no, without snapshots"}, briefly(checkup(t, u.repo).Findings))

	// Not even to connect as the client is set up.
	u.grant(readmeRights(t)...)
	named := inventory.NewRedis(u.client(func(o *redis.Options) { o.DB = 3 }))
	up := checkup(t, named)
	assert.Equal(t, []string{"problem Redis: connection=refused"}, briefly(up.Findings))
	assert.ErrorContains(t, up.Findings.Err(), "'select'")
	assert.ErrorIs(t, up.Findings.Err(), inventory.ErrUnavailable)

	require.NoError(t, u.admin.ReplicaOf(background(t), "127.0.0.1", "1").Err())
	up = checkup(t, u.repo)
	assert.Contains(t, briefly(up.Findings), "problem Redis: role=replica", "everybody may say HELLO")
	assert.Contains(t, briefly(up.Findings), "problem Redis: READONLY=answered")
}

func TestCheckNamesAMissingRight(t *testing.T) {
	server := servertest.StartRedis(t)
	u := newUser(t, server, inventory.WithReplicas(1, time.Millisecond))
	all := append(readmeRights(t), "+info", "+config|get", "+wait")
	usual := []string{"notice Redis: appendonly=no, without snapshots", "notice Redis: connected_slaves=0"}
	for i, missing := range all {
		u.grant(slices.Delete(slices.Clone(all), i, i+1)...)
		up := checkup(t, u.repo)
		switch missing {
		case "+info":
			assert.Equal(t, []string{"notice Redis: +info=missing"}, briefly(up.Findings))
		case "+config|get":
			assert.Equal(t, []string{"notice Redis: appendonly=no", usual[1]}, briefly(up.Findings))
		case "+wait":
			assert.Equal(t, append([]string{"notice Redis: +wait=missing"}, usual...), briefly(up.Findings))
		default:
			assert.Equal(t, append(usual[:2:2], fmt.Sprintf("problem Redis: %s=missing", missing)), briefly(up.Findings))
			require.ErrorIs(t, up.Findings.Err(), inventory.ErrUnavailable)
			require.ErrorContains(t, up.Findings.Err(), "ACL SETUSER least "+missing, "it can be pasted")
			assert.NotContains(t, up.Findings.Err().Error(), password)
			assert.Len(t, up.Clocks, map[bool]int{false: 1, true: 0}[missing == "+time"])
		}
	}

	// Of the keys, it must have all rights.
	for _, keys := range []string{"~other:*", "%R~lastunit-least:*", "~lastunit-least:{floor}*"} {
		u.grant(append(all, "resetkeys", keys)...)
		assert.Equal(t, append(usual[:2:2], "problem Redis: ~lastunit-least:*=missing"), briefly(checkup(t, u.repo).Findings), keys)
	}
	u.grant(append(all, "resetkeys", "~lastunit-least:{*}:stock")...)
	assert.Equal(t, usual, briefly(checkup(t, u.repo).Findings), "these are all that there are")
}

func TestCheckOfTheClient(t *testing.T) {
	server := servertest.StartRedis(t, "--appendonly", "yes")
	replicas := inventory.WithReplicas(1, 100*time.Millisecond)
	growing := func(attempt int) time.Duration { return time.Duration(attempt) * 200 * time.Millisecond }
	for name, test := range map[string]struct {
		change  func(*redis.Options)
		options []inventory.Option
		want    []string
	}{
		"as advised":    {func(*redis.Options) {}, nil, []string{}},
		"defaults":      {func(o *redis.Options) { o.ContextTimeoutEnabled, o.DialerRetries = false, 0 }, nil, []string{"notice go-redis: ContextTimeoutEnabled=false", "notice go-redis: DialerRetries=5"}},
		"one try":       {func(o *redis.Options) { o.MaxRetries, o.DialerRetries = -1, 0 }, nil, []string{}},
		"long pauses":   {func(o *redis.Options) { o.MaxRetries, o.DialerRetries, o.DialerRetryTimeout = -1, 2, time.Second }, nil, []string{"notice go-redis: DialerRetries=2"}},
		"pauses grow":   {func(o *redis.Options) { o.DialerRetries, o.DialerRetryBackoff = 3, growing }, nil, []string{"notice go-redis: DialerRetries=3"}},
		"never ends":    {func(o *redis.Options) { o.ReadTimeout, o.ContextTimeoutEnabled = -1, false }, nil, []string{"problem go-redis: ReadTimeout=none"}},
		"never at all":  {func(o *redis.Options) { o.ReadTimeout, o.ContextTimeoutEnabled = -2, false }, nil, []string{"problem go-redis: ReadTimeout=none"}},
		"context ends":  {func(o *redis.Options) { o.ReadTimeout = -1 }, nil, []string{}},
		"too impatient": {func(o *redis.Options) { o.ReadTimeout = 100 * time.Millisecond }, []inventory.Option{replicas}, []string{"notice Redis: connected_slaves=0", "notice go-redis: ReadTimeout=100ms"}},
		"far too":       {func(o *redis.Options) { o.ReadTimeout = 99 * time.Millisecond }, nil, []string{"notice go-redis: ReadTimeout=99ms"}},
	} {
		t.Run(name, func(t *testing.T) {
			repo := inventory.NewRedis(server.Client(t, advised, test.change), test.options...)
			assert.Equal(t, test.want, briefly(checkup(t, repo).Findings))
		})
	}
	ring := redis.NewRing(&redis.RingOptions{Addrs: map[string]string{"one": server.Addr()}, Password: server.Password()})
	defer ring.Close()
	assert.Equal(t, []string{"notice Redis " + server.Addr() + ": connected_slaves=0", "notice go-redis: WithReplicas=of a *redis.Ring"},
		briefly(checkup(t, inventory.NewRedis(ring, replicas)).Findings))
}

func TestCheckOfACluster(t *testing.T) {
	cluster := clusterOfOne(t)
	up := checkup(t, inventory.NewRedis(cluster))
	require.Len(t, up.Clocks, 1)
	where := up.Clocks[0].Where
	_, port, _ := strings.Cut(cluster.Options().Addrs[0], ":")
	assert.Regexp(t, `^Redis .*:`+port+"$", where)
	assert.Equal(t, []string{
		"notice " + where + ": appendonly=no, without snapshots",
		"notice go-redis: ClusterStateReloadInterval=1m0s",
		"notice go-redis: ContextTimeoutEnabled=false",
		"notice go-redis: DialerRetries=5",
	}, briefly(up.Findings))

	// A client that knows one node alone can do with it while that has every slot.
	node := redis.NewClient(&redis.Options{Addr: cluster.Options().Addrs[0], Password: cluster.Options().Password, ContextTimeoutEnabled: true, DialerRetries: 1})
	defer node.Close()
	assert.Equal(t, []string{"notice Redis: appendonly=no, without snapshots"}, briefly(checkup(t, inventory.NewRedis(node)).Findings))
	node.AddHook(moved{})
	assert.Contains(t, briefly(checkup(t, inventory.NewRedis(node)).Findings), "problem Redis: redis_mode=cluster")
}

// What a ClusterClient needs besides what is documented for one server.
func TestRightsInACluster(t *testing.T) {
	cluster := clusterOfOne(t)
	address := cluster.Options().Addrs[0]
	of := func(rights ...string) *inventory.Redis {
		command := []any{"ACL", "SETUSER", "least", "reset", "on", ">" + password, "~lastunit:*"}
		for _, right := range rights {
			command = append(command, right)
		}
		require.NoError(t, cluster.Do(background(t), command...).Err())
		client := redis.NewClusterClient(&redis.ClusterOptions{
			Addrs: []string{address}, Username: "least", Password: password, ContextTimeoutEnabled: true, MaxRedirects: -1,
			ClusterStateReloadInterval: time.Second, DialerRetries: 1,
		})
		t.Cleanup(func() { client.Close() })
		return inventory.NewRedis(client)
	}
	up := checkup(t, of(readmeRights(t)...))
	assert.Equal(t, []string{"problem Redis: connection=refused"}, briefly(up.Findings))
	assert.ErrorContains(t, up.Findings.Err(), "'cluster|slots'")

	repo := of(append(readmeRights(t), "+cluster|slots")...)
	up = checkup(t, repo)
	require.Len(t, up.Clocks, 1)
	assert.Equal(t, []string{"notice " + up.Clocks[0].Where + ": +info=missing"}, briefly(up.Findings))
	s := &sale{
		t: t, sku: "floor", repo: repo, key: repo.StockKey("floor"),
		supply: inventory.Supply{SKU: "floor", Store: store, Epoch: 1, Version: 1, Units: 10},
	}
	require.NoError(t, repo.Load(background(t), s.supply))
	for method, err := range s.everyMethod(s.deduct("a")) {
		require.NoError(t, err, method)
	}
}

// A Ring asks its servers by itself whether they are there, and sells nothing if that
// takes a right that it does not have.
func TestRightsOfARing(t *testing.T) {
	server := servertest.StartRedis(t)
	command := []any{"ACL", "SETUSER", "least", "reset", "on", ">" + password, "~lastunit:*"}
	for _, right := range readmeRights(t) {
		command = append(command, right)
	}
	require.NoError(t, server.Client(t).Do(background(t), command...).Err())
	ring := redis.NewRing(&redis.RingOptions{
		Addrs: map[string]string{"one": server.Addr()}, Username: "least", Password: password, HeartbeatFrequency: time.Hour,
	})
	defer ring.Close()
	up := checkup(t, inventory.NewRedis(ring))
	require.ErrorContains(t, up.Findings.Err(), "+ping is missing")
	assert.Len(t, strings.Split(up.Findings.Err().Error(), "\n"), 1)
	require.NoError(t, server.Client(t).Do(background(t), append(command, "+ping")...).Err())
	require.NoError(t, checkup(t, inventory.NewRedis(ring)).Findings.Err())
}

func TestCheckOfAnEmbeddedServer(t *testing.T) {
	repo := inventory.NewRedis(embedded(t))
	assert.Equal(t, []string{"notice Redis: +info=missing", "notice go-redis: ContextTimeoutEnabled=false", "notice go-redis: DialerRetries=5"}, briefly(checkup(t, repo).Findings))
}

func TestCheckOfAServerThatIsNotThere(t *testing.T) {
	server := miniredis.RunT(t)
	client := clientOf(t, server)
	repo := inventory.NewRedis(client)
	// It is there, but nobody else than its users will mend that.
	for _, message := range []string{"NOAUTH Authentication required.", "WRONGPASS invalid username-password pair or user is disabled."} {
		server.SetError(message)
		up := checkup(t, repo)
		assert.Contains(t, briefly(up.Findings), "problem Redis: connection=refused")
		unavailable(t, up.Findings.Err())
		require.ErrorContains(t, up.Findings.Err(), message)
	}
	server.SetError("")
	address := server.Addr()
	server.Close()
	up, err := repo.Check(background(t))
	unavailable(t, err)
	assert.Equal(t, []string{"notice go-redis: ContextTimeoutEnabled=false", "notice go-redis: DialerRetries=5"}, briefly(up.Findings))

	cluster := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{address}, MaxRedirects: -1})
	defer cluster.Close()
	_, err = inventory.NewRedis(cluster).Check(background(t))
	unavailable(t, err)
	ring := redis.NewRing(&redis.RingOptions{Addrs: map[string]string{"one": address}})
	defer ring.Close()
	_, err = inventory.NewRedis(ring).Check(background(t))
	unavailable(t, err)
}

// One node of several that is gone is a problem; the others are checked.
func TestCheckOfAFewThatAreNotThere(t *testing.T) {
	there, gone := miniredis.RunT(t), miniredis.RunT(t)
	ring := redis.NewRing(&redis.RingOptions{
		Addrs:              map[string]string{"one": there.Addr(), "two": gone.Addr()},
		HeartbeatFrequency: time.Hour,
	})
	defer ring.Close()
	address := gone.Addr()
	gone.Close()
	up := checkup(t, inventory.NewRedis(ring))
	assert.Contains(t, briefly(up.Findings), "problem Redis "+address+": connection=dead")
	assert.Contains(t, briefly(up.Findings), "notice Redis "+there.Addr()+": +info=missing")
	require.ErrorIs(t, up.Findings.Err(), inventory.ErrUnavailable)
}

func TestCheckOfAnOldServer(t *testing.T) {
	client := embedded(t)
	client.AddHook(answering{"hello": []any{"version", "6.2.14", "mode", "standalone", "role", "master"}})
	assert.Contains(t, briefly(checkup(t, inventory.NewRedis(client)).Findings), "problem Redis: redis_version=6.2.14")
	client = embedded(t)
	client.AddHook(answering{"evalsha": redisError("ERR unknown command 'EVALSHA'")})
	assert.Contains(t, briefly(checkup(t, inventory.NewRedis(client)).Findings), "problem Redis: +evalsha=unknown")
}

// Newer ones say more.
func TestCheckOfANewerServer(t *testing.T) {
	client := embedded(t)
	client.AddHook(answering{"hset": redisError("NOPERM User key has no permissions to run the 'hset' command")})
	assert.Contains(t, briefly(checkup(t, inventory.NewRedis(client)).Findings), "problem Redis: +hset=missing")
	client = embedded(t)
	client.AddHook(answering{"hset": redisError("NOPERM No permissions to access a key")})
	assert.Contains(t, briefly(checkup(t, inventory.NewRedis(client)).Findings), "problem Redis: ~lastunit:*=missing")
}

func TestClocksOfNodes(t *testing.T) {
	for ahead, want := range map[time.Duration]string{
		0:                            "",
		time.Second - 1:              "",
		time.Second:                  "notice 1s",
		-3 * time.Second:             "notice 3s",
		inventory.DeductTimeout - 1:  "notice 4.999999999s",
		inventory.DeductTimeout:      "problem 5s",
		-2 * inventory.DeductTimeout: "problem 10s",
	} {
		var got string
		for _, f := range inventory.CheckClocks([]inventory.Clock{{Where: "b"}, {Where: "a", Ahead: ahead}}) {
			got += string(f.Severity) + " " + f.Found
		}
		if want != "" {
			want += " apart from that of b"
		}
		assert.Equal(t, want, got, "%v", ahead)
	}

	one, two := miniredis.RunT(t), miniredis.RunT(t)
	one.SetTime(time.Now())
	two.SetTime(time.Now().Add(time.Hour))
	ring := redis.NewRing(&redis.RingOptions{Addrs: map[string]string{"one": one.Addr(), "two": two.Addr()}, HeartbeatFrequency: time.Hour})
	defer ring.Close()
	up := checkup(t, inventory.NewRedis(ring))
	require.Len(t, up.Clocks, 2)
	require.ErrorContains(t, up.Findings.Err(), ": clock is ")
}

// The round trip is what a clock is known within: half of it each way.
func TestMeasureClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // its clock goes only while somebody sleeps
		asked := 0
		clock, err := inventory.MeasureClock("here", func() (time.Time, error) {
			asked++
			way := 20 * time.Millisecond
			if asked == 3 {
				way = 2 * time.Millisecond
			}
			time.Sleep(way)
			at := time.Now().Add(time.Hour)
			time.Sleep(way)
			return at, nil
		})
		require.NoError(t, err)
		assert.Equal(t, 5, asked)
		assert.Equal(t, inventory.Clock{Where: "here", Ahead: time.Hour, Within: 2 * time.Millisecond}, clock)
	})

	broken := errors.New("broken")
	_, err := inventory.MeasureClock("here", func() (time.Time, error) { return time.Time{}, broken })
	require.ErrorIs(t, err, broken)

	a, b := inventory.Clock{Ahead: 5, Within: 1}, inventory.Clock{Ahead: -5, Within: 2}
	assert.Equal(t, time.Duration(7), a.Apart(b))
	assert.Equal(t, time.Duration(7), b.Apart(a))
	assert.Zero(t, a.Apart(inventory.Clock{Ahead: 4, Within: 1}))
}

// answering are commands that get another answer.
type answering map[string]any

type redisError string

func (e redisError) Error() string { return string(e) }
func (redisError) RedisError()     {}

func (answering) DialHook(next redis.DialHook) redis.DialHook { return next }

func (a answering) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		answer, ok := a[cmd.Name()]
		command, ours := cmd.(*redis.Cmd) // the client says HELLO for itself
		if !ok || !ours {
			return next(ctx, cmd)
		}
		if err, ok := answer.(error); ok {
			cmd.SetErr(err)
			return err
		}
		command.SetVal(answer)
		return nil
	}
}

func (answering) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

// moved has every slot on another node.
type moved struct{ answering }

func (moved) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, commands []redis.Cmder) error {
		err := next(ctx, commands)
		for _, command := range commands {
			if command.Name() == "hmget" {
				command.SetErr(redisError("MOVED 1 127.0.0.1:1"))
			}
		}
		return err
	}
}
