package main

import (
	"math"
	"math/bits"
	"time"
)

// histogram counts durations in buckets whose width grows with the duration, as
// HDR histograms do: 64 buckets for each power of two, so that a percentile is
// within 1 % of the truth. It takes 9 KB and a few nanoseconds for each record,
// so that every caller has one of its own; they are merged at the end. It is not
// safe for concurrent use.
type histogram struct {
	counts [buckets]uint32
	n      int64
}

const (
	perOctaveBits = 6
	perOctave     = 1 << perOctaveBits
	longest       = 1<<40 - 1 // ns, 18 minutes
	buckets       = (40 - perOctaveBits + 1) * perOctave
)

// record counts a duration.
func (h *histogram) record(d time.Duration) {
	h.counts[bucketOf(d)]++
	h.n++
}

func bucketOf(d time.Duration) int {
	v := uint64(min(max(d, 0), longest))
	if v < perOctave {
		return int(v)
	}
	octave := bits.Len64(v) - 1 - perOctaveBits // the width of the bucket is 1 << octave
	return (octave+1)*perOctave + int(v>>octave) - perOctave
}

// middle is the middle of a bucket.
func middle(bucket int) time.Duration {
	if bucket < perOctave {
		return time.Duration(bucket)
	}
	octave := bucket/perOctave - 1
	low := int64(bucket%perOctave+perOctave) << octave
	return time.Duration(low + int64(1)<<octave/2)
}

// merge adds the counts of another histogram.
func (h *histogram) merge(other *histogram) { h.add(other.counts[:]) }

// add adds counts, as they are in a histogram.
func (h *histogram) add(counts []uint32) {
	for i, n := range counts[:min(len(counts), buckets)] {
		h.counts[i] += n
		h.n += int64(n)
	}
}

// quantile is the duration that the part q of all did not exceed; 0 if there is
// none.
func (h *histogram) quantile(q float64) time.Duration {
	rank := int64(math.Ceil(q * float64(h.n)))
	seen := int64(0)
	for i, n := range h.counts {
		if seen += int64(n); n > 0 && seen >= rank {
			return middle(i)
		}
	}
	return 0
}
