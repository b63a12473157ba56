package tui

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/covetpy/covet/ops/console"
	"github.com/covetpy/covet/ops/rollout"
	"github.com/covetpy/covet/tui/store"
)

// still is a source that always has the same snapshot.
type still struct {
	snap    *store.Snapshot
	retried int
	focus   string
}

func (s *still) Snapshot() *store.Snapshot           { return s.snap }
func (s *still) Retry()                              { s.retried++ }
func (s *still) Focus(id string)                     { s.focus = id }
func (s *still) Older(context.Context, int) error    { return nil }
func (s *still) Look(context.Context, store.Subject) {}

// snapshotOf is what a feed makes of a scripted service.
func snapshotOf(t testing.TB, s *scripted) *store.Snapshot {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	f := store.NewFeed(s, func() time.Time { return t0 }, func() {})
	go f.Run(ctx)
	deadline := time.Now().Add(20 * time.Second)
	for {
		snap := f.Snapshot()
		if snap.Status != nil && len(snap.Rollouts) == len(s.rollouts) && len(snap.Instances) == len(s.all) && len(snap.Series.Total) > 1 {
			return snap
		}
		if time.Now().After(deadline) {
			t.Fatal("the feed never had it all")
		}
		time.Sleep(time.Millisecond)
	}
}

// desk is a console without a terminal, whose clock the test moves.
type desk struct {
	t    testing.TB
	m    *model
	port *scripted
	src  *still
	now  time.Time
	quit bool
}

func sit(t testing.TB, port *scripted, change func(*Options)) *desk {
	t.Helper()
	d := &desk{t: t, port: port, now: t0, src: &still{snap: snapshotOf(t, port)}}
	o := Options{Port: port, Target: "local:test", ReadOnly: true, Now: func() time.Time { return d.now }, In: strings.NewReader(""), Out: io.Discard, Env: []string{}}
	if change != nil {
		change(&o)
	}
	d.m = newModel(context.Background(), o.normalize(), d.src, func() {})
	d.send(tea.WindowSizeMsg{Width: 100, Height: 30})
	return d
}

// send gives a message to the console and does what follows from it.
func (d *desk) send(msg tea.Msg) {
	_, cmd := d.m.Update(msg)
	d.do(cmd)
}

func (d *desk) do(cmd tea.Cmd) {
	if cmd == nil {
		return
	}
	switch msg := cmd().(type) {
	case nil:
	case tea.QuitMsg:
		d.quit = true
	case tea.BatchMsg:
		for _, c := range msg {
			d.do(c)
		}
	default:
		d.send(msg)
	}
}

func keyOf(name string) tea.KeyPressMsg {
	special := map[string]rune{"enter": tea.KeyEnter, "esc": tea.KeyEscape, "tab": tea.KeyTab, "up": tea.KeyUp, "down": tea.KeyDown, "backspace": tea.KeyBackspace, "pgdown": tea.KeyPgDown}
	if code, ok := special[name]; ok {
		return tea.KeyPressMsg{Code: code}
	}
	if name == "ctrl+c" {
		return tea.KeyPressMsg{Code: 'c', Mod: tea.ModCtrl}
	}
	return tea.KeyPressMsg{Code: []rune(name)[0], Text: name}
}

// press presses keys one after the other, a second between them.
func (d *desk) press(keys ...string) {
	for _, k := range keys {
		d.now = d.now.Add(time.Second)
		d.send(keyOf(k))
	}
}

func (d *desk) write(text string) {
	for _, r := range text {
		d.press(string(r))
	}
}

func (d *desk) screen() string {
	d.m.View()
	return strings.Join(d.m.canvas.Lines(), "\n")
}

func (d *desk) sees(texts ...string) {
	d.t.Helper()
	screen := d.screen()
	for _, text := range texts {
		if !strings.Contains(screen, text) {
			d.t.Fatalf("the screen does not show %q:\n%s", text, screen)
		}
	}
}

func (d *desk) misses(text string) {
	d.t.Helper()
	if screen := d.screen(); strings.Contains(screen, text) {
		d.t.Fatalf("the screen shows %q:\n%s", text, screen)
	}
}

// did are the commands that were given, plans left out.
func (d *desk) did() []done {
	var out []done
	for _, c := range d.port.done {
		planned := false
		switch in := c.in.(type) {
		case console.Target:
			planned = in.Plan
		case console.StartRequest:
			planned = in.Plan
		case console.RollbackRequest:
			planned = in.Plan
		}
		if !planned {
			out = append(out, c)
		}
	}
	return out
}

// arm turns write mode on as a person does in production.
func (d *desk) arm() {
	d.t.Helper()
	d.press("w")
	d.write("production")
	d.press("enter")
	d.sees("WRITE")
}

func rehearsed() *scripted {
	s := canary()
	s.answer = rehearse
	return s
}

func TestReadOnlyRefusesEveryChange(t *testing.T) {
	t.Parallel()
	for _, key := range []string{"S", "P", "U", "R", "A", "T", "B", "I", "K", "C"} {
		d := sit(t, rehearsed(), nil)
		d.press("3", key, "enter", "enter")
		if len(d.port.done) != 0 {
			t.Errorf("%s in read-only mode asked for %v", key, d.port.done)
		}
	}
	d := sit(t, rehearsed(), nil)
	d.press("3", "A")
	d.sees("read-only: w turns writing on")
}

func TestWriteModeIsTypedInProductionAndEnds(t *testing.T) {
	t.Parallel()
	d := sit(t, rehearsed(), nil)
	d.press("w", "enter")
	d.write("prod")
	d.press("enter")
	d.misses(" WRITE 1")
	d.press("esc")
	d.arm()
	d.sees("WRITE 15:00 left")
	d.now = d.now.Add(16 * time.Minute)
	d.send(newsMsg{})
	d.m.second()
	d.sees("READ-ONLY", "write mode is over")
}

func TestAbortNeedsThePlanAndTheName(t *testing.T) {
	t.Parallel()
	d := sit(t, rehearsed(), nil)
	d.arm()
	d.press("3", "A")
	d.sees("undo r-3", "type production/shop to arm it", "not armed", "changes", "covetctl rollout abort")
	d.press("enter", "A", "A")
	if got := d.did(); len(got) != 0 {
		t.Fatalf("the trigger key or enter ran it: %v", got)
	}
	d.press("backspace", "backspace")
	d.write("production/shop")
	d.sees("armed: enter runs it")
	d.press("enter")
	got := d.did()
	if len(got) != 1 || got[0].op != console.AbortRollout {
		t.Fatalf("ran %v", got)
	}
	if in := got[0].in.(console.Target); in.PlanHash != "9f3c2a77b1d0" || in.ID != "r-3" {
		t.Fatalf("sent %+v", in)
	}
	d.sees("accepted: rollout.abort")
}

func TestKeysOnTheirWayDoNotReachADialog(t *testing.T) {
	t.Parallel()
	d := sit(t, rehearsed(), nil)
	d.arm()
	d.press("3", "P")
	d.send(keyOf("enter")) // at the same moment
	if got := d.did(); len(got) != 0 {
		t.Fatalf("promoted by a key in flight: %v", got)
	}
	d.sees("promote r-3 in production/shop")
	d.press("enter")
	if got := d.did(); len(got) != 1 || got[0].op != console.Promote {
		t.Fatalf("ran %v", got)
	}
}

func TestStalePlanIsMadeAgain(t *testing.T) {
	t.Parallel()
	s := rehearsed()
	refused := false
	s.answer = func(op console.Op, in any) (any, error) {
		if target, ok := in.(console.Target); ok && !target.Plan && !refused {
			refused = true
			return nil, &console.Error{Code: console.CodeStalePlan, Message: "out of date"}
		}
		return rehearse(op, in)
	}
	d := sit(t, s, nil)
	d.arm()
	d.press("3", "A")
	d.write("production/shop")
	d.press("enter")
	d.sees("Things changed since the plan was made", "not armed")
	d.press("enter")
	if got := d.did(); len(got) != 1 {
		t.Fatalf("ran %v without it being typed again", got)
	}
	d.write("production/shop")
	d.press("enter")
	if got := d.did(); len(got) != 2 {
		t.Fatalf("ran %v", got)
	}
}

func TestStartChoosesReleaseAndStrategy(t *testing.T) {
	t.Parallel()
	s := rehearsed()
	s.status.Rollout = nil
	d := sit(t, s, nil)
	d.arm()
	d.press("3", "S")
	d.sees("roll out which release?", "v1.2.0", "was rolled back", "v1.1.0")
	d.misses("▶    v1.0.0")
	d.press("enter")
	d.sees("canary", "rolling", "blue-green")
	d.press("j", "j", "enter")
	d.sees("covetctl rollout start v1.2.0 --strategy blue-green")
	d.press("tab")
	d.write("because")
	d.press("tab")
	d.write("production/shop")
	d.press("enter")
	got := d.did()
	if len(got) != 1 {
		t.Fatalf("ran %v", got)
	}
	in := got[0].in.(console.StartRequest)
	if in.To != "v1.2.0" || in.Strategy != rollout.BlueGreen || in.Reason != "because" || in.PlanHash == "" {
		t.Fatalf("sent %+v", in)
	}
}

func TestPlanOnlyWorksReadOnly(t *testing.T) {
	t.Parallel()
	s := rehearsed()
	s.status.Rollout = nil
	d := sit(t, s, nil)
	d.press("3", "p", "enter", "enter")
	d.sees("nothing was changed", "undo")
	d.misses("to arm it")
	d.press("enter")
	if got := d.did(); len(got) != 0 {
		t.Fatalf("ran %v", got)
	}
}

func TestErrorsTellTheWayOut(t *testing.T) {
	t.Parallel()
	s := rehearsed()
	s.answer = func(console.Op, any) (any, error) {
		return nil, &console.Error{Code: console.CodeUnreachable, Message: "covetd does not answer", Hint: "start it with covetd"}
	}
	d := sit(t, s, nil)
	d.arm()
	d.press("3", "U")
	d.sees("covetd does not answer", "start it with covetd", "may or may not have been accepted", "covetctl rollout pause")
}

func TestWriteModeThatEndsStopsADialog(t *testing.T) {
	t.Parallel()
	d := sit(t, rehearsed(), nil)
	d.arm()
	d.press("3", "A")
	d.write("production/shop")
	d.now = d.now.Add(time.Hour)
	d.press("enter")
	d.sees("nothing was done")
	if got := d.did(); len(got) != 0 {
		t.Fatalf("ran %v", got)
	}
}

func TestPaletteFindsPagesAndActions(t *testing.T) {
	t.Parallel()
	d := sit(t, rehearsed(), nil)
	d.press(":")
	d.write("audlog")
	d.press("enter")
	d.sees("audit log")
	d.press("[")
	d.sees("vitals")
	d.press("]")
	d.sees("audit log")
	d.press(":")
	d.write("abort")
	d.press("enter")
	d.sees("read-only") // disabled items say why and stay
}

func TestFilterAndHistory(t *testing.T) {
	t.Parallel()
	d := sit(t, rehearsed(), nil)
	d.press("2", "/")
	d.write("backoff")
	d.press("enter")
	d.sees("1 of 6", "v1.1.0-2")
	d.misses("v1.0.0-1")
	d.press("q") // the filter is closed: q leaves
	if !d.quit {
		t.Fatal("q did not leave")
	}
	d.press("esc")
	d.sees("v1.0.0-1")
}

func TestCopyShowsTheCommand(t *testing.T) {
	t.Parallel()
	copied := ""
	d := sit(t, rehearsed(), func(o *Options) { o.Copy = func(s string) error { copied = s; return nil } })
	d.press("3", "y")
	if copied != "covetctl rollout status r-3" {
		t.Fatalf("copied %q", copied)
	}
	d.sees("copied: covetctl rollout status r-3")
	d = sit(t, rehearsed(), func(o *Options) { o.Copy = func(string) error { return errors.New("no clipboard") } })
	d.press("y")
	d.sees("could not copy", "covetctl status")
}

func TestHelpSaysWhyNot(t *testing.T) {
	t.Parallel()
	d := sit(t, rehearsed(), nil)
	d.send(tea.WindowSizeMsg{Width: 140, Height: 60})
	d.press("?")
	d.sees("Pages and actions", "rollout r-3 to v1.1.0 is under way", "read-only: w turns writing on", "leave; nothing that runs is stopped")
}

func TestViewDrawsOnlyWhatChanged(t *testing.T) {
	t.Parallel()
	d := sit(t, rehearsed(), nil)
	d.m.View()
	if d.m.dirty {
		t.Fatal("still dirty after a view")
	}
	d.m.frame = "as it was"
	if v := d.m.View(); v.Content != "as it was" {
		t.Fatal("it was drawn again though nothing had changed")
	}
}

func TestStalenessKeepsValues(t *testing.T) {
	t.Parallel()
	d := sit(t, rehearsed(), nil)
	lost := *d.src.snap
	lost.Link = store.Link{State: store.Lost, HeardAt: d.now.Add(-38 * time.Second), Message: "connection reset", NextAt: d.now.Add(2 * time.Second)}
	d.src.snap = &lost
	d.send(newsMsg{})
	d.sees("STALE 38s", "v1.0.0", "connection lost: connection reset", "in 2s")
	d.press("3", "A")
	d.sees("the connection is lost")
}

func TestQuietStreamIsSaid(t *testing.T) {
	t.Parallel()
	d := sit(t, rehearsed(), nil)
	d.now = d.now.Add(5 * time.Second)
	d.m.second()
	d.sees("quiet 5s")
}
