package local

import (
	"context"
	"sync"
	"time"

	"github.com/covetpy/covet/ops/console"
	"github.com/covetpy/covet/ops/health"
	"github.com/covetpy/covet/ops/rollout"
	"github.com/covetpy/covet/server/proxy"
)

const (
	sampleEvery  = time.Second
	keepEvery    = time.Minute
	pointSpan    = 5 * time.Second  // what a displayed value is averaged over
	seriesStep   = 5 * time.Second  // between the points of the recent past
	seriesLength = 180              // points kept: a quarter of an hour
	armKept      = 10 * time.Minute // a release without traffic is forgotten after so long
)

// Meter samples the balancer's counters once a second and knows from them how each release, each instance and the whole
// service do: now, over the recent past, and over the decision matrix's windows. It implements rollout.Signals.
type Meter struct {
	Balancer *proxy.Balancer
	Matrix   health.Matrix

	mu      sync.Mutex
	began   time.Time
	service *health.Counts
	arms    map[string]*arm
	samples []sample // the newest, oldest first, one more than fits into pointSpan
	series  console.Series
	usage   usage
	gauges  gauges
	ready   map[string]time.Time // by version, "" for any: when an instance was last seen ready
}

// arm is what is remembered of one release.
type arm struct {
	counts *health.Counts
	seen   time.Time // when it last had traffic
}

// sample is the balancer's counters at one moment.
type sample struct {
	at    time.Time
	stats proxy.Stats
}

// gauges is what the last observation of the instances said, by version and in total.
type gauges struct {
	total    console.Point
	releases map[string]console.Point
}

// NewMeter starts measuring at a moment.
func NewMeter(b *proxy.Balancer, m health.Matrix, now time.Time) *Meter {
	return &Meter{
		Balancer: b, Matrix: m, began: now, service: health.NewCounts(now), arms: map[string]*arm{},
		ready:  map[string]time.Time{"": now},
		series: console.Series{Releases: map[string][]console.Point{}},
	}
}

// Run samples until the context ends, and keeps the past in the data directory once a minute and at the end. A past that
// cannot be kept is reported to trouble, and costs nothing else.
func (m *Meter) Run(ctx context.Context, dataDir string, trouble func(error)) error {
	tick := time.NewTicker(sampleEvery)
	defer tick.Stop()
	kept := time.Now()
	for {
		select {
		case <-ctx.Done():
			m.keep(dataDir, time.Now(), trouble)
			return ctx.Err()
		case now := <-tick.C:
			m.sample(now)
			if now.Sub(kept) >= keepEvery {
				m.keep(dataDir, now, trouble)
				kept = now
			}
		}
	}
}

func (m *Meter) keep(dataDir string, now time.Time, trouble func(error)) {
	m.mu.Lock()
	past := m.service.Past(now)
	m.mu.Unlock()
	if err := writePast(dataDir, past); err != nil {
		trouble(err)
	}
}

// Remember takes up the past that was kept in the data directory.
func (m *Meter) Remember(dataDir string) error {
	past, err := readPast(dataDir)
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.service.Remember(past)
	return nil
}

func (m *Meter) sample(now time.Time) {
	stats := m.Balancer.Stats()
	m.mu.Lock()
	defer m.mu.Unlock()
	if n := len(m.samples); n > 0 {
		m.count(now, m.samples[n-1].stats, stats)
	}
	m.samples = append(m.samples, sample{at: now, stats: stats})
	if keep := int(pointSpan/sampleEvery) + 1; len(m.samples) > keep {
		m.samples = append(m.samples[:0], m.samples[len(m.samples)-keep:]...)
	}
	m.record(now)
}

// count adds what happened between two samples to each arm and to the service.
func (m *Meter) count(now time.Time, prev, cur proxy.Stats) {
	before := byRelease(prev)
	var requests, failed uint64
	for _, r := range cur.Releases {
		d := r.Sub(before[r.Release].Counters)
		n, bad := outcome(d)
		requests, failed = requests+n, failed+bad
		if n == 0 {
			continue
		}
		a := m.arms[r.Release]
		if a == nil {
			a = &arm{counts: health.NewCounts(now)}
			m.arms[r.Release] = a
		}
		a.counts.Add(now, n, bad)
		a.seen = now
	}
	refused := less(cur.Refused, prev.Refused)
	m.service.Add(now, requests+refused, failed+refused)
	for version, a := range m.arms {
		if now.Sub(a.seen) > armKept {
			delete(m.arms, version)
		}
	}
}

// outcome is how many requests were decided by an instance, and how many of them failed.
func outcome(d proxy.Counters) (requests, failed uint64) {
	return d.Requests, d.Status[5] + d.Failures.Total()
}

func less(a, b uint64) uint64 {
	if a < b {
		return 0
	}
	return a - b
}

func byRelease(s proxy.Stats) map[string]proxy.ReleaseStats {
	out := make(map[string]proxy.ReleaseStats, len(s.Releases))
	for _, r := range s.Releases {
		out[r.Release] = r
	}
	return out
}

// record appends a point to the series when the last one is old enough.
func (m *Meter) record(now time.Time) {
	n := len(m.series.Total)
	if n > 0 && now.Sub(m.series.Total[n-1].At) < seriesStep {
		return
	}
	total, releases := m.points()
	m.series.Total = appendPoint(m.series.Total, total)
	for version, p := range releases {
		m.series.Releases[version] = appendPoint(m.series.Releases[version], p)
	}
	for version, points := range m.series.Releases {
		if now.Sub(points[len(points)-1].At) > seriesLength*seriesStep {
			delete(m.series.Releases, version)
		}
	}
}

func appendPoint(points []console.Point, p console.Point) []console.Point {
	points = append(points, p)
	if len(points) > seriesLength {
		points = append(points[:0:0], points[1:]...)
	}
	return points
}

// points measures over the last few seconds. m.mu is held.
func (m *Meter) points() (console.Point, map[string]console.Point) {
	total, releases := m.gauges.total, map[string]console.Point{}
	n := len(m.samples)
	if n == 0 {
		return total, releases
	}
	first, last := m.samples[0], m.samples[n-1]
	span := last.at.Sub(first.at)
	before := byRelease(first.stats)
	var all proxy.Counters
	for _, r := range last.stats.Releases {
		d := r.Sub(before[r.Release].Counters)
		all = all.Add(d)
		if g, runs := m.gauges.releases[r.Release]; runs || d.Requests > 0 {
			releases[r.Release] = point(g, d, span, last.at, 0)
		}
	}
	refused := less(last.stats.Refused, first.stats.Refused)
	return point(total, all, span, last.at, refused), releases
}

// point adds the traffic of a span to what was gauged of the instances.
func point(g console.Point, d proxy.Counters, span time.Duration, at time.Time, refused uint64) console.Point {
	requests, failed := outcome(d)
	requests, failed = requests+refused, failed+refused
	g.At = at
	g.Connections = int(d.InFlight + d.WebSockets)
	if span > 0 {
		g.RequestRate = float64(requests) / span.Seconds()
	}
	if requests > 0 {
		g.ErrorRate = float64(failed) / float64(requests)
	}
	if d.Requests > 0 {
		g.P50, g.P95, g.P99 = millis(d.Latency, 0.50), millis(d.Latency, 0.95), millis(d.Latency, 0.99)
	}
	return g
}

func millis(h proxy.Histogram, p float64) float64 {
	return float64(h.Quantile(p).Microseconds()) / 1000
}

// annotate adds to observed instances what was measured of them, and gauges the whole from them.
func (m *Meter) annotate(instances []rollout.Instance) {
	now := time.Now()
	m.mu.Lock()
	defer m.mu.Unlock()
	traffic := m.instanceTraffic()
	m.gauges = gauges{releases: map[string]console.Point{}}
	for i := range instances {
		in := &instances[i]
		in.CPU = m.usage.cores(*in, now)
		if p, ok := traffic[in.ID]; ok {
			in.InFlight, in.RequestRate, in.ErrorRate, in.P95 = p.Connections, p.RequestRate, p.ErrorRate, p.P95
		}
		g := m.gauges.releases[in.Release]
		for _, p := range []*console.Point{&m.gauges.total, &g} {
			p.CPU += in.CPU
			p.RSS += in.RSS
			if in.State == rollout.Ready {
				p.Ready++
			}
		}
		m.gauges.releases[in.Release] = g
		if in.State == rollout.Ready {
			m.ready[in.Release], m.ready[""] = now, now
		}
	}
	m.usage.forget(instances)
}

// instanceTraffic is what each instance did over the last few seconds. m.mu is held.
func (m *Meter) instanceTraffic() map[string]console.Point {
	out := map[string]console.Point{}
	n := len(m.samples)
	if n == 0 {
		return out
	}
	first, last := m.samples[0], m.samples[n-1]
	before := make(map[string]proxy.InstanceStats, len(first.stats.Instances))
	for _, i := range first.stats.Instances {
		before[i.ID] = i
	}
	for _, i := range last.stats.Instances {
		was := before[i.ID]
		if was.Addr != i.Addr {
			was.Counters = proxy.Counters{} // it was restarted: it counts from zero
		}
		out[i.ID] = point(console.Point{}, i.Sub(was.Counters), last.at.Sub(first.at), last.at, 0)
	}
	return out
}

// Points is what is measured now, in total and by release.
func (m *Meter) Points() (console.Point, map[string]console.Point) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.points()
}

// Series is the recent past.
func (m *Meter) Series() console.Series {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := console.Series{Step: duration(seriesStep), Total: append([]console.Point{}, m.series.Total...), Releases: map[string][]console.Point{}}
	for version, points := range m.series.Releases {
		out.Releases[version] = append([]console.Point{}, points...)
	}
	return out
}
