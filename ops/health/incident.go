package health

import (
	"slices"
	"time"

	"github.com/covetpy/covet/ops/journal"
)

// Incident is a span of time in which something was wrong: how bad, on what evidence, what is due, who may approve it
// and by when.
type Incident struct {
	ID        string    `json:"id"`
	Severity  Severity  `json:"severity"`
	Reason    string    `json:"reason"`
	Release   string    `json:"release,omitempty"` // version it is about, where it is about one
	Subject   string    `json:"subject,omitempty"` // what it is about, where that is not the traffic
	Rollout   string    `json:"rollout,omitempty"` // the rollout that ran when it began
	Rows      []Row     `json:"rows,omitempty"`
	Action    string    `json:"action"`
	Approver  string    `json:"approver"`
	Deadline  time.Time `json:"deadline,omitzero"` // zero where there is none
	Automatic bool      `json:"automatic"`         // opened by covetd, not by a person
	OpenedAt  time.Time `json:"opened_at"`
	OpenedBy  string    `json:"opened_by"`
	AckedAt   time.Time `json:"acked_at,omitzero"`
	AckedBy   string    `json:"acked_by,omitempty"`
	ClosedAt  time.Time `json:"closed_at,omitzero"`
	ClosedBy  string    `json:"closed_by,omitempty"`
	Note      string    `json:"note,omitempty"` // what was said when it was acknowledged or closed
}

// Open reports whether nobody has closed the incident.
func (i Incident) Open() bool { return i.ClosedAt.IsZero() }

// The kinds of events that incidents are folded from.
const (
	IncidentOpened    journal.Kind = "incident.opened"
	IncidentEscalated journal.Kind = "incident.escalated"
	IncidentAcked     journal.Kind = "incident.acknowledged"
	IncidentClosed    journal.Kind = "incident.closed"
)

// IncidentNote is the data of IncidentAcked and IncidentClosed.
type IncidentNote struct {
	Note string `json:"note,omitempty"`
}

// Incidents is what the journal says of incidents, oldest first.
type Incidents []Incident

// Fold applies one event. Events of other kinds change nothing; neither do events about incidents that are not there.
func (in Incidents) Fold(e journal.Event) (Incidents, error) {
	switch e.Kind {
	case IncidentOpened:
		var i Incident
		if err := e.Decode(&i); err != nil {
			return in, err
		}
		i.ID, i.OpenedAt, i.OpenedBy = e.Subject, e.At, e.By
		return append(slices.Clip(in), i), nil
	case IncidentEscalated, IncidentAcked, IncidentClosed:
		return in.change(e)
	}
	return in, nil
}

func (in Incidents) change(e journal.Event) (Incidents, error) {
	at := slices.IndexFunc(in, func(i Incident) bool { return i.ID == e.Subject })
	if at < 0 {
		return in, nil
	}
	out := slices.Clone(in)
	i := &out[at]
	if e.Kind == IncidentEscalated {
		var worse Incident
		if err := e.Decode(&worse); err != nil {
			return in, err
		}
		worse.ID, worse.OpenedAt, worse.OpenedBy = e.Subject, i.OpenedAt, i.OpenedBy
		worse.AckedAt, worse.AckedBy = time.Time{}, "" // whoever saw it saw something milder
		*i = worse
		return out, nil
	}
	var n IncidentNote
	if err := e.Decode(&n); err != nil {
		return in, err
	}
	if n.Note != "" {
		i.Note = n.Note
	}
	if e.Kind == IncidentAcked {
		i.AckedAt, i.AckedBy = e.At, e.By
	} else {
		i.ClosedAt, i.ClosedBy = e.At, e.By
	}
	return out, nil
}

// OpenOnes are the incidents nobody has closed, worst first, older first among equals.
func (in Incidents) OpenOnes() Incidents {
	var out Incidents
	for _, i := range in {
		if i.Open() {
			out = append(out, i)
		}
	}
	slices.SortStableFunc(out, func(a, b Incident) int { return b.Severity.Rank() - a.Severity.Rank() })
	return out
}

// Find returns the incident with the id; an empty id means the worst open one.
func (in Incidents) Find(id string) (Incident, bool) {
	if id == "" {
		if open := in.OpenOnes(); len(open) > 0 {
			return open[0], true
		}
		return Incident{}, false
	}
	at := slices.IndexFunc(in, func(i Incident) bool { return i.ID == id })
	if at < 0 {
		return Incident{}, false
	}
	return in[at], true
}
