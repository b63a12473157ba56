package kube

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/covetpy/covet/ops/rollout"
)

// Router splits traffic with the Services' selectors and, where there are any, routes. It implements rollout.Router.
type Router struct {
	hand *hand

	mu    sync.Mutex
	asked string // the candidate that was asked for last, where no route can look at headers
}

// Weights implements rollout.Router.
func (r *Router) Weights(context.Context) (rollout.Weights, string, error) {
	g := r.hand.sight
	l := g.layout(now())
	w := g.weights(l)
	routes := g.stage.myRoutes()
	if len(routes) == 0 {
		r.mu.Lock()
		defer r.mu.Unlock()
		return w, r.asked, nil
	}
	marked := 0
	for _, route := range routes {
		if m, ok := markOf(route.object.GetAnnotations()); ok && m.Header {
			marked++
		}
	}
	if marked < len(routes) {
		return w, "", nil
	}
	return w, l.slots[other(g.frontNow())].version, nil
}

// frontNow is the slot that the Services are closed to; the primary where they are open.
func (g *sight) frontNow() string {
	if f := g.stage.fronts(); len(f) > 0 && frontSlot(f[0]) == candidate {
		return candidate
	}
	return primary
}

// SetWeights implements rollout.Router. A release gets its share only once it has the ready instances for it: until then it
// answers rollout.ErrHeld.
func (r *Router) SetWeights(ctx context.Context, w rollout.Weights, asked string) error {
	r.mu.Lock()
	r.asked = asked
	r.mu.Unlock()
	h := r.hand
	l := h.sight.layout(now())
	if _, two := l.slots[candidate]; !two {
		return nil // one Deployment has all the traffic: its own update moves it
	}
	target, err := l.target(w)
	if err != nil {
		return err
	}
	if err := h.sight.enough(l, target); err != nil {
		return err
	}
	for _, slot := range slots {
		if target[slot] == 100 {
			return h.settleOn(ctx, l, slot, asked)
		}
	}
	return h.divide(ctx, l, target, asked)
}

// target is the share of each slot that gives the releases theirs.
func (l layout) target(w rollout.Weights) (map[string]int, error) {
	out := map[string]int{}
	for version, share := range w {
		hosts := l.hosts(version)
		if len(hosts) == 0 {
			return nil, fmt.Errorf("%w: %s has no Deployment yet", rollout.ErrHeld, version)
		}
		out[hosts[0]] += share
	}
	return out, nil
}

// enough reports whether every slot that is to get more traffic has the ready instances for it. What goes back to the release
// before goes back to whatever is ready of it: the engine has waited for as long as it could.
func (g *sight) enough(l layout, target map[string]int) error {
	for slot, share := range target {
		if share <= l.shares[slot] {
			continue
		}
		w := l.slots[slot]
		ready, need := w.ready, max(1, (l.need*share+99)/100)
		if w.version == l.back {
			need = 1
		}
		if slot == primary && l.shares[primary] == 0 {
			ready = min(ready, w.noted) // no Service shows yet which of its pods the EndpointSlices would hold
		}
		for _, f := range g.stage.fronts() {
			if slot == candidate && g.stage.endpoints.refused() == nil {
				ready = min(ready, served(g.stage.endpoints.all(), second(f.Name)))
			}
		}
		if ready < need {
			return fmt.Errorf("%w: %s has %d of the %d ready instances that %d%% of the traffic needs", rollout.ErrHeld, w.version, ready, need, share)
		}
	}
	return nil
}

// settleOn gives one slot all the traffic: the Services first, in one write each, and the routes after them.
func (h *hand) settleOn(ctx context.Context, l layout, slot, asked string) error {
	if h.sight.frontNow() == slot { // what a route sends elsewhere comes back first
		if err := h.route(ctx, 0, false); err != nil {
			return err
		}
	}
	if err := h.switchTo(ctx, slot); err != nil {
		return err
	}
	return h.offer(ctx, l, slot, asked)
}

// switchTo closes every Service to a slot, and leaves no weight on the routes.
func (h *hand) switchTo(ctx context.Context, slot string) error {
	var errs []error
	for _, f := range h.sight.stage.fronts() {
		errs = append(errs, h.point(ctx, f.Name, slot, 0))
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return h.route(ctx, 0, false)
}

// offer lets requests with the header reach the candidate, once it can answer them.
func (h *hand) offer(ctx context.Context, l layout, slot, asked string) error {
	aside := other(slot)
	if asked == "" || l.slots[aside].version != asked || l.slots[aside].ready == 0 {
		return nil
	}
	if err := h.besideAll(ctx, aside); err != nil {
		return err
	}
	return h.route(ctx, 0, true)
}

// besideAll points every second Service at a slot. One that has weight is never turned around under it.
func (h *hand) besideAll(ctx context.Context, slot string) error {
	for _, f := range h.sight.stage.fronts() {
		if err := h.beside(ctx, f, slot); err != nil {
			return err
		}
	}
	return nil
}

// divide gives both slots a share: by the routes where there are any, else by the number of instances.
func (h *hand) divide(ctx context.Context, l layout, target map[string]int, asked string) error {
	if len(h.sight.stage.myRoutes()) == 0 {
		var errs []error
		for _, f := range h.sight.stage.fronts() {
			errs = append(errs, h.point(ctx, f.Name, openFront, target[candidate]))
		}
		return errors.Join(errs...)
	}
	front := h.sight.frontNow()
	for _, f := range h.sight.stage.fronts() {
		if err := h.point(ctx, f.Name, front, 0); err != nil {
			return err
		}
	}
	aside := other(front)
	if err := h.besideAll(ctx, aside); err != nil {
		return err
	}
	header := asked != "" && l.slots[aside].version == asked && l.slots[aside].ready > 0
	return h.route(ctx, target[aside], header)
}
