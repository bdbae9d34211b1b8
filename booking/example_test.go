package booking_test

import (
	"context"
	"errors"
	"fmt"
	"log"

	"github.com/lastunit/lastunit/booking"
	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

// embed makes a service without servers, for the examples.
func embed() *booking.Service {
	shop, err := booking.New(booking.Config{Inventory: inventory.NewMemory(), Orders: order.NewMemory()})
	if err != nil {
		log.Fatal(err)
	}
	return shop
}

func ExampleService_Book() {
	shop := embed()
	ctx := context.Background()

	_ = shop.PutOnSale(ctx, order.Item{SKU: "floor", Capacity: 2})
	request := booking.Request{ID: "4711", Customer: "c-17", Lines: []order.Line{{SKU: "floor", Quantity: 2}}}
	o, err := shop.Book(ctx, request)
	fmt.Println(o.ID, o.Status, err)

	// A second click gets the same order.
	o, err = shop.Book(ctx, request)
	fmt.Println(o.ID, o.Status, err)

	// Somebody else is told what is left.
	_, err = shop.Book(ctx, booking.Request{ID: "4712", Customer: "c-18", Lines: []order.Line{{SKU: "floor", Quantity: 1}}})
	var short *inventory.StockError
	fmt.Println(errors.Is(err, inventory.ErrSoldOut), errors.As(err, &short), short.SKU, short.Available)
	// Output:
	// 4711 confirmed <nil>
	// 4711 confirmed <nil>
	// true true floor 0
}

func ExampleService_Cancel() {
	shop := embed()
	ctx := context.Background()

	_ = shop.PutOnSale(ctx, order.Item{SKU: "floor", Capacity: 1})
	_, _ = shop.Book(ctx, booking.Request{ID: "4711", Customer: "c-17", Lines: []order.Line{{SKU: "floor", Quantity: 1}}})
	o, err := shop.Cancel(ctx, "4711")
	fmt.Println(o.Status, err)

	// The unit can be booked again, but not under the same ID.
	_, err = shop.Book(ctx, booking.Request{ID: "4711", Customer: "c-17", Lines: []order.Line{{SKU: "floor", Quantity: 1}}})
	fmt.Println(errors.Is(err, order.ErrCancelled))
	o, err = shop.Book(ctx, booking.Request{ID: "4712", Customer: "c-18", Lines: []order.Line{{SKU: "floor", Quantity: 1}}})
	fmt.Println(o.Status, err)
	// Output:
	// cancelled <nil>
	// true
	// confirmed <nil>
}

func ExampleService_Stock() {
	shop := embed()
	ctx := context.Background()

	_ = shop.PutOnSale(ctx, order.Item{SKU: "floor", Capacity: 3})
	_, _ = shop.Book(ctx, booking.Request{ID: "4711", Customer: "c-17", Lines: []order.Line{{SKU: "floor", Quantity: 1}}})
	stock, err := shop.Stock(ctx, "floor")
	fmt.Println(stock.Allocated, "of", stock.Capacity, "sold,", stock.Available, "available", err)

	// Lowered below what is sold, it sells nothing until enough came back.
	_ = shop.SetCapacity(ctx, order.Adjustment{ID: "recount-1", SKU: "floor", Units: 0})
	stock, err = shop.Stock(ctx, "floor")
	fmt.Println(stock.Allocated, "of", stock.Capacity, "sold,", stock.Over, "over,", stock.Available, "available", err)
	// Output:
	// 1 of 3 sold, 2 available <nil>
	// 1 of 0 sold, 1 over, 0 available <nil>
}

func ExampleService_Run() {
	shop := embed()
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- shop.Run(ctx) }()

	// … sell …

	stop()
	fmt.Println(<-ended) // everything in hand is finished
	// Output: <nil>
}

func ExampleService_Reconcile() {
	shop := embed()
	ctx := context.Background()

	_ = shop.PutOnSale(ctx, order.Item{SKU: "floor", Capacity: 3})
	differences, err := shop.ReconcileAll(ctx, booking.DryRun)
	fmt.Println(len(differences), err)
	// Output: 0 <nil>
}
