package main

import (
	"context"
	"fmt"
)

// row is a line of the table: a contender, or a limit to compare with.
type row struct {
	name    string
	durable bool // what a caller was told survives the loss of any process and of Redis
	callers func(callers int) bool
	chart   line
	measure func(ctx context.Context, c *cell) (result, error)
}

// line is how a row is drawn.
type line int

const (
	hidden line = iota
	solid
	bold   // what it is all about
	dashed // a limit
)

// rows is the table, in its order. A further contender is a further line.
var rows = []row{
	{name: "seed-postgres", durable: true, chart: solid, callers: all, measure: sells(openSeedPostgres)},
	{name: "skip-locked", durable: true, chart: solid, callers: all, measure: sells(openSkipLocked)},
	{name: "seed-redis", chart: solid, callers: all, measure: sells(openSeedRedis)},
	{name: "seed-redis-open", callers: shown, measure: arrives(openSeedRedis)},
	{name: "lua-per-call", chart: solid, callers: all, measure: sells(openLuaPerCall)},
	{name: "rueidis", chart: solid, callers: all, measure: sells(openRueidis)},
	{name: "deduct", chart: solid, callers: all, measure: sells(openDeduct)},
	{name: "book", durable: true, chart: bold, callers: all, measure: sells(openBook)},
	{name: "book-open", durable: true, callers: shown, measure: arrives(openBook)},
	{name: "book-no-ledger", durable: true, callers: all, measure: sells(openBookNoLedger)},
	{name: "book-zipf", durable: true, callers: shown, measure: sellsInProcesses},
	{name: "direct", durable: true, chart: solid, callers: all, measure: sells(openDirect)},
	{name: "accept", chart: solid, callers: all, measure: sells(openAccept)},
	{name: "hold-confirm", durable: true, chart: solid, callers: all, measure: sells(openHoldConfirm)},
	{name: "soldout", durable: true, chart: solid, callers: all, measure: refuses(openSoldOut)},
	{name: "limit-evalsha", chart: dashed, callers: all, measure: measureLimitEvalsha},
	{name: "limit-copy", durable: true, chart: dashed, callers: all, measure: measureLimitCopy},
	{name: "bare-evalsha", callers: one, measure: sells(openLuaPerCall)},
	{name: "bare-insert", durable: true, callers: one, measure: stores(openBareInsert)},
}

// The numbers of callers that a row is measured with, of those that are asked for.
func all(int) bool           { return true }
func one(callers int) bool   { return callers == 1 }
func shown(callers int) bool { return callers == shownCallers }

// shownCallers is the number of callers that most figures are about.
const shownCallers = 1000

// sells measures a contender in a closed loop.
func sells(open opener) func(context.Context, *cell) (result, error) {
	return func(ctx context.Context, c *cell) (result, error) {
		if c.first {
			if err := toTheLastUnit(ctx, c, open); err != nil {
				return result{}, fmt.Errorf("to the last unit: %w", err)
			}
		}
		return stores(open)(ctx, c)
	}
}

// stores measures what has no capacity, and so never refuses.
func stores(open opener) func(context.Context, *cell) (result, error) {
	return func(ctx context.Context, c *cell) (result, error) {
		return loaded(ctx, c, open, func(s contender) (*load, error) {
			return closedLoop(ctx, s, c.window(), 0, c.callers, booked)
		})
	}
}

// arrives measures a contender in an open loop.
func arrives(open opener) func(context.Context, *cell) (result, error) {
	return func(ctx context.Context, c *cell) (result, error) {
		return loaded(ctx, c, open, func(s contender) (*load, error) {
			return openLoop(ctx, s, c.window(), c.callers, c.settings.rate)
		})
	}
}

// refuses measures how fast a contender that is sold out says so.
func refuses(open opener) func(context.Context, *cell) (result, error) {
	return func(ctx context.Context, c *cell) (result, error) {
		return loaded(ctx, c, open, func(s contender) (*load, error) {
			return closedLoop(ctx, s, c.window(), 0, c.callers, refused)
		})
	}
}

// loaded opens a contender, loads and audits it.
func loaded(ctx context.Context, c *cell, open opener, load func(contender) (*load, error)) (result, error) {
	s, err := open(ctx, c, plenty)
	if err != nil {
		return result{}, fmt.Errorf("open: %w", err)
	}
	defer s.close()
	if err := c.settle(ctx); err != nil {
		return result{}, err
	}
	l, err := load(s)
	if err != nil {
		return result{}, err
	}
	if err := s.audit(ctx, l.told); err != nil {
		return result{}, fmt.Errorf("audit: %w", err)
	}
	return l.result(), nil
}
