package booking

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

// located is an inventory on a server with a name.
type located struct {
	inventory.InventoryRepository
	server string
}

func (l *located) Locate(context.Context, string) string { return l.server }

// A server that every SKU has left, as after a failover, is forgotten: else its circuit
// would stay open for ever, and Run would go through all SKUs because of it.
func TestAServerThatNothingIsOnIsForgotten(t *testing.T) {
	redis := &located{inventory.NewMemory(), "old"}
	s, err := New(Config{Inventory: redis, Orders: order.NewMemory(), WhenRedisDown: SellDirect})
	require.NoError(t, err)
	ctx := context.Background()
	require.NoError(t, s.PutOnSale(ctx, order.Item{SKU: "floor", Capacity: 10}))
	book := func(id string) (err error) {
		_, err = s.Book(ctx, Request{ID: id, Customer: "c", Lines: []order.Line{{SKU: "floor", Quantity: 1}}})
		return err
	}
	require.NoError(t, book("1"))
	old := s.shelf.spot("floor").on.Load()
	require.Equal(t, "old", old.name)
	require.True(t, old.circuit.trip(time.Now(), errors.New("gone")))
	s.cutOff.Add(1)
	require.True(t, s.isCut("floor"))
	require.NoError(t, book("2"))
	assert.EqualValues(t, 1, s.cutOff.Load())

	redis.server = "new"
	require.Eventually(t, func() bool {
		_, err := s.askAgain(ctx)
		require.NoError(t, err)
		return s.cutOff.Load() == 0
	}, 10*time.Second, 10*time.Millisecond)
	assert.False(t, old.circuit.cut())
	assert.False(t, s.isCut("floor"))
	require.NoError(t, book("3"))
	stocks, err := redis.Stock(ctx, "floor")
	require.NoError(t, err)
	assert.EqualValues(t, 2, stocks[0].Seq, "the second one was sold past it")
	require.NoError(t, s.inHand.wait(ctx))
}
