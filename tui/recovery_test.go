package tui

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/covetpy/covet/ops/backup"
	"github.com/covetpy/covet/ops/console"
	"github.com/covetpy/covet/ops/journal"
	"github.com/covetpy/covet/ops/recovery"
	"github.com/covetpy/covet/ops/restore"
)

// vault is a repository whose every answer a test decides.
type vault struct {
	mu      sync.Mutex
	posture recovery.Posture
	why     error // there is no posture
	record  *restore.Operation
	loss    time.Duration
	hash    string
	planned []console.RestoreRequest
	begun   []console.RestoreRequest
	resumed []string
	jobs    []recovery.Kind
}

func (v *vault) change(f func()) {
	v.mu.Lock()
	defer v.mu.Unlock()
	f()
}

func (v *vault) Posture(context.Context) (recovery.Posture, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.posture, v.why
}

func (v *vault) Newest() (*restore.Operation, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.copied(), nil
}

// copied is the record as whoever asks gets it: the console may read its own while a test changes this one.
func (v *vault) copied() *restore.Operation {
	if v.record == nil {
		return nil
	}
	o := *v.record
	o.Steps = append([]restore.Step(nil), o.Steps...)
	return &o
}

func (v *vault) plan(in console.RestoreRequest) console.Plan {
	return console.Plan{
		Hash: v.hash, Op: "restore", Service: "shop", Env: "production", Lose: journal.Duration(v.loss), At: t0, Duration: journal.Duration(4 * time.Minute),
		Summary: "bring the database back to " + in.Target.String(), Undo: "restore to the newest point again",
		Steps: []console.PlanStep{{Do: "stop the service: TRAFFIC STOPS HERE", Touches: "production/shop"}, {Do: "copy backup B over it", Touches: "/srv/pg"}},
	}
}

func (v *vault) PlanRestore(_ context.Context, in console.RestoreRequest) (console.Plan, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.planned = append(v.planned, in)
	return v.plan(in), nil
}

func (v *vault) Restore(_ context.Context, in console.RestoreRequest) (*restore.Operation, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if in.PlanHash != v.hash {
		return nil, &console.Error{Code: console.CodeStalePlan, Message: "stale"}
	}
	v.begun = append(v.begun, in)
	v.record = running(in.Target.String())
	return v.copied(), nil
}

func (v *vault) Resume(_ context.Context, id string, abandon bool) (*restore.Operation, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.resumed = append(v.resumed, fmt.Sprintf("%s %v", id, abandon))
	return v.copied(), nil
}

func (v *vault) RunJob(_ context.Context, k recovery.Kind) (string, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.jobs = append(v.jobs, k)
	return string(k) + " begun", nil
}

// running is a restore in the middle of its copy, on which nobody works.
func running(target string) *restore.Operation {
	began := t0.Add(-90 * time.Second)
	return &restore.Operation{
		ID: "rs-1", Dir: "/srv/pg", Target: target, Backup: "20260314T020000Z", Release: "v1.0.0", By: "ada", Began: began, PID: 1 << 30,
		Loss: backup.Elapsed(4*time.Minute + 23*time.Second),
		Steps: []restore.Step{
			{Name: "stop-service", Do: "stop the service", State: restore.Done, Began: began, Ended: began.Add(2 * time.Second), Says: "stopped"},
			{Name: "copy", Do: "copy backup 20260314T020000Z", State: restore.Doing, Began: began.Add(2 * time.Second)},
			{Name: "start-service", Do: "start the service", State: restore.Pending},
		},
		Progress: &backup.Progress{Phase: "copy", Done: 3 << 30, Total: 12 << 30, Elapsed: 60 * time.Second},
	}
}

// kept is a database with three backups, a gap and a failed job.
func kept() *vault {
	at := func(d time.Duration) time.Time { return t0.Add(-d) }
	b := func(d time.Duration, id string, checked bool) recovery.BackupState {
		s := recovery.BackupState{ID: id, Started: at(d + 4*time.Minute), Stopped: at(d), Bytes: 12 << 30, Stored: 3 << 28, Timeline: 1}
		if checked {
			s.Verified = &backup.Verified{At: at(d - time.Hour)}
		}
		return s
	}
	hurt := b(50*time.Hour, "20260312T120000Z", true)
	hurt.Verified.Damage = []string{"pack 3"}
	limits := recovery.DefaultObjectives()
	return &vault{hash: "abc123", loss: 4*time.Minute + 23*time.Second, posture: recovery.Posture{
		At: t0, Repository: "s3://backups/shop", Service: "shop", System: "7000000000000000001", Database: "answers",
		RPO:      recovery.Measure{Known: true, Now: journal.Duration(4 * time.Second), Limit: journal.Duration(limits.RPO), Basis: "since the last archived transaction, at most"},
		RTO:      recovery.Measure{Known: true, Now: journal.Duration(12 * time.Minute), Limit: journal.Duration(limits.RTO), Basis: "measured by the drill of 2026-03-14 06:00Z"},
		Reaches:  &restore.Point{LSN: 0x3A9F0012C8, Time: at(4 * time.Second), XID: 815},
		Coverage: []restore.Span{{From: at(50 * time.Hour), To: at(20 * time.Hour)}, {From: at(12 * time.Hour), To: at(3 * time.Second)}},
		Gaps:     []restore.Gap{{Timeline: 1, First: "00000001000000000000002A", Last: "00000001000000000000002C", Segments: 3}},
		Archive:  recovery.Archive{Segments: 412, Bytes: 2 << 30},
		Backups:  []recovery.BackupState{b(12*time.Hour, "20260314T020000Z", true), b(36*time.Hour, "20260313T020000Z", false), hurt},
		Drills:   []backup.DrillResult{{ID: "d1", Backup: "20260314T020000Z", Began: at(8 * time.Hour), Recovery: backup.Elapsed(12 * time.Minute), Checks: []backup.Check{{What: "amcheck", OK: true}}}},
		Jobs: []recovery.JobState{
			{Kind: recovery.Backup, Cadence: "0 2 * * *", Last: &backup.Attempt{OK: true, Ended: at(12 * time.Hour), Says: "20260314T020000Z, 12.9 GB, 805 MB stored"}, Next: t0.Add(12 * time.Hour)},
			{Kind: recovery.Verify, Cadence: "0 5 * * *", Last: &backup.Attempt{Ended: at(9 * time.Hour), Says: "pack 3 is damaged"}, Failures: 2, Next: t0.Add(15 * time.Hour)},
		},
	}}
}

// showVault is a console over the canary and the vault.
func showVault(t *testing.T, v *vault, w, h int, change func(*Options)) *shown {
	t.Helper()
	return show(t, canary(), w, h, func(o *Options) {
		o.Recovery = v
		if change != nil {
			change(o)
		}
	})
}

// showWriting is showVault in write mode; later lets the time pass in which a new dialog takes no keys.
func showWriting(t *testing.T, v *vault) (s *shown, later func()) {
	t.Helper()
	var passed atomic.Int64
	s = showVault(t, v, 100, 40, func(o *Options) {
		o.ReadOnly = false
		o.Now = func() time.Time { return t0.Add(time.Duration(passed.Load())) }
	})
	s.loaded()
	return s, func() { passed.Add(int64(swallow)) }
}

func TestScreensOfRecovery(t *testing.T) {
	t.Parallel()
	for _, size := range []struct{ w, h int }{{80, 24}, {120, 40}, {200, 60}, {40, 10}, {500, 5}} {
		for key, name := range map[string]string{"1": "posture", "4": "backups", "t": "restore"} {
			t.Run(fmt.Sprintf("%s-%dx%d", name, size.w, size.h), func(t *testing.T) {
				t.Parallel()
				v := kept()
				if name == "restore" && size.w == 200 {
					v.record = running("2026-03-14 13:57:48Z")
				}
				s := showVault(t, v, size.w, size.h, nil)
				if size.h > 10 {
					s.loaded()
				}
				s.press(key)
				s.golden(fmt.Sprintf("%s-%dx%d", name, size.w, size.h))
			})
		}
	}
	t.Run("ascii", func(t *testing.T) {
		t.Parallel()
		s := showVault(t, kept(), 120, 40, func(o *Options) { o.ASCII = true })
		s.loaded()
		s.press("t")
		s.golden("restore-ascii-120x40")
		for i, line := range s.term.Text() {
			if line > 126 {
				t.Fatalf("character %d is %q", i, line)
			}
		}
	})
}

// A restore goes from the point over the plan and two typed confirmations to a process that is watched.
func TestRestoreFromThePage(t *testing.T) {
	t.Parallel()
	v := kept()
	s, later := showWriting(t, v)
	s.press("t")
	s.has("13:59:11", "just before the deployment of v1.1.0", "which serves now")
	s.press("H")
	s.has("13:58:11Z", "1m before the deployment of v1.1.0")
	s.press("S")
	s.has("plan: Restore the database", "type production/shop", "lose 4m23s")
	later()
	s.press("production/shop\r")
	s.has("not armed")
	s.press("\r") // the loss is not typed yet
	s.press("lose 4m22s\r")
	s.has("not armed")
	s.press("\x7f\x7f3s")
	s.has("armed: enter runs it")
	s.press("\r")
	s.has("run rs-1", "copy backup 20260314T020000Z", "3.0Gi of 12Gi", "STANDS STILL", "R goes on with it")
	v.change(func() {
		if len(v.begun) != 1 {
			t.Fatalf("%d restores were begun", len(v.begun))
		}
		in := v.begun[0]
		want := time.Date(2026, 3, 14, 13, 58, 11, 0, time.UTC)
		if !in.Target.Time.Equal(want) || in.PlanHash != "abc123" || in.Release != "v1.0.0" || in.AcceptLoss != v.loss+typingAllowed+swallow {
			t.Errorf("asked for %+v", in)
		}
	})
	s.press("S")
	s.has("rs-1 is not finished")
	s.press("R")
	s.has("step at which it stands")
	later()
	s.press("\r")
	s.until("the restore to be taken up", func(string) bool {
		v.mu.Lock()
		defer v.mu.Unlock()
		return len(v.resumed) == 1 && v.resumed[0] == "rs-1 false"
	})
	v.change(func() { v.record.Ended = t0; v.record.Steps[1].State = restore.Done })
	s.has("done 0s ago", "rs-1")
}

// What cannot be restored to is said before a plan is asked for, and a plan that is out of date is made anew.
func TestRestoreIsRefused(t *testing.T) {
	t.Parallel()
	v := kept()
	s, later := showWriting(t, v)
	s.press("tg")
	s.has("restore to which point?")
	later()
	s.press("2026-03-13 20:00:00Z\r")
	s.has("there is a gap in the archived log")
	s.press("S")
	s.has("Restore the database to this point: there is a gap")
	s.press("m")
	s.has("1s after the end of backup 20260314T020000Z")
	s.press("n")
	s.has("the newest point", "nothing that is archived")
	s.press("<")
	s.press("S")
	s.has("type production/shop")
	later()
	v.change(func() { v.hash = "other" })
	s.press("production/shop\r")
	s.press("lose 4m23s\r")
	s.has("Things changed since the plan was made")
	v.change(func() {
		if len(v.begun) != 0 {
			t.Errorf("begun: %+v", v.begun)
		}
	})
}

// The pages are there when the service is not.
func TestRecoveryWithoutTheService(t *testing.T) {
	t.Parallel()
	port := canary()
	port.down = errNoSocket
	v := kept()
	var passed atomic.Int64
	s := show(t, port, 100, 40, func(o *Options) {
		o.Recovery = v
		o.Now = func() time.Time { return t0.Add(time.Duration(passed.Load())) }
	})
	s.has("covetd does not answer")
	s.press("4")
	s.has("s3://backups/shop", "20260313T020000Z", "412 WAL segments")
	s.press("t")
	s.has("point in time")
	s.press("w")
	s.has("type write to arm it")
	passed.Add(int64(swallow))
	s.press("write\r")
	s.has("write mode is on")
	s.press("S")
	s.has("type production/shop", "lose 4m23s")
	passed.Add(int64(swallow))
	s.press("\x1b")
	s.until("no dialog", func(screen string) bool { return !strings.Contains(screen, "lose 4m23s") })
	v.change(func() { v.why = errors.New("connection refused by backups.example.com") })
	s.press("r")
	s.has("ago: connection refused by backups.example.com")
}

func TestJobFromThePage(t *testing.T) {
	t.Parallel()
	v := kept()
	s, later := showWriting(t, v)
	s.press("4S")
	s.has("do what now?", "drill")
	s.press("\r")
	s.has("backup now")
	later()
	s.press("\r")
	s.has("backup begun")
	v.change(func() {
		if len(v.jobs) != 1 || v.jobs[0] != recovery.Backup {
			t.Errorf("%v", v.jobs)
		}
	})
}

func TestParsePoint(t *testing.T) {
	t.Parallel()
	at := func(s string) restore.Target {
		when, err := time.Parse(time.RFC3339, s)
		if err != nil {
			t.Fatal(err)
		}
		return restore.Target{Kind: restore.AtTime, Time: when}
	}
	for text, want := range map[string]restore.Target{
		"2026-03-01 13:57:48Z":      at("2026-03-01T13:57:48Z"),
		"2026-03-01T13:57:48+02:00": at("2026-03-01T11:57:48Z"),
		"2026-03-01 13:57":          at("2026-03-01T13:57:00Z"),
		"13:57:48":                  at("2026-03-14T13:57:48Z"),
		"23:00":                     at("2026-03-13T23:00:00Z"), // t0 is at 14:02
		"16/B374D848":               {Kind: restore.AtLSN, LSN: 0x16B374D848},
		"xid 4711":                  {Kind: restore.AtXID, XID: 4711},
		"name before it":            {Kind: restore.AtName, Name: "before it"},
		"newest":                    {Kind: restore.Latest},
	} {
		got, err := parsePoint(text, t0)
		if err != nil || got.Kind != want.Kind || !got.Time.Equal(want.Time) || got.LSN != want.LSN || got.XID != want.XID || got.Name != want.Name {
			t.Errorf("%s: %+v %v, want %+v", text, got, err, want)
		}
	}
	for _, bad := range []string{"yesterday", "xid many", "25:00", "xid", "2026-13-01 00:00:00Z"} {
		if got, err := parsePoint(bad, t0); err == nil || !strings.Contains(err.Error(), "13:57:48") && !strings.Contains(err.Error(), "transaction") {
			t.Errorf("%s: %+v %v", bad, got, err)
		}
	}
}
