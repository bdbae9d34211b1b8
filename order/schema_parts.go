package order

import (
	"context"
	"regexp"

	"github.com/jackc/pgx/v5"
)

// The parts of the schema besides the functions that the tables rely on: without one of
// them all goes on, and something is counted wrong, or lost, much later.

var (
	makesTrigger = regexp.MustCompile(`(?ms)^create (?:or replace )?trigger (\w+)\s.*?\bon lastunit\.(\w+)`)
	makesTable   = regexp.MustCompile(`(?m)^create table lastunit\.(\w+)`)
)

// triggersOf are the triggers that the files make, and the table of each.
func triggersOf(files []migration) (names, tables []string) {
	for _, file := range files {
		for _, match := range makesTrigger.FindAllStringSubmatch(file.text, -1) {
			names, tables = append(names, match[1]), append(tables, match[2])
		}
	}
	return names, tables
}

// tablesOf are the tables that the files make.
func tablesOf(files []migration) (names []string) {
	for _, file := range files {
		for _, match := range makesTable.FindAllStringSubmatch(file.text, -1) {
			names = append(names, match[1])
		}
	}
	return names
}

// selectParts returns the triggers that are missing or do not fire in an ordinary session,
// the constraints that are missing or were never validated, and the tables that a crash
// empties.
const selectParts = `
select 'TRIGGER ' || t.name || ' ON lastunit.' || t.relation, case when g.oid is null then 'missing' else 'disabled' end
from unnest($1::text[], $2::text[]) t(name, relation)
left join (pg_catalog.pg_trigger g join pg_catalog.pg_class c on c.oid = g.tgrelid join pg_catalog.pg_namespace n
	on n.oid = c.relnamespace and n.nspname = 'lastunit') on c.relname = t.relation and g.tgname = t.name
where g.tgenabled is null or g.tgenabled not in ('O', 'A')
union all
select 'CONSTRAINT lastunit.' || o.name, case when c.oid is null then 'missing' else 'not valid' end
from unnest($3::text[]) o(name)
left join (pg_catalog.pg_constraint c join pg_catalog.pg_namespace n on n.oid = c.connamespace and n.nspname = 'lastunit') on c.conname = o.name
where c.convalidated is null or not c.convalidated
union all
select 'TABLE lastunit.' || c.relname, 'unlogged'
from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace and n.nspname = 'lastunit'
where c.relname = any($4::text[]) and c.relpersistence <> 'p'
order by 1`

// selectReadable returns which of two tables the role may read.
const selectReadable = `
select c.relname::text
from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace and n.nspname = 'lastunit'
where c.relname in ('feed', 'partitions') and has_schema_privilege(n.oid, 'USAGE') and has_table_privilege(c.oid, 'SELECT')
order by 1`

// compareParts looks at the triggers, constraints and tables of the schema of the last file.
func compareParts(ctx context.Context, db rower, files []migration) (found []difference, _ error) {
	triggers, on := triggersOf(files)
	rows, err := db.Query(ctx, selectParts, triggers, on, ownConstraints[:], tablesOf(files))
	if err != nil {
		return nil, err
	}
	differ, err := pgx.CollectRows(rows, pgx.RowToStructByPos[struct{ What, Found string }])
	if err != nil {
		return nil, err
	}
	for _, d := range differ {
		found = append(found, difference{d.What, d.Found, ErrOtherBuild})
	}
	if rows, err = db.Query(ctx, selectReadable); err != nil {
		return nil, err
	}
	readable, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, err
	}
	for _, table := range readable {
		rows, err := db.Query(ctx, "select not exists (select from generate_series(0, $1::int - 1) i where i not in (select partition from lastunit."+table+"))", Partitions)
		if err != nil {
			return nil, err
		}
		whole, err := pgx.CollectExactlyOneRow(rows, pgx.RowTo[bool])
		if err != nil {
			return nil, err
		}
		if !whole {
			found = append(found, difference{"TABLE lastunit." + table, "without some of its rows", ErrOtherBuild})
		}
	}
	return found, nil
}
