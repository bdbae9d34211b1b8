package booking

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// circuit keeps callers from waiting for a server that does not answer. It opens once
// every call has failed for a while; or where none has returned for a longer one, and one
// more in the background does not either. While it is open the server is asked in the
// background only, now and then, as long as somebody wants to buy or Run does its work;
// it closes when that went well several times in a row. There is one for Postgres, one
// for each server that Redis is spread over, and one for Redis of each SKU: see askRedis.
type circuit struct {
	troubled  atomic.Bool  // it is open, or the last call failed
	waiting   atomic.Int64 // calls under way, of those that enter
	heard     atomic.Int64 // when the server answered last, or the first of the calls under way began; as sinceStart
	suspected atomic.Bool  // somebody finds out whether it hangs
	several   bool         // one party's failures don't open it: what fails may be its own

	mu      sync.Mutex
	since   time.Time // of the first failure since the last call that went well; zero if it went well
	by      [2]string // whose that failure was, and whose opened it
	open    bool
	next    time.Time     // when the server is asked next
	pause   time.Duration // before that, after it failed
	well    int           // how often in a row it went well
	opened  time.Time     // when it opened last
	told    time.Time     // when it was told last that it is open
	closed  time.Time     // when it closed last
	because error
}

const (
	openAfter  = 200 * time.Millisecond // one lost connection does not open it
	hangsAfter = 5 * time.Second        // a slow disk, a long script or too few processors don't open it
	firstPause = 50 * time.Millisecond
	maxPause   = time.Second
	tryTimeout = time.Second
	closeAfter = 3 // times that it went well in a row

	// tellEvery is how often it is told that it is still open.
	tellEvery = time.Minute

	// calmAfter is how long it has to stay closed until what was is forgotten: if it
	// opens sooner, it stays open for longer, so that it doesn't go on and off.
	calmAfter = 10 * time.Second
)

// fails takes note of somebody's call that failed, and says whether the circuit opened
// by it. Where nothing else was answered since that call began, all of its time counts.
func (c *circuit) fails(by string, began, at time.Time, because error) (opened bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open {
		return false
	}
	if c.since.IsZero() {
		c.since, c.by[0] = at, by
		if c.heard.Load() <= sinceStart(began) {
			c.since = began
		}
		c.troubled.Store(true)
	}
	if at.Sub(c.since) < openAfter || c.several && by == c.by[0] {
		return false
	}
	c.by[1] = by
	c.opens(at, because)
	return true
}

// blamed are those whose calls made it open.
func (c *circuit) blamed() [2]string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.by
}

// opens lets nobody ask any more. Its caller holds mu.
func (c *circuit) opens(at time.Time, because error) {
	c.pause = min(maxPause, 2*c.pause)
	if c.pause == 0 || at.Sub(c.closed) >= calmAfter {
		c.pause = firstPause
	}
	c.open, c.because, c.well, c.next = true, because, 0, at.Add(c.pause)
	c.opened, c.told = at, at
}

// trip opens it although none of its own calls has failed, and says whether it was
// closed until now.
func (c *circuit) trip(at time.Time, because error) (opened bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open {
		return false
	}
	c.troubled.Store(true)
	c.opens(at, because)
	return true
}

var errHangs = fmt.Errorf("no call has returned for %v", hangsAfter)

// started is what the circuits' times are counted from: wall clocks are set.
var started = time.Now()

func sinceStart(at time.Time) int64 { return int64(at.Sub(started)) }

// enter takes note of a call that begins. Its end is told by leave.
func (c *circuit) enter(at time.Time) {
	if c.waiting.Load() == 0 { // before it counts: who finds it waiting finds since when
		c.heard.Store(sinceStart(at))
	}
	c.waiting.Add(1)
}

// leave takes note of how a call ended that entered.
func (c *circuit) leave(answered bool) {
	if answered {
		c.hears()
	}
	c.waiting.Add(-1)
}

// hears takes note of an answer.
func (c *circuit) hears() { c.heard.Store(sinceStart(time.Now())) }

// silent says whether calls are under way, and none was answered for long.
func (c *circuit) silent(at time.Time) bool {
	return c.waiting.Load() > 0 && sinceStart(at)-c.heard.Load() >= int64(hangsAfter) && !c.cut()
}

// works takes note of a call that the server answered.
func (c *circuit) works() {
	if !c.troubled.Load() {
		return // as nearly always
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.open {
		c.since, c.by = time.Time{}, [2]string{}
		c.troubled.Store(false)
	}
}

// check says why the server is not to be asked, nil if it is, and whether it is time to
// ask it in the background. That is said once: who hears it calls tried.
func (c *circuit) check(at time.Time) (try bool, because error) {
	if !c.troubled.Load() {
		return false, nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.open {
		return false, nil
	}
	if try = !c.next.IsZero() && !at.Before(c.next); try {
		c.next = time.Time{}
	}
	return try, c.because
}

// cut says whether it is open.
func (c *circuit) cut() bool { return c.whyCut() != nil }

// whyCut says why it is open, nil if it is not.
func (c *circuit) whyCut() error {
	if !c.troubled.Load() {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.open {
		return nil
	}
	return c.because
}

// tried takes note of how it went in the background, and says whether the circuit
// closed by it.
func (c *circuit) tried(at time.Time, err error) (closed bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		c.because, c.well, c.pause = err, 0, min(maxPause, 2*c.pause)
		c.next = at.Add(c.pause)
		return false
	}
	c.heard.Store(sinceStart(at)) // whoever waits still
	c.next = at.Add(firstPause)
	if c.well++; c.well < closeAfter {
		return false
	}
	c.closes(at)
	return true
}

// closes lets everybody ask again. Its caller holds mu.
func (c *circuit) closes(at time.Time) {
	c.open, c.since, c.by, c.closed = false, time.Time{}, [2]string{}, at
	c.troubled.Store(false)
}

// forget closes it as nobody is going to ask that server again, and says whether it was
// open. One that is being tried is left alone.
func (c *circuit) forget(at time.Time) (closed bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.open || c.next.IsZero() {
		return false
	}
	c.closes(at)
	return true
}

// lasts is for how long it has been open, and whether it is time to tell that again.
func (c *circuit) lasts(at time.Time) (so time.Duration, tell bool) {
	if !c.troubled.Load() {
		return 0, false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.open || at.Sub(c.told) < tellEvery {
		return 0, false
	}
	c.told = at
	return at.Sub(c.opened), true
}

// suspect asks a server that has not answered for long once more, in the background, and
// opens its circuit if it does not answer that either. A call may hang alone, as at a lock
// that somebody keeps; and this process may have stood still.
func (s *Service) suspect(c *circuit, at time.Time, ask func(context.Context) error, opened func()) {
	if !c.silent(at) || !c.suspected.CompareAndSwap(false, true) {
		return
	}
	s.inHand.enter()
	go func() {
		defer s.inHand.leave()
		defer c.suspected.Store(false)
		if s.briefly(context.Background(), ask) == nil {
			c.hears()
		} else if c.trip(time.Now(), errHangs) {
			opened()
		}
	}()
}

// tryAgain asks a server in the background, for as long as that goes well, and says so
// if its circuit closes by that, and after how long.
func (s *Service) tryAgain(c *circuit, ask func(context.Context) error, closes func(after time.Duration)) {
	s.inHand.enter()
	go func() {
		defer s.inHand.leave()
		for mine := true; mine; mine, _ = c.check(time.Now()) {
			ctx, cancel := context.WithTimeout(context.Background(), min(s.config.Timeout, tryTimeout))
			err := ask(ctx)
			cancel()
			if c.tried(time.Now(), err) {
				closes(c.lasted())
				return
			}
			if err != nil {
				return
			}
			time.Sleep(firstPause)
		}
	}()
}

// lasted is for how long it was open, once it is closed.
func (c *circuit) lasted() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closed.Sub(c.opened)
}
