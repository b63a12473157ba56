package tui

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"math"
	"sync"
	"time"

	"github.com/covetpy/covet/ops/console"
	"github.com/covetpy/covet/ops/health"
	"github.com/covetpy/covet/ops/journal"
	"github.com/covetpy/covet/ops/rollout"
)

// t0 is when every scripted service is looked at.
var t0 = time.Date(2026, 3, 14, 14, 2, 11, 0, time.UTC)

// scripted is a service whose every answer and failure a test decides.
type scripted struct {
	mu       sync.Mutex
	down     error // what every call fails with
	status   console.Status
	events   []journal.Event
	all      []rollout.Instance
	releases []rollout.Release
	rollouts []rollout.Rollout
	series   console.Series
	lines    []console.LogLine
	changed  chan struct{} // closed at every change
	asked    []console.Op
	done     []done
	answer   func(op console.Op, in any) (any, error) // of Do
}

type done struct {
	op console.Op
	in any
}

func (s *scripted) change(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
	if s.changed != nil {
		close(s.changed)
	}
	s.changed = make(chan struct{})
}

// copyInto gives out what a real port would decode from JSON.
func copyInto(out, in any) error {
	raw, err := json.Marshal(in)
	if err != nil {
		return err
	}
	return json.Unmarshal(raw, out)
}

func (s *scripted) Ask(_ context.Context, op console.Op, q console.Query, out any) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, op)
	if s.down != nil {
		return s.down
	}
	switch op {
	case console.GetRollouts:
		return copyInto(out, s.rollouts)
	case console.GetReleases:
		return copyInto(out, s.releases)
	case console.GetIncidents:
		return copyInto(out, s.status.Incidents)
	case console.GetSeries:
		return copyInto(out, s.series)
	case console.GetRollout:
		return copyInto(out, s.timeline(q.ID))
	case console.GetAudit:
		var entries []console.AuditEntry
		for i := len(s.events) - 1; i >= 0 && len(entries) < q.Limit; i-- {
			if q.Before == 0 || s.events[i].Seq < q.Before {
				entries = append(entries, console.Describe(s.events[i]))
			}
		}
		return copyInto(out, entries)
	}
	return &console.Error{Code: console.CodeUsage, Message: "no such question"}
}

func (s *scripted) timeline(id string) console.Timeline {
	var t console.Timeline
	for _, r := range s.rollouts {
		if r.ID == id || id == "" {
			t.Rollout = r
			break
		}
	}
	for _, e := range s.events {
		if e.Subject == t.Rollout.ID {
			t.Events = append(t.Events, console.Describe(e))
		}
	}
	return t
}

func (s *scripted) Do(_ context.Context, op console.Op, in, out any) error {
	s.mu.Lock()
	if s.down != nil {
		defer s.mu.Unlock()
		return s.down
	}
	s.done = append(s.done, done{op, in})
	answer := s.answer
	s.mu.Unlock()
	got, err := answer(op, in)
	if err != nil {
		return err
	}
	return copyInto(out, got)
}

func (s *scripted) Watch(ctx context.Context, after journal.Seq) iter.Seq2[console.Update, error] {
	return func(yield func(console.Update, error) bool) {
		first := true
		for {
			s.mu.Lock()
			down, changed := s.down, s.changed
			st, all := s.status, append([]rollout.Instance(nil), s.all...)
			var events []journal.Event
			for _, e := range s.events {
				if e.Seq > after {
					events = append(events, e)
				}
			}
			s.mu.Unlock()
			if down != nil {
				yield(console.Update{}, down)
				return
			}
			for i := range events {
				after = events[i].Seq
				if !yield(console.Update{Event: &events[i]}, nil) {
					return
				}
			}
			if !yield(console.Update{Status: &st}, nil) || !yield(console.Update{Instances: &console.InstancesUpdate{All: first, Changed: all}}, nil) {
				return
			}
			first = false
			select {
			case <-ctx.Done():
				yield(console.Update{}, ctx.Err())
				return
			case <-changed:
			}
		}
	}
}

func (s *scripted) Logs(ctx context.Context, q console.LogQuery) iter.Seq2[console.LogLine, error] {
	return func(yield func(console.LogLine, error) bool) {
		sent := 0
		for {
			s.mu.Lock()
			down, changed, lines := s.down, s.changed, s.lines[sent:]
			sent = len(s.lines)
			s.mu.Unlock()
			if down != nil {
				yield(console.LogLine{}, down)
				return
			}
			for _, l := range lines {
				if (q.Instance == "" || q.Instance == l.Instance) && !yield(l, nil) {
					return
				}
			}
			select {
			case <-ctx.Done():
				yield(console.LogLine{}, ctx.Err())
				return
			case <-changed:
			}
		}
	}
}

var errNoSocket = &console.Error{
	Code: console.CodeUnreachable, Message: "covetd does not answer at /run/covet/covetd.sock: connect: no such file or directory",
	Hint: "start it with covetd, or name another socket with --socket",
}

func point(at time.Time, scale float64) console.Point {
	phase := float64(at.Unix()%600) / 600 * 2 * math.Pi
	p := console.Point{
		At: at, RequestRate: scale * (1500 + 400*math.Sin(phase)), ErrorRate: 0.0004, P50: 21 + 3*math.Sin(phase*3), P95: 88 + 12*math.Sin(phase*2),
		P99: 190 + 60*math.Sin(phase*5), Connections: int(scale * 40), CPU: scale * (2.1 + 0.6*math.Sin(phase)), RSS: int64(scale * 4 * 96 * 1024 * 1024), Ready: int(4 * scale),
	}
	return p
}

func instance(release string, n int, state rollout.InstanceState) rollout.Instance {
	i := rollout.Instance{
		ID: fmt.Sprintf("%s-%d", release, n), Release: release, State: state, Since: t0.Add(-time.Duration(n+1) * time.Minute),
		StartedAt: t0.Add(-time.Duration(n+2) * time.Minute), PID: 4000 + n, Port: 41000 + n, CPU: 0.5 + float64(n%7)/10, RSS: int64(90+n%13) << 20,
		InFlight: n % 5, RequestRate: 400 + float64(n%50), P95: 80 + float64(n%9), LastLog: []string{"listening on :" + fmt.Sprint(41000+n), "ready"},
	}
	if state != rollout.Ready {
		i.Reason, i.Restarts, i.RequestRate, i.P95 = "GET /health/ready: 500 dial tcp db:5432: connection refused", 2, 0, 0
		i.StartedAt = time.Time{}
	}
	return i
}

// canary is a service in production in the middle of a canary.
func canary() *scripted {
	active := rollout.Rollout{
		ID: "r-3", Purpose: rollout.Deploy, Strategy: rollout.Canary, From: "v1.0.0", To: "v1.1.0", By: "ada", Reason: "faster basket",
		Steps: rollout.Steps(must(rollout.Tuning{Strategy: rollout.Canary}.Normalize()), 4, 4), Step: 1, Phase: rollout.Baking,
		StartedAt: t0.Add(-3 * time.Minute), PhaseAt: t0.Add(-72 * time.Second), Weight: 10,
	}
	ended := rollout.Rollout{
		ID: "r-2", Purpose: rollout.Deploy, Strategy: rollout.BlueGreen, From: "v1.0.0", To: "v1.2.0", By: "ada", Phase: rollout.RolledBack, Automatic: true,
		StartedAt: t0.Add(-2 * time.Hour), EndedAt: t0.Add(-119 * time.Minute), Message: "P0 of the candidate: burn 310 on 5m and 1m", Steps: active.Steps,
	}
	first := rollout.Rollout{
		ID: "r-1", Purpose: rollout.Deploy, Strategy: rollout.Canary, To: "v1.0.0", By: "ada", Phase: rollout.Succeeded,
		StartedAt: t0.Add(-26 * time.Hour), EndedAt: t0.Add(-26*time.Hour + time.Minute), Steps: []rollout.Step{{Weight: 100, Candidate: 4}},
	}
	s := &scripted{rollouts: []rollout.Rollout{active, ended, first}, changed: make(chan struct{})}
	for i, v := range []string{"v1.2.0", "v1.1.0", "v1.0.0"} {
		m := rollout.Manifest{Command: []string{"shop"}, Instances: 4}
		s.releases = append(s.releases, rollout.Release{Version: v, Digest: m.Digest(), Manifest: m, AddedAt: t0.Add(-time.Duration(i+1) * time.Hour), AddedBy: "ada"})
	}
	old, fresh := point(t0, 0.9), point(t0, 0.1)
	fresh.ErrorRate, fresh.P99 = 0.012, 412
	s.status = console.Status{
		Service: "shop", Environment: "production", Platform: "local", Version: "0.1.0", PID: 812, StartedAt: t0.Add(-50 * time.Hour), At: t0, Seq: 9,
		Stable: "v1.0.0", Previous: "", Weights: rollout.Weights{"v1.0.0": 90, "v1.1.0": 10}, Traffic: point(t0, 1), Rollout: &active, Last: &ended,
		Releases: []console.ReleaseStatus{
			{Version: "v1.0.0", Role: console.RoleStable, Weight: 90, Ready: 4, Wanted: 4, Traffic: old},
			{Version: "v1.1.0", Role: console.RoleCandidate, Weight: 10, Ready: 1, Wanted: 2, Restarts: 2, Traffic: fresh},
		},
		Burn: []console.Burn{{Window: journal.Duration(5 * time.Minute), Rate: 1.6}, {Window: journal.Duration(time.Hour), Rate: 0.4}, {Window: journal.Duration(6 * time.Hour), Rate: 0.1}},
		Incidents: []health.Incident{{
			ID: "i-4", Severity: health.P2, Reason: "error rate of v1.1.0 is 1.2%, 30 times the stable release's", Release: "v1.1.0", Rollout: "r-3", Automatic: true,
			Action: "hotfix, or roll back", Approver: "team lead", Deadline: t0.Add(48 * time.Minute), OpenedAt: t0.Add(-12 * time.Minute), OpenedBy: "covetd",
			Rows: []health.Row{{Arm: "candidate", Signal: "burn 6h and 30m", Value: "8.1", Limit: "6", Severity: health.P2}, {Arm: "stable", Signal: "burn 6h and 30m", Value: "0.1", Limit: "6"}},
		}},
		Health: health.Assessment{Candidate: health.P2, Decision: health.Decision{Action: "hotfix, or roll back within 1 hour", Rows: []health.Row{
			{Arm: "candidate", Signal: "burn 6h and 30m", Value: "8.1", Limit: "6", Severity: health.P2}, {Arm: "service", Signal: "ready instances", Value: "5", Limit: "1"}}}},
	}
	for n := range 4 {
		s.all = append(s.all, instance("v1.0.0", n+1, rollout.Ready))
	}
	s.all = append(s.all, instance("v1.1.0", 1, rollout.Ready), instance("v1.1.0", 2, rollout.BackOff))
	s.series = console.Series{Step: journal.Duration(time.Second), Releases: map[string][]console.Point{}}
	for i := 600; i > 0; i-- {
		at := t0.Add(-time.Duration(i) * time.Second)
		s.series.Total = append(s.series.Total, point(at, 1))
		s.series.Releases["v1.0.0"] = append(s.series.Releases["v1.0.0"], point(at, 0.9))
		if i < 180 {
			s.series.Releases["v1.1.0"] = append(s.series.Releases["v1.1.0"], point(at, 0.1))
		}
	}
	s.events = history(active, ended, first)
	s.answer = func(op console.Op, in any) (any, error) {
		return nil, &console.Error{Code: console.CodeRefused, Message: "not in this script: " + string(op)}
	}
	return s
}

func must(t rollout.Tuning, err error) rollout.Tuning {
	if err != nil {
		panic(err)
	}
	return t
}

func history(active, ended, first rollout.Rollout) []journal.Event {
	at := func(d time.Duration) time.Time { return t0.Add(-d) }
	events := []journal.Event{
		journal.New(at(26*time.Hour), "ada", rollout.RolloutStarted, "r-1", first),
		journal.New(at(26*time.Hour-time.Minute), "covetd", rollout.RolloutEnded, "r-1", rollout.EndData{Phase: rollout.Succeeded}),
		journal.New(at(2*time.Hour), "ada", rollout.RolloutStarted, "r-2", ended),
		journal.New(at(119*time.Minute), "covetd", rollout.RolloutAborting, "r-2", rollout.AbortData{Message: "P0 of the candidate", Automatic: true}),
		journal.New(at(118*time.Minute), "covetd", rollout.RolloutEnded, "r-2", rollout.EndData{Phase: rollout.RolledBack}),
		journal.New(at(3*time.Minute), "ada", rollout.RolloutStarted, "r-3", active),
		journal.New(at(170*time.Second), "covetd", rollout.RolloutReady, "r-3", rollout.StepData{Weight: 1}),
		journal.New(at(168*time.Second), "covetd", rollout.RolloutShifted, "r-3", rollout.StepData{Weight: 1}),
		journal.New(at(72*time.Second), "covetd", rollout.RolloutShifted, "r-3", rollout.StepData{Step: 1, Weight: 10}),
	}
	for i := range events {
		events[i].Seq = journal.Seq(i + 1)
	}
	return events
}
