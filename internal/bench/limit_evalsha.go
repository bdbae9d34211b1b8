package main

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"strconv"
	"time"
)

// redisBenchmarkClients is how many connections redis-benchmark opens by default.
const redisBenchmarkClients = 50

// measureLimitEvalsha is how fast Redis runs the script of luaPerCall if the
// client does nothing but send it: redis-benchmark, with as many calls under way
// as there are callers, pipelined over its connections.
func measureLimitEvalsha(ctx context.Context, c *cell) (result, error) {
	program, err := c.servers.redisBenchmark(ctx)
	if err != nil {
		return result{}, err
	}
	counter, err := openCounter(ctx, c, plenty)
	if err != nil {
		return result{}, err
	}
	sha, err := guardedScript.Load(ctx, counter.client).Result()
	if err != nil {
		return result{}, err
	}
	if err := c.settle(ctx); err != nil {
		return result{}, err
	}
	// It takes a number of calls, not a time: the warm-up finds out how many.
	const few = 10_000
	clients := min(c.callers, redisBenchmarkClients)
	call := func(n int64) (result, error) {
		return runRedisBenchmark(ctx, program, c.servers.redis.Addr(), c.servers.redis.Password(),
			n, clients, c.callers/clients, "EVALSHA", sha, "1", counterKey, "1")
	}
	sent := int64(few)
	found, err := call(few)
	for _, length := range []time.Duration{c.settings.warmup, c.settings.length} {
		if err != nil {
			return result{}, err
		}
		n := max(few, int64(found.perSecond*length.Seconds()))
		sent += n
		found, err = call(n)
	}
	if err != nil {
		return result{}, err
	}
	left, err := counter.client.Get(ctx, counterKey).Int64()
	// It fills its last pipelines, so that it sends some more than it was told.
	if taken := plenty - left; err == nil && (taken < sent || taken > sent+3*int64(c.callers)) {
		err = fmt.Errorf("audit: %d calls were made, and %d units taken", sent, taken)
	}
	return found, err
}

// runRedisBenchmark makes n calls of one command.
func runRedisBenchmark(ctx context.Context, program, addr, password string, n int64, clients, pipeline int, command ...string) (result, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return result{}, err
	}
	arguments := append([]string{
		"-h", host, "-p", port, "-a", password, // a password that lives as long as this run
		"-n", strconv.FormatInt(n, 10), "-c", strconv.Itoa(clients), "-P", strconv.Itoa(pipeline), "--csv", "--precision", "3",
	}, command...)
	cmd := exec.CommandContext(ctx, program, arguments...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return result{}, fmt.Errorf("redis-benchmark: %w: %s", err, stderr.Bytes())
	}
	return parseRedisBenchmark(out)
}

// parseRedisBenchmark reads what --csv prints: a line of names and one of values.
func parseRedisBenchmark(out []byte) (result, error) {
	reader := csv.NewReader(bytes.NewReader(out))
	reader.FieldsPerRecord = -1 // the command is quoted, or not, by version
	records, err := reader.ReadAll()
	if err != nil || len(records) < 2 || len(records[0]) != len(records[len(records)-1]) {
		return result{}, errors.Join(fmt.Errorf("redis-benchmark printed %q", out), err)
	}
	var found result
	for i, name := range records[0] {
		value, err := strconv.ParseFloat(records[len(records)-1][i], 64)
		switch name {
		case "rps":
			found.perSecond = value
		case "p50_latency_ms":
			found.p50 = time.Duration(value * float64(time.Millisecond))
		case "p99_latency_ms":
			found.p99 = time.Duration(value * float64(time.Millisecond))
		default:
			continue
		}
		if err != nil {
			return result{}, fmt.Errorf("redis-benchmark: %s: %w", name, err)
		}
	}
	return found, nil
}
