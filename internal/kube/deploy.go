package kube

import (
	"context"
	"errors"
	"fmt"
	"maps"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/covetpy/covet/ops/rollout"
)

// resource is a kind of object with its name for people.
type resource struct {
	gvr  schema.GroupVersionResource
	kind string
}

// do makes a move.
func (h *hand) do(ctx context.Context, m move) error {
	switch m.do {
	case put:
		return h.put(ctx, m)
	case scale:
		return h.scale(ctx, m.slot, m.n)
	case remove:
		return h.remove(ctx)
	case home:
		return h.switchTo(ctx, m.slot)
	}
	return fmt.Errorf("there is no move %q", m.do)
}

func (h *hand) put(ctx context.Context, m move) error {
	r, ok := h.sight.state().Releases[m.version]
	if !ok || r.Manifest.Workload == nil {
		return fmt.Errorf("release %s is not one of Kubernetes", m.version)
	}
	rec, err := h.records.get(ctx, r.Manifest.Workload.Record)
	if err != nil {
		return err
	}
	if m.slot == candidate {
		return h.putCandidate(ctx, rec, m)
	}
	return h.putPrimary(ctx, rec, m)
}

// putPrimary gives the primary another template, and lets a paused Deployment go on, in one write. Its other fields are its
// owner's.
func (h *hand) putPrimary(ctx context.Context, rec record, m move) error {
	if err := h.openForUpdate(ctx); err != nil {
		return err
	}
	fresh := true
	err := h.retried(ctx, "Deployment "+h.sight.stage.at.Deployment, func(ctx context.Context) error {
		o, ok := h.sight.stage.deployment(primary)
		if !ok || !fresh {
			var err error
			if o, err = h.sight.stage.client.on(deployments).Get(ctx, h.sight.stage.at.Deployment, metav1.GetOptions{}); err != nil {
				return err
			}
		}
		fresh = false
		now := templateOf(o)
		if mk, ok := markOf(o.GetAnnotations()); ok && mk.theirs(h.turn(), now.hash()) {
			return foreign("Deployment", o, "the pod template", "template")
		}
		out, err := h.patchTemplate(ctx, o, rec.rendered().marked(primary, m.version), m.version, false)
		if err != nil {
			return err
		}
		h.sight.stage.shelve(primary, out)
		return h.remark(ctx, out)
	})
	return err
}

// openForUpdate lets the Services take the primary's new pods as well, where they are closed to those of one ReplicaSet.
func (h *hand) openForUpdate(ctx context.Context) error {
	for _, f := range h.sight.stage.fronts() {
		if f.Spec.Selector[podHash] == "" {
			continue
		}
		if err := h.point(ctx, f.Name, openFront, 0); err != nil {
			return err
		}
	}
	return nil
}

func (h *hand) patchTemplate(ctx context.Context, o object, t podTemplate, version string, dry bool) (object, error) {
	annotations := maps.Clone(o.GetAnnotations())
	if annotations == nil {
		annotations = map[string]string{}
	}
	annotations[annWrote] = mark{Turn: h.turn(), Hash: t.hash()}.String()
	annotations[annVersion] = version
	annotations["kubernetes.io/change-cause"] = "covet: " + version
	fields := map[string]any{"/spec/template": map[string]any(t)}
	if paused, _, _ := unstructured.NestedBool(o.Object, "spec", "paused"); paused {
		fields["/spec/paused"] = false
	}
	return h.jsonPatch(ctx, o, resource{deployments, "Deployment"}, annotations, fields, dry)
}

// remark notes what was really written, where an admission webhook has added to it.
func (h *hand) remark(ctx context.Context, o object) error {
	m, ok := markOf(o.GetAnnotations())
	hash := templateOf(o).hash()
	if !ok || m.Hash == hash {
		return nil
	}
	m.Hash = hash
	annotations := maps.Clone(o.GetAnnotations())
	annotations[annWrote] = m.String()
	out, err := h.jsonPatch(ctx, o, resource{deployments, "Deployment"}, annotations, nil, false)
	if err != nil {
		return err
	}
	h.sight.stage.shelve(primary, out)
	return nil
}

// putCandidate makes the second Deployment, or gives it another template. Before there is one, the Services are closed to the
// primary's pods, or they would take the candidate's as soon as they are ready.
func (h *hand) putCandidate(ctx context.Context, rec record, m move) error {
	if _, there := h.sight.stage.deployment(candidate); !there {
		if err := h.closeFronts(ctx); err != nil {
			return err
		}
	}
	o, err := h.candidateObject(rec, m.version, m.n)
	if err != nil {
		return err
	}
	var out object
	err = patiently(ctx, patience, func(ctx context.Context) (err error) {
		out, err = h.sight.stage.client.on(deployments).Apply(ctx, o.GetName(), o, metav1.ApplyOptions{FieldManager: manager, Force: true})
		return err
	})
	if err != nil {
		return err
	}
	h.sight.stage.shelve(candidate, out)
	for _, f := range h.sight.stage.fronts() {
		if err := h.beside(ctx, f, candidate); err != nil {
			return err
		}
	}
	return nil
}

func (h *hand) closeFronts(ctx context.Context) error {
	if err := h.relabel(ctx); err != nil && !apierrors.IsForbidden(err) {
		return err // whoever may not is left with the ReplicaSet's own label
	}
	for _, f := range h.sight.stage.fronts() {
		if frontSlot(f) == openFront {
			if err := h.point(ctx, f.Name, primary, 0); err != nil {
				return err
			}
		}
	}
	return nil
}

// candidateObject is the second Deployment: like the primary in everything but its template, its selector and its size.
func (h *hand) candidateObject(rec record, version string, n int) (object, error) {
	first, ok := h.sight.stage.deployment(primary)
	if !ok {
		return nil, errNoDeployment
	}
	spec, _, err := unstructured.NestedMap(first.Object, "spec")
	if err != nil {
		return nil, fmt.Errorf("read Deployment %s: %w", first.GetName(), err)
	}
	t := rec.rendered().marked(candidate, version)
	selector := runtime.DeepCopyJSON(spec["selector"].(map[string]any))
	must(unstructured.SetNestedField(selector, candidate, "matchLabels", labelSlot))
	own := map[string]any{"replicas": int64(n), "selector": selector, "template": map[string]any(t), "revisionHistoryLimit": int64(2)}
	for _, field := range []string{"progressDeadlineSeconds", "minReadySeconds"} {
		if v, there := spec[field]; there {
			own[field] = v
		}
	}
	o := ownObject("apps/v1", "Deployment", second(first.GetName()), first.GetName(), "candidate", map[string]any{"spec": own})
	o.SetAnnotations(map[string]string{annDeployment: first.GetName(), annVersion: version, annWrote: mark{Turn: h.turn(), Hash: t.hash()}.String()})
	return o, nil
}

// scale asks for a number of replicas without owning it: whoever owns it may change it again.
func (h *hand) scale(ctx context.Context, slot string, n int) error {
	patch := fmt.Appendf(nil, `{"spec":{"replicas":%d}}`, n)
	name := h.sight.nameOf(slot)
	return patiently(ctx, patience, func(ctx context.Context) error {
		_, err := h.sight.stage.client.on(deployments).Patch(ctx, name, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: manager}, "scale")
		return err
	})
}

// remove deletes the second Deployment. Its pods end as pods end, with their preStop hooks and their grace.
func (h *hand) remove(ctx context.Context) error {
	o, ok := h.sight.stage.deployment(candidate)
	if !ok {
		return nil
	}
	uid, background := o.GetUID(), metav1.DeletePropagationBackground
	err := patiently(ctx, patience, func(ctx context.Context) error {
		return h.sight.stage.client.on(deployments).Delete(ctx, o.GetName(), metav1.DeleteOptions{
			PropagationPolicy: &background, Preconditions: &metav1.Preconditions{UID: &uid},
		})
	})
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil
	}
	return err
}

// untidy reports whether something of Covet's is left on what it shares with others, or beside it.
func (h *hand) untidy() bool {
	stage := h.sight.stage
	if _, there := stage.deployment(candidate); there {
		return true
	}
	if o, ok := stage.deployment(primary); ok && isHeld(o) {
		return true
	}
	for _, f := range stage.fronts() {
		svc, ok := stage.services.get(second(f.Name))
		if frontSlot(f) != openFront || f.Annotations[annTraffic] != "" || ok && svc.Labels[labelKind] == "service" {
			return true
		}
	}
	for _, r := range stage.myRoutes() {
		if _, marked := markOf(r.object.GetAnnotations()); marked {
			return true
		}
	}
	return false
}

// tidy leaves nothing of Covet's in the way once there is only the primary: the Services choose its pods as they did before,
// the routes are as they were, and the second Services are gone.
func (h *hand) tidy(ctx context.Context) error {
	if _, there := h.sight.stage.deployment(candidate); there {
		return nil
	}
	for _, p := range h.sight.stage.pods.all() {
		if slotOf(p) == candidate {
			return nil // they would get traffic on their way out
		}
	}
	var errs []error
	if o, ok := h.sight.stage.deployment(primary); ok && isHeld(o) && h.sight.state().Active == nil {
		errs = append(errs, h.letGoOn(ctx))
	}
	errs = append(errs, h.route(ctx, 0, false))
	for _, f := range h.sight.stage.fronts() {
		if frontSlot(f) != openFront || f.Annotations[annTraffic] != "" {
			errs = append(errs, h.point(ctx, f.Name, openFront, 0))
		}
		if svc, ok := h.sight.stage.services.get(second(f.Name)); ok && svc.Labels[labelKind] == "service" {
			err := h.sight.stage.client.on(services).Delete(ctx, svc.Name, metav1.DeleteOptions{})
			if err != nil && !apierrors.IsNotFound(err) {
				errs = append(errs, err)
			}
		}
	}
	return errors.Join(errs...)
}

// Platform runs releases as Deployments. It implements rollout.Platform.
type Platform struct {
	hand *hand
	logs *lastWords
}

// Ensure implements rollout.Platform.
func (p *Platform) Ensure(ctx context.Context, d rollout.Desired) error {
	h := p.hand
	s := h.sight.state()
	if s.Stopped != nil {
		return h.still(ctx)
	}
	if len(d) == 0 && s.Stable != "" {
		return nil // wanted while the service was stopped, and it has been started since: what is wanted now is asked for next
	}
	if done, err := h.rise(ctx, s, d); !done || err != nil {
		return err
	}
	l := h.sight.layout(now())
	moves, err := place(l, d)
	errs := []error{err}
	for _, m := range moves {
		if err := h.do(ctx, m); err != nil {
			errs = append(errs, fmt.Errorf("%s %s (%s): %w", m.do, h.sight.nameOf(m.slot), m.version, err))
		}
	}
	return errors.Join(append(errs, h.tidy(ctx))...)
}

// Settled implements rollout.Settler.
func (p *Platform) Settled() bool { return !p.hand.untidy() }

// Observe implements rollout.Platform.
func (p *Platform) Observe(ctx context.Context) ([]rollout.Instance, error) {
	g := p.hand.sight
	out := g.instances(g.layout(now()))
	p.logs.add(ctx, out)
	return out, nil
}
