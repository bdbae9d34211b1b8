package inventory

import (
	"context"
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"
)

// hello asks what everybody may ask, in the names of INFO: the version, the mode and
// the role. It is empty where Redis does not tell.
func hello(ctx context.Context, node redis.UniversalClient) (map[string]string, error) {
	said := make(map[string]string)
	answer, err := node.Do(ctx, "hello").Result()
	if err != nil {
		if !isRedisError(err) || isTurnedAway(err) {
			return nil, err
		}
		return said, nil
	}
	names := map[string]string{"version": "redis_version", "mode": "redis_mode", "role": "role"}
	keep := func(name, value any) {
		if name, ok := names[fmt.Sprint(name)]; ok {
			said[name] = fmt.Sprint(value)
		}
	}
	switch answer := answer.(type) {
	case map[any]any:
		for name, value := range answer {
			keep(name, value)
		}
	case []any:
		for i := 0; i+1 < len(answer); i += 2 {
			keep(answer[i], answer[i+1])
		}
	}
	return said, nil
}

// askInfo reads INFO; asked is false where Redis does not tell. It fails if Redis
// does not answer.
func askInfo(ctx context.Context, node redis.UniversalClient) (info map[string]string, asked bool, _ error) {
	info = make(map[string]string)
	text, err := node.Info(ctx).Result()
	if err != nil {
		if isRedisError(err) {
			return info, false, nil
		}
		return nil, false, err
	}
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			info[name] = value
		}
	}
	return info, info["maxmemory_policy"] != "", nil
}
