package booking

import (
	"context"
	"time"
)

// What the database rejects costs those beside it time: a batch is divided, and each part
// is a transaction of its own, or one that waits with the SKUs locked. So the lane of what
// is suspected of it rests after such a batch, for a multiple of what that took, up to a
// bound. It is the turn of others meanwhile, and in the lane more gather.
const (
	restTimes = 9
	maxRest   = 300 * time.Millisecond
)

// resting makes the send function of a gather rest before the next batch. The gather has
// one batch under way at a time.
func resting[In, Out any](send func(context.Context, []In) ([]Out, error), costly func([]Out, error) bool) func(context.Context, []In) ([]Out, error) {
	var until time.Time
	return func(ctx context.Context, batch []In) ([]Out, error) {
		if rest := time.Until(until); rest > 0 {
			pause(ctx, rest) // whether the context ends or not: the store says then that nothing was done
		}
		began := time.Now()
		out, err := send(ctx, batch)
		if costly(out, err) {
			now := time.Now()
			until = now.Add(min(restTimes*now.Sub(began), maxRest))
		}
		return out, err
	}
}
