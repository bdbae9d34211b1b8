package gather_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/internal/gather"
)

var config = gather.Config{Batch: 10, Queue: 100, Timeout: time.Minute}

func double(_ context.Context, batch []int) ([]int, error) {
	out := make([]int, len(batch))
	for i, n := range batch {
		out[i] = 2 * n
	}
	return out, nil
}

func TestEachCallGetsItsOwnAnswer(t *testing.T) {
	g := gather.New(config, double)
	var wg sync.WaitGroup
	for i := range 90 {
		wg.Go(func() {
			out, err := g.Do(t.Context(), i)
			assert.NoError(t, err)
			assert.Equal(t, 2*i, out)
		})
	}
	wg.Wait()
	require.NoError(t, g.Wait(t.Context()))
}

// slow is a send that tells of each batch and waits to be let go.
type slow struct {
	batches chan []int
	goOn    chan error
}

func newSlow() *slow { return &slow{make(chan []int, 100), make(chan error)} }

func (s *slow) send(_ context.Context, batch []int) ([]int, error) {
	s.batches <- batch
	return batch, <-s.goOn
}

func TestCallsGatherWhileOneIsUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSlow()
		g := gather.New(config, s.send)
		for i := range 25 {
			go g.Do(t.Context(), i) //nolint:errcheck // the batches are what is looked at
			synctest.Wait()
		}
		assert.Equal(t, []int{0}, <-s.batches, "alone, a call goes at once")
		s.goOn <- nil
		assert.Equal(t, []int{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, <-s.batches, "in order, and at most Batch")
		s.goOn <- nil
		assert.Len(t, <-s.batches, 10)
		s.goOn <- nil
		assert.Equal(t, []int{21, 22, 23, 24}, <-s.batches)
		s.goOn <- nil
		require.NoError(t, g.Wait(t.Context()))
	})
}

func TestWaitAlsoForWhatFollows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSlow()
		g := gather.New(gather.Config{Batch: 1, Queue: 100, Timeout: time.Minute}, s.send)
		for i := range 3 {
			assert.True(t, g.Post(i))
		}
		waited := make(chan error, 1)
		go func() { waited <- g.Wait(t.Context()) }()
		for range 3 {
			synctest.Wait()
			assert.Empty(t, waited)
			s.goOn <- nil
		}
		synctest.Wait()
		require.Len(t, waited, 1)
		require.NoError(t, <-waited)
	})
}

func TestACallThatLeavesTheQueueLeavesNoTrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSlow()
		g := gather.New(config, s.send)
		first := make(chan error)
		ctx, leave := context.WithCancel(t.Context())
		go func() {
			_, err := g.Do(ctx, 0)
			first <- err
		}()
		synctest.Wait()
		second := make(chan error)
		go func() {
			_, err := g.Do(ctx, 1)
			second <- err
		}()
		synctest.Wait()
		leave()
		require.ErrorIs(t, <-first, gather.ErrLeft, "it was under way")
		err := <-second
		require.ErrorIs(t, err, gather.ErrNotSent, "it was queued")
		require.ErrorIs(t, err, context.Canceled)
		<-s.batches
		s.goOn <- nil
		require.NoError(t, g.Wait(t.Context()))
		assert.Empty(t, s.batches, "the second call was never sent")
	})
}

func TestTheQueueIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSlow()
		g := gather.New(gather.Config{Batch: 1, Queue: 2, Timeout: time.Minute}, s.send)
		assert.True(t, g.Post(0))
		synctest.Wait()
		<-s.batches // under way, no longer in the queue
		assert.True(t, g.Post(1))
		assert.True(t, g.Post(2))
		assert.False(t, g.Post(3))
		_, err := g.Do(t.Context(), 4)
		require.ErrorIs(t, err, gather.ErrNotSent)
		for range 3 {
			s.goOn <- nil
		}
		require.NoError(t, g.Wait(t.Context()))
	})
}

func TestAnErrorIsEverybodysAndPasses(t *testing.T) {
	broken := errors.New("broken")
	fail := true
	g := gather.New(config, func(_ context.Context, batch []int) ([]int, error) {
		if fail {
			return nil, broken
		}
		return batch, nil
	})
	_, err := g.Do(t.Context(), 1)
	require.ErrorIs(t, err, broken)
	require.NoError(t, g.Wait(t.Context()))
	fail = false
	_, err = g.Do(t.Context(), 1)
	require.NoError(t, err)
}

func TestABatchHasATimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := gather.New(config, func(ctx context.Context, _ []int) ([]int, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		})
		_, err := g.Do(t.Context(), 1)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.NoError(t, g.Wait(t.Context()))
	})
}

func TestBatchesGoAbreastOnceHalfOfOneWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSlow()
		own := config
		own.Abreast = 2
		g := gather.New(own, s.send)
		calls := 0
		more := func(n int) {
			for range n {
				go g.Do(t.Context(), calls) //nolint:errcheck // the batches are what is looked at
				calls++
				synctest.Wait()
			}
		}
		more(1)
		assert.Equal(t, []int{0}, <-s.batches, "alone, a call goes at once")
		more(4)
		assert.Empty(t, s.batches, "it's not worth it yet")
		more(1)
		assert.Equal(t, []int{1, 2, 3, 4, 5}, <-s.batches)
		more(12)
		assert.Empty(t, s.batches, "two are under way")
		s.goOn <- nil
		assert.Len(t, <-s.batches, 10, "in place of the one that arrived")
		s.goOn <- nil
		synctest.Wait()
		assert.Empty(t, s.batches, "two wait, while one is under way")
		s.goOn <- nil
		assert.Equal(t, []int{16, 17}, <-s.batches, "nothing is under way: they go")
		waited := make(chan error)
		go func() { waited <- g.Wait(t.Context()) }()
		synctest.Wait()
		assert.Empty(t, waited)
		s.goOn <- nil
		require.NoError(t, <-waited)
	})
}

// Calls are used again for others. Whoever leaves, each gets its own answer.
func TestCallersThatLeaveDoNotMixUpAnswers(t *testing.T) {
	g := gather.New(gather.Config{Batch: 8, Queue: 1000, Timeout: time.Minute, Abreast: 2},
		func(ctx context.Context, batch []int) ([]int, error) {
			time.Sleep(50 * time.Microsecond)
			return double(ctx, batch)
		})
	var wg sync.WaitGroup
	for caller := range 100 {
		wg.Go(func() {
			for i := range 50 {
				n := 1000*caller + i
				ctx, cancel := t.Context(), func() {}
				if n%3 == 0 {
					ctx, cancel = context.WithTimeout(ctx, time.Duration(n%7)*100*time.Microsecond)
				}
				out, err := g.Do(ctx, n)
				cancel()
				switch {
				case err == nil:
					assert.Equal(t, 2*n, out)
				case n%3 != 0 || !errors.Is(err, context.DeadlineExceeded):
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	require.NoError(t, g.Wait(t.Context()))
}
