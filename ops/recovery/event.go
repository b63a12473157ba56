package recovery

import (
	"fmt"
	"time"

	"github.com/covetpy/covet/ops/backup"
	"github.com/covetpy/covet/ops/journal"
)

// JobRan is the kind of the events that tell what came of a scheduled job; their data is an Outcome.
const JobRan journal.Kind = "recovery.job"

// Describe says an outcome in words.
func (o Outcome) Describe() string {
	switch {
	case o.Attempt == nil:
		return fmt.Sprintf("scheduled %s could not be started: %s", o.Kind, o.Says)
	case !o.Attempt.OK:
		return fmt.Sprintf("scheduled %s FAILED: %s", o.Kind, o.Attempt.Says)
	}
	return fmt.Sprintf("scheduled %s done in %s: %s", o.Kind, journal.Duration(o.Attempt.Ended.Sub(o.Attempt.Began).Round(time.Second)), o.Attempt.Says)
}

// Summary is a posture at a glance.
type Summary struct {
	At         time.Time `json:"at"`
	Unknown    string    `json:"unknown,omitempty"`
	Repository string    `json:"repository"`
	RPO        Measure   `json:"rpo"`
	RTO        Measure   `json:"rto"`
	Lag        int64     `json:"wal_lag_bytes"`
	Backups    int       `json:"backups"`
	Backup     time.Time `json:"last_backup,omitzero"` // the end of the newest
	From       time.Time `json:"window_from,omitzero"` // the oldest moment that can be restored to
	Gaps       int       `json:"gaps"`
	Drill      *Drilled  `json:"last_drill,omitempty"`
	// Spool is what is on the database's machine alone; nil: there is no spool.
	Spool *backup.SpoolState `json:"wal_spool,omitempty"`
}

// Drilled is the newest drill.
type Drilled struct {
	At       time.Time        `json:"at"`
	Passed   bool             `json:"passed"`
	Recovery journal.Duration `json:"recovery"`
}

// Summary is the posture at a glance.
func (p *Posture) Summary() *Summary {
	if p == nil {
		return nil
	}
	s := &Summary{At: p.At, Unknown: p.Unknown, Repository: p.Repository, RPO: p.RPO, RTO: p.RTO, Lag: p.Lag, Backups: len(p.Backups), Gaps: len(p.Gaps), Spool: p.Spool}
	if len(p.Backups) > 0 {
		s.Backup = p.Backups[0].Stopped
	}
	if len(p.Coverage) > 0 {
		s.From = p.Coverage[0].From
	}
	if len(p.Drills) > 0 {
		d := p.Drills[0]
		s.Drill = &Drilled{At: d.Began, Passed: d.Passed(), Recovery: journal.Duration(d.Recovery)}
	}
	return s
}
