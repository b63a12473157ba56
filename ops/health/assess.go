package health

import "time"

// half scales the matrix's limits down to where a severity that was raised may fall again.
func (m Matrix) half() Matrix {
	out := m
	out.Rules = make([]Rule, len(m.Rules))
	for i, r := range m.Rules {
		r.Burn /= 2
		out.Rules[i] = r
	}
	return out
}

// Assess steadies decisions over time. A severity counts once two looks in a row agree on it or on worse; it falls only
// after the evidence has stayed under half of its limit for twice its short window. It is pure.
func Assess(prev Assessment, m Matrix, ev Evidence) Assessment {
	d := Decide(m, ev)
	calmer := Decide(m.half(), ev)
	next := Assessment{Decision: d, calmService: prev.calmService, calmCandidate: prev.calmCandidate}
	next.Service, next.pendingService, next.calmService = steady(m, ev.At,
		prev.Service, prev.pendingService, d.Service.Severity, calmer.Service.Severity, prev.calmService)
	if ev.Candidate == nil {
		next.calmCandidate = time.Time{}
		return next
	}
	next.About, next.Blind = Subject(ev.Candidate.Release, ev.Candidate.Since), ev.Blind
	if next.About != prev.About {
		prev.Candidate, prev.pendingCandidate, prev.calmCandidate = None, None, time.Time{}
	}
	next.Candidate, next.pendingCandidate, next.calmCandidate = steady(m, ev.At,
		prev.Candidate, prev.pendingCandidate, d.Candidate.Severity, calmer.Candidate.Severity, prev.calmCandidate)
	return next
}

// steady returns the severity in force, the one seen now, and since when the evidence has been calm.
func steady(m Matrix, now time.Time, was, pending, seen, calmer Severity, calm time.Time) (Severity, Severity, time.Time) {
	if seen.Worse(was) {
		confirmed := seen
		if confirmed.Worse(pending) {
			confirmed = pending
		}
		if confirmed.Worse(was) {
			return confirmed, seen, time.Time{}
		}
		return was, seen, time.Time{}
	}
	if was == None || !was.Worse(calmer) {
		return was, seen, time.Time{}
	}
	if calm.IsZero() {
		return was, seen, now
	}
	if now.Sub(calm) >= 2*m.Rule(was).Short {
		return calmer, seen, time.Time{}
	}
	return was, seen, calm
}
