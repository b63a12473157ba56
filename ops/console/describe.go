package console

import (
	"fmt"
	"strings"

	"github.com/covetpy/covet/ops/health"
	"github.com/covetpy/covet/ops/journal"
	"github.com/covetpy/covet/ops/recovery"
	"github.com/covetpy/covet/ops/rollout"
)

// RequestRefused is the kind of the audit events of commands that were refused.
const RequestRefused journal.Kind = "request.refused"

// Refusal is the data of RequestRefused.
type Refusal struct {
	Op      Op     `json:"op"`
	Message string `json:"message"`
}

// Describe says an event in words. Events of a kind or shape it does not know are named as they are.
func Describe(e journal.Event) AuditEntry {
	return AuditEntry{Seq: e.Seq, At: e.At, By: e.By, Kind: e.Kind, Subject: e.Subject, Text: text(e)}
}

func text(e journal.Event) string {
	if say, ok := sayings[e.Kind]; ok {
		return say(e)
	}
	return strings.TrimSpace(string(e.Kind) + " " + e.Subject)
}

// sayings has the words for each kind. Data that cannot be read leaves its words out: the audit log must always show.
var sayings = map[journal.Kind]func(journal.Event) string{
	rollout.ReleaseAdded: func(e journal.Event) string {
		r := decoded[rollout.Release](e)
		return fmt.Sprintf("release %s added (%s)", e.Subject, short(r.Digest))
	},
	rollout.ReleaseRemoved:     func(e journal.Event) string { return "release " + e.Subject + " removed" },
	rollout.ReleaseQuarantined: func(e journal.Event) string { return noted(e, "release "+e.Subject+" quarantined") },
	rollout.ServiceAdopted:     func(e journal.Event) string { return e.Subject + " is the stable release" },
	rollout.ServiceStopped: func(e journal.Event) string {
		return because("the service is stopped", decoded[rollout.Stop](e).Reason)
	},
	rollout.ServiceStarted:  func(e journal.Event) string { return noted(e, "the service is started") },
	rollout.RestoreNoted:    sayRestore,
	recovery.JobRan:         func(e journal.Event) string { return decoded[recovery.Outcome](e).Describe() },
	recovery.BackupsRemoved: func(e journal.Event) string { return decoded[recovery.Removal](e).Describe() },
	rollout.WarmRetired:     func(e journal.Event) string { return e.Subject + " is no longer kept warm" },
	rollout.RolloutStarted:  sayStarted,
	rollout.RolloutStep: func(e journal.Event) string {
		return fmt.Sprintf("step %d begins", decoded[rollout.StepData](e).Step+1)
	},
	rollout.RolloutReady:     sayReady,
	rollout.RolloutShifted:   sayShifted,
	rollout.RolloutWaiting:   func(e journal.Event) string { return noted(e, "waiting for approval") },
	rollout.RolloutPromoted:  func(e journal.Event) string { return noted(e, "promoted") },
	rollout.RolloutPaused:    func(e journal.Event) string { return noted(e, "paused") },
	rollout.RolloutResumed:   func(journal.Event) string { return "resumed" },
	rollout.RolloutContained: func(e journal.Event) string { return noted(e, "traffic taken from the candidate") },
	rollout.RolloutAborting:  sayAborting,
	rollout.RolloutReturned:  func(journal.Event) string { return "all traffic goes back to the stable release" },
	rollout.RolloutEnded:     sayEnded,
	health.IncidentOpened: func(e journal.Event) string {
		i := decoded[health.Incident](e)
		return fmt.Sprintf("%s incident %s opened: %s", i.Severity, e.Subject, about(i))
	},
	health.IncidentEscalated: func(e journal.Event) string {
		i := decoded[health.Incident](e)
		return fmt.Sprintf("incident %s is %s now: %s", e.Subject, i.Severity, about(i))
	},
	health.IncidentAcked:  func(e journal.Event) string { return noted(e, "incident "+e.Subject+" acknowledged") },
	health.IncidentClosed: func(e journal.Event) string { return noted(e, "incident "+e.Subject+" closed") },
	ApprovalGiven:         sayApproval,
	RequestRefused: func(e journal.Event) string {
		r := decoded[Refusal](e)
		return fmt.Sprintf("%s refused: %s", r.Op, r.Message)
	},
}

func sayStarted(e journal.Event) string {
	r := decoded[rollout.Rollout](e)
	what := string(r.Strategy)
	if r.Purpose == rollout.Rollback {
		what = "rollback"
	}
	return because(fmt.Sprintf("%s %s begins: %s → %s", what, e.Subject, orNone(r.From), r.To), r.Reason)
}

func sayReady(e journal.Event) string {
	if w := decoded[rollout.StepData](e).Weight; w > 0 {
		return fmt.Sprintf("instances ready: moving traffic to %d%%", w)
	}
	return "instances ready"
}

func sayShifted(e journal.Event) string {
	if w := decoded[rollout.StepData](e).Weight; w > 0 {
		return fmt.Sprintf("traffic is at %d%%", w)
	}
	return "watched without traffic (x-canary: true reaches it where headers are looked at)"
}

func sayAborting(e journal.Event) string {
	a := decoded[rollout.AbortData](e)
	if a.Automatic {
		return "rolling back by itself: " + a.Message
	}
	return "going back: " + a.Message
}

func sayEnded(e journal.Event) string {
	d := decoded[rollout.EndData](e)
	words := map[rollout.Phase]string{
		rollout.Succeeded:  "done",
		rollout.RolledBack: "rolled back: the stable release has all the traffic",
		rollout.Failed:     "FAILED and not rolled back",
	}
	return because(words[d.Phase], d.Message)
}

func decoded[T any](e journal.Event) T {
	var v T
	if e.Decode(&v) != nil {
		var zero T
		return zero
	}
	return v
}

func noted(e journal.Event, what string) string {
	n := decoded[struct{ Message, Note string }](e)
	return because(what, n.Message+n.Note)
}

func about(i health.Incident) string {
	if i.Release == "" {
		return i.Reason
	}
	return i.Release + ": " + i.Reason
}

func because(what, why string) string {
	if why == "" {
		return what
	}
	return what + ": " + why
}

func orNone(version string) string {
	if version == "" {
		return "nothing"
	}
	return version
}

func short(digest string) string { return digest[:min(12, len(digest))] }
