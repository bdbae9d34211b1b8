package booking_test

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/booking"
	"github.com/lastunit/lastunit/internal/servertest"
	"github.com/lastunit/lastunit/order"
)

const notCalled = "no process calls Service.Run"

func TestARunThatNobodyCalls(t *testing.T) {
	t.Parallel()
	inABubble(t, func(t *testing.T, s stores) {
		var log servertest.Output
		shop := open(t, s, func(c *booking.Config) {
			c.Logger = slog.New(slog.NewTextHandler(&log, nil))
			c.CheckEvery = time.Second
		})
		require.NoError(t, shop.PutOnSale(t.Context(), order.Item{SKU: "floor", Capacity: 100}))
		hold := func(id string) {
			t.Helper()
			_, err := shop.Hold(t.Context(), booking.Request{ID: id, Customer: "c", Lines: []order.Line{{SKU: "floor", Quantity: 1}}}, time.Second)
			require.NoError(t, err)
			synctest.Wait()
		}
		logged := func() int { return strings.Count(log.String(), notCalled) }
		findings := func() string {
			t.Helper()
			found, err := shop.Check(t.Context())
			require.NoError(t, err)
			var text strings.Builder
			for _, f := range found {
				text.WriteString(f.String())
			}
			return text.String()
		}

		assert.NotContains(t, findings(), "Service.Run", "it has made nothing yet")
		hold("a")
		time.Sleep(5 * time.Second)
		hold("b")
		assert.Zero(t, logged(), "it may be about to be called")
		assert.Contains(t, findings(), "Service.Run is not called")
		time.Sleep(time.Minute)
		hold("c")
		hold("d")
		assert.Equal(t, 1, logged(), log.String())
		assert.Contains(t, findings(), "holds that are overdue")
		time.Sleep(time.Minute)
		hold("e")
		assert.Equal(t, 2, logged(), "once a minute")

		// In whatever process it is called.
		another := open(t, s, func(c *booking.Config) { c.CheckEvery = time.Second })
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- another.Run(ctx) }()
		defer func() {
			cancel()
			require.NoError(t, <-ended)
		}()
		time.Sleep(2 * time.Minute)
		hold("f")
		assert.Equal(t, 2, logged(), log.String())
		assert.NotContains(t, findings(), "overdue")
		assert.NotContains(t, findings(), "Service.Run")
	})
}

func TestAnAcceptWithoutARun(t *testing.T) {
	t.Parallel()
	inABubble(t, func(t *testing.T, s stores) {
		var log servertest.Output
		shop := open(t, s, func(c *booking.Config) { c.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
		require.NoError(t, shop.PutOnSale(t.Context(), order.Item{SKU: "floor", Capacity: 100}))
		for range 2 {
			_, err := shop.Accept(t.Context(), booking.Request{Customer: "c", Lines: []order.Line{{SKU: "floor", Quantity: 1}}})
			require.NoError(t, err)
			time.Sleep(time.Minute)
		}
		assert.Equal(t, 1, strings.Count(log.String(), notCalled), log.String())
	})
}
