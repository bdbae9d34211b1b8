package servertest

import (
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// RedisPair is a private master, node 0, with a replica, node 1, and a Sentinel that
// watches them through their links: a master whose link is blocked is as good as dead
// to it, while clients still reach that master.
type RedisPair struct {
	joined
	sentinel *Redis
}

// pairName is what the Sentinel calls the pair.
const pairName = "pair"

// StartRedisPair starts a pair that ends with the test. The Sentinel does not act
// before Watch.
func StartRedisPair(t testing.TB) *RedisPair {
	t.Helper()
	// As an answer of INFO, a replica's address is that of its link.
	p := &RedisPair{joined: join(t, []*Redis{StartRedis(t, "--repl-diskless-sync", "no"), StartRedis(t, "--repl-diskless-sync", "no")})}
	for i := range p.nodes {
		host, port := p.reachable(i)
		p.do(i, []any{"config", "set", "replica-announce-ip", host}, []any{"config", "set", "replica-announce-port", port})
	}
	host, port := p.reachable(0)
	p.do(1, []any{"replicaof", host, port})
	p.await(1, "master_link_status:up", "info", "replication")
	p.await(0, "state=online", "info", "replication")

	p.sentinel = StartRedis(t, "--sentinel")
	s := joined{t: t, nodes: []*Redis{p.sentinel}}
	s.do(0, []any{"sentinel", "monitor", pairName, host, port, 1},
		[]any{"sentinel", "set", pairName, "auth-pass", p.nodes[0].Password()},
		[]any{"sentinel", "set", pairName, "down-after-milliseconds", time.Hour.Milliseconds()},
		[]any{"sentinel", "set", pairName, "failover-timeout", "5000"})
	err := poll(agreeLimit, func() (bool, error) {
		replicas, err := p.sentinel.Client(t).Do(t.Context(), "sentinel", "replicas", pairName).Slice()
		return len(replicas) == 1, err
	})
	if err != nil {
		t.Fatalf("the Sentinel does not find the replica: %v", err)
	}
	return p
}

// Watch lets the Sentinel replace a master that it can't reach for so long.
func (p *RedisPair) Watch(downAfter time.Duration) {
	p.t.Helper()
	s := joined{t: p.t, nodes: []*Redis{p.sentinel}}
	s.do(0, []any{"sentinel", "set", pairName, "down-after-milliseconds", downAfter.Milliseconds()})
}

// Client returns a client that asks the Sentinel for the master. It is closed with the
// test. Each change may alter its options.
func (p *RedisPair) Client(t testing.TB, change ...func(*redis.FailoverOptions)) *redis.Client {
	t.Helper()
	options := &redis.FailoverOptions{
		MasterName: pairName, SentinelAddrs: []string{p.sentinel.Addr()}, SentinelPassword: p.sentinel.Password(),
		Password: p.nodes[0].Password(), Dialer: p.dialer(),
	}
	for _, f := range change {
		f(options)
	}
	client := redis.NewFailoverClient(options)
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// Dismiss ends the Sentinel, so that nobody but the test says who is the master.
func (p *RedisPair) Dismiss() {
	p.t.Helper()
	p.sentinel.Kill()
}
