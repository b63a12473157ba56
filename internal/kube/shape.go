package kube

import (
	"context"
	"fmt"

	"github.com/covetpy/covet/ops/rollout"
)

// Shape implements console.Surveyor: a rollout has as many instances as serve now, and its steps are those that the platform
// can make.
func (p *Port) Shape(_ context.Context, s rollout.State, r *rollout.Rollout) error {
	l := p.sight.layout(now())
	n := serving(l)
	to := s.Releases[r.To]
	hosted := len(l.hosts(r.To)) > 0
	_, two := l.slots[candidate]
	if r.Purpose == rollout.Rollback {
		r.InPlace = !hosted && !two
		n = max(n, p.sight.stood())
		if !r.InPlace {
			n = max(n, 1)
		}
		r.Steps = []rollout.Step{{Weight: 100, Candidate: n}} // none where it is scaled to 0: the template alone goes back
		return nil
	}
	if to.Manifest.Instances > 0 {
		n = to.Manifest.Instances
	}
	stable := serving(l)
	if s.Stable == "" {
		stable = 0
	}
	byNumber := r.Strategy == rollout.Canary && len(p.stage.myRoutes()) == 0
	r.Settle = two && s.Stable != "" && (r.Strategy == rollout.Rolling || byNumber) // these need the primary for themselves
	switch {
	case r.Strategy == rollout.Rolling:
		r.InPlace = true
		r.Steps = rollout.NativeSteps(r.Tuning, n)
	case byNumber:
		r.Steps = rollout.RatioSteps(r.Tuning, stable, max(n, 1))
	default:
		r.Steps = rollout.Steps(r.Tuning, stable, max(n, 1))
	}
	return nil
}

// serving is how many instances the Deployment with the most traffic asks for.
func serving(l layout) int {
	slot := primary
	if l.shares[candidate] > l.shares[primary] {
		slot = candidate
	}
	return l.slots[slot].replicas
}

// trafficBy says in words what splits the traffic.
func (p *Port) trafficBy() string {
	fronts, routes := p.stage.fronts(), p.stage.myRoutes()
	switch {
	case len(fronts) == 0:
		return "no Service"
	case len(routes) > 0:
		return fmt.Sprintf("%s %s", routes[0].dialect.kind, routes[0].object.GetName())
	}
	return "Service " + fronts[0].Name
}
