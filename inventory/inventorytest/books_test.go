package inventorytest

import (
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/inventory"
)

// witness takes note of errors instead of failing.
type witness struct {
	testing.TB
	errors int
}

func (w *witness) Errorf(string, ...any) { w.errors++ }

func (w *witness) Helper() {}

func TestBooksThatDoNotAgree(t *testing.T) {
	t.Parallel()
	good := inventory.Stock{SKU: "floor", Store: "s", Epoch: 3, Version: 1, Supply: 10, Taken: 5, Unsettled: 3, Seq: 4}
	one := inventory.Deduction{SKU: "floor", Store: "s", Epoch: 3, Seq: 2, Attempt: "a", Quantity: 1}
	two := inventory.Deduction{SKU: "floor", Store: "s", Epoch: 3, Seq: 4, Attempt: "b", Quantity: 2}
	errors := func(stock inventory.Stock, ds ...inventory.Deduction) int {
		w := &witness{TB: t}
		checkBooks(w, stock, ds)
		return w.errors
	}
	assert.Zero(t, errors(good, one, two))
	assert.Zero(t, errors(inventory.Stock{SKU: "floor", Why: inventory.WhyMissing}))
	assert.Positive(t, errors(inventory.Stock{SKU: "floor", Why: inventory.WhyMissing, Taken: 1}))
	assert.Positive(t, errors(good, one), "units are missing")
	for _, change := range []func(s *inventory.Stock, d *inventory.Deduction){
		func(s *inventory.Stock, _ *inventory.Deduction) { s.Taken = 2 },
		func(s *inventory.Stock, _ *inventory.Deduction) { s.Seq = 3 },
		func(_ *inventory.Stock, d *inventory.Deduction) { d.Seq = 2 },
		func(_ *inventory.Stock, d *inventory.Deduction) { d.Seq = 0 },
		func(_ *inventory.Stock, d *inventory.Deduction) { d.SKU = "balcony" },
		func(_ *inventory.Stock, d *inventory.Deduction) { d.Store = "another" },
		func(_ *inventory.Stock, d *inventory.Deduction) { d.Epoch = 2 },
		func(_ *inventory.Stock, d *inventory.Deduction) { d.Quantity = 3 },
	} {
		stock, d := good, two
		change(&stock, &d)
		assert.Positive(t, errors(stock, one, d))
	}
}

// What New returns remembers each SKU for the audit, which the bubble waits for.
func TestNewInABubble(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		repo := New(t)
		bad := inventory.Supply{SKU: "bad"}
		require.ErrorIs(t, repo.Load(t.Context(), bad), inventory.ErrInvalid)
		require.ErrorIs(t, repo.Load(t.Context(), inventory.Supply{}), inventory.ErrInvalid)
		floor := inventory.Supply{SKU: "floor", Store: "s", Epoch: 1, Version: 1, Units: 3}
		stage := inventory.Supply{SKU: "stage", Store: "s", Epoch: 1, Version: 1, Units: 3}
		require.NoError(t, repo.Load(t.Context(), floor, stage))
		_, err := repo.Deduct(t.Context(), inventory.Request{
			SKU: "floor", Store: "s", Attempt: "a", OrderID: "o", Customer: "c", Quantity: 2,
		})
		require.NoError(t, err)
		b, ok := repo.(*books)
		require.True(t, ok)
		assert.Equal(t, map[string]bool{"bad": true, "": true, "floor": true, "stage": true}, b.skus)
		b.audit(t)
	})
}
