package soak_test

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/stretchr/testify/assert"
)

// figure is one of the things that may not grow.
type figure struct {
	name string
	unit float64 // of what is printed, for what is measured in bytes
	of   func(*soak) (float64, error)

	// By so much it may be more in the last tenth than in the second: a share of it,
	// and something for what comes and goes.
	share, beyond float64
	// Or it may be so much, whatever it was before.
	most float64
}

// bound is what it may be in the last tenth.
func (f figure) bound(before float64) float64 {
	if f.most > 0 {
		return f.most
	}
	return before*(1+f.share) + f.beyond
}

const mib = 1 << 20

// underWay is how many calls are under way where the machine is slow: buyers, and a crowd.
// On a quiet machine there are few, and it may be quiet in one tenth and busy in another.
const underWay = mostAtOnce + crowd

// ownConnections is how many connections a server has from others than the pools.
const ownConnections = 12

// figures are all that is measured. What buyers have under way comes and goes, so that
// of a tenth's samples the median counts.
func figures() []figure {
	all := []figure{
		// Beyond: two bytes for each order of a SKU that sells out, in each process.
		{name: "heap after GC, MiB", unit: mib, of: heap, share: 0.2, beyond: 3 * mib},
		// Each buyer under way is some goroutines.
		{name: "goroutines", unit: 1, of: goroutines, share: 0.2, beyond: 3 * underWay},
		// A pool opens what it has not needed before. Beside the pools there are the
		// test's own, and those that package servertest and go-redis have open.
		{name: "connections of the pgx pools", unit: 1, of: poolsOfPgx, most: 2 * poolConnections},
		{name: "connections of the Redis pools", unit: 1, of: poolsOfRedis, most: 2 * redisConnections},
		{name: "connections in Postgres", unit: 1, of: inPostgres, most: 2*poolConnections + ownConnections},
		{name: "connections in Redis", unit: 1, of: inRedis, most: 2*redisConnections + ownConnections},
		// Buffers of connections, and what is unsettled.
		{name: "Redis used_memory, MiB", unit: mib, of: usedMemory, share: 0.1, beyond: 2 * mib},
	}
	for _, sku := range skus {
		// A field for each unsettled deduction, and each customer that has any.
		all = append(all, figure{name: "fields of " + sku, unit: 1, of: func(s *soak) (float64, error) {
			n, err := s.client.HLen(context.Background(), stockKey(sku)).Result()
			return float64(n), err
		}, beyond: 2 * underWay})
	}
	return all
}

func heap(*soak) (float64, error) {
	runtime.GC()
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	return float64(memory.HeapAlloc), nil
}

func goroutines(*soak) (float64, error) { return float64(runtime.NumGoroutine()), nil }

func poolsOfPgx(s *soak) (n float64, _ error) {
	for _, shop := range s.shops {
		n += float64(shop.pool.Stat().TotalConns())
	}
	return n, nil
}

func poolsOfRedis(s *soak) (n float64, _ error) {
	for _, shop := range s.shops {
		n += float64(shop.client.PoolStats().TotalConns)
	}
	return n, nil
}

func inPostgres(s *soak) (float64, error) {
	var n int
	err := s.pool.QueryRow(context.Background(), "select count(*) from pg_stat_activity where datname = current_database()").Scan(&n)
	return float64(n), err
}

func inRedis(s *soak) (float64, error) { return s.info("clients", "connected_clients") }

func usedMemory(s *soak) (float64, error) { return s.info("memory", "used_memory") }

// info is a number of Redis's INFO.
func (s *soak) info(section, field string) (float64, error) {
	text, err := s.client.Info(context.Background(), section).Result()
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(line, field+":"); ok {
			return strconv.ParseFloat(strings.TrimSpace(value), 64)
		}
	}
	return 0, fmt.Errorf("redis-server doesn't tell its %s", field)
}

// sample is all figures at one moment.
type sample struct {
	buyers int // who had come by then
	values []float64
}

// samples is how many there are in a tenth.
const samples = 15

// measure takes a sample whenever so many buyers have come, until no more do.
func (s *soak) measure(come <-chan int) {
	all := figures()
	for buyers := range come {
		now := sample{buyers: buyers}
		for _, f := range all {
			value, err := f.of(s)
			if err != nil {
				s.buyers.complain("%s can't be measured: %v", f.name, err)
			}
			now.values = append(now.values, value)
		}
		s.samples = append(s.samples, now)
	}
}

// tenth is the median of a figure in a tenth of the run, from 0 on. Buyers are counted and
// not seconds: a machine that stands still has as many in each.
func (s *soak) tenth(tenth, figure int) float64 {
	last := s.samples[len(s.samples)-1].buyers
	var values []float64
	for _, sample := range s.samples {
		if 10*sample.buyers/(last+1) == tenth {
			values = append(values, sample.values[figure])
		}
	}
	if len(values) == 0 {
		return 0
	}
	slices.Sort(values)
	return values[len(values)/2]
}

// report prints the table, and fails if anything has grown.
func (s *soak) report() {
	s.t.Helper()
	var text strings.Builder
	table := tabwriter.NewWriter(&text, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "median of the tenth\t2nd\t4th\t6th\t8th\tlast\tbound\t")
	for i, f := range figures() {
		fmt.Fprintf(table, "%s\t", f.name)
		for _, tenth := range []int{1, 3, 5, 7, 9} {
			fmt.Fprintf(table, "%.4g\t", s.tenth(tenth, i)/f.unit)
		}
		before, after := s.tenth(1, i), s.tenth(9, i)
		bound := f.bound(before)
		fmt.Fprintf(table, "%.4g\t\n", bound/f.unit)
		assert.Positive(s.t, before, f.name)
		assert.LessOrEqual(s.t, after, bound, "%s grows", f.name)
	}
	assert.NoError(s.t, table.Flush())
	s.t.Logf("%v, %d samples; %d buyers, %d got an order, %d were refused, %d calls were to be made again\n%s",
		s.took.Round(time.Second), len(s.samples),
		s.buyers.made.Load(), s.buyers.sold.Load(), s.buyers.refused.Load(), s.buyers.again.Load(), text.String())
}
