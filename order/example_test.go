package order_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/lastunit/lastunit/order"
)

// Selling without a fast side: the store alone decides.
func Example() {
	ctx := context.Background()
	store := order.NewMemory() // or order.NewPostgres(pool)

	if _, _, err := store.PutOnSale(ctx, order.Item{SKU: "floor", Capacity: 3}); err != nil {
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
	if _, _, err := store.PutOnSale(ctx, order.Item{SKU: "floor", Capacity: 1}); err != nil {
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

// To void an ID that is not there yet keeps a late original from booking.
func ExampleStore_Change_unknown() {
	ctx := context.Background()
	var store order.Store = order.NewMemory()
	answers, _, err := store.Change(ctx, []order.Change{{ID: "4711", Action: order.Cancel}, {ID: "4711", Action: order.Void}})
	if err != nil {
		panic(err)
	}
	fmt.Println(answers[0].Err)
	fmt.Println(answers[1].Order.Status, answers[1].Err)
	// Output:
	// order "4711": no such order
	// cancelled <nil>
}

// A hold is confirmed when the customer has paid, or expires.
func ExampleStore_Change() {
	ctx := context.Background()
	var store order.Store = order.NewMemory()
	if _, _, err := store.PutOnSale(ctx, order.Item{SKU: "floor", Capacity: 9}); err != nil {
		panic(err)
	}
	_, _, err := store.Commit(ctx, []order.Commit{{
		Order: order.Order{ID: "4711", Customer: "c-17", Lines: []order.Line{{SKU: "floor", Quantity: 2}}},
		Hold:  10 * time.Minute,
	}})
	if err != nil {
		panic(err)
	}
	answers, counters, err := store.Change(ctx, []order.Change{
		{ID: "4711", Action: order.Expire}, // its time is not over
		{ID: "4711", Action: order.Confirm},
		{ID: "4712", Action: order.Confirm},
	})
	if err != nil {
		panic(err)
	}
	for _, answer := range answers {
		fmt.Printf("%q %v\n", answer.Order.Status, answer.Err)
	}
	fmt.Println(counters[0].Left(), "left")
	// Output:
	// "held" <nil>
	// "confirmed" <nil>
	// "" order "4712": no such order
	// 7 left
}

// Two kinds of tickets for one hall.
func ExampleItem_draws() {
	ctx := context.Background()
	var store order.Store = order.NewMemory()
	counters, _, err := store.PutOnSale(ctx,
		order.Item{SKU: "hall", Capacity: 3},
		order.Item{SKU: "early-bird", Capacity: 2, Draws: []order.Line{{SKU: "hall", Quantity: 1}}},
		order.Item{SKU: "door", Capacity: 3, Draws: []order.Line{{SKU: "hall", Quantity: 1}}},
	)
	if err != nil {
		panic(err)
	}
	draws := make(map[string][]order.Line)
	for _, c := range counters {
		draws[c.SKU] = c.Draws
	}
	for i, lines := range [][]order.Line{{{SKU: "early-bird", Quantity: 2}}, {{SKU: "door", Quantity: 2}}} {
		o := order.Order{ID: fmt.Sprint(i), Customer: "c-17", Lines: lines}
		if o.Draws, err = order.DrawsOf(lines, func(sku string) []order.Line { return draws[sku] }); err != nil {
			panic(err)
		}
		outcomes, _, err := store.Commit(ctx, []order.Commit{{Order: o}})
		if err != nil {
			panic(err)
		}
		fmt.Println(outcomes[0].Verdict, o.Units()[outcomes[0].Unit].SKU, outcomes[0].Left)
	}
	// Output:
	// booked early-bird 0
	// full hall 1
}

// A program of one's own follows what happens, and finds its place again.
func ExampleStore_Feed() {
	ctx := context.Background()
	var store order.Store = order.NewMemory()
	if _, _, err := store.PutOnSale(ctx, order.Item{SKU: "floor", Capacity: 9}); err != nil {
		panic(err)
	}
	restock := order.Adjustment{ID: "L-1", SKU: "floor", Kind: order.Restock, Units: 3, Reason: "delivery"}
	for range 2 { // done once
		if _, err := store.Adjust(ctx, restock); err != nil {
			panic(err)
		}
	}
	var cursor order.Cursor
	for {
		movements, next, err := store.Feed(ctx, cursor, 1)
		if err != nil {
			panic(err)
		}
		if len(movements) == 0 {
			break
		}
		for _, m := range movements {
			fmt.Println(m.SKU, m.Number, m.Kind, m.Quantity)
		}
		cursor = next // keep it with what you made of the movements
	}
	// Output:
	// floor 1 on_sale 9
	// floor 2 restock 3
}

func ExampleStore_Orders() {
	ctx := context.Background()
	var store order.Store = order.NewMemory()
	if _, _, err := store.PutOnSale(ctx, order.Item{SKU: "floor", Capacity: 9}); err != nil {
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
	_, err := order.NewMemory().SetLimit(context.Background(), "floor", 4)
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
