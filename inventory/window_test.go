package inventory_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/inventory/inventorytest"
)

// moments around a window from opens to closes, and what a deduct gets then.
func moments(opens, closes time.Time) []struct {
	now  time.Time
	want error
} {
	return []struct {
		now  time.Time
		want error
	}{
		{opens.Add(-time.Hour), inventory.ErrNotOpen},
		{opens.Add(-time.Millisecond), inventory.ErrNotOpen},
		{opens, nil},
		{opens.Add(time.Millisecond), nil},
		{closes.Add(-time.Millisecond), nil},
		{closes, inventory.ErrClosed},
		{closes.Add(time.Hour), inventory.ErrClosed},
	}
}

func TestWindowToTheMillisecondInRedis(t *testing.T) {
	server := miniredis.RunT(t)
	s := onSale(t, clientOf(t, server), 1000)
	opens := time.UnixMilli(time.Now().Add(time.Hour).UnixMilli())
	closes := opens.Add(time.Hour)
	s.terms(inventory.Terms{OpensAt: opens, ClosesAt: closes})
	for _, moment := range moments(opens, closes) {
		server.SetTime(moment.now)
		_, err := s.repo.Deduct(background(t), s.request("at "+moment.now.String()))
		require.ErrorIs(t, err, moment.want, "at %v", moment.now)
	}
}

// In a bubble an hour passes at once: New's repository goes by that clock.
func TestWindowToTheMillisecondInMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		repo := inventorytest.New(t)
		opens := time.Now().Add(2 * time.Hour)
		closes := opens.Add(time.Hour)
		require.NoError(t, repo.Load(t.Context(), inventory.Supply{
			SKU: "floor", Store: store, Epoch: 1, Version: 1, Units: 1000,
			// Fractions are rounded away from each other.
			Terms: inventory.Terms{OpensAt: opens.Add(999_999), ClosesAt: closes.Add(-999_999)},
		}))
		for _, moment := range moments(opens, closes) {
			time.Sleep(time.Until(moment.now))
			_, err := repo.Deduct(t.Context(), inventory.Request{
				SKU: "floor", Store: store, Attempt: "at " + moment.now.String(), OrderID: "o", Customer: "carol", Quantity: 1,
			})
			require.ErrorIs(t, err, moment.want, "at %v", moment.now)
		}
	})
}

// The ages of deductions go by the bubble's clock too.
func TestMemoryListsByAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		repo := inventory.NewMemory()
		require.NoError(t, repo.Load(t.Context(), inventory.Supply{SKU: "floor", Store: store, Epoch: 1, Version: 1, Units: 9}))
		time.Sleep(time.Microsecond) // not a whole millisecond
		d, err := repo.Deduct(t.Context(), inventory.Request{
			SKU: "floor", Store: store, Attempt: "a", OrderID: "o", Customer: "carol", Quantity: 1,
		})
		require.NoError(t, err)
		assert.Zero(t, d.At.Nanosecond()%int(time.Millisecond))
		list := func() int {
			ds, err := repo.Unsettled(t.Context(), store, "floor", time.Minute, 10)
			require.NoError(t, err)
			return len(ds)
		}
		time.Sleep(time.Minute - time.Millisecond)
		assert.Zero(t, list())
		time.Sleep(time.Millisecond)
		assert.Equal(t, 1, list())
		time.Sleep(time.Hour)
		assert.Equal(t, 1, list())
	})
}
