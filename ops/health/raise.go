package health

import (
	"fmt"
	"time"

	"github.com/covetpy/covet/ops/journal"
)

// Raise compares two assessments and returns the events of the incidents that follow: a severity that has just come into
// force opens an incident, or escalates the open one about the same release. It never closes one: what was severe stays
// on the board until a person has seen it.
func Raise(in Incidents, m Matrix, prev, now Assessment, about, rollout string) []journal.Event {
	var out []journal.Event
	d := now.Decision
	if now.Candidate.Worse(prev.Candidate) || now.About != prev.About && now.Candidate != None {
		out = append(out, raise(append(in, pending(out)...), m, now.Candidate, d, d.Candidate.Reason, about, rollout)...)
	}
	if now.Service.Worse(prev.Service) {
		out = append(out, raise(append(in, pending(out)...), m, now.Service, d, d.Service.Reason, "", rollout)...)
	}
	return out
}

// pending stands for incidents that are about to be appended, so that their numbers are not given twice.
func pending(events []journal.Event) Incidents { return make(Incidents, len(events)) }

func raise(in Incidents, m Matrix, s Severity, d Decision, why, about, rollout string) []journal.Event {
	for _, i := range in.OpenOnes() {
		if !i.Automatic || i.Release != about || i.Subject != "" {
			continue
		}
		if !s.Worse(i.Severity) {
			return nil
		}
		i = fill(i, m, s, d, why)
		return []journal.Event{journal.New(d.At, "covetd", IncidentEscalated, i.ID, i)}
	}
	i := fill(Incident{Release: about, Rollout: rollout, Automatic: true}, m, s, d, why)
	return []journal.Event{journal.New(d.At, "covetd", IncidentOpened, NextID(in), i)}
}

func fill(i Incident, m Matrix, s Severity, d Decision, why string) Incident {
	rule := m.Rule(s)
	i.Severity, i.Reason, i.Rows = s, why, d.Rows
	i.Action, i.Approver = rule.Action, rule.Approver
	if d.Infrastructure {
		i.Action = d.Action
	}
	i.Deadline = time.Time{}
	if rule.Within > 0 {
		i.Deadline = d.At.Add(rule.Within)
	}
	return i
}

// Declare is the incident a person opens by hand, with what the matrix says is due.
func Declare(m Matrix, s Severity, reason string, at time.Time) Incident {
	return fill(Incident{}, m, s, Decision{At: at}, reason)
}

// NextID is the id of the next incident.
func NextID(in Incidents) string { return fmt.Sprintf("i-%d", len(in)+1) }
