package order_test

import (
	"encoding/json"
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

// TestCursor: a cursor is kept as text, and as JSON, and comes back the same.
func TestCursor(t *testing.T) {
	t.Parallel()
	const store = "01234567-89ab-cdef-0123-456789abcdef"
	some, most := order.Cursor{Store: store}, order.Cursor{Store: store}
	some.Positions[5], some.Positions[63] = 17, 4
	for p := range most.Positions {
		most.Positions[p] = math.MaxInt64
	}
	for text, cursor := range map[string]order.Cursor{
		"":                       {},
		store + "/":              {Store: store},
		store + "/5:17,63:4":     some,
		`a "store" / of <mine>/`: {Store: `a "store" / of <mine>`},
		most.String():            most,
	} {
		assert.Equal(t, text, cursor.String())
		var read order.Cursor
		require.NoError(t, read.UnmarshalText([]byte(text)))
		assert.Equal(t, cursor, read)
		kept, err := json.Marshal(map[string]any{"after": cursor})
		require.NoError(t, err)
		var in struct{ After order.Cursor }
		require.NoError(t, json.Unmarshal(kept, &in))
		assert.Equal(t, cursor, in.After)
		assert.Less(t, len(kept), 1600)
	}
	read := some
	require.NoError(t, json.Unmarshal([]byte("null"), &read))
	assert.Zero(t, read)

	for _, text := range []string{
		store, "/", "/1:1", store + "/1", store + "/1:", store + "/1:0", store + "/1:-1", store + "/1:+1", store + "/64:1", store + "/-1:1",
		store + "/:1", store + "/1:9223372036854775808", store + "/2:1,1:1", store + "/1:1,1:1", store + "/1:1,", "a\x00b/1:1",
	} {
		read := some
		require.ErrorIs(t, read.UnmarshalText([]byte(text)), inventory.ErrInvalid, text)
		assert.Equal(t, some, read, "it stays as it is")
	}
	for _, text := range []string{`{"floor":17}`, `{}`, `[]`, `17`, `true`} {
		require.ErrorIs(t, json.Unmarshal([]byte(text), &read), inventory.ErrInvalid, text)
	}
	bad := some
	bad.Positions[1] = -1
	_, err := bad.MarshalText()
	require.ErrorIs(t, err, inventory.ErrInvalid)
}
