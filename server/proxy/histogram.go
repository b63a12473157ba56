package proxy

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// Latencies are counted in microseconds in log-linear buckets: sixteen to each doubling, so a quantile is at most 1/32
// off. The last bucket takes everything from 130 s on.
const (
	subBuckets  = 16
	bucketCount = 24 * subBuckets
)

// Histogram is a distribution of latencies: a snapshot, free to copy and compare.
type Histogram struct {
	Buckets [bucketCount]uint64
	Count   uint64
	Sum     time.Duration
}

// Quantile returns the latency below which the fraction p (0 to 1) of the observations lies, or 0 where there are none.
func (h *Histogram) Quantile(p float64) time.Duration {
	if h.Count == 0 {
		return 0
	}
	rank := uint64(min(max(p, 0), 1) * float64(h.Count))
	rank = min(rank, h.Count-1)
	var seen uint64
	for i, n := range h.Buckets {
		if seen += n; seen > rank {
			return bucketMiddle(i)
		}
	}
	return bucketMiddle(bucketCount - 1)
}

// Mean returns the average latency, or 0 where there are no observations.
func (h *Histogram) Mean() time.Duration {
	if h.Count == 0 {
		return 0
	}
	return h.Sum / time.Duration(h.Count)
}

// Sub returns what was observed since prev, an earlier snapshot of the same histogram. Where prev holds more (an
// instance of the same name that counts from zero again) the difference is taken as zero.
func (h Histogram) Sub(prev Histogram) Histogram {
	h.Count = 0
	for i := range h.Buckets {
		h.Buckets[i] = less(h.Buckets[i], prev.Buckets[i])
		h.Count += h.Buckets[i]
	}
	h.Sum = max(h.Sum-prev.Sum, 0)
	return h
}

// Add returns the two distributions as one.
func (h Histogram) Add(other Histogram) Histogram {
	for i := range h.Buckets {
		h.Buckets[i] += other.Buckets[i]
	}
	h.Count += other.Count
	h.Sum += other.Sum
	return h
}

// UpperBound returns the latency under which everything in bucket i lies, for an exporter of cumulative buckets.
func UpperBound(i int) time.Duration {
	if i < subBuckets {
		return time.Duration(i+1) * time.Microsecond
	}
	shift := i/subBuckets - 1
	return time.Duration(subBuckets+i%subBuckets+1) << shift * time.Microsecond
}

func bucketMiddle(i int) time.Duration {
	var low time.Duration
	if i > 0 {
		low = UpperBound(i - 1)
	}
	return (low + UpperBound(i)) / 2
}

func bucketOf(d time.Duration) int {
	us := uint64(max(d, 0) / time.Microsecond)
	if us < subBuckets {
		return int(us)
	}
	shift := bits.Len64(us) - 5
	return min(shift*subBuckets+int(us>>shift), bucketCount-1)
}

// recorder is the live side of a Histogram. Its count is the sum of its buckets, so an observation is two additions.
type recorder struct {
	buckets [bucketCount]atomic.Uint64
	sum     atomic.Int64
}

func (r *recorder) observe(d time.Duration) {
	r.buckets[bucketOf(d)].Add(1)
	r.sum.Add(int64(d))
}

func (r *recorder) snapshot() (h Histogram) {
	for i := range r.buckets {
		h.Buckets[i] = r.buckets[i].Load()
		h.Count += h.Buckets[i]
	}
	h.Sum = time.Duration(r.sum.Load())
	return h
}

func less(a, b uint64) uint64 {
	if a < b {
		return 0
	}
	return a - b
}
