package main

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// seedPostgres is what the seed did at first: one transaction for each booking,
// which locks the event's row, inserts the booking and updates the count.
type seedPostgres struct {
	pool     *pgxpool.Pool
	capacity int64
}

const seedTables = `
create table events (id text primary key, capacity bigint not null, sold bigint not null default 0);
create table bookings (
	id text primary key, event_id text not null, customer text not null, quantity bigint not null,
	created_at timestamptz not null default now())`

func openSeedPostgres(ctx context.Context, c *cell, capacity int64) (contender, error) {
	pool, err := c.database(ctx, seedTables)
	if err != nil {
		return nil, err
	}
	_, err = pool.Exec(ctx, "insert into events (id, capacity) values ('floor', $1)", capacity)
	return &seedPostgres{pool, capacity}, err
}

func (s *seedPostgres) call(ctx context.Context, caller, n int) (answer, error) {
	told := booked
	err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		var capacity, sold int64
		err := tx.QueryRow(ctx, "select capacity, sold from events where id = $1 for update", "floor").Scan(&capacity, &sold)
		if err != nil {
			return err
		}
		if sold >= capacity {
			told = refused
			return nil
		}
		_, err = tx.Exec(ctx, "insert into bookings (id, event_id, customer, quantity) values ($1, $2, $3, 1)",
			orderID(caller, n), "floor", customerOf(caller))
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, "update events set sold = sold + 1 where id = $1", "floor")
		return err
	})
	return told, err
}

func (s *seedPostgres) audit(ctx context.Context, told *told) error {
	sold, err := number(ctx, s.pool, "select sold from events")
	if err != nil {
		return err
	}
	if err := told.checkUnits(s.capacity, sold); err != nil {
		return err
	}
	return told.checkOrders(idsFrom(ctx, s.pool, "select id from bookings"))
}

func (s *seedPostgres) close() {}
