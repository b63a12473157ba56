package kube

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/covetpy/covet/ops/console"
	"github.com/covetpy/covet/ops/health"
	"github.com/covetpy/covet/ops/rollout"
)

// How the pods are read.
const (
	scrapeEvery = 2 * time.Second
	scrapePods  = 40               // of one release in one round: of more, others are read in the next one
	scrapeAtOne = 8                // at a time
	staleAfter  = 10 * time.Second // a release not read for so long is not known
)

// meter knows how the requests to each release do, from the counters that covetd shows in its pods. It reads them only while a
// rollout is under way and this program drives it.
type meter struct {
	sight   *sight
	scraper *scraper
	setting string // see Options.Metrics
	matrix  health.Matrix

	mu      sync.Mutex
	busy    bool
	last    time.Time // when a round began
	service *health.Counts
	arms    map[string]*scrapedArm
	pods    map[string]tally
	turn    int
}

// scrapedArm is what was read of one release.
type scrapedArm struct {
	counts *health.Counts
	read   time.Time // when most of its pods that were asked answered
	shows  bool      // they show covetd's metrics
	asked  int
	failed int
	why    string // why the last one could not be read
	where  endpoint
	point  console.Point
	at     time.Time // of the point
}

// noneShown is why a pod that answers tells nothing.
const noneShown = "what they show is not covetd's"

func newMeter(g *sight, s *scraper, setting string, m health.Matrix) *meter {
	return &meter{sight: g, scraper: s, setting: setting, matrix: m, arms: map[string]*scrapedArm{}, pods: map[string]tally{}}
}

// target is one pod to be read.
type target struct {
	pod     *pod
	version string
	at      endpoint
}

// targets are the ready pods of the releases of a rollout, as many of each as one round reads.
func (m *meter) targets(turn int, versions ...string) []target {
	by := map[string][]target{}
	release := m.sight.versions()
	for _, p := range m.sight.stage.pods.all() {
		version := release(p)
		set, ok := m.sight.stage.sets.get(p.owner)
		if !ok || version == "" || !p.ready || !slices.Contains(versions, version) {
			continue
		}
		if e, ok := endpointOf(templateOf(set), m.setting); ok {
			by[version] = append(by[version], target{p, version, e})
		}
	}
	var out []target
	for _, version := range versions {
		list := by[version]
		if n := len(list); n > scrapePods {
			from := turn * scrapePods % n
			list = append(slices.Clone(list[from:]), list[:from]...)[:scrapePods]
		}
		out = append(out, list...)
	}
	return out
}

// look begins to read the pods, unless they were read a moment ago or are being read.
func (m *meter) look(ctx context.Context, r *rollout.Rollout, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.busy || now.Sub(m.last) < scrapeEvery || m.setting == MetricsOff {
		return
	}
	if m.last.IsZero() {
		m.service = health.NewCounts(now)
	}
	m.busy, m.last = true, now
	m.turn++
	all := m.targets(m.turn, r.To, r.From)
	go m.round(context.WithoutCancel(ctx), all, r.JudgedAt)
}

// result is what was read of one pod.
type result struct {
	target
	tally tally
	shows bool
	err   error
}

// read reads pods, a few at a time.
func (m *meter) read(ctx context.Context, all []target) []result {
	out := make([]result, len(all))
	var wg sync.WaitGroup
	slots := make(chan struct{}, scrapeAtOne)
	for i, t := range all {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			r := result{target: t}
			r.tally, r.shows, r.err = m.scraper.read(ctx, t.pod, t.at)
			out[i] = r
		})
	}
	wg.Wait()
	return out
}

// round reads the pods once and counts what came to them since the last time.
func (m *meter) round(ctx context.Context, all []target, since time.Time) {
	results := m.read(ctx, all)
	m.mu.Lock()
	defer m.mu.Unlock()
	at := now()
	m.busy = false
	for _, a := range m.arms {
		a.asked, a.failed = 0, 0
	}
	sums := map[string]tally{}
	for _, r := range results {
		a := m.arm(r.version, at)
		a.note(r)
		if r.err != nil || !r.shows {
			continue
		}
		before, known := m.pods[r.pod.uid]
		m.pods[r.pod.uid] = r.tally
		if !known && r.pod.made.Before(since) {
			continue // what it counted before it was judged is not known
		}
		d, sum := r.tally.since(before), sums[r.version]
		sums[r.version] = tally{sum.requests + d.requests, sum.failed + d.failed}
	}
	for version, a := range m.arms {
		if a.asked > 0 {
			a.settle(at, sums[version])
		}
		m.service.Add(at, sums[version].requests, sums[version].failed)
	}
}

func (m *meter) arm(version string, at time.Time) *scrapedArm {
	a := m.arms[version]
	if a == nil {
		a = &scrapedArm{counts: health.NewCounts(at)}
		m.arms[version] = a
	}
	return a
}

// note takes the result of one pod.
func (a *scrapedArm) note(r result) {
	a.asked++
	a.where = r.at
	switch {
	case r.err != nil:
		a.failed++
		a.why = strings.TrimSpace(r.err.Error())
	case r.shows:
		a.shows = true
	default:
		a.why = noneShown
	}
}

// settle counts what a round has read.
func (a *scrapedArm) settle(at time.Time, sum tally) {
	a.counts.Add(at, sum.requests, sum.failed)
	if 2*a.failed > a.asked {
		return
	}
	if !a.at.IsZero() {
		a.point = console.Point{At: at, RequestRate: float64(sum.requests) / at.Sub(a.at).Seconds()}
		if sum.requests > 0 {
			a.point.ErrorRate = float64(sum.failed) / float64(sum.requests)
		}
	}
	a.read, a.at = at, at
}

// windows looks back over every span of the matrix, but not beyond since.
func (m *meter) windows(c *health.Counts, since, now time.Time) []health.Window {
	var out []health.Window
	for _, span := range m.matrix.Spans() {
		w := c.Window(now, min(span, now.Sub(since)))
		w.Span = span
		out = append(out, w)
	}
	return out
}

// add puts what was read into the evidence.
func (m *meter) add(ev *health.Evidence, r *rollout.Rollout, weight int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.service == nil {
		return
	}
	ev.Service.Windows = m.windows(m.service, time.Time{}, ev.At)
	for _, arm := range []*health.Arm{ev.Candidate, ev.Stable} {
		if arm == nil {
			continue
		}
		if a := m.arms[arm.Release]; a != nil {
			arm.Windows = m.windows(a.counts, arm.Since, ev.At)
		}
	}
	ev.Blind = m.blind(r, weight, ev)
}

// blind is why the candidate's requests are not known although they should be. m.mu is held.
func (m *meter) blind(r *rollout.Rollout, weight int, ev *health.Evidence) string {
	c, s := m.arms[r.To], m.arms[r.From]
	shown := func(a *scrapedArm) bool { return a != nil && a.shows }
	if weight == 0 || !shown(c) && !shown(s) && (c == nil || !c.where.sure || c.failed == 0) {
		return "" // nobody has said that there is anything to be known
	}
	switch {
	case c == nil:
		return "no pod of it says where its metrics are, and those of " + r.From + " do"
	case ev.At.Sub(c.read) > staleAfter:
		return fmt.Sprintf("%d of %d pods cannot be read (%s): %s", c.failed, c.asked, c.where, c.why)
	case !c.shows:
		return "its pods show no metrics of covetd's, and those of " + r.From + " do"
	case shown(s):
		return unreached(weight, ev)
	}
	return ""
}

// enoughToMiss is how many requests a candidate must have been due before it is odd that it had none.
const enoughToMiss = 50

// unreached says that a candidate has no requests where its share of the traffic would be some.
func unreached(weight int, ev *health.Evidence) string {
	if weight >= 100 || ev.Stable == nil || len(ev.Stable.Windows) == 0 || len(ev.Candidate.Windows) == 0 {
		return ""
	}
	had, theirs := uint64(0), uint64(0)
	for i := range ev.Candidate.Windows {
		had, theirs = max(had, ev.Candidate.Windows[i].Requests), max(theirs, ev.Stable.Windows[i].Requests)
	}
	due := theirs * uint64(weight) / uint64(100-weight)
	if had > 0 || due < enoughToMiss {
		return ""
	}
	return fmt.Sprintf("it has had no request, where its %d%% would be about %d: the traffic does not reach it", weight, due)
}

// how says in words what the releases of a rollout are judged by.
func (m *meter) how(r *rollout.Rollout) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := m.arms[r.To]
	switch {
	case c != nil && c.shows:
		return ""
	case c != nil && c.failed > 0:
		return fmt.Sprintf("%s is judged by readiness and restarts alone: its metrics cannot be read (%s): %s", r.To, c.where, c.why)
	}
	return r.To + " is judged by readiness and restarts alone: its pods show no metrics of covetd's"
}

// points is what was measured last of each release.
func (m *meter) points(now time.Time) map[string]console.Point {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := map[string]console.Point{}
	for version, a := range m.arms {
		if now.Sub(a.at) < staleAfter {
			out[version] = a.point
		}
	}
	return out
}

// trial reads a few pods of a release once, for a plan. It returns how many were asked and answered.
func (m *meter) trial(ctx context.Context, version string) (asked, answered int, where endpoint, why string) {
	all := m.targets(0, version)
	results := m.read(ctx, all[:min(len(all), scrapeAtOne)])
	for _, r := range results {
		asked++
		where = r.at
		switch {
		case r.err != nil:
			why = strings.TrimSpace(r.err.Error())
		case !r.shows:
			why = noneShown
		default:
			answered++
		}
	}
	return asked, answered, where, why
}
