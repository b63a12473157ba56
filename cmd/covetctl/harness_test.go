package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/covetpy/covet/ops/console"
	"github.com/covetpy/covet/ops/health"
	"github.com/covetpy/covet/ops/journal"
	"github.com/covetpy/covet/ops/rollout"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestMain is covetctl itself where a test runs its own program as that.
func TestMain(m *testing.M) {
	if os.Getenv("COVETCTL_ITSELF") != "" {
		main()
	}
	time.Local = time.UTC
	os.Exit(m.Run())
}

// fake is a Port that answers what the test wrote down.
type fake struct {
	ask     map[console.Op]any // a value, an error, or a func(console.Query) any
	do      map[console.Op]any // likewise with func(json.RawMessage) any
	watches []connection       // one after the other
	lines   []console.LogLine

	mu    sync.Mutex
	did   []string
	after []journal.Seq
}

// connection is what the live stream says until it breaks.
type connection struct {
	updates []console.Update
	err     error // what it ends with; nil waits for the caller to give up
}

func (f *fake) Ask(_ context.Context, op console.Op, q console.Query, out any) error {
	answer, ok := f.ask[op]
	if !ok {
		return fmt.Errorf("the test has no answer to %s", op)
	}
	if fn, ok := answer.(func(console.Query) any); ok {
		answer = fn(q)
	}
	return deliver(answer, out)
}

func (f *fake) Do(_ context.Context, op console.Op, in, out any) error {
	raw, err := json.Marshal(in)
	if err != nil {
		return err
	}
	f.mu.Lock()
	f.did = append(f.did, string(op)+" "+string(raw))
	f.mu.Unlock()
	answer, ok := f.do[op]
	if !ok {
		return fmt.Errorf("the test has no answer to %s", op)
	}
	if fn, ok := answer.(func(json.RawMessage) any); ok {
		answer = fn(raw)
	}
	return deliver(answer, out)
}

func deliver(answer, out any) error {
	if err, ok := answer.(error); ok {
		return err
	}
	raw, err := json.Marshal(answer)
	if err != nil {
		return err
	}
	return json.Unmarshal(raw, out)
}

func (f *fake) Watch(ctx context.Context, after journal.Seq) iter.Seq2[console.Update, error] {
	return func(yield func(console.Update, error) bool) {
		f.mu.Lock()
		n := len(f.after)
		f.after = append(f.after, after)
		f.mu.Unlock()
		if n >= len(f.watches) {
			yield(console.Update{}, &console.Error{Code: console.CodeUnreachable, Message: "gone for good"})
			return
		}
		for _, u := range f.watches[n].updates {
			if !yield(u, nil) {
				return
			}
		}
		if err := f.watches[n].err; err != nil {
			yield(console.Update{}, err)
			return
		}
		<-ctx.Done()
	}
}

func (f *fake) Logs(context.Context, console.LogQuery) iter.Seq2[console.LogLine, error] {
	return func(yield func(console.LogLine, error) bool) {
		for _, l := range f.lines {
			if !yield(l, nil) {
				return
			}
		}
	}
}

// session is what came of one run.
type session struct {
	code     int
	out, err string
}

var noon = time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)

// newTestApp is covetctl with a port of the test's, a clock that stands still, and no terminal.
func newTestApp(port console.Port, out, errOut io.Writer, args ...string) *app {
	env := map[string]string{"COVET_SOCKET": "/run/covet/covetd.sock"}
	a := newApp(args, bytes.NewReader(nil), out, errOut, func(k string) string { return env[k] }, parts{
		online: func(string) console.Port { return port },
		build:  build{Version: "v1.2.3", Revision: "0123456789abcdef", Go: "go1.26"},
	})
	a.now = func() time.Time { return noon }
	a.wait = func() <-chan time.Time { return time.After(0) }
	a.terminal = func(io.Writer) bool { return false }
	return a
}

func ctl(t *testing.T, port console.Port, args ...string) session {
	t.Helper()
	var out, errOut bytes.Buffer
	code := newTestApp(port, &out, &errOut, args...).run(t.Context())
	return session{code, out.String(), errOut.String()}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: got\n%s\nwant\n%s", file, got, want)
	}
}

func ago(d time.Duration) time.Time { return noon.Add(-d) }

func canary() rollout.Rollout {
	t, err := rollout.Tuning{Bake: journal.Duration(time.Minute), Approve: []int{25}}.Normalize()
	if err != nil {
		panic(err)
	}
	return rollout.Rollout{
		ID: "r-3", Purpose: rollout.Deploy, Strategy: rollout.Canary, From: "v1.0.0", To: "v1.1.0", Tuning: t,
		Steps: rollout.Steps(t, 4, 4), Reason: "new checkout", By: "ada", StartedAt: ago(3 * time.Minute),
		Step: 1, Phase: rollout.Baking, PhaseAt: ago(30 * time.Second), Weight: 10,
	}
}

func twoReleases() []rollout.Release {
	m := rollout.Manifest{Command: []string{"/srv/shop-v1.1.0", "--greeting", "hello world"}, Instances: 4, Env: map[string]string{"LOG": "info", "API_KEY": "••••"}, Dir: "/srv"}.WithDefaults()
	older := m
	older.Command = []string{"/srv/shop-v1.0.0"}
	return []rollout.Release{
		{Version: "v1.1.0", Digest: m.Digest(), Manifest: m, AddedAt: ago(time.Hour), AddedBy: "ada"},
		{Version: "v1.0.0", Digest: older.Digest(), Manifest: older, AddedAt: ago(76 * time.Hour), AddedBy: "bob\x1b[31m"},
	}
}

func incident() health.Incident {
	return health.Incident{
		ID: "i-2", Severity: health.P1, Reason: "error rate 12% of v1.1.0", Release: "v1.1.0", Rollout: "r-3",
		Action: "roll back within 15 minutes", Approver: "on-call lead", Deadline: noon.Add(11 * time.Minute), Automatic: true,
		OpenedAt: ago(4 * time.Minute), OpenedBy: "covetd",
		Rows: []health.Row{{Arm: "candidate", Signal: "burn 5m", Value: "120.0", Limit: "24.0", Severity: health.P1}, {Arm: "stable", Signal: "burn 5m", Value: "0.0", Limit: "24.0"}},
	}
}

func busy() console.Status {
	r := canary()
	return console.Status{
		Service: "shop", Environment: "production", Platform: "local", Version: "v1.2.3", PID: 42, StartedAt: ago(26 * time.Hour), At: noon, Seq: 20,
		Stable: "v1.0.0", Previous: "v0.9.0", Weights: rollout.Weights{"v1.0.0": 90, "v1.1.0": 10},
		Releases: []console.ReleaseStatus{
			{Version: "v1.0.0", Role: console.RoleStable, Weight: 90, Ready: 4, Wanted: 4, Traffic: console.Point{RequestRate: 90, P50: 2.5, P95: 9.1, P99: 20, CPU: 0.5, RSS: 80 << 20}},
			{Version: "v1.1.0", Role: console.RoleCandidate, Weight: 10, Ready: 0, Wanted: 1, Restarts: 2, Traffic: console.Point{RequestRate: 9.9, ErrorRate: 0.12, P50: 3, P95: 11, P99: 1500, CPU: 0.125, RSS: 20 << 20}},
		},
		Traffic:   console.Point{RequestRate: 99.9, ErrorRate: 0.012, P50: 2.5, P95: 9.5, P99: 31, Connections: 7},
		Burn:      []console.Burn{{Window: journal.Duration(5 * time.Minute), Rate: 12}},
		Rollout:   &r,
		Incidents: []health.Incident{incident()},
		Problems:  []string{"disk 91% full"},
	}
}

func event(seq journal.Seq, kind journal.Kind, subject string, data any) console.Update {
	e := journal.New(noon.Add(time.Duration(seq)*time.Second), "covetd", kind, subject, data)
	e.Seq = seq
	return console.Update{Event: &e}
}

func status(change func(*console.Status)) console.Update {
	st := busy()
	change(&st)
	return console.Update{Status: &st}
}
