package store

import (
	"testing"
	"time"

	"github.com/covetpy/covet/ops/console"
	"github.com/covetpy/covet/ops/journal"
	"github.com/covetpy/covet/ops/rollout"
)

var t0 = time.Date(2026, 3, 14, 14, 0, 0, 0, time.UTC)

func status(seq journal.Seq, at time.Time) console.Update {
	return console.Update{Status: &console.Status{Seq: seq, Traffic: console.Point{At: at, RequestRate: float64(at.Second())},
		Releases: []console.ReleaseStatus{{Version: "v1", Traffic: console.Point{CPU: 1}}}}}
}

func event(seq journal.Seq) console.Update {
	return console.Update{Event: &journal.Event{Seq: seq, At: t0, Kind: rollout.RolloutPaused, Subject: "r-1"}}
}

func changed(all bool, instances ...rollout.Instance) console.Update {
	return console.Update{Instances: &console.InstancesUpdate{All: all, Changed: instances}}
}

func TestSnapshotsDoNotChange(t *testing.T) {
	t.Parallel()
	s := newState()
	s.apply(changed(true, rollout.Instance{ID: "a", CPU: 1}, rollout.Instance{ID: "b"}), t0)
	s.apply(status(0, t0), t0)
	first := s.snapshot()
	s.apply(changed(false, rollout.Instance{ID: "a", CPU: 2}), t0)
	s.apply(console.Update{Instances: &console.InstancesUpdate{Gone: []string{"b"}}}, t0)
	s.apply(status(0, t0.Add(time.Second)), t0)
	second := s.snapshot()
	if len(first.Instances) != 2 || first.Instances[0].CPU != 1 || len(first.Series.Total) != 1 {
		t.Errorf("the first snapshot changed: %+v", first)
	}
	if len(second.Instances) != 1 || second.Instances[0].CPU != 2 || len(second.Series.Total) != 2 || second.Version <= first.Version {
		t.Errorf("the second is %+v", second)
	}
	if second.InstancesVersion <= first.InstancesVersion {
		t.Error("the instances changed and their version did not")
	}
	if third := s.snapshot(); third.InstancesVersion != second.InstancesVersion {
		t.Error("nothing changed and the instances' version did")
	}
}

func TestInstancesAreInANaturalOrder(t *testing.T) {
	t.Parallel()
	s := newState()
	s.apply(changed(true, rollout.Instance{ID: "v1-10", Release: "v1"}, rollout.Instance{ID: "v2-1", Release: "v2"}, rollout.Instance{ID: "v1-9", Release: "v1"}), t0)
	var got []string
	for _, i := range s.snapshot().Instances {
		got = append(got, i.ID)
	}
	if len(got) != 3 || got[0] != "v1-9" || got[1] != "v1-10" || got[2] != "v2-1" {
		t.Errorf("got %v", got)
	}
}

func TestAllForgetsTheOthers(t *testing.T) {
	t.Parallel()
	s := newState()
	s.apply(changed(true, rollout.Instance{ID: "a"}, rollout.Instance{ID: "b"}), t0)
	s.apply(changed(true, rollout.Instance{ID: "c"}), t0)
	if got := s.snapshot().Instances; len(got) != 1 || got[0].ID != "c" {
		t.Errorf("got %v", got)
	}
}

func TestEventsAreTakenOnce(t *testing.T) {
	t.Parallel()
	s := newState()
	for _, seq := range []journal.Seq{1, 2, 2, 1, 3} {
		s.apply(event(seq), t0)
	}
	got := s.snapshot()
	if len(got.Audit) != 3 || got.Audit[0].Seq != 3 || !got.AuditAll {
		t.Errorf("got %+v", got.Audit)
	}
}

func TestAnotherJournalBeginsAnew(t *testing.T) {
	t.Parallel()
	s := newState()
	s.apply(event(7), t0)
	s.apply(status(7, t0), t0)
	s.apply(status(2, t0), t0)
	s.apply(event(3), t0)
	if got := s.snapshot().Audit; len(got) != 1 || got[0].Seq != 3 {
		t.Errorf("got %+v", got)
	}
}

func TestOlderEntriesGoBehind(t *testing.T) {
	t.Parallel()
	s := newState()
	s.apply(event(9), t0)
	s.older([]console.AuditEntry{{Seq: 9}, {Seq: 8}, {Seq: 7}}, 3)
	if got := s.snapshot(); len(got.Audit) != 3 || got.Audit[2].Seq != 7 || got.AuditAll {
		t.Errorf("got %+v", got)
	}
	s.older([]console.AuditEntry{{Seq: 2}, {Seq: 1}}, 3)
	if got := s.snapshot(); len(got.Audit) != 5 || !got.AuditAll {
		t.Errorf("got %+v", got)
	}
}

func TestThePastIsMergedWithWhatIsLive(t *testing.T) {
	t.Parallel()
	at := func(s int) console.Point { return console.Point{At: t0.Add(time.Duration(s) * time.Second)} }
	s := newState()
	for _, n := range []int{0, 10, 11} {
		s.apply(status(0, t0.Add(time.Duration(n)*time.Second)), t0)
	}
	s.past(console.Series{Step: journal.Duration(time.Second), Total: []console.Point{at(8), at(9), at(10)}})
	got := s.snapshot().Series
	if len(got.Total) != 5 || got.Total[0].At != t0 || got.Total[4].At != at(11).At || got.Step != time.Second {
		t.Errorf("got %+v", got)
	}
	if len(got.Releases["v1"]) != 3 {
		t.Errorf("a release's own points are gone: %+v", got.Releases)
	}
}

func TestSeriesIsBounded(t *testing.T) {
	t.Parallel()
	s := newState()
	for n := range maxPoints + 50 {
		s.apply(status(0, t0.Add(time.Duration(n)*time.Second)), t0)
	}
	if got := s.snapshot().Series; len(got.Total) != maxPoints || len(got.Releases["v1"]) != maxPoints {
		t.Errorf("%d and %d points", len(got.Total), len(got.Releases["v1"]))
	}
}

func TestLostKeepsValues(t *testing.T) {
	t.Parallel()
	s := newState()
	s.lost(errEnded, 1, t0)
	if got := s.snapshot().Link; got.State != Connecting || got.Message == "" {
		t.Errorf("never connected: %+v", got)
	}
	s.apply(status(0, t0), t0)
	s.lost(&console.Error{Message: "gone", Hint: "start it"}, 1, t0.Add(time.Second))
	got := s.snapshot()
	if got.Status == nil || got.Link.State != Lost || got.Link.HeardAt != t0 || got.Link.Message != "gone" || got.Link.Hint != "start it" {
		t.Errorf("got %+v", got.Link)
	}
}

// A status that only is later than the one before wakes nobody; the screen's own clock takes it up.
func TestStatusThatOnlyIsLaterIsQuiet(t *testing.T) {
	t.Parallel()
	s := newState()
	at := func(sec int, rate float64, problems ...string) console.Update {
		when := t0.Add(time.Duration(sec) * time.Second)
		return console.Update{Status: &console.Status{At: when, Problems: problems, Traffic: console.Point{At: when, RequestRate: rate},
			Releases: []console.ReleaseStatus{{Version: "v1", Traffic: console.Point{At: when}}}}}
	}
	for i, c := range []struct {
		u    console.Update
		want bool
	}{{at(0, 1), false}, {at(1, 1), true}, {at(2, 2), false}, {at(3, 2, "trouble"), false}, {at(4, 2, "trouble"), true}} {
		s.quiet = false
		s.apply(c.u, t0)
		if s.quiet != c.want {
			t.Errorf("%d: quiet is %v", i, s.quiet)
		}
	}
	s.lost(errEnded, 1, t0)
	s.quiet = false
	if s.apply(at(5, 2, "trouble"), t0); s.quiet {
		t.Error("that the connection is back is told to nobody")
	}
}
