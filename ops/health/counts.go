package health

import "time"

// Lengths of the two rings: seconds are kept for an hour, minutes for the matrix's longest window.
const (
	secondsKept = 3600
	minutesKept = 72*60 + 1
)

// Counts remembers how many requests one arm had, and how many of them failed, in one bucket a second and one a minute. It
// takes a fixed 180 kB. It is not safe for concurrent use.
type Counts struct {
	since    time.Time // what is known begins here
	counting time.Time // what is known to the second begins here
	seconds  ring
	minutes  ring
}

type bucket struct {
	at       int64 // unix seconds or minutes; the bucket is stale where this is not what its place stands for
	requests uint64
	errors   uint64
}

type ring struct {
	unit    int64
	buckets []bucket
}

// NewCounts starts counting at since: nothing is known of the time before.
func NewCounts(since time.Time) *Counts {
	return &Counts{
		since: since, counting: since,
		seconds: ring{unit: 1, buckets: make([]bucket, secondsKept)},
		minutes: ring{unit: 60, buckets: make([]bucket, minutesKept)},
	}
}

// Add counts requests and errors at a moment.
func (c *Counts) Add(at time.Time, requests, errors uint64) {
	if requests == 0 && errors == 0 {
		return
	}
	c.seconds.add(at, requests, errors)
	c.minutes.add(at, requests, errors)
}

// Window looks back over a span ending at now. Spans of up to an hour are exact to the second, longer ones, and those that
// reach back to what was remembered, to the minute.
func (c *Counts) Window(now time.Time, span time.Duration) Window {
	w := Window{Span: span, Covered: min(span, max(now.Sub(c.since), 0))}
	r := &c.seconds
	if span > secondsKept*time.Second || now.Sub(c.counting) < span && span >= 2*time.Minute {
		r = &c.minutes
	}
	w.Requests, w.Errors = r.sum(now, span)
	return w
}

func (r *ring) add(at time.Time, requests, errors uint64) {
	key := at.Unix() / r.unit
	b := &r.buckets[key%int64(len(r.buckets))]
	if b.at != key {
		*b = bucket{at: key}
	}
	b.requests += requests
	b.errors += errors
}

func (r *ring) sum(now time.Time, span time.Duration) (requests, errors uint64) {
	last := now.Unix() / r.unit
	first := max(last-int64(span/time.Second)/r.unit+1, last-int64(len(r.buckets))+1)
	for key := first; key <= last; key++ {
		b := &r.buckets[key%int64(len(r.buckets))]
		if b.at == key {
			requests += b.requests
			errors += b.errors
		}
	}
	return requests, errors
}

// Minute is what one minute had.
type Minute struct {
	At       int64  `json:"at"` // minutes since 1970
	Requests uint64 `json:"requests"`
	Errors   uint64 `json:"errors"`
}

// Past is what Counts remember for the long windows, to be kept while nobody counts.
type Past struct {
	Since   time.Time `json:"since"`
	Minutes []Minute  `json:"minutes"`
}

// Past returns the minutes that had traffic, oldest first.
func (c *Counts) Past(now time.Time) Past {
	p := Past{Since: c.since}
	last := now.Unix() / 60
	for at := last - minutesKept + 1; at <= last; at++ {
		b := c.minutes.buckets[at%minutesKept]
		if b.at == at {
			p.Minutes = append(p.Minutes, Minute{At: at, Requests: b.requests, Errors: b.errors})
		}
	}
	return p
}

// Remember adds a past to the long windows.
func (c *Counts) Remember(p Past) {
	if !p.Since.IsZero() && p.Since.Before(c.since) {
		c.since = p.Since
	}
	for _, m := range p.Minutes {
		c.minutes.add(time.Unix(m.At*60, 0), m.Requests, m.Errors)
	}
}
