package order

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// classify says what an error of a transaction means for its caller.
//
// An error is ErrOutcomeUnknown (or what lost is) if the transaction may be committed.
// Otherwise it is rolled back, and the error is one of three kinds:
//
//   - The server is in trouble, or another transaction is the cause. It concerns
//     whatever is sent, so the batch fails as a whole: ErrUnavailable.
//   - A *partialError: the schema is not as this package made it. It may concern some
//     orders and not others, and no order is to blame: ErrUnavailable or
//     ErrNotMigrated, to those that it concerns.
//   - A *rejectedError: everything else, and whatever somebody's PL/pgSQL raises, of
//     any SQLSTATE. Some order of the batch is to blame: ErrRejected, to that order alone.
func classify(err, lost error) error {
	var answer *pgconn.PgError
	// Only an ERROR is the server's own word that the transaction is rolled back.
	// Severity itself is in the language of lc_messages; a pooler in between
	// that lost its server sends no unlocalized one.
	if !errors.As(err, &answer) || answer.SeverityUnlocalized != "ERROR" {
		return fmt.Errorf("%w: %w", lost, err)
	}
	switch {
	case isRaised(answer), answer.Code == notStored:
		return &rejectedError{err}
	case strings.HasPrefix(answer.Code, "08"), answer.Code == "40003":
		return fmt.Errorf("%w: %w", lost, err)
	case waitedForOthers(answer):
		return waitedError(err)
	case rolledBackForAnother(err), isTrouble(answer):
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	case breaksOwnConstraint(answer):
		return &partialError{fmt.Errorf("%w: the tables contradict each other, see Reconcile: %w", ErrUnavailable, err), true}
	case notMigrated(answer):
		return &partialError{fmt.Errorf("%w: %w", ErrNotMigrated, err), false}
	case strings.HasPrefix(answer.Code, "42") && !refusedByRow(answer):
		return &partialError{fmt.Errorf("%w: %w", ErrUnavailable, err), false}
	}
	return &rejectedError{err}
}

// isTrouble reports whether an error is the server's own, whatever it was asked to do.
func isTrouble(answer *pgconn.PgError) bool {
	switch answer.Code {
	case "42P05", "26000": // prepared statements that a pooler mixed up
		return true
	}
	return slices.Contains(troubleClasses[:], answer.Code[:min(2, len(answer.Code))])
}

// ownClass is that of the errors which this schema raises.
const ownClass = "LU"

// troubleClasses are the classes of SQLSTATE in which no order is to blame.
var troubleClasses = [...]string{
	"0A", // feature not supported: a cached plan whose tables have changed
	"25", // invalid transaction state: the server is read-only
	"28", // invalid authorization
	"3D", // no such database
	"40", // transaction rollback: deadlock, serialization failure
	"53", // insufficient resources
	"55", // object not in prerequisite state: a lock that is not available
	"57", // operator intervention: a timeout, a shutdown
	"58", // system error
	"F0", // configuration file
	ownClass,
	"XX", // internal error
}

// isRaised reports whether somebody's PL/pgSQL, such as a trigger, raised the error on
// purpose. What this schema raises has a class of its own.
func isRaised(answer *pgconn.PgError) bool {
	return answer.Routine == "exec_stmt_raise" && !strings.HasPrefix(answer.Code, ownClass)
}

// notStored is what this schema raises where the row of an order was not stored, and
// there was no error: a trigger of the owner's dropped it.
const notStored = "LU006"

// waitedError is the error where a write of orders waited for somebody's lock. It concerns
// some of the orders, and they are not to blame.
func waitedError(err error) error {
	return &partialError{fmt.Errorf("%w: another transaction has locked what the row of an order needs: %w", ErrUnavailable, err), false}
}

// waitedForOthers reports whether a write of orders waited in vain for a lock that is none
// of the SKUs' or the feed's: somebody's transaction has an order, or what a trigger or a
// foreign key of the owner's needs. It waited for 50 ms, or as long as somebody said.
func waitedForOthers(answer *pgconn.PgError) bool {
	return answer.Code == "55P03" && !strings.Contains(answer.Where, `"skus"`) && !strings.Contains(answer.Where, `"feed"`) &&
		(strings.Contains(answer.Where, "insert into lastunit.orders") || strings.Contains(answer.Where, "update lastunit.orders"))
}

// refusedByRow reports whether a policy of row-level security refused a row. A right
// that the role lacks has the same SQLSTATE, and concerns every order. Routines are
// in no language.
func refusedByRow(answer *pgconn.PgError) bool {
	return answer.Code == "42501" && answer.Routine == "ExecWithCheckOptions"
}

// notMigrated reports whether a schema, table, column, function or type is missing.
func notMigrated(answer *pgconn.PgError) bool {
	switch answer.Code {
	case "3F000", "42P01", "42703", "42883", "42704":
		return !isRaised(answer)
	}
	return false
}

// breaksOwnConstraint reports whether a constraint is violated that the migrations
// made. No order that this package writes does that: the tables contradict each other.
func breaksOwnConstraint(answer *pgconn.PgError) bool {
	if answer.SchemaName != "lastunit" || !strings.HasPrefix(answer.Code, "23") {
		return false
	}
	if answer.Code == "23502" { // not null, which has no constraint's name; a trigger on orders may cause it
		return answer.TableName != "orders"
	}
	return slices.Contains(ownConstraints[:], answer.ConstraintName)
}

// ownConstraints are those that the migrations made.
var ownConstraints = [...]string{
	"adjustments_kind_check", "adjustments_pkey", "feed_entries_pkey", "feed_pkey", "fences_pkey", "migrations_pkey", "movement_batches_pkey",
	"orders_pkey", "partitions_pkey", "skus_admitted_check", "skus_allocated_check", "skus_capacity_check",
	"skus_check", "skus_customer_limit_check", "skus_epoch_check", "skus_pkey", "skus_pool_only_check", "skus_removed", "skus_retired", "skus_top_seq_check",
	"skus_version_check", "store_format_check", "store_one_check", "store_pkey",
}

// cannotEncode reports whether the database's encoding has no place for a text that it
// was given. Nothing there can have that text as its name.
func cannotEncode(err error) bool {
	state := sqlState(err)
	return state == "22021" || state == "22P05"
}

// rejectedError is Postgres refusing what it was given, rather than being in
// trouble itself: some order of the batch is to blame.
type rejectedError struct{ err error }

func (e *rejectedError) Error() string   { return fmt.Sprintf("%v: %v", ErrRejected, e.err) }
func (e *rejectedError) Unwrap() []error { return []error{ErrRejected, e.err} }

// partialError is a fault of the schema, which may concern only some of a batch.
type partialError struct {
	err error
	sku bool // the fault is that of a SKU's rows: it concerns every order of that SKU
}

func (e *partialError) Error() string { return e.err.Error() }
func (e *partialError) Unwrap() error { return e.err }

func sqlState(err error) string {
	if answer := pgErrorOf(err); answer != nil {
		return answer.Code
	}
	return ""
}

// pgErrorOf is the server's answer in an error, nil without one.
func pgErrorOf(err error) *pgconn.PgError {
	var answer *pgconn.PgError
	errors.As(err, &answer)
	return answer
}
