package kube

import "github.com/covetpy/covet/ops/rollout"

// flowing is weights as the traffic has them. They are the same but where a Service is open to both Deployments: there every ready
// pod gets as much as any other, so that few pods cannot have the small share that was asked for.
func (g *sight) flowing(l layout) rollout.Weights {
	fronts := g.stage.fronts()
	if _, two := l.slots[candidate]; !two || l.unsure || len(fronts) == 0 || frontSlot(fronts[0]) != openFront {
		return g.weights(l)
	}
	ready := map[string]int{}
	for _, p := range g.stage.pods.all() {
		if p.ready {
			ready[slotOf(p)]++
		}
	}
	of := ready[primary] + ready[candidate]
	if of == 0 {
		return g.weights(l)
	}
	share := (100*ready[candidate] + of/2) / of
	l.shares = map[string]int{primary: 100 - share, candidate: share}
	return g.weights(l)
}
