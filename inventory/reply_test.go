package inventory

import (
	"testing"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// An empty reply without an error is not our script's: it is asked again, alone.
func TestEmptyReplyToAStockIsAskedAgain(t *testing.T) {
	t.Parallel()
	client := redis.NewClient(&redis.Options{Addr: miniredis.RunT(t).Addr()})
	t.Cleanup(func() { client.Close() })
	empty := redis.NewCmd(t.Context())
	empty.SetVal([]any{})
	stock, err := NewRedis(client).stockOf(t.Context(), "floor", []redis.Cmder{empty}, 0)
	require.NoError(t, err)
	assert.Equal(t, Stock{SKU: "floor", Why: WhyMissing}, stock)
}
