package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/redis/go-redis/v9"

	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

// stores are the two sides of the sale.
type stores struct {
	name      string                        // for people
	inventory inventory.InventoryRepository // nil if PostgreSQL alone sells
	orders    order.Store
	ping      func(context.Context) error
	close     func()
}

// embedded are stores inside this process, gone with it.
func embedded(prefix string) (*stores, error) {
	server, err := miniredis.Run()
	if err != nil {
		return nil, err
	}
	client := redis.NewClient(&redis.Options{Addr: server.Addr()})
	return &stores{
		name:      "(all inside this process)",
		inventory: inventory.NewRedis(client, inventory.WithKeyPrefix(prefix)),
		orders:    order.NewMemory(),
		ping:      func(ctx context.Context) error { return named("Redis", client.Ping(ctx).Err()) },
		close: func() {
			client.Close()
			server.Close()
		},
	}, nil
}

const (
	// Bookings of one process go to Postgres together, over a connection or two.
	// The others are for what is not gathered: cancels, lists and single orders.
	poolConnections = 16

	// Deductions of one process go to Redis together too, so a few are enough.
	redisConnections = 32

	pingTimeout    = 5 * time.Second
	migrateTimeout = time.Minute
)

// connect opens real servers, and makes the tables where they are missing. Without
// the URL of a Redis, PostgreSQL alone sells.
func connect(ctx context.Context, redisURL, postgresURL, prefix string) (*stores, error) {
	// What the parsers say quotes the URL, and with it the password.
	var redisOptions *redis.Options
	if redisURL != "" {
		var err error
		if redisOptions, err = redis.ParseURL(redisURL); err != nil {
			return nil, errors.New("the URL of Redis is wrong: want redis://user:password@host:port/database")
		}
		// A call ends at its own deadline, not at the client's; and a Redis that is down
		// is known to be at once.
		redisOptions.ContextTimeoutEnabled = true
		if !strings.Contains(redisURL, "dialer_retries=") {
			redisOptions.DialerRetries = 1
		}
		if !strings.Contains(redisURL, "pool_size=") {
			redisOptions.PoolSize = redisConnections
		}
	}
	poolConfig, err := pgxpool.ParseConfig(postgresURL)
	if err != nil {
		return nil, errors.New("the URL of PostgreSQL is wrong: want postgres://user:password@host:port/database")
	}
	if !strings.Contains(postgresURL, "pool_max_conns=") {
		poolConfig.MaxConns = poolConnections
	}

	pool, err := pgxpool.NewWithConfig(ctx, poolConfig)
	if err != nil {
		return nil, named("PostgreSQL", err)
	}
	on := &stores{
		name:   "(on PostgreSQL alone)",
		orders: order.NewPostgres(pool),
		ping:   func(ctx context.Context) error { return named("PostgreSQL", pool.Ping(ctx)) },
		close:  pool.Close,
	}
	if redisOptions != nil {
		on.addRedis(redis.NewClient(redisOptions), prefix)
	}
	if err := prepare(ctx, on, pool); err != nil {
		on.close()
		return nil, err
	}
	return on, nil
}

// addRedis lets Redis answer before PostgreSQL is asked.
func (s *stores) addRedis(client *redis.Client, prefix string) {
	ping, closeOthers := s.ping, s.close
	s.name = "(on Redis and PostgreSQL)"
	s.inventory = inventory.NewRedis(client, inventory.WithKeyPrefix(prefix))
	s.ping = func(ctx context.Context) error {
		return sideBySide(ctx, ping, func(ctx context.Context) error { return named("Redis", client.Ping(ctx).Err()) })
	}
	s.close = func() {
		closeOthers()
		client.Close()
	}
}

// sideBySide asks all at once, each for as long as there is, so that one that hangs takes
// no time from the others.
func sideBySide(ctx context.Context, all ...func(context.Context) error) (failed error) {
	answers := make([]chan error, len(all))
	for i, ask := range all {
		answers[i] = make(chan error, 1)
		go func() { answers[i] <- ask(ctx) }()
	}
	for _, answer := range answers {
		failed = errors.Join(failed, <-answer)
	}
	return failed
}

// prepare makes sure that the servers are there, and the tables.
func prepare(ctx context.Context, on *stores, pool *pgxpool.Pool) error {
	pinging, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	if err := on.ping(pinging); err != nil {
		return err
	}
	migrating, cancel := context.WithTimeout(ctx, migrateTimeout)
	defer cancel()
	return order.Migrate(migrating, pool)
}

// unreachable names a server that does not answer.
type unreachable struct {
	server string
	err    error
}

func (e *unreachable) Error() string { return fmt.Sprintf("%s cannot be reached: %v", e.server, e.err) }
func (e *unreachable) Unwrap() error { return e.err }

func named(server string, err error) error {
	if err != nil {
		return &unreachable{server, err}
	}
	return nil
}
