package inventory

import (
	"context"
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"
)

// noSKU is a SKU that can't be, as it has a control character: its key is never there.
const noSKU = "\x01"

// use is a command as it is tried out.
type use struct {
	right     string
	arguments []any
}

// uses are the commands that the scripts and the client use, each in a way that
// changes nothing. Redis looks at the rights before all else, so that the errors that
// some of these end in are as good an answer as any.
func (r *Redis) uses() []use {
	key := r.keys.stock(noSKU)
	uses := []use{
		{"+time", []any{"time"}},
		{"+eval", []any{"eval", whole("stock"), 1, key}}, // Redis keeps the script, which it would anyway
		{"+evalsha", []any{"evalsha", strings.Repeat("0", 40), 1, key}},
		{"+type", []any{"type", key}},
		{"+hmget", []any{"hmget", key, "store"}},
		{"+hset", []any{"hset", key, "store", "", "without a value"}},
		{"+hdel", []any{"hdel", key, "store"}},
		{"+hscan", []any{"hscan", key, "0"}},
		{"+del", []any{"del", key}},
	}
	if _, is := r.client.(*redis.Ring); is { // by which it finds out which of its servers are there
		uses = append(uses, use{"+ping", []any{"ping"}})
	}
	if r.replicas > 0 {
		uses = append(uses, use{"+wait", []any{"wait", 0, 1}})
	}
	return uses
}

// troubles are the errors with which Redis answers while it can't serve, by their
// first word.
var troubles = map[string]string{
	"READONLY":    "connect to the master",
	"OOM":         "give Redis more memory, or remove what fills it",
	"MISCONF":     "look why Redis cannot write its snapshots",
	"NOREPLICAS":  "bring the replicas back, or lower min-replicas-to-write",
	"LOADING":     "wait until it has read its data",
	"BUSY":        "look which script does not end",
	"CLUSTERDOWN": "look at CLUSTER INFO",
	"MASTERDOWN":  "connect to the master",
}

// checkRights uses every command once, and says which ones Redis refuses.
func (r *Redis) checkRights(ctx context.Context, where string, node redis.UniversalClient) (found Findings) {
	said := make(map[string]bool) // one for all keys, and one for each trouble
	for _, use := range r.uses() {
		err := node.Do(ctx, use.arguments...).Err()
		if err == nil || !isRedisError(err) {
			continue // who does not answer is found elsewhere
		}
		finding := refused(where, userOf(node), use.right, r.keys.prefix, err)
		if finding.What != "" && !said[finding.What] {
			said[finding.What] = true
			found = append(found, finding)
		}
	}
	return found
}

// allow is the command that gives a user rights, and what it is good for.
func allow(user, rights string) string {
	return fmt.Sprintf("ACL SETUSER %s %s (until Redis restarts: put it into redis.conf or the aclfile too)", user, rights)
}

// userOf is the user of the connection, so that the advice can be pasted; "…" where the
// client's settings don't tell. To ask Redis takes a right of its own.
func userOf(node redis.UniversalClient) string {
	client, ok := node.(*redis.Client)
	if !ok {
		return "…"
	}
	o := client.Options()
	if o.Username == "" || o.CredentialsProvider != nil || o.CredentialsProviderContext != nil || o.StreamingCredentialsProvider != nil {
		return "…"
	}
	return o.Username
}

// refused says what it means that a command was answered with an error: nothing, for
// most of them.
func refused(where, user, right, prefix string, err error) Finding {
	f := Finding{Severity: Problem, Where: where, What: right, Found: "missing", Err: cannotAsk(where, err)}
	word, _, _ := strings.Cut(err.Error(), " ")
	quoted := "'" + strings.TrimPrefix(right, "+") + "'" // the user's name, which newer ones tell too, may be "key"
	switch {
	case word == "NOPERM" && !strings.Contains(err.Error(), quoted) && strings.Contains(err.Error(), "key"):
		f.What = "~" + prefix + ":*"
		f.Means = "the user of the connection may not read and write the keys of the prefix, so that nothing is sold through Redis"
		f.Advice = "give it all of them: " + allow(user, f.What)
	case word == "NOPERM" && right == "+wait":
		f.Severity = Notice
		f.Means = "Accept waits for no replicas"
		f.Advice = "leave out WithReplicas, or give it the right: " + allow(user, right)
	case word == "NOPERM":
		f.Means = "the user of the connection may not use the command, so that calls which need it fail"
		f.Advice = "give it the right: " + allow(user, right)
	case strings.HasPrefix(err.Error(), "ERR unknown command"):
		f.Found = "unknown"
		f.Means = "this Redis does not have the command, so that calls which need it fail"
		f.Advice = "rename it back, or use Redis 7.0 or newer"
	case troubles[word] != "":
		f.What, f.Found = word, "answered"
		f.Means = "Redis cannot serve at the moment: " + strings.TrimSuffix(err.Error(), ".")
		f.Advice = troubles[word]
	default:
		return Finding{}
	}
	return f
}

// slotsTried is how many keys are asked for to find out whether one node has all of a
// cluster's: another node that has a tenth of them is missed once in 800 times.
const slotsTried = 64

// checkSlots is for a client of one node that is part of a cluster.
func (r *Redis) checkSlots(ctx context.Context, where string, node *redis.Client) Findings {
	answers, _ := node.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		for i := range slotsTried {
			pipe.HMGet(ctx, r.keys.stock(fmt.Sprint(noSKU, i)), "store")
		}
		return nil
	})
	for _, answer := range answers {
		if err := answer.Err(); err != nil && redis.HasErrorPrefix(err, "MOVED") {
			return Findings{{
				Severity: Problem, Where: where, What: "redis_mode", Found: "cluster", Err: cannotAsk(where, err),
				Means:  "the client knows only this node, and SKUs whose keys are on the others are not sold",
				Advice: "use redis.NewClusterClient",
			}}
		}
	}
	return nil
}
