package faults_test

import (
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/internal/servertest"
)

// through is a job whose process has proxies of its own.
func (s *sale) through(j job) (_ job, redisProxy, postgresProxy *servertest.Proxy) {
	redisProxy, postgresProxy = servertest.StartProxy(s.t, s.redis.Addr()), servertest.StartProxy(s.t, s.postgres.Addr())
	j.Redis, j.Postgres = redisProxy.URL(j.Redis), postgresProxy.URL(j.Postgres)
	return j, redisProxy, postgresProxy
}

// inHand is how many buyers the process that is to die has in hand.
const inHand = 10

// Row 9: a process dies with units in hand, before its commit was sent or as it is
// under way, to arrive after the process is gone.
func killedBeforeCommit(t *testing.T, m *measured) {
	for _, arrives := range []bool{false, true} {
		t.Run(map[bool]string{false: "commit_lost", true: "commit_late"}[arrives], func(t *testing.T) {
			t.Parallel()
			s := begin(t, setup{})
			j, _, postgresProxy := s.through(s.job(late, inHand, inHand))
			commit := hold(t, postgresProxy, mentions(floor+"-"))
			s.rush(m, func() {
				child := s.start(j)
				commit.await(1)
				child.Kill()
				if arrives {
					commit.release()
				} else {
					postgresProxy.CutAll()
				}
				s.collect(child)
				s.againFor(late, inHand)
			})
		})
	}
}

// againFor asks for buyers of a process that is gone, in others.
func (s *sale) againFor(first, buyers int) {
	for i := range buyers {
		_, _ = s.ask(s.shops[i%len(s.shops)], request(floor, first+i), book)
	}
}

// Row 9: a process dies when its orders are committed and acknowledged, and Redis has
// not heard of it.
func killedBeforeSettle(t *testing.T, m *measured) {
	s := begin(t, setup{idle: true}) // nobody sweeps before we have looked
	j, redisProxy, postgresProxy := s.through(s.job(late, 1, 1))
	var committing atomic.Bool
	id := request(floor, late).ID
	postgresProxy.CutBefore(1, func(r []byte) bool {
		if mentions(id)(r) {
			committing.Store(true)
		}
		return false
	})
	hold(t, redisProxy, func(r []byte) bool { return committing.Load() && isScript(r) })
	child := s.start(j)
	s.nextDefinite(child, saidBooked)
	stock := s.stock()
	child.Kill()
	require.Positive(t, stock.Unsettled, "Redis had not heard of it") // more than one if it had to ask again
	s.work()
	s.collect(child)
	s.rush(m, func() { s.againFor(late, 1) })
}

// nextDefinite waits until a process has told what became of an order, which on a slow
// machine it may have to ask for again.
func (s *sale) nextDefinite(child *servertest.Child, want string) {
	s.t.Helper()
	report, ok := s.next(child)
	for ok && (report.Said == saidUnknown || report.Said == saidAgain) {
		report, ok = s.next(child)
	}
	require.True(s.t, ok)
	require.Equal(s.t, want, report.Said)
}

// Row 10: a process stands still for longer than its deductions live, while a commit
// of it is under way.
func pausedInCommit(t *testing.T, m *measured) {
	s := begin(t, setup{})
	j, _, postgresProxy := s.through(s.job(late, 1, 1))
	commit := hold(t, postgresProxy, mentions(request(floor, late).ID))
	child := s.start(j)
	commit.await(1)
	require.Positive(t, s.stock().Seq, "it has deducted")
	child.Pause()
	s.swept()
	s.rushOf(0, int(s.capacity)+10)() // its unit is sold to others
	commit.release()
	child.Resume()
	s.nextDefinite(child, saidRefused) // it is told that its commit lost
	require.NoError(t, child.Terminate())
	s.recover(m, func() { s.collect(child) })
}
