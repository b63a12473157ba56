package kube

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/covetpy/covet/ops/rollout"
)

// annStill is on a Deployment that is scaled to nothing because its service is stopped: how many replicas it had. It goes with
// the write that gives them back.
const annStill = "covet.dev/replicas-when-stopped"

// stillMark is what a Deployment had before it was scaled to nothing.
func stillMark(o object) (n int, marked bool) {
	n, err := strconv.Atoi(o.GetAnnotations()[annStill])
	return n, err == nil
}

// stood is how many replicas served before the service was stopped.
func (g *sight) stood() (n int) {
	for _, slot := range slots {
		if o, ok := g.stage.deployment(slot); ok {
			had, _ := stillMark(o)
			n = max(n, had)
		}
	}
	return n
}

func replicasOf(o object) int {
	if n, there, _ := unstructured.NestedInt64(o.Object, "spec", "replicas"); there {
		return int(n)
	}
	return 1
}

// held reports whether the primary is one that Covet has stopped, or is about to: what its template holds is not what somebody
// else has deployed.
func (g *sight) held(s rollout.State) bool {
	o, ok := g.stage.deployment(primary)
	if !ok {
		return s.Stopped != nil
	}
	_, marked := stillMark(o)
	return s.Stopped != nil || marked
}

// restless reports whether the Deployments have yet to be stopped, or to be started again.
func (h *hand) restless(s rollout.State) bool {
	for _, slot := range slots {
		o, ok := h.sight.stage.deployment(slot)
		if !ok {
			continue
		}
		if _, marked := stillMark(o); s.Stopped == nil && marked || s.Stopped != nil && replicasOf(o) > 0 {
			return true
		}
	}
	return false
}

// still scales everything to nothing, and keeps on each Deployment how many replicas it had. An autoscaler leaves alone what
// has none.
func (h *hand) still(ctx context.Context) error {
	var errs []error
	for _, slot := range slots {
		if o, ok := h.sight.stage.deployment(slot); ok && replicasOf(o) > 0 {
			errs = append(errs, h.halt(ctx, slot))
		}
	}
	return errors.Join(errs...)
}

// halt scales one Deployment to nothing. Where somebody has scaled it up again since, that is undone, and told.
func (h *hand) halt(ctx context.Context, slot string) error {
	var again error
	err := h.rewrite(ctx, slot, func(o object) (map[string]string, map[string]any) {
		n := replicasOf(o)
		if n == 0 {
			return nil, nil
		}
		own := maps.Clone(o.GetAnnotations())
		if own == nil {
			own = map[string]string{}
		}
		if _, marked := stillMark(o); marked {
			again = fmt.Errorf("%s has scaled Deployment %s to %d while its service is stopped; it is scaled to nothing again",
				lastManager(o.GetManagedFields(), "replicas"), o.GetName(), n)
		} else {
			own[annStill] = strconv.Itoa(n)
		}
		return own, map[string]any{"/spec/replicas": 0}
	})
	return errors.Join(err, again)
}

// rewrite changes a Deployment as it is now; change answers with nothing where nothing is to be done.
func (h *hand) rewrite(ctx context.Context, slot string, change func(o object) (annotations map[string]string, fields map[string]any)) error {
	name, fresh := h.sight.nameOf(slot), true
	return h.retried(ctx, "Deployment "+name, func(ctx context.Context) error {
		o, ok := h.sight.stage.deployment(slot)
		if !ok || !fresh {
			var err error
			if o, err = h.sight.stage.client.on(deployments).Get(ctx, name, metav1.GetOptions{}); err != nil {
				return err
			}
		}
		fresh = false
		annotations, fields := change(o)
		if fields == nil {
			return nil
		}
		out, err := h.jsonPatch(ctx, o, resource{deployments, "Deployment"}, annotations, fields, false)
		if err != nil {
			return err
		}
		h.sight.stage.shelve(slot, out)
		return nil
	})
}

// rise starts what was stopped, as the journal wants it now: first the release, while nothing runs of it yet, then the replicas
// that there were. It reports whether there is nothing more of that to be done.
func (h *hand) rise(ctx context.Context, s rollout.State, want rollout.Desired) (done bool, err error) {
	done = true
	l := h.sight.layout(now())
	for _, slot := range slots {
		o, ok := h.sight.stage.deployment(slot)
		if !ok {
			continue
		}
		n, marked := stillMark(o)
		if !marked {
			continue
		}
		done = false
		version := l.slots[slot].version
		if s.Active == nil && slot == primary && version != s.Stable && len(l.hosts(s.Stable)) == 0 {
			return false, h.put(ctx, move{put, primary, s.Stable, 0}) // it is looked at again before anything of it runs
		}
		w, wanted := want[version]
		if !wanted {
			n = 0 // it is no longer to serve: what is done with it is place's to decide
		}
		if wanted && l.live(slot) {
			n = max(n, w.Instances)
		}
		if err := h.lift(ctx, slot, h.sight.scaled(slot, n)); err != nil {
			return false, err
		}
	}
	return done, nil
}

// lift gives a Deployment its replicas back, and takes the mark away, in one write.
func (h *hand) lift(ctx context.Context, slot string, n int) error {
	return h.rewrite(ctx, slot, func(o object) (map[string]string, map[string]any) {
		own := maps.Clone(o.GetAnnotations())
		if _, marked := stillMark(o); !marked {
			return nil, nil
		}
		delete(own, annStill)
		return own, map[string]any{"/spec/replicas": max(n, replicasOf(o))}
	})
}

// scaled is a number of replicas within what an autoscaler allows: it takes over as soon as there is one.
func (g *sight) scaled(slot string, n int) int {
	if n == 0 {
		return 0
	}
	for _, a := range g.stage.scalers.all() {
		if a.Spec.ScaleTargetRef.Kind != "Deployment" || a.Spec.ScaleTargetRef.Name != g.nameOf(slot) {
			continue
		}
		if a.Spec.MinReplicas != nil {
			n = max(n, int(*a.Spec.MinReplicas))
		}
		n = min(n, int(a.Spec.MaxReplicas))
	}
	return n
}

// SurveyStop implements console.StopSurveyor.
func (p *Port) SurveyStop(ctx context.Context, _ rollout.State) (refusals, notes []string, err error) {
	first, ok := p.stage.deployment(primary)
	if !ok {
		return []string{"there is no Deployment"}, nil, nil
	}
	v := surveyor{port: p, first: first, template: templateOf(first)}
	lacking, err := p.client.missing(ctx, permissions(false, p.stage.myRoutes()))
	if err != nil {
		return nil, nil, err
	}
	for _, l := range lacking {
		v.refuse("you may not %s", l)
	}
	for _, slot := range slots {
		if o, ok := p.stage.deployment(slot); ok {
			v.note("Deployment %s is scaled from %d to 0; the number is kept on it, and comes back with the start", o.GetName(), replicasOf(o))
		}
	}
	for _, a := range p.stage.scalers.all() {
		if a.Spec.ScaleTargetRef.Kind == "Deployment" && a.Spec.ScaleTargetRef.Name == first.GetName() {
			v.note("HorizontalPodAutoscaler %s leaves the Deployment alone while it has no replicas, and takes over again afterwards", a.Name)
		}
	}
	if who := lastManager(first.GetManagedFields(), "replicas"); who != "somebody" && !strings.HasPrefix(who, "kube") {
		v.note("%s sets the Deployment's replicas: what it may scale up meanwhile is scaled down again", who)
	}
	v.budget(ctx)
	return v.out.Refusals, v.out.Notes, nil
}
