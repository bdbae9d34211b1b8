package booking_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/booking"
	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

// spread is an inventory on two servers, "a" and "b", by how SKUs begin. Those that are
// gone don't answer.
type spread struct {
	inventory.InventoryRepository
	mu   sync.Mutex
	gone map[string]bool
	asks int // of servers that are gone
}

func (s *spread) Locate(_ context.Context, sku string) string {
	server, _, _ := strings.Cut(sku, "-")
	return server
}

func (s *spread) lose(servers ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gone = make(map[string]bool)
	for _, server := range servers {
		s.gone[server] = true
	}
}

// asked is how often servers were asked that are gone, since the last look.
func (s *spread) asked() (asks int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	asks, s.asks = s.asks, 0
	return asks
}

func (s *spread) reach(sku string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.gone[s.Locate(context.Background(), sku)] {
		s.asks++
		return fmt.Errorf("%w: the test says so", inventory.ErrUnavailable)
	}
	return nil
}

func (s *spread) Deduct(ctx context.Context, r inventory.Request) (inventory.Deduction, error) {
	if err := s.reach(r.SKU); err != nil {
		return inventory.Deduction{}, err
	}
	return s.InventoryRepository.Deduct(ctx, r)
}

func (s *spread) Settle(ctx context.Context, supply inventory.Supply, deductions ...inventory.Deduction) error {
	if err := s.reach(supply.SKU); err != nil {
		return err
	}
	return s.InventoryRepository.Settle(ctx, supply, deductions...)
}

func (s *spread) Push(ctx context.Context, supply inventory.Supply) error {
	return s.Settle(ctx, supply)
}

const manySKUs = 100

// onTwoServers puts many SKUs on sale, half of them on each.
func onTwoServers(t *testing.T, s *stores) (shop *booking.Service, both *spread) {
	t.Helper()
	both = &spread{InventoryRepository: s.inventory}
	s.inventory = both
	shop = sellsDirect(t, *s)
	var items []order.Item
	for i := range manySKUs {
		items = append(items, order.Item{SKU: fmt.Sprint("a-", i), Capacity: 100}, order.Item{SKU: fmt.Sprint("b-", i), Capacity: 100})
	}
	require.NoError(t, shop.PutOnSale(t.Context(), items...))
	return shop, both
}

// Once a server has not answered about some SKUs, nobody waits for it because of another
// one. What is on the other server is deducted as ever. When it is back, each SKU has its
// supply before it is asked about.
func TestOneServerOfTwoIsGone(t *testing.T) {
	t.Parallel()
	inABubbleAndReal(t, func(t *testing.T, s stores) {
		shop, both := onTwoServers(t, &s)
		both.lose("a")
		n := 0
		buy := func(sku string) {
			t.Helper()
			n++
			_, err := shop.Book(t.Context(), request(sku, n))
			require.NoError(t, err)
		}
		eventually(t, func() error { // it takes openAfter
			buy("a-0")
			if asks := both.asked(); asks > 0 {
				return fmt.Errorf("it was asked %d times", asks)
			}
			return nil
		})
		both.asked()
		for i := range manySKUs {
			buy(fmt.Sprint("a-", i))
		}
		// In the background it is, with one of the SKUs.
		assert.Less(t, both.asked(), manySKUs/2)
		admitted := func(server string) (units int64) {
			for i := range manySKUs {
				c, err := s.orders.Counters(t.Context(), fmt.Sprint(server, "-", i))
				require.NoError(t, err)
				units += c[0].Admitted
			}
			return units
		}
		assert.EqualValues(t, 0, admitted("a"))
		eventually(t, func() error { // not at once if this machine stalls: then the answer is too late for some
			before := admitted("b")
			for i := range manySKUs {
				buy(fmt.Sprint("b-", i))
			}
			if deducted := admitted("b") - before; deducted != manySKUs {
				return fmt.Errorf("%d of %d orders were deducted", deducted, manySKUs)
			}
			return nil
		})

		both.lose()
		eventually(t, func() error {
			buy("a-0")
			if admitted("a") == 0 {
				return fmt.Errorf("nothing was deducted")
			}
			return nil
		})
		for i := range manySKUs {
			sku := fmt.Sprint("a-", i)
			eventually(t, func() error {
				_, err := shop.Book(t.Context(), request(sku, 10_000+i))
				require.NoError(t, err)
				stocks, err := s.inventory.Stock(t.Context(), sku)
				require.NoError(t, err)
				c, err := s.orders.Counters(t.Context(), sku)
				require.NoError(t, err)
				if c[0].Admitted == 0 {
					n++
					buy(sku)
					return fmt.Errorf("nothing was deducted of %s", sku)
				}
				assert.GreaterOrEqual(t, stocks[0].Version, int64(2), "it had heard of what was sold")
				return nil
			})
		}
		background(t, shop)
		exact(t, shop)
	})
}
