package order

import (
	"errors"
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"
)

func TestApart(t *testing.T) {
	t.Parallel()
	rejected := &rejectedError{&pgconn.PgError{Code: "P0001"}}
	wrongSKU := &partialError{ErrUnavailable, true}
	noRight := &partialError{ErrNotMigrated, false}
	trouble := errors.New("trouble")
	for name, test := range map[string]struct {
		size  int
		bad   map[int]error // of those elements, a batch with one of them fails with its error
		sends int           // at most
		want  error
	}{
		"one":                 {1, map[int]error{0: rejected}, 1, nil},
		"one of three":        {3, map[int]error{1: rejected}, 4, nil},
		"one of a thousand":   {1000, map[int]error{617: rejected}, 21, nil},
		"three":               {100, map[int]error{0: rejected, 50: rejected, 99: rejected}, 50, nil},
		"all":                 {8, map[int]error{0: rejected, 1: rejected, 2: rejected, 3: rejected, 4: rejected, 5: rejected, 6: rejected, 7: rejected}, 13, nil},
		"all of few":          {4, all(4, rejected), 5, nil},
		"all of many":         {64, all(64, rejected), 69, nil},
		"a SKU":               {9, map[int]error{1: wrongSKU, 4: wrongSKU, 7: wrongSKU}, 4, nil},
		"the only SKU":        {3, map[int]error{0: wrongSKU, 1: wrongSKU, 2: wrongSKU}, 4, nil},
		"a branch":            {64, map[int]error{13: noRight}, 13, nil},
		"a SKU and an order":  {6, map[int]error{1: wrongSKU, 4: wrongSKU, 2: rejected}, 9, nil},
		"one of each quarter": {64, map[int]error{13: noRight, 29: noRight, 45: noRight, 61: noRight}, 43, nil},
		"every second":        {8, map[int]error{0: noRight, 2: noRight, 4: noRight, 6: noRight}, 13, nil},
		"a right":             {64, all(64, noRight), 21, nil},
		"trouble":             {16, map[int]error{3: rejected, 13: trouble}, 5, trouble},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sends := 0
			done, failed := make(map[int]bool), make(map[int]error)
			division := apart{
				send: func(part []int) error {
					sends++
					for _, kind := range []error{trouble, rejected, wrongSKU, noRight} { // the first that the database meets
						for _, i := range part {
							if test.bad[i] == kind { //nolint:errorlint // the very one
								return fmt.Errorf("wrapped: %w", kind)
							}
						}
					}
					for _, i := range part {
						require.False(t, done[i])
						done[i] = true
					}
					return nil
				},
				fail: func(i int, err error) error { failed[i] = err; return nil },
				skus: func(i int) string { return fmt.Sprint(i % 3) },
			}
			err := division.send(indexes(test.size))
			require.True(t, isApart(err) || errors.Is(err, trouble))
			if isApart(err) {
				err = division.divide(indexes(test.size), err)
			} else {
				err = division.divide(indexes(test.size), rejected)
			}
			require.LessOrEqual(t, sends, test.sends)
			if test.want != nil {
				require.ErrorIs(t, err, test.want)
				return
			}
			if len(test.bad) == test.size && name != "one" && name != "all" && name != "all of many" && name != "all of few" {
				require.ErrorIs(t, err, test.bad[0])
				require.Empty(t, done)
				return
			}
			require.NoError(t, err)
			for i := range test.size {
				if bad := test.bad[i]; bad != nil {
					require.ErrorIs(t, failed[i], bad, i)
				} else {
					require.True(t, done[i], i)
				}
			}
			require.Len(t, failed, len(test.bad))
		})
	}
}

// all are the elements of a batch, each with one error.
func all(size int, err error) map[int]error {
	bad := make(map[int]error)
	for i := range size {
		bad[i] = err
	}
	return bad
}
