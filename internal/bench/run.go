package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"time"
)

// run measures all places, one after the other, again and again, and returns
// the medians.
func run(ctx context.Context, s settings, on *servers, places []place, progress io.Writer) ([]measured, error) {
	found := make([][]result, len(places))
	order := make([]int, len(places))
	for i := range order {
		order[i] = i
	}
	// All contenders with as many callers stand next to each other in time.
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(places[a].callers, places[b].callers) })
	began := time.Now()
	for repeat := range s.repeats {
		for n, i := range order {
			p := places[i]
			result, err := measureCell(ctx, s, on, p.row, p.callers, repeat == 0)
			if err != nil {
				return nil, err
			}
			found[i] = append(found[i], result)
			fmt.Fprintf(progress, "%4.0f s  %d/%d  %3d/%d  %-16s %5d callers %12s per second, p50 %s, p99 %s\n",
				time.Since(began).Seconds(), repeat+1, s.repeats, n+1, len(order),
				p.row.name, p.callers, thousands(result.perSecond), shortly(result.p50), shortly(result.p99))
		}
		slices.Reverse(order)
	}
	rows := make([]measured, len(places))
	for i, p := range places {
		rows[i] = summarize(p, found[i])
	}
	return rows, nil
}

// measured is a line of the result. The figures are medians of the repeats.
type measured struct {
	Name      string    `json:"name"`
	Callers   int       `json:"callers"`
	PerSecond float64   `json:"per_second"`
	P50       float64   `json:"p50_us"`
	P99       float64   `json:"p99_us"`
	Durable   bool      `json:"durable"`
	Repeats   []float64 `json:"per_second_repeats"` // in the order of time
}

func summarize(p place, found []result) measured {
	m := measured{Name: p.row.name, Callers: p.callers, Durable: p.row.durable}
	m.PerSecond = median(found, func(r result) float64 { return r.perSecond })
	m.P50 = median(found, func(r result) float64 { return micros(r.p50) })
	m.P99 = median(found, func(r result) float64 { return micros(r.p99) })
	for _, r := range found {
		m.Repeats = append(m.Repeats, r.perSecond)
	}
	return m
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

// median is that of one figure; of an even number, the mean of the two in the
// middle.
func median(found []result, figure func(result) float64) float64 {
	values := make([]float64, len(found))
	for i, r := range found {
		values[i] = figure(r)
	}
	slices.Sort(values)
	middle := len(values) / 2
	if len(values)%2 == 1 {
		return values[middle]
	}
	return (values[middle-1] + values[middle]) / 2
}
