package rollout

import (
	"testing"
	"time"

	"github.com/covetpy/covet/ops/journal"
)

// settling is a service whose second release is stable and whose first is kept warm, with a rollout that waits for order.
func settling(t *testing.T) State {
	t.Helper()
	s := State{Stable: "v2", Previous: "v1", Instances: 2, Warm: &Warm{Version: "v1", Instances: 2, Until: start.Add(time.Hour)}, Releases: map[string]Release{}}
	for _, v := range []string{"v1", "v2", "v3"} {
		s.Releases[v] = Release{Version: v, Digest: v}
	}
	s, err := Fold(s, event(start, "ann", RolloutStarted, "r-2", Rollout{
		ID: "r-2", Strategy: Rolling, From: "v2", To: "v3", Settle: true, Steps: []Step{{Weight: 100, Candidate: 2}}}))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func foldAll(t *testing.T, s State, events []journal.Event) State {
	t.Helper()
	for _, e := range events {
		next, err := Fold(s, e)
		if err != nil {
			t.Fatal(err)
		}
		s = next
	}
	return s
}

func TestNothingOfARolloutBeginsBeforeThereIsOrder(t *testing.T) {
	s := settling(t)
	seen := Snapshot{At: start, Unsettled: true, Weights: Weights{"v2": 100}, Instances: []Instance{{Release: "v2", State: Ready}, {Release: "v2", State: Ready}}}
	if w := Wanted(s); len(w.Instances) != 1 || w.Instances["v2"] != 2 || w.Weights["v2"] != 100 || w.Candidate != "" {
		t.Fatalf("wanted meanwhile: %+v", w)
	}
	if e := Next(s, seen, start.Add(time.Minute)); len(e) > 0 {
		t.Fatalf("it goes on: %v", e)
	}
	seen.Unsettled = false
	s = foldAll(t, s, Next(s, seen, start.Add(time.Minute)))
	if s.Active.Phase != Scaling || s.Active.Settle || !s.Active.PhaseAt.Equal(start.Add(time.Minute)) {
		t.Fatalf("with order: %+v", s.Active)
	}
	if w := Wanted(s); w.Instances["v3"] != 2 {
		t.Fatalf("wanted then: %+v", w)
	}
}

func TestOrderThatDoesNotComeEndsTheRollout(t *testing.T) {
	s := settling(t)
	seen := Snapshot{At: start, Unsettled: true, Weights: Weights{"v2": 100}, Instances: []Instance{{Release: "v2", State: Ready}}}
	s = foldAll(t, s, Next(s, seen, start.Add(DefaultDeadline.Std())))
	if s.Active.Phase != Aborting {
		t.Fatalf("after the deadline: %+v", s.Active)
	}
	if w := Wanted(s); len(w.Instances) != 1 {
		t.Fatalf("wanted while it goes back: %+v", w)
	}
	s = foldAll(t, s, Next(s, seen, start.Add(DefaultDeadline.Std())))
	if s.Active != nil || s.History[0].Phase != RolledBack || s.Stable != "v2" {
		t.Fatalf("%+v", s.History)
	}
}
