package tui

import (
	"testing"
	"time"

	"github.com/covetpy/covet/ops/health"
	"github.com/covetpy/covet/ops/rollout"
	"github.com/covetpy/covet/tui/store"
)

// The clock goes by seconds wherever somebody looks or something counts down, and only else by two.
func TestPace(t *testing.T) {
	t.Parallel()
	d := sit(t, rehearsed(), func(o *Options) { o.ReadOnly = false })
	st := *d.src.snap.Status
	st.Rollout, st.Incidents = nil, nil
	calm := *d.src.snap
	calm.Status, calm.Link.State = &st, store.Live
	d.src.snap = &calm
	d.send(newsMsg{})
	check := func(what string, want time.Duration) {
		t.Helper()
		if got := d.m.pace(); got != want {
			t.Errorf("%s: every %v", what, got)
		}
	}
	check("in write mode", everySecond)
	d.now = d.now.Add(DefaultWriteFor)
	check("read-only, and nobody has pressed a key", everyOther)
	d.press("j")
	check("a key was pressed", everySecond)
	d.now = d.now.Add(attended)
	check("ten seconds later", everyOther)
	d.press("?")
	d.now = d.now.Add(attended)
	check("with the help open", everySecond)
	d.press("esc")
	d.now = d.now.Add(attended)
	check("once it is closed", everyOther)

	for what, change := range map[string]func(*store.Snapshot){
		"a rollout":         func(s *store.Snapshot) { s.Status.Rollout = &rollout.Rollout{ID: "r-9"} },
		"an open incident":  func(s *store.Snapshot) { s.Status.Incidents = []health.Incident{{ID: "i-1"}} },
		"a lost connection": func(s *store.Snapshot) { s.Link.State = store.Lost },
		"nothing heard yet": func(s *store.Snapshot) { s.Status = nil },
	} {
		s, st := calm, *calm.Status
		s.Status = &st
		change(&s)
		d.src.snap = &s
		d.send(newsMsg{})
		check(what, everySecond)
	}
}
