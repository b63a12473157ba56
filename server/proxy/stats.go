package proxy

import (
	"slices"
	"strings"
	"sync/atomic"
)

// Failures count what an instance was asked for and did not do. They are the balancer's own finding, apart from the 5xx
// answers of a release, which are in Counters.Status.
type Failures struct {
	Connect   uint64 // no connection within DialTimeout; nothing was sent and the request was tried elsewhere
	Closed    uint64 // the connection ended before an answer: 502
	Malformed uint64 // an answer that is not valid HTTP: 502
	Timeout   uint64 // no head of an answer within ResponseHeaderTimeout: 504
	Truncated uint64 // the answer ended before its end; the client's connection was broken off to say so
	Cut       uint64 // broken off by Leave when its time was over
}

// Total is the number of requests that failed: all kinds but Connect, whose requests were served by another instance or
// are counted in Stats.Refused.
func (f Failures) Total() uint64 {
	return f.Closed + f.Malformed + f.Timeout + f.Truncated + f.Cut
}

// Counters are cumulative, except InFlight and WebSockets, which are now.
type Counters struct {
	Requests   uint64    // that the instance answered or failed for good; one that was made again counts where it ended
	Status     [6]uint64 // answers of the instance by class: Status[2] counts 200 to 299; Status[5] everything from 500
	Failures   Failures
	Retried    uint64 // made again, here or elsewhere: Failures.Connect, and idle connections that turned out to be dead
	Cancelled  uint64 // given up because the client had gone or sent a broken body
	InFlight   int64  // requests now
	WebSockets int64  // upgraded connections now
	BytesIn    uint64 // bodies sent to the instance, and upgraded traffic
	BytesOut   uint64 // bodies sent by the instance, and upgraded traffic
	// Latency is measured from the moment the instance was chosen until the head of its answer was there: what the
	// release took, without the client's own slowness and without waiting for a ready instance.
	Latency Histogram
}

// Add returns the sum of both.
func (c Counters) Add(o Counters) Counters {
	c.merge(o, func(a, b uint64) uint64 { return a + b })
	c.InFlight += o.InFlight
	c.WebSockets += o.WebSockets
	c.Latency = c.Latency.Add(o.Latency)
	return c
}

// Sub returns what was counted since prev; InFlight and WebSockets stay what they are now.
func (c Counters) Sub(prev Counters) Counters {
	c.merge(prev, less)
	c.Latency = c.Latency.Sub(prev.Latency)
	return c
}

func (c *Counters) merge(o Counters, f func(a, b uint64) uint64) {
	c.Requests = f(c.Requests, o.Requests)
	for i := range c.Status {
		c.Status[i] = f(c.Status[i], o.Status[i])
	}
	c.Failures = Failures{
		Connect:   f(c.Failures.Connect, o.Failures.Connect),
		Closed:    f(c.Failures.Closed, o.Failures.Closed),
		Malformed: f(c.Failures.Malformed, o.Failures.Malformed),
		Timeout:   f(c.Failures.Timeout, o.Failures.Timeout),
		Truncated: f(c.Failures.Truncated, o.Failures.Truncated),
		Cut:       f(c.Failures.Cut, o.Failures.Cut),
	}
	c.Retried = f(c.Retried, o.Retried)
	c.Cancelled = f(c.Cancelled, o.Cancelled)
	c.BytesIn = f(c.BytesIn, o.BytesIn)
	c.BytesOut = f(c.BytesOut, o.BytesOut)
}

// InstanceStats are the counters of one instance since it joined.
type InstanceStats struct {
	Target
	Ready bool // it may be given requests: joined, not suspended, not leaving
	Counters
}

// ReleaseStats are the counters of a release: of its instances and of those that have left.
type ReleaseStats struct {
	Release string
	Ready   int // ready instances
	Counters
}

// Stats is a snapshot of everything counted. Instances are ordered by ID, releases by name.
type Stats struct {
	Instances []InstanceStats
	Releases  []ReleaseStats
	Holding   int64  // requests waiting for an instance now
	Held      uint64 // requests that had to wait
	Refused   uint64 // requests answered 503 or 502 because no instance was ready or could be reached
	Invalid   uint64 // requests refused by the balancer itself, 4xx
}

// counters is the live side of Counters. An instance's are written by requests on all cores; the padding keeps them off
// the cache lines of its neighbours.
type counters struct {
	_         [64]byte
	inFlight  atomic.Int64
	upgraded  atomic.Int64
	requests  atomic.Uint64
	status    [6]atomic.Uint64
	failures  [failureKinds]atomic.Uint64
	retried   atomic.Uint64
	cancelled atomic.Uint64
	bytesIn   atomic.Uint64
	bytesOut  atomic.Uint64
	latency   recorder
	_         [64]byte
}

func (c *counters) answered(status int) {
	c.status[min(status/100, 5)].Add(1)
}

func (c *counters) snapshot() Counters {
	s := Counters{
		Requests: c.requests.Load(),
		Failures: Failures{
			Connect:   c.failures[connectFailed].Load(),
			Closed:    c.failures[closedEarly].Load(),
			Malformed: c.failures[malformed].Load(),
			Timeout:   c.failures[timedOut].Load(),
			Truncated: c.failures[truncated].Load(),
			Cut:       c.failures[cutOff].Load(),
		},
		Retried:    c.retried.Load(),
		Cancelled:  c.cancelled.Load(),
		InFlight:   c.inFlight.Load(),
		WebSockets: c.upgraded.Load(),
		BytesIn:    c.bytesIn.Load(),
		BytesOut:   c.bytesOut.Load(),
		Latency:    c.latency.snapshot(),
	}
	for i := range s.Status {
		s.Status[i] = c.status[i].Load()
	}
	return s
}

// Stats returns everything counted so far. It is meant for a collector that calls it every second or so and takes
// differences with Sub.
func (b *Balancer) Stats() Stats {
	b.mu.Lock()
	defer b.mu.Unlock()
	releases := make(map[string]*ReleaseStats)
	of := func(name string) *ReleaseStats {
		r := releases[name]
		if r == nil {
			r = &ReleaseStats{Release: name}
			releases[name] = r
		}
		return r
	}
	s := Stats{Holding: b.holding.Load(), Held: b.held.Load(), Refused: b.refused.Load(), Invalid: b.invalid.Load()}
	for in := range b.members {
		b.settle(in)
	}
	for name, c := range b.departed {
		of(name).Counters = c
	}
	for in := range b.members {
		c, r := in.snapshot(), of(in.Release)
		r.Counters = r.Add(c)
		ready := in.ready()
		if ready {
			r.Ready++
		}
		if b.byID[in.ID] == in {
			s.Instances = append(s.Instances, InstanceStats{Target: in.Target, Ready: ready, Counters: c})
		}
	}
	for _, r := range releases {
		s.Releases = append(s.Releases, *r)
	}
	slices.SortFunc(s.Instances, func(a, b InstanceStats) int { return strings.Compare(a.ID, b.ID) })
	slices.SortFunc(s.Releases, func(a, b ReleaseStats) int { return strings.Compare(a.Release, b.Release) })
	return s
}
