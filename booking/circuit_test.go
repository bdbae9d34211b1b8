package booking

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// breaks fails calls until the circuit opens, and returns the moment.
func (c *circuit) breaks(t *testing.T, at time.Time, because error) time.Time {
	t.Helper()
	for range 100 {
		if c.fails(at, at, because) {
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
		assert.False(t, c.fails(at.Add(time.Duration(i)*openAfter), at.Add(time.Duration(i)*openAfter), gone))
		c.works()
	}
	assert.False(t, c.fails(at, at, gone))
	for range 1000 { // one lost connection, and all who waited for it
		assert.False(t, c.fails(at.Add(openAfter-1), at.Add(openAfter-1), gone))
	}
	try, because := c.check(at.Add(openAfter - 1))
	assert.NoError(t, because)
	assert.False(t, try)
	assert.False(t, c.cut())

	assert.True(t, c.fails(at.Add(openAfter), at.Add(openAfter), gone))
	assert.True(t, c.cut())
	assert.False(t, c.fails(at.Add(openAfter), at.Add(2*openAfter), gone), "it is open")
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
func TestCircuitOfWhatHangs(t *testing.T) {
	at, silent := time.Now(), errors.New("silent")
	var c circuit
	assert.False(t, c.hangs(at.Add(time.Hour), silent), "nobody asks")
	c.enter(at)
	c.enter(at.Add(time.Second))
	assert.False(t, c.hangs(at.Add(hangsAfter-1), silent))
	assert.False(t, c.cut())
	assert.True(t, c.hangs(at.Add(hangsAfter), silent))
	assert.False(t, c.hangs(at.Add(hangsAfter), silent), "only once")
	_, because := c.check(at.Add(hangsAfter))
	assert.ErrorIs(t, because, silent)
	c.leave(true)
	at = c.mends(t, at.Add(hangsAfter))
	assert.False(t, c.hangs(time.Now(), silent), "one was answered since")
	c.leave(false)
	assert.False(t, c.hangs(at.Add(time.Hour), silent), "nobody asks")
	c.enter(at.Add(time.Hour))
	assert.False(t, c.hangs(at.Add(time.Hour), silent), "it begins only now")
}

// A call that failed slowly says as much as several that failed at once, unless another
// one was answered meanwhile.
func TestCircuitOfACallThatFailsSlowly(t *testing.T) {
	at, gone := time.Now(), errors.New("gone")
	var c circuit
	c.enter(at)
	c.enter(at)
	c.leave(true)
	assert.False(t, c.fails(at, at.Add(openAfter), gone), "the other one was answered")
	c.works()
	at = time.Now().Add(time.Second)
	assert.True(t, c.fails(at, at.Add(openAfter), gone))
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
