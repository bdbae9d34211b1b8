package faults_test

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/inventory"
)

// An audit that can't fail proves nothing: books that are tampered with after a sale
// are not passed, each for the right reason.
func TestAuditCatches(t *testing.T) {
	for name, test := range map[string]struct {
		tamper func(ctx context.Context, s *sale) error
		finds  string
	}{
		"a_lost_order": {
			func(ctx context.Context, s *sale) error {
				_, err := s.pool.Exec(ctx, "delete from lastunit.orders where id = $1", request(floor, 1).ID)
				return err
			}, "is not there",
		},
		"another_order_than_was_told": {
			func(ctx context.Context, s *sale) error {
				_, err := s.pool.Exec(ctx, "update lastunit.orders set customer = 'somebody-else' where id = $1", request(floor, 1).ID)
				return err
			}, "was acknowledged as",
		},
		"an_order_that_nobody_knows": {
			func(ctx context.Context, s *sale) error {
				_, err := s.shops[0].Book(ctx, request(floor, late))
				return err
			}, "nobody was told",
		},
		"an_order_of_somebody_refused": {
			func(ctx context.Context, s *sale) error {
				s.told.refuse(request(floor, late).ID)
				_, err := s.shops[0].Book(ctx, request(floor, late))
				return err
			}, "was refused and is confirmed",
		},
		"one_click_booked_and_one_refused": {
			func(_ context.Context, s *sale) error {
				s.told.refuse(request(floor, 1).ID)
				return nil
			}, "was refused then",
		},
		"two_answers": {
			func(_ context.Context, s *sale) error {
				o := s.told.booked[request(floor, 1).ID]
				o.CreatedAt = o.CreatedAt.Add(1)
				s.told.acknowledge(o)
				return nil
			}, "and is",
		},
		"a_deduction_left_over": {
			func(ctx context.Context, s *sale) error {
				_, err := s.inventory.Deduct(ctx, inventory.Request{
					SKU: floor, Store: s.counters().Store, Attempt: "left", OrderID: "left", Customer: "c", Quantity: 1,
				})
				return err
			}, "unsettled",
		},
		"units_that_nobody_has": {
			func(ctx context.Context, s *sale) error {
				return s.client.HIncrBy(ctx, s.stockKey(floor), "taken", 1).Err()
			}, "stuck",
		},
		"units_that_redis_lost": {
			func(ctx context.Context, s *sale) error {
				return s.client.HIncrBy(ctx, s.stockKey(floor), "taken", -1).Err()
			}, "lost",
		},
		"too_much_sold": {
			func(ctx context.Context, s *sale) error {
				_, err := s.pool.Exec(ctx, "update lastunit.skus set capacity = 1 where sku = $1", floor)
				if err == nil {
					s.watch.look(ctx, s)
				}
				return err
			}, "units were sold at a moment",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			// Nobody repairs what is tampered with.
			s := begin(t, setup{capacity: 10, idle: true})
			for i := range 3 {
				_, err := s.ask(s.shops[0], request(floor, i), book)
				require.NoError(t, err)
			}
			s.exact()
			s.watch.look(t.Context(), s) // the sale may be over before it does so by itself
			require.Empty(t, s.findings())
			require.NoError(t, test.tamper(t.Context(), s))
			assert.Contains(t, strings.Join(s.findings(), "\n"), test.finds)
		})
	}
}
