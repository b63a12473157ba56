package proxy

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func TestBucketsAreContiguousAndNarrow(t *testing.T) {
	t.Parallel()
	last := 0
	for us := int64(0); us < 140_000_000; us += 1 + us/50 {
		d := time.Duration(us) * time.Microsecond
		i := bucketOf(d)
		if i < last || i > last+1 {
			t.Fatalf("%v is in bucket %d, after bucket %d", d, i, last)
		}
		last = i
		if i == bucketCount-1 {
			continue
		}
		if d >= UpperBound(i) || i > 0 && d < UpperBound(i-1) {
			t.Fatalf("%v is in bucket %d, which ends at %v", d, i, UpperBound(i))
		}
		if off := bucketMiddle(i) - d; off > d/16+time.Microsecond || off < -d/16-time.Microsecond {
			t.Fatalf("%v is told as %v", d, bucketMiddle(i))
		}
	}
	if last != bucketCount-1 {
		t.Errorf("140 s are in bucket %d, not the last", last)
	}
	if bucketOf(-time.Second) != 0 || bucketOf(time.Hour) != bucketCount-1 {
		t.Error("values out of range are not in the outer buckets")
	}
}

func TestQuantiles(t *testing.T) {
	t.Parallel()
	var r recorder
	rng := rand.New(rand.NewPCG(1, 2))
	var all []time.Duration
	for range 20_000 {
		d := time.Duration(rng.ExpFloat64() * float64(30*time.Millisecond))
		all = append(all, d)
		r.observe(d)
	}
	slices.Sort(all)
	h := r.snapshot()
	for _, p := range []float64{0, 0.5, 0.95, 0.99, 1} {
		want := all[min(int(p*float64(len(all))), len(all)-1)]
		if got := h.Quantile(p); got < want*15/16-time.Microsecond || got > want*17/16+time.Microsecond {
			t.Errorf("quantile %v is %v, want %v", p, got, want)
		}
	}
	if got := h.Mean(); got < 28*time.Millisecond || got > 32*time.Millisecond {
		t.Errorf("mean is %v", got)
	}
}

func TestWindowOfAHistogram(t *testing.T) {
	t.Parallel()
	var r recorder
	for range 100 {
		r.observe(time.Second)
	}
	before := r.snapshot()
	for range 10 {
		r.observe(time.Millisecond)
	}
	w := r.snapshot().Sub(before)
	if w.Count != 10 || w.Sum != 10*time.Millisecond || w.Quantile(1) > 2*time.Millisecond {
		t.Errorf("the window holds %d, sum %v, max %v", w.Count, w.Sum, w.Quantile(1))
	}
	if back := before.Add(w); back != r.snapshot() {
		t.Error("what was taken away and added again is not the same")
	}
	if none := before.Sub(r.snapshot()); none.Count != 0 || none.Sum != 0 || none.Quantile(0.5) != 0 || none.Mean() != 0 {
		t.Errorf("a histogram that has gone backwards has a window of %d", none.Count)
	}
}
