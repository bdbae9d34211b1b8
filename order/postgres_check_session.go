package order

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/lastunit/lastunit/inventory"
)

// checkSession looks at what a session is like that the pool opens: at settings that
// only the pool's owner can change, and at a pooler in between. Where pgx can't rely on
// the session, readable is false, and nothing else can be asked.
func (p *Postgres) checkSession(ctx context.Context) (found inventory.Findings, readable bool, _ error) {
	conn, err := p.pool.Acquire(ctx)
	if err != nil {
		return nil, false, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	defer conn.Release()
	config := p.pool.Config()
	mode := config.ConnConfig.DefaultQueryExecMode
	if mode == pgx.QueryExecModeSimpleProtocol {
		for _, setting := range [...]struct{ name, want string }{{"standard_conforming_strings", "on"}, {"client_encoding", "UTF8"}} {
			if is := conn.Conn().PgConn().ParameterStatus(setting.name); is != setting.want {
				found = append(found, inventory.Finding{
					Severity: inventory.Problem, Where: itself, What: setting.name, Found: is, Err: ErrUnavailable,
					Means:  "pgx refuses to send anything in its simple protocol: it could not quote what it is given",
					Advice: fmt.Sprintf("set it to %s for this role, or give pgx another default_query_exec_mode", setting.want),
				})
			}
		}
		return found, len(found) == 0, nil
	}
	if mode != pgx.QueryExecModeCacheStatement && mode != pgx.QueryExecModeDescribeExec {
		return nil, true, nil
	}
	pooled, err := isPooled(ctx, conn.Conn().PgConn())
	if err != nil || !pooled {
		return nil, true, err
	}
	second := config.ConnConfig
	if config.BeforeConnect != nil {
		if err := config.BeforeConnect(ctx, second); err != nil {
			return nil, true, fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
	}
	other, err := pgx.ConnectConfig(ctx, second)
	if err != nil {
		return nil, true, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	defer other.Close(context.WithoutCancel(ctx)) //nolint:errcheck // nothing is under way
	shared, err := shareStatements(ctx, conn.Conn().PgConn(), other.PgConn())
	if err != nil || !shared {
		return nil, true, err
	}
	return inventory.Findings{{
		Severity: inventory.Problem, Where: "pgx", What: "default_query_exec_mode", Found: strings.ReplaceAll(mode.String(), " ", "_"), Err: ErrUnavailable,
		Means: "a pooler in between, such as PgBouncer with pool_mode=transaction, runs each transaction on another session: " +
			"the prepared statements of pgx are not there, or are those of another client, and calls fail",
		Advice: "give pgx default_query_exec_mode=cache_describe or =exec, in the URL or in the pool's config; " +
			"or set pool_mode=session, or max_prepared_statements with a PgBouncer that has it",
	}}, false, nil
}

// isPooled says whether something answers in PostgreSQL's place: a pooler makes up the
// process ID that a session begins with.
func isPooled(ctx context.Context, conn *pgconn.PgConn) (bool, error) {
	results, err := conn.Exec(ctx, "select pg_backend_pid()").ReadAll()
	if err != nil {
		return false, classify(err, ErrUnavailable)
	}
	return len(results) == 1 && len(results[0].Rows) == 1 && string(results[0].Rows[0][0]) != fmt.Sprint(conn.PID()), nil
}

// shareStatements says whether two clients of a pooler share prepared statements: they
// have the same session in turn, and the pooler does not keep the statements of each
// apart. A statement that one of them made is in the other's way then. A pooler as a
// rule gives the session on that was given back last; where it does not, another try
// may meet it.
func shareStatements(ctx context.Context, one, other *pgconn.PgConn) (bool, error) {
	for try := range 5 {
		name := fmt.Sprintf("lastunit_check_%d_%d", one.PID(), try)
		if _, err := one.Prepare(ctx, name, "select 1", nil); err != nil {
			return false, classify(err, ErrUnavailable)
		}
		_, err := other.Prepare(ctx, name, "select 2", nil)
		for _, conn := range [...]*pgconn.PgConn{one, other} {
			conn.Exec(ctx, "deallocate "+name).Close() //nolint:errcheck // it may be in another session
		}
		if sqlState(err) == "42P05" { // duplicate_prepared_statement
			return true, nil
		}
		if err != nil {
			return false, classify(err, ErrUnavailable)
		}
	}
	return false, nil
}
