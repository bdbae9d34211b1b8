package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/lastunit/lastunit/order"
)

// bareTable is a table with the columns and the primary key of lastunit.orders,
// and nothing else: no other index, no counters.
type bareTable struct {
	pool *pgxpool.Pool
}

const bareTableSQL = `
create table bare (like lastunit.orders);
alter table bare add primary key (id)`

// bareColumns are those that the insert of a booking gives a value, and the
// number, which it gets by itself.
var bareColumns = []string{
	"id", "number", "customer", "status", "counted", "digest", "skus", "quantities", "consumed", "limited", "created_at", "changed_at",
}

// bareRow is the row of an order.
func bareRow(caller, n int) []any {
	at := time.Now()
	return []any{
		orderID(caller, n), n, customerOf(caller), "confirmed", "confirmed", make([]byte, 32),
		[]string{"floor"},
		[]int64{1},
		[][]int64{{1, 1_700_000_000_000, int64(n)}},
		false, at, at,
	}
}

func openBareTable(ctx context.Context, c *cell) (*bareTable, error) {
	url := c.servers.postgres.Database(c.scope)
	migrating, err := c.pool(ctx, url)
	if err != nil {
		return nil, err
	}
	if err := order.Migrate(ctx, migrating); err != nil {
		return nil, err
	}
	if _, err := migrating.Exec(ctx, bareTableSQL); err != nil {
		return nil, err
	}
	pool, err := c.pool(ctx, url, func(ctx context.Context, conn *pgx.Conn) error {
		status, err := conn.LoadType(ctx, "lastunit.order_status") // so that it can be copied
		if err == nil {
			conn.TypeMap().RegisterType(status)
		}
		return err
	})
	return &bareTable{pool}, err
}

func (s *bareTable) close() {}

// bareInsert inserts the row of one order, in a transaction of its own. Nothing
// guards the capacity: it never sells out.
type bareInsert struct {
	*bareTable
	statement string
}

func openBareInsert(ctx context.Context, c *cell, _ int64) (contender, error) {
	table, err := openBareTable(ctx, c)
	if err != nil {
		return nil, err
	}
	return &bareInsert{table, insertStatement("bare", bareColumns)}, nil
}

func insertStatement(table string, columns []string) string {
	names, values := "", ""
	for i, column := range columns {
		if i > 0 {
			names, values = names+", ", values+", "
		}
		names += column
		values += fmt.Sprintf("$%d", i+1)
	}
	return "insert into " + table + " (" + names + ") values (" + values + ")"
}

func (s *bareInsert) call(ctx context.Context, caller, n int) (answer, error) {
	_, err := s.pool.Exec(ctx, s.statement, bareRow(caller, n)...)
	return booked, err
}

func (s *bareInsert) audit(ctx context.Context, told *told) error {
	return told.checkOrders(idsFrom(ctx, s.pool, "select id from bare"))
}

// bareCopy copies the rows of so many orders at once, in a transaction of its own.
type bareCopy struct {
	*bareTable
	batch int
}

func (s *bareCopy) call(ctx context.Context, caller, n int) (answer, error) {
	copied, err := s.pool.CopyFrom(ctx, pgx.Identifier{"bare"}, bareColumns, pgx.CopyFromSlice(s.batch, func(i int) ([]any, error) {
		return bareRow(caller, n*s.batch+i), nil
	}))
	if err == nil && copied != int64(s.batch) {
		err = errors.New("COPY left rows out")
	}
	return booked, err
}

func (s *bareCopy) audit(ctx context.Context, told *told) error {
	rows := *told
	rows.Answers = make([][]answer, len(told.Answers))
	for caller, answers := range told.Answers {
		rows.Answers[caller] = slices.Repeat([]answer{booked}, len(answers)*s.batch)
	}
	return rows.checkOrders(idsFrom(ctx, s.pool, "select id from bare"))
}

// measureLimitCopy is how fast Postgres takes the rows of orders if nothing is
// decided about them: as many at once as there are callers, at most a thousand
// for each connection.
func measureLimitCopy(ctx context.Context, c *cell) (result, error) {
	const most = order.MaxCommits
	connections := min(max(1, c.callers/most), postgresConnections)
	batch := min(c.callers, most)
	open := func(ctx context.Context, c *cell, _ int64) (contender, error) {
		table, err := openBareTable(ctx, c)
		return &bareCopy{table, batch}, err
	}
	found, err := loaded(ctx, c, open, func(s contender) (*load, error) {
		return closedLoop(ctx, s, c.window(), 0, connections, booked)
	})
	found.perSecond *= float64(batch)
	return found, err
}
