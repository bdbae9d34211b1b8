// Boxoffice is an example service: it sells over HTTP with package booking.
//
// Without flags it needs no servers: Redis and the orders are inside the
// process, and gone with it. With -redis and -postgres, or REDIS_URL and
// DATABASE_URL, it runs on real ones, in any number of processes. With -postgres
// alone it sells without Redis.
//
//	go run ./examples/boxoffice
//	curl -H 'Content-Type: application/json' -d '{"sku":"floor","capacity":4}' localhost:8080/api/v1/events
//	curl -H 'Content-Type: application/json' -d '{"id":"4711","customer":"c-17","lines":[{"sku":"floor","quantity":2}]}' localhost:8080/api/v1/book
//	curl localhost:8080/api/v1/orders/4711
//
// In Redis it needs the rights that the README of the library lists, and +ping.
//
// Before it opens on real servers it looks at their settings, at its rights there and
// at their clocks (booking.Service.Check), and logs what it finds. A problem, such as a
// right that is missing or a PostgreSQL with fsync off, keeps it closed, with the exit
// code 1; with -anyway it opens all the same, which is for servers that are for tests.
//
// # Events
//
// An event has a SKU, a capacity, and whatever else shall hold for its sale: how
// many units one customer may have, from when until when it is sold, and what each
// unit draws on other events, such as the hall that several kinds of tickets share. An
// event that is pool_only can only be drawn on: nobody buys the hall itself. All but
// the draws and pool_only can be changed later, while it is sold.
//
//	POST /api/v1/events                  {"sku", "capacity", "customer_limit", "opens_at", "closes_at", "draws": [{"sku", "quantity"}], "pool_only"}: put on sale
//	POST /api/v1/events                  a CSV file, as text/csv: put all of it on sale, or nothing
//	GET  /api/v1/events/{sku}            what there is: capacity, allocated, over, in flight, available, limit, window, paused
//	GET  /api/v1/events?sku=a&sku=b      the same of several events, as many as the URL has room for: 16 KB
//	POST /api/v1/events/{sku}/capacity   {"id", "kind": "set_capacity|restock|write_off", "units", "reason", "reference"}: once under that ID
//	PUT  /api/v1/events/{sku}/limit      {"customer_limit"}: a number, or null for none
//	PUT  /api/v1/events/{sku}/window     {"opens_at", "closes_at"}: both of them, each a time, or null for none
//	POST /api/v1/events/{sku}/pause      stop selling it
//	POST /api/v1/events/{sku}/resume     go on
//
//	curl -H 'Content-Type: application/json' -d '{"sku":"early","capacity":2,"customer_limit":1,"closes_at":"2099-12-01T20:00:00Z","draws":[{"sku":"floor","quantity":1}]}' localhost:8080/api/v1/events
//	printf 'sku,capacity,customer_limit,opens_at\nred,10,4,\nblue,20,,2099-12-01T20:00:00+01:00\n' | curl -H 'Content-Type: text/csv' --data-binary @- localhost:8080/api/v1/events
//	curl localhost:8080/api/v1/events/early
//	curl 'localhost:8080/api/v1/events?sku=red&sku=blue'
//	curl -H 'Content-Type: application/json' -d '{"id":"delivery-1","kind":"restock","units":5,"reason":"more chairs","reference":"note 17"}' localhost:8080/api/v1/events/floor/capacity
//	curl -X PUT -H 'Content-Type: application/json' -d '{"customer_limit":6}' localhost:8080/api/v1/events/red/limit
//	curl -X PUT -H 'Content-Type: application/json' -d '{"opens_at":null,"closes_at":"2099-12-31T00:00:00Z"}' localhost:8080/api/v1/events/blue/window
//	curl -X POST localhost:8080/api/v1/events/red/pause
//	curl -X POST localhost:8080/api/v1/events/red/resume
//
// A CSV file is comma-separated UTF-8 with a header line. The columns sku and
// capacity must be there; customer_limit, opens_at, closes_at and pool_only (true or
// false) may be, and an empty cell is none. With -import FILE one is put on sale before the service opens.
//
// # Orders
//
// The ID is the idempotency key: choose it before the first try, and send the same
// again until the answer is definite. Without one an ID is made, and told. A hold
// keeps its units for its ttl, text such as "90s", "10m" or "1h30m"; a
// number without a unit is refused. In a path a / in an ID is %2F, and an ID that is . or ..
// is %2E or %2E%2E.
//
//	POST   /api/v1/book                  {"id", "customer", "lines": [{"sku", "quantity"}]}
//	POST   /api/v1/hold                  {"id", "customer", "lines": [{"sku", "quantity"}], "ttl"}
//	POST   /api/v1/orders/{id}/confirm   make a hold a booking, in time
//	POST   /api/v1/orders/{id}/extend    {"ttl"}: let it expire no sooner than that from now
//	POST   /api/v1/orders/{id}/reclaim   make an expired hold a booking, if its units are left
//	DELETE /api/v1/orders/{id}           cancel it, also if it has expired, for good; an unknown ID is not_found
//	POST   /api/v1/orders/{id}/void      the same, and an unknown ID is void: for whoever gives up after outcome_unknown
//	GET    /api/v1/orders/{id}           one order
//	GET    /api/v1/history               ?status=&size=&after=: orders, newest first
//
//	curl -H 'Content-Type: application/json' -d '{"id":"4712","customer":"c-18","lines":[{"sku":"early","quantity":1}],"ttl":"10m"}' localhost:8080/api/v1/hold
//	curl -H 'Content-Type: application/json' -d '{"ttl":"30m"}' localhost:8080/api/v1/orders/4712/extend
//	curl -X POST localhost:8080/api/v1/orders/4712/confirm
//	curl -X POST localhost:8080/api/v1/orders/4712/reclaim
//	curl -X DELETE localhost:8080/api/v1/orders/4711
//	curl -X POST localhost:8080/api/v1/orders/4713/void
//	curl 'localhost:8080/api/v1/history?status=confirmed&size=10'
//
// # The ledger
//
// Every change of a capacity and of what is sold is a movement, numbered for each
// event. Keep the "next" of an answer when its movements are dealt with, and send it
// as the next "after": none is missed, whatever happens in between.
//
//	GET  /api/v1/events/{sku}/movements  ?after=&size=: those of one event; next is a number
//	POST /api/v1/feed                    {"after", "size"}: those of all events; next is a string
//
//	curl 'localhost:8080/api/v1/events/floor/movements?after=1&size=10'
//	curl -H 'Content-Type: application/json' -d '{"after":"","size":10}' localhost:8080/api/v1/feed
//
// # Answers
//
// All is JSON, times are RFC 3339. An error is {"error": {"code", "message", …}} with
// the facts in fields of their own. A body's keys are exactly those above, and a query has
// no parameters but those above. The codes:
//
//	400  invalid_request        field says where
//	403  cross_origin           a browser sent it from another site
//	404  not_found, unknown_sku
//	405  method_not_allowed
//	408  timeout                the body came too slowly
//	409  sold_out               sku, requested, available, and short: of each event that falls short, if several do
//	     limit_exceeded         sku, customer_limit, requested, used
//	     not_open, closed       sku, opens_at, closes_at
//	     paused                 sku
//	     retired                sku: it is sold never again
//	     hold_expired           expired_at, and left: the units of each SKU
//	     cancelled
//	     purged                 a hold that expired long ago: its lines are gone
//	     refused                sku: it had been accepted, and is refused for good
//	     idempotency_conflict   the ID was used for something else
//	     superseded             the capacity was set, and is another one since
//	     pool_only              sku: it can only be drawn on
//	     already_on_sale        with other terms
//	     orphaned               sku: its row was deleted, and not its orders
//	     unknown_cursor         of the feed: it is another database's, or this one was restored
//	413  too_large
//	415  unsupported_media_type
//	422  rejected               by a constraint or a trigger of the database
//	500  internal               a bug of this service: it is in its log
//	503  try_again, busy, overloaded, unavailable, not_sent, outcome_unknown
//	                            ask again, with the same ID; Retry-After says when
//
// GET /healthz says whether the servers behind it answer, and the tables are there:
//
//	curl localhost:8080/healthz
//
// # The rush
//
// With -rush it sends buyers at itself and audits what became of them. On real servers the
// event and its orders stay there: don't rush where you sell.
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

	"github.com/redis/go-redis/v9"

	"github.com/lastunit/lastunit/booking"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// The first signal lets it finish what is in hand; the second one does not.
	context.AfterFunc(ctx, stop)
	redis.SetLogger(&redisLog{to: slog.New(slog.NewTextHandler(os.Stderr, nil))})
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
	stderr = &oneAtATime{to: stderr}
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
	if s.postgres != "" { // what is inside this process has no settings
		if err := check(ctx, shop, s.anyway, log); err != nil {
			return err
		}
	}
	if s.imports != "" {
		imported, err := importFile(ctx, shop, s.imports)
		if err != nil {
			return err
		}
		log.InfoContext(ctx, "imported", "file", s.imports, "items", imported)
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
