package faults_test

import (
	"bytes"
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/booking"
	"github.com/lastunit/lastunit/internal/servertest"
	"github.com/lastunit/lastunit/order"
)

// late is the number of a buyer beyond all of a rush.
const late = 1_000_000

// Row 1: go-redis, with its default settings, sends a script again when its reply was
// lost.
func lostReplies(t *testing.T, m *measured) {
	for name, times := range map[string]int{"once": 1, "three_times": 3} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := begin(t, setup{})
			_, err := s.ask(s.shops[0], request(floor, late), book) // Redis knows the scripts now
			require.NoError(t, err)
			before := s.stock()

			r := request(floor, late+1)
			s.redisProxy.DropReplyTo(times, mentions(r.ID))
			_, err = s.ask(s.shops[0], r, book)
			require.NoError(t, err)
			require.Equal(t, times, s.redisProxy.Dropped(), "replies of the deduct were lost")
			require.EqualValues(t, 2, s.stock().Taken, "one deduction for each order")
			s.redisProxy.Reset()

			s.rush(m, func() {
				s.redisProxy.DropReplyTo(times, isScript)
				eventually(t, func() error { return missing(2*times-s.redisProxy.Dropped(), "lost replies") })
			})
			after := s.stock()
			assert.Equal(t, before.Epoch, after.Epoch, "there was nothing to rebuild")
			assert.Equal(t, s.capacity, after.Taken, "one deduction for each order")
		})
	}
}

// Row 3: Redis stands still for a second. Callers leave earlier, and what they sent is
// carried out when it wakes up.
func appliedLater(t *testing.T, m *measured) {
	s := begin(t, setup{redis: servertest.StartRedis(t)})
	s.rushWith(m, rush{buy: impatient}, func() {
		s.redis.Pause()
		s.noticed()
		lasts(time.Second)
		s.redis.Resume()
	})
}

// impatient is a caller who soon asks again.
func impatient(ctx context.Context, shop *booking.Service, r booking.Request) (order.Order, error) {
	ctx, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
	defer cancel()
	return shop.Book(ctx, r)
}

// Row 7: an ID that was used for something else.
func sameIDOtherPayload(t *testing.T, _ *measured) {
	s := begin(t, setup{})
	r := request(floor, late)
	o, err := s.ask(s.shops[0], r, book)
	require.NoError(t, err)
	s.exact()
	before, stock := s.counters(), s.stock()

	other, more, elsewhere := r, r, r
	other.Customer = "somebody-else"
	more.Lines = []order.Line{{SKU: floor, Quantity: 2}}
	elsewhere.Lines = []order.Line{{SKU: probe, Quantity: 1}}
	for _, changed := range []booking.Request{other, more, elsewhere} {
		for _, shop := range s.shops {
			_, err := shop.Book(t.Context(), changed)
			require.ErrorIs(t, err, order.ErrIdempotencyConflict)
			require.NotErrorIs(t, err, order.ErrOutcomeUnknown)
			_, err = shop.Hold(t.Context(), changed, time.Minute)
			require.ErrorIs(t, err, order.ErrIdempotencyConflict)
			receipt, err := shop.Accept(t.Context(), changed)
			if err == nil { // Redis alone does not know the order
				_, err = receipt.Wait(t.Context())
			}
			require.ErrorIs(t, err, order.ErrIdempotencyConflict)
		}
	}
	s.exact()
	after := s.counters()
	assert.Equal(t, before.Allocated, after.Allocated, "nothing was sold by it")
	assert.Equal(t, stock.Taken, s.stock().Taken, "nothing was taken by it")
	for _, shop := range s.shops {
		again, err := s.ask(shop, r, book)
		require.NoError(t, err)
		assert.True(t, same(o, again), "%+v is the first answer, %+v the last", o, again)
	}
	s.sellTheRest()
	s.audit()
}

// Row 8: connections break around commits, before Postgres took them and after.
func cutAtCommit(t *testing.T, m *measured) {
	isCommit := func(request []byte) bool { return bytes.Contains(request, []byte(floor+"-")) }
	for name, fault := range map[string]func(*servertest.Proxy){
		"before": func(p *servertest.Proxy) { p.CutBefore(3, isCommit) },
		"after":  func(p *servertest.Proxy) { p.DropReplyTo(3, isCommit) },
		"both":   func(p *servertest.Proxy) { p.DropReplyTo(2, isCommit); p.CutBefore(2, isCommit) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := begin(t, setup{})
			fault(s.postgresProxy)
			o, err := s.ask(s.shops[0], request(floor, late), book) // alone, so that the cut is at its commit
			require.NoError(t, err)
			assert.Equal(t, order.Confirmed, o.Status)
			alone := s.postgresProxy.Dropped()
			assert.NotZero(t, alone, "it was cut")
			s.postgresProxy.Reset()
			s.rush(m, func() {
				fault(s.postgresProxy)
				eventually(t, func() error { return missing(alone+1-s.postgresProxy.Dropped(), "cuts") })
			})
		})
	}
}

// counters are what Postgres has of the SKU in demand.
func (s *sale) counters() order.Counters {
	s.t.Helper()
	counters, err := s.orders.Counters(context.Background(), floor)
	require.NoError(s.t, err)
	return counters[0]
}

// sellTheRest sends a rush without a fault.
func (s *sale) sellTheRest() {
	s.t.Helper()
	s.rushOf(0, int(s.capacity)+10)()
	s.exact()
}
