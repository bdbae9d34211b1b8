package order_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/lastunit/lastunit/order"
)

// Selling without a fast side: the store alone decides.
func Example() {
	ctx := context.Background()
	store := order.NewMemory() // or order.NewPostgres(pool)

	if _, err := store.PutOnSale(ctx, order.Item{SKU: "floor", Capacity: 3}); err != nil {
		panic(err)
	}
	outcomes, counters, err := store.Commit(ctx, []order.Commit{
		{Order: order.Order{ID: "4711", Customer: "c-17", Lines: []order.Line{{SKU: "floor", Quantity: 2}}}},
		{Order: order.Order{ID: "4712", Customer: "c-18", Lines: []order.Line{{SKU: "floor", Quantity: 2}}}},
		{Order: order.Order{ID: "4713", Customer: "c-19", Lines: []order.Line{{SKU: "floor", Quantity: 1}}}},
	})
	if err != nil {
		panic(err)
	}
	for _, outcome := range outcomes {
		fmt.Println(outcome.Verdict, outcome.Left)
	}
	fmt.Println(counters[0].Left(), "left")
	// Output:
	// booked 0
	// full 1
	// booked 0
	// 0 left
}

// Who lost an answer asks again with the same ID, and gets the same order.
func ExampleStore_Commit_again() {
	ctx := context.Background()
	var store order.Store = order.NewMemory()
	if _, err := store.PutOnSale(ctx, order.Item{SKU: "floor", Capacity: 1}); err != nil {
		panic(err)
	}
	commit := order.Commit{Order: order.Order{ID: "4711", Customer: "c-17", Lines: []order.Line{{SKU: "floor", Quantity: 1}}}}
	for range 2 {
		outcomes, _, err := store.Commit(ctx, []order.Commit{commit})
		if err != nil {
			panic(err)
		}
		fmt.Println(outcomes[0].Verdict, outcomes[0].Order.Status)
	}
	// Output:
	// booked confirmed
	// existing confirmed
}

// Cancelling an ID that is not there yet keeps a late original from booking.
func ExampleStore_Cancel() {
	ctx := context.Background()
	var store order.Store = order.NewMemory()
	o, _, err := store.Cancel(ctx, "4711")
	fmt.Println(o.Status, err)
	// Output: cancelled <nil>
}

func ExampleStore_Orders() {
	ctx := context.Background()
	var store order.Store = order.NewMemory()
	if _, err := store.PutOnSale(ctx, order.Item{SKU: "floor", Capacity: 9}); err != nil {
		panic(err)
	}
	for i := range 3 {
		_, _, err := store.Commit(ctx, []order.Commit{{Order: order.Order{
			ID: fmt.Sprint(i), Customer: "c-17", Lines: []order.Line{{SKU: "floor", Quantity: 1}},
		}}})
		if err != nil {
			panic(err)
		}
	}
	query := order.Query{Status: order.Confirmed, Size: 2}
	for {
		page, err := store.Orders(ctx, query)
		if err != nil {
			panic(err)
		}
		for _, o := range page.Orders {
			fmt.Println(o.ID)
		}
		if page.Next == "" {
			break
		}
		query.After = page.Next
	}
	// Output:
	// 2
	// 1
	// 0
}

func ExampleSKUError() {
	_, err := order.NewMemory().SetCapacity(context.Background(), "floor", 10)
	var of *order.SKUError
	if errors.Is(err, order.ErrUnknownSKU) && errors.As(err, &of) {
		fmt.Println("no such SKU:", of.SKU)
	}
	// Output: no such SKU: floor
}

func ExampleSumLines() {
	lines, err := order.SumLines([]order.Line{{SKU: "floor", Quantity: 1}, {SKU: "balcony", Quantity: 2}, {SKU: "floor", Quantity: 3}})
	fmt.Println(lines, err)
	// Output: [{balcony 2} {floor 4}] <nil>
}
