package inventory_test

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/inventory"
)

// A finding is one line whatever it quotes: pgx has a line for each address that it tried.
func TestFindingIsOneLine(t *testing.T) {
	t.Parallel()
	err := errors.New("failed to connect:\n\t127.0.0.1:1: refused\n\t[::1]:1: refused")
	f := inventory.Finding{Severity: inventory.Problem, Where: "PostgreSQL", What: "connection", Means: err.Error(), Advice: "mend it", Err: err}
	want := "problem: PostgreSQL: connection: failed to connect: 127.0.0.1:1: refused [::1]:1: refused; mend it"
	require.Equal(t, want, f.String())
	require.EqualError(t, inventory.Findings{f}.Err(), want)
}
