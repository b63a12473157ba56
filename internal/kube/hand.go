package kube

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/covetpy/covet/ops/rollout"
)

// hand changes what is on the stage. It writes under preconditions, leaves a mark of what it wrote on what it shares with
// others, and stops where somebody else has changed that since.
type hand struct {
	sight   *sight
	records *records
}

// turn names the time in which Covet may write once over what somebody else has written: from one decision of a person to the
// next.
func turn(s rollout.State) string {
	r := s.Active
	if r == nil {
		last, _ := s.Find("")
		return "after " + last.ID
	}
	t := fmt.Sprintf("%s.%d", r.ID, r.Resumes)
	if r.Phase == rollout.Aborting {
		t += " back"
	}
	return t
}

func (h *hand) turn() string { return turn(h.sight.state()) }

// attempts bounds how often a write is tried anew because somebody else has written meanwhile.
const attempts = 8

// errOutdated is why a write is not tried again.
var errOutdated = errors.New("another driver has decided meanwhile: this one looks again first")

// errStale is a write that lost against another.
var errStale = errors.New("it kept changing meanwhile")

// retried repeats a write for as long as it loses against others, provided that nothing has been decided meanwhile that this
// program has not read: a driver that was frozen must not write anew what it wanted then.
func (h *hand) retried(ctx context.Context, what string, write func(context.Context) error) error {
	for range attempts {
		err := patiently(ctx, patience, write)
		if !apierrors.IsConflict(err) {
			return err
		}
		if err := h.upToDate(ctx); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
	}
	return fmt.Errorf("%s: %w", what, errStale)
}

// upToDate fails where the journal says more than this program has read.
func (h *hand) upToDate(ctx context.Context) error {
	j := newJournal(h.sight.stage.client, h.sight.stage.at.Deployment)
	j.watched = h.sight.stage.head
	head, err := j.readHead(ctx)
	if err != nil {
		return err
	}
	if head.last > h.sight.state().Seq {
		h.sight.stage.bell.ring()
		return errOutdated
	}
	return nil
}

// fence changes the resourceVersion of everything that is shared with others, and nothing else of it: a write that was made
// from an earlier look is refused from then on.
func (h *hand) fence(ctx context.Context) error {
	stage := h.sight.stage
	group, ctx := errgroup.WithContext(ctx)
	touch := func(r schema.GroupVersionResource, name string) {
		group.Go(func() error { return stage.touch(ctx, r, name) })
	}
	for _, f := range stage.fronts() {
		touch(services, f.Name)
	}
	for _, r := range stage.myRoutes() {
		touch(r.dialect.gvr, r.object.GetName())
	}
	touch(deployments, stage.at.Deployment)
	return group.Wait()
}

// touch sets an annotation and removes it again.
func (s *stage) touch(ctx context.Context, r schema.GroupVersionResource, name string) error {
	for _, value := range []string{`"taken over"`, "null"} {
		patch := []byte(`{"metadata":{"annotations":{"` + annFence + `":` + value + `}}}`)
		err := patiently(ctx, patience, func(ctx context.Context) error {
			_, err := s.client.on(r).Patch(ctx, name, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: manager})
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// foreign says who else has changed a field.
func foreign(kind string, o metav1.Object, what, field string) error {
	return &rollout.ForeignError{Object: kind + " " + o.GetName(), What: what, Who: lastManager(o.GetManagedFields(), field)}
}

// lastManager is the field manager that is not Covet and wrote the field last.
func lastManager(all []metav1.ManagedFieldsEntry, field string) string {
	who, at := "somebody", time.Time{}
	for _, m := range all {
		if m.Manager == manager || m.FieldsV1 == nil || !strings.Contains(m.FieldsV1.GetRawString(), `"f:`+field+`"`) {
			continue
		}
		if m.Time == nil || !m.Time.Before(&metav1.Time{Time: at}) {
			who = m.Manager
			if m.Time != nil {
				at = m.Time.Time
			}
		}
	}
	return who
}

// point lets a Service's traffic go to one slot, or to both where slot is openFront: share percent of it to the candidate.
func (h *hand) point(ctx context.Context, name, slot string, share int) error {
	fresh := true
	return h.retried(ctx, "Service "+name, func(ctx context.Context) error {
		svc, err := h.service(ctx, name, !fresh)
		if err != nil {
			return err
		}
		fresh = false
		want := baseSelector(svc)
		if slot != openFront {
			own, err := h.sight.closing(slot)
			if err != nil {
				return err
			}
			maps.Copy(want, own)
		}
		traffic := ""
		if slot == openFront && share > 0 {
			traffic = fmt.Sprint(share)
		}
		if maps.Equal(want, svc.Spec.Selector) && svc.Annotations[annTraffic] == traffic {
			return nil
		}
		if m, ok := markOf(svc.Annotations); ok && m.theirs(h.turn(), digest(svc.Spec.Selector)) {
			return foreign("Service", svc, "the selector", "selector")
		}
		return h.patchService(ctx, svc, want, traffic)
	})
}

// service is a Service as it is known, or, where that proved too old, as it is.
func (h *hand) service(ctx context.Context, name string, anew bool) (*corev1.Service, error) {
	stage := h.sight.stage
	if svc, ok := stage.services.get(name); ok && !anew {
		return svc, nil
	}
	svc := &corev1.Service{}
	if err := stage.client.typed.Get().AbsPath(append(stage.client.path(services), name)...).Do(ctx).Into(svc); err != nil {
		return nil, err
	}
	stage.services.put(svc)
	return svc, nil
}

func (h *hand) patchService(ctx context.Context, svc *corev1.Service, selector map[string]string, traffic string) error {
	fields := map[string]any{}
	for k := range svc.Spec.Selector {
		fields[k] = nil
	}
	for k, v := range selector {
		fields[k] = v
	}
	annotations := map[string]any{annTraffic: nil, annWrote: mark{Turn: h.turn(), Hash: digest(selector)}.String()}
	if traffic != "" {
		annotations[annTraffic] = traffic
	}
	if maps.Equal(selector, baseSelector(svc)) && traffic == "" && h.sight.state().Active == nil {
		annotations[annWrote] = nil // at rest nothing of Covet's is left
	}
	raw, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"resourceVersion": svc.ResourceVersion, "annotations": annotations},
		"spec":     map[string]any{"selector": fields},
	})
	if err != nil {
		return err
	}
	c := h.sight.stage.client
	out := &corev1.Service{}
	err = c.typed.Patch(types.MergePatchType).AbsPath(append(c.path(services), svc.Name)...).Param("fieldManager", manager).Body(raw).Do(ctx).Into(out)
	if err != nil {
		return err
	}
	h.sight.stage.services.put(out)
	return nil
}

// closing is what a selector needs besides its own labels to choose only the pods of a slot.
func (g *sight) closing(slot string) (map[string]string, error) {
	if slot == candidate {
		return map[string]string{labelSlot: candidate}, nil
	}
	marked := true
	hashes := map[string]bool{}
	for _, p := range g.stage.pods.all() {
		if slotOf(p) != primary || p.deleting {
			continue
		}
		marked = marked && p.slot == primary
		hashes[p.hash] = true
	}
	o, ok := g.stage.deployment(primary)
	if ok && marked && templateOf(o).labels()[labelSlot] == primary {
		return map[string]string{labelSlot: primary}, nil
	}
	// Its pods are from before Covet. The label that their ReplicaSet gave them tells them apart without touching them.
	if len(hashes) == 1 {
		for hash := range hashes {
			return map[string]string{podHash: hash}, nil
		}
	}
	return nil, fmt.Errorf("the pods of Deployment %s are of %d ReplicaSets: it is in the middle of an update of its own", g.stage.at.Deployment, len(hashes))
}

// beside makes the second Service of a front choose the pods of a slot.
func (h *hand) beside(ctx context.Context, front *corev1.Service, slot string) error {
	own, err := h.sight.closing(slot)
	if err != nil {
		return err
	}
	selector := baseSelector(front)
	maps.Copy(selector, own)
	name := second(front.Name)
	if there, ok := h.sight.stage.services.get(name); ok && maps.Equal(there.Spec.Selector, selector) {
		return nil
	}
	var ports []any
	for _, p := range front.Spec.Ports {
		port := map[string]any{"port": int64(p.Port), "protocol": string(cmp.Or(p.Protocol, corev1.ProtocolTCP)), "targetPort": p.TargetPort.IntValue()}
		if p.TargetPort.Type == 1 {
			port["targetPort"] = p.TargetPort.StrVal
		}
		if p.Name != "" {
			port["name"] = p.Name
		}
		if p.AppProtocol != nil {
			port["appProtocol"] = *p.AppProtocol
		}
		ports = append(ports, port)
	}
	deployment := h.sight.stage.at.Deployment
	o := ownObject("v1", "Service", name, deployment, "service", map[string]any{"spec": map[string]any{"selector": anyMap(selector), "ports": ports}})
	return patiently(ctx, patience, func(ctx context.Context) error {
		_, err := h.sight.stage.client.on(services).Apply(ctx, name, o, metav1.ApplyOptions{FieldManager: manager, Force: true})
		return err
	})
}

func anyMap(m map[string]string) map[string]any {
	out := make(map[string]any, len(m))
	for k, v := range m {
		out[k] = v
	}
	return out
}

// route gives the second Service its share on every route, and the requests with the header. Nothing of either leaves the
// routes as they were before Covet.
func (h *hand) route(ctx context.Context, share int, header bool) error {
	for _, r := range h.sight.stage.myRoutes() {
		fresh := true
		err := h.retried(ctx, r.dialect.kind+" "+r.object.GetName(), func(ctx context.Context) error {
			if !fresh {
				o, err := h.sight.stage.client.on(r.dialect.gvr).Get(ctx, r.object.GetName(), metav1.GetOptions{})
				if err != nil {
					return err
				}
				r.object = o
			}
			fresh = false
			return h.patchRoute(ctx, r, share, header)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (h *hand) patchRoute(ctx context.Context, r route, share int, header bool) error {
	now, before := r.list(), r.before()
	m, marked := markOf(r.object.GetAnnotations())
	if !marked && share == 0 && !header {
		return nil
	}
	if marked && m.Hash != digest(now) {
		if m.theirs(h.turn(), digest(now)) {
			return foreign(r.dialect.kind, r.object, "the rules", r.dialect.rules[1])
		}
		before = r.dialect.merged(now, second(r.service), h.sight.stage.at.Namespace)
	}
	want := before
	if share > 0 || header {
		var err error
		want, err = r.dialect.split(before, r.service, second(r.service), h.sight.stage.at.Namespace, share, header)
		if err != nil {
			return fmt.Errorf("%s %s: %w", r.dialect.kind, r.object.GetName(), err)
		}
	}
	if marked && m.Hash == digest(now) && m.Share == share && m.Header == header {
		return nil
	}
	next := mark{Turn: h.turn(), Share: share, Header: header}
	of := resource{r.dialect.gvr, r.dialect.kind}
	fields := map[string]any{"/" + r.dialect.rules[0] + "/" + r.dialect.rules[1]: want}
	annotations := maps.Clone(r.object.GetAnnotations())
	if annotations == nil {
		annotations = map[string]string{}
	}
	delete(annotations, annBefore)
	delete(annotations, annWrote)
	if share > 0 || header {
		raw, err := json.Marshal(before)
		if err != nil {
			return err
		}
		annotations[annBefore] = string(raw)
		// The API server adds defaults: what is written is known only once it has said so.
		dry, err := h.jsonPatch(ctx, r.object, of, annotations, fields, true)
		if err != nil {
			return err
		}
		next.Hash = digest(route{dialect: r.dialect, object: dry}.list())
		annotations[annWrote] = next.String()
	}
	o, err := h.jsonPatch(ctx, r.object, of, annotations, fields, false)
	if err != nil {
		return err
	}
	h.sight.stage.routes[r.dialect.kind].put(o)
	return nil
}

// jsonPatch replaces whole fields of an object, provided that it is still the one that was looked at. What it does not name
// stays as it is.
func (h *hand) jsonPatch(ctx context.Context, o object, r resource, annotations map[string]string, fields map[string]any, dry bool) (object, error) {
	type op struct {
		Op    string `json:"op"`
		Path  string `json:"path"`
		Value any    `json:"value"`
	}
	ops := []op{{"replace", "/metadata/resourceVersion", o.GetResourceVersion()}, {"add", "/metadata/annotations", annotations}}
	for _, path := range slices.Sorted(maps.Keys(fields)) {
		ops = append(ops, op{"add", path, fields[path]})
	}
	raw, err := json.Marshal(ops)
	if err != nil {
		return nil, err
	}
	opts := metav1.PatchOptions{FieldManager: manager}
	if dry {
		opts.DryRun = []string{metav1.DryRunAll}
	}
	return h.sight.stage.client.on(r.gvr).Patch(ctx, o.GetName(), types.JSONPatchType, raw, opts)
}
