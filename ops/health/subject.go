package health

import (
	"fmt"
	"time"

	"github.com/covetpy/covet/ops/journal"
)

// Finding is what is known of one subject beside the traffic, such as the recovery point: how bad it is, and what is due.
type Finding struct {
	Subject  string   `json:"subject"`
	Severity Severity `json:"severity"` // None: it is well
	Reason   string   `json:"reason,omitempty"`
	Action   string   `json:"action,omitempty"` // instead of the matrix's
	Rows     []Row    `json:"rows,omitempty"`
}

// Settle returns the events that make the incidents fit a finding: one is opened, or escalated, where it is bad, and closed
// where it is well again. Nobody has to have seen it: what heals itself is not work left over.
func Settle(in Incidents, m Matrix, f Finding, at time.Time) []journal.Event {
	var open *Incident
	for i := range in {
		if in[i].Open() && in[i].Automatic && in[i].Subject == f.Subject {
			open = &in[i]
		}
	}
	d := Decision{At: at, Rows: f.Rows}
	switch {
	case f.Severity == None && open == nil:
		return nil
	case f.Severity == None:
		return []journal.Event{journal.New(at, "covetd", IncidentClosed, open.ID, IncidentNote{Note: f.Subject + " is well again"})}
	case open == nil:
		i := fill(Incident{Subject: f.Subject, Automatic: true}, m, f.Severity, d, f.Reason)
		return []journal.Event{journal.New(at, "covetd", IncidentOpened, NextID(in), due(i, f))}
	case f.Severity.Worse(open.Severity):
		i := fill(*open, m, f.Severity, d, f.Reason)
		return []journal.Event{journal.New(at, "covetd", IncidentEscalated, open.ID, due(i, f))}
	}
	return nil
}

// due puts the finding's own action in the place of the matrix's, which is about releases.
func due(i Incident, f Finding) Incident {
	if f.Action != "" {
		i.Action = f.Action
	}
	return i
}

// SettleAll settles several findings, of different subjects, in one go.
func SettleAll(in Incidents, m Matrix, fs []Finding, at time.Time) ([]journal.Event, error) {
	var out []journal.Event
	for _, f := range fs {
		for _, e := range Settle(in, m, f, at) {
			next, err := in.Fold(e)
			if err != nil {
				return nil, fmt.Errorf("settle %s: %w", f.Subject, err)
			}
			in = next
			out = append(out, e)
		}
	}
	return out, nil
}
