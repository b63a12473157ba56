package recovery

import (
	"fmt"
	"strings"
	"time"

	"github.com/covetpy/covet/ops/backup"
	"github.com/covetpy/covet/ops/health"
	"github.com/covetpy/covet/ops/journal"
)

// Verdict is what is wrong with one side of recovery. The severities are the decision matrix's: a database that couldn't
// be brought back at all is major functionality that is broken; a promise that isn't kept is minor while the database runs.
type Verdict = health.Finding

// The subjects of verdicts, and of the incidents that are opened for them.
const (
	SubjectRPO   = "recovery point"
	SubjectRTO   = "recovery time"
	SubjectDrill = "restore drill"
	SubjectSpool = "WAL spool"
	SubjectBacks = "stored backups"
	subjectJob   = "scheduled " // and the kind

	subjectRepository = "repository"
)

// farOver is how many times its limit makes an objective a matter of minutes.
const farOver = 4

// judge has one verdict for each subject, also for those that are well: so that what is healed is closed.
func judge(f Facts, p Posture, now time.Time) []Verdict {
	out := []Verdict{judgeRPO(f, p), judgeRTO(p), judgeDrill(f), judgeSpool(f.Spool), judgeStored(f)}
	for _, j := range p.Jobs {
		out = append(out, judgeJob(j, now))
	}
	return out
}

func judgeRPO(f Facts, p Posture) Verdict {
	v := Verdict{Subject: SubjectRPO}
	switch {
	case len(f.Heads) == 0 && f.Damaged != nil:
		v.Severity, v.Reason = health.P1, "no backup can be read: "+f.Damaged.Error()
		v.Action = "make one at once: covetctl backup run"
	case f.Durable == nil:
		v.Severity, v.Reason = health.P1, "there is no backup from which the database could be restored"
		v.Action = "make one at once: covetctl backup run"
	case p.RPO.Over:
		v.Severity = health.P2
		if p.RPO.Ratio() >= farOver {
			v.Severity = health.P1
		}
		v.Reason = fmt.Sprintf("%s of writes would be lost, %s is promised", round(p.RPO.Now), p.RPO.Limit)
		v.Action = "make the log reach the repository: covetctl backup init, covetctl backup gaps"
	default:
		return v
	}
	v.Rows = []health.Row{{Arm: "database", Signal: "recovery point", Value: round(p.RPO.Now).String(), Limit: p.RPO.Limit.String(), Severity: v.Severity}}
	if len(p.Gaps) > 0 {
		v.Rows = append(v.Rows, health.Row{Arm: "archive", Signal: "gaps", Value: fmt.Sprint(len(p.Gaps)), Limit: "0", Severity: v.Severity})
	}
	return v
}

func judgeRTO(p Posture) Verdict {
	v := Verdict{Subject: SubjectRTO}
	if !p.RTO.Known || !p.RTO.Over {
		return v
	}
	v.Severity = health.P2
	if p.RTO.Ratio() >= farOver {
		v.Severity = health.P1
	}
	v.Reason = fmt.Sprintf("a restore would take %s (%s), %s is promised", round(p.RTO.Now), p.RTO.Basis, p.RTO.Limit)
	v.Action = "back up more often, restore with more workers, or onto faster disks; then covetctl restore drill"
	v.Rows = []health.Row{{Arm: "database", Signal: "recovery time", Value: round(p.RTO.Now).String(), Limit: p.RTO.Limit.String(), Severity: v.Severity}}
	return v
}

func judgeDrill(f Facts) Verdict {
	v := Verdict{Subject: SubjectDrill}
	d := f.lastDrill()
	if d == nil || d.Passed() {
		return v
	}
	v.Severity = health.P2
	var failed []string
	for _, c := range d.Checks {
		if !c.OK {
			failed = append(failed, c.What+": "+c.Says)
			v.Rows = append(v.Rows, health.Row{Arm: "drill", Signal: c.What, Value: c.Says, Limit: "true", Severity: v.Severity})
		}
	}
	v.Reason = fmt.Sprintf("the drill of %s failed: %s", d.Began.UTC().Format("2006-01-02 15:04Z"), strings.Join(failed, "; "))
	v.Action = "find out whether the backup or the check is wrong: covetctl restore drill"
	return v
}

// judgeSpool is about WAL that PostgreSQL was told is safe and that the repository won't ever take.
func judgeSpool(s *backup.SpoolState) Verdict {
	v := Verdict{Subject: SubjectSpool}
	if s == nil || len(s.Refused) == 0 {
		return v
	}
	v.Severity = health.P2
	v.Reason = "the repository refuses WAL that waits in the spool: " + s.Refused[0]
	v.Action = "look at both, then remove what is wrong from the spool with its .refused note: covetctl wal status"
	v.Rows = []health.Row{{Arm: "archive", Signal: "refused", Value: fmt.Sprint(len(s.Refused)), Limit: "0", Severity: v.Severity}}
	return v
}

// judgeStored is about what is in the repository and is not what was written: a restore that needs it fails. What only older backups
// need is less urgent.
func judgeStored(f Facts) Verdict {
	v := Verdict{Subject: SubjectBacks}
	if len(f.Heads) == 0 {
		return v // judgeRPO says so
	}
	var found []string
	note := func(what string, damage []string, s health.Severity) {
		if len(damage) == 0 {
			return
		}
		found = append(found, what+" is damaged: "+damage[0])
		if s.Worse(v.Severity) {
			v.Severity = s
		}
		v.Rows = append(v.Rows, health.Row{Arm: "repository", Signal: what, Value: fmt.Sprint(len(damage)), Limit: "0", Severity: s})
	}
	for i, h := range f.Heads {
		s := health.P3
		if i == len(f.Heads)-1 {
			s = health.P2
		}
		note("backup "+h.ID, f.Verified[h.ID].Damage, s)
	}
	note("the archived WAL", f.Verified[backup.LogID].Damage, health.P2)
	if f.Damaged != nil {
		note("the repository", strings.Split(f.Damaged.Error(), "\n"), health.P3)
	}
	if len(found) > 0 {
		v.Reason = strings.Join(found, "; ")
		v.Action = "make a backup that uses nothing of what is stored: covetctl backup run --full; covetctl backup verify says all that is damaged"
	}
	return v
}

// judgeJob is about what is scheduled and doesn't happen. One failure is tried again soon; the third is more than chance.
func judgeJob(j JobState, now time.Time) Verdict {
	v := Verdict{Subject: subjectJob + string(j.Kind)}
	if j.Cadence == "off" || j.Failures == 0 || j.Last == nil {
		return v
	}
	v.Severity = health.P3
	if j.Failures >= 3 {
		v.Severity = health.P2
	}
	v.Reason = fmt.Sprintf("the scheduled %s has failed %d times, %s ago last: %s", j.Kind, j.Failures, round(journal.Duration(now.Sub(j.Last.Ended))), j.Last.Says)
	if j.Failures == 1 {
		v.Reason = fmt.Sprintf("the scheduled %s failed: %s", j.Kind, j.Last.Says)
	}
	v.Action = "put right what it says; covetctl backup schedule run " + string(j.Kind) + " --now tries it again"
	return v
}

// round leaves seconds.
func round(d journal.Duration) journal.Duration { return journal.Duration(d.Std().Round(time.Second)) }

// Unreadable is the verdict where the repository didn't answer for longer than it may.
func Unreadable(since time.Duration, err error, limit time.Duration) Verdict {
	v := Verdict{Subject: subjectRepository}
	if err == nil || since < unreadableFor {
		return v
	}
	v.Severity = health.P2
	if since > limit {
		v.Severity = health.P1
	}
	v.Reason = fmt.Sprintf("the backup repository cannot be read for %s: %v", since.Round(time.Second), err)
	v.Action = "make the repository answer: covetctl backup init says what is wrong"
	return v
}

// unreadableFor is how long a repository may be silent before anybody is called.
const unreadableFor = 2 * time.Minute
