package order

import (
	"context"
	"embed"
	"fmt"
	"io/fs"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Migrations is the SQL that Migrate runs: files NNN_name.sql, to be run in
// order, each in one transaction. It is for those who migrate with goose, tern
// or psql; each file records its version and its hash, so that Migrate knows of it.
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
//
// It compares what is there with what this build expects: the files that were run, by
// their hashes, and the body of each function. ErrOtherBuild names what differs,
// ErrNewerSchema is for a version that this build does not know; nothing is changed
// then. Nor is it in a database whose encoding is not UTF8, which is refused too.
func Migrate(ctx context.Context, pool *pgxpool.Pool) error {
	err := migrate(ctx, pool)
	if err != nil {
		return fmt.Errorf("migrate the order store: %w", err)
	}
	return nil
}

func migrate(ctx context.Context, pool *pgxpool.Pool) error {
	files, err := loadMigrations()
	if err != nil {
		return err
	}
	mode := withoutStatements(pool)
	var is string
	if err := pool.QueryRow(ctx, "select current_setting('server_encoding')", mode).Scan(&is); err != nil {
		return err
	}
	if is != encoding {
		return fmt.Errorf("the database is encoded in %s, want %s, which can store every ID: make another one with ENCODING '%s'", is, encoding, encoding)
	}
	if version, err := sameSchema(ctx, unprepared{pool, mode}, files); err != nil || version == len(files) {
		return err
	}
	return pgx.BeginTxFunc(ctx, pool, pgx.TxOptions{IsoLevel: pgx.ReadCommitted, AccessMode: pgx.ReadWrite}, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "select pg_advisory_xact_lock($1)", mode, int64(migrationLock)); err != nil {
			return err
		}
		version, err := sameSchema(ctx, unprepared{tx, mode}, files)
		if err != nil {
			return err
		}
		for _, file := range files[version:] {
			// The simple protocol takes several statements at once.
			if _, err := tx.Conn().PgConn().Exec(ctx, file.text).ReadAll(); err != nil {
				return fmt.Errorf("%s: %w", file.name, err)
			}
		}
		return nil
	})
}

// sameSchema returns the version of the database's schema, 0 if there is none, and an
// error if it is not what these files make.
func sameSchema(ctx context.Context, db rower, files []migration) (version int, _ error) {
	rows, err := readRecorded(ctx, db)
	if err != nil {
		return 0, err
	}
	found, err := compareSchema(ctx, db, files, rows)
	if err != nil {
		return 0, err
	}
	return versionOf(rows), joined(found)
}
