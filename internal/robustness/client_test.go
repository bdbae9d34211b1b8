package robustness

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/lastunit/lastunit/booking"
	"github.com/lastunit/lastunit/order"
)

// client makes one call after the other, and writes each down.
type client struct {
	shop    *booking.Service
	journal interface{ write(call) }
	random  *rand.Rand

	process, name, calls int
}

func newClient(j job, n int, shop *booking.Service, journal *journal) *client {
	return &client{
		shop: shop, journal: journal, process: j.Process, name: n,
		random: rand.New(rand.NewPCG(j.Seed, uint64(j.Process*manyClients+n))), //nolint:gosec // not a secret
	}
}

// client makes one of this process.
func (r *run) client() *client {
	r.admins++
	return &client{
		shop: r.keeper, journal: r, process: keeperProcess, name: r.admins,
		random: rand.New(rand.NewPCG(r.plan.seed, uint64(r.admins))), //nolint:gosec // not a secret
	}
}

const (
	// freshEvery is how often a window has one request more for each of its SKUs:
	// demand is above the capacity soon.
	freshEvery = 25 * time.Millisecond
	firstFew   = 6

	// maxRequests bounds the requests for a SKU, and so the work of the check.
	maxRequests = 60

	maxPause = 12 * time.Millisecond // of a client between two calls
)

// act makes one call, and most often what a customer would do next.
func (c *client) act(w window) {
	time.Sleep(time.Duration(c.random.Int64N(int64(maxPause)))) // as customers do
	// The first SKU is the hot one.
	sku := min(c.random.IntN(len(w.SKUs)), c.random.IntN(len(w.SKUs)))
	requests := min(maxRequests, firstFew+int(time.Duration(now()-w.Since)/freshEvery))
	r := w.requestOf(sku, c.random.IntN(requests))
	switch dice := c.random.IntN(100); {
	case dice < 58:
		c.buy(r)
	case dice < 66:
		c.change(confirm, r, 0)
	case dice < 76:
		c.change(cancel, r, 0)
	case dice < 80:
		c.change(extend, r, c.ttl())
	case dice < 88:
		c.readOrder(r)
	case dice < 97:
		c.readStock(w.SKUs[sku])
	default:
		c.adjust(w.SKUs[sku])
	}
}

func (c *client) ttl() time.Duration {
	return time.Duration(20+c.random.IntN(500)) * time.Millisecond
}

// buy asks for units, once more where the outcome is unknown, and goes on with what
// it got.
func (c *client) buy(r request) {
	got := c.ask(r)
	for again := 0; got == unknown && again < 3 && c.random.IntN(4) > 0; again++ {
		got = c.ask(r)
	}
	if got != done || r.verb != hold {
		return
	}
	switch c.random.IntN(6) {
	case 0, 1:
		c.change(confirm, r, 0)
	case 2:
		c.change(extend, r, c.ttl())
	case 3:
		c.change(cancel, r, 0)
	}
}

// do makes a call with a deadline, now and then one that is too short.
func (c *client) do(made call, run func(context.Context, *call) error) outcome {
	limit := callTimeout
	if c.random.IntN(20) == 0 {
		limit = time.Duration(1+c.random.IntN(20)) * time.Millisecond
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	c.calls++
	made.Process, made.Client, made.Number, made.Outcome = c.process, c.name, c.calls, unknown
	made.Start = now()
	c.journal.write(made)
	err := run(ctx, &made)
	made.answer(err)
	c.journal.write(made)
	return made.Outcome
}

func (c *client) ask(r request) outcome {
	return c.do(call{Verb: r.verb, ID: r.ID, Lines: r.Lines, TTL: r.ttl}, func(ctx context.Context, made *call) error {
		var o order.Order
		var err error
		switch r.verb {
		case hold:
			o, err = c.shop.Hold(ctx, r.Request, r.ttl)
		case accept:
			var receipt booking.Receipt
			if receipt, err = c.shop.Accept(ctx, r.Request); err == nil {
				o, err = receipt.Wait(ctx)
			}
		default:
			o, err = c.shop.Book(ctx, r.Request)
		}
		return made.got(o, err)
	})
}

func (c *client) change(v verb, r request, ttl time.Duration) {
	c.do(call{Verb: v, ID: r.ID, Lines: r.Lines, TTL: ttl}, func(ctx context.Context, made *call) error {
		var o order.Order
		var err error
		switch v {
		case confirm:
			o, err = c.shop.Confirm(ctx, r.ID)
		case cancel:
			o, err = c.shop.Cancel(ctx, r.ID)
		default:
			o, err = c.shop.Extend(ctx, r.ID, ttl)
		}
		return made.got(o, err)
	})
}

func (c *client) readOrder(r request) {
	c.do(call{Verb: readOrder, ID: r.ID, Lines: r.Lines}, func(ctx context.Context, made *call) error {
		o, err := c.shop.Order(ctx, r.ID)
		return made.got(o, err)
	})
}

func (c *client) readStock(sku string) {
	c.do(call{Verb: readStock, SKU: sku}, func(ctx context.Context, made *call) error {
		stock, err := c.shop.Stock(ctx, sku)
		made.Capacity, made.Allocated = stock.Capacity, stock.Allocated
		return err
	})
}

// adjust changes a capacity: sometimes to less than is sold.
func (c *client) adjust(sku string) {
	a := order.Adjustment{ID: fmt.Sprintf("%s-by-%d-%d-%d", sku, c.process, c.name, c.calls), SKU: sku}
	a.Reference = a.ID
	v := setCapacity
	a.Units = 1 + c.random.Int64N(5)
	if c.random.IntN(2) == 0 {
		v, a.Units = restock, 1
	}
	for range 2 {
		got := c.do(call{Verb: v, ID: a.ID, SKU: sku, Units: a.Units}, func(ctx context.Context, _ *call) error {
			if v == restock {
				return c.shop.Restock(ctx, a)
			}
			return c.shop.SetCapacity(ctx, a)
		})
		if got != unknown {
			return
		}
	}
}

// got notes the order that came back.
func (c *call) got(o order.Order, err error) error {
	c.Status = o.Status
	if err == nil && c.Verb.takes() && !slices.Equal(o.Lines, c.Lines) {
		return fmt.Errorf("the answer is another order: %+v", o)
	}
	return err
}
