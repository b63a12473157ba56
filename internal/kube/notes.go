package kube

import (
	"cmp"
	"fmt"

	"github.com/covetpy/covet/ops/health"
	"github.com/covetpy/covet/ops/rollout"
)

// problems says what a person should know beside the rollout.
func (p *Port) problems() []string {
	out := p.driver.problems()
	out = append(out, p.stage.troubles()...)
	out = append(out, p.look().notes...)
	out = append(out, p.judged()...)
	for _, w := range p.client.warnings.all() {
		out = append(out, "the API server warns: "+w)
	}
	return out
}

// layoutNotes says what is unusual about the Deployments.
func (p *Port) layoutNotes(l layout) []string {
	var out []string
	if l.rest && l.adrift() && l.slots[primary].version == "" {
		out = append(out, fmt.Sprintf("Deployment %s runs what Covet has not recorded: somebody else deployed it", p.at.Deployment))
	}
	if s := p.state(); p.sight.astray(s) {
		out = append(out, fmt.Sprintf("Deployment %s was left with %s, and %s is in charge: where nobody puts it right, covetctl rollout resume does",
			p.at.Deployment, cmp.Or(l.slots[primary].version, "something else"), s.Stable))
	}
	for _, slot := range slots {
		w, ok := l.slots[slot]
		if ok && w.failure != "" {
			out = append(out, "Deployment "+p.sight.nameOf(slot)+": "+w.failure)
		}
		if ok && w.paused && !w.held {
			out = append(out, fmt.Sprintf("Deployment %s is paused: Kubernetes carries out no change of it before `kubectl rollout resume deployment/%[1]s`, or a rollout or rollback here",
				p.sight.nameOf(slot)))
		}
	}
	return out
}

// judged says where the judgement of the rollout under way is not by requests. Only who drives it knows.
func (p *Port) judged() []string {
	r := p.state().Active
	p.driver.mu.Lock()
	self := p.driver.self
	p.driver.mu.Unlock()
	if r == nil || !self || r.Weight == 0 || r.Purpose != rollout.Deploy {
		return nil
	}
	if a := p.driven().Last().Health; a.Blind != "" && a.About == health.Subject(r.To, r.JudgedAt) {
		return []string{r.To + " cannot be judged by its requests: " + a.Blind}
	}
	if how := p.meter.how(r); how != "" {
		return []string{how}
	}
	return nil
}
