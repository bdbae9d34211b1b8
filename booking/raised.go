package booking

import (
	"errors"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// errorAttributes are an error as attributes of a log line, and beside it the function in
// the database that it comes from, such as a trigger's. PostgreSQL's context names that on
// its first line; further ones, and its detail, may hold customer data.
func errorAttributes(err error) []any {
	attributes := []any{"error", err}
	var answer *pgconn.PgError
	if errors.As(err, &answer) {
		if first, _, _ := strings.Cut(answer.Where, "\n"); strings.HasPrefix(first, "PL/pgSQL function ") {
			attributes = append(attributes, "from", first)
		}
	}
	return attributes
}
