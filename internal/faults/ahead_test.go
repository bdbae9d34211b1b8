package faults_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/internal/servertest"
)

// Row 38: the counters in Redis are ahead of Postgres, in the middle of a sale: Postgres was
// restored, or a hand wrote there.
func countersAhead(t *testing.T, m *measured) {
	for name, value := range map[string]func(*sale) (field string, value int64){
		"epoch":      func(s *sale) (string, int64) { return "epoch", s.counters().Epoch + 1_000_000 },
		"last_epoch": func(*sale) (string, int64) { return "epoch", 1 << 52 },
		"version":    func(s *sale) (string, int64) { return "version", s.counters().Version + 1_000_000 },
		"seq":        func(*sale) (string, int64) { return "seq", 1 << 52 },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := begin(t, setup{redis: servertest.StartRedis(t)})
			before := s.counters()
			s.rush(m, func() {
				field, value := value(s)
				require.NoError(t, s.client.HSet(t.Context(), s.stockKey(floor), field, value).Err())
			})
			after := s.counters()
			assert.Greater(t, after.Epoch, before.Epoch, "the counters were rebuilt")
			assert.Less(t, after.Epoch, int64(1<<51), "and there is room for more epochs")
		})
	}
}
