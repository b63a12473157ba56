package rollout

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"testing"
	"time"

	"github.com/covetpy/covet/ops/health"
	"github.com/covetpy/covet/ops/journal"
	"github.com/covetpy/covet/ops/journal/journaltest"
)

// behaviour is what a release does in the simulated world.
type behaviour struct {
	startTicks int  // looks until an instance is ready
	never      bool // it exits each time before it is ready
	mute       bool // it never becomes ready, and never exits
	errors     bool // its answers are errors: the matrix says P0
	dies       bool // its instances die as soon as they have traffic
}

// world is a platform, a router and a clock in memory. It survives the engines that drive it.
type world struct {
	t         *testing.T
	now       time.Time
	instances []*simInstance
	weights   Weights
	candidate string
	behaviour map[string]behaviour
	next      int
	severity  health.Severity // of a candidate with errors
	infra     bool
	minReady  int // the fewest ready instances with traffic that were seen since it was reset
	badServed bool
}

type simInstance struct {
	Instance
	age int
}

var start = time.Date(2026, 5, 1, 3, 0, 0, 0, time.UTC)

func newWorld(t *testing.T) *world {
	return &world{t: t, now: start, weights: Weights{}, behaviour: map[string]behaviour{}, severity: health.P0}
}

func (w *world) Observe(context.Context) ([]Instance, error) {
	out := make([]Instance, 0, len(w.instances))
	for _, i := range w.instances {
		out = append(out, i.Instance)
	}
	return out, nil
}

func (w *world) Ensure(_ context.Context, d Desired) error {
	have := map[string]int{}
	var kept []*simInstance
	for _, i := range w.instances {
		if have[i.Release] < d[i.Release].Instances {
			have[i.Release]++
			kept = append(kept, i)
			continue
		}
		if w.weights[i.Release] > 0 && w.servingOthers(i) == 0 {
			w.t.Errorf("the last ready instance of %s is stopped while it has %d%% of the traffic", i.Release, w.weights[i.Release])
		}
	}
	w.instances = kept
	for version, want := range d {
		for n := have[version]; n < want.Instances; n++ {
			w.next++
			w.instances = append(w.instances, &simInstance{Instance: Instance{
				ID: fmt.Sprintf("%s-%d", version, w.next), Release: version, State: Starting, Since: w.now}})
		}
	}
	return nil
}

// servingOthers counts the ready instances of the same release beside i that are not stopped.
func (w *world) servingOthers(i *simInstance) int {
	n := 0
	for _, o := range w.instances {
		if o != i && o.Release == i.Release && o.State == Ready {
			n++
		}
	}
	return n
}

func (w *world) Weights(context.Context) (Weights, string, error) {
	return maps.Clone(w.weights), w.candidate, nil
}

func (w *world) SetWeights(_ context.Context, weights Weights, candidate string) error {
	total := 0
	for version, share := range weights {
		total += share
		if share > 0 && w.weights[version] == 0 && w.ready(version) == 0 && w.readyTotal() > 0 {
			w.t.Errorf("%s gets %d%% of the traffic with no ready instance", version, share)
		}
		if share > 0 && (w.behaviour[version].never || w.behaviour[version].mute) {
			w.badServed = true
		}
	}
	if len(weights) > 0 && total != 100 {
		w.t.Errorf("weights %v add up to %d", weights, total)
	}
	w.weights, w.candidate = maps.Clone(weights), candidate
	return nil
}

func (w *world) ready(version string) int {
	n := 0
	for _, i := range w.instances {
		if i.Release == version && i.State == Ready {
			n++
		}
	}
	return n
}

func (w *world) readyTotal() int {
	n := 0
	for _, i := range w.instances {
		if i.State == Ready {
			n++
		}
	}
	return n
}

// pass lets half a second go by.
func (w *world) pass() {
	w.now = w.now.Add(500 * time.Millisecond)
	for _, i := range w.instances {
		w.live(i, w.behaviour[i.Release])
	}
	n := 0
	for version, share := range w.weights {
		if share > 0 {
			n += w.ready(version)
		}
	}
	w.minReady = min(w.minReady, n)
}

func (w *world) live(i *simInstance, b behaviour) {
	i.age++
	switch {
	case b.never:
		i.State, i.Reason = BackOff, "exit status 3"
		i.StartFailures++
		i.Restarts++
	case b.mute:
		i.Reason = "nothing listens on its port"
	case b.dies && i.State == Ready && w.weights[i.Release] > 0:
		i.State, i.Since, i.Reason = BackOff, w.now, "signal: killed"
		i.Restarts++
	case i.State != Ready && i.age > b.startTicks:
		i.State, i.Since = Ready, w.now
	}
}

// Evidence makes a candidate with errors burn its budget.
func (w *world) Evidence(_ context.Context, s State, _ []Instance, now time.Time) (health.Evidence, error) {
	ev := health.Evidence{At: now}
	if s.Active == nil {
		return ev, nil
	}
	ev.Candidate = w.arm(s.Active.To)
	ev.Candidate.Since = s.Active.JudgedAt
	if s.Active.From != "" {
		ev.Stable = w.arm(s.Active.From)
	}
	return ev, nil
}

func (w *world) arm(version string) *health.Arm {
	arm := &health.Arm{Release: version}
	failed := uint64(0)
	if w.behaviour[version].errors && w.weights[version] > 0 || w.infra {
		failed = 500
		if w.severity == health.P1 {
			failed = 50
		}
	}
	for _, span := range health.DefaultMatrix().Spans() {
		arm.Windows = append(arm.Windows, health.Window{Span: span, Covered: span, Requests: 1000, Errors: failed})
	}
	return arm
}

// run is one life of an engine over the world and a journal.
type run struct {
	*world
	keeper *Keeper
	engine *Engine
}

func (w *world) open(j journal.Journal) *run {
	keeper, err := OpenKeeper(w.t.Context(), j)
	if err != nil {
		w.t.Fatal(err)
	}
	return &run{world: w, keeper: keeper, engine: &Engine{
		Keeper: keeper, Platform: w, Router: w, Signals: w, Matrix: health.DefaultMatrix(),
		Log: slog.New(slog.NewTextHandler(io.Discard, nil)), Now: func() time.Time { return w.now },
	}}
}

func (r *run) append(events ...journal.Event) {
	r.t.Helper()
	if _, err := r.keeper.Append(r.t.Context(), r.keeper.State().Seq, events...); err != nil {
		r.t.Fatal(err)
	}
}

// until ticks until done, failing after a simulated hour. An error from a tick ends it as a crash would.
func (r *run) until(what string, done func(State) bool) error {
	r.t.Helper()
	for deadline := r.now.Add(time.Hour); r.now.Before(deadline); {
		again, err := r.engine.Tick(r.t.Context())
		if err != nil {
			return err
		}
		if done(r.keeper.State()) {
			return nil
		}
		if !again {
			r.pass()
		}
	}
	r.t.Fatalf("an hour went by before %s: %+v", what, r.keeper.State().Active)
	return nil
}

func ended(s State) bool { return s.Active == nil }

// twoReleases is a journal in which v1 serves with four instances, and v2 is known.
func twoReleases(t *testing.T) *journaltest.Memory {
	t.Helper()
	m := &journaltest.Memory{}
	var events []journal.Event
	for _, v := range []string{"v1", "v2", "v0"} {
		r, err := NewRelease(v, Manifest{Command: []string{"run", v}, Instances: 4}, start, "alice")
		if err != nil {
			t.Fatal(err)
		}
		events = append(events, journal.New(start, "alice", ReleaseAdded, v, r))
	}
	events = append(events, journal.New(start, "alice", ServiceAdopted, "v1", Adoption{Instances: 4}))
	if _, err := m.Append(t.Context(), 0, events...); err != nil {
		t.Fatal(err)
	}
	return m
}

// begin is the event that starts a rollout to v2.
func begin(t *testing.T, s State, strategy Strategy, change func(*Tuning)) journal.Event {
	t.Helper()
	tuning := Tuning{Strategy: strategy, Bake: journal.Duration(3 * time.Second), NoKeep: true}
	if change != nil {
		change(&tuning)
	}
	tuning, err := tuning.Normalize()
	if err != nil {
		t.Fatal(err)
	}
	return journal.New(s.now(), "alice", RolloutStarted, fmt.Sprintf("r-%d", s.Count+1), Rollout{
		Purpose: Deploy, Strategy: strategy, From: s.Stable, To: "v2", Tuning: tuning, Keep: tuning.Keep,
		Steps: Steps(tuning, s.Instances, 4)})
}

func (s State) now() time.Time { return start }

var errCrash = errors.New("the driver was killed")
