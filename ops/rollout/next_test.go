package rollout

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/covetpy/covet/ops/health"
	"github.com/covetpy/covet/ops/journal"
)

func settle(t *testing.T, w *world) (*run, journal.Journal) {
	t.Helper()
	j := twoReleases(t)
	r := w.open(j)
	if err := r.until("v1 serves", func(State) bool { return w.ready("v1") == 4 && w.weights["v1"] == 100 }); err != nil {
		t.Fatal(err)
	}
	w.minReady = 4
	return r, j
}

func TestGoodReleaseSucceedsByEveryStrategy(t *testing.T) {
	t.Parallel()
	for _, strategy := range Strategies() {
		t.Run(string(strategy), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.behaviour["v2"] = behaviour{startTicks: 3}
			r, _ := settle(t, w)
			r.append(begin(t, r.keeper.State(), strategy, nil))
			if err := r.until("it ends", ended); err != nil {
				t.Fatal(err)
			}
			s := r.keeper.State()
			last := s.History[len(s.History)-1]
			if last.Phase != Succeeded || s.Stable != "v2" || s.Previous != "v1" || s.Instances != 4 {
				t.Fatalf("ended %s (%s), stable %s, previous %s, instances %d", last.Phase, last.Message, s.Stable, s.Previous, s.Instances)
			}
			if err := r.until("v1 is gone", func(State) bool { return len(w.instances) == 4 && w.ready("v2") == 4 }); err != nil {
				t.Fatal(err)
			}
			if !maps.Equal(w.weights, Weights{"v2": 100}) || w.minReady < 4 {
				t.Fatalf("weights %v, fewest ready %d (want 4)", w.weights, w.minReady)
			}
		})
	}
}

func TestBadReleasesLoseAndTheOldOneServesOn(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		b        behaviour
		severity health.Severity
		message  string
		traffic  bool // it may have had traffic
	}{
		"exits at once":   {behaviour{never: true}, health.P0, "exit status 3", false},
		"never listens":   {behaviour{mute: true}, health.P0, "nothing listens", false},
		"answers errors":  {behaviour{errors: true}, health.P0, "P0: v2", true},
		"dies in service": {behaviour{dies: true}, health.P0, "v2", true},
	}
	for name, c := range cases {
		for _, strategy := range Strategies() {
			t.Run(name+"/"+string(strategy), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				w.behaviour["v2"], w.severity = c.b, c.severity
				r, _ := settle(t, w)
				r.append(begin(t, r.keeper.State(), strategy, func(t *Tuning) { t.Bake = journal.Duration(20 * time.Second) }))
				if err := r.until("it ends", ended); err != nil {
					t.Fatal(err)
				}
				s := r.keeper.State()
				last := s.History[len(s.History)-1]
				if last.Phase != RolledBack || !last.Automatic || s.Stable != "v1" || !strings.Contains(last.Message, c.message) {
					t.Fatalf("ended %s (%q), automatic %v, stable %s", last.Phase, last.Message, last.Automatic, s.Stable)
				}
				if err := r.until("v1 serves alone", func(State) bool { return len(w.instances) == 4 && w.ready("v1") == 4 }); err != nil {
					t.Fatal(err)
				}
				if !maps.Equal(w.weights, Weights{"v1": 100}) || w.badServed && !c.traffic {
					t.Fatalf("weights %v, traffic to a release that was never ready: %v", w.weights, w.badServed)
				}
			})
		}
	}
}

func TestP1TakesTheTrafficAndAsks(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.behaviour["v2"], w.severity = behaviour{errors: true}, health.P1
	r, _ := settle(t, w)
	r.append(begin(t, r.keeper.State(), Canary, nil))
	waiting := func(s State) bool { return s.Active.Phase == Waiting && maps.Equal(w.weights, Weights{"v1": 100}) }
	if err := r.until("it asks", waiting); err != nil {
		t.Fatal(err)
	}
	for range 400 {
		if _, err := r.engine.Tick(t.Context()); err != nil {
			t.Fatal(err)
		}
		r.pass()
	}
	s := r.keeper.State()
	if s.Active == nil || !s.Active.Contained {
		t.Fatalf("without an answer it must stay contained: %+v", s.Active)
	}
	if open := s.Incidents.OpenOnes(); len(open) != 1 || open[0].Severity != health.P1 || open[0].Approver != "on-call lead" || open[0].Release != "v2" {
		t.Fatalf("incidents: %+v", open)
	}
	w.behaviour["v2"] = behaviour{}
	r.append(journal.New(w.now, "bob", RolloutPromoted, s.Active.ID, nil))
	if err := r.until("it ends", ended); err != nil {
		t.Fatal(err)
	}
	if s = r.keeper.State(); s.Stable != "v2" {
		t.Fatalf("promoted after the fault was gone: %+v", s.History[len(s.History)-1])
	}
}

func TestInfrastructureFaultHoldsInsteadOfRollingBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r, _ := settle(t, w)
	r.append(begin(t, r.keeper.State(), Canary, nil))
	if err := r.until("the first step bakes", func(s State) bool { return s.Active.Phase == Baking }); err != nil {
		t.Fatal(err)
	}
	w.infra = true
	if err := r.until("it holds", func(s State) bool { return s.Active.Paused }); err != nil {
		t.Fatal(err)
	}
	if m := r.keeper.State().Active.Message; !strings.Contains(m, "infrastructure") {
		t.Fatalf("message %q", m)
	}
}

func TestRollbackTargetThatDoesNotStartIsQuarantined(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.behaviour["v0"] = behaviour{never: true}
	r, _ := settle(t, w)
	r.append(journal.New(start, "alice", RolloutStarted, "r-1", Rollout{
		Purpose: Rollback, Strategy: BlueGreen, From: "v1", To: "v0", Steps: []Step{{Weight: 100, Candidate: 4}}}))
	if err := r.until("it ends", ended); err != nil {
		t.Fatal(err)
	}
	s := r.keeper.State()
	if last := s.History[0]; last.Phase != Failed || s.Stable != "v1" || s.Quarantined[s.Releases["v0"].Digest] == "" || w.badServed {
		t.Fatalf("ended %s (%s), stable %s, quarantined %v", last.Phase, last.Message, s.Stable, s.Quarantined)
	}
}

// TestKilledAtEveryJournalWrite lets the driver die before and after each write of each kind of rollout, and another take
// over: the outcome is the same as without.
func TestKilledAtEveryJournalWrite(t *testing.T) {
	t.Parallel()
	outcomes := map[string]behaviour{"good": {startTicks: 2}, "errors": {errors: true}, "exits": {never: true}}
	for name, b := range outcomes {
		for _, strategy := range Strategies() {
			t.Run(name+"/"+string(strategy), func(t *testing.T) {
				t.Parallel()
				want, writes := outcome(t, b, strategy, -1, false)
				for k := range writes {
					for _, stored := range []bool{false, true} {
						if got, _ := outcome(t, b, strategy, k, stored); got != want {
							t.Fatalf("killed at write %d (stored %v): %s, want %s", k, stored, got, want)
						}
					}
				}
			})
		}
	}
}

// outcome runs one rollout, with a crash at the k-th write, and tells how it ended and how many writes there were.
func outcome(t *testing.T, b behaviour, strategy Strategy, k int, stored bool) (string, int) {
	t.Helper()
	w := newWorld(t)
	w.behaviour["v2"] = b
	j := twoReleases(t)
	r := w.open(j)
	if err := r.until("v1 serves", func(State) bool { return w.ready("v1") == 4 && w.weights["v1"] == 100 }); err != nil {
		t.Fatal(err)
	}
	r.append(begin(t, r.keeper.State(), strategy, nil))
	writes := 0
	j.Hook = func(done bool, _ []journal.Event) error {
		if done == stored {
			writes++
			if writes == k+1 {
				return errCrash
			}
		}
		return nil
	}
	err := r.until("it ends", ended)
	if errors.Is(err, errCrash) {
		r = w.open(j)
		err = r.until("it ends", ended)
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := r.until("one release is left", func(State) bool { return len(w.instances) == 4 && w.readyTotal() == 4 }); err != nil {
		t.Fatal(err)
	}
	s := r.keeper.State()
	steps := 0
	for e := range j.Read(t.Context(), 1) {
		if e.Kind == RolloutShifted {
			steps++
		}
	}
	return fmt.Sprintf("%s, stable %s, weights %v, %d steps", s.History[0].Phase, s.Stable, w.weights, steps), writes
}

func TestAbortWinsOverPromote(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r, _ := settle(t, w)
	r.append(begin(t, r.keeper.State(), Canary, nil))
	if err := r.until("the first step bakes", func(s State) bool { return s.Active.Phase == Baking }); err != nil {
		t.Fatal(err)
	}
	seen := r.keeper.State().Seq
	r.append(journal.New(w.now, "alice", RolloutAborting, "r-1", AbortData{Message: "aborted by alice"}))
	if _, err := r.keeper.Append(t.Context(), seen, journal.New(w.now, "bob", RolloutPromoted, "r-1", nil)); !errors.Is(err, journal.ErrConflict) {
		t.Fatalf("a promote decided before the abort: %v, want ErrConflict", err)
	}
	if err := r.until("it ends", ended); err != nil {
		t.Fatal(err)
	}
	if s := r.keeper.State(); s.Stable != "v1" || s.History[0].Phase != RolledBack || s.History[0].Automatic {
		t.Fatalf("after the abort: %+v", s.History[0])
	}
}

func TestPausedTimeCountsForNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r, _ := settle(t, w)
	r.append(begin(t, r.keeper.State(), Canary, func(t *Tuning) { t.Bake = journal.Duration(time.Minute) }))
	if err := r.until("the first step bakes", func(s State) bool { return s.Active.Phase == Baking }); err != nil {
		t.Fatal(err)
	}
	began := w.now
	r.append(journal.New(w.now, "alice", RolloutPaused, "r-1", Note{}))
	for range 600 {
		if _, err := r.engine.Tick(t.Context()); err != nil {
			t.Fatal(err)
		}
		r.pass()
	}
	if s := r.keeper.State(); s.Active.Step != 0 {
		t.Fatalf("it went on to step %d while paused", s.Active.Step)
	}
	paused := w.now.Sub(began)
	r.append(journal.New(w.now, "alice", RolloutResumed, "r-1", nil))
	if err := r.until("the second step begins", func(s State) bool { return s.Active.Step == 1 }); err != nil {
		t.Fatal(err)
	}
	if baked := w.now.Sub(began) - paused; baked < time.Minute {
		t.Fatalf("the step was watched for %s only, paused time must not count", baked)
	}
}

func TestWarmReleaseIsKeptAndThenRetired(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r, _ := settle(t, w)
	r.append(begin(t, r.keeper.State(), BlueGreen, func(t *Tuning) { t.Keep, t.NoKeep = journal.Duration(time.Minute), false }))
	if err := r.until("it ends", ended); err != nil {
		t.Fatal(err)
	}
	at := w.now
	if warm := r.keeper.State().Warm; warm == nil || warm.Version != "v1" || w.ready("v1") != 4 {
		t.Fatalf("warm %+v, %d ready", warm, w.ready("v1"))
	}
	if err := r.until("it is retired", func(s State) bool { return s.Warm == nil && len(w.instances) == 4 }); err != nil {
		t.Fatal(err)
	}
	if kept := w.now.Sub(at); kept < time.Minute {
		t.Fatalf("kept for %s, want a minute", kept)
	}
}

func TestWhatWasSeenOfAnotherCandidateCountsForNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.behaviour["v2"] = behaviour{errors: true}
	r, _ := settle(t, w)
	r.append(begin(t, r.keeper.State(), Canary, nil))
	if err := r.until("it is rolled back", ended); err != nil {
		t.Fatal(err)
	}
	if r.engine.Last().Health.Candidate != health.P0 {
		t.Fatalf("the last assessment should still say P0: %+v", r.engine.Last().Health)
	}
	r.append(journal.New(w.now, "alice", RolloutStarted, "r-2", Rollout{
		Purpose: Rollback, Strategy: BlueGreen, From: "v1", To: "v0", Steps: []Step{{Weight: 100, Candidate: 4}}}))
	if err := r.until("the rollback ends", ended); err != nil {
		t.Fatal(err)
	}
	if s := r.keeper.State(); s.Stable != "v0" {
		t.Fatalf("the rollback right after it: %+v", s.History[len(s.History)-1])
	}
}
