package kube

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
)

// slotLabel gives pods the label of the primary's slot.
var slotLabel = []byte(`{"metadata":{"labels":{"` + labelSlot + `":"` + primary + `"}}}`)

// slotTemplate gives the pods of a ReplicaSet that are yet to come the same.
var slotTemplate = []byte(`{"spec":{"template":{"metadata":{"labels":{"` + labelSlot + `":"` + primary + `"}}}}}`)

// relabel gives the pods of a Deployment from before Covet the label by which a Service can be closed to them, without restarting
// any: the pods, the templates of the ReplicaSets and the Deployment's get it while the Deployment is paused, and afterwards its
// template is again that of the ReplicaSet it has. What somebody else deploys later keeps the label, so that a Service which a
// driver has left closed still finds it; a Service that is closed by the hash of a ReplicaSet would be left with nothing.
func (h *hand) relabel(ctx context.Context) error {
	stage := h.sight.stage
	o, ok := stage.deployment(primary)
	if !ok || templateOf(o).labels()[labelSlot] == primary {
		return nil
	}
	if err := h.mayRelabel(ctx, o); err != nil {
		return err
	}
	lacking := h.sight.lacking(o)
	if err := h.hold(ctx); err != nil {
		return err
	}
	if err := h.seenPaused(ctx); err != nil {
		return err
	}
	for range attempts { // pods that came meanwhile are without it
		n, err := h.labelPods(ctx, o)
		if err != nil {
			return err
		}
		if n == 0 {
			break
		}
	}
	if err := h.labelTemplate(ctx); err != nil {
		return err
	}
	return h.seenLabelled(ctx, lacking)
}

// mayRelabel tries whether the caller may do all of it: half of it would restart the pods.
func (h *hand) mayRelabel(ctx context.Context, o object) error {
	for _, set := range h.sight.setsOf(o) {
		_, err := h.sight.stage.client.on(replicaSets).Patch(ctx, set.GetName(), types.MergePatchType, slotTemplate,
			metav1.PatchOptions{FieldManager: manager, DryRun: []string{metav1.DryRunAll}})
		if err != nil {
			return err
		}
	}
	for _, p := range h.sight.stage.pods.all() {
		_, err := h.sight.stage.client.on(pods).Patch(ctx, p.name, types.MergePatchType, slotLabel,
			metav1.PatchOptions{FieldManager: manager, DryRun: []string{metav1.DryRunAll}})
		if apierrors.IsNotFound(err) {
			continue // it has just gone
		}
		return err // one stands for all
	}
	return nil
}

// setsOf are the ReplicaSets of a Deployment, those with earlier templates included: an undo by kubectl returns to one of them.
func (g *sight) setsOf(o object) []object {
	var out []object
	for _, set := range g.stage.sets.all() {
		if metav1.IsControlledBy(set, o) {
			out = append(out, set)
		}
	}
	return out
}

// hold pauses the Deployment, and leaves a mark of it where it was not paused before.
func (h *hand) hold(ctx context.Context) error {
	return h.changePrimary(ctx, func(o object, annotations map[string]string) map[string]any {
		if paused, _, _ := unstructured.NestedBool(o.Object, "spec", "paused"); !paused {
			annotations[annPaused] = "true"
		}
		return map[string]any{"/spec/paused": true}
	})
}

// letGoOn undoes a hold that was not brought to its end.
func (h *hand) letGoOn(ctx context.Context) error {
	return h.changePrimary(ctx, func(_ object, annotations map[string]string) map[string]any {
		delete(annotations, annPaused)
		return map[string]any{"/spec/paused": false}
	})
}

// isHeld reports whether a Deployment is paused by a hold.
func isHeld(o object) bool { return o.GetAnnotations()[annPaused] != "" }

// labelTemplate makes the Deployment's template that of its ReplicaSet again, and lets it go on, in one write.
func (h *hand) labelTemplate(ctx context.Context) error {
	return h.changePrimary(ctx, func(o object, annotations map[string]string) map[string]any {
		t := templateOf(o)
		must(unstructured.SetNestedField(t, primary, "metadata", "labels", labelSlot))
		paused := !isHeld(o)
		delete(annotations, annPaused)
		return map[string]any{"/spec/template": map[string]any(t), "/spec/paused": paused}
	})
}

// changePrimary replaces fields of the primary Deployment, and changes its annotations.
func (h *hand) changePrimary(ctx context.Context, change func(o object, annotations map[string]string) map[string]any) error {
	return h.rewrite(ctx, primary, func(o object) (map[string]string, map[string]any) {
		annotations := maps.Clone(o.GetAnnotations())
		if annotations == nil {
			annotations = map[string]string{}
		}
		return annotations, change(o, annotations)
	})
}

// seenPaused waits until the Deployment's controller knows that it is paused.
func (h *hand) seenPaused(ctx context.Context) error {
	return h.sight.stage.until(ctx, "the Deployment controller to notice that the Deployment is paused", func() bool {
		o, ok := h.sight.stage.deployment(primary)
		n, _, _ := unstructured.NestedInt64(objectOrNone(o, ok), "status", "observedGeneration")
		return ok && n >= o.GetGeneration()
	})
}

func objectOrNone(o object, ok bool) map[string]any {
	if !ok {
		return nil
	}
	return o.Object
}

// seenLabelled waits until the watch tells of the label on every pod, and until the cluster's controllers have seen it: what fills
// the EndpointSlices learns of pods and of Services on different ways, and a Service that is closed to a label which it has not seen
// on any pod would be left with nothing.
func (h *hand) seenLabelled(ctx context.Context, lacking map[string]int64) error {
	return h.sight.stage.until(ctx, "the pods to show their label", func() bool {
		for _, p := range h.sight.stage.pods.all() {
			if p.slot == "" && !p.deleting {
				return false
			}
		}
		o, ok := h.sight.stage.deployment(primary)
		return ok && !slices.ContainsFunc(h.sight.setsOf(o), func(set object) bool {
			n := unlabelled(set)
			return n < 0 || n > lacking[set.GetName()]
		})
	})
}

// lacking is how many pods of each ReplicaSet that is to be labelled lack a label of its template already, because somebody has taken
// it from them: they will go on to.
func (g *sight) lacking(o object) map[string]int64 {
	out := map[string]int64{}
	for _, set := range g.setsOf(o) {
		if templateOf(set).labels()[labelSlot] == "" {
			out[set.GetName()] = max(unlabelled(set), 0)
		}
	}
	return out
}

// unlabelled is on how many of a ReplicaSet's pods the controllers miss a label of its template; -1 where they have not looked at the
// template yet. They share one view of the pods: what counts these also fills the EndpointSlices.
func unlabelled(set object) int64 {
	status := func(field string) int64 {
		n, _, _ := unstructured.NestedInt64(set.Object, "status", field)
		return n
	}
	if status("observedGeneration") < set.GetGeneration() {
		return -1
	}
	return status("replicas") - status("fullyLabeledReplicas")
}

// until waits for what is watched to be as wanted.
func (s *stage) until(ctx context.Context, what string, ok func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		changed := s.bell.changed()
		if ok() {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waited for %s: %w", what, ctx.Err())
		case <-changed:
		}
	}
}

// labelPods labels the ReplicaSets' templates, and then the pods that have no label yet. It returns how many there were.
func (h *hand) labelPods(ctx context.Context, o object) (int, error) {
	var sets, bare []string
	for _, set := range h.sight.setsOf(o) {
		if templateOf(set).labels()[labelSlot] == "" {
			sets = append(sets, set.GetName())
		}
	}
	if err := h.patchAll(ctx, replicaSets, sets, slotTemplate); err != nil {
		return 0, err
	}
	list, err := h.sight.stage.client.on(pods).List(ctx, metav1.ListOptions{LabelSelector: h.sight.stage.selector + ",!" + labelSlot})
	if err != nil {
		return 0, err
	}
	for i := range list.Items {
		bare = append(bare, list.Items[i].GetName())
	}
	return len(bare), h.patchAll(ctx, pods, bare, slotLabel)
}

// patchAll makes the same change to many objects. One that is gone needs none.
func (h *hand) patchAll(ctx context.Context, r schema.GroupVersionResource, names []string, patch []byte) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(16)
	for _, name := range names {
		group.Go(func() error {
			err := patiently(ctx, patience, func(ctx context.Context) error {
				_, err := h.sight.stage.client.on(r).Patch(ctx, name, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: manager})
				return err
			})
			if apierrors.IsNotFound(err) {
				return nil
			}
			return err
		})
	}
	return group.Wait()
}
