package servertest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// Postgres is a private PostgreSQL cluster.
type Postgres struct {
	controls
	cluster *cluster
}

// cluster is a server with its data directory.
type cluster struct {
	server
	template *template // nil for an external server
	user     string
	sslmode  string
	idle     idleConnections
	filled   filled
}

const (
	superuser   = "postgres"
	maintenance = "postgres"
	// dropLimit is how long a database may take to go away.
	dropLimit = 30 * time.Second
)

// StartPostgres starts a PostgreSQL cluster that ends with the test. Settings
// are such as "max_connections=50", and override the defaults of this
// package. One of those is fsync=off: a killed process loses nothing by it,
// only a killed machine would. Unless it is on, or TMPDIR is set, the data are
// in memory, where /dev/shm has room for them.
func StartPostgres(t testing.TB, settings ...string) *Postgres {
	t.Helper()
	c, err := newCluster(settings)
	if err != nil {
		giveUp(t, noPrivate(err))
	}
	p := &Postgres{controls: controls{t: t, s: &c.server}, cluster: c}
	t.Cleanup(func() {
		p.end()
		c.template.release()
	})
	return p
}

// URL returns the URL of the maintenance database, for the superuser, or the
// user in DATABASE_URL.
func (p *Postgres) URL() string { return p.cluster.url(maintenance) }

// Database makes a new, empty database and returns its URL, for the same user.
// On a shared server it is dropped with the test, together with the connections it
// still has; elsewhere it goes with the server.
func (p *Postgres) Database(t testing.TB) string {
	t.Helper()
	// Nobody is ever connected to template0, as is possible for template1,
	// and then it could not be copied.
	return p.copyOf(t, "template0")
}

// Filled makes a database that has what fill puts into a new one, and returns its URL.
// fill is the same in all calls: a shared server runs it once, and copies the database
// from then on. It leaves no connection behind. The database goes as Database's does.
func (p *Postgres) Filled(t testing.TB, fill func(url string) error) string {
	t.Helper()
	if !p.copies() {
		url := p.Database(t)
		if err := fill(url); err != nil {
			t.Fatalf("cannot fill a database: %v", err)
		}
		return url
	}
	f := &p.cluster.filled
	f.once.Do(func() {
		name := newName()
		if f.err = p.create(name, "template0"); f.err == nil {
			f.err = fill(p.cluster.url(name))
		}
		f.name = name
	})
	if f.err != nil {
		t.Fatalf("cannot fill a database: %v", f.err)
	}
	return p.copyOf(t, f.name)
}

// filled is the database that Filled copies. It goes with the server.
type filled struct {
	once sync.Once
	name string
	err  error
}

// copies says whether the server may keep something between two tests: it ends with
// this process, and others use it.
func (p *Postgres) copies() bool { return p.shared && p.s.external == nil }

// copyOf makes a database that is a copy, and returns its URL.
func (p *Postgres) copyOf(t testing.TB, template string) string {
	t.Helper()
	name := newName()
	if err := p.create(name, template); err != nil {
		t.Fatalf("cannot create a database: %v", err)
	}
	if p.shared {
		t.Cleanup(func() {
			if err := p.execute("DROP DATABASE IF EXISTS " + name + " WITH (FORCE)"); err != nil {
				t.Errorf("cannot drop a database: %v", err)
			}
		})
	}
	return p.cluster.url(name)
}

func newName() string { return "test_" + strings.ToLower(rand.Text()) }

// create copies the files of a database as they are: the default, page by page through
// the buffers, takes four times the work.
func (p *Postgres) create(name, template string) error {
	return p.execute("CREATE DATABASE " + name + " TEMPLATE " + template + " STRATEGY FILE_COPY")
}

// Wipe puts a new, empty cluster in the place of the data. The server must
// not run.
func (p *Postgres) Wipe() {
	p.t.Helper()
	p.own()
	p.check(p.s.whenStopped(p.cluster.fill))
}

func newCluster(settings []string) (*cluster, error) {
	template, err := useTemplate()
	if err != nil {
		return nil, err
	}
	c, err := newClusterFrom(template, settings)
	if err != nil {
		template.release()
		return nil, err
	}
	return c, nil
}

func newClusterFrom(template *template, settings []string) (*cluster, error) {
	root := quickRoot()
	if slices.Contains(settings, "fsync=on") { // whoever says so wants a disk
		root = temporaryRoot()
	}
	dir, err := newDirectory(root, "pg")
	if err != nil {
		return nil, err
	}
	c := &cluster{template: template, user: superuser, sslmode: "disable"}
	c.name = "postgres"
	c.dir = dir
	c.password = template.password
	c.account = template.account
	c.stopSignal = syscall.SIGINT
	c.endSignal = syscall.SIGQUIT
	c.afterKill = func() { _ = forgetPostmaster(dir.data()) } // else postgres finds out at its start who still uses it
	c.command = func(port int) *exec.Cmd {
		args := []string{"-D", dir.data(), "-p", fmt.Sprint(port)}
		for _, setting := range append(defaultSettings(), settings...) {
			args = append(args, "-c", setting)
		}
		return exec.Command(filepath.Join(template.programs, "postgres"), args...)
	}
	c.ping = func(ctx context.Context) error { return c.with(ctx, func(*pgx.Conn) error { return nil }) }
	err = c.fill()
	if err == nil {
		err = c.launch()
	}
	if err != nil {
		return nil, errors.Join(err, dir.remove())
	}
	return c, nil
}

func defaultSettings() []string {
	return []string{
		"listen_addresses=127.0.0.1",
		"unix_socket_directories=",
		"max_connections=200",
		"fsync=off",
		// To compile a query takes many times what it takes to run it on tables as
		// small as a test's, and changes no answer.
		"jit=off",
		// Shared memory in files of the data directory goes with it, even
		// when the server was killed.
		"dynamic_shared_memory_type=mmap",
		"log_destination=stderr",
		"logging_collector=off",
	}
}

// fill replaces the data by a copy of the template.
func (c *cluster) fill() error {
	return c.template.copyTo(c.dir.data())
}

func (c *cluster) url(database string) string {
	return fmt.Sprintf("postgres://%s@%s/%s?sslmode=%s", url.UserPassword(c.user, c.password), c.addr(), database, c.sslmode)
}

// with runs f with a connection to the maintenance database.
func (c *cluster) with(ctx context.Context, f func(*pgx.Conn) error) error {
	conn, err := pgx.Connect(ctx, c.url(maintenance))
	if err != nil {
		return err
	}
	return errors.Join(f(conn), conn.Close(ctx))
}

// execute runs a statement in the maintenance database. A shared server of ours keeps the
// connection for the next one: to connect takes more than the statement.
func (p *Postgres) execute(sql string) error {
	ctx, cancel := context.WithTimeout(context.Background(), dropLimit)
	defer cancel()
	run := func(conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, sql)
		return err
	}
	if !p.copies() {
		return p.cluster.with(ctx, run)
	}
	conn := p.cluster.idle.take()
	if conn == nil {
		var err error
		if conn, err = pgx.Connect(ctx, p.URL()); err != nil {
			return err
		}
	}
	err := run(conn)
	if err != nil {
		return errors.Join(err, conn.Close(ctx))
	}
	p.cluster.idle.put(conn)
	return nil
}

// idleConnections are those to the maintenance database that nobody uses just now. They
// end with the server.
type idleConnections struct {
	mu  sync.Mutex
	all []*pgx.Conn
}

func (i *idleConnections) take() (conn *pgx.Conn) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if last := len(i.all) - 1; last >= 0 {
		conn, i.all = i.all[last], i.all[:last]
	}
	return conn
}

func (i *idleConnections) put(conn *pgx.Conn) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.all = append(i.all, conn)
}
