package store

import (
	"cmp"
	"maps"
	"reflect"
	"slices"
	"time"

	"github.com/covetpy/covet/ops/console"
	"github.com/covetpy/covet/ops/journal"
	"github.com/covetpy/covet/ops/rollout"
)

// Bounds of what is kept.
const (
	maxPoints = 1200
	maxAudit  = 20_000
)

// state is the fold: apply changes it, snapshot hands out a copy that later changes do not touch.
type state struct {
	snap     Snapshot
	byID     map[string]*rollout.Instance
	touched  bool // an instance was replaced
	reorder  bool // instances came or went
	lastSeq  journal.Seq
	eventful bool // events came since the lists were last asked for
	quiet    bool // the last update brought nothing but a later time, which the screen takes up with its clock
}

func newState() *state {
	return &state{byID: map[string]*rollout.Instance{}, snap: Snapshot{Series: Series{Releases: map[string][]console.Point{}}}}
}

// apply folds one update that arrived at now.
func (s *state) apply(u console.Update, now time.Time) {
	live := s.snap.Link.State == Live
	s.snap.Link = Link{State: Live, HeardAt: now}
	switch {
	case u.Event != nil:
		s.event(*u.Event)
	case u.Status != nil:
		s.quiet = live && alike(s.snap.Status, u.Status)
		s.status(u.Status)
	case u.Instances != nil:
		s.instances(*u.Instances)
	}
	s.snap.Version++
}

func (s *state) event(e journal.Event) {
	if e.Seq <= s.lastSeq {
		return
	}
	s.lastSeq = e.Seq
	s.eventful = true
	if e.Seq == 1 {
		s.snap.AuditAll = true
	}
	keep := s.snap.Audit[:min(len(s.snap.Audit), maxAudit-1)]
	s.snap.Audit = append([]console.AuditEntry{console.Describe(e)}, keep...)
}

func (s *state) status(st *console.Status) {
	if st.Seq < s.lastSeq { // another journal than before: what we know is of the old one
		s.lastSeq, s.snap.Audit, s.snap.AuditAll, s.eventful = 0, nil, false, true
	}
	s.snap.Status = st
	if st.Offline || st.Traffic.At.IsZero() {
		return
	}
	s.snap.SeriesVersion++
	s.snap.Series.Total = grow(s.snap.Series.Total, st.Traffic)
	releases := make(map[string][]console.Point, len(s.snap.Series.Releases))
	maps.Copy(releases, s.snap.Series.Releases)
	for _, r := range st.Releases {
		p := r.Traffic
		if p.At.IsZero() {
			p.At = st.Traffic.At
		}
		releases[r.Version] = grow(releases[r.Version], p)
	}
	s.snap.Series.Releases = releases
}

// alike reports whether two states of the service differ in no more than their times.
func alike(a, b *console.Status) bool {
	return a != nil && reflect.DeepEqual(timeless(*a), timeless(*b))
}

func timeless(s console.Status) console.Status {
	s.At, s.Traffic.At = time.Time{}, time.Time{}
	s.Releases = slices.Clone(s.Releases)
	for i := range s.Releases {
		s.Releases[i].Traffic.At = time.Time{}
	}
	return s
}

// grow appends a point that is newer than the last. What was handed out before is never written to: an append goes
// beyond its length.
func grow(points []console.Point, p console.Point) []console.Point {
	if n := len(points); n > 0 && !p.At.After(points[n-1].At) {
		return points
	}
	points = append(points, p)
	if n := len(points); n > maxPoints {
		points = points[n-maxPoints:]
	}
	return points
}

func (s *state) instances(u console.InstancesUpdate) {
	if u.All {
		clear(s.byID)
		s.reorder = true
	}
	for i := range u.Changed {
		in := &u.Changed[i]
		if _, known := s.byID[in.ID]; !known {
			s.reorder = true
		}
		s.byID[in.ID] = in
		s.touched = true
	}
	for _, id := range u.Gone {
		delete(s.byID, id)
		s.reorder = true
	}
}

// snapshot is the fold as it stands.
func (s *state) snapshot() *Snapshot {
	if s.reorder || s.touched {
		s.snap.Instances = s.ordered()
		s.snap.InstancesVersion++
		s.reorder, s.touched = false, false
	}
	out := s.snap
	return &out
}

func (s *state) ordered() []*rollout.Instance {
	if s.reorder {
		return slices.SortedFunc(maps.Values(s.byID), func(a, b *rollout.Instance) int {
			return cmp.Or(cmp.Compare(a.Release, b.Release), cmp.Compare(len(a.ID), len(b.ID)), cmp.Compare(a.ID, b.ID))
		})
	}
	next := make([]*rollout.Instance, len(s.snap.Instances))
	for i, old := range s.snap.Instances {
		next[i] = s.byID[old.ID]
	}
	return next
}

// older appends entries from before the oldest one known.
func (s *state) older(entries []console.AuditEntry, asked int) {
	got := len(entries)
	if n := len(s.snap.Audit); n > 0 {
		oldest := s.snap.Audit[n-1].Seq
		entries = slices.DeleteFunc(entries, func(e console.AuditEntry) bool { return e.Seq >= oldest })
	}
	s.snap.Audit = append(slices.Clip(s.snap.Audit), entries...)
	s.snap.AuditAll = got < asked || len(entries) > 0 && entries[len(entries)-1].Seq == 1
	s.snap.Version++
}

// past takes the recent past in, keeping what is newer than it.
func (s *state) past(p console.Series) {
	if step := p.Step.Std(); step > 0 {
		s.snap.Series.Step = step
	}
	releases := make(map[string][]console.Point, len(p.Releases))
	for v, points := range p.Releases {
		releases[v] = merge(points, s.snap.Series.Releases[v])
	}
	for v, points := range s.snap.Series.Releases {
		if _, ok := releases[v]; !ok {
			releases[v] = points
		}
	}
	s.snap.Series.Total = merge(p.Total, s.snap.Series.Total)
	s.snap.Series.Releases = releases
	s.snap.SeriesVersion++
	s.snap.Version++
}

// merge is the points of base and those of live that lie outside its time.
func merge(base, live []console.Point) []console.Point {
	if len(base) == 0 {
		return live
	}
	first, last := base[0].At, base[len(base)-1].At
	var out []console.Point
	for _, p := range live {
		if p.At.Before(first) {
			out = append(out, p)
		}
	}
	out = append(out, base...)
	for _, p := range live {
		if p.At.After(last) {
			out = append(out, p)
		}
	}
	if n := len(out); n > maxPoints {
		out = out[n-maxPoints:]
	}
	return out
}

// lost notes that the connection ended, or could not be made. The values stay.
func (s *state) lost(err error, attempt int, next time.Time) {
	l := &s.snap.Link
	if l.State == Live {
		l.State = Lost
	}
	l.Attempt, l.NextAt = attempt, next
	l.Message, l.Hint = words(err)
	s.snap.Version++
}
