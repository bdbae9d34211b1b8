package order

import (
	"context"
	"embed"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Migrations is the SQL that Migrate runs: files NNN_name.sql, to be run in
// order, each in one transaction. It is for those who migrate with goose, tern
// or psql; each file records its version, so that Migrate knows of it.
func Migrations() fs.FS {
	sub, err := fs.Sub(migrations, "migrations")
	if err != nil {
		panic(err) // the folder is not in the build
	}
	return sub
}

// migrationLock names our advisory lock: "lastunit" in ASCII.
const migrationLock = 0x6c617374756e6974

// Migrate brings the database's schema lastunit up to date, in one transaction.
// It is safe to run from many processes at once and safe to repeat. It needs the
// right to create a schema, unless there is nothing to do: then it only looks.
// Nothing else in this package needs that right.
func Migrate(ctx context.Context, pool *pgxpool.Pool) error {
	err := migrate(ctx, pool)
	if err != nil {
		return fmt.Errorf("migrate the order store: %w", err)
	}
	return nil
}

func migrate(ctx context.Context, pool *pgxpool.Pool) error {
	files, err := fs.Glob(migrations, "migrations/*.sql") // sorted
	if err != nil {
		return err
	}
	if done, err := migrated(ctx, pool); err != nil || done >= len(files) {
		return err
	}
	return pgx.BeginTxFunc(ctx, pool, pgx.TxOptions{IsoLevel: pgx.ReadCommitted, AccessMode: pgx.ReadWrite}, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "select pg_advisory_xact_lock($1)", int64(migrationLock)); err != nil {
			return err
		}
		done, err := migrated(ctx, tx)
		if err != nil {
			return err
		}
		for _, file := range files {
			version, err := versionOf(file)
			if err != nil {
				return err
			}
			if version <= done {
				continue
			}
			text, err := migrations.ReadFile(file)
			if err != nil {
				return err
			}
			// The simple protocol takes several statements at once.
			if _, err := tx.Conn().PgConn().Exec(ctx, string(text)).ReadAll(); err != nil {
				return fmt.Errorf("%s: %w", file, err)
			}
		}
		return nil
	})
}

// migrated is the version of the database's schema, 0 if there is none.
func migrated(ctx context.Context, db interface {
	QueryRow(ctx context.Context, sql string, arguments ...any) pgx.Row
},
) (int, error) {
	var there bool
	// Not by to_regclass: a session may remember that there was no such table, and
	// hear of it only with the next lock that it takes.
	const look = "select exists (select from pg_catalog.pg_tables where schemaname = 'lastunit' and tablename = 'migrations')"
	if err := db.QueryRow(ctx, look).Scan(&there); err != nil || !there {
		return 0, err
	}
	var version int
	err := db.QueryRow(ctx, selectVersion).Scan(&version)
	return version, err
}

// selectVersion asks of which version the database's schema is.
const selectVersion = "select coalesce(max(version), 0) from lastunit.migrations"

// versionOf is the version that a file of migrations makes.
func versionOf(file string) (int, error) {
	number, _, _ := strings.Cut(path.Base(file), "_")
	version, err := strconv.Atoi(number)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", file, err)
	}
	return version, nil
}
