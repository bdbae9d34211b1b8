package servertest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/redis/go-redis/v9"
)

// external is what is known of a server that was there before, and stays.
type external struct {
	addr string
	url  string // as it was given
}

// urlInstead returns the URL of a server to share in the place of one that is
// not installed, "" if there is none.
func urlInstead(err error) string {
	var missing *notFound
	if errors.As(err, &missing) {
		return os.Getenv(missing.variable)
	}
	return ""
}

// noPrivate explains that an external server does not do.
func noPrivate(err error) error {
	var missing *notFound
	if urlInstead(err) == "" || !errors.As(err, &missing) {
		return err
	}
	return fmt.Errorf("%w: this test needs a server of its own, to kill or configure, and cannot use that of %s",
		err, missing.variable)
}

func externalRedis(address string) (*server, error) {
	options, err := redis.ParseURL(address)
	if err != nil || options.Network != "tcp" {
		return nil, errors.New("REDIS_URL is not like redis://user:password@host:port/0") // err may have the password
	}
	client := redis.NewClient(options)
	defer func() { _ = client.Close() }()
	ctx, cancel := context.WithTimeout(context.Background(), pingLimit)
	defer cancel()
	if err := client.Ping(ctx).Err(); err != nil {
		return nil, fmt.Errorf("cannot use the server of REDIS_URL: %w", err)
	}
	return &server{
		name:     "redis-server",
		password: options.Password,
		external: &external{addr: options.Addr, url: address},
	}, nil
}

func externalCluster(address string) (*cluster, error) {
	config, err := pgx.ParseConfig(address)
	u, urlErr := url.Parse(address)
	if err != nil || urlErr != nil || u.Host == "" || strings.HasPrefix(config.Host, "/") {
		return nil, errors.New("DATABASE_URL is not like postgres://user:password@host:port/database") // nor here
	}
	c := &cluster{user: config.User, sslmode: u.Query().Get("sslmode")}
	if c.sslmode == "" {
		c.sslmode = "prefer"
	}
	c.name = "postgres"
	c.password = config.Password
	c.external = &external{addr: net.JoinHostPort(config.Host, strconv.Itoa(int(config.Port))), url: address}
	ctx, cancel := context.WithTimeout(context.Background(), pingLimit)
	defer cancel()
	if err := c.with(ctx, func(*pgx.Conn) error { return nil }); err != nil {
		return nil, fmt.Errorf("cannot use the server of DATABASE_URL: %w", err)
	}
	return c, nil
}
