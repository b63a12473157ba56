package page

import (
	"testing"
	"time"

	"github.com/covetpy/covet/ops/console"
	"github.com/covetpy/covet/ops/recovery"
	"github.com/covetpy/covet/ops/restore"
	"github.com/covetpy/covet/ops/rollout"
	"github.com/covetpy/covet/tui/store"
)

var noon = time.Date(2026, 3, 14, 12, 0, 0, 0, time.UTC)

func minutes(n float64) time.Time { return noon.Add(time.Duration(n * float64(time.Minute))) }

// Each column is a minute; a hole of a second shows as one.
func TestReaches(t *testing.T) {
	t.Parallel()
	p := &recovery.Posture{Coverage: []restore.Span{{From: minutes(2), To: minutes(5)}, {From: minutes(5).Add(time.Second), To: minutes(8)}}}
	line := timeline{from: noon, to: minutes(12), w: 12}
	got := ""
	for _, way := range line.reaches(p, minutes(11)) {
		got += map[reach]string{outside: " ", covered: "#", holed: ".", pending: "-"}[way]
	}
	if want := "  ###.##--- "; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestColumnsAndTimesAgree(t *testing.T) {
	t.Parallel()
	line := timeline{from: noon, to: minutes(100), w: 80}
	for x := range line.w {
		if got := line.column(line.at(x).Add(time.Millisecond)); got != x {
			t.Errorf("column %d begins at %s, which is in column %d", x, line.at(x), got)
		}
	}
	if line.column(minutes(-1)) != -1 || line.column(minutes(101)) != -1 {
		t.Error("what lies outside has a column")
	}
}

func TestServedAt(t *testing.T) {
	t.Parallel()
	done := func(from, to string, began, ended float64) rollout.Rollout {
		return rollout.Rollout{From: from, To: to, Phase: rollout.Succeeded, StartedAt: minutes(began), EndedAt: minutes(ended)}
	}
	undone := done("v2", "v3", 40, 45)
	undone.Phase = rollout.RolledBack
	c := Context{Snap: &store.Snapshot{Status: &console.Status{Stable: "v2"}, Rollouts: []rollout.Rollout{undone, done("v1", "v2", 20, 25), done("", "v1", 0, 1)}}}
	for at, want := range map[float64]string{10: "v1", 19.99: "v1", 22: "v1", 26: "v2", 42: "v2", 60: "v2"} {
		if got := servedAt(c, minutes(at)); got != want {
			t.Errorf("at minute %g %s served, want %s", at, got, want)
		}
	}
}

// The target stays within the window, on whole seconds, and its end is the newest point.
func TestShiftStaysInTheWindow(t *testing.T) {
	t.Parallel()
	c := Context{Now: minutes(60), Snap: &store.Snapshot{Status: &console.Status{}, Recovery: &recovery.Posture{
		Coverage: []restore.Span{{From: noon.Add(300 * time.Millisecond), To: minutes(50)}}, Reaches: &restore.Point{Time: minutes(49.9)},
	}}}
	p := NewRestore()
	for range 3 {
		p.Key("<", c)
	}
	if want := noon.Add(time.Second); !p.at.Equal(want) || p.latest {
		t.Errorf("at the oldest end: %s, want %s", p.at, want)
	}
	p.Key("right", c)
	p.Key("L", c)
	if want := noon.Add(time.Minute + 2*time.Second); !p.at.Equal(want) {
		t.Errorf("a second and a minute on: %s, want %s", p.at, want)
	}
	p.Key(">", c)
	if !p.latest || p.target().Kind != restore.Latest {
		t.Errorf("at the newest end: %+v", p.target())
	}
}
