// Quickstart is the whole idea in one file, with no servers: two seats, three buyers.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/lastunit/lastunit/booking"
	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

func main() { run(context.Background(), os.Stdout) }

func run(ctx context.Context, w io.Writer) {
	shop, err := booking.New(booking.Config{Orders: order.NewMemory()})
	must(err)
	must(shop.PutOnSale(ctx, order.Item{SKU: "seat", Capacity: 2}))
	working, stop := context.WithCancel(ctx)
	var work sync.WaitGroup
	work.Go(func() { must(shop.Run(working)) }) // ends holds, and more
	defer func() { stop(); work.Wait() }()

	book := func(buyer, does string) {
		seat := order.Line{SKU: "seat", Quantity: 1}
		o, err := shop.Book(ctx, booking.Request{ID: "for " + buyer, Customer: buyer, Lines: []order.Line{seat}})
		if errors.Is(err, inventory.ErrSoldOut) {
			o.Status, err = "sold out", nil
		}
		must(err)
		fmt.Fprintf(w, "%s %s: %s\n", buyer, does, o.Status)
	}
	fmt.Fprintln(w, "2 seats are on sale")
	book("ann", "books")
	book("bob", "books")
	book("cid", "books")
	book("ann", "clicks again and gets the same order")
	cancelled, err := shop.Cancel(ctx, "for bob")
	must(err)
	fmt.Fprintln(w, "bob cancels:", cancelled.Status)
	book("cid", "books again")
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}
