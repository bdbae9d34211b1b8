package faults_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/booking"
	"github.com/lastunit/lastunit/internal/servertest"
	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

// Row 39: somebody starts a second sale on the keys of the first one, or on its database.
// The first one goes on as if it were not there.
func mispaired(t *testing.T, m *measured) {
	for name, second := range map[string]func(*testing.T, *sale) booking.Config{
		"databases": func(t *testing.T, s *sale) booking.Config {
			pool := connect(t, s.postgres.Database(t), nil)
			require.NoError(t, order.Migrate(t.Context(), pool))
			return booking.Config{Inventory: s.inventory, Orders: order.NewPostgres(pool)}
		},
		"prefixes": func(_ *testing.T, s *sale) booking.Config {
			return booking.Config{Inventory: inventory.NewRedis(s.client, inventory.WithKeyPrefix(s.prefix+"-2")), Orders: s.orders}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := begin(t, setup{})
			s.awaitCanary()
			config := second(t, s)
			config.Logger = quiet
			hasten(&config)
			other, err := booking.New(config)
			require.NoError(t, err)
			before := s.counters()
			s.rush(m, func() {
				findings, err := other.Check(t.Context())
				require.NoError(t, err)
				require.ErrorContains(t, findings.Err(), "would keep rebuilding")
				background(t, other)
				eventually(t, func() error {
					// Of a SKU that is on sale in the first one at most.
					err := other.Rebuild(context.Background(), probe)
					if !errors.Is(err, inventory.ErrUnavailable) && !errors.Is(err, order.ErrUnknownSKU) {
						return fmt.Errorf("it is not told: %w", err)
					}
					return nil
				})
			})
			assert.Equal(t, before.Epoch, s.counters().Epoch, "nothing was rebuilt")
		})
	}
}

// awaitCanary waits until all SKUs were compared once.
func (s *sale) awaitCanary() {
	s.t.Helper()
	eventually(s.t, func() error {
		canaries, err := s.inventory.Canaries(context.Background(), "", 0)
		for _, c := range canaries {
			if err = errors.Join(err, c.Err); !c.Whole {
				err = errors.Join(err, errors.New("no canary yet"))
			}
		}
		return err
	})
}

// Row 41: Redis is wiped, and has many SKUs that nobody buys: they come back too.
func wipedWithIdleSKUs(t *testing.T, m *measured) {
	s := begin(t, setup{redis: servertest.StartRedis(t)})
	items := make([]order.Item, either(order.MaxItems, 1000))
	for i := range items {
		items[i] = order.Item{SKU: fmt.Sprint("idle-", i), Capacity: 1}
	}
	require.NoError(t, s.shops[0].PutOnSale(t.Context(), items...))
	s.awaitCanary()
	s.rush(m, func() { require.NoError(t, s.client.FlushAll(t.Context()).Err()) })
	eventually(t, func() error {
		n, err := s.client.Exists(context.Background(), s.stockKey(items[len(items)/2].SKU)).Result()
		if err == nil && n == 0 {
			err = errors.New("an idle SKU is not there")
		}
		return err
	})
}
