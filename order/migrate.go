package order

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"time"

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

// Migrate brings the database's schema lastunit up to date: a new one in one transaction,
// one that is there in one for each file, so that a file that fails changes nothing. It is
// safe to run from many processes at once and safe to repeat. It needs the right to create
// a schema, unless there is nothing to do: then it only looks. Nothing else in this
// package needs that right.
//
// Older builds may sell meanwhile. A table that something else reads for long, such as a
// report or pg_dump, can't be changed until that ends, and whoever sells would queue up
// behind the wait for it. So Migrate waits for half a second at a time, and tries again
// after a pause, for as long as its context lasts.
//
// It compares what is there with what this build expects: the files that were run, by
// their hashes, the body of each function, and in a schema that is up to date the triggers
// and constraints, that no table is unlogged, and the rows of partitions. ErrOtherBuild
// names what differs, ErrNewerSchema is for a version that this build does not know; nothing is changed
// then. Nor is it in a database whose encoding is not UTF8, which is refused too.
func Migrate(ctx context.Context, pool *pgxpool.Pool) error {
	err := migrate(ctx, pool)
	if err != nil {
		return fmt.Errorf("migrate the order store: %w", err)
	}
	return nil
}

func migrate(ctx context.Context, pool *pgxpool.Pool) error {
	if pool == nil {
		return errors.New("the pool is nil")
	}
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
	for {
		done, err := migrateSome(ctx, pool, mode, files)
		switch {
		case done || err != nil && !rolledBackForAnother(err) && sqlState(err) != "55P03":
			return err
		case err != nil:
			select {
			case <-ctx.Done():
				return fmt.Errorf("something else reads or has locked what is to be changed: %w: %w", ctx.Err(), err)
			case <-time.After(migratePause):
			}
		}
	}
}

// migratePause is between two tries: the sale goes on.
const migratePause = 2 * time.Second

// migrateSome runs what is missing, in one transaction: all files in a database without a
// schema, else the next one. It reports whether the schema is that of the last file.
func migrateSome(ctx context.Context, pool *pgxpool.Pool, mode pgx.QueryExecMode, files []migration) (done bool, _ error) {
	err := pgx.BeginTxFunc(ctx, pool, pgx.TxOptions{IsoLevel: pgx.ReadCommitted, AccessMode: pgx.ReadWrite}, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "select pg_advisory_xact_lock($1)", mode, int64(migrationLock)); err != nil {
			return err
		}
		version, err := sameSchema(ctx, unprepared{tx, mode}, files)
		if err != nil {
			return err
		}
		last := len(files)
		if version > 0 {
			last = min(version+1, last)
		}
		if _, err := tx.Exec(ctx, "set local lock_timeout = '500ms'", mode); err != nil {
			return err
		}
		for _, file := range files[version:last] {
			// The simple protocol takes several statements at once.
			if _, err := tx.Conn().PgConn().Exec(ctx, file.text).ReadAll(); err != nil {
				return fmt.Errorf("%s: %w", file.name, err)
			}
		}
		done = last == len(files)
		return nil
	})
	return done && err == nil, err
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
