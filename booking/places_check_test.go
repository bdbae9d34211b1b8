package booking

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
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

// A call that panics is not under way any more.
func TestCircuitsAfterAPanic(t *testing.T) {
	s, err := New(Config{Inventory: inventory.NewMemory(), Orders: order.NewMemory()})
	require.NoError(t, err)
	require.NoError(t, s.PutOnSale(t.Context(), order.Item{SKU: "floor", Capacity: 1}))
	assert.Panics(t, func() {
		_ = s.askRedis(t.Context(), "floor", func(context.Context) error { panic("says the test") })
	})
	at := s.shelf.spot("floor")
	assert.Zero(t, at.circuit.waiting.Load())
	assert.Zero(t, at.on.Load().circuit.waiting.Load())
}

// A Postgres that turns connections away does not serve, whatever it says; one that says
// that somebody keeps a lock does.
func TestWhatIsAnAnswer(t *testing.T) {
	of := func(severity, code string) error {
		return fmt.Errorf("%w: %w", order.ErrUnavailable, &pgconn.PgError{SeverityUnlocalized: severity, Code: code})
	}
	for _, answer := range []error{of("ERROR", "55P03"), of("ERROR", "57014"), of("ERROR", "42501")} {
		assert.True(t, isAnswer(answer), answer)
	}
	for _, silence := range []error{
		of("FATAL", "57P03"), of("FATAL", "53300"), of("FATAL", "57P01"), of("", "08006"), of("ERROR", "08003"),
		order.ErrUnavailable, context.DeadlineExceeded,
	} {
		assert.False(t, isAnswer(silence), silence)
	}
	// As a pool tells it that finds nobody.
	pool, err := pgxpool.New(t.Context(), "postgres://nobody@127.0.0.1:1/nothing")
	require.NoError(t, err)
	defer pool.Close()
	_, err = order.NewPostgres(pool).Counters(t.Context(), "floor")
	require.Error(t, err)
	assert.False(t, isAnswer(err), err)
}
