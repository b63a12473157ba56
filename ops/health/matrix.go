package health

import (
	"fmt"
	"time"
)

// Rule is one row of the decision matrix: when the error budget burns at least Burn times as fast as the objective
// allows, over both the long and the short window, the incident has this severity.
type Rule struct {
	Severity Severity
	Burn     float64
	Long     time.Duration
	Short    time.Duration
	Action   string
	Approver string
	Within   time.Duration // how soon the action is due; 0 means at once
}

// Matrix is the decision matrix with the service's objective. The windows follow the SRE workbook's chapter on alerting
// on SLOs: the long one says that it matters, the short one that it still goes on.
type Matrix struct {
	Objective   float64       // the share of requests that must succeed, over 30 days
	DownFor     time.Duration // no instance ready for so long is a service that is down
	MinRequests uint64        // fewer say nothing
	MinErrors   uint64        // fewer say nothing
	Rules       []Rule        // worst first
}

// DefaultMatrix is the matrix of a service with an objective of 99.9 %.
func DefaultMatrix() Matrix {
	return Matrix{
		Objective:   0.999,
		DownFor:     30 * time.Second,
		MinRequests: 50,
		MinErrors:   10,
		Rules: []Rule{
			{P0, 144, 5 * time.Minute, time.Minute, "immediate rollback", "any engineer", 0},
			{P1, 24, 30 * time.Minute, 5 * time.Minute, "rollback within 15 minutes", "on-call lead", 15 * time.Minute},
			{P2, 6, 6 * time.Hour, 30 * time.Minute, "hotfix, or rollback within 1 hour", "team lead", time.Hour},
			{P3, 1, 72 * time.Hour, 6 * time.Hour, "fix in the next release", "product owner", 0},
		},
	}
}

// Rule returns the row of a severity.
func (m Matrix) Rule(s Severity) Rule {
	for _, r := range m.Rules {
		if r.Severity == s {
			return r
		}
	}
	return Rule{Severity: s}
}

// Spans lists every window the matrix looks at, each once.
func (m Matrix) Spans() []time.Duration {
	var out []time.Duration
	seen := map[time.Duration]bool{}
	for _, r := range m.Rules {
		for _, d := range []time.Duration{r.Short, r.Long} {
			if !seen[d] {
				seen[d] = true
				out = append(out, d)
			}
		}
	}
	return out
}

// rounding forgives the last digits of a floating-point rate that is exactly at its limit.
const rounding = 1e-9

// Burn is how many times faster than the objective allows the error budget goes over the window.
func (m Matrix) Burn(w Window) float64 { return w.Rate() / (1 - m.Objective) }

// Decide reads the evidence by the matrix. It is pure. The candidate is judged by its own traffic: a broken release with
// a tenth of the traffic looks ten times milder in the service's total.
func Decide(m Matrix, ev Evidence) Decision {
	d := Decision{At: ev.At}
	d.Service = m.judge("service", ev.Service, true, &d.Rows)
	if ev.Candidate != nil {
		d.Candidate = m.judge("candidate", *ev.Candidate, false, &d.Rows)
	}
	if ev.Stable != nil && ev.Candidate != nil {
		stable := m.judge("stable", *ev.Stable, false, &d.Rows)
		d.Infrastructure = stable.Severity.Rank() >= P1.Rank()
	}
	worst := d.Service.Severity
	if d.Candidate.Severity.Worse(worst) {
		worst = d.Candidate.Severity
	}
	if worst == None {
		return d
	}
	rule := m.Rule(worst)
	d.Action, d.Approver, d.Within = rule.Action, rule.Approver, rule.Within
	if d.Infrastructure {
		d.Action = "find the fault in the infrastructure: the stable release fails as well, so a rollback would not help"
	}
	return d
}

func (m Matrix) judge(name string, a Arm, settled bool, rows *[]Row) Verdict {
	if a.DownFor >= m.DownFor {
		*rows = append(*rows, Row{Arm: name, Signal: "ready instances", Value: fmt.Sprintf("0 for %s", a.DownFor.Round(time.Second)),
			Limit: m.DownFor.String(), Severity: P0})
		return Verdict{Severity: P0, Reason: fmt.Sprintf("no instance ready for %s", a.DownFor.Round(time.Second))}
	}
	for _, r := range m.Rules {
		long, short := a.window(r.Long), a.window(r.Short)
		burn := min(m.Burn(long), m.Burn(short))
		hit := burn >= r.Burn*(1-rounding) && long.Requests >= m.MinRequests && long.Errors >= m.MinErrors
		if settled && r.Severity != P0 && long.Covered < r.Short {
			hit = false // a service just started has no past to be judged over hours by
		}
		if !hit {
			continue
		}
		*rows = append(*rows, Row{Arm: name, Signal: fmt.Sprintf("burn over %s and %s", brief(r.Long), brief(r.Short)),
			Value: fmt.Sprintf("%.0f×", burn), Limit: fmt.Sprintf("%.0f×", r.Burn), Severity: r.Severity})
		return Verdict{Severity: r.Severity, Reason: fmt.Sprintf("%.1f%% of its requests failed (%d of %d in %s; the error budget burns %.0f× too fast, the limit is %.0f×)",
			100*short.Rate(), short.Errors, short.Requests, brief(short.Covered), burn, r.Burn)}
	}
	return Verdict{}
}

func (a Arm) window(span time.Duration) Window {
	for _, w := range a.Windows {
		if w.Span == span {
			return w
		}
	}
	return Window{Span: span}
}

// brief is a duration in its largest unit: 6h, 30m, 12s.
func brief(d time.Duration) string {
	switch {
	case d >= 48*time.Hour:
		return fmt.Sprintf("%.0fd", d.Hours()/24)
	case d >= 2*time.Hour:
		return fmt.Sprintf("%.0fh", d.Hours())
	case d >= time.Minute && d%time.Minute == 0:
		return fmt.Sprintf("%.0fm", d.Minutes())
	}
	return d.Round(time.Second).String()
}
