package booking

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/internal/servertest"
	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

// A flood of thousands of SKUs is one line at once, and then one for all that came since.
func TestWarnings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var text servertest.Output
		s, err := New(Config{Orders: order.NewMemory(), Logger: slog.New(slog.NewTextHandler(&text, nil))})
		require.NoError(t, err)
		flood := func() {
			for i := range 10_000 {
				s.warn(t.Context(), fmt.Sprint("sku-", i), "broken", "why", "it is")
				s.warn(t.Context(), "floor", "lost")
			}
		}
		lines := func() int { return strings.Count(text.String(), "level=WARN") }
		flood()
		assert.Equal(t, 2, lines(), text.String())
		assert.Contains(t, text.String(), `msg=broken sku=sku-0 why="it is"`)
		time.Sleep(warnEvery + time.Millisecond)
		assert.Equal(t, 4, lines(), text.String())
		assert.Contains(t, text.String(), `msg=broken sku=sku-9999 why="it is" times=9999 skus=9999 in=5s`)
		assert.Contains(t, text.String(), "msg=lost sku=floor times=9999 skus=1 in=5s")
		flood()
		assert.Equal(t, 4, lines(), "it goes on, and is not logged at once again")
		time.Sleep(warnEvery)
		assert.Equal(t, 6, lines(), text.String())
		assert.Contains(t, text.String(), "times=10000 skus=10000")
		time.Sleep(3 * warnEvery)
		assert.Equal(t, 6, lines(), "it is over")
		s.warn(t.Context(), "floor", "lost")
		assert.Equal(t, 7, lines(), "and begins again at once")
		time.Sleep(2 * warnEvery)
		assert.Equal(t, 7, lines())
	})
}

// A first start, before anything is on sale, has nothing to tell.
func TestAFirstStartIsQuiet(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var text servertest.Output
		shop, err := New(Config{
			Inventory: inventory.NewMemory(), Orders: order.NewMemory(), Logger: slog.New(slog.NewTextHandler(&text, nil)),
		})
		require.NoError(t, err)
		go shop.Run(t.Context())
		time.Sleep(time.Minute)
		assert.Empty(t, text.String())
	})
}
