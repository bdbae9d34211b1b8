package inventory

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

var _ Checker = (*Redis)(nil)

// Check implements Checker. It asks every master of a cluster. Rights are found by
// using each once, on the key of a SKU that can't be, without any effect: a right
// that is missing leaves a line in Redis's ACL LOG. It needs no right beyond those
// of the documentation; with +info and +config|get it can say more.
func (r *Redis) Check(ctx context.Context) (Checkup, error) {
	up := Checkup{Findings: r.checkClient()}
	switch client := r.client.(type) {
	case *redis.ClusterClient:
		return r.checkNodes(ctx, up, client.ForEachMaster)
	case *redis.Ring:
		return r.checkNodes(ctx, up, client.ForEachShard)
	}
	found, err := r.checkNode(ctx, "Redis", r.client)
	up.Findings = append(up.Findings, found.Findings...)
	up.Clocks = found.Clocks
	return up, err
}

// checkNodes checks each of several servers. Some that don't answer are a Problem;
// it is an error if none does.
func (r *Redis) checkNodes(ctx context.Context, up Checkup, each func(context.Context, func(context.Context, *redis.Client) error) error) (Checkup, error) {
	var mu sync.Mutex
	var failed []error
	answered := 0
	err := each(ctx, func(ctx context.Context, node *redis.Client) error {
		where := "Redis " + node.Options().Addr
		found, err := r.checkNode(ctx, where, node)
		mu.Lock()
		defer mu.Unlock()
		if err != nil {
			failed = append(failed, err)
			found.Findings = append(found.Findings, Finding{
				Severity: Problem, Where: where, What: "connection", Found: "dead", Err: err,
				Means: "the node does not answer, and SKUs whose keys it has are not sold: " + err.Error(), Advice: "bring it back",
			})
		} else {
			answered++
		}
		up.Findings = append(up.Findings, found.Findings...)
		up.Clocks = append(up.Clocks, found.Clocks...)
		return nil
	})
	switch {
	case err != nil && !isTurnedAway(err):
		return up, cannotAsk("Redis", err)
	case err != nil:
		up.Findings = append(up.Findings, cannotConnect("Redis", err))
	case len(failed) > 0 && answered == 0:
		return up, errors.Join(failed...)
	case answered == 0:
		return up, cannotAsk("Redis", errors.New("go-redis knows no server that is there"))
	}
	up.Findings = append(up.Findings, checkClocks(up.Clocks)...)
	slices.SortStableFunc(up.Findings, func(a, b Finding) int { return strings.Compare(a.Where, b.Where) })
	return up, nil
}

// cannotAsk is the error of a server that did not answer.
func cannotAsk(where string, err error) error {
	return fmt.Errorf("check %s: %w: %w", where, ErrUnavailable, err)
}

// isTurnedAway says whether Redis refused the connection: for want of a right, or of the
// right password. The error of a connection that could not be made has more words in
// front.
func isTurnedAway(err error) bool { return isNoPerm(err) || isLogin(err) }

func isNoPerm(err error) bool { return strings.Contains(err.Error(), "NOPERM ") }

func isLogin(err error) bool {
	return slices.ContainsFunc([]string{"WRONGPASS ", "NOAUTH ", "ERR AUTH "}, func(word string) bool { return strings.Contains(err.Error(), word) })
}

// cannotConnect is for a connection that Redis refuses for as long as nobody changes
// its users or the client's settings.
func cannotConnect(where string, err error) Finding {
	advice := "give the user that right: +select for a database other than 0, +client|setname for a client name, +cluster|slots for a cluster, +readonly for a ClusterClient that reads from replicas"
	if isLogin(err) {
		advice = "compare the user's name and password in redis.Options with those that Redis has, as in ACL LIST"
	}
	return Finding{
		Severity: Problem, Where: where, What: "connection", Found: "refused", Err: cannotAsk(where, err),
		Means: "go-redis cannot connect: " + err.Error(), Advice: advice,
	}
}

// checkNode checks one server. It fails if that does not answer.
func (r *Redis) checkNode(ctx context.Context, where string, node redis.UniversalClient) (up Checkup, _ error) {
	said, err := hello(ctx, node)
	switch {
	case err == nil:
	case isTurnedAway(err): // everybody may say HELLO
		up.Findings = append(up.Findings, cannotConnect(where, err))
		return up, nil
	default:
		return up, cannotAsk(where, err)
	}
	up.Findings = r.checkRights(ctx, where, node)
	info, asked, err := askInfo(ctx, node)
	if err != nil {
		return up, cannotAsk(where, err)
	}
	if !asked {
		up.Findings = append(up.Findings, Finding{
			Severity: Notice, Where: where, What: "+info", Found: "missing",
			Means:  "whether Redis evicts keys, and what it keeps on disk, could not be asked",
			Advice: "look yourself, or allow it: " + allow(userOf(node), "+info +config|get"),
		})
	}
	for name, value := range said {
		if info[name] == "" {
			info[name] = value
		}
	}
	up.Findings = append(up.Findings, checkServer(where, info)...)
	if asked {
		up.Findings = append(up.Findings, checkMemory(where, info)...)
		found, err := checkPersistence(ctx, where, node, info)
		if err != nil {
			return up, cannotAsk(where, err)
		}
		up.Findings = append(up.Findings, found...)
		up.Findings = append(up.Findings, r.checkReplicas(where, info)...)
	}
	if plain, ok := node.(*redis.Client); ok && node == r.client && info["redis_mode"] == "cluster" {
		up.Findings = append(up.Findings, r.checkSlots(ctx, where, plain)...)
	}
	clock, err := MeasureClock(where, func() (time.Time, error) { return node.Time(ctx).Result() })
	switch {
	case err == nil:
		up.Clocks = []Clock{clock}
	case !isRedisError(err): // else checkRights has said it
		return up, cannotAsk(where, err)
	}
	return up, nil
}

// isRedisError says whether Redis itself answered with the error.
func isRedisError(err error) bool {
	var answer redis.Error
	return errors.As(err, &answer)
}
