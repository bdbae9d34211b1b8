package main

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestHistogram(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var parts [3]histogram
	var all []time.Duration
	for i := range 10_000 {
		d := time.Duration(random.ExpFloat64() * float64(time.Millisecond))
		all = append(all, d)
		parts[i%3].record(d)
	}
	var sum histogram
	for i := range parts {
		sum.merge(&parts[i])
	}
	require.EqualValues(t, len(all), sum.n)
	slices.Sort(all)
	for _, q := range []float64{0.001, 0.1, 0.5, 0.9, 0.99, 0.999, 1} {
		want := all[max(0, int(q*float64(len(all))+0.999999)-1)]
		require.InEpsilon(t, want, sum.quantile(q), 0.01, "%v", q)
	}
}

func TestHistogramBounds(t *testing.T) {
	var h histogram
	require.Zero(t, h.quantile(0.5))
	for _, d := range []time.Duration{-1, 0, 1, perOctave - 1, perOctave, longest, 1 << 62} {
		h.record(d)
	}
	require.Zero(t, h.quantile(0.01))
	require.InEpsilon(t, longest, h.quantile(1), 0.01)
	last := -1
	for d := time.Duration(0); d <= longest; d += 1 + d/500 {
		b := bucketOf(d)
		require.Contains(t, []int{last, last + 1}, b, "%d", d)
		last = b
		require.InDelta(t, d, middle(b), 1+float64(d)/100)
	}
	require.Equal(t, buckets-1, bucketOf(longest))
}
