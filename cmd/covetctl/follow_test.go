package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/covetpy/covet/ops/console"
	"github.com/covetpy/covet/ops/health"
	"github.com/covetpy/covet/ops/journal"
	"github.com/covetpy/covet/ops/rollout"
)

// story is the live stream of a canary up to where the test takes over.
func story() []console.Update {
	r := canary()
	return []console.Update{
		event(10, rollout.RolloutStarted, "r-3", r),
		event(11, rollout.RolloutReady, "r-3", rollout.StepData{Weight: 1}),
		event(12, rollout.RolloutWaiting, "r-3", rollout.Note{Message: "old news"}), // it was promoted since
		event(13, rollout.ReleaseAdded, "v2.0.0", nil),                              // about something else
		event(14, health.IncidentOpened, "i-2", incident()),
		event(15, health.IncidentAcked, "i-2", health.IncidentNote{Note: "on it"}),
		event(16, health.IncidentOpened, "i-9", health.Incident{Severity: health.P3, Reason: "elsewhere", Rollout: "r-1"}),
		status(func(*console.Status) {}),
	}
}

func ending(phase rollout.Phase, why string) console.Update {
	return event(17, rollout.RolloutEnded, "r-3", rollout.EndData{Phase: phase, Message: why})
}

// following is a port whose rollout r-3 began with event 10, and what the live stream says, connection by connection.
func following(connections ...connection) *fake {
	f := answering()
	f.ask[console.GetRollout] = console.Timeline{Rollout: canary(), Events: []console.AuditEntry{{Seq: 10}, {Seq: 11}}}
	r := canary()
	f.do[console.StartRollout] = console.Ack{Seq: 10, Message: "r-3: canary v1.0.0 → v1.1.0", Rollout: &r}
	f.do[console.AbortRollout] = console.Ack{Seq: 16, Message: "r-3 goes back to v1.0.0", Rollout: &r}
	f.do[console.Rollback] = f.do[console.AbortRollout]
	f.watches = connections
	return f
}

func told(updates ...console.Update) connection {
	return connection{updates: append(story(), updates...)}
}

func TestWatchTellsTheStory(t *testing.T) {
	t.Parallel()
	port := following(told(ending(rollout.Succeeded, "v1.1.0 is the stable release")))
	got := ctl(t, port, "rollout", "start", "v1.1.0", "--watch")
	if got.code != 0 || got.err != "" {
		t.Errorf("exit %d, %s", got.code, got.err)
	}
	golden(t, "rollout-watch", got.out)
	if want := []journal.Seq{9}; !reflect.DeepEqual(port.after, want) {
		t.Errorf("watched after %v, want %v: the event before the rollout's first", port.after, want)
	}
}

func TestWatchForPrograms(t *testing.T) {
	t.Parallel()
	got := ctl(t, following(told(ending(rollout.Succeeded, ""))), "rollout", "start", "v1.1.0", "--watch", "-o", "json")
	if got.code != 0 || got.err != "" {
		t.Errorf("exit %d, %s", got.code, got.err)
	}
	lines := strings.Split(strings.TrimSpace(got.out), "\n")
	var ack console.Ack
	if err := json.Unmarshal([]byte(lines[0]), &ack); err != nil || ack.Rollout == nil || ack.Rollout.ID != "r-3" {
		t.Errorf("the first line is %s, want the acknowledgement", lines[0])
	}
	var seqs []journal.Seq
	for _, line := range lines[1:] {
		var u console.Update
		if err := json.Unmarshal([]byte(line), &u); err != nil || u.Event == nil {
			t.Fatalf("line %s is no event", line)
		}
		seqs = append(seqs, u.Event.Seq)
	}
	if want := []journal.Seq{10, 11, 12, 14, 15, 17}; !reflect.DeepEqual(seqs, want) {
		t.Errorf("events %v, want %v", seqs, want)
	}
}

func TestHowAWatchEnds(t *testing.T) {
	t.Parallel()
	waits := func(contained bool) console.Update {
		return status(func(st *console.Status) {
			st.Rollout.Phase, st.Rollout.Message, st.Rollout.Contained = rollout.Waiting, "step 3 of 5 is done", contained
		})
	}
	longOver := status(func(st *console.Status) {
		r := canary()
		r.Phase, r.Message = rollout.RolledBack, "it was long ago"
		st.Rollout, st.Last = nil, &r
	})
	cases := []struct {
		name string
		args string
		conn connection
		code int
		says string
	}{
		{"succeeded", "rollout watch", told(ending(rollout.Succeeded, "")), 0, ""},
		{"rolled back", "rollout watch r-3", told(ending(rollout.RolledBack, "readiness answers 500")), 5, "rolled back; the old release serves as before: readiness answers 500"},
		{"failed", "rollout start v1.1.0 -w", told(ending(rollout.Failed, "v1.0.0 does not start")), 8, "NOT rolled back: v1.0.0 does not start"},
		{"waits", "rollout watch", told(waits(false)), 4, "covetctl rollout promote"},
		{"contained", "rollout watch", told(waits(true)), 4, "traffic was taken from v1.1.0"},
		{"over before", "rollout watch", connection{updates: []console.Update{longOver}}, 5, "it was long ago"},
		{"rollback of what runs", "rollback", told(ending(rollout.RolledBack, "")), 0, ""},
		{"rollback that fails", "rollback", told(ending(rollout.Failed, "v1.0.0 does not start")), 8, "act now"},
		{"abort", "rollout abort --watch", told(ending(rollout.RolledBack, "aborted by ada")), 0, ""},
		{"attach, succeeded", "attach", told(ending(rollout.Succeeded, ""), idle(rollout.Succeeded)), 0, ""},
		{"attach, rolled back", "attach", told(ending(rollout.RolledBack, ""), idle(rollout.RolledBack)), 5, "rolled back"},
		{"attach, nothing there", "attach --after 3", connection{updates: []console.Update{idle(rollout.Failed)}}, 0, "nothing is under way"},
	}
	for _, tc := range cases {
		got := ctl(t, following(tc.conn), strings.Fields(tc.args)...)
		if got.code != tc.code || !strings.Contains(got.err, tc.says) {
			t.Errorf("%s: exit %d, want %d; it says %q, want %q", tc.name, got.code, tc.code, got.err, tc.says)
		}
	}
}

// idle is a status with nothing under way, whose last rollout ended like this.
func idle(phase rollout.Phase) console.Update {
	return status(func(st *console.Status) {
		r := canary()
		r.Phase = phase
		st.Rollout, st.Last = nil, &r
	})
}

func TestRollbackByARolloutOfItsOwnSucceeds(t *testing.T) {
	t.Parallel()
	r := rollout.Rollout{ID: "r-4", Purpose: rollout.Rollback, From: "v1.1.0", To: "v1.0.0"}
	port := following(connection{updates: []console.Update{
		event(18, rollout.RolloutAborting, "r-3", rollout.AbortData{Message: "superseded by r-4"}),
		event(19, rollout.RolloutEnded, "r-3", rollout.EndData{Phase: rollout.RolledBack}),
		event(20, rollout.RolloutStarted, "r-4", r),
		event(21, rollout.RolloutPaused, "r-3", nil), // r-3 is of no interest any more
		event(22, rollout.RolloutEnded, "r-4", rollout.EndData{Phase: rollout.Succeeded}),
	}})
	port.do[console.Rollback] = console.Ack{Seq: 17, Message: "r-4: rollback", Rollout: &r}
	got := ctl(t, port, "rollback", "--to", "v1.0.0", "--reason", "checkout answers 500")
	if got.code != 0 {
		t.Errorf("exit %d: %s", got.code, got.err)
	}
	golden(t, "rollback", got.out)
	if want := `rollback {"to":"v1.0.0","reason":"checkout answers 500"}`; port.did[0] != want {
		t.Errorf("did %s, want %s", port.did[0], want)
	}
	if port.after[0] != 16 {
		t.Errorf("watched after %d, want 16", port.after[0])
	}
}

func TestDetachReturnsAtOnce(t *testing.T) {
	t.Parallel()
	port := following()
	if got := ctl(t, port, "rollback", "--detach"); got.code != 0 || got.out != "✓ r-3 goes back to v1.0.0\n" || port.after != nil {
		t.Errorf("%+v, watched %v", got, port.after)
	}
}

func TestWatchTakesUpALostConnection(t *testing.T) {
	t.Parallel()
	gone := &console.Error{Code: console.CodeUnreachable, Message: "covetd closed the connection"}
	port := following(
		connection{updates: story()[:2], err: gone},
		connection{err: gone},
		connection{updates: append(story()[1:], ending(rollout.Succeeded, ""))}, // event 11 again
	)
	got := ctl(t, port, "rollout", "watch")
	if got.code != 0 || strings.Count(got.out, "instances ready") != 1 {
		t.Errorf("%+v", got)
	}
	if want := []journal.Seq{9, 11, 11}; !reflect.DeepEqual(port.after, want) {
		t.Errorf("watched after %v, want %v", port.after, want)
	}
	want := "▲ lost the connection to covetd, trying again: covetd closed the connection\n✓ connected again, going on after event 11\n"
	if got.err != want {
		t.Errorf("said %q, want %q", got.err, want)
	}
}

func TestWatchGivesUpOnACovetdThatStaysAway(t *testing.T) {
	t.Parallel()
	var out, errOut bytes.Buffer
	a := newTestApp(following(connection{updates: story()[:2], err: &console.Error{Code: console.CodeUnreachable, Message: "closed"}}), &out, &errOut, "rollout", "watch")
	now := noon
	a.now = func() time.Time {
		now = now.Add(reconnectFor / 4)
		return now
	}
	if code := a.run(t.Context()); code != console.CodeUnreachable.Exit() || !strings.Contains(errOut.String(), "covetd has been away for 2m") {
		t.Errorf("exit %d, %s", code, errOut.String())
	}
}

func TestWatchDoesNotInsistOnACovetdThatNeverWas(t *testing.T) {
	t.Parallel()
	got := ctl(t, following(), "rollout", "watch")
	if got.code != 6 || !strings.Contains(got.err, "gone for good") {
		t.Errorf("%+v", got)
	}
}

// driving is a port whose program carries the rollout out itself.
type driving struct{ console.Port }

func (driving) Unfinished() string { return "r-3" }

func TestCtrlCSaysThatNobodyGoesOn(t *testing.T) {
	t.Parallel()
	err := leftBehind(driving{}, "r-3")
	if !strings.Contains(err.Error(), "nobody carries out rollout r-3") {
		t.Errorf("of one that this program drives: %v", err)
	}
	if err := leftBehind(driving{}, "r-4"); !strings.Contains(err.Error(), "goes on") {
		t.Errorf("of another: %v", err)
	}
}

func TestCtrlCStopsOnlyTheWatching(t *testing.T) {
	t.Parallel()
	for args, says := range map[string]string{
		"rollout watch":  "▲ stopped watching; rollout r-3 goes on\n  → covetctl rollout watch r-3",
		"rollback":       "▲ stopped watching; rollout r-3 goes on",
		"attach -f":      "▲ stopped following; what is under way goes on\n  → covetctl attach",
		"status --watch": "interrupted",
	} {
		ctx, cancel := context.WithCancel(t.Context())
		var errOut bytes.Buffer
		a := newTestApp(following(connection{updates: story()}), writerFunc(func([]byte) { cancel() }), &errOut, strings.Fields(args)...)
		if code := a.run(ctx); code != 130 || !strings.Contains(errOut.String(), says) {
			t.Errorf("%s: exit %d, %q; want 130 and %q", args, code, errOut.String(), says)
		}
		cancel()
	}
}

// writerFunc is told of every write.
type writerFunc func([]byte)

func (f writerFunc) Write(p []byte) (int, error) {
	f(p)
	return len(p), nil
}

func TestLiveLine(t *testing.T) {
	t.Parallel()
	var out, errOut bytes.Buffer
	updates := append(story(), status(func(st *console.Status) { st.Rollout.Steps[2].Approve = false }), ending(rollout.Succeeded, ""))
	a := newTestApp(following(connection{updates: updates}), &out, &errOut, "rollout", "watch", "--no-color")
	a.terminal = func(w io.Writer) bool { return w == &out }
	a.columns = func(io.Writer) int { return 60 }
	if code := a.run(t.Context()); code != 0 {
		t.Fatalf("exit %d: %s", code, errOut.String())
	}
	const clear = "\r\x1b[2K"
	for _, want := range []string{
		clear + "r-3 canary v1.0.0 → v1.1.0  ● baking  step 2/5  weight 10%…",
		clear + "12:00:17  done",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in %q", want, out.String())
		}
	}
}

func TestAttachForPrograms(t *testing.T) {
	t.Parallel()
	got := ctl(t, following(told(ending(rollout.Succeeded, ""), idle(rollout.Succeeded))), "attach", "-o", "json")
	if n := strings.Count(got.out, "\n"); n != 10 || got.code != 0 {
		t.Errorf("exit %d, %d lines, want all 10 updates:\n%s", got.code, n, got.out)
	}
}

func TestAttachGoesOnWithTheRolloutThatFollows(t *testing.T) {
	t.Parallel()
	next := status(func(st *console.Status) { st.Rollout.ID = "r-4" })
	got := ctl(t, following(told(ending(rollout.RolledBack, ""), next, event(18, rollout.RolloutStep, "r-4", rollout.StepData{Step: 1}), idle(rollout.Succeeded))), "attach")
	if got.code != 0 || !strings.Contains(got.out, "r-4: step 2 begins") {
		t.Errorf("%+v", got)
	}
}

func TestStatusWatchOnlyTellsChanges(t *testing.T) {
	t.Parallel()
	same := status(func(st *console.Status) { st.Traffic.RequestRate = 5 })
	later := status(func(st *console.Status) { st.Rollout.Phase = rollout.Shifting })
	port := following(connection{updates: []console.Update{same, same, later}, err: &console.Error{Code: console.CodeDenied, Message: "no more"}})
	got := ctl(t, port, "status", "--watch")
	if got.code != 1 || strings.Count(got.out, "\n") != 2 || !strings.Contains(got.out, "r-3 shifting, step 2 of 5") {
		t.Errorf("%+v", got)
	}
}

func TestProgress(t *testing.T) {
	t.Parallel()
	r := canary()
	r.Steps[2].Approve = false
	if left, known := remaining(r, noon); !known || left != 3*time.Minute+30*time.Second {
		t.Errorf("%s left (%v), want 3m30s: half of this step and three more", left, known)
	}
	if got := done(r, noon); got != 0.3 {
		t.Errorf("%v done, want 0.3: one step and a half of five", got)
	}
	if _, known := remaining(canary(), noon); known {
		t.Error("the time is known although a person must approve on the way")
	}
	r.Paused = true
	if _, known := remaining(r, noon); known {
		t.Error("the time is known although it is paused")
	}
	if got := done(rollout.Rollout{}, noon); got != 0 {
		t.Errorf("%v done of nothing", got)
	}
}

// Joining a rollback that is under way ends well when the old release serves, not when the rollback is undone.
func TestWhatARollbackIsToEndAs(t *testing.T) {
	t.Parallel()
	back := rollout.Rollout{ID: "r-4", Purpose: rollout.Rollback, From: "v1.1.0", To: "v1.0.0", StartedAt: time.Now()}
	undone := back
	undone.Phase = rollout.Aborting
	deploy := canary()
	deploy.StartedAt = time.Now()
	fresh := back
	fresh.StartedAt = time.Time{}
	for _, tc := range []struct {
		name string
		to   string
		r    rollout.Rollout
		want rollout.Phase
	}{
		{"a new one", "", fresh, rollout.Succeeded},
		{"joined", "", back, rollout.Succeeded},
		{"joined by name", "v1.0.0", back, rollout.Succeeded},
		{"undone by name", "v1.1.0", back, rollout.RolledBack},
		{"being undone", "", undone, rollout.RolledBack},
		{"a deployment", "", deploy, rollout.RolledBack},
	} {
		if got := rollbackGoal(tc.to)(tc.r); got != tc.want {
			t.Errorf("%s: %s, want %s", tc.name, got, tc.want)
		}
	}
}
