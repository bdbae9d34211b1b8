// Boxoffice is an example service: it sells over HTTP with package booking.
//
// Without flags it needs no servers: Redis and the orders are inside the
// process, and gone with it. With -redis and -postgres, or REDIS_URL and
// DATABASE_URL, it runs on real ones, in any number of processes.
//
//	go run ./examples/boxoffice
//	curl -d '{"sku":"floor","capacity":2}' -H 'Content-Type: application/json' localhost:8080/api/v1/events
//	curl -d '{"id":"4711","customer":"c-17","lines":[{"sku":"floor","quantity":2}]}' -H 'Content-Type: application/json' localhost:8080/api/v1/book
//	curl localhost:8080/api/v1/orders/4711
//
// The whole API, with JSON in and out, and errors with a stable code:
//
//	POST   /api/v1/events         {"sku", "capacity"}: put on sale
//	GET    /api/v1/events/{sku}   what there is: capacity, allocated, in flight, available
//	POST   /api/v1/book           {"id", "customer", "lines": [{"sku", "quantity"}]}
//	GET    /api/v1/orders/{id}    one order
//	DELETE /api/v1/orders/{id}    cancel it; an unknown ID is cancelled for good
//	GET    /api/v1/history        ?status=&size=&after=: orders, newest first
//	GET    /healthz               whether the servers behind it answer
//
// With -rush it sends buyers at itself and audits what became of them.
//
//	go run ./examples/boxoffice -rush 20000 -capacity 1000
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/lastunit/lastunit/booking"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// The first signal lets it finish what is in hand; the second one does not.
	context.AfterFunc(ctx, stop)
	os.Exit(run(ctx, os.Args[1:], os.Getenv, os.Stdout, os.Stderr))
}

// run is main with everything that it touches, and returns the exit code.
func run(ctx context.Context, args []string, getenv func(string) string, stdout, stderr io.Writer) int {
	s, err := parse(args, getenv, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		fmt.Fprintln(stderr, "boxoffice:", err)
		return 2
	}
	log := slog.New(slog.NewTextHandler(stderr, nil))
	if err := open(ctx, s, log, stdout, stderr); err != nil {
		fmt.Fprintln(stderr, "boxoffice:", err)
		return 1
	}
	return 0
}

// open opens the box office, until the context ends or the rush is over.
func open(ctx context.Context, s settings, log *slog.Logger, stdout, stderr io.Writer) error {
	on, err := s.stores(ctx)
	if err != nil {
		return err
	}
	defer on.close()
	shop, err := booking.New(booking.Config{Inventory: on.inventory, Orders: on.orders, Logger: log})
	if err != nil {
		return err
	}
	return serve(ctx, shop, on, s.listen, log, func(ctx context.Context, url string) error {
		if s.rush > 0 {
			return rushAndAudit(ctx, s, on, shop, url, stdout, stderr)
		}
		fmt.Fprintln(stdout, "boxoffice is open at", url, on.name)
		<-ctx.Done()
		return nil
	})
}
