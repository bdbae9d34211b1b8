package booking_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/lastunit/lastunit/booking"
	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

func ExampleService_Hold() {
	shop := embed()
	ctx := context.Background()

	_ = shop.PutOnSale(ctx, order.Item{SKU: "floor", Capacity: 1})
	o, err := shop.Hold(ctx, booking.Request{ID: "4711", Customer: "c-17", Lines: []order.Line{{SKU: "floor", Quantity: 1}}}, 10*time.Minute)
	fmt.Println(o.Status, err)

	// The customer pays, and somebody else is told that there is none left.
	_, err = shop.Book(ctx, booking.Request{ID: "4712", Customer: "c-18", Lines: []order.Line{{SKU: "floor", Quantity: 1}}})
	fmt.Println(errors.Is(err, inventory.ErrSoldOut))
	o, err = shop.Confirm(ctx, "4711")
	fmt.Println(o.Status, err)
	// Output:
	// held <nil>
	// true
	// confirmed <nil>
}

func ExampleService_Accept() {
	shop := embed()
	ctx := context.Background()

	_ = shop.PutOnSale(ctx, order.Item{SKU: "floor", Capacity: 1})
	request := booking.Request{ID: "4711", Customer: "c-17", Lines: []order.Line{{SKU: "floor", Quantity: 1}}}
	receipt, err := shop.Accept(ctx, request)
	fmt.Println(receipt.ID, "is accepted:", err == nil)

	o, err := receipt.Wait(ctx)
	fmt.Println(o.Status, err)
	// Any process can ask for it later.
	o, err = shop.Lookup(ctx, request)
	fmt.Println(o.Status, err)
	// Output:
	// 4711 is accepted: true
	// confirmed <nil>
	// confirmed <nil>
}

func ExampleService_Reclaim() {
	shop := embed()
	ctx := context.Background()

	_ = shop.PutOnSale(ctx, order.Item{SKU: "floor", Capacity: 1})
	_, _ = shop.Hold(ctx, booking.Request{ID: "4711", Customer: "c-17", Lines: []order.Line{{SKU: "floor", Quantity: 1}}}, time.Millisecond)
	time.Sleep(2 * time.Millisecond)

	// The payment comes too late, and the unit is still there.
	_, err := shop.Confirm(ctx, "4711")
	fmt.Println(errors.Is(err, order.ErrHoldExpired))
	o, err := shop.Reclaim(ctx, "4711")
	fmt.Println(o.Status, err)
	// Output:
	// true
	// confirmed <nil>
}

// A payment and the confirmation of its order commit together.
func ExampleService_ConfirmTx() {
	var shop *booking.Service // with order.NewPostgres(pool)
	var pool *pgxpool.Pool
	ctx := context.Background()

	_ = func() error {
		return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, "insert into payments (order_id, cents) values ($1, $2)", "4711", 4200); err != nil {
				return err
			}
			_, err := shop.ConfirmTx(ctx, tx, "4711")
			return err
		})
	}
}

// Early birds and regular tickets share the hall; a bundle takes several things.
func ExampleService_PutOnSale() {
	shop := embed()
	ctx := context.Background()

	err := shop.PutOnSale(
		ctx,
		order.Item{SKU: "hall", Capacity: 3},
		order.Item{SKU: "early-bird", Capacity: 1, Draws: []order.Line{{SKU: "hall", Quantity: 1}}},
		order.Item{SKU: "family", Capacity: 10, Draws: []order.Line{{SKU: "hall", Quantity: 3}}},
	)
	fmt.Println(err)

	_, err = shop.Book(ctx, booking.Request{ID: "4711", Customer: "c-17", Lines: []order.Line{{SKU: "early-bird", Quantity: 1}}})
	fmt.Println(err)
	_, err = shop.Book(ctx, booking.Request{ID: "4712", Customer: "c-18", Lines: []order.Line{{SKU: "family", Quantity: 1}}})
	var short *inventory.StockError
	if errors.As(err, &short) {
		fmt.Println(short.Requested, "of the", short.SKU, "needed,", short.Available, "left")
	}
	// Output:
	// <nil>
	// <nil>
	// 3 of the hall needed, 2 left
}

func ExampleService_SetLimit() {
	shop := embed()
	ctx := context.Background()

	_ = shop.PutOnSale(ctx, order.Item{SKU: "floor", Capacity: 100, CustomerLimit: 4})
	_, err := shop.Book(ctx, booking.Request{ID: "4711", Customer: "c-17", Lines: []order.Line{{SKU: "floor", Quantity: 3}}})
	fmt.Println(err)
	_, err = shop.Book(ctx, booking.Request{ID: "4712", Customer: "c-17", Lines: []order.Line{{SKU: "floor", Quantity: 2}}})
	var limit *inventory.LimitError
	if errors.As(err, &limit) {
		fmt.Println(limit.Used, "of", limit.Limit, "used")
	}

	_ = shop.SetLimit(ctx, "floor", 5)
	_, err = shop.Book(ctx, booking.Request{ID: "4712", Customer: "c-17", Lines: []order.Line{{SKU: "floor", Quantity: 2}}})
	fmt.Println(err)
	// Output:
	// <nil>
	// 3 of 4 used
	// <nil>
}

func ExampleService_SetWindow() {
	shop := embed()
	ctx := context.Background()

	opens := time.Date(2100, time.January, 1, 10, 0, 0, 0, time.UTC)
	_ = shop.PutOnSale(ctx, order.Item{SKU: "floor", Capacity: 100, OpensAt: opens})
	request := booking.Request{ID: "4711", Customer: "c-17", Lines: []order.Line{{SKU: "floor", Quantity: 1}}}
	_, err := shop.Book(ctx, request)
	var closed *inventory.WindowError
	if errors.As(err, &closed) && errors.Is(err, inventory.ErrNotOpen) {
		fmt.Println("opens at", closed.OpensAt.Format(time.DateTime))
	}

	_ = shop.SetWindow(ctx, "floor", time.Time{}, time.Time{}) // open from now on
	_, err = shop.Book(ctx, request)
	fmt.Println(err)
	// Output:
	// opens at 2100-01-01 10:00:00
	// <nil>
}

func ExampleService_Pause() {
	shop := embed()
	ctx := context.Background()

	_ = shop.PutOnSale(ctx, order.Item{SKU: "floor", Capacity: 100})
	_ = shop.Pause(ctx, "floor")
	request := booking.Request{ID: "4711", Customer: "c-17", Lines: []order.Line{{SKU: "floor", Quantity: 1}}}
	_, err := shop.Book(ctx, request)
	fmt.Println(errors.Is(err, inventory.ErrPaused))

	_ = shop.Resume(ctx, "floor")
	_, err = shop.Book(ctx, request)
	fmt.Println(err)
	// Output:
	// true
	// <nil>
}

func ExampleService_Restock() {
	shop := embed()
	ctx := context.Background()

	_ = shop.PutOnSale(ctx, order.Item{SKU: "mug", Capacity: 10})
	delivery := order.Adjustment{ID: "delivery-7", SKU: "mug", Units: 5, Reason: "delivery", Reference: "note 4432"}
	_ = shop.Restock(ctx, delivery)
	_ = shop.Restock(ctx, delivery) // as after a lost answer: it is done once
	_ = shop.WriteOff(ctx, order.Adjustment{ID: "stocktaking-1", SKU: "mug", Units: 2, Reason: "broken"})
	stock, err := shop.Stock(ctx, "mug")
	fmt.Println(stock.Capacity, err)

	movements, err := shop.Movements(ctx, "mug", 0, 100)
	for _, m := range movements {
		fmt.Println(m.Number, m.Kind, m.Quantity)
	}
	fmt.Println(err)
	// Output:
	// 13 <nil>
	// 1 on_sale 10
	// 2 restock 5
	// 3 write_off -2
	// <nil>
}

// A reader of the feed keeps its cursor with what it makes of the movements.
func ExampleService_Feed() {
	shop := embed()
	ctx := context.Background()

	_ = shop.PutOnSale(ctx, order.Item{SKU: "floor", Capacity: 100})
	_, _ = shop.Book(ctx, booking.Request{ID: "4711", Customer: "c-17", Lines: []order.Line{{SKU: "floor", Quantity: 2}}})

	var cursor order.Cursor // from the beginning
	for {
		movements, next, err := shop.Feed(ctx, cursor, 1)
		if err != nil || len(movements) == 0 {
			fmt.Println(cursor == next, err)
			break // or ask again after a while
		}
		for _, m := range movements {
			fmt.Println(m.SKU, m.Kind, m.Quantity)
		}
		cursor = next
	}
	// Output:
	// floor on_sale 100
	// floor booked 2
	// true <nil>
}
