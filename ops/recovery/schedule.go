package recovery

import (
	"time"

	"github.com/covetpy/covet/ops/backup"
)

// Kind is a job of the schedule.
type Kind string

// The kinds, in the order in which they run where several are due.
const (
	Backup Kind = "backup"
	Expire Kind = "expire"
	Verify Kind = "verify"
	Drill  Kind = "drill"
)

// Kinds lists them all.
func Kinds() []Kind { return []Kind{Backup, Expire, Verify, Drill} }

// Schedule says when each job is due.
type Schedule map[Kind]Cadence

// Empty says whether nothing is ever due.
func (s Schedule) Empty() bool {
	for _, c := range s {
		if !c.Off() {
			return false
		}
	}
	return true
}

// Pauses before a job that failed is tried again.
const (
	firstRetry = 5 * time.Minute
	lastRetry  = time.Hour
)

// Due says whether a job is due, and for which slot. One that was missed is due once, however often it was; one that
// failed is due again after a pause that doubles, up to an hour.
func (s Schedule) Due(k Kind, attempts []backup.Attempt, now time.Time) (slot time.Time, due bool) {
	slot = s[k].Last(now)
	if slot.IsZero() {
		return slot, false
	}
	failed := 0
	for i := len(attempts) - 1; i >= 0; i-- {
		a := attempts[i]
		if a.OK {
			if !a.Began.Before(slot) || !a.Slot.Before(slot) {
				return slot, false
			}
			break
		}
		failed++
	}
	if failed == 0 {
		return slot, true
	}
	newest := attempts[len(attempts)-1]
	if newest.Slot.Before(slot) {
		return slot, true
	}
	return slot, !now.Before(newest.Ended.Add(retryAfter(failed)))
}

// retryAfter is the pause after so many failures in a row.
func retryAfter(failed int) time.Duration {
	pause := firstRetry
	for range failed - 1 {
		if pause *= 2; pause > lastRetry {
			return lastRetry
		}
	}
	return pause
}

// JobState is where one job stands.
type JobState struct {
	Kind     Kind            `json:"kind"`
	Cadence  string          `json:"cadence"` // crontab fields, UTC; off
	Last     *backup.Attempt `json:"last,omitempty"`
	Next     time.Time       `json:"next,omitzero"` // when it is due next; in the past: it is overdue
	Failures int             `json:"failures"`      // in a row
}

// jobs are the states of all jobs that are scheduled, or were ever run.
func (s Schedule) jobs(f Facts, now time.Time) []JobState {
	out := []JobState{}
	for _, k := range Kinds() {
		c := s[k]
		if c.Off() && f.last(k) == nil {
			continue
		}
		j := JobState{Kind: k, Cadence: c.String(), Last: f.last(k), Failures: f.failures(k), Next: c.Next(now)}
		if slot, due := s.Due(k, f.Attempts[k], now); due {
			j.Next = slot
		}
		out = append(out, j)
	}
	return out
}
