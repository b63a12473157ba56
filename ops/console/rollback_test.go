package console

import (
	"encoding/json"
	"log/slog"
	"testing"
	"time"

	"github.com/covetpy/covet/ops/health"
	"github.com/covetpy/covet/ops/journal"
	"github.com/covetpy/covet/ops/journal/journaltest"
	"github.com/covetpy/covet/ops/rollout"
)

// still is a covetd in which nothing happens: the desk alone decides.
type still struct{}

func (still) Snapshot() rollout.Snapshot        { return rollout.Snapshot{} }
func (still) Points() (Point, map[string]Point) { return Point{}, nil }
func (still) Series() Series                    { return Series{} }
func (still) Problems() []string                { return nil }

// deskWith is a desk over a journal in which v1 serves, and v2 and v3 are known, and whatever else is given.
func deskWith(t *testing.T, more ...journal.Event) *Desk {
	t.Helper()
	now := time.Date(2026, 5, 1, 3, 0, 0, 0, time.UTC)
	var events []journal.Event
	for _, v := range []string{"v1", "v2", "v3"} {
		r, err := rollout.NewRelease(v, rollout.Manifest{Command: []string{"run", v}, Instances: 2}, now, "alice")
		if err != nil {
			t.Fatal(err)
		}
		events = append(events, journal.New(now, "alice", rollout.ReleaseAdded, v, r))
	}
	events = append(events, journal.New(now, "alice", rollout.ServiceAdopted, "v1", rollout.Adoption{Instances: 2}))
	m := &journaltest.Memory{}
	if _, err := m.Append(t.Context(), 0, append(events, more...)...); err != nil {
		t.Fatal(err)
	}
	keeper, err := rollout.OpenKeeper(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	return &Desk{Keeper: keeper, Live: still{}, Matrix: health.DefaultMatrix(), Log: slog.New(slog.DiscardHandler)}
}

func do(t *testing.T, d *Desk, who string, op Op, in any) any {
	t.Helper()
	body, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := d.Do(t.Context(), Caller{Name: who}, op, body)
	if err != nil {
		t.Fatalf("%s: %v", op, err)
	}
	return answer
}

// A rollout that waits until another has been undone is called off by whoever goes back meanwhile.
func TestGoingBackCallsOffWhatWasToFollow(t *testing.T) {
	t.Parallel()
	for name, goBack := range map[string]func(*testing.T, *Desk){
		"rollback": func(t *testing.T, d *Desk) { do(t, d, "bob", Rollback, RollbackRequest{}) },
		"abort":    func(t *testing.T, d *Desk) { do(t, d, "bob", AbortRollout, Target{}) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := deskWith(t)
			do(t, d, "alice", StartRollout, StartRequest{To: "v2"})
			do(t, d, "alice", StartRollout, StartRequest{To: "v3", Supersede: true})
			if a := d.Keeper.State().Active; a.Then == nil || a.Then.To != "v3" {
				t.Fatalf("v3 is to follow: %+v", a)
			}
			goBack(t, d)
			if a := d.Keeper.State().Active; a == nil || a.Then != nil || a.Phase != rollout.Aborting {
				t.Fatalf("after going back nothing is to follow: %+v", a)
			}
		})
	}
}
