package robustness

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/internal/servertest"
	"github.com/lastunit/lastunit/order"
)

// reader reads the feed as an outbox is read, all through the faults: what it has read
// it is done with only once it keeps the cursor, and now and then it dies before that.
type reader struct {
	feed   feed
	random *rand.Rand

	kept   order.Cursor                // what is kept
	done   map[string][]order.Movement // with it, by SKU
	cursor order.Cursor
	read   []order.Movement // since the cursor was kept
	deaths int
}

// feed is that of an order.Store.
type feed func(ctx context.Context, after order.Cursor, limit int) ([]order.Movement, order.Cursor, error)

func newReader(feed feed, seed uint64) *reader {
	return &reader{feed: feed, random: rand.New(rand.NewPCG(seed, 3)), done: make(map[string][]order.Movement)} //nolint:gosec // not a secret
}

const maxAtOnce = 40 // movements that it asks for

// next reads on. It says whether there was anything.
func (f *reader) next() (bool, error) {
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	movements, next, err := f.feed(ctx, f.cursor, 1+f.random.IntN(maxAtOnce))
	if err != nil {
		return false, err
	}
	f.read, f.cursor = append(f.read, movements...), next
	switch f.random.IntN(10) {
	case 0:
		f.dies()
		return true, nil
	case 1, 2, 3:
		f.keep()
	}
	return len(movements) > 0, nil
}

func (f *reader) dies() {
	f.read, f.cursor = nil, f.kept
	f.deaths++
}

func (f *reader) keep() {
	for _, m := range f.read {
		f.done[m.SKU] = append(f.done[m.SKU], m)
	}
	f.read, f.kept = nil, f.cursor
}

// follow reads until the context ends.
func (f *reader) follow(ctx context.Context) {
	for ctx.Err() == nil {
		if more, err := f.next(); err == nil && more {
			continue
		}
		select {
		case <-ctx.Done():
		case <-time.After(maxPause): // as a reader does that found nothing
		}
	}
}

// drain reads what is left.
func (f *reader) drain() error {
	return servertest.Eventually(patience, func() error {
		for {
			if more, err := f.next(); err != nil || !more {
				f.keep()
				return err
			}
		}
	})
}

// missed says how what it read differs from the ledger: it has to be the same, SKU by
// SKU, each movement once and in its place.
func (f *reader) missed(ledger map[string][]order.Movement) (problems []problem) {
	for _, sku := range slices.Sorted(maps.Keys(ledger)) {
		same := slices.EqualFunc(f.done[sku], ledger[sku], func(a, b order.Movement) bool {
			return a.SKU == b.SKU && a.Number == b.Number && a.Kind == b.Kind && a.Quantity == b.Quantity &&
				a.OrderID == b.OrderID && a.Reference == b.Reference && a.At.Equal(b.At)
		})
		if !same {
			problems = append(problems, problem{wrongFeed, fmt.Sprintf("SKU %s: the feed had %+v, the ledger has %+v", sku, f.done[sku], ledger[sku])})
		}
	}
	return problems
}

// What a feed leaves out, or tells twice or in another order, is found.
func TestReader(t *testing.T) {
	t.Parallel()
	ledger := map[string][]order.Movement{}
	for _, sku := range []string{"a", "b"} {
		for n := range 50 {
			ledger[sku] = append(ledger[sku], order.Movement{SKU: sku, Number: int64(n + 1), Kind: order.MovedBooked, Quantity: 1, OrderID: fmt.Sprint(n)})
		}
	}
	right := func(_ context.Context, after order.Cursor, limit int) (movements []order.Movement, next order.Cursor, _ error) {
		next = after
		for partition, sku := range []string{"a", "b"} {
			for _, m := range ledger[sku][next.Positions[partition]:] {
				if len(movements) == limit {
					break
				}
				movements = append(movements, m)
				next.Positions[partition]++
			}
		}
		return movements, next, nil
	}
	for name, tt := range map[string]struct {
		spoil func(movements []order.Movement) []order.Movement
		want  int
	}{
		"right":    {func(movements []order.Movement) []order.Movement { return movements }, 0},
		"left out": {func(movements []order.Movement) []order.Movement { return movements[min(1, len(movements)):] }, 2},
		"twice": {func(movements []order.Movement) []order.Movement {
			return append(movements, movements...)
		}, 2},
		"another order": {func(movements []order.Movement) []order.Movement { slices.Reverse(movements); return movements }, 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newReader(func(ctx context.Context, after order.Cursor, limit int) ([]order.Movement, order.Cursor, error) {
				movements, next, err := right(ctx, after, limit)
				return tt.spoil(movements), next, err
			}, 1)
			require.NoError(t, f.drain())
			assert.Len(t, f.missed(ledger), tt.want)
		})
	}
}
