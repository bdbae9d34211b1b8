package inventory

import (
	"context"
	"testing"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// emptied answers each command of a pipeline with nothing, and without an error.
type emptied struct{ redis.Hook }

func (emptied) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }

func (emptied) DialHook(next redis.DialHook) redis.DialHook { return next }

func (emptied) ProcessPipelineHook(redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(_ context.Context, commands []redis.Cmder) error {
		for _, command := range commands {
			if command, ok := command.(*redis.Cmd); ok {
				command.SetVal([]any{})
			}
		}
		return nil
	}
}

// An empty reply without an error is not our script's: it is asked again, alone.
func TestEmptyReplyInAPipelineIsAskedAgain(t *testing.T) {
	t.Parallel()
	client := redis.NewClient(&redis.Options{Addr: miniredis.RunT(t).Addr()})
	t.Cleanup(func() { client.Close() })
	client.AddHook(emptied{})
	stocks, err := NewRedis(client).Stock(t.Context(), "floor", "balcony", "stage")
	require.NoError(t, err)
	assert.Equal(t, []Stock{
		{SKU: "floor", Why: WhyMissing}, {SKU: "balcony", Why: WhyMissing}, {SKU: "stage", Why: WhyMissing},
	}, stocks)
}
