package recovery

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/covetpy/covet/ops/backup"
	"github.com/covetpy/covet/ops/health"
	"github.com/covetpy/covet/ops/restore"
)

// scene is a monitor over a repository and a server that do as they are told, with the incidents that come of it.
type scene struct {
	t         *testing.T
	m         *Monitor
	facts     Facts
	silent    error
	server    Position
	lost      error
	incidents health.Incidents
}

func newScene(t *testing.T) *scene {
	s := &scene{t: t}
	s.m = &Monitor{
		Look: func(context.Context) (Facts, error) {
			f := s.facts
			f.At = time.Now()
			return f, s.silent
		},
		Ask: func(context.Context) (Position, error) {
			p := s.server
			p.At = time.Now()
			return p, s.lost
		},
		Raise:  s.raise,
		Limits: Objectives{RPO: 5 * time.Minute, RTO: time.Hour}, Log: slog.New(slog.DiscardHandler),
	}
	s.server = Position{LSN: 100, NextXID: 8, Quiet: true}
	s.archived(100, 7)
	return s
}

// archived is a repository that holds everything up to an LSN and a transaction, as of now.
func (s *scene) archived(lsn backup.LSN, xid uint32) {
	d := durable(lsn, xid, time.Now())
	d.Backup.Bytes = 1e9
	s.facts.Heads, s.facts.Durable = []backup.Head{d.Backup}, d
}

func (s *scene) raise(_ context.Context, vs []Verdict) error {
	events, err := health.SettleAll(s.incidents, health.DefaultMatrix(), vs, time.Now())
	if err != nil {
		return err
	}
	for _, e := range events {
		if s.incidents, err = s.incidents.Fold(e); err != nil {
			return err
		}
	}
	return nil
}

// look looks after a while, and returns the severity of the open incident whose reason has the words.
func (s *scene) look(after time.Duration, words string) health.Severity {
	s.t.Helper()
	time.Sleep(after)
	s.m.look(s.t.Context())
	for _, i := range s.incidents.OpenOnes() {
		if strings.Contains(i.Reason, words) {
			return i.Severity
		}
	}
	return health.None
}

func (s *scene) is(got, want health.Severity, when string) {
	s.t.Helper()
	if got != want {
		s.t.Errorf("%s: the incident is %q, want %q", when, got, want)
	}
}

// What a verification found damaged is an incident for as long as it is so.
func TestDamageIsAnIncident(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t)
		older := backup.Head{ID: "older", Stopped: time.Now().Add(-time.Hour)}
		newest := s.facts.Heads[0]
		newest.ID = "newest"
		s.facts.Heads = []backup.Head{older, newest}
		found := func(id string) {
			s.facts.Verified = map[string]backup.Verified{id: {ID: id, Damage: []string{"a pack"}}}
		}
		found("gone")
		s.is(s.look(0, "damaged"), health.None, "of a backup that has expired")
		found("older")
		s.is(s.look(time.Minute, "backup older is damaged: a pack"), health.P3, "of an older backup")
		found("newest")
		s.is(s.look(time.Minute, "backup newest is damaged: a pack"), health.P2, "of the newest backup")
		found("gone")
		s.is(s.look(time.Minute, "damaged"), health.None, "when it is found good again")
		found(backup.LogID)
		s.is(s.look(time.Minute, "the archived WAL is damaged"), health.P2, "of the log")
	})
}

// Writes go on and nothing is archived: an incident when the promise is broken, worse when it is far behind, and closed by
// itself when the archive has caught up.
func TestArchiverStopped(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t)
		s.is(s.look(0, "would be lost"), health.None, "all is archived")
		s.server = Position{LSN: 200, NextXID: 20}
		s.is(s.look(5*time.Minute, "would be lost"), health.None, "at the limit")
		s.is(s.look(time.Second, "would be lost"), health.P2, "over it")
		s.is(s.look(14*time.Minute, "would be lost"), health.P2, "not yet four times")
		s.is(s.look(time.Minute, "would be lost"), health.P1, "four times")
		if p := s.m.Posture(); !p.RPO.Over || p.Lag != 100 {
			t.Errorf("the posture is %+v", p)
		}
		s.archived(200, 19)
		s.is(s.look(time.Second, "would be lost"), health.None, "caught up")
		if n := len(s.incidents); n != 1 {
			t.Errorf("there were %d incidents", n)
		}
	})
}

// The repository does not answer: what is shown is unknown, not as good as it was; an incident comes after a while, and no
// other one is closed for it.
func TestRepositorySilent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t)
		s.server = Position{LSN: 200, NextXID: 20}
		s.is(s.look(6*time.Minute, "would be lost"), health.P2, "over")
		s.silent = errors.New("connection refused")
		s.is(s.look(time.Minute, "cannot be read"), health.None, "just now")
		p := s.m.Posture()
		if p.Unknown == "" || p.RPO.Known || p.RPO.Over || p.RTO.Known || p.Lag != -1 || !strings.Contains(p.RPO.Basis, "it was 6m then") {
			t.Errorf("the posture is %+v", p)
		}
		s.is(s.look(2*time.Minute-time.Second, "cannot be read"), health.None, "not for long")
		s.is(s.look(time.Second, "cannot be read"), health.P2, "for two minutes")
		s.is(s.look(4*time.Minute, "cannot be read"), health.P1, "for longer than may be lost")
		s.is(s.look(0, "would be lost"), health.P2, "what was wrong before")
		if p := s.m.Posture(); !strings.Contains(p.RPO.Basis, "it was 6m then") {
			t.Errorf("it has forgotten what was so last: %+v", p.RPO)
		}
		s.silent = nil
		s.archived(200, 19)
		s.is(s.look(time.Second, "cannot be read"), health.None, "it answers again")
		s.is(s.look(0, "would be lost"), health.None, "and has everything")
		if p := s.m.Posture(); p.Unknown != "" || !p.RPO.Known {
			t.Errorf("the posture is %+v", p)
		}
	})
}

// A server whose clock is ahead does not hide that nothing is archived; one that is behind raises no alarm.
func TestClocksApart(t *testing.T) {
	t.Parallel()
	for _, apart := range []time.Duration{time.Hour, -time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			s := newScene(t)
			d := durable(100, 7, time.Now().Add(apart))
			s.facts.Heads, s.facts.Durable = []backup.Head{d.Backup}, d
			s.m.Ask = func(context.Context) (Position, error) {
				return Position{At: time.Now(), Clock: time.Now().Add(apart), LSN: 200, NextXID: 20}, nil
			}
			s.is(s.look(5*time.Minute, "would be lost"), health.None, "at the limit")
			s.is(s.look(time.Second, "would be lost"), health.P2, "over it")
		})
	}
}

// There is no backup, then there is; a drill fails, the next one passes.
func TestIncidentsSettle(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t)
		s.facts = Facts{}
		s.is(s.look(0, "no backup"), health.P1, "without a backup")
		s.archived(100, 7)
		s.is(s.look(time.Second, "no backup"), health.None, "with one")
		bad := backup.DrillResult{ID: "d-1", Began: time.Now(), Recovery: backup.Elapsed(time.Minute), Checks: []backup.Check{{What: "orders", Says: "answered false"}}}
		s.facts.Drills = []backup.DrillResult{bad}
		s.is(s.look(time.Second, "answered false"), health.P2, "after a failed drill")
		good := bad
		good.ID, good.Checks = "d-2", []backup.Check{{What: "orders", OK: true}}
		s.facts.Drills = append(s.facts.Drills, good)
		s.is(s.look(time.Second, "answered false"), health.None, "after a good one")
		slow := good
		slow.ID, slow.Recovery = "d-3", backup.Elapsed(time.Hour+time.Second)
		s.facts.Drills = append(s.facts.Drills, slow)
		s.is(s.look(time.Second, "restore would take"), health.P2, "too slow")
		slow.Recovery = backup.Elapsed(4 * time.Hour)
		s.facts.Drills = append(s.facts.Drills, slow)
		s.is(s.look(time.Second, "restore would take"), health.P1, "far too slow")
	})
}

// One failure of a scheduled job is tried again soon; the third is more than chance.
func TestJobsThatFail(t *testing.T) {
	t.Parallel()
	now := utc("2026-03-01 12:00:00")
	daily, err := ParseCadence("@daily")
	if err != nil {
		t.Fatal(err)
	}
	attempt := backup.Attempt{Slot: now, Began: now, Ended: now, Says: "disk full"}
	for n, want := range []health.Severity{health.None, health.P3, health.P3, health.P2} {
		f := Facts{Attempts: map[Kind][]backup.Attempt{}, Durable: &restore.Durable{}}
		for range n {
			f.Attempts[Backup] = append(f.Attempts[Backup], attempt)
		}
		for _, j := range (Schedule{Backup: daily}).jobs(f, now) {
			if v := judgeJob(j, now); v.Severity != want || n > 0 && !strings.Contains(v.Reason, "disk full") {
				t.Errorf("after %d failures: %+v, want %q", n, v, want)
			}
		}
	}
}
