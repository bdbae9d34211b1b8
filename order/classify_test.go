package order

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/inventory"
)

// TestClassify is for answers that a real server gives too rarely, or only in
// another language.
func TestClassify(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		err  error
		want error
	}{
		"nobody answered":          {io.ErrUnexpectedEOF, ErrOutcomeUnknown},
		"context":                  {context.DeadlineExceeded, ErrOutcomeUnknown},
		"terminated":               {&pgconn.PgError{Severity: "FATAL", SeverityUnlocalized: "FATAL", Code: "57P01"}, ErrOutcomeUnknown},
		"terminated, in Russian":   {&pgconn.PgError{Severity: "ВАЖНО", SeverityUnlocalized: "FATAL", Code: "57P01"}, ErrOutcomeUnknown},
		"panic, in Chinese":        {&pgconn.PgError{Severity: "比致命错误还过分的错误", SeverityUnlocalized: "PANIC", Code: "XX000"}, ErrOutcomeUnknown},
		"a pooler lost its server": {&pgconn.PgError{Severity: "FATAL", Code: "08P01"}, ErrOutcomeUnknown},
		"completion unknown":       {&pgconn.PgError{Severity: "ERROR", SeverityUnlocalized: "ERROR", Code: "40003"}, ErrOutcomeUnknown},
		"disk full":                {&pgconn.PgError{Severity: "ERROR", SeverityUnlocalized: "ERROR", Code: "53100"}, ErrUnavailable},
		"lock timeout, in Russian": {&pgconn.PgError{Severity: "ОШИБКА", SeverityUnlocalized: "ERROR", Code: "55P03"}, ErrUnavailable},
		"read only":                {&pgconn.PgError{Severity: "ERROR", SeverityUnlocalized: "ERROR", Code: "25006"}, ErrUnavailable},
		"no table":                 {&pgconn.PgError{Severity: "ERROR", SeverityUnlocalized: "ERROR", Code: "42P01"}, ErrNotMigrated},
	} {
		t.Run(name, func(t *testing.T) {
			got := classify(fmt.Errorf("wrapped: %w", test.err), ErrOutcomeUnknown)
			require.ErrorIs(t, got, test.err)
			for _, known := range []error{ErrOutcomeUnknown, ErrUnavailable, ErrNotMigrated} {
				require.Equal(t, known == test.want, errors.Is(got, known), "%v", known) //nolint:errorlint // the sentinels themselves
			}
		})
	}
}

func TestInDoubt(t *testing.T) {
	t.Parallel()
	cause := &pgconn.PgError{Severity: "ERROR", SeverityUnlocalized: "ERROR", Code: "55P03"}
	err := inDoubt(fmt.Errorf("%w: %w: %w", ErrUnavailable, context.Canceled, cause))
	require.ErrorIs(t, err, ErrOutcomeUnknown)
	require.NotErrorIs(t, err, ErrUnavailable)
	require.ErrorIs(t, err, context.Canceled)
	var answer *pgconn.PgError
	require.ErrorAs(t, err, &answer)
	require.NotErrorIs(t, inDoubt(ErrNotMigrated), ErrNotMigrated)
}

func TestSumLines(t *testing.T) {
	t.Parallel()
	given := []Line{{"b", 1}, {"a", 2}, {"b", 3}, {"B", 4}}
	sums, err := SumLines(given)
	require.NoError(t, err)
	require.Equal(t, []Line{{"B", 4}, {"a", 2}, {"b", 4}}, sums)
	require.Equal(t, []Line{{"b", 1}, {"a", 2}, {"b", 3}, {"B", 4}}, given, "the caller's lines stay")

	for _, lines := range [][]Line{
		{{"a", 0}},
		{{"a", -1}},
		{{"a", 5}, {"a", -2}}, // must not become 3
		{{"a", inventory.MaxQuantity}, {"a", 1}},
		{{"a", 1<<63 - 1}, {"a", 1<<63 - 1}},
		{{"a", -1 << 63}, {"a", -1 << 63}, {"a", 1}},
	} {
		_, err := SumLines(lines)
		require.ErrorIs(t, err, inventory.ErrInvalid, "%v", lines)
		var invalid *inventory.InvalidError
		require.ErrorAs(t, err, &invalid)
	}
	sums, err = SumLines(nil)
	require.NoError(t, err)
	require.Empty(t, sums)
}

func TestVerdictNames(t *testing.T) {
	t.Parallel()
	seen := make(map[string]bool)
	for v := VerdictNew; v <= VerdictRefused; v++ {
		require.False(t, seen[v.String()])
		seen[v.String()] = true
	}
	require.Len(t, seen, 12)
}
