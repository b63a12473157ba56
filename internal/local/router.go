package local

import (
	"context"
	"errors"
	"maps"
	"sync"

	"github.com/covetpy/covet/ops/rollout"
	"github.com/covetpy/covet/server/proxy"
)

// Router splits traffic with covetd's own balancer. It implements rollout.Router.
type Router struct {
	Balancer *proxy.Balancer

	mu        sync.Mutex
	candidate string
}

// Weights implements rollout.Router.
func (r *Router) Weights(context.Context) (rollout.Weights, string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	w := rollout.Weights(r.Balancer.Weights())
	maps.DeleteFunc(w, func(_ string, share int) bool { return share == 0 })
	return w, r.candidate, nil
}

// SetWeights implements rollout.Router.
func (r *Router) SetWeights(_ context.Context, w rollout.Weights, candidate string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(w) > 0 {
		if err := r.Balancer.SetWeights(w); err != nil {
			return err
		}
	}
	r.Balancer.SetCandidate(candidate)
	r.candidate = candidate
	return nil
}

// Traffic lets the supervisor of workers tell the balancer which instances may get requests. It implements
// workers.Traffic.
type Traffic struct{ Balancer *proxy.Balancer }

// Join implements workers.Traffic.
func (t Traffic) Join(id, release, addr string) {
	t.Balancer.Join(proxy.Target{ID: id, Release: release, Addr: addr})
}

// Suspend implements workers.Traffic. An instance that the balancer does not know has no traffic to lose.
func (t Traffic) Suspend(id string) { _ = t.Balancer.Suspend(id) }

// Leave implements workers.Traffic. An instance that never was ready has nothing to wait for.
func (t Traffic) Leave(ctx context.Context, id string) error {
	err := t.Balancer.Leave(ctx, id)
	if errors.Is(err, proxy.ErrUnknownInstance) {
		return nil
	}
	return err
}
