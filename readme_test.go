package lastunit_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/booking"
	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/inventory/inventorytest"
	"github.com/lastunit/lastunit/order"
	"github.com/lastunit/lastunit/order/ordertest"
)

// The README's code, so that it compiles.
func start(ctx context.Context, pool *pgxpool.Pool, work *sync.WaitGroup) (*booking.Service, error) {
	if err := order.Migrate(ctx, pool); err != nil {
		return nil, err
	}
	shop, err := booking.New(booking.Config{
		Orders: order.NewPostgres(pool),
		// Inventory: inventory.NewRedis(redisClient), for crowds larger than the stock
	})
	if err != nil {
		return nil, err
	}
	work.Go(func() { _ = shop.Run(ctx) }) // in every process; work is a sync.WaitGroup

	err = shop.PutOnSale(ctx, order.Item{SKU: "floor", Capacity: 1000}) // nothing new if it is there, just so
	if errors.Is(err, order.ErrAlreadyOnSale) || errors.Is(err, order.ErrRetired) {
		err = nil // it was changed, or retired, since the last start, and stays as it is
	}
	return shop, err
}

func withRedis(redisClient redis.UniversalClient, pool *pgxpool.Pool) (*booking.Service, error) {
	shop, err := booking.New(booking.Config{
		Inventory: inventory.NewRedis(redisClient),
		Orders:    order.NewPostgres(pool),
	})
	return shop, err
}

func sell(ctx context.Context, shop *booking.Service) error {
	o, err := shop.Book(ctx, booking.Request{
		ID: "4711", Customer: "c-17",
		Lines: []order.Line{{SKU: "floor", Quantity: 2}},
	})
	switch {
	case err == nil: // o is in Postgres
		fmt.Println(o.Status)
	case errors.Is(err, inventory.ErrSoldOut): // nothing was taken; held units count as sold, and may come back
	case errors.Is(err, inventory.ErrTryAgain): // units in flight may come back within seconds
	case errors.Is(err, order.ErrOutcomeUnknown): // ask again with the same ID
	case errors.Is(err, booking.ErrNotSent): // ctx ended before anything was sent: this call did nothing
	default: // a bad request, an unknown SKU, an ID cancelled or used for another order, …: see Book
	}
	return err
}

func pay(ctx context.Context, shop *booking.Service, request booking.Request, paid func(order.Order) error) (order.Order, error) {
	o, err := shop.Hold(ctx, request, 10*time.Minute) // in Postgres until o.ExpiresAt
	if err != nil {
		return o, err
	}
	if err := paid(o); err != nil {
		return shop.Cancel(ctx, o.ID)
	}
	o, err = shop.Confirm(ctx, o.ID)
	if errors.Is(err, order.ErrHoldExpired) { // paid too late: book it again, if units are left
		o, err = shop.Reclaim(ctx, o.ID)
	}
	return o, err
}

func accept(w http.ResponseWriter, r *http.Request, shop *booking.Service, request booking.Request) error {
	receipt, err := shop.Accept(r.Context(), request) // ErrOverloaded: too many are waiting already
	if err != nil {
		return err
	}
	w.WriteHeader(http.StatusAccepted) // "we have your order, a confirmation follows"
	return json.NewEncoder(w).Encode(receipt)
}

func becameOf(r *http.Request, shop *booking.Service) (order.Order, error) {
	var request booking.Request
	if err := json.NewDecoder(r.Body).Decode(&request); err != nil {
		return order.Order{}, err
	}
	return shop.Lookup(r.Context(), request) // ErrPending: ask again in some seconds
}

func payInTransaction(ctx context.Context, shop *booking.Service, pool *pgxpool.Pool, id string) error {
	return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "insert into payments (order_id) values ($1)", id); err != nil {
			return err
		}
		_, err := shop.ConfirmTx(ctx, tx, id) // both, or neither
		return err
	})
}

func terms(ctx context.Context, shop *booking.Service, opens time.Time) error {
	hall := []order.Line{{SKU: "hall", Quantity: 1}}
	return shop.PutOnSale(
		ctx,
		order.Item{SKU: "hall", Capacity: 1000, CustomerLimit: 4},
		order.Item{SKU: "early-bird", Capacity: 100, OpensAt: opens, Draws: hall},
		order.Item{SKU: "regular", Capacity: 1000, Draws: hall},
	)
}

func publish(ctx context.Context, shop *booking.Service, cursor order.Cursor, send func(order.Movement) error, keep func(order.Cursor) error) error {
	movements, next, err := shop.Feed(ctx, cursor, 100)
	if err != nil {
		return err
	}
	for _, m := range movements {
		switch m.Kind {
		case order.MovedBooked, order.MovedConfirmed, order.MovedReclaimed:
			// One for each SKU and pool of an order: go by m.OrderID.
			if err := send(m); err != nil {
				return err
			}
		}
	}
	return keep(next) // from here on, the next time
}

func beforeTheSale(ctx context.Context, shop *booking.Service) error {
	findings, err := shop.Check(ctx)
	for _, finding := range findings {
		log.Print(finding) // what it is, what it means, what to do
	}
	if err != nil {
		return err // a server does not answer
	}
	return findings.Err() // the problems among them; the others are only worth knowing
}

func TestCheckout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // its clock doesn't make you wait
		shop, err := booking.New(booking.Config{
			Inventory: inventorytest.New(t),
			Orders:    ordertest.New(t),
		})
		require.NoError(t, err)
		go shop.Run(t.Context()) // ends holds
		request := booking.Request{ID: "4711", Customer: "c-17", Lines: []order.Line{{SKU: "floor", Quantity: 1}}}
		require.NoError(t, shop.PutOnSale(t.Context(), order.Item{SKU: "floor", Capacity: 1}))
		_, err = shop.Hold(t.Context(), request, 10*time.Minute)
		require.NoError(t, err)

		time.Sleep(11 * time.Minute)
		_, err = shop.Confirm(t.Context(), "4711")
		require.ErrorIs(t, err, order.ErrHoldExpired)
		stock, err := shop.Stock(t.Context(), "floor")
		require.NoError(t, err)
		require.EqualValues(t, 1, stock.Available)
	})
}

// TestREADME checks that every Go snippet of the README stands in this file,
// where it is compiled.
func TestREADME(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	code, err := os.ReadFile("readme_test.go")
	require.NoError(t, err)
	snippets := strings.Split(string(readme), "```go\n")[1:]
	require.NotEmpty(t, snippets)
	for _, snippet := range snippets {
		snippet, _, ok := strings.Cut(snippet, "```")
		require.True(t, ok)
		assert.Contains(t, squeeze(string(code)), squeeze(snippet))
	}
	_, _, _, _, _ = start, withRedis, sell, pay, accept
	_, _, _, _, _ = becameOf, payInTransaction, terms, publish, beforeTheSale
}

// squeeze makes the indentation of no account.
func squeeze(code string) string {
	var lines []string
	for line := range strings.Lines(code) {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "\n")
}
