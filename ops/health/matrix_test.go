package health

import (
	"strings"
	"testing"
	"time"
)

var now = time.Date(2026, 5, 1, 3, 0, 0, 0, time.UTC)

// armOf has the same share of errors in every window.
func armOf(m Matrix, requests, errors uint64, covered time.Duration) Arm {
	a := Arm{Release: "v2", Ready: 2, Present: 2}
	for _, span := range m.Spans() {
		a.Windows = append(a.Windows, Window{Span: span, Covered: min(span, covered), Requests: requests, Errors: errors})
	}
	return a
}

func TestDecideByTheDefaultMatrix(t *testing.T) {
	t.Parallel()
	m := DefaultMatrix()
	cases := map[string]struct {
		requests, errors uint64
		want             Severity
		approver         string
	}{
		"nothing wrong":              {100_000, 10, None, ""},
		"exactly as fast as allowed": {100_000, 100, P3, "product owner"},
		"just under six times":       {100_000, 599, P3, "product owner"},
		"six times":                  {100_000, 600, P2, "team lead"},
		"twenty-four times":          {100_000, 2_400, P1, "on-call lead"},
		"a hundred and forty-four":   {100_000, 14_400, P0, "any engineer"},
		"everything fails":           {60, 60, P0, "any engineer"},
		"too few requests to tell":   {49, 49, None, ""},
		"too few errors to tell":     {60, 9, None, ""},
		"enough of both, just so":    {50, 10, P0, "any engineer"},
		"no traffic at all":          {0, 0, None, ""},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := Decide(m, Evidence{At: now, Service: armOf(m, c.requests, c.errors, 100*time.Hour)})
			if d.Service.Severity != c.want || d.Approver != c.approver {
				t.Errorf("%d of %d failed: %q by %q, want %q by %q", c.errors, c.requests, d.Service.Severity, d.Approver, c.want, c.approver)
			}
			if (c.want == None) != (len(d.Rows) == 0) {
				t.Errorf("rows %+v", d.Rows)
			}
		})
	}
}

func TestBothWindowsMustBurn(t *testing.T) {
	t.Parallel()
	m := DefaultMatrix()
	over := armOf(m, 10_000, 5_000, 100*time.Hour)
	for i := range over.Windows {
		if over.Windows[i].Span <= 6*time.Hour && over.Windows[i].Span != 72*time.Hour {
			over.Windows[i].Errors = 0 // it was bad long ago, and is over
		}
	}
	if d := Decide(m, Evidence{At: now, Service: over}); d.Service.Severity != None {
		t.Errorf("an outage that is over: %+v", d.Service)
	}
}

func TestAYoungServiceIsNotJudgedOverHours(t *testing.T) {
	t.Parallel()
	m := DefaultMatrix()
	young := armOf(m, 1_000, 30, 10*time.Second) // 3 %: thirty times too fast, for ten seconds
	if d := Decide(m, Evidence{At: now, Service: young}); d.Service.Severity != None {
		t.Errorf("ten seconds old: %+v", d.Service)
	}
	if d := Decide(m, Evidence{At: now, Candidate: &young}); d.Candidate.Severity != P1 {
		t.Errorf("a candidate is judged from the start: %+v", d.Candidate)
	}
}

func TestDownWithoutTraffic(t *testing.T) {
	t.Parallel()
	m := DefaultMatrix()
	for downFor, want := range map[time.Duration]Severity{29 * time.Second: None, 30 * time.Second: P0} {
		d := Decide(m, Evidence{At: now, Service: Arm{DownFor: downFor}})
		if d.Service.Severity != want {
			t.Errorf("down for %s: %q, want %q", downFor, d.Service.Severity, want)
		}
	}
}

func TestTheCandidateIsJudgedApartAndTheInfrastructureIsRecognized(t *testing.T) {
	t.Parallel()
	m := DefaultMatrix()
	bad, good := armOf(m, 1_000, 300, time.Minute), armOf(m, 9_000, 0, time.Minute)
	total := armOf(m, 10_000, 300, time.Minute)
	d := Decide(m, Evidence{At: now, Service: total, Stable: &good, Candidate: &bad})
	if d.Candidate.Severity != P0 || d.Service.Severity == P0 || d.Infrastructure {
		t.Errorf("a broken tenth: candidate %q, service %q, infrastructure %v", d.Candidate.Severity, d.Service.Severity, d.Infrastructure)
	}
	if !strings.Contains(d.Candidate.Reason, "30.0%") || !strings.Contains(d.Candidate.Reason, "300 of 1000") {
		t.Errorf("reason %q", d.Candidate.Reason)
	}
	d = Decide(m, Evidence{At: now, Service: total, Stable: &bad, Candidate: &bad})
	if !d.Infrastructure || !strings.Contains(d.Action, "infrastructure") {
		t.Errorf("both fail: %+v", d)
	}
}

func TestAssessWaitsForTwoLooksAndFallsLate(t *testing.T) {
	t.Parallel()
	m := DefaultMatrix()
	at := func(sec int, errors uint64) Evidence {
		return Evidence{At: now.Add(time.Duration(sec) * time.Second), Service: armOf(m, 1_000, errors, 100*time.Hour)}
	}
	a := Assess(Assessment{}, m, at(0, 500))
	if a.Service != None {
		t.Fatalf("after one look: %q", a.Service)
	}
	if a = Assess(a, m, at(1, 500)); a.Service != P0 {
		t.Fatalf("after two: %q", a.Service)
	}
	if a = Assess(a, m, at(2, 100)); a.Service != P0 {
		t.Fatalf("just under its limit it holds: %q", a.Service)
	}
	a = Assess(a, m, at(3, 0))
	if a = Assess(a, m, at(122, 0)); a.Service != P0 {
		t.Fatalf("calm for 119 s: %q", a.Service)
	}
	if a = Assess(a, m, at(123, 0)); a.Service != None {
		t.Fatalf("calm for two short windows: %q", a.Service)
	}
}

func TestASpikeOfOneLookIsNothing(t *testing.T) {
	t.Parallel()
	m := DefaultMatrix()
	a := Assessment{}
	for i := range 10 {
		errors := uint64(0)
		if i%2 == 0 {
			errors = 900
		}
		a = Assess(a, m, Evidence{At: now.Add(time.Duration(i) * time.Second), Service: armOf(m, 1_000, errors, 100*time.Hour)})
		if a.Service != None {
			t.Fatalf("look %d: %q", i, a.Service)
		}
	}
}

func TestANewCandidateBeginsClean(t *testing.T) {
	t.Parallel()
	m := DefaultMatrix()
	bad := armOf(m, 1_000, 500, time.Minute)
	a := Assess(Assessment{}, m, Evidence{At: now, Candidate: &bad})
	if a = Assess(a, m, Evidence{At: now, Candidate: &bad}); a.Candidate != P0 {
		t.Fatalf("%q", a.Candidate)
	}
	other := armOf(m, 1_000, 500, time.Minute)
	other.Release = "v3"
	if a = Assess(a, m, Evidence{At: now, Candidate: &other}); a.Candidate != None || a.About != Subject("v3", time.Time{}) {
		t.Fatalf("another release inherits %q about %q", a.Candidate, a.About)
	}
}

func TestCountsWindows(t *testing.T) {
	t.Parallel()
	c := NewCounts(now)
	for s := range 3 * 3600 {
		c.Add(now.Add(time.Duration(s)*time.Second), 10, 1)
	}
	end := now.Add(3*time.Hour - time.Second)
	for span, want := range map[time.Duration]uint64{time.Second: 10, time.Minute: 600, 5 * time.Minute: 3000, time.Hour: 36_000} {
		w := c.Window(end, span)
		if w.Requests != want || w.Errors != want/10 {
			t.Errorf("over %s: %d requests, %d errors, want %d and %d", span, w.Requests, w.Errors, want, want/10)
		}
	}
	if w := c.Window(end, 6*time.Hour); w.Requests != 3*36_000 || w.Covered != 3*time.Hour-time.Second {
		t.Errorf("over six hours: %d requests in %s", w.Requests, w.Covered)
	}
	if w := c.Window(end.Add(2*time.Hour), time.Hour); w.Requests != 0 {
		t.Errorf("two hours later the last hour has %d", w.Requests)
	}
}

func TestCountsOutliveTheProcessThatCounted(t *testing.T) {
	t.Parallel()
	c := NewCounts(now)
	for s := range 7200 {
		c.Add(now.Add(time.Duration(s)*time.Second), 10, 1)
	}
	restart := now.Add(2 * time.Hour)
	next := NewCounts(restart)
	next.Remember(c.Past(restart))
	later := restart.Add(30 * time.Second)
	next.Add(later, 7, 7)
	for span, want := range map[time.Duration]uint64{72 * time.Hour: 72_007, 6 * time.Hour: 72_007, 30 * time.Minute: 29*600 + 7} {
		w := next.Window(later, span)
		if w.Requests != want {
			t.Errorf("over %s: %d requests, want %d", span, w.Requests, want)
		}
	}
	if w := next.Window(later, 6*time.Hour); w.Covered != 2*time.Hour+30*time.Second {
		t.Errorf("covered %s", w.Covered)
	}
	if w := next.Window(later, time.Minute); w.Requests != 7 {
		t.Errorf("the last minute has %d", w.Requests)
	}
}

func TestRaiseOpensEscalatesAndNeverRepeats(t *testing.T) {
	t.Parallel()
	m := DefaultMatrix()
	minor, major := armOf(m, 1_000, 50, time.Minute), armOf(m, 1_000, 500, time.Minute)
	var in Incidents
	var a Assessment
	for i, arm := range []Arm{minor, minor, minor, major, major, major} {
		next := Assess(a, m, Evidence{At: now.Add(time.Duration(i) * time.Second), Candidate: &arm})
		for _, e := range Raise(in, m, a, next, "v2", "r-7") {
			var err error
			if in, err = in.Fold(e); err != nil {
				t.Fatal(err)
			}
		}
		a = next
	}
	if len(in) != 1 || in[0].Severity != P0 || in[0].Rollout != "r-7" || in[0].Release != "v2" || in[0].Approver != "any engineer" || !in[0].Deadline.IsZero() {
		t.Fatalf("one incident that was escalated: %+v", in)
	}
	if !in[0].OpenedAt.Equal(now.Add(time.Second)) {
		t.Errorf("opened at %s: the escalation must not move it", in[0].OpenedAt)
	}
}
