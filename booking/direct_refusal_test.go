package booking_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/booking"
	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

// The tests of this file are about refusals with SellDirect: nobody may be told "sold out"
// whose order comes about later.

// slow is a Store that keeps commits with deductions waiting.
type slow struct {
	order.Store
	is atomic.Bool
	on chan struct{}
}

func (s *slow) Commit(ctx context.Context, commits []order.Commit) ([]order.Outcome, []order.Counters, error) {
	if s.is.Load() && commits[0].Deductions != nil {
		<-s.on
	}
	return s.Store.Commit(ctx, commits)
}

// This process has accepted the order, and it is on its way to Postgres. Redis dies. The
// same request to Book is not refused: it waits for that order.
func TestOrderOnItsWayAsRedisDies(t *testing.T) {
	t.Parallel()
	inABubble(t, orderOnItsWayAsRedisDies)
}

func orderOnItsWayAsRedisDies(t *testing.T, s stores) {
	both := &spread{InventoryRepository: s.inventory}
	orders := &slow{Store: s.orders, on: make(chan struct{})}
	s.inventory, s.orders = both, orders
	shop := sellsDirect(t, s)
	require.NoError(t, shop.PutOnSale(t.Context(), order.Item{SKU: "a", Capacity: 2}))
	_, err := shop.Book(t.Context(), request("a", 0))
	require.NoError(t, err)
	orders.is.Store(true)
	receipt, err := shop.Accept(t.Context(), request("a", 1))
	require.NoError(t, err)
	both.lose("a")
	_, err = shop.Book(t.Context(), request("a", 2))
	require.NoError(t, err, "Postgres sells it")
	for range 3 { // and knows that it is sold out, from the first refusal on
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		_, err = shop.Book(ctx, request("a", 1))
		cancel()
		require.ErrorIs(t, err, context.DeadlineExceeded, "it is in hand")
		require.NotErrorIs(t, err, inventory.ErrSoldOut)
		_, err = shop.Book(t.Context(), request("a", 3))
		require.ErrorIs(t, err, inventory.ErrSoldOut)
	}
	close(orders.on)
	_, err = receipt.Wait(t.Context())
	require.ErrorIs(t, err, order.ErrRefused)
}

// unlisted is an inventory that does not answer, for a while, what is unsettled of a SKU.
type unlisted struct {
	inventory.InventoryRepository
	sku   string
	lost  atomic.Int64  // so many answers are
	asked chan struct{} // if there is one, it hangs instead until the caller leaves, and says so here
}

func (u *unlisted) Unsettled(ctx context.Context, store, sku string, age time.Duration, limit int) ([]inventory.Deduction, error) {
	switch {
	case sku != u.sku || age > 0:
	case u.asked != nil:
		select {
		case u.asked <- struct{}{}:
		default:
		}
		<-ctx.Done()
		return nil, fmt.Errorf("%w: %w", inventory.ErrUnavailable, ctx.Err())
	case u.lost.Add(-1) >= 0:
		return nil, fmt.Errorf("%w: the answer is lost, says the test", inventory.ErrUnavailable)
	}
	return u.InventoryRepository.Unsettled(ctx, store, sku, age, limit)
}

// Another process's commit of the order is still under way. This one may not refuse it as
// long as Redis, which works, has not told it so.
func TestRefusedOnlyOnceRivalsAreKnown(t *testing.T) {
	t.Parallel()
	inABubble(t, refusedOnlyOnceRivalsAreKnown)
}

func refusedOnlyOnceRivalsAreKnown(t *testing.T, s stores) {
	inRedis := &unlisted{InventoryRepository: s.inventory, sku: "floor"}
	late := &lateCommit{Store: s.orders}
	first := open(t, stores{inventory: s.inventory, orders: late})
	second := sellsDirect(t, stores{inventory: inRedis, orders: s.orders})
	require.NoError(t, first.PutOnSale(t.Context(), order.Item{SKU: "floor", Capacity: 1}))
	leaving, leave := context.WithCancel(t.Context())
	late.meanwhile = leave
	late.armed.Store(true)
	_, err := first.Book(leaving, request("floor", 1))
	require.ErrorIs(t, err, order.ErrOutcomeUnknown)
	require.NoError(t, second.SetCapacity(t.Context(), anAdjustment("floor", 0)))

	inRedis.lost.Store(1)
	_, err = second.Book(t.Context(), request("floor", 1))
	require.ErrorIs(t, err, order.ErrOutcomeUnknown, "the other one's commit may still come through")
	_, err = second.Book(t.Context(), request("floor", 1))
	require.ErrorIs(t, err, inventory.ErrSoldOut, "it is fenced")

	require.NoError(t, second.SetCapacity(t.Context(), anAdjustment("floor", 2)))
	_, err = second.Book(t.Context(), request("floor", 2))
	require.NoError(t, err, "the units may be sold again")
	require.NoError(t, late.land())
	_, err = second.Order(t.Context(), request("floor", 1).ID)
	require.ErrorIs(t, err, order.ErrNotFound, "it was refused")
}

// A refusal needs to know what is unsettled of its SKU, and does not wait for that of
// another one whose node does not answer.
func TestRefusedBesideANodeThatHangs(t *testing.T) {
	t.Parallel()
	for name, mode := range map[string]booking.RedisDown{"refuse": booking.Refuse, "sell direct": booking.SellDirect} {
		t.Run(name, func(t *testing.T) {
			inABubble(t, func(t *testing.T, s stores) {
				inRedis := &unlisted{InventoryRepository: s.inventory, sku: "sick", asked: make(chan struct{}, 1)}
				shop, err := booking.New(booking.Config{Inventory: inRedis, Orders: s.orders, Logger: quiet, WhenRedisDown: mode})
				require.NoError(t, err)
				buy := func(ctx context.Context, sku, id string) error {
					_, err := shop.Book(ctx, booking.Request{ID: id, Customer: "carol", Lines: lines(sku, 1)})
					return err
				}
				for _, sku := range []string{"sick", "fine"} {
					require.NoError(t, shop.PutOnSale(t.Context(), order.Item{SKU: sku, Capacity: 100, CustomerLimit: 1}))
					require.NoError(t, buy(t.Context(), sku, sku))
				}
				leaving, leave := context.WithCancel(context.Background())
				defer leave()
				done := make(chan struct{})
				go func() {
					defer close(done)
					_ = buy(leaving, "sick", "sick again")
				}()
				<-inRedis.asked
				// The other one waits for 5 seconds.
				ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
				defer cancel()
				assert.ErrorIs(t, buy(ctx, "fine", "fine again"), inventory.ErrLimitExceeded)
				leave()
				<-done
			})
		})
	}
}
