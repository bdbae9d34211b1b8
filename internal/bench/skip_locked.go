package main

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// skipLocked has one row for each unit. A booking takes one that nobody else has
// locked, as Shopify describes its reservations
// (https://shopify.engineering/scaling-inventory-reservations). Taking the unit
// and inserting the booking are one statement here: one round trip.
type skipLocked struct {
	pool     *pgxpool.Pool
	capacity int64
}

const skipLockedTables = `
create table units (event_id text not null, number bigint not null, primary key (event_id, number));
create table bookings (
	id text primary key, event_id text not null, unit bigint not null, customer text not null,
	created_at timestamptz not null default now(), unique (event_id, unit))`

// mostUnits is how many rows there are at most for each second of the load: with
// less than plenty, the audit says so if they were too few.
const mostUnits = 20_000

func openSkipLocked(ctx context.Context, c *cell, capacity int64) (contender, error) {
	pool, err := c.database(ctx, skipLockedTables)
	if err != nil {
		return nil, err
	}
	load := c.settings.warmup + c.settings.length
	capacity = min(capacity, int64(load/time.Second+1)*mostUnits)
	_, err = pool.Exec(ctx, "insert into units select 'floor', generate_series(1, $1::bigint)", capacity)
	if err == nil {
		_, err = pool.Exec(ctx, "vacuum analyze units")
	}
	return &skipLocked{pool, capacity}, err
}

func (s *skipLocked) call(ctx context.Context, caller, n int) (answer, error) {
	tag, err := s.pool.Exec(ctx, `
		with taken as (
			delete from units where (event_id, number) = (
				select event_id, number from units where event_id = $1
				order by number limit 1 for update skip locked)
			returning number)
		insert into bookings (id, event_id, unit, customer) select $2, $1, number, $3 from taken`,
		"floor", orderID(caller, n), customerOf(caller))
	if err == nil && tag.RowsAffected() == 0 {
		return refused, nil
	}
	return booked, err
}

func (s *skipLocked) audit(ctx context.Context, told *told) error {
	left, err := number(ctx, s.pool, "select count(*) from units")
	if err != nil {
		return err
	}
	if err := told.checkUnits(s.capacity, s.capacity-left); err != nil {
		return err
	}
	return told.checkOrders(idsFrom(ctx, s.pool, "select id from bookings"))
}

func (s *skipLocked) close() {}
