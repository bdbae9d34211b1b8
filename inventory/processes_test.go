package inventory_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/internal/servertest"
	"github.com/lastunit/lastunit/inventory"
)

// Several processes, each with a client of its own, while the connections of
// all are cut again and again: every unit is sold, once.
func TestProcessesWhoseConnectionsAreCut(t *testing.T) {
	const units, processes, callers, cuts = 1000, 4, 25, 20
	s, proxy := throughProxy(t, units)
	prefix := s.key[:len(s.key)-len(":{floor}:stock")]
	through := s.repo
	var mu sync.Mutex
	owners := make(map[int64]string) // by seq
	sold := 0

	ctx := background(t)
	var all sync.WaitGroup
	stop, due := make(chan struct{}), make(chan struct{}, cuts)
	all.Go(func() {
		for range cuts {
			select { // one cut for so many units sold
			case <-due:
			case <-stop:
				return
			}
			proxy.DropReplies(2)
			proxy.CutAll()
		}
	})
	var callersDone sync.WaitGroup
	for p := range processes {
		repo := through
		if p%2 == 1 { // half of them undisturbed
			repo = inventory.NewRedis(servertest.SharedRedis(t).Client(t), inventory.WithKeyPrefix(prefix))
		}
		for c := range callers {
			callersDone.Go(func() {
				for i := range units/processes/callers + 5 {
					r := s.request(fmt.Sprintf("%d-%d-%d", p, c, i))
					var d inventory.Deduction
					var err error
					// After a doubtful answer the same attempt asks again.
					for d, err = repo.Deduct(ctx, r); err != nil; d, err = repo.Deduct(ctx, r) {
						if !errors.Is(err, inventory.ErrUnavailable) || ctx.Err() != nil {
							assert.ErrorIs(t, err, inventory.ErrTryAgain)
							return
						}
					}
					mu.Lock()
					assert.Empty(t, owners[d.Seq], "seq %d twice", d.Seq)
					owners[d.Seq] = r.Attempt
					if sold++; sold <= units && sold%(units/cuts) == 0 {
						due <- struct{}{}
					}
					mu.Unlock()
				}
			})
		}
	}
	callersDone.Wait()
	close(stop)
	all.Wait()
	assert.Equal(t, units, sold)
	assert.Positive(t, proxy.Dropped())

	stock := s.stock()
	require.Equal(t, int64(units), stock.Taken)
	require.Equal(t, int64(units), stock.Unsettled)
	assert.Len(t, s.hash(), counters+units)
}
