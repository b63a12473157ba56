package recovery

import (
	"slices"
	"time"

	"github.com/covetpy/covet/ops/backup"
	"github.com/covetpy/covet/ops/restore"
)

// Posture is how recoverable a database is just now.
type Posture struct {
	At         time.Time            `json:"at"`
	Repository string               `json:"repository"`
	Service    string               `json:"service"`
	System     string               `json:"system_id,omitempty"`
	Unknown    string               `json:"unknown,omitempty"` // why nothing newer than At is known
	Database   string               `json:"database"`          // "answers", or why not
	RPO        Measure              `json:"rpo"`
	RTO        Measure              `json:"rto"`
	Lag        int64                `json:"wal_lag_bytes"` // written and not archived; -1: not known
	Reaches    *restore.Point       `json:"reaches,omitempty"`
	Coverage   []restore.Span       `json:"coverage"` // the recovery window, without its gaps
	Gaps       []restore.Gap        `json:"gaps"`
	Archive    Archive              `json:"archive"`
	Backups    []BackupState        `json:"backups"` // newest first
	Drills     []backup.DrillResult `json:"drills"`  // newest first
	Jobs       []JobState           `json:"jobs"`
	Spool      *backup.SpoolState   `json:"wal_spool,omitempty"` // WAL that is on this machine alone; nil: there is no spool
	Verdicts   []Verdict            `json:"verdicts"`
}

// BackupState is one backup, and whether it was read back.
type BackupState struct {
	ID       string           `json:"id"`
	Label    string           `json:"label,omitempty"`
	Started  time.Time        `json:"started"`
	Stopped  time.Time        `json:"stopped"`
	Bytes    int64            `json:"bytes"`
	Stored   int64            `json:"stored_bytes"`
	Timeline backup.Timeline  `json:"timeline"`
	Verified *backup.Verified `json:"verified,omitempty"` // nil: never
}

// drillsShown bounds the drills in a posture.
const drillsShown = 20

// Observed is what a look at the database server gave.
type Observed struct {
	Positions []Position // over time, the oldest first
	Err       error      // why the newest could not be read
	Unnamed   bool       // no server is configured: there is nothing to be asked
}

// Judge works out the posture from what the repository holds and the server said.
func Judge(f Facts, o Observed, s Schedule, limits Objectives, now time.Time) Posture {
	p := Posture{
		At: now, Repository: f.Repository, Service: f.Service, Database: "answers", Lag: -1, Archive: f.Archive,
		Coverage: f.Coverage, Gaps: f.Gaps, Backups: []BackupState{}, Drills: []backup.DrillResult{}, Jobs: s.jobs(f, now), Spool: f.Spool,
	}
	switch {
	case o.Unnamed:
		p.Database = "no server is named"
	case o.Err != nil:
		p.Database = o.Err.Error()
	}
	if f.System != 0 {
		p.System = f.System.String()
	}
	p.RPO = exposure(f.Durable, o.Positions, o.Err, now, limits.RPO)
	p.RTO = recoveryTime(f.Durable, f.Drills, f.sizes(), speedOf(f.Drills, f.sizes(), f.Verified), limits.RTO)
	if f.Durable != nil {
		p.Reaches = f.Durable.Last
		if n := len(o.Positions); n > 0 && o.Err == nil {
			p.Lag = max(int64(o.Positions[n-1].LSN)-int64(f.Durable.LSN), 0)
		}
	}
	for _, h := range slices.Backward(f.Heads) {
		b := BackupState{ID: h.ID, Label: h.Label, Started: h.Started, Stopped: h.Stopped, Bytes: h.Bytes, Stored: h.StoredBytes, Timeline: h.Timeline}
		if v, ok := f.Verified[h.ID]; ok {
			b.Verified = &v
		}
		p.Backups = append(p.Backups, b)
	}
	for _, d := range slices.Backward(f.Drills) {
		if len(p.Drills) < drillsShown {
			p.Drills = append(p.Drills, d)
		}
	}
	if p.Coverage == nil {
		p.Coverage = []restore.Span{}
	}
	if p.Gaps == nil {
		p.Gaps = []restore.Gap{}
	}
	p.Verdicts = judge(f, p, now)
	return p
}
