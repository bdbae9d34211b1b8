package booking

import (
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/order"
)

// A flood is one warning a second for each SKU and message.
func TestWarnings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var text strings.Builder
		s, err := New(Config{Orders: order.NewMemory(), Logger: slog.New(slog.NewTextHandler(&text, nil))})
		require.NoError(t, err)
		for second := range 3 {
			for range 100 {
				for _, sku := range []string{"floor", "balcony"} {
					s.warn(t.Context(), sku, "broken", "why", "it is")
					s.warn(t.Context(), sku, "lost")
				}
			}
			assert.Equal(t, 4*(second+1), strings.Count(text.String(), "level=WARN"), text.String())
			time.Sleep(time.Second)
		}
		assert.Contains(t, text.String(), `msg=broken sku=balcony why="it is"`)
	})
}
