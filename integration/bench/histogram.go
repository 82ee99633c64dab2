package main

import (
	"math/bits"
	"time"
)

// histogram counts durations in buckets, as HdrHistogram does. A bucket is at most
// as wide as a 32nd of the durations in it, so that a quantile is at most 3 % too
// high. To add a duration allocates nothing. It is not safe for concurrent use.
type histogram struct {
	buckets [64 * steps]uint64
	n       uint64
	max     time.Duration
}

// steps is the number of buckets for each power of two.
const steps = 32

// addDuration counts one duration; a negative one counts as 0.
func (h *histogram) addDuration(d time.Duration) {
	h.buckets[bucketOf(uint64(max(d, 0)))]++
	h.n++
	h.max = max(h.max, d)
}

// addHistogram adds what o has counted.
func (h *histogram) addHistogram(o *histogram) {
	for i, n := range o.buckets {
		h.buckets[i] += n
	}
	h.n += o.n
	h.max = max(h.max, o.max)
}

// quantile returns a duration that the share q of all durations does not exceed.
func (h *histogram) quantile(q float64) time.Duration {
	want := uint64(q * float64(h.n))
	var seen uint64
	for i, n := range h.buckets {
		if seen += n; n > 0 && seen >= want {
			return min(time.Duration(highest(i)), h.max)
		}
	}
	return h.max
}

// bucketOf returns the bucket of a number. Each number below steps has a bucket of
// its own; above, each power of two has so many.
func bucketOf(v uint64) int {
	shift := max(bits.Len64(v)-bits.Len64(steps), 0)
	return shift*steps + int(v>>shift)
}

// highest returns the largest number of a bucket.
func highest(bucket int) uint64 {
	if bucket < 2*steps {
		return uint64(bucket)
	}
	shift := bucket/steps - 1
	return uint64(bucket-shift*steps+1)<<shift - 1
}
