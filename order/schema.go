package order

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// format is what the Go code and the schema agree on: the functions that are called,
// their arguments and results, the columns that are read, and what all of it means.
// Builds of one format sell side by side on one database, whichever of them migrated
// it; a build that meets another format refuses. Within a format, a verdict that a build
// does not know is one for which nothing was stored. A migration that a build of before
// it could not work with sets lastunit.store.format to the next number, and drops the
// functions that the older builds call: one that is running then finds out with its
// next call.
const format = 1

// encoding is the only one of a database that can store every ID.
const encoding = "UTF8"

// firstHashed is the first migration that records its own hash. It recorded those of
// the ones before it.
const firstHashed = 5

// migration is one file of SQL.
type migration struct {
	name    string
	version int
	text    string
	matches func() [][]string // of defines, in the text
}

// loadMigrations returns the files of this build, by version, without a gap.
var loadMigrations = sync.OnceValues(readMigrations)

func readMigrations() (all []migration, _ error) {
	names, err := fs.Glob(migrations, "migrations/*.sql") // sorted
	if err != nil {
		return nil, err
	}
	for i, name := range names {
		text, err := migrations.ReadFile(name)
		if err != nil {
			return nil, err
		}
		number, _, _ := strings.Cut(path.Base(name), "_")
		version, err := strconv.Atoi(number)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if version != i+1 {
			return nil, fmt.Errorf("%s: want version %d", name, i+1)
		}
		// It is long to search, and a process that migrates a new database need not.
		matches := sync.OnceValue(func() [][]string { return defines.FindAllStringSubmatch(string(text), -1) })
		all = append(all, migration{path.Base(name), version, string(text), matches})
	}
	return all, nil
}

// hashed is the part of the text that the hash is of: all above the last line, which
// records it.
func (m migration) hashed() string {
	if m.version < firstHashed {
		return m.text
	}
	return m.text[:strings.LastIndexByte(strings.TrimRight(m.text, "\n"), '\n')+1]
}

// hash is what the database records of the migration.
func (m migration) hash() string { return hashOf(m.hashed()) }

func hashOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// definition is a function as the migrations leave it.
type definition struct {
	name   string
	config []string // as pg_proc.proconfig has it: "jit=off"
	body   string
}

var (
	defines = regexp.MustCompile(`(?ms)^create (?:or replace )?function lastunit\.(\w+)\((.*?)\bas \$\$(.*?)\$\$;$|^drop function (?:if exists )?lastunit\.(\w+)`)
	sets    = regexp.MustCompile(`\bset (\w+) = (\w+)`)
)

// definitions are the functions that the migrations make, each as the last of them
// defines it, sorted by name.
func definitions(files []migration) (all []definition) {
	last := make(map[string]definition)
	for _, file := range files {
		for _, match := range file.matches() {
			if dropped := match[4]; dropped != "" {
				delete(last, dropped)
				continue
			}
			d := definition{name: match[1], body: match[3]}
			for _, set := range sets.FindAllStringSubmatch(match[2], -1) {
				d.config = append(d.config, set[1]+"="+set[2])
			}
			last[d.name] = d
		}
	}
	for _, d := range last {
		all = append(all, d)
	}
	slices.SortFunc(all, func(a, b definition) int { return strings.Compare(a.name, b.name) })
	return all
}

// rower is a pool or a transaction.
type rower interface {
	Query(ctx context.Context, sql string, arguments ...any) (pgx.Rows, error)
}

// unprepared queries without prepared statements, so that Migrate works through a pooler
// that breaks them.
type unprepared struct {
	rower
	mode pgx.QueryExecMode
}

// withoutStatements is the mode of a pool, or one that prepares nothing.
func withoutStatements(pool *pgxpool.Pool) pgx.QueryExecMode {
	if mode := pool.Config().ConnConfig.DefaultQueryExecMode; isTextMode(mode) {
		return mode
	}
	return pgx.QueryExecModeExec
}

func (u unprepared) Query(ctx context.Context, sql string, arguments ...any) (pgx.Rows, error) {
	return u.rower.Query(ctx, sql, append([]any{u.mode}, arguments...)...) //nolint:rowserrcheck // they are the caller's
}

// recorded is a row of lastunit.migrations.
type recorded struct {
	Version int
	Hash    *string // nil before firstHashed
}

// selectMigrated returns one row, whether lastunit.migrations is there. It does not use
// to_regclass: a session may remember that there was no such table until the next
// lock that it takes.
const selectMigrated = "select exists (select from pg_catalog.pg_tables where schemaname = 'lastunit' and tablename = 'migrations')"

// selectRecorded reads the column hash whether it is there or not.
const selectRecorded = "select version, to_jsonb(m)->>'hash' from lastunit.migrations m order by version"

// selectChanged returns the functions that are not as given, and whether there is one
// of that name at all. A function may have further settings. The hash is none of md5,
// which a FIPS build of the server refuses.
const selectChanged = `
select f.name, exists (select from pg_catalog.pg_proc p join pg_catalog.pg_namespace n on n.oid = p.pronamespace
	where n.nspname = 'lastunit' and p.proname = f.name)
from unnest($1::text[], $2::text[], $3::text[]) with ordinality f(name, config, hash, i)
where not exists (
	select from pg_catalog.pg_proc p join pg_catalog.pg_namespace n on n.oid = p.pronamespace
	where n.nspname = 'lastunit' and p.proname = f.name
		and encode(sha256(convert_to(p.prosrc, 'UTF8')), 'hex') = f.hash
		and coalesce(p.proconfig, '{}') @> string_to_array(f.config, ','))
order by f.i`

// readRecorded returns what the database records of its migrations: nothing if it was
// never migrated.
func readRecorded(ctx context.Context, db rower) ([]recorded, error) {
	rows, err := db.Query(ctx, selectMigrated)
	if err != nil {
		return nil, err
	}
	if there, err := pgx.CollectExactlyOneRow(rows, pgx.RowTo[bool]); err != nil || !there {
		return nil, err
	}
	if rows, err = db.Query(ctx, selectRecorded); err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[recorded])
}

// versionOf is the version of a schema, 0 if there is none.
func versionOf(rows []recorded) int {
	if len(rows) == 0 {
		return 0
	}
	return rows[len(rows)-1].Version
}

// difference is a part of the database that is not what this build expects there.
type difference struct {
	what, found string
	err         error // ErrNewerSchema or ErrOtherBuild
}

func (d difference) Error() string { return fmt.Sprintf("%v: %s is %s", d.err, d.what, d.found) }
func (d difference) Unwrap() error { return d.err }

// compareSchema returns how the database differs from what these migrations make of it,
// as far as it is migrated. Of a newer schema nothing else is known.
func compareSchema(ctx context.Context, db rower, files []migration, rows []recorded) (found []difference, _ error) {
	version := versionOf(rows)
	if version > len(files) {
		return []difference{newer("schema version", version, len(files))}, nil
	}
	found = compareHashes(files[:version], rows)
	changed, err := compareFunctions(ctx, db, files[:version])
	if found = append(found, changed...); err != nil {
		return found, err
	}
	switch {
	case version == len(files):
		parts, err := compareParts(ctx, db, files)
		return append(found, parts...), err
	case version == firstHashed-1 && len(found) == 0:
		return verifyUnhashed(ctx, db, files[version])
	}
	return found, nil
}

// verifyUnhashed runs the block with which the first migration that records hashes
// verifies those before it, and which changes nothing.
func verifyUnhashed(ctx context.Context, db rower, first migration) ([]difference, error) {
	_, block, _ := strings.Cut(first.text, "-- +goose StatementBegin\n")
	block, _, _ = strings.Cut(block, "-- +goose StatementEnd\n")
	rows, err := db.Query(ctx, block)
	if err == nil {
		rows.Close()
		err = rows.Err()
	}
	var answer *pgconn.PgError
	if errors.As(err, &answer) {
		switch answer.Code {
		case "LU003":
			return []difference{{"SCHEMA lastunit", "another one. " + answer.Detail, ErrOtherBuild}}, nil
		case "0A000": // the encoding, which Migrate and Check look at by themselves
			return nil, nil
		}
	}
	return nil, err
}

func newer(what string, is, known int) difference {
	return difference{what, fmt.Sprintf("%d, newer than %d", is, known), ErrNewerSchema}
}

// compareHashes looks at what is recorded of each file.
func compareHashes(files []migration, rows []recorded) (found []difference) {
	for _, file := range files {
		i := slices.IndexFunc(rows, func(r recorded) bool { return r.Version == file.version })
		switch {
		case i < 0:
			found = append(found, difference{"migration " + file.name, "not recorded", ErrOtherBuild})
		case len(files) < firstHashed: // no hashes yet
		case rows[i].Hash == nil || *rows[i].Hash != file.hash():
			found = append(found, difference{"migration " + file.name, "another file", ErrOtherBuild})
		}
	}
	return found
}

// compareFunctions looks at the functions that the files make.
func compareFunctions(ctx context.Context, db rower, files []migration) (found []difference, _ error) {
	var names, configs, hashes []string
	for _, d := range definitions(files) {
		names, configs = append(names, d.name), append(configs, strings.Join(d.config, ","))
		hashes = append(hashes, hashOf(d.body))
	}
	rows, err := db.Query(ctx, selectChanged, names, configs, hashes)
	if err != nil {
		return nil, err
	}
	changed, err := pgx.CollectRows(rows, pgx.RowToStructByPos[struct {
		Name  string
		There bool
	}])
	for _, function := range changed {
		is := "missing"
		if function.There {
			is = "another one"
		}
		found = append(found, difference{"FUNCTION lastunit." + function.Name, is, ErrOtherBuild})
	}
	return found, err
}

// joined is all differences as one error, nil without any.
func joined(found []difference) error {
	var errs []error
	for _, d := range found {
		errs = append(errs, d)
	}
	return errors.Join(errs...)
}
