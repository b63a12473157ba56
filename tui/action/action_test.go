package action

import (
	"strings"
	"testing"
	"time"

	"github.com/covetpy/covet/ops/console"
	"github.com/covetpy/covet/ops/health"
	"github.com/covetpy/covet/ops/restore"
	"github.com/covetpy/covet/ops/rollout"
	"github.com/covetpy/covet/tui/store"
)

func TestEveryActionIsWhole(t *testing.T) {
	t.Parallel()
	ids, keys := map[string]bool{}, map[string]bool{}
	for _, a := range All() {
		if a.ID == "" || a.Title == "" || a.Key == "" || a.Command == "" {
			t.Errorf("%+v lacks something", a)
		}
		key := a.Key + " on " + a.On
		if ids[a.ID] || keys[key] {
			t.Errorf("%s: its id or its key %q is taken", a.ID, a.Key)
		}
		ids[a.ID], keys[key] = true, true
		if a.Kind != Look && a.Op == "" {
			t.Errorf("%s changes something and has no Op", a.ID)
		}
		if a.Kind == Look && a.Page() == "" {
			t.Errorf("%s opens no page", a.ID)
		}
		if a.Destructive && a.Kind != Change {
			t.Errorf("%s destroys and needs no write mode", a.ID)
		}
	}
	for _, op := range []console.Op{console.StartRollout, console.AbortRollout, console.Rollback} {
		for _, a := range All() {
			if a.Op == op && a.Kind == Change && !a.Destructive {
				t.Errorf("%s runs without a plan", a.ID)
			}
		}
	}
}

// state is a connected service with the rollout, in write mode.
func state(active *rollout.Rollout, change func(*console.Status)) State {
	st := &console.Status{Service: "shop", Stable: "v1", Previous: "v0", Rollout: active}
	if change != nil {
		change(st)
	}
	return State{Write: true, Snap: &store.Snapshot{
		Link: store.Link{State: store.Live}, Status: st, Releases: []rollout.Release{{Version: "v1"}, {Version: "v2"}},
	}}
}

func TestEnabled(t *testing.T) {
	t.Parallel()
	baking := &rollout.Rollout{ID: "r-1", To: "v2", Phase: rollout.Baking}
	scaling := &rollout.Rollout{ID: "r-1", To: "v2", Phase: rollout.Scaling}
	paused := &rollout.Rollout{ID: "r-1", To: "v2", Phase: rollout.Baking, Paused: true}
	aborting := &rollout.Rollout{ID: "r-1", To: "v2", Phase: rollout.Aborting}
	incident := func(st *console.Status) { st.Incidents = []health.Incident{{ID: "i-1"}} }
	acked := func(st *console.Status) {
		st.Incidents = []health.Incident{{ID: "i-1", AckedAt: time.Unix(1, 0), AckedBy: "ada"}}
	}
	for _, c := range []struct {
		name, id string
		state    State
		why      string // empty: it can be done
	}{
		{"nothing known", "rollout.abort", State{Write: true, Snap: &store.Snapshot{}}, "nothing is known"},
		{"lost", "rollback", func() State { s := state(nil, nil); s.Snap.Link.State = store.Lost; return s }(), "connection is lost"},
		{"read-only", "rollback", func() State { s := state(nil, nil); s.Write = false; return s }(), "read-only"},
		{"looking needs nothing", "audit", State{Snap: &store.Snapshot{}}, ""},
		{"plan needs no write mode", "rollout.plan", func() State { s := state(nil, nil); s.Write = false; return s }(), ""},
		{"start", "rollout.start", state(nil, nil), ""},
		{"start while one runs", "rollout.start", state(baking, nil), "r-1 to v2 is under way"},
		{"start without covetd", "rollout.start", state(nil, func(st *console.Status) { st.Offline = true }), "covetd is not running"},
		{"start with nothing else", "rollout.start", func() State { s := state(nil, nil); s.Snap.Releases = s.Snap.Releases[:1]; return s }(), "no other release"},
		{"promote", "rollout.promote", state(baking, nil), ""},
		{"promote too early", "rollout.promote", state(scaling, nil), "has not moved yet"},
		{"promote nothing", "rollout.promote", state(nil, nil), "no rollout is under way"},
		{"pause", "rollout.pause", state(baking, nil), ""},
		{"pause again", "rollout.pause", state(paused, nil), "paused already"},
		{"resume", "rollout.resume", state(paused, nil), ""},
		{"resume what goes on", "rollout.resume", state(baking, nil), "not paused"},
		{"abort", "rollout.abort", state(paused, nil), ""},
		{"abort what goes back", "rollout.abort", state(aborting, nil), "going back already"},
		{"retry success", "rollout.retry", state(nil, func(st *console.Status) { st.Last = &rollout.Rollout{ID: "r-1", Phase: rollout.Succeeded} }), "nothing to retry"},
		{"retry failure", "rollout.retry", state(nil, func(st *console.Status) { st.Last = &rollout.Rollout{ID: "r-1", Phase: rollout.RolledBack} }), ""},
		{"rollback", "rollback", state(nil, nil), ""},
		{"rollback during a rollout", "rollback", state(baking, nil), ""},
		{"ack", "incident.ack", state(nil, incident), ""},
		{"ack again", "incident.ack", state(nil, acked), "by ada"},
		{"ack nothing", "incident.ack", state(nil, nil), "no incident is open"},
		{"close", "incident.close", state(nil, acked), ""},
	} {
		a, ok := Find(c.id)
		if !ok {
			t.Fatalf("there is no action %s", c.id)
		}
		got, why := a.Enabled(c.state)
		if got != (c.why == "") || !strings.Contains(why, c.why) {
			t.Errorf("%s: enabled %v, %q; want %q", c.name, got, why, c.why)
		}
	}
}

func TestRecoveryEnabled(t *testing.T) {
	t.Parallel()
	aimed := func(change func(*State)) State {
		s := State{Write: true, Recovery: true, Snap: &store.Snapshot{}, Selection: Selection{Point: &Point{}}}
		if change != nil {
			change(&s)
		}
		return s
	}
	stuck := func(s *State) { s.Snap.Restore = &restore.Operation{ID: "rs-1"} }
	for _, c := range []struct {
		name, id string
		state    State
		why      string
	}{
		{"the service is gone", "restore.start", aimed(nil), ""},
		{"no repository", "restore.start", aimed(func(s *State) { s.Recovery = false }), "cannot be looked at"},
		{"another page", "restore.start", aimed(func(s *State) { s.Point = nil }), "chosen on the restore page"},
		{"a gap", "restore.plan", aimed(func(s *State) { s.Point.Why = "there is a gap" }), "there is a gap"},
		{"read-only", "restore.start", aimed(func(s *State) { s.Write = false }), "read-only"},
		{"a plan needs no write mode", "restore.plan", aimed(func(s *State) { s.Write = false }), ""},
		{"another is not finished", "restore.start", aimed(stuck), "rs-1 is not finished"},
		{"it stands still", "restore.resume", aimed(stuck), ""},
		{"it is at work", "restore.abandon", aimed(func(s *State) { stuck(s); s.Snap.Restoring = true }), "at work"},
		{"it is done", "restore.resume", aimed(func(s *State) { stuck(s); s.Snap.Restore.Ended = time.Unix(1, 0) }), "no restore stands still"},
	} {
		a, ok := Find(c.id)
		if !ok {
			t.Fatalf("there is no action %s", c.id)
		}
		if got, why := a.Enabled(c.state); got != (c.why == "") || !strings.Contains(why, c.why) {
			t.Errorf("%s: enabled %v, %q; want %q", c.name, got, why, c.why)
		}
	}
}

func TestKeysOfAPageComeFirst(t *testing.T) {
	t.Parallel()
	for page, want := range map[string]string{"restore": "restore.start", "backups": "backup.job", "rollouts": "rollout.start"} {
		if a, ok := ByKey("S", page); !ok || a.ID != want {
			t.Errorf("S on %s is %s, want %s", page, a.ID, want)
		}
	}
	if a, ok := ByKey("l", "restore"); !ok || a.ID != "logs" {
		t.Errorf("l on restore is %s", a.ID)
	}
}

func TestRestoreLine(t *testing.T) {
	t.Parallel()
	a, _ := Find("restore.plan")
	at := time.Date(2026, 3, 1, 13, 57, 48, 0, time.UTC)
	s := State{Selection: Selection{Point: &Point{Request: console.RestoreRequest{Target: restore.Target{Kind: restore.AtTime, Time: at}, Release: "v1.0.0"}}}}
	if got, want := a.Line(s), `covetctl restore --to "$PGDATA" --target-time 2026-03-01T13:57:48Z --with-service --release v1.0.0 --plan`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	s.Point.Request = console.RestoreRequest{Target: restore.Target{Kind: restore.AtName, Name: "before it"}, Dir: "/srv/pg"}
	if got, want := a.Line(s), `covetctl restore --to /srv/pg --target-name 'before it' --with-service --plan`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestLineIsSafeToPaste(t *testing.T) {
	t.Parallel()
	a, _ := ByKey("l", "dashboard")
	s := State{Selection: Selection{Instance: "a; rm -rf 'x'"}}
	if got, want := a.Line(s), `covetctl logs -f --instance 'a; rm -rf '\''x'\'''`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	b, _ := Find("rollback")
	if got := b.Line(s, "--to", "v1.0.0"); got != "covetctl rollback --to v1.0.0" {
		t.Errorf("got %s", got)
	}
}
