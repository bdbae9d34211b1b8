package order_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/order"
)

// What is confirmed is confirmed before its time, also by what is stored of it, on a
// clock that is a second ahead each time that it is read.
func TestConfirmedBeforeItsTime(t *testing.T) {
	t.Parallel()
	url := newDatabase(t)
	execute(t, url, `create schema ticking; create sequence ticking.seconds;
		create function ticking.clock_timestamp() returns timestamptz language sql as
		$$ select timestamptz '2030-01-01' + nextval('ticking.seconds') * interval '1 second' $$`)
	pool := newPool(t, url, set("search_path", "ticking, pg_catalog"))
	store := order.NewPostgres(pool)
	putOnSale(t, store, "floor", 1000)
	for how, confirm := range map[string]func(id string) (order.Order, error){
		"change": func(id string) (order.Order, error) {
			o, _, err := change(t.Context(), store, id, order.Confirm)
			return o, err
		},
		"transaction": func(id string) (o order.Order, err error) {
			err = pgx.BeginFunc(t.Context(), pool, func(tx pgx.Tx) error {
				_, err := store.ConfirmTx(context.Background(), tx, id)
				return err
			})
			if err == nil {
				o, err = store.Order(t.Context(), id)
			}
			return o, err
		},
	} {
		confirmed, expired := 0, 0
		for seconds := range 12 {
			id := fmt.Sprint(how, "-", seconds)
			holds(t, store, "floor", time.Duration(1+seconds)*time.Second, id)
			o, err := confirm(id)
			if errors.Is(err, order.ErrHoldExpired) {
				expired++
				continue
			}
			require.NoError(t, err)
			require.Equal(t, order.Confirmed, o.Status)
			assert.True(t, o.ChangedAt.Before(o.ExpiresAt), "confirmed at %v, until %v", o.ChangedAt, o.ExpiresAt)
			confirmed++
		}
		assert.Positive(t, confirmed, how)
		assert.Positive(t, expired, how)
	}
}
