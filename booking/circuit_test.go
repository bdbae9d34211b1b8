package booking

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/order"
)

// breaks fails calls until the circuit opens, and returns the moment.
func (c *circuit) breaks(t *testing.T, at time.Time, because error) time.Time {
	t.Helper()
	for range 100 {
		if c.fails("", at, at, because) {
			return at
		}
		at = at.Add(10 * time.Millisecond)
	}
	require.Fail(t, "it does not open")
	return at
}

// mends tries until the circuit closes, and returns the moment.
func (c *circuit) mends(t *testing.T, at time.Time) time.Time {
	t.Helper()
	for range 10_000 {
		if try, because := c.check(at); because != nil && try && c.tried(at, nil) {
			return at
		}
		at = at.Add(time.Millisecond)
	}
	require.Fail(t, "it does not close")
	return at
}

func TestCircuit(t *testing.T) {
	at, gone := time.Now(), errors.New("gone")
	var c circuit
	for i := range 1000 { // one call in two fails
		assert.False(t, c.fails("", at.Add(time.Duration(i)*openAfter), at.Add(time.Duration(i)*openAfter), gone))
		c.works()
	}
	assert.False(t, c.fails("", at, at, gone))
	for range 1000 { // one lost connection, and all who waited for it
		assert.False(t, c.fails("", at.Add(openAfter-1), at.Add(openAfter-1), gone))
	}
	try, because := c.check(at.Add(openAfter - 1))
	assert.NoError(t, because)
	assert.False(t, try)
	assert.False(t, c.cut())

	assert.True(t, c.fails("", at.Add(openAfter), at.Add(openAfter), gone))
	assert.True(t, c.cut())
	assert.False(t, c.fails("", at.Add(openAfter), at.Add(2*openAfter), gone), "it is open")
	c.works() // of one that was under way
	try, because = c.check(at.Add(openAfter))
	assert.ErrorIs(t, because, gone)
	assert.False(t, try, "not yet")

	at = at.Add(openAfter + firstPause)
	try, _ = c.check(at)
	assert.True(t, try)
	try, _ = c.check(at.Add(time.Hour))
	assert.False(t, try, "somebody tries")
	worse := errors.New("worse")
	assert.False(t, c.tried(at, worse))
	try, because = c.check(at.Add(firstPause))
	assert.ErrorIs(t, because, worse)
	assert.False(t, try, "after a longer while")

	at = at.Add(2 * firstPause)
	for i := range closeAfter {
		try, _ = c.check(at)
		require.True(t, try)
		assert.Equal(t, i == closeAfter-1, c.tried(at, nil))
		at = at.Add(2 * firstPause)
	}
	assert.False(t, c.cut())
	_, because = c.check(at)
	assert.NoError(t, because)
}

// A Redis that comes and goes is asked less and less; one that stayed is forgiven.
func TestCircuitDoesNotFlap(t *testing.T) {
	start, gone := time.Now(), errors.New("gone")
	var c circuit
	opened, at := 0, start
	for at.Sub(start) < 10*time.Minute {
		at = c.breaks(t, at, gone)
		opened++
		at = c.mends(t, at).Add(time.Millisecond)
	}
	assert.Equal(t, maxPause, c.pause)
	assert.Less(t, opened, 10*60, "not more often than every second")
	c.works()
	c.breaks(t, at.Add(calmAfter), gone)
	assert.Equal(t, firstPause, c.pause)
}

// A server that hangs fails nobody for long: what counts is that nobody is answered.
func TestCircuitOfWhatIsSilent(t *testing.T) {
	at := time.Now()
	var c circuit
	assert.False(t, c.silent(at.Add(time.Hour)), "nobody asks")
	c.enter(at)
	c.enter(at.Add(time.Second))
	assert.False(t, c.silent(at.Add(hangsAfter-1)))
	assert.True(t, c.silent(at.Add(hangsAfter)))
	c.leave(true)
	assert.False(t, c.silent(time.Now()), "one was answered since")
	c.leave(false)
	assert.False(t, c.silent(at.Add(time.Hour)), "nobody asks")
	c.enter(at.Add(time.Hour))
	assert.False(t, c.silent(at.Add(time.Hour)), "it begins only now")
	assert.True(t, c.silent(at.Add(2*time.Hour)))
	require.True(t, c.trip(at.Add(2*time.Hour), errHangs))
	assert.False(t, c.silent(at.Add(3*time.Hour)), "it is open")
	// It is tried, and answers, while that call still waits.
	at = c.mends(t, at.Add(2*time.Hour))
	assert.False(t, c.silent(at.Add(hangsAfter-1)))
	assert.True(t, c.silent(at.Add(hangsAfter)))
}

// Two callers come at the same moment, after nobody came for a while: neither has waited.
func TestCircuitOfThoseWhoComeTogether(t *testing.T) {
	at := started.Add(time.Hour)
	const rounds = 50_000
	var silent atomic.Int64
	var circuits [rounds]circuit
	var arrived atomic.Int64
	var both sync.WaitGroup
	for range 2 {
		both.Go(func() {
			for i := range circuits {
				c := &circuits[i]
				for arrived.Add(1); arrived.Load() < int64(2*(i+1)); {
					runtime.Gosched() // until both are there
				}
				if c.silent(at) {
					silent.Add(1)
				}
				c.enter(at)
			}
		})
	}
	both.Wait()
	assert.Zero(t, silent.Load())
}

// What a single SKU meets may be its own trouble: a server's circuit opens when two do.
func TestCircuitOfSeveral(t *testing.T) {
	at, gone := time.Now(), errors.New("gone")
	c := &newPlace("").circuit
	for i := range 100 {
		assert.False(t, c.fails("a", at, at.Add(time.Duration(i)*openAfter), gone))
	}
	c.works()
	assert.False(t, c.fails("b", at, at.Add(openAfter-1), gone))
	assert.False(t, c.fails("a", at, at.Add(openAfter-1), gone), "too soon")
	assert.True(t, c.fails("a", at, at.Add(openAfter), gone))
	assert.Equal(t, [2]string{"b", "a"}, c.blamed())
	c.mends(t, at.Add(openAfter))
	assert.Equal(t, [2]string{}, c.blamed())
}

// A server that is silent is asked once more before its circuit opens.
func TestSuspect(t *testing.T) {
	s, err := New(Config{Orders: order.NewMemory()})
	require.NoError(t, err)
	var c circuit
	at := time.Now()
	later := at.Add(hangsAfter)
	answer := make(chan error)
	asks, opened := 0, false
	suspect := func(at time.Time) {
		s.suspect(&c, at, func(context.Context) error { asks++; return <-answer }, func() { opened = true })
	}
	suspect(later)
	c.enter(at)
	suspect(at)
	require.NoError(t, s.inHand.wait(t.Context()))
	assert.Zero(t, asks, "nobody has waited for long")

	suspect(later)
	suspect(later)
	answer <- nil
	require.NoError(t, s.inHand.wait(t.Context()))
	assert.Equal(t, 1, asks)
	assert.False(t, c.cut(), "one call hangs alone")
	assert.False(t, c.silent(time.Now()))

	later = time.Now().Add(hangsAfter)
	suspect(later)
	answer <- errors.New("gone")
	require.NoError(t, s.inHand.wait(t.Context()))
	assert.Equal(t, 2, asks)
	assert.True(t, opened)
	assert.ErrorIs(t, c.whyCut(), errHangs)
}

// A call that failed slowly says as much as several that failed at once, unless another
// one was answered meanwhile.
func TestCircuitOfACallThatFailsSlowly(t *testing.T) {
	at, gone := time.Now(), errors.New("gone")
	var c circuit
	c.enter(at)
	c.enter(at)
	c.leave(true)
	assert.False(t, c.fails("", at, at.Add(openAfter), gone), "the other one was answered")
	c.works()
	at = time.Now().Add(time.Second)
	assert.True(t, c.fails("", at, at.Add(openAfter), gone))
}

// It is told once a minute that it is still open.
func TestCircuitThatStaysOpen(t *testing.T) {
	at, gone := time.Now(), errors.New("gone")
	var c circuit
	_, tell := c.lasts(at)
	assert.False(t, tell, "it is closed")
	require.True(t, c.trip(at, gone))
	assert.False(t, c.trip(at, gone), "it is open")
	_, tell = c.lasts(at.Add(tellEvery - 1))
	assert.False(t, tell, "it was told that it opened")
	for minutes := range 3 {
		at := at.Add(time.Duration(minutes+1) * tellEvery)
		lasts, tell := c.lasts(at)
		assert.True(t, tell)
		assert.Equal(t, time.Duration(minutes+1)*tellEvery, lasts)
		_, tell = c.lasts(at.Add(tellEvery - 1))
		assert.False(t, tell, "it was told")
	}
	c.mends(t, at.Add(5*time.Minute))
	assert.GreaterOrEqual(t, c.lasted(), 5*time.Minute)
	_, tell = c.lasts(at.Add(time.Hour))
	assert.False(t, tell, "it is closed")
}

// A server that nothing is on any more is forgotten, unless somebody is asking it.
func TestCircuitIsForgotten(t *testing.T) {
	at, gone := time.Now(), errors.New("gone")
	var c circuit
	assert.False(t, c.forget(at), "it is closed")
	require.True(t, c.trip(at, gone))
	try, _ := c.check(at.Add(time.Hour))
	require.True(t, try)
	assert.False(t, c.forget(at.Add(time.Hour)), "somebody tries")
	assert.False(t, c.tried(at.Add(time.Hour), gone))
	assert.True(t, c.forget(at.Add(time.Hour)))
	assert.False(t, c.cut())
}
