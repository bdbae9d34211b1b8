package booking_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/booking"
	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

// reader reads a feed as an outbox's reader does: it keeps its cursor as JSON,
// and begins with an old one now and then, as after a crash.
type reader struct {
	shop  *booking.Service
	seen  map[string][]order.Movement
	kept  [][]byte // cursors, the current one last
	again int      // movements that came once more
	fresh int
}

// read reads a page, and says whether there was anything new in it.
func (r *reader) read(t *testing.T, random *rand.Rand) (news bool) {
	t.Helper()
	from := len(r.kept) - 1
	if random.IntN(5) == 0 {
		from = max(0, from-1-random.IntN(3))
	}
	var cursor order.Cursor
	require.NoError(t, json.Unmarshal(r.kept[from], &cursor))
	page, next, err := r.shop.Feed(t.Context(), cursor, 1+random.IntN(12))
	require.NoError(t, err)
	for _, m := range page {
		seen := r.seen[m.SKU]
		require.Positive(t, m.Number)
		if m.Number <= int64(len(seen)) {
			require.Equal(t, seen[m.Number-1], m, "what comes again is the same")
			r.again++
			continue
		}
		require.Equal(t, int64(len(seen))+1, m.Number, "the movements of %s come in their order, without a gap", m.SKU)
		r.seen[m.SKU] = append(seen, m)
		r.fresh++
		news = true
	}
	kept, err := json.Marshal(next)
	require.NoError(t, err)
	if from == len(r.kept)-1 {
		require.Equal(t, len(page) > 0, string(kept) != string(r.kept[from]), "the cursor moves with what was read")
	}
	// Beginning with an old one, the reader is back where it was.
	r.kept = append(r.kept[:from+1], kept)
	return news || len(page) > 0
}

// A reader beside eight writers gets every movement, in order, also while
// somebody keeps a transaction open on the same database.
func TestFeedBesideWriters(t *testing.T) {
	t.Parallel()
	all, database := several(t, 3)
	s, pool := all[0], connect(t, database)
	shops := []*booking.Service{eager(t, all[0]), eager(t, all[1])}
	skus := []string{"a", "b", "c", "pool"}
	require.NoError(t, shops[0].PutOnSale(t.Context(),
		order.Item{SKU: "a", Capacity: 60, Draws: lines("pool", 1)}, order.Item{SKU: "b", Capacity: 1000, Draws: lines("pool", 2)},
		order.Item{SKU: "c", Capacity: 1000}, order.Item{SKU: "pool", Capacity: 200}))
	for _, shop := range shops {
		background(t, shop)
	}
	_, err := shops[0].Hold(t.Context(), booking.Request{ID: "mine", Customer: "c", Lines: lines("c", 1)}, time.Hour)
	require.NoError(t, err)
	tx, err := pool.BeginTx(t.Context(), pgx.TxOptions{IsoLevel: pgx.RepeatableRead})
	require.NoError(t, err)
	t.Cleanup(func() { _ = tx.Rollback(context.Background()) }) // if the test ended early
	_, err = shops[0].ConfirmTx(t.Context(), tx, "mine")
	require.NoError(t, err)

	var writers sync.WaitGroup
	for w := range 8 {
		writers.Go(func() {
			ctx, shop := context.Background(), shops[w%2]
			random := rand.New(rand.NewPCG(1, uint64(w))) //nolint:gosec // a test's
			refused := func(err error) bool {
				if err == nil {
					return false
				}
				if !errors.Is(err, inventory.ErrSoldOut) && !errors.Is(err, order.ErrHoldExpired) && !errors.Is(err, order.ErrCancelled) {
					assert.NoError(t, err)
				}
				return true
			}
			for i := range 40 {
				r := booking.Request{ID: fmt.Sprint("w", w, "-", i), Customer: fmt.Sprint(w), Lines: lines(skus[random.IntN(3)], 1+random.Int64N(2))}
				if random.IntN(3) == 0 {
					r.Lines = append(r.Lines, order.Line{SKU: skus[random.IntN(4)], Quantity: 1})
				}
				if i%10 == 9 {
					err := shop.Restock(ctx, order.Adjustment{ID: r.ID, SKU: r.Lines[0].SKU, Units: 3, Reason: "delivery"})
					assert.NoError(t, err)
					continue
				}
				if random.IntN(2) == 0 {
					_, err := book(shop, r)
					if !refused(err) && random.IntN(2) == 0 {
						_, err = shop.Cancel(ctx, r.ID)
						assert.NoError(t, err)
					}
					continue
				}
				ttl := time.Hour
				if random.IntN(2) == 0 {
					ttl = 5 * time.Millisecond
				}
				var err error
				for again := true; again; again = errors.Is(err, inventory.ErrTryAgain) {
					_, err = shop.Hold(ctx, r, ttl)
				}
				if refused(err) {
					continue
				}
				switch random.IntN(4) {
				case 0:
					_, err = shop.Cancel(ctx, r.ID)
				case 1:
					_, err = shop.Reclaim(ctx, r.ID)
				case 2:
					_, err = shop.Confirm(ctx, r.ID)
				}
				refused(err)
			}
		})
	}
	written := make(chan struct{})
	go func() { writers.Wait(); close(written) }()

	random := rand.New(rand.NewPCG(2, 2)) //nolint:gosec // a test's
	feed := &reader{shop: open(t, all[2]), seen: make(map[string][]order.Movement), kept: [][]byte{[]byte("null")}}
	same := func() error { // as the movements of each SKU
		for _, sku := range skus {
			movements, err := s.orders.Movements(context.Background(), sku, 0, order.MaxMovements)
			require.NoError(t, err)
			if len(movements) != len(feed.seen[sku]) {
				return fmt.Errorf("%d of %d movements of %s were read", len(feed.seen[sku]), len(movements), sku)
			}
			if len(movements) > 0 {
				require.Equal(t, movements, feed.seen[sku])
			}
		}
		return nil
	}
	beside := 0 // what was read while they wrote
	for writing := true; writing; {
		select {
		case <-written:
			writing = false
		default:
			feed.read(t, random)
			beside = feed.fresh
		}
	}
	haveEnded(t, s, "c")
	eventually(t, func() error {
		for news := true; news; {
			news = feed.read(t, random)
		}
		return same()
	})
	t.Logf("%d movements, %d of them while they were written, and %d once more", feed.fresh, beside, feed.again)
	assert.Positive(t, beside)
	assert.Positive(t, feed.again)
	assert.NotContains(t, ledger(t, s, "c")["mine"], order.MovedConfirmed, "it is not committed")

	require.NoError(t, tx.Commit(t.Context()))
	eventually(t, func() error {
		feed.read(t, random)
		if last := feed.seen["c"][len(feed.seen["c"])-1]; last.OrderID != "mine" || last.Kind != order.MovedConfirmed {
			return fmt.Errorf("the last one is %+v", last)
		}
		return nil
	})
	require.NoError(t, same())
	of := make(map[order.MovementKind]int)
	for _, sku := range skus {
		ledger(t, s, sku)
		for _, m := range feed.seen[sku] {
			of[m.Kind]++
		}
	}
	t.Log(of)
	for _, kind := range kinds(order.MovedOnSale, order.MovedRestock, order.MovedHeld, order.MovedBooked, order.MovedConfirmed, order.MovedCancelled, order.MovedExpired) {
		assert.Positive(t, of[kind], kind)
	}
	books(t, shops[0], s, skus...)
}
