package booking

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// After a batch that cost others time the lane rests, and after any other it does not.
func TestResting(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		send := resting(func(_ context.Context, batch []time.Duration) ([]struct{}, error) {
			time.Sleep(batch[0])
			if len(batch) > 1 {
				return nil, errors.New("costly")
			}
			return nil, nil
		}, func(_ []struct{}, err error) bool { return err != nil })
		takes := func(batch ...time.Duration) time.Duration {
			began := time.Now()
			_, _ = send(t.Context(), batch)
			return time.Since(began)
		}
		const quick, slow = 2 * time.Millisecond, time.Second
		require.Equal(t, quick, takes(quick))
		require.Equal(t, quick, takes(quick, 0))
		require.Equal(t, restTimes*quick+quick, takes(quick))
		require.Equal(t, slow, takes(slow, 0), "rested once")
		require.Equal(t, maxRest+quick, takes(quick))

		takes(slow, 0)
		ctx, cancel := context.WithTimeout(t.Context(), quick)
		defer cancel()
		began := time.Now()
		_, _ = send(ctx, []time.Duration{0})
		require.Equal(t, quick, time.Since(began), "no longer than the batch's time")
	})
}
