// Package health judges how a service does: signals measured in the data plane, the rate at which its error budget
// burns, the decision matrix over both, and the incidents that follow.
package health

import "time"

// Severity is how bad an incident is, by the decision matrix.
type Severity string

// The severities, worst first. None means nothing is wrong.
const (
	P0   Severity = "P0" // service down
	P1   Severity = "P1" // major functionality broken
	P2   Severity = "P2" // minor issues, a workaround exists
	P3   Severity = "P3" // cosmetic
	None Severity = ""
)

// Rank orders severities: 4 for P0 down to 0 for none.
func (s Severity) Rank() int {
	switch s {
	case P0:
		return 4
	case P1:
		return 3
	case P2:
		return 2
	case P3:
		return 1
	}
	return 0
}

// Worse reports whether s is worse than t.
func (s Severity) Worse(t Severity) bool { return s.Rank() > t.Rank() }

// Window is one look back over an arm's traffic.
type Window struct {
	Span     time.Duration `json:"span"`
	Covered  time.Duration `json:"covered"` // how much of the span there are measurements for
	Requests uint64        `json:"requests"`
	Errors   uint64        `json:"errors"` // answers of 5xx, and requests nothing could answer
}

// Rate is the share of requests that failed, 0 where there were none.
func (w Window) Rate() float64 {
	if w.Requests == 0 {
		return 0
	}
	return float64(w.Errors) / float64(w.Requests)
}

// Arm is what is known of one release's part of the traffic, or of the whole service's.
type Arm struct {
	Release  string        `json:"release,omitempty"` // version; empty for the whole service
	Since    time.Time     `json:"since,omitzero"`    // nothing from before counts
	Ready    int           `json:"ready"`
	Present  int           `json:"present"`
	Restarts int           `json:"restarts"` // since it began to serve
	DownFor  time.Duration `json:"down_for"` // how long no instance has been ready; 0 when one is
	Windows  []Window      `json:"windows"`
}

// Evidence is everything a decision is made of. A nil arm does not exist just now.
type Evidence struct {
	At        time.Time `json:"at"`
	Service   Arm       `json:"service"`
	Stable    *Arm      `json:"stable,omitempty"`
	Candidate *Arm      `json:"candidate,omitempty"`
	Blind     string    `json:"blind,omitempty"` // why the candidate's requests are not known although they should be
}

// Row is one line of the evidence as the matrix read it: the value, its limit and what follows.
type Row struct {
	Arm      string   `json:"arm"` // service, stable or candidate
	Signal   string   `json:"signal"`
	Value    string   `json:"value"`
	Limit    string   `json:"limit"`
	Severity Severity `json:"severity,omitempty"`
}

// Verdict is what the matrix says of one arm.
type Verdict struct {
	Severity Severity `json:"severity,omitempty"`
	Reason   string   `json:"reason,omitempty"`
}

// Decision is what the matrix says of the evidence at one moment.
type Decision struct {
	At             time.Time     `json:"at"`
	Service        Verdict       `json:"service"`
	Candidate      Verdict       `json:"candidate"`
	Infrastructure bool          `json:"infrastructure"` // the stable release fails as well: not the candidate's doing
	Action         string        `json:"action,omitempty"`
	Approver       string        `json:"approver,omitempty"`
	Within         time.Duration `json:"within,omitempty"` // from the incident's start; 0 means at once
	Rows           []Row         `json:"rows,omitempty"`
}

// Subject names a candidate and since when it is judged. An assessment of another subject says nothing of it.
func Subject(release string, since time.Time) string {
	return release + " since " + since.UTC().Format(time.RFC3339Nano)
}

// Assessment is a decision steadied over time: a severity counts only after two looks in a row, and falls only once the
// evidence has stayed under half of what raised it.
type Assessment struct {
	Decision  Decision `json:"decision"`
	Service   Severity `json:"service,omitempty"`
	Candidate Severity `json:"candidate,omitempty"`
	About     string   `json:"about,omitempty"` // which candidate, judged since when: Subject's answer
	Blind     string   `json:"blind,omitempty"` // why nothing can be said of the candidate's requests

	pendingService, pendingCandidate Severity
	calmService, calmCandidate       time.Time
}
