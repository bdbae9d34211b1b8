package inventory_test

import (
	"bytes"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/internal/servertest"
	"github.com/lastunit/lastunit/inventory"
)

// mentions matches requests that have the text in them.
func mentions(text string) func([]byte) bool {
	return func(request []byte) bool { return bytes.Contains(request, []byte(text)) }
}

// throughProxy puts a proxy between the repository and Redis, with go-redis
// left at its default of three retries.
func throughProxy(t *testing.T, units int64) (*sale, *servertest.Proxy) {
	t.Helper()
	server := servertest.SharedRedis(t)
	s := onSale(t, server.Client(t), units)
	proxy := servertest.StartProxy(t, server.Addr())
	client := server.Client(t, func(o *redis.Options) { o.Addr = proxy.Addr() })
	s.repo = inventory.NewRedis(client, inventory.WithKeyPrefix(s.key[:len(s.key)-len(":{floor}:stock")]))
	require.Equal(t, s.key, s.repo.StockKey(s.sku))
	// Redis knows all scripts before the first fault, so that a lost reply is
	// that of a script and not that of "no such script".
	d := s.deduct("warm up")
	require.NoError(t, s.repo.Restore(background(t), d))
	require.NoError(t, s.repo.Settle(background(t), s.supply))
	return s, proxy
}

func TestLostReplyMakesOneDeduction(t *testing.T) {
	for _, test := range []struct {
		name string
		lost int
	}{{"once", 1}, {"three times", 3}} {
		t.Run(test.name, func(t *testing.T) {
			s, proxy := throughProxy(t, 10)
			r := s.request("the one")
			r.Quantity = 4
			proxy.DropReplyTo(test.lost, mentions("the one"))

			d, err := s.repo.Deduct(background(t), r)
			require.NoError(t, err)
			assert.Equal(t, test.lost, proxy.Dropped(), "replies were lost")
			assert.Equal(t, int64(4), d.Quantity)
			assert.Equal(t, r.OrderID, d.OrderID)

			stock := s.stock()
			assert.Equal(t, int64(4), stock.Taken)
			assert.Equal(t, int64(4), stock.Unsettled)
			assert.Equal(t, stock.Seq, d.Seq)
		})
	}
}

// The retry of the deduction that took the last unit must not be refused.
func TestLostReplyOfTheLastUnit(t *testing.T) {
	s, proxy := throughProxy(t, 1)
	proxy.DropReplyTo(3, mentions("the one"))
	d := s.deduct("the one")
	assert.Equal(t, 3, proxy.Dropped())
	assert.Equal(t, int64(1), s.stock().Taken)
	assert.Equal(t, s.stock().Seq, d.Seq)
}

// Nor may a retry be counted twice for the customer, or meet their own limit.
func TestLostReplyUnderALimit(t *testing.T) {
	s, proxy := throughProxy(t, 10)
	s.terms(inventory.Terms{CustomerLimit: 1})
	proxy.DropReplyTo(3, mentions("the one"))
	d := s.deduct("the one")
	assert.Equal(t, 3, proxy.Dropped())
	assert.Equal(t, "1", s.hash()["c:carol"])

	proxy.DropReplyTo(3, mentions(s.key))
	require.NoError(t, s.repo.Restore(background(t), d))
	assert.Equal(t, 6, proxy.Dropped())
	assert.NotContains(t, s.hash(), "c:carol")
	s.deduct("another")
}

func TestMoreLostRepliesThanRetries(t *testing.T) {
	s, proxy := throughProxy(t, 10)
	proxy.DropReplyTo(4, mentions("the one"))
	_, err := s.repo.Deduct(background(t), s.request("the one"))
	unavailable(t, err)
	assert.Equal(t, 4, proxy.Dropped())
	assert.Equal(t, int64(1), s.stock().Taken)

	seq := s.stock().Seq
	assert.Equal(t, seq, s.deduct("the one").Seq, "asked again, it is the same deduction")
	assert.Equal(t, int64(1), s.stock().Taken)
}

func TestLostReplyOfRestoreAndSettle(t *testing.T) {
	s, proxy := throughProxy(t, 10)
	a, b, c := s.deduct("a"), s.deduct("b"), s.deduct("c")

	proxy.DropReplyTo(3, mentions(s.key))
	require.NoError(t, s.repo.Restore(background(t), a))
	assert.Equal(t, 3, proxy.Dropped())
	assert.Equal(t, int64(2), s.stock().Taken)

	proxy.DropReplyTo(3, mentions(s.key))
	s.supply.Version, s.supply.Units, s.supply.Admitted = 2, 20, 1
	require.NoError(t, s.repo.Settle(background(t), s.supply, b))
	assert.Equal(t, 6, proxy.Dropped())
	stock := s.stock()
	assert.Equal(t, int64(2), stock.Taken)
	assert.Equal(t, c.Quantity, stock.Unsettled)
	assert.Equal(t, int64(20), stock.Supply)
}

// The second copy of a load must not wipe what was deducted after the first.
func TestLostReplyOfLoad(t *testing.T) {
	s, proxy := throughProxy(t, 10)
	s.supply.Epoch++
	proxy.DropReplyTo(3, mentions(s.key))
	require.NoError(t, s.repo.Load(background(t), s.supply))
	assert.Equal(t, 3, proxy.Dropped())
	d := s.deduct("a")
	require.NoError(t, s.repo.Load(background(t), s.supply))
	assert.Equal(t, d.Quantity, s.stock().Unsettled)
}
