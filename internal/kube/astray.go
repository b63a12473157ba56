package kube

import "github.com/covetpy/covet/ops/rollout"

// unfinished reports whether a rollout that is over has left something that a driver has yet to put in order.
func (h *hand) unfinished(s rollout.State) bool { return h.untidy() || h.sight.astray(s) }

// astray reports whether a rolling update that failed has left the Deployment with another release than the one in charge. What
// somebody else put there is theirs.
func (g *sight) astray(s rollout.State) bool {
	if s.Active != nil || s.Warm != nil || s.Stopped != nil || s.Stable == "" {
		return false
	}
	o, ok := g.stage.deployment(primary)
	if !ok {
		return false
	}
	w := g.workload(s, o, nil, primary)
	return w.version != s.Stable && !w.theirs
}
