package console

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	"github.com/covetpy/covet/ops/journal"
	"github.com/covetpy/covet/ops/rollout"
)

// startGuess is what starting a set of instances is taken to last, for a plan's expected duration.
const startGuess = journal.Duration(2 * time.Second)

// planInput is what a plan's hash covers: everything that decides what would happen.
type planInput struct {
	Op        Op
	From, To  string
	Digests   [2]string
	Steps     []rollout.Step
	Tuning    rollout.Tuning
	Instances int
	Settle    bool
	Active    string
	Phase     rollout.Phase
}

// planRollout works out what a rollout would do from the state. It is pure.
func planRollout(s rollout.State, op Op, r rollout.Rollout, now time.Time) Plan {
	from, to := s.Releases[r.From], s.Releases[r.To]
	p := Plan{
		Op: op, From: r.From, To: r.To, Rollout: &r, At: now,
		Warnings: warnings(s, r),
	}
	if r.From != "" {
		p.Changes = rollout.Changes(from.Manifest.Masked(), to.Manifest.Masked())
	}
	if a := s.Active; a != nil {
		p.Steps = append(p.Steps, PlanStep{Do: fmt.Sprintf("undo %s: all traffic back to %s", a.ID, orNone(a.From)), Touches: a.To + ", " + orNone(a.From)})
	}
	for i, step := range r.Steps {
		p.Steps = append(p.Steps, planStep(r, i, step))
	}
	p.Steps = append(p.Steps, lastStep(r))
	for _, step := range p.Steps {
		p.Duration += step.Duration
	}
	p.Undo = undoCost(r)
	p.Summary = summary(r, p.Duration)
	p.Hash = hash(s, op, r, from.Digest, to.Digest)
	return p
}

func hash(s rollout.State, op Op, r rollout.Rollout, from, to string) string {
	in := planInput{Op: op, From: r.From, To: r.To, Digests: [2]string{from, to}, Steps: r.Steps, Tuning: r.Tuning, Instances: s.Instances, Settle: r.Settle}
	if s.Active != nil {
		in.Active, in.Phase = s.Active.ID, s.Active.Phase
	}
	raw, err := json.Marshal(in)
	if err != nil {
		panic("console: a plan is always JSON: " + err.Error())
	}
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:6])
}

func planStep(r rollout.Rollout, i int, step rollout.Step) PlanStep {
	d := step.Bake
	started := step.Candidate
	if i > 0 {
		started -= r.Steps[i-1].Candidate
	}
	if started > 0 {
		d += startGuess
	}
	touches := r.To
	if r.From != "" {
		touches = r.From + ", " + r.To
	}
	return PlanStep{Do: step.Describe(), Touches: touches, Duration: d}
}

func lastStep(r rollout.Rollout) PlanStep {
	switch {
	case r.From == "":
		return PlanStep{Do: r.To + " is the stable release", Touches: r.To}
	case r.Keep > 0:
		return PlanStep{Do: fmt.Sprintf("%s is the stable release; %s stays warm for %s, then stops", r.To, r.From, r.Keep), Touches: r.From}
	}
	return PlanStep{Do: fmt.Sprintf("%s is the stable release; %s finishes its requests and stops", r.To, r.From), Touches: r.From}
}

func undoCost(r rollout.Rollout) string {
	if r.From == "" {
		return "nothing served before: there is nothing to go back to"
	}
	switch {
	case r.Strategy == rollout.Rolling && r.Purpose == rollout.Deploy:
		return fmt.Sprintf("seconds while it runs (instances of %s that were stopped are started again first); no data is lost", r.From)
	case r.Keep > 0:
		return fmt.Sprintf("under 2 s while it runs and for %s after it (%s stays up); later, the time %s takes to start; no data is lost", r.Keep, r.From, r.From)
	}
	return fmt.Sprintf("under 2 s while it runs; afterwards, the time %s takes to start; no data is lost", r.From)
}

func summary(r rollout.Rollout, d journal.Duration) string {
	what := string(r.Strategy)
	if r.Purpose == rollout.Rollback {
		what = "rollback"
	}
	steps := fmt.Sprintf("%d steps", len(r.Steps))
	if len(r.Steps) == 1 {
		steps = "1 step"
	}
	return fmt.Sprintf("%s %s → %s in %s, about %s", what, orNone(r.From), r.To, steps, d)
}

func warnings(s rollout.State, r rollout.Rollout) []string {
	var out []string
	from, to := s.Releases[r.From], s.Releases[r.To]
	if why, bad := s.Quarantined[to.Digest]; bad {
		out = append(out, fmt.Sprintf("%s is quarantined: %s", r.To, why))
	}
	if n := len(r.Steps); n > 0 && r.From != "" && r.Steps[n-1].Candidate < s.Instances {
		out = append(out, fmt.Sprintf("%s will have %d instances where %s has %d", r.To, r.Steps[n-1].Candidate, r.From, s.Instances))
	}
	if r.From != "" && r.Purpose == rollout.Deploy && from.Digest == to.Digest {
		out = append(out, fmt.Sprintf("%s and %s are the same in everything but their name", r.From, r.To))
	}
	if r.Strategy == rollout.BlueGreen && r.Purpose == rollout.Deploy && r.From != "" {
		out = append(out, fmt.Sprintf("for a while %d instances run instead of %d: mind the memory", s.Instances+r.Steps[0].Candidate, s.Instances))
	}
	if a := s.Active; a != nil {
		out = append(out, fmt.Sprintf("%s (%s → %s, %s) is under way and will be undone first", a.ID, orNone(a.From), a.To, a.Phase))
	}
	return out
}
