package servertest

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/redis/go-redis/v9"
)

// Redis is a private redis-server.
type Redis struct {
	controls
}

// StartRedis starts a redis-server that ends with the test. It keeps nothing
// on disk by default. Options are more arguments for redis-server, such as
// "--appendonly", "yes".
func StartRedis(t testing.TB, options ...string) *Redis {
	t.Helper()
	s, err := newRedis(options)
	if err != nil {
		giveUp(t, noPrivate(err))
	}
	r := &Redis{controls{t: t, s: s}}
	t.Cleanup(r.end)
	return r
}

// URL returns the server's URL, with the password.
func (r *Redis) URL() string {
	if r.s.external != nil {
		return r.s.external.url
	}
	return fmt.Sprintf("redis://:%s@%s/0", r.Password(), r.Addr())
}

// Client returns a client of the server that is closed with the test. Each
// change may alter its options, such as the address when a Proxy is between.
func (r *Redis) Client(t testing.TB, change ...func(*redis.Options)) *redis.Client {
	t.Helper()
	options, err := redis.ParseURL(r.URL())
	if err != nil {
		t.Fatal("servertest: not a URL of Redis") // the error may have the password
	}
	for _, f := range change {
		f(options)
	}
	client := redis.NewClient(options)
	t.Cleanup(func() {
		// A test may have closed it already.
		if err := client.Close(); err != nil && !errors.Is(err, redis.ErrClosed) {
			t.Errorf("cannot close the Redis client: %v", err)
		}
	})
	return client
}

// Wipe removes the data files. The server must not run.
func (r *Redis) Wipe() {
	r.t.Helper()
	r.own()
	r.check(r.s.whenStopped(func() error {
		entries, err := os.ReadDir(r.Dir())
		for _, entry := range entries {
			err = errors.Join(err, os.RemoveAll(filepath.Join(r.Dir(), entry.Name())))
		}
		return err
	}))
}

func newRedis(options []string) (*server, error) {
	program, err := findRedis()
	if err != nil {
		return nil, err
	}
	dir, err := newDirectory(temporaryRoot(), "redis")
	if err != nil {
		return nil, err
	}
	s := &server{
		name:       "redis-server",
		dir:        dir,
		password:   rand.Text(),
		stopSignal: syscall.SIGTERM,
		endSignal:  syscall.SIGKILL,
		afterKill:  func() {},
	}
	config := dir.join("redis.conf")
	s.command = func(port int) *exec.Cmd {
		args := append([]string{config, "--port", fmt.Sprint(port)}, options...)
		return exec.Command(program, args...)
	}
	s.ping = func(ctx context.Context) error { return pingRedis(ctx, s.addr(), s.password) }
	err = errors.Join(
		os.Mkdir(dir.data(), 0o700),
		os.WriteFile(config, []byte(redisConfig(s)), 0o600))
	if err == nil {
		err = s.launch()
	}
	if err != nil {
		return nil, errors.Join(err, dir.remove())
	}
	return s, nil
}

// redisConfig is a file and not arguments, for everybody on the machine can
// read the arguments of a process, and the password is in here.
func redisConfig(s *server) string {
	return strings.Join([]string{
		"bind 127.0.0.1",
		"daemonize no",
		"dir " + s.dir.data(),
		`logfile ""`,
		`save ""`,
		"appendonly no",
		"requirepass " + s.password,
		"",
	}, "\n")
}

// pingRedis asks for an answer to PING. The password makes sure that the
// answer comes from our own server. It does not use the Redis client, which
// would tell the whole log how often it could not connect.
func pingRedis(ctx context.Context, addr, password string) error {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return err
		}
	}
	if _, err := fmt.Fprintf(conn, "AUTH %s\r\nPING\r\n", password); err != nil {
		return err
	}
	answers := bufio.NewReader(conn)
	for _, want := range []string{"+OK\r\n", "+PONG\r\n"} {
		got, err := answers.ReadString('\n')
		if err != nil {
			return err
		}
		if got != want {
			return fmt.Errorf("redis-server answers %q", got) // LOADING, for one
		}
	}
	return nil
}
