package inventory

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// slowReload is from when on a cluster's client takes long to notice a failover, beside
// the seconds that the cluster itself needs.
const slowReload = 5 * time.Second

// checkClient looks at the settings of the caller's client. Retries and redirects
// need no look, as every script is safe to repeat; nor does reading from replicas, as
// go-redis sends no script there.
func (r *Redis) checkClient() (found Findings) {
	const where = "go-redis"
	var readTimeout, giveUp time.Duration
	var dials int
	var bounded bool
	switch client := r.client.(type) {
	case *redis.Client:
		o := client.Options()
		readTimeout, bounded = o.ReadTimeout, o.ContextTimeoutEnabled
		dials, giveUp = o.DialerRetries, givesUpAfter(o.MaxRetries, o.DialerRetries, o.DialerRetryTimeout, o.DialerRetryBackoff)
	case *redis.ClusterClient:
		o := client.Options()
		readTimeout, bounded = o.ReadTimeout, o.ContextTimeoutEnabled
		dials, giveUp = o.DialerRetries, givesUpAfter(o.MaxRedirects, o.DialerRetries, o.DialerRetryTimeout, o.DialerRetryBackoff)
		if every := client.Options().ClusterStateReloadInterval; every > slowReload {
			found = append(found, Finding{
				Severity: Notice, Where: where, What: "ClusterStateReloadInterval", Found: every.String(),
				Means:  "after a failover the client asks the dead master for so long, and SKUs whose keys it had are not sold",
				Advice: "set it to a second or so",
			})
		}
	default:
		if r.replicas > 0 {
			found = append(found, Finding{
				Severity: Notice, Where: where, What: "WithReplicas", Found: fmt.Sprintf("of a %T", client),
				Means: "Accept waits for no replicas", Advice: "use a *redis.Client or a *redis.ClusterClient, or leave it out",
			})
		}
		return found
	}
	if giveUp >= slowToGiveUp {
		found = append(found, Finding{
			Severity: Notice, Where: where, What: "DialerRetries", Found: fmt.Sprint(dials),
			Means:  fmt.Sprintf("a call to a Redis that is down takes %v or more to fail, as each of its tries connects so often: for so long callers wait", giveUp),
			Advice: "set it to 1",
		})
	}
	if readTimeout > 0 && readTimeout < shortRead {
		found = append(found, Finding{
			Severity: Notice, Where: where, What: "ReadTimeout", Found: readTimeout.String(),
			Means:  "a call of many deductions may take longer, and is then sent again and again",
			Advice: fmt.Sprintf("make it %v or more", shortRead),
		})
	}
	switch {
	case bounded:
	case readTimeout <= 0:
		found = append(found, Finding{
			Severity: Problem, Where: where, What: "ReadTimeout", Found: "none",
			Means:  "a call that Redis does not answer may never end, and those behind it wait for it",
			Advice: "set ContextTimeoutEnabled, or a ReadTimeout",
		})
	default:
		found = append(found, Finding{
			Severity: Notice, Where: where, What: "ContextTimeoutEnabled", Found: "false",
			Means:  fmt.Sprintf("a call that Redis does not answer ends after ReadTimeout, %v, instead of with its context, and those behind it wait for it", readTimeout),
			Advice: "set it to true",
		})
	}
	if r.replicas > 0 && readTimeout > 0 && r.replicasWait >= readTimeout {
		found = append(found, Finding{
			Severity: Notice, Where: where, What: "ReadTimeout", Found: readTimeout.String(),
			Means:  fmt.Sprintf("the client gives up before WithReplicas does, after %v: then Accept asks twice, and says that no replica has the order", r.replicasWait),
			Advice: "make it longer than the timeout of WithReplicas",
		})
	}
	return found
}

const (
	// slowToGiveUp is from when on callers learn too late that Redis is down.
	slowToGiveUp = 500 * time.Millisecond

	// shortRead is below what a batch may take on a machine that has other things to do.
	shortRead = 100 * time.Millisecond
)

// givesUpAfter is how long a client takes at least to give up a server that refuses
// connections, but for the pauses between the tries of a call.
func givesUpAfter(retries, dials int, pause time.Duration, pauses func(attempt int) time.Duration) (all time.Duration) {
	for attempt := range dials - 1 {
		if pauses != nil {
			pause = pauses(attempt)
		}
		all += pause
	}
	return time.Duration(max(0, retries)+1) * all
}

// checkServer looks at what Redis is: its role and its version.
func checkServer(where string, info map[string]string) (found Findings) {
	if role := info["role"]; role == "slave" || role == "replica" {
		found = append(found, Finding{
			Severity: Problem, Where: where, What: "role", Found: "replica",
			Means:  "nothing is sold through a replica: it refuses writes, or loses them to its master",
			Advice: "connect to the master",
		})
	}
	version := info["redis_version"]
	major, _, _ := strings.Cut(version, ".")
	if n, err := strconv.Atoi(major); err == nil && n < 7 {
		found = append(found, Finding{
			Severity: Problem, Where: where, What: "redis_version", Found: version,
			Means: "lastunit is neither written for it nor tested on it", Advice: "use Redis 7.0 or newer",
		})
	}
	return found
}

// checkMemory looks at what Redis does when its memory is full. Policies that begin
// with volatile need no word: they evict keys that expire, and ours don't, so that
// Redis refuses writes as with noeviction.
func checkMemory(where string, info map[string]string) Findings {
	policy := info["maxmemory_policy"]
	if policy == "noeviction" || strings.HasPrefix(policy, "volatile-") {
		return nil
	}
	f := Finding{Severity: Problem, Where: where, What: "maxmemory-policy", Found: policy, Advice: "set it to noeviction"}
	if bytes := info["maxmemory"]; bytes != "0" {
		f.Means = fmt.Sprintf("beyond maxmemory, %s bytes, Redis drops the counters of SKUs in the middle of their sale: no order in PostgreSQL is lost, but accepted ones that are not there yet are, and each time the sale waits for a rebuild", bytes)
	} else {
		f.Severity = Notice
		f.Means = "maxmemory is 0, so that nothing is evicted; as soon as somebody sets it, Redis drops the counters of SKUs in the middle of their sale"
	}
	return Findings{f}
}

// checkPersistence looks at what Redis keeps on disk. It fails if Redis does not answer.
func checkPersistence(ctx context.Context, where string, node redis.UniversalClient, info map[string]string) (Findings, error) {
	if info["aof_enabled"] != "0" {
		return nil, nil
	}
	f := Finding{
		Severity: Notice, Where: where, What: "appendonly", Found: "no, without snapshots",
		Means:  "a restart loses what is in Redis: no order in PostgreSQL, from which the counters are rebuilt; but accepted orders that are not there yet",
		Advice: "set appendonly to yes if you use Accept",
	}
	settings, err := node.ConfigGet(ctx, "save").Result()
	switch save, ok := settings["save"]; {
	case err != nil && !isRedisError(err):
		return nil, err
	case err != nil || !ok:
		f.Found = "no"
		f.Means = "whether it takes snapshots could not be asked (CONFIG GET save). If not: " + f.Means
	case save != "":
		f.Found = "no, with snapshots"
		f.Means = "a crash loses what came to Redis since the last snapshot: no order in PostgreSQL, from which the counters are rebuilt; but accepted orders that are not there yet"
	}
	return Findings{f}, nil
}

// checkReplicas looks whether there are as many as Accept is to wait for.
func (r *Redis) checkReplicas(where string, info map[string]string) Findings {
	connected, err := strconv.Atoi(info["connected_slaves"])
	if err != nil || r.replicas <= connected {
		return nil
	}
	return Findings{{
		Severity: Notice, Where: where, What: "connected_slaves", Found: info["connected_slaves"],
		Means:  fmt.Sprintf("WithReplicas waits for %d, so that each Accept waits for the whole timeout, %v", r.replicas, r.replicasWait),
		Advice: "connect more replicas, or ask for fewer",
	}}
}

// checkClocks compares the clocks of a cluster's nodes. A deadline is reckoned with
// that of the node which answered last: what goes to one that is further ahead than a
// deduct may take is late on arrival, and is sent again and again.
func checkClocks(clocks []Clock) Findings {
	var found Findings
	for i, a := range clocks {
		for _, b := range clocks[:i] {
			apart := a.Apart(b)
			if apart < time.Second {
				continue
			}
			f := Finding{
				Severity: Notice, Where: a.Where, What: "clock", Found: fmt.Sprintf("%v apart from that of %s", apart, b.Where),
				Means:  "deductions whose callers wait for less than that are sent several times",
				Advice: "let NTP set the clocks of all nodes",
			}
			if apart >= DeductTimeout {
				f.Severity = Problem
				f.Means = "deductions on the one that is ahead come too late again and again, so that its SKUs are hardly sold"
			}
			found = append(found, f)
		}
	}
	return found
}
