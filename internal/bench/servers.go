package main

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/lastunit/lastunit/internal/servertest"
	"github.com/redis/go-redis/v9"
)

const (
	// redisConnections is the pool of everybody who uses go-redis, and
	// postgresConnections that of everybody who uses pgx.
	redisConnections    = 128
	postgresConnections = 16

	// redisSnapshots is what Redis does when nobody configures it. Package
	// servertest switches it off.
	redisSnapshots = "3600 1 300 100 60 10000"
)

// servers are those of one run. They end with it: package servertest ends them
// with the scope, and the kernel (elsewhere than on Linux, a guard) when this
// process is no more.
type servers struct {
	redis    *servertest.Redis
	postgres *servertest.Postgres
}

// startServers starts them, with more settings of Postgres for tests.
func startServers(t testing.TB, settings ...string) *servers {
	return &servers{
		redis: servertest.StartRedis(t, "--save", redisSnapshots),
		postgres: servertest.StartPostgres(t, append([]string{
			"fsync=on", "synchronous_commit=on", "max_connections=200", "max_wal_size=4GB",
		}, settings...)...),
	}
}

// newGoRedis makes a client as all who use go-redis have it.
func newGoRedis(url string) (*redis.Client, error) {
	options, err := redis.ParseURL(url)
	if err != nil {
		return nil, fmt.Errorf("not a URL of Redis") // the error may have the password
	}
	options.PoolSize = redisConnections
	options.ContextTimeoutEnabled = true
	options.PoolTimeout = time.Minute // thousands may wait for a connection
	return redis.NewClient(options), nil
}

// newPool makes a pool as all who use pgx have it. Each new connection is given
// to the functions.
func newPool(ctx context.Context, url string, connected ...func(context.Context, *pgx.Conn) error) (*pgxpool.Pool, error) {
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("not a URL of PostgreSQL") // as above
	}
	config.MaxConns = postgresConnections
	config.AfterConnect = func(ctx context.Context, conn *pgx.Conn) error {
		for _, f := range connected {
			if err := f(ctx, conn); err != nil {
				return err
			}
		}
		return nil
	}
	return pgxpool.NewWithConfig(ctx, config)
}

// versions asks the servers for theirs.
func (s *servers) versions(ctx context.Context) (redisVersion, postgresVersion string, err error) {
	if redisVersion, err = s.redisInfo(ctx, "redis_version"); err != nil {
		return "", "", err
	}
	conn, err := pgx.Connect(ctx, s.postgres.URL())
	if err != nil {
		return "", "", err
	}
	defer func() { _ = conn.Close(ctx) }()
	err = conn.QueryRow(ctx, "show server_version").Scan(&postgresVersion)
	return redisVersion, postgresVersion, err
}

// redisBenchmark finds the program beside the redis-server that runs.
func (s *servers) redisBenchmark(ctx context.Context) (string, error) {
	const name = "redis-benchmark"
	server, err := s.redisInfo(ctx, "executable")
	if err != nil {
		return "", err
	}
	if program, err := exec.LookPath(filepath.Join(filepath.Dir(server), name)); err == nil {
		return program, nil
	}
	return exec.LookPath(name)
}

func (s *servers) redisInfo(ctx context.Context, field string) (string, error) {
	client, err := newGoRedis(s.redis.URL())
	if err != nil {
		return "", err
	}
	defer client.Close()
	info, err := client.Info(ctx, "server").Result()
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(info) {
		if value, ok := strings.CutPrefix(line, field+":"); ok {
			return strings.TrimSpace(value), nil
		}
	}
	return "", fmt.Errorf("redis-server doesn't tell its %s", field)
}
