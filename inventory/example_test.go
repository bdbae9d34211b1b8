package inventory_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/lastunit/lastunit/inventory"
)

// Two units go on sale. One is sold, and one attempt comes to nothing.
func Example() {
	server := miniredis.NewMiniRedis() // in place of a Redis
	if err := server.Start(); err != nil {
		panic(err)
	}
	defer server.Close()
	client := redis.NewClient(&redis.Options{Addr: server.Addr()})
	defer client.Close()
	ctx := context.Background()

	repo := inventory.NewRedis(client)
	supply := inventory.Supply{SKU: "floor", Store: "my-store", Epoch: 1, Version: 1, Units: 2}
	if err := repo.Load(ctx, supply); err != nil {
		panic(err)
	}

	request := inventory.Request{SKU: "floor", Store: "my-store", Attempt: "try-1", OrderID: "4711", Customer: "carol", Quantity: 1}
	sold, err := repo.Deduct(ctx, request)
	fmt.Println(sold.Quantity, "unit for order", sold.OrderID, err)

	again, err := repo.Deduct(ctx, request) // as after a lost answer
	fmt.Println("the same deduction:", again.Identity() == sold.Identity(), err)

	request.Attempt, request.OrderID = "try-2", "4712"
	unsold, _ := repo.Deduct(ctx, request)

	// Order 4711 is in the order store, and 4712 never will be.
	supply.Admitted = 1
	fmt.Println(repo.Settle(ctx, supply, sold), repo.Restore(ctx, unsold))

	stocks, err := repo.Stock(ctx, "floor")
	fmt.Println(stocks[0].Available(), "available,", stocks[0].Taken, "taken,", stocks[0].Unsettled, "unsettled", err)
	// Output:
	// 1 unit for order 4711 <nil>
	// the same deduction: true <nil>
	// <nil> <nil>
	// 1 available, 1 taken, 0 unsettled <nil>
}

// repository returns a repository with two units of the SKU "floor".
func repository() inventory.InventoryRepository {
	repo := inventory.NewMemory()
	err := repo.Load(context.Background(), inventory.Supply{SKU: "floor", Store: "my-store", Epoch: 1, Version: 1, Units: 2})
	if err != nil {
		panic(err)
	}
	return repo
}

func ExampleMemory_Deduct() {
	repo := repository()
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()

	for i, quantity := range []int64{2, 1, 3} {
		_, err := repo.Deduct(ctx, inventory.Request{
			SKU: "floor", Store: "my-store", Attempt: fmt.Sprint("try-", i), OrderID: fmt.Sprint(i), Customer: "carol", Quantity: quantity,
		})
		switch {
		case err == nil:
			fmt.Println("taken")
		case errors.Is(err, inventory.ErrTryAgain):
			fmt.Println("maybe in a moment")
		case errors.Is(err, inventory.ErrSoldOut):
			fmt.Println("no")
		default:
			fmt.Println("ask again with the same attempt:", err)
		}
	}
	// Output:
	// taken
	// maybe in a moment
	// no
}

func ExampleTerms() {
	repo := inventory.NewMemory()
	ctx := context.Background()
	terms := inventory.Terms{CustomerLimit: 2, OpensAt: time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC)}
	fmt.Println(terms.At("floor", time.Date(2026, 3, 1, 9, 59, 0, 0, time.UTC)))

	terms.OpensAt = time.Time{} // open already
	err := repo.Load(ctx, inventory.Supply{SKU: "floor", Store: "my-store", Epoch: 1, Version: 1, Units: 100, Terms: terms})
	if err != nil {
		panic(err)
	}
	for i, quantity := range []int64{2, 1, 3} {
		_, err := repo.Deduct(ctx, inventory.Request{
			SKU: "floor", Store: "my-store", Attempt: fmt.Sprint("try-", i), OrderID: fmt.Sprint(i), Customer: "carol", Quantity: quantity,
		})
		switch {
		case err == nil:
			fmt.Println("taken")
		case errors.Is(err, inventory.ErrTryAgain):
			fmt.Println("maybe in a moment")
		case errors.Is(err, inventory.ErrLimitExceeded):
			fmt.Println("no")
		}
	}
	// Output:
	// SKU "floor": not open yet: it opens at 2026-03-01T10:00:00Z
	// taken
	// maybe in a moment
	// no
}

func ExampleStockError() {
	repo := repository()
	_, err := repo.Deduct(context.Background(), inventory.Request{
		SKU: "floor", Store: "my-store", Attempt: "try-1", OrderID: "4711", Customer: "carol", Quantity: 5,
	})
	var short *inventory.StockError
	if errors.As(err, &short) {
		fmt.Println(short.Available, "of", short.Requested)
	}
	// Output: 2 of 5
}

func ExampleNotLoadedError() {
	repo := repository()
	_, err := repo.Deduct(context.Background(), inventory.Request{
		SKU: "balcony", Store: "my-store", Attempt: "try-1", OrderID: "4711", Customer: "carol", Quantity: 1,
	})
	var notLoaded *inventory.NotLoadedError
	if errors.As(err, &notLoaded) {
		fmt.Println(notLoaded.SKU, notLoaded.Why)
	}
	// Output: balcony missing
}

func ExampleCheckID() {
	fmt.Println(inventory.CheckID("sku", "floor"))
	fmt.Println(inventory.CheckID("sku", "flo\x00or"))
	// Output:
	// <nil>
	// invalid: sku contains the control character U+0000
}
