package kube

import (
	"context"
	"sync"
	"time"

	"github.com/covetpy/covet/ops/console"
	"github.com/covetpy/covet/ops/health"
	"github.com/covetpy/covet/ops/journal"
	"github.com/covetpy/covet/ops/rollout"
)

// signals measures what the cluster itself can tell, pods that are ready and restarts, and what the pods say of their requests. It
// implements rollout.Signals.
type signals struct {
	meter *meter

	mu    sync.Mutex
	ready time.Time // when any instance was ready last
}

// Evidence implements rollout.Signals.
func (m *signals) Evidence(ctx context.Context, s rollout.State, instances []rollout.Instance, now time.Time) (health.Evidence, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	ev := health.Evidence{At: now, Service: *arm("", time.Time{}, instances)}
	if m.ready.IsZero() || ev.Service.Ready > 0 {
		m.ready = now
	}
	if ev.Service.Ready == 0 && len(rollout.Wanted(s).Weights) > 0 {
		ev.Service.DownFor = now.Sub(m.ready)
	}
	if r := s.Active; r != nil {
		ev.Candidate = arm(r.To, r.JudgedAt, instances)
		if r.From != "" {
			ev.Stable = arm(r.From, r.JudgedAt, instances)
		}
		m.meter.look(ctx, r, now)
		m.meter.add(&ev, r, r.Weight)
	}
	return ev, nil
}

// arm is one release's evidence, or, without a version, the service's.
func arm(version string, since time.Time, instances []rollout.Instance) *health.Arm {
	a := &health.Arm{Release: version, Since: since}
	for _, i := range instances {
		if version != "" && i.Release != version {
			continue
		}
		a.Present++
		a.Restarts += i.Restarts
		if i.State == rollout.Ready {
			a.Ready++
		}
	}
	return a
}

// live is what is known beyond the journal. It implements console.Live.
type live struct {
	port *Port
}

// Snapshot implements console.Live.
func (l live) Snapshot() rollout.Snapshot {
	seen := l.port.look().snapshot
	seen.At = now() // everything is watched: what has not changed is so still
	if e := l.port.driven(); e != nil {
		seen.Health = e.Last().Health
	}
	return seen
}

// look is everything that is shown of the service beyond the journal.
func (p *Port) look() seen {
	p.mu.Lock()
	keeper := p.keeper
	p.mu.Unlock()
	return p.recent.get(moment{p.stage.bell.changed(), keeper, keeper.State().Seq}, func() seen {
		l := p.sight.layout(now())
		return seen{
			snapshot: rollout.Snapshot{Instances: p.sight.instances(l), Weights: p.sight.flowing(l)},
			notes:    append(p.layoutNotes(l), p.sight.drifted()...),
		}
	})
}

// seen is one look. Nothing of it may be changed.
type seen struct {
	snapshot rollout.Snapshot
	notes    []string // what a person should know
}

// recent is the last look, for as long as nothing has changed: with ten thousand pods the several questions of one second would
// each cost as much as the first.
type recent struct {
	mu   sync.Mutex
	at   moment
	seen seen
}

// moment is what a look was made from: it is out of date when any of them is another.
type moment struct {
	bell   <-chan struct{} // of the stage
	keeper *rollout.Keeper // of the journal
	seq    journal.Seq
}

func (r *recent) get(at moment, look func() seen) seen {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.at != at {
		r.at, r.seen = at, look()
	}
	return r.seen
}

// Points implements console.Live.
func (l live) Points() (console.Point, map[string]console.Point) {
	total, by := console.Point{At: now(), Measured: console.MeasuredNothing}, map[string]console.Point{}
	for release, n := range l.port.look().snapshot.Ready() {
		total.Ready += n
		by[release] = console.Point{At: total.At, Ready: n, Measured: console.MeasuredNothing}
	}
	failures := 0.0
	for version, measured := range l.port.meter.points(total.At) {
		p := by[version]
		p.At, p.RequestRate, p.ErrorRate, p.Measured = measured.At, measured.RequestRate, measured.ErrorRate, console.MeasuredRequests
		by[version] = p
		total.RequestRate, total.Measured = total.RequestRate+measured.RequestRate, console.MeasuredRequests
		failures += measured.RequestRate * measured.ErrorRate
	}
	if total.RequestRate > 0 {
		total.ErrorRate = failures / total.RequestRate
	}
	return total, by
}

// Series implements console.Live: nothing is measured over time here.
func (l live) Series() console.Series { return console.Series{} }

// Problems implements console.Live.
func (l live) Problems() []string { return l.port.problems() }
