package robustness

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/lastunit/lastunit/booking"
	"github.com/lastunit/lastunit/order"
)

// client makes one call after the other, and writes each down.
type client struct {
	shop    *booking.Service
	pool    *pgxpool.Pool // for transactions
	journal interface{ write(call) }
	random  *rand.Rand

	process, name, calls int
	short                string // the SKU that stood in the way of the last call
}

func newClient(j job, n int, shop *booking.Service, pool *pgxpool.Pool, journal *journal) *client {
	return &client{
		shop: shop, pool: pool, journal: journal, process: j.Process, name: n,
		random: rand.New(rand.NewPCG(j.Seed, uint64(j.Process*manyClients+n))), //nolint:gosec // not a secret
	}
}

// client makes one of this process.
func (r *run) client() *client {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.admins++
	return &client{
		shop: r.keeper, pool: r.pool, journal: r, process: keeperProcess, name: r.admins,
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
	maxLate  = 300 * time.Millisecond
)

// act makes one call, and most often what a customer would do next.
func (c *client) act(w window) {
	time.Sleep(time.Duration(c.random.Int64N(int64(maxPause)))) // as customers do
	// The first SKU is the hot one.
	sku := min(c.random.IntN(len(w.SKUs)), c.random.IntN(len(w.SKUs)))
	requests := min(maxRequests, firstFew+int(time.Duration(now()-w.Since)/freshEvery))
	r := w.requestOf(sku, c.random.IntN(requests))
	switch dice := c.random.IntN(100); {
	case dice < 52:
		c.buy(r)
	case dice < 56:
		c.buy(r.twin())
	case dice < 60:
		c.change(confirm, r, 0)
	case dice < 64:
		c.change(confirmTx, r, 0)
	case dice < 67:
		c.change(cancel, r, 0)
	case dice < 70:
		c.change(void, r, 0)
	case dice < 74:
		c.change(cancelTx, r, 0)
	case dice < 78:
		c.change(extend, r, c.ttl())
	case dice < 81:
		c.change(reclaim, r, 0)
	case dice < 86:
		c.read(readOrder, r)
	case dice < 89:
		c.read(lookup, r)
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
	switch c.random.IntN(10) {
	case 0, 1:
		c.change(confirm, r, 0)
	case 2:
		c.change(extend, r, c.ttl())
	case 3:
		c.change(cancel, r, 0)
	case 4:
		c.change(confirmTx, r, 0)
	case 5, 6: // its payment comes too late
		if r.ttl < maxLate {
			time.Sleep(r.ttl + c.ttl()/4)
			c.change(reclaim, r, 0)
		}
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
	c.short = made.Short
	return made.Outcome
}

func (c *client) ask(r request) outcome {
	return c.do(call{Verb: r.verb, ID: r.ID, Customer: r.Customer, Lines: r.Lines, TTL: r.ttl}, func(ctx context.Context, made *call) error {
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
		case void:
			o, err = c.shop.Void(ctx, r.ID)
		case reclaim:
			o, err = c.shop.Reclaim(ctx, r.ID)
		case confirmTx:
			o, err = c.inTransaction(ctx, r.ID, c.shop.ConfirmTx)
		case cancelTx:
			o, err = c.inTransaction(ctx, r.ID, c.shop.CancelTx)
		default:
			o, err = c.shop.Extend(ctx, r.ID, ttl)
		}
		return made.got(o, err)
	})
}

// inTransaction changes an order in a transaction, which goes on for a while, and is
// now and then rolled back.
func (c *client) inTransaction(ctx context.Context, id string, change func(context.Context, pgx.Tx, string) (order.Order, error)) (order.Order, error) {
	tx, err := c.pool.Begin(ctx)
	if err != nil {
		return order.Order{}, fmt.Errorf("%w: %w", errUndone, err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }() // of no effect after a commit
	o, err := change(ctx, tx, id)
	if err != nil {
		if outcomeOf(confirmTx, err) == unexplained { // the transaction's own
			err = fmt.Errorf("%w: %w", errUndone, err)
		}
		return o, err
	}
	time.Sleep(time.Duration(c.random.Int64N(int64(maxPause))))
	if c.random.IntN(4) == 0 {
		return order.Order{}, errUndone
	}
	if err := tx.Commit(ctx); err != nil {
		return order.Order{}, fmt.Errorf("%w: %w", order.ErrOutcomeUnknown, err)
	}
	return o, nil
}

func (c *client) read(v verb, r request) {
	if v == lookup && r.verb == hold {
		v = readOrder // that is not looked up
	}
	c.do(call{Verb: v, ID: r.ID, Customer: r.Customer, Lines: r.Lines}, func(ctx context.Context, made *call) error {
		if v == lookup {
			return made.got(c.shop.Lookup(ctx, r.Request))
		}
		return made.got(c.shop.Order(ctx, r.ID))
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

// setWindow lets a SKU be sold from a moment on, as now tells.
func (c *client) setWindow(sku string, opensAt int64) outcome {
	return c.do(call{Verb: setWindow, SKU: sku, OpensAt: opensAt}, func(ctx context.Context, _ *call) error {
		return c.shop.SetWindow(ctx, sku, time.Now().Add(time.Duration(opensAt-now())), time.Time{})
	})
}

// setPaused pauses a SKU, or goes on selling it.
func (c *client) setPaused(v verb, sku string) outcome {
	return c.do(call{Verb: v, SKU: sku}, func(ctx context.Context, _ *call) error {
		if v == pause {
			return c.shop.Pause(ctx, sku)
		}
		return c.shop.Resume(ctx, sku)
	})
}

// got notes the order that came back.
func (c *call) got(o order.Order, err error) error {
	c.Status = o.Status
	if err == nil && c.Verb.takes() && (!slices.Equal(o.Lines, c.Lines) || o.Customer != c.Customer) {
		return fmt.Errorf("the answer is another order: %+v", o)
	}
	return err
}
