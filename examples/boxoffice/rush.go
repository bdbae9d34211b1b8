package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lastunit/lastunit/booking"
	"github.com/lastunit/lastunit/order"
)

// rush sends buyers at one event, each with an order of its own for one unit.
type rush struct {
	baseURL  func() string // where the service is now; asked before each request
	sku      string
	capacity int64
	buyers   int
	atOnce   int
	progress io.Writer

	// patience is how long a buyer asks for a definite answer.
	patience time.Duration

	// booked hears of each acknowledged order, how many there are with it. The
	// buyers who get theirs meanwhile wait for it to return. Optional.
	booked func(n int)
}

// rushed is what the buyers were told.
type rushed struct {
	booked    []order.Order // acknowledged with a 2xx
	soldOut   int
	retries   int
	failed    []error // of buyers who got neither answer
	seconds   float64
	selling   float64 // seconds until the last order was acknowledged
	latencies []time.Duration
}

// run puts the event on sale, and returns when every buyer was told.
func (r *rush) run(ctx context.Context) (*rushed, error) {
	client := newClient(r.baseURL, r.atOnce)
	defer client.close()
	var retries atomic.Int64
	client.retried = func() { retries.Add(1) }

	began := time.Now()
	opening, cancel := context.WithTimeout(ctx, r.patience)
	defer cancel()
	item := order.Item{SKU: r.sku, Capacity: r.capacity}
	if err := client.post(opening, "/api/v1/events", item, &item); err != nil {
		return nil, fmt.Errorf("put on sale: %w", err)
	}

	told := &rushed{}
	var mu sync.Mutex // of told
	stop := r.report(began, func() string {
		mu.Lock()
		defer mu.Unlock()
		return fmt.Sprintf("%d of %d buyers were told: %d booked, %d sold out; %d retries",
			len(told.latencies), r.buyers, len(told.booked), told.soldOut, retries.Load())
	})
	defer stop()

	var next atomic.Int64
	var buyers sync.WaitGroup
	var gate sync.Mutex // of r.booked
	for range min(r.atOnce, r.buyers) {
		buyers.Go(func() {
			for ctx.Err() == nil {
				n := next.Add(1)
				if n > int64(r.buyers) {
					return
				}
				from := time.Now()
				o, err := r.buy(ctx, client, n)
				took := time.Since(from)
				if err == nil && r.booked != nil {
					gate.Lock()
				}
				mu.Lock()
				told.latencies = append(told.latencies, took)
				var no *refusal
				switch {
				case err == nil:
					told.booked = append(told.booked, o)
					told.selling = time.Since(began).Seconds()
				case errors.As(err, &no) && no.Code == "sold_out":
					told.soldOut++
				default:
					told.failed = append(told.failed, fmt.Errorf("buyer %d: %w", n, err))
				}
				acknowledged := len(told.booked)
				mu.Unlock()
				if err == nil && r.booked != nil {
					r.booked(acknowledged)
					gate.Unlock()
				}
			}
		})
	}
	buyers.Wait()
	told.seconds = time.Since(began).Seconds()
	told.retries = int(retries.Load())
	return told, ctx.Err()
}

// buy books one unit as the n-th buyer.
func (r *rush) buy(ctx context.Context, client *client, n int64) (order.Order, error) {
	ctx, cancel := context.WithTimeout(ctx, r.patience)
	defer cancel()
	id := r.sku + "/" + strconv.FormatInt(n, 10)
	var o order.Order
	err := client.post(ctx, "/api/v1/book", booking.Request{
		ID: id, Customer: "buyer-" + strconv.FormatInt(n, 10), Lines: []order.Line{{SKU: r.sku, Quantity: 1}},
	}, &o)
	if err == nil && (o.ID != id || o.Status != order.Confirmed) {
		return o, fmt.Errorf("asked for order %q, got %q, which is %q", id, o.ID, o.Status)
	}
	return o, err
}

// report writes a line of progress every second until it is stopped.
func (r *rush) report(began time.Time, line func() string) (stop func()) {
	done := make(chan struct{})
	var reporter sync.WaitGroup
	reporter.Go(func() {
		ticker := time.NewTicker(time.Second)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				fmt.Fprintf(r.progress, "%3.0f s: %s\n", time.Since(began).Seconds(), line())
			case <-done:
				return
			}
		}
	})
	return func() {
		close(done)
		reporter.Wait()
	}
}
