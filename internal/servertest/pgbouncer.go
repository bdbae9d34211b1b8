package servertest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"
)

// PgBouncer is a private pooler in front of a Postgres.
type PgBouncer struct {
	controls
	postgres *cluster
}

// StartPgBouncer starts a PgBouncer in front of a server, which ends with the test.
// Settings are such as "pool_mode=session", and override the defaults of this package:
// pool_mode=transaction, with few sessions for many clients.
func StartPgBouncer(t testing.TB, postgres *Postgres, settings ...string) *PgBouncer {
	t.Helper()
	b, err := newPgBouncer(postgres.cluster, settings)
	if err != nil {
		giveUp(t, noPrivate(err))
	}
	b.t = t
	t.Cleanup(b.end)
	return b
}

// URL returns the URL of a database through the pooler, given the one that its server
// has for it.
func (b *PgBouncer) URL(database string) string {
	u, err := url.Parse(database)
	if err != nil {
		panic(err) // it is none of a Postgres
	}
	u.Host = b.s.addr()
	u.RawQuery = "sslmode=disable"
	return u.String()
}

func findPgBouncer() (string, error) {
	dir, ok := findPrograms([]string{"/usr/sbin", "/usr/local/bin", "/usr/local/sbin", "/opt/homebrew/bin", "/opt/homebrew/sbin"}, "pgbouncer")
	if !ok || !supported {
		return "", &notFound{program: "pgbouncer", install: "pgbouncer"}
	}
	return filepath.Join(dir, "pgbouncer"), nil
}

func newPgBouncer(postgres *cluster, settings []string) (*PgBouncer, error) {
	program, err := findPgBouncer()
	if err != nil {
		return nil, err
	}
	account, err := unprivilegedAccount()
	if err != nil {
		return nil, err
	}
	dir, err := newDirectory(quickRoot(), "pgbouncer")
	if err != nil {
		return nil, err
	}
	s := &server{
		name: "pgbouncer", dir: dir, password: postgres.password, account: account,
		stopSignal: syscall.SIGINT, endSignal: syscall.SIGTERM, afterKill: func() {},
	}
	b := &PgBouncer{controls: controls{s: s}, postgres: postgres}
	s.command = func(port int) *exec.Cmd {
		config, err := b.configure(port, settings)
		if err != nil {
			config = err.Error() // it does not start, and its log has this
		}
		return exec.Command(program, config)
	}
	s.ping = func(ctx context.Context) error {
		conn, err := pgx.Connect(ctx, b.URL(postgres.url(maintenance)))
		if err != nil {
			return err
		}
		return conn.Close(ctx)
	}
	if err := errors.Join(os.Mkdir(dir.data(), 0o700), account.give(dir.data())); err != nil {
		return nil, errors.Join(err, dir.remove())
	}
	if err := s.launch(); err != nil {
		return nil, errors.Join(err, dir.remove())
	}
	return b, nil
}

// configure writes the files of PgBouncer, and returns the path of the first.
func (b *PgBouncer) configure(port int, settings []string) (string, error) {
	host, serverPort, err := net.SplitHostPort(b.postgres.addr())
	if err != nil {
		return "", err
	}
	data := b.s.dir.data()
	users, config := filepath.Join(data, "users.txt"), filepath.Join(data, "pgbouncer.ini")
	lines := append([]string{
		"[databases]",
		fmt.Sprintf("* = host=%s port=%s", host, serverPort),
		"[pgbouncer]",
		"listen_addr=127.0.0.1",
		fmt.Sprintf("listen_port=%d", port),
		"unix_socket_dir=",
		"auth_type=scram-sha-256",
		"auth_file=" + users,
		"pool_mode=transaction",
		"default_pool_size=4",
		"max_client_conn=200",
	}, settings...)
	quoted := func(text string) string { return `"` + strings.ReplaceAll(text, `"`, `""`) + `"` }
	for path, text := range map[string]string{
		users:  quoted(b.postgres.user) + " " + quoted(b.postgres.password) + "\n",
		config: strings.Join(lines, "\n") + "\n",
	} {
		if err := errors.Join(os.WriteFile(path, []byte(text), 0o600), b.s.account.give(path)); err != nil {
			return "", err
		}
	}
	return config, nil
}
