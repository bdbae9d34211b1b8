package booking_test

import (
	"context"
	"errors"
	"fmt"
	"log"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/lastunit/lastunit/booking"
	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

// embed makes a service without servers, for the examples.
func embed() (shop *booking.Service, end func()) {
	server, err := miniredis.Run()
	if err != nil {
		log.Fatal(err)
	}
	client := redis.NewClient(&redis.Options{Addr: server.Addr()})
	shop, err = booking.New(booking.Config{Inventory: inventory.NewRedis(client), Orders: order.NewMemory()})
	if err != nil {
		log.Fatal(err)
	}
	return shop, func() { client.Close(); server.Close() }
}

func ExampleService_Book() {
	shop, end := embed()
	defer end()
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
	shop, end := embed()
	defer end()
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
	shop, end := embed()
	defer end()
	ctx := context.Background()

	_ = shop.PutOnSale(ctx, order.Item{SKU: "floor", Capacity: 3})
	_, _ = shop.Book(ctx, booking.Request{ID: "4711", Customer: "c-17", Lines: []order.Line{{SKU: "floor", Quantity: 1}}})
	stock, err := shop.Stock(ctx, "floor")
	fmt.Printf("%+v %v\n", stock, err)

	// Lowered below what is sold, it sells nothing until enough came back.
	_ = shop.SetCapacity(ctx, "floor", 0)
	stock, err = shop.Stock(ctx, "floor")
	fmt.Printf("%+v %v\n", stock, err)
	// Output:
	// {SKU:floor Capacity:3 Allocated:1 InFlight:0 Available:2} <nil>
	// {SKU:floor Capacity:0 Allocated:1 InFlight:0 Available:0} <nil>
}

func ExampleService_Run() {
	shop, end := embed()
	defer end()
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- shop.Run(ctx) }()

	// … sell …

	stop()
	fmt.Println(<-ended) // everything in hand is finished
	// Output: <nil>
}

func ExampleService_Reconcile() {
	shop, end := embed()
	defer end()
	ctx := context.Background()

	_ = shop.PutOnSale(ctx, order.Item{SKU: "floor", Capacity: 3})
	differences, err := shop.Reconcile(ctx, booking.DryRun)
	fmt.Println(len(differences), err)
	// Output: 0 <nil>
}
