package order

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/lastunit/lastunit/inventory"
)

// right is one that the role needs, on something in the schema lastunit.
type right struct {
	privilege string
	on        string // a table; empty for the schema
	column    string // empty for all
}

// String is the right as GRANT takes it.
func (r right) String() string {
	switch {
	case r.on == "":
		return r.privilege + " ON SCHEMA lastunit"
	case r.column != "":
		return fmt.Sprintf("%s (%s) ON lastunit.%s", r.privilege, r.column, r.on)
	}
	return r.privilege + " ON lastunit." + r.on
}

// object is what must be there for the right, as it is called in SQL.
func (r right) object() string {
	switch {
	case r.on == "":
		return "SCHEMA lastunit"
	case r.column != "":
		return fmt.Sprintf("COLUMN lastunit.%s.%s", r.on, r.column)
	}
	return "TABLE lastunit." + r.on
}

// rights are those that the role needs besides EXECUTE, as the documentation of the
// package grants them.
var rights = []right{
	{"USAGE", "", ""},
	{"SELECT", "store", ""},
	{"UPDATE", "store", "ledger"},
	{"UPDATE", "store", "inventory"},
	{"SELECT", "skus", ""},
	{"INSERT", "skus", ""},
	{"UPDATE", "skus", ""},
	{"SELECT", "orders", ""},
	{"INSERT", "orders", ""},
	{"UPDATE", "orders", ""},
	{"SELECT", "adjustments", ""},
	{"INSERT", "adjustments", ""},
	{"SELECT", "movement_batches", ""},
	{"INSERT", "movement_batches", ""},
	{"SELECT", "feed", ""},
	{"UPDATE", "feed", ""},
	{"SELECT", "feed_entries", ""},
	{"INSERT", "feed_entries", ""},
	{"SELECT", "fences", ""},
	{"INSERT", "fences", ""},
	{"DELETE", "fences", ""},
	{"SELECT", "partitions", ""},
	{"UPDATE", "partitions", ""},
	readVersion,
}

// readVersion is needed only to find out of which version the schema is.
var readVersion = right{"SELECT", "migrations", ""}

// selectRights asks for each right whether the role has it, null if what it is on is
// not there. By number and not by name, as that would be an error then.
const selectRights = `
select case
	when r.on_table = '' then has_schema_privilege(n.oid, r.privilege)
	when r.on_column = '' then has_table_privilege(c.oid, r.privilege)
	else has_column_privilege(c.oid, a.attnum, r.privilege) end
from unnest($1::text[], $2::text[], $3::text[]) with ordinality r(privilege, on_table, on_column, i)
left join pg_namespace n on n.nspname = 'lastunit'
left join pg_class c on c.relnamespace = n.oid and c.relname = r.on_table
left join pg_attribute a on a.attrelid = c.oid and a.attname = r.on_column
order by r.i`

// selectFunctions asks for each function whether the role may execute it, in all its
// versions; null if there is none. To fire a trigger takes no right to its function.
const selectFunctions = `
select bool_and(p.prorettype = 'trigger'::regtype or has_function_privilege(p.oid, 'EXECUTE'))
from unnest($1::text[]) with ordinality f(name, i)
left join pg_namespace n on n.nspname = 'lastunit'
left join pg_proc p on p.pronamespace = n.oid and p.proname = f.name
group by f.i order by f.i`

// checkSchema looks at the rights of the role, and whether all that Migrate makes is
// there.
func (p *Postgres) checkSchema(ctx context.Context) (found inventory.Findings, _ error) {
	files, err := loadMigrations()
	if err != nil {
		return nil, err
	}
	var functions []string
	for _, d := range definitions(files) {
		functions = append(functions, d.name)
	}
	var privileges, tables, columns []string
	for _, r := range rights {
		privileges, tables, columns = append(privileges, r.privilege), append(tables, r.on), append(columns, r.column)
	}
	var role string // as SQL takes it, for the advice
	var may, execute []*bool
	err = p.send(ctx, reading, func(batch *pgx.Batch) {
		queueNoJIT(batch)
		batch.Queue("select quote_ident(current_user)").QueryRow(func(row pgx.Row) error { return row.Scan(&role) })
		batch.Queue(selectRights, privileges, tables, columns).Query(func(rows pgx.Rows) (err error) {
			may, err = pgx.CollectRows(rows, pgx.RowTo[*bool])
			return err
		})
		batch.Queue(selectFunctions, functions).Query(func(rows pgx.Rows) (err error) {
			execute, err = pgx.CollectRows(rows, pgx.RowTo[*bool])
			return err
		})
	})
	if err != nil {
		return nil, err
	}
	readable := true
	for i, r := range rights {
		switch {
		case may[i] == nil:
			return p.missing(ctx, r.object(), files), nil
		case !*may[i]:
			readable = readable && r != readVersion && r.on != ""
			found = append(found, missingRight(role, r.String(), r == readVersion))
		}
	}
	var unexecutable []string
	for i, function := range functions {
		switch {
		case execute[i] == nil:
			return p.missing(ctx, "FUNCTION lastunit."+function, files), nil
		case !*execute[i]:
			unexecutable = append(unexecutable, "FUNCTION lastunit."+function)
		}
	}
	if len(unexecutable) > 1 { // somebody took it from all of them, or from PUBLIC by default
		unexecutable = []string{"ALL FUNCTIONS IN SCHEMA lastunit"}
	}
	for _, function := range unexecutable {
		found = append(found, missingRight(role, "EXECUTE ON "+function, false))
	}
	if !readable {
		var d difference
		if _, err := p.identify(ctx); errors.As(err, &d) { // another format
			found = append(found, d.finding())
		}
		return found, nil
	}
	differ, err := p.checkBuild(ctx, files)
	return append(found, differ...), err
}

// checkBuild compares the schema with what this build makes of it.
func (p *Postgres) checkBuild(ctx context.Context, files []migration) (found inventory.Findings, _ error) {
	rows, err := readRecorded(ctx, p.pool)
	if err != nil {
		return nil, classify(err, ErrUnavailable)
	}
	differ, err := compareSchema(ctx, p.pool, files, rows)
	if err != nil {
		return nil, classify(err, ErrUnavailable)
	}
	for _, d := range differ {
		found = append(found, d.finding())
	}
	if version := versionOf(rows); version < len(files) {
		found = append(found, oldSchema(version, files)...)
	}
	return found, nil
}

func oldSchema(version int, files []migration) inventory.Findings {
	return notMigratedFinding("schema version", fmt.Sprintf("%d, want %d", version, len(files)))
}

// finding is the difference as Check reports it.
func (d difference) finding() inventory.Finding {
	f := inventory.Finding{Severity: inventory.Problem, Where: itself, What: d.what, Found: d.found, Err: d}
	if errors.Is(d, ErrNewerSchema) {
		f.Means = "a newer lastunit migrated the database than the one in this program, which sells only as long as the format is the same"
		f.Advice = "bring this program up to date"
		return f
	}
	f.Means = "the schema is not what the migrations of this program make: another build made it, or somebody changed it; what calls do there is not known"
	f.Advice = "restore it from order.Migrations, from the last file that has it; or sell with the build that made the database"
	return f
}

// missing is for something that Migrate makes. Where it has recorded that it did, it
// does nothing any more. Where migrations are still to be run, it is probably theirs.
func (p *Postgres) missing(ctx context.Context, what string, files []migration) inventory.Findings {
	found := notMigratedFinding(what, "missing")
	rows, err := readRecorded(ctx, p.pool)
	version := versionOf(rows)
	if err == nil && version > 0 && version < len(files) {
		if differ, err := p.checkBuild(ctx, files); err == nil {
			return differ
		}
	}
	switch {
	case err != nil || version == 0:
	case version < len(files):
		return oldSchema(version, files)
	case version > len(files):
		found[0] = newer("schema version", version, len(files)).finding()
	default:
		found[0].Means = fmt.Sprintf("calls fail; but version %d is recorded, so that order.Migrate has nothing to do: somebody removed it, or the database was made by a build between two releases", version)
		found[0].Advice = "restore the schema from a backup; or, if it has no orders yet, drop it and call order.Migrate"
	}
	return found
}

const callMigrate = "call order.Migrate"

func notMigratedFinding(what, found string) inventory.Findings {
	return inventory.Findings{{
		Severity: inventory.Problem, Where: itself, What: what, Found: found, Err: ErrNotMigrated,
		Means: "the database was not migrated for this lastunit, and calls fail", Advice: callMigrate,
	}}
}

// missingRight has an advice that can be pasted into psql.
func missingRight(role, name string, optional bool) inventory.Finding {
	f := inventory.Finding{
		Severity: inventory.Problem, Where: itself, What: name, Found: "missing", Err: ErrUnavailable,
		Means: "the role may not do what calls need it for, and they fail", Advice: fmt.Sprintf("GRANT %s TO %s;", name, role),
	}
	if optional {
		f.Severity, f.Err = inventory.Notice, nil
		f.Means = "of which version the tables are could not be asked; nor can order.Migrate see that it is done"
	}
	return f
}
