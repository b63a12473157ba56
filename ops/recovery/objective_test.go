package recovery

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/covetpy/covet/ops/backup"
	"github.com/covetpy/covet/ops/journal"
	"github.com/covetpy/covet/ops/restore"
)

// durable is what a repository holds up to an LSN, with the last transaction at a time.
func durable(lsn backup.LSN, xid uint32, last time.Time) *restore.Durable {
	d := &restore.Durable{LSN: lsn, Last: &restore.Point{LSN: lsn, XID: xid, Time: last}}
	d.Backup.Stopped = last.Add(-time.Hour)
	return d
}

func TestExposure(t *testing.T) {
	t.Parallel()
	now := utc("2026-03-01 12:00:00")
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	gone := errors.New("connection refused")
	for name, c := range map[string]struct {
		d     *restore.Durable
		seen  []Position
		lost  error
		limit time.Duration
		now   time.Duration
		known bool
		over  bool
		basis string
	}{
		"no backup":              {d: nil, limit: time.Hour, over: true, basis: "no backup"},
		"all is archived":        {d: durable(100, 7, ago(3*time.Hour)), seen: []Position{{At: now, LSN: 200, NextXID: 8, Quiet: true}}, limit: time.Hour, known: true, basis: "every transaction"},
		"one is under way":       {d: durable(100, 7, ago(3*time.Hour)), seen: []Position{{At: now, LSN: 200, NextXID: 8}}, limit: time.Hour, now: 3 * time.Hour, known: true, over: true},
		"nothing newer":          {d: durable(200, 5, ago(3*time.Hour)), seen: []Position{{At: now, LSN: 200, NextXID: 8}}, limit: time.Hour, known: true, basis: "nothing was written"},
		"exactly the limit":      {d: durable(100, 7, ago(time.Hour)), seen: []Position{{At: now, LSN: 200, NextXID: 20}}, limit: time.Hour, now: time.Hour, known: true},
		"a nanosecond more":      {d: durable(100, 7, ago(time.Hour+1)), seen: []Position{{At: now, LSN: 200, NextXID: 20}}, limit: time.Hour, now: time.Hour + 1, known: true, over: true},
		"the archiver stands":    {d: durable(100, 7, ago(50*time.Minute)), seen: []Position{{At: ago(40 * time.Minute), LSN: 100, NextXID: 9}, {At: ago(20 * time.Minute), LSN: 150, NextXID: 12}, {At: now, LSN: 200, NextXID: 20}}, limit: 30 * time.Minute, now: 40 * time.Minute, known: true, over: true, basis: "last up to date"},
		"the server is silent":   {d: durable(100, 7, ago(2*time.Minute)), seen: []Position{{At: ago(time.Minute), LSN: 100, NextXID: 8, Quiet: true}}, lost: gone, limit: time.Minute, now: 2 * time.Minute, known: true, over: true, basis: "does not answer"},
		"its clock is ahead":     {d: durable(100, 7, now.Add(5*time.Minute)), seen: []Position{{At: now, Clock: now.Add(10 * time.Minute), LSN: 200, NextXID: 20}}, limit: time.Minute, now: 5 * time.Minute, known: true, over: true},
		"its clock is behind":    {d: durable(100, 7, ago(10*time.Minute)), seen: []Position{{At: now, Clock: ago(10 * time.Minute), LSN: 200, NextXID: 20}}, limit: time.Minute, known: true},
		"a second is no skew":    {d: durable(100, 7, ago(time.Minute)), seen: []Position{{At: now, Clock: now.Add(time.Second), LSN: 200, NextXID: 20}}, limit: time.Minute, now: time.Minute, known: true},
		"ahead, seen long ago":   {d: durable(100, 7, now.Add(5*time.Minute)), seen: []Position{{At: ago(time.Hour), Clock: ago(50 * time.Minute), LSN: 90, NextXID: 3}}, lost: gone, limit: time.Hour, now: 5 * time.Minute, known: true},
		"ahead, and never seen":  {d: durable(100, 7, now.Add(5*time.Minute)), limit: time.Hour, basis: "5m ahead"},
		"archived before looked": {d: durable(300, 30, ago(time.Minute)), seen: []Position{{At: now, LSN: 200, NextXID: 20}}, limit: time.Hour, known: true},
	} {
		got := exposure(c.d, c.seen, c.lost, now, c.limit)
		if got.Known != c.known || got.Over != c.over || got.Now.Std() != c.now || got.Limit.Std() != c.limit || !strings.Contains(got.Basis, c.basis) {
			t.Errorf("%s: %+v, want known %v, over %v, %s (%s)", name, got, c.known, c.over, c.now, c.basis)
		}
	}
}

func TestRecoveryTime(t *testing.T) {
	t.Parallel()
	d := durable(100, 7, utc("2026-03-01 12:00:00"))
	d.Backup.Bytes, d.Segments = 8e9, 40
	drill := backup.DrillResult{ID: "d", Backup: "b", Began: utc("2026-02-01 00:00:00"), Copied: backup.Elapsed(time.Minute), Recovery: backup.Elapsed(2 * time.Minute),
		Checks: []backup.Check{{What: "database", OK: true}}}
	failed := drill
	failed.Checks = []backup.Check{{What: "database"}}
	sizes := map[string]int64{"b": 4e9}
	for name, c := range map[string]struct {
		drills []backup.DrillResult
		sizes  map[string]int64
		want   time.Duration
		basis  string
	}{
		"nothing was measured":           {nil, nil, 10*time.Second + 100*time.Second + 10*time.Second, "assumed"},
		"a drill of half the size":       {[]backup.DrillResult{drill}, sizes, 3 * time.Minute, "measured by the drill"},
		"a drill of a backup that went":  {[]backup.DrillResult{drill}, nil, 2 * time.Minute, "measured by the drill"},
		"a failed drill measures speed":  {[]backup.DrillResult{failed}, sizes, 10*time.Second + 2*time.Minute + 10*time.Second, "of the drill"},
		"the newest that passed is told": {[]backup.DrillResult{drill, failed}, sizes, 3 * time.Minute, "measured by the drill"},
	} {
		got := recoveryTime(d, c.drills, c.sizes, speedOf(c.drills, c.sizes, nil), c.want)
		if got.Now.Std() != c.want || got.Over || !strings.Contains(got.Basis, c.basis) {
			t.Errorf("%s: %+v, want %s (%s)", name, got, c.want, c.basis)
		}
		if got := recoveryTime(d, c.drills, c.sizes, speedOf(c.drills, c.sizes, nil), c.want-1); !got.Over {
			t.Errorf("%s: a nanosecond over is %+v", name, got)
		}
	}
	if got := recoveryTime(nil, nil, nil, speed{}, time.Hour); got.Known || !got.Over {
		t.Errorf("without a backup: %+v", got)
	}
}

func TestForgotten(t *testing.T) {
	t.Parallel()
	m := Measure{Known: true, Now: journal.Duration(3 * time.Second), Limit: journal.Duration(time.Hour)}
	got := m.forgotten(utc("2026-03-01 12:00:00"), time.Hour)
	if got.Known || got.Over || !strings.Contains(got.Basis, "since 2026-03-01 12:00:00Z; it was 3s then") {
		t.Errorf("%+v", got)
	}
	if got := (Measure{}).forgotten(time.Time{}, time.Hour); got.Known || !strings.Contains(got.Basis, "never read") || got.Limit.Std() != time.Hour {
		t.Errorf("%+v", got)
	}
}
