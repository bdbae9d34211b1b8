package inventorytest

import (
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/inventory"
)

// What comes to counters with nothing available is kept for a moment.
var reopeningCases = []testCase{
	{"whatever brings units", func(s *shelf) {
		for name, comes := range map[string]func(){
			"push":   func() { s.push(s.units + 1) },
			"settle": func() { s.supply(s.units + 1); s.settle() },
			"load":   func() { s.epoch++; s.sold = 0; s.load(1) },
		} {
			if s.version == unsupplied {
				s.load(2)
			}
			for s.stock().Available() > 0 {
				s.settle(s.deduct(1))
			}
			asked := time.Now() // others were told that it is sold out
			comes()
			r := s.request(1)
			_, err := s.hasty.Deduct(s.ctx, r)
			for ; err != nil; _, err = s.hasty.Deduct(s.ctx, r) {
				var reopening *inventory.ReopeningError
				require.ErrorAs(s.t, err, &reopening, name)
				require.ErrorIs(s.t, err, inventory.ErrTryAgain)
				assert.Equal(s.t, s.sku, reopening.SKU)
				assert.Positive(s.t, reopening.Wait)
				assert.LessOrEqual(s.t, reopening.Wait, 51*time.Millisecond)
				time.Sleep(reopening.Wait) // as the repository says
			}
			assert.GreaterOrEqual(s.t, time.Since(asked), 50*time.Millisecond, name)
			s.settle(s.unsettled()...)
		}
	}},
	{"only where nothing was available", func(s *shelf) {
		s.load(2)
		s.settle(s.deduct(1))
		s.push(s.units + 1)
		_, err := s.hasty.Deduct(s.ctx, s.request(1))
		require.NoError(s.t, err)
		s.settle(s.unsettled()...)
		s.epoch++
		s.sold = 0
		s.load(5)
		_, err = s.hasty.Deduct(s.ctx, s.request(1))
		require.NoError(s.t, err, "a rebuild of what is not sold out keeps nothing")
		s.settle(s.unsettled()...)
	}},
}
