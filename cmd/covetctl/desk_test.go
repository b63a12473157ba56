package main

import (
	"bytes"
	"context"
	"encoding/json"
	"iter"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/covetpy/covet/internal/adminclient"
	"github.com/covetpy/covet/internal/local"
	"github.com/covetpy/covet/ops/console"
	"github.com/covetpy/covet/ops/health"
	"github.com/covetpy/covet/ops/journal"
	"github.com/covetpy/covet/ops/rollout"
	"github.com/covetpy/covet/server"
	"github.com/covetpy/covet/server/admin"
)

// covetd is the console's own desk over a real journal and a real socket, without the engine: the test decides what
// becomes of a rollout.
type covetd struct {
	t      *testing.T
	dir    string
	keeper *rollout.Keeper
	stop   func()
}

// still is what covetd knows beyond its journal when nothing moves.
type still struct{}

func (still) Snapshot() rollout.Snapshot                        { return rollout.Snapshot{} }
func (still) Points() (console.Point, map[string]console.Point) { return console.Point{}, nil }
func (still) Series() console.Series                            { return console.Series{} }
func (still) Problems() []string                                { return nil }

// deskBackend is the desk behind the operations API.
type deskBackend struct{ *console.Desk }

func (b deskBackend) Ask(ctx context.Context, _ admin.Identity, op string, v url.Values) (any, error) {
	q, err := adminclient.DecodeQuery(v)
	if err != nil {
		return nil, err
	}
	return b.Desk.Ask(ctx, console.Op(op), q)
}

func (b deskBackend) Do(ctx context.Context, who admin.Identity, op string, body json.RawMessage) (any, error) {
	return b.Desk.Do(ctx, console.Caller{Name: who.Name, Groups: who.Groups}, console.Op(op), body)
}

func (b deskBackend) Watch(ctx context.Context, _ admin.Identity, after uint64) iter.Seq2[any, error] {
	return func(yield func(any, error) bool) {
		for u, err := range b.Desk.Watch(ctx, journal.Seq(after)) {
			if !yield(u, err) {
				return
			}
		}
	}
}

func (deskBackend) Logs(context.Context, admin.Identity, url.Values) iter.Seq2[any, error] {
	return func(func(any, error) bool) {}
}

func startCovetd(t *testing.T) *covetd {
	t.Helper()
	c := &covetd{t: t, dir: shortDir(t)}
	c.start()
	t.Cleanup(func() { c.stop() })
	return c
}

func (c *covetd) socket() string { return filepath.Join(c.dir, "covetd.sock") }

func (c *covetd) start() {
	c.t.Helper()
	j, err := local.OpenJournal(c.dir, time.Second)
	if err != nil {
		c.t.Fatal(err)
	}
	if c.keeper, err = rollout.OpenKeeper(c.t.Context(), j); err != nil {
		c.t.Fatal(err)
	}
	ln, err := net.Listen("unix", c.socket())
	if err != nil {
		c.t.Fatal(err)
	}
	desk := &console.Desk{Keeper: c.keeper, Live: still{}, Matrix: health.DefaultMatrix(), Log: slog.New(slog.DiscardHandler),
		Info: console.Info{Service: "shop", Environment: "production", Platform: "local", Version: "v1.2.3", PID: os.Getpid(), StartedAt: time.Now()}}
	peers := admin.NewPeers()
	srv := &http.Server{Handler: admin.New(deskBackend{desk}, peers.Identify, slog.New(slog.DiscardHandler)), ConnContext: server.WithPeer}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(ln) }()
	c.stop = func() {
		if err := srv.Close(); err != nil {
			c.t.Error(err)
		}
		<-done
		c.keeper.Suspend()
		if err := j.Close(); err != nil {
			c.t.Error(err)
		}
		c.stop = func() {}
	}
}

// ctl runs covetctl as main would, against the desk.
func (c *covetd) ctl(ctx context.Context, args ...string) session {
	var out, errOut bytes.Buffer
	env := map[string]string{"COVET_DATA_DIR": c.dir}
	code := run(ctx, args, strings.NewReader(""), &out, &errOut, func(k string) string { return env[k] })
	return session{code, out.String(), errOut.String()}
}

func (c *covetd) want(code int, says string, args ...string) session {
	c.t.Helper()
	got := c.ctl(c.t.Context(), args...)
	if got.code != code || !strings.Contains(got.out+got.err, says) {
		c.t.Fatalf("covetctl %s: exit %d, want %d and %q:\n%s%s", strings.Join(args, " "), got.code, code, says, got.out, got.err)
	}
	return got
}

// itself is covetctl as a process of its own.
func (c *covetd) itself(args ...string) *exec.Cmd {
	cmd := exec.CommandContext(c.t.Context(), os.Args[0], args...)
	cmd.Env = []string{"COVETCTL_ITSELF=1", "COVET_DATA_DIR=" + c.dir, "PATH=" + os.Getenv("PATH")}
	return cmd
}

// wantItself is want for what needs a process: the journal is locked until it ends.
func (c *covetd) wantItself(code int, says string, args ...string) {
	c.t.Helper()
	cmd := c.itself(args...)
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState.ExitCode() != code || !strings.Contains(string(out), says) {
		c.t.Fatalf("covetctl %s: %v, want exit %d and %q:\n%s", strings.Join(args, " "), err, code, says, out)
	}
}

// journal writes what the engine would.
func (c *covetd) journal(kind journal.Kind, subject string, data any) {
	c.t.Helper()
	_, err := c.keeper.Decide(c.t.Context(), func(rollout.State) ([]journal.Event, error) {
		return []journal.Event{journal.New(time.Now(), rollout.ByCovetd, kind, subject, data)}, nil
	})
	if err != nil {
		c.t.Fatal(err)
	}
}

// finish runs a command that watches, and has the rollout end while it does.
func (c *covetd) finish(id string, phase rollout.Phase, args ...string) session {
	c.t.Helper()
	done := make(chan session, 1)
	go func() { done <- c.ctl(c.t.Context(), args...) }()
	deadline := time.After(30 * time.Second)
	for s := c.keeper.State(); s.Active == nil || s.Active.ID != id || phase == rollout.RolledBack && s.Active.Phase != rollout.Aborting; s = c.keeper.State() {
		select {
		case got := <-done:
			c.t.Fatalf("covetctl %s ended before the rollout: %+v", strings.Join(args, " "), got)
		case <-deadline:
			c.t.Fatalf("covetctl %s: no rollout %s", strings.Join(args, " "), id)
		case <-time.After(5 * time.Millisecond):
		}
	}
	c.journal(rollout.RolloutEnded, id, rollout.EndData{Phase: phase, Message: "the test says so"})
	select {
	case got := <-done:
		return got
	case <-deadline:
		c.t.Fatalf("covetctl %s does not end with the rollout", strings.Join(args, " "))
		return session{}
	}
}

// hashOf reads a plan's hash.
func hashOf(t *testing.T, got session) string {
	t.Helper()
	var p console.Plan
	if err := json.Unmarshal([]byte(got.out), &p); err != nil || p.Hash == "" {
		t.Fatalf("%v: %+v is no plan", err, got)
	}
	return p.Hash
}

func TestADayAtTheDesk(t *testing.T) {
	t.Parallel()
	c := startCovetd(t)
	c.want(0, "no release serves yet", "status")
	for _, v := range []string{"v1.0.0", "v1.1.0", "v1.2.0"} {
		c.want(0, v, "release", "add", v, "--instances", "2", "-e", "V="+v, "-e", "API_KEY=hunter2", "--", "true")
	}
	if got := c.want(0, "••••", "release", "show", "v1.1.0"); strings.Contains(got.out, "hunter2") {
		t.Errorf("a secret is shown: %s", got.out)
	}
	c.want(1, "it is not the same", "release", "add", "v1.1.0", "--", "false")
	c.want(1, "did you mean v1.1.0?", "rollout", "start", "v1.1.O")
	c.want(1, "no earlier release", "rollback")

	if got := c.finish("r-1", rollout.Succeeded, "rollout", "start", "v1.0.0", "--watch", "--reason", "first"); got.code != 0 {
		t.Fatalf("%+v", got)
	}
	hash := hashOf(t, c.want(0, "", "rollout", "plan", "v1.1.0", "-o", "json"))
	c.want(3, "out of date", "rollout", "start", "v1.1.0", "--plan-hash", "0000")
	c.want(0, "r-2", "rollout", "start", "v1.1.0", "--plan-hash", hash)
	c.want(7, "is under way", "rollout", "start", "v1.2.0")
	c.want(0, "stays where it is", "rollout", "pause", "--reason", "lunch")
	c.want(0, "paused while scaling", "rollout", "status")
	c.want(0, "goes on", "rollout", "resume")
	c.want(1, "nothing to promote yet", "rollout", "promote")
	c.journal(rollout.RolloutReady, "r-2", rollout.StepData{Weight: 1})
	c.journal(rollout.RolloutShifted, "r-2", rollout.StepData{Weight: 1})
	c.journal(rollout.RolloutWaiting, "r-2", rollout.Note{Message: "step 1 is done"})
	c.want(4, "covetctl rollout promote", "rollout", "watch")
	c.want(0, "next step", "rollout", "promote")
	if got := c.finish("r-2", rollout.RolledBack, "rollback", "--reason", "it is bad"); got.code != 0 || !strings.Contains(got.out, "rollout r-2 is undone") {
		t.Fatalf("%+v", got)
	}
	c.want(5, "r-2 was rolled back", "rollout", "watch", "r-2")
	if got := c.finish("r-3", rollout.Succeeded, "rollout", "retry", "--watch"); got.code != 0 {
		t.Fatalf("%+v", got)
	}
	if got := c.finish("r-4", rollout.Failed, "rollback", "--to", "v1.0.0"); got.code != 8 || !strings.Contains(got.err, "NOT rolled back") {
		t.Fatalf("%+v", got)
	}
	c.want(1, "cannot be removed", "release", "remove", "v1.1.0", "--yes")
	c.want(0, "forget release v1.2.0", "release", "remove", "v1.2.0", "--plan")
	c.want(0, "is removed", "release", "remove", "v1.2.0", "--yes")
}

// At night two people say rollback at the same time. The second must neither undo what the first has begun, nor go on to the
// release before, nor ever return to the bad one.
func TestTwoPeopleGoBackOnce(t *testing.T) {
	t.Parallel()
	c := startCovetd(t)
	for _, v := range []string{"v1.0.0", "v1.1.0", "v1.2.0"} {
		c.want(0, v, "release", "add", v, "-e", "V="+v, "--", "true")
	}
	for i, v := range []string{"v1.0.0", "v1.1.0", "v1.2.0"} {
		c.finish("r-"+itoa(i+1), rollout.Succeeded, "rollout", "start", v, "-w")
	}
	c.want(0, "r-4", "rollback", "--detach")
	c.want(1, "r-4 is going back to v1.1.0 already", "rollback", "--plan")
	c.want(3, "out of date", "rollback", "--plan-hash", "0000")
	c.want(0, "r-4 stays", "rollout", "pause")
	c.want(0, "going back to v1.1.0 already", "rollback", "--detach")
	if c.keeper.State().Active.Paused {
		t.Error("whoever asks for a rollback does not want it paused")
	}
	c.want(0, "going back to v1.1.0 already", "rollback", "--to", "v1.1.0", "--detach")
	c.journal(rollout.RolloutEnded, "r-4", rollout.EndData{Phase: rollout.Succeeded})
	c.want(1, "covetctl rollback --to v1.0.0", "rollback")
	if s := c.keeper.State(); s.Stable != "v1.1.0" || s.Previous != "v1.0.0" {
		t.Errorf("%s serves, and %s is the one before: want v1.1.0 and v1.0.0", s.Stable, s.Previous)
	}
	c.want(0, "r-5", "rollout", "start", "v1.2.0")
	if got := c.finish("r-5", rollout.RolledBack, "rollback"); got.code != 0 {
		t.Fatalf("%+v", got)
	}
	c.want(1, "r-5 went back to v1.1.0 already", "rollback")
	c.want(0, "r-6", "rollback", "--to", "v1.0.0", "--detach")
	if got := c.finish("r-6", rollout.RolledBack, "rollback", "--to", "v1.1.0"); got.code != 0 || !strings.Contains(got.out, "r-6 is undone") {
		t.Errorf("a rollback is undone by naming what it came from: %+v", got)
	}
	c.want(0, "r-7", "rollback", "--to", "v1.0.0", "--detach")
	c.stop()
	c.wantItself(0, "going back to v1.0.0 already", "rollback")
	c.start()
	if s := c.keeper.State(); s.Stable != "v1.0.0" || s.Active != nil {
		t.Errorf("after a rollback without covetd %s is stable, active %v", s.Stable, s.Active)
	}
}

func TestIncidentsAndAuditAtTheDesk(t *testing.T) {
	t.Parallel()
	c := startCovetd(t)
	c.want(0, "no incident is open", "incident", "list")
	c.want(1, "no incident is open", "incident", "ack")
	c.want(0, "i-1", "incident", "open", "--severity", "p1", "--reason", "checkout is wrong")
	c.want(0, "acknowledged", "incident", "ack", "--reason", "on it")
	c.want(0, "closed", "incident", "close", "i-1", "--reason", "over")
	c.want(0, "no incident is open", "incident", "list")
	c.want(0, "closed", "incident", "list", "--all")
	c.want(0, "incident i-1 closed: over", "audit")
	c.want(0, "nothing is under way", "attach", "--after", "0")
	got := c.want(0, "", "audit", "-n", "1", "--before", "3", "-o", "json")
	var list []console.AuditEntry
	if err := json.Unmarshal([]byte(got.out), &list); err != nil || len(list) != 1 || list[0].Seq != 2 {
		t.Errorf("%v, %+v", err, list)
	}
}

func TestCovetdComesBackWhileItIsWatched(t *testing.T) {
	t.Parallel()
	c := startCovetd(t)
	c.want(0, "v1.0.0", "release", "add", "v1.0.0", "--", "true")
	c.want(0, "r-1", "rollout", "start", "v1.0.0")
	out, errOut := new(lockedBuffer), new(lockedBuffer)
	env := map[string]string{"COVET_DATA_DIR": c.dir}
	done := make(chan int, 1)
	go func() {
		done <- run(t.Context(), []string{"rollout", "watch"}, strings.NewReader(""), out, errOut, func(k string) string { return env[k] })
	}()
	await(t, out, "canary r-1 begins")
	c.stop()
	await(t, errOut, "lost the connection")
	c.start()
	await(t, errOut, "connected again, going on after event 2")
	c.journal(rollout.RolloutEnded, "r-1", rollout.EndData{Phase: rollout.Succeeded})
	if code := <-done; code != 0 || strings.Count(out.String(), "canary r-1 begins") != 1 {
		t.Errorf("exit %d:\n%s%s", code, out, errOut)
	}
}

func TestSignalStopsOnlyTheWatching(t *testing.T) {
	t.Parallel()
	c := startCovetd(t)
	c.want(0, "v1.0.0", "release", "add", "v1.0.0", "--", "true")
	cmd := c.itself("rollout", "start", "v1.0.0", "--watch")
	out := new(lockedBuffer)
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	await(t, out, "canary r-1 begins")
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); cmd.ProcessState.ExitCode() != 130 || !strings.Contains(out.String(), "rollout r-1 goes on") {
		t.Errorf("%v: %s", err, out)
	}
	if c.keeper.State().Active == nil {
		t.Error("the rollout was stopped as well")
	}
}

func TestRollbackWithoutCovetd(t *testing.T) {
	t.Parallel()
	c := startCovetd(t)
	c.want(0, "v1.0.0", "release", "add", "v1.0.0", "--", "true")
	c.want(0, "v1.1.0", "release", "add", "v1.1.0", "-e", "A=1", "--", "true")
	for i, v := range []string{"v1.0.0", "v1.1.0"} {
		if got := c.finish("r-"+itoa(i+1), rollout.Succeeded, "rollout", "start", v, "-w"); got.code != 0 {
			t.Fatalf("%+v", got)
		}
	}
	c.stop()
	c.wantItself(0, "covetd is not running", "status")
	c.wantItself(0, "it serves v1.0.0 when it starts", "rollback", "--reason", "covetd is dead, and v1.1.0 is why")
	c.wantItself(6, "covetd is not running", "rollout", "start", "v1.1.0")
	c.start()
	if s := c.keeper.State(); s.Stable != "v1.0.0" || s.Active != nil {
		t.Errorf("stable %s, active %v", s.Stable, s.Active)
	}
}
