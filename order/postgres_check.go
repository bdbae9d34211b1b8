package order

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/lastunit/lastunit/inventory"
)

var _ inventory.Checker = (*Postgres)(nil)

// itself is how findings name the server.
const itself = "PostgreSQL"

// Check implements inventory.Checker. It reads settings and the catalogue, which
// every role may, and lastunit.migrations, if the role may.
func (p *Postgres) Check(ctx context.Context) (inventory.Checkup, error) {
	var up inventory.Checkup
	session, readable, err := p.checkSession(ctx)
	up.Findings = append(up.Findings, session...)
	switch {
	case isTurnedAway(err):
		up.Findings = append(up.Findings, cannotConnect(err))
		return up, nil
	case err != nil:
		return up, fmt.Errorf("check %s: %w", itself, err)
	case !readable:
		return up, nil
	}
	server, err := p.readServer(ctx)
	if err != nil {
		return up, fmt.Errorf("check %s: %w", itself, err)
	}
	up.Findings = append(up.Findings, server.check()...)
	up.Findings = append(up.Findings, checkPool(p.pool.Config().MaxConns, server)...)
	found, err := p.checkSchema(ctx)
	if err != nil {
		return up, fmt.Errorf("check %s: %w", itself, err)
	}
	if server.encoding != encoding {
		for i := range found {
			if found[i].Advice == callMigrate {
				found[i].Advice = "call order.Migrate in a database that was made with ENCODING 'UTF8': it refuses this one"
			}
		}
	}
	up.Findings = append(up.Findings, found...)
	clock, err := p.measureClock(ctx)
	if err != nil {
		return up, fmt.Errorf("check %s: %w: %w", itself, ErrUnavailable, err)
	}
	up.Clocks = []inventory.Clock{clock}
	return up, nil
}

// isTurnedAway says whether Postgres refused the connection, and will until somebody
// changes its users, its databases or the pool's settings.
func isTurnedAway(err error) bool {
	var connecting *pgconn.ConnectError
	var answer *pgconn.PgError
	if !errors.As(err, &connecting) || !errors.As(err, &answer) {
		return false
	}
	return strings.HasPrefix(answer.Code, "28") || // a wrong user or password, or pg_hba.conf
		answer.Code == "3D000" || answer.Code == "42501" // no such database, or no right to it
}

func cannotConnect(err error) inventory.Finding {
	return inventory.Finding{
		Severity: inventory.Problem, Where: itself, What: "connection", Found: "refused",
		Err:    fmt.Errorf("check %s: %w", itself, err),
		Means:  "pgx cannot connect: " + err.Error(),
		Advice: "compare the user, the password and the database of the pool with those that PostgreSQL has, and with its pg_hba.conf",
	}
}

// server is what Postgres says of itself.
type server struct {
	version     int    // 150018 is 15.18
	encoding    string // of the database
	standby     bool
	awaited     string            // standbys that a commit waits for, as in synchronous_standby_names
	standbys    int               // that are connected
	settings    map[string]string // of this session; times in milliseconds
	connections int64             // that the role may have, at most
}

func (p *Postgres) readServer(ctx context.Context) (s server, _ error) {
	s.settings = make(map[string]string)
	err := p.send(ctx, reading, func(batch *pgx.Batch) {
		// Every role may count the standbys, but not see which they are.
		batch.Queue(`select current_setting('server_version_num')::int, current_setting('server_encoding'), pg_is_in_recovery(),
				current_setting('synchronous_standby_names'), (select count(*) from pg_stat_replication)`).
			QueryRow(func(row pgx.Row) error { return row.Scan(&s.version, &s.encoding, &s.standby, &s.awaited, &s.standbys) })
		batch.Queue(`select name, setting from pg_settings where name in
			('fsync', 'full_page_writes', 'synchronous_commit', 'autovacuum', 'statement_timeout', 'transaction_timeout',
			 'lock_timeout')`).
			Query(func(rows pgx.Rows) error {
				var name, setting string
				_, err := pgx.ForEachRow(rows, []any{&name, &setting}, func() error {
					s.settings[name] = setting
					return nil
				})
				return err
			})
		// -1 is no limit of the role's or the database's own. What is reserved is for
		// superusers, or for those with a role of which older ones don't know.
		batch.Queue(`select least(
				(select sum(case name when 'max_connections' then setting::bigint else -setting::bigint end) from pg_settings
					where name in ('max_connections', 'superuser_reserved_connections', 'reserved_connections')),
				(select nullif(rolconnlimit, -1) from pg_roles where rolname = current_user),
				(select nullif(datconnlimit, -1) from pg_database where datname = current_database()))::bigint`).
			QueryRow(func(row pgx.Row) error { return row.Scan(&s.connections) })
	})
	return s, err
}

// check looks at the settings that a promise depends on. synchronous_commit is none
// of them for orders, as every function turns it on; nor are isolation levels and
// read-only defaults, which our transactions set for themselves.
func (s server) check() (found inventory.Findings) {
	add := func(severity inventory.Severity, what, is, means, advice string) {
		found = append(found, inventory.Finding{Severity: severity, Where: itself, What: what, Found: is, Means: means, Advice: advice})
	}
	if s.version < 150000 {
		add(inventory.Problem, "server_version_num", fmt.Sprint(s.version), "lastunit is neither written for it nor tested on it", "use PostgreSQL 15 or newer")
	}
	if s.encoding != encoding {
		add(inventory.Problem, "server_encoding", s.encoding, "the database can't store every ID, and an order whose ID it can't store is never decided",
			"move to a database that was made with ENCODING 'UTF8'")
	}
	if s.standby {
		add(inventory.Problem, "pg_is_in_recovery", "true", "nothing can be sold on a standby, which only reads", "connect to the primary, for instance with target_session_attrs=read-write")
	}
	if s.awaited != "" && s.standbys == 0 && !s.standby {
		add(inventory.Problem, "synchronous_standby_names", s.awaited,
			"no commit ends before these standbys have it, and none is connected: callers wait until their time is over, and hear order.ErrOutcomeUnknown",
			"bring the standbys back, or set it to ''")
	}
	for _, name := range []struct {
		what          string
		severity      inventory.Severity
		means, advice string
	}{
		{
			"fsync", inventory.Problem,
			"a crash of the machine may lose orders that were confirmed, or all of the database",
			"set it to on, unless the provider keeps the log elsewhere and says so",
		},
		{
			"full_page_writes", inventory.Notice,
			"a crash of the machine in the middle of writing a page may damage orders that were confirmed",
			"set it to on, unless the file system never writes a part of a page",
		},
		{
			"autovacuum", inventory.Notice,
			"tables grow without end, and plans are made without statistics",
			"set it to on, or see to it that something else runs VACUUM and ANALYZE",
		},
	} {
		if s.settings[name.what] == "off" {
			add(name.severity, name.what, "off", name.means, name.advice)
		}
	}
	if commit := s.settings["synchronous_commit"]; commit == "off" || commit == "local" {
		add(inventory.Notice, "synchronous_commit", commit,
			"orders are safe, as lastunit turns it on in its transactions, those of ConfirmTx and CancelTx too; other transactions of this role may be lost in a crash after they committed",
			"set it to on if that matters")
	}
	for _, name := range []string{"statement_timeout", "transaction_timeout", "lock_timeout"} {
		if limit, err := strconv.Atoi(s.settings[name]); err == nil && limit > 0 && limit < shortest {
			add(inventory.Notice, name, fmt.Sprint(limit, "ms"),
				"a batch of commits that takes longer, as one does that waits for a lock, comes to nothing, and its callers hear order.ErrUnavailable",
				fmt.Sprintf("make it %dms or more for this role, or 0", shortest))
		}
	}
	return found
}

// shortest is how many milliseconds a transaction should have: many times of what a
// full batch takes.
const shortest = 1000

// checkPool looks at how many connections the pool may open.
func checkPool(most int32, s server) (found inventory.Findings) {
	if most == 1 {
		found = append(found, inventory.Finding{
			Severity: inventory.Notice, Where: "pgx", What: "MaxConns", Found: "1",
			Means:  "every call waits for the one before, and all of them for a transaction of yours that uses this pool",
			Advice: "allow 4 or more",
		})
	}
	if int64(most) > s.connections {
		found = append(found, inventory.Finding{
			Severity: inventory.Notice, Where: "pgx", What: "MaxConns", Found: fmt.Sprint(most),
			Means:  fmt.Sprintf("this pool alone may open more connections than PostgreSQL lets this role have, %d: under load calls end in order.ErrUnavailable", s.connections),
			Advice: "let the pools of all processes have fewer together, or raise the limit: max_connections, or that of the role or the database",
		})
	}
	return found
}

func (p *Postgres) measureClock(ctx context.Context) (inventory.Clock, error) {
	conn, err := p.pool.Acquire(ctx)
	if err != nil {
		return inventory.Clock{}, err
	}
	defer conn.Release()
	return inventory.MeasureClock(itself, func() (at time.Time, err error) {
		var micros int64 // a number reads the same whatever DateStyle is
		err = conn.QueryRow(ctx, "select (extract(epoch from clock_timestamp()) * 1000000)::bigint").Scan(&micros)
		return time.UnixMicro(micros), err
	})
}
