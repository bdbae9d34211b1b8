package order

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func held(t *testing.T, store Store, hold time.Duration) Order {
	t.Helper()
	_, _, err := store.PutOnSale(t.Context(), Item{SKU: "floor", Capacity: 3})
	require.NoError(t, err)
	outcomes, _, err := store.Commit(t.Context(), []Commit{{
		Order: Order{ID: "1", Customer: "c-17", Lines: []Line{{"floor", 2}}}, Hold: hold,
	}})
	require.NoError(t, err)
	return outcomes[0].Order
}

// TestMemoryInABubble: with a clock that moves as the test wants, a hold ends at
// its very moment.
func TestMemoryInABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := NewMemory()
		o := held(t, store, time.Hour)
		act := func(action Action) (Order, error) {
			answers, _, err := store.Change(t.Context(), []Change{{ID: "1", Action: action, Hold: time.Minute}})
			require.NoError(t, err)
			return answers[0].Order, answers[0].Err
		}
		require.Equal(t, time.Now().Add(time.Hour).UTC(), o.ExpiresAt)
		time.Sleep(time.Hour - time.Microsecond)
		due, err := store.Due(t.Context(), time.Minute, 10)
		require.NoError(t, err)
		require.Empty(t, due)
		o, err = act(Expire)
		require.NoError(t, err)
		require.Equal(t, Held, o.Status)

		o, err = act(Extend) // the last moment
		require.NoError(t, err)
		require.Equal(t, time.Now().Add(time.Minute).UTC(), o.ExpiresAt)
		time.Sleep(time.Minute)
		for _, action := range []Action{Confirm, Extend} {
			_, err = act(action)
			require.ErrorIs(t, err, ErrHoldExpired, "at this very moment it is over")
		}
		for range 3 {
			due, err = store.Due(t.Context(), time.Minute, 10)
			require.NoError(t, err)
			require.Len(t, due, 1)
			time.Sleep(time.Minute - time.Microsecond)
			due, err = store.Due(t.Context(), time.Minute, 10)
			require.NoError(t, err)
			require.Empty(t, due)
			time.Sleep(time.Microsecond)
		}
		o, err = act(Expire)
		require.NoError(t, err)
		require.Equal(t, Expired, o.Status)
		require.Equal(t, time.Now().UTC(), o.ChangedAt)
	})
}

// TestMemoryRecount repairs books that were spoiled.
func TestMemoryRecount(t *testing.T) {
	t.Parallel()
	store := NewMemory()
	held(t, store, time.Hour)
	store.skus["floor"].Allocated = 3
	store.movements[0].Quantity = 17
	tally := func() Tally {
		tallies, err := store.Tally(context.Background(), "floor")
		require.NoError(t, err)
		return tallies[0]
	}
	before := tally()
	require.False(t, before.Balanced())
	c, err := store.Recount(t.Context(), "floor")
	require.NoError(t, err)
	require.EqualValues(t, 2, c.Allocated)
	require.Equal(t, before.Counters.Version+1, c.Version, "the supply changed")
	require.True(t, tally().Balanced())
	c, err = store.Recount(t.Context(), "floor")
	require.NoError(t, err)
	require.Equal(t, before.Counters.Version+1, c.Version)
}
