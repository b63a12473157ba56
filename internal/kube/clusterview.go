package kube

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/covetpy/covet/ops/console"
	"github.com/covetpy/covet/ops/rollout"
)

// View implements console.Cluster.
func (p *Port) View(ctx context.Context) (console.ClusterView, error) {
	p.surround()
	p.around.known(ctx)
	v := console.ClusterView{
		At: now(), Context: p.at.Context, Namespace: p.at.Namespace, Deployment: p.at.Deployment, Traffic: p.trafficBy(),
		Pods: []console.Pod{}, Events: []console.ClusterEvent{}, Nodes: []console.Node{}, Scalers: []console.Scaler{},
	}
	serving := p.servingAddresses()
	on := map[string]int{}
	for _, pod := range p.stage.pods.all() {
		v.Pods = append(v.Pods, p.podView(pod, serving))
		on[pod.Spec.NodeName]++
	}
	for _, n := range p.around.nodes.all() {
		if on[n.Name] > 0 {
			v.Nodes = append(v.Nodes, nodeView(n, on[n.Name]))
		}
	}
	for _, h := range p.stage.scalers.all() {
		if name := h.Spec.ScaleTargetRef.Name; name == p.at.Deployment || name == second(p.at.Deployment) {
			v.Scalers = append(v.Scalers, scalerView(h))
		}
	}
	for _, e := range p.around.events.all() {
		if p.concerns(e) {
			v.Events = append(v.Events, eventView(e))
		}
	}
	slices.SortFunc(v.Events, func(a, b console.ClusterEvent) int { return b.At.Compare(a.At) })
	v.Warnings = append(p.client.warnings.all(), p.unreadable()...)
	return v, nil
}

// ViewChanged implements console.Cluster.
func (p *Port) ViewChanged() <-chan struct{} { return p.stage.bell.changed() }

// around is what only the pages about the cluster need: it is watched from the first time that somebody looks.
type around struct {
	nodes  *shelf[*corev1.Node]
	events *shelf[*corev1.Event]
}

// known waits until nodes and events have been listed once, or cannot be; not for long, as the pods matter more.
func (a *around) known(ctx context.Context) {
	late := time.NewTimer(3 * time.Second)
	defer late.Stop()
	for _, synced := range []chan struct{}{a.nodes.synced, a.events.synced} {
		select {
		case <-synced:
		case <-late.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

// surround begins to watch nodes and events.
func (p *Port) surround() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.around != nil {
		return
	}
	ring := p.stage.bell.ring
	p.around = &around{nodes: newShelf[*corev1.Node]("nodes", ring), events: newShelf[*corev1.Event]("events", ring)}
	p.around.nodes.trim = func(n *corev1.Node) { n.ManagedFields, n.Status.Images = nil, nil }
	p.around.events.trim = func(e *corev1.Event) { e.ManagedFields = nil }
	p.running.Go(func() {
		p.around.nodes.keep(p.ctx, &corev1.Node{}, p.client.asTyped(nodes, selection{}, func() runtime.Object { return &corev1.NodeList{} }))
	})
	p.running.Go(func() {
		p.around.events.keep(p.ctx, &corev1.Event{}, p.client.asTyped(events, selection{}, func() runtime.Object { return &corev1.EventList{} }))
	})
}

// unreadable says what the pages lack.
func (p *Port) unreadable() []string {
	var out []string
	for _, w := range []watched{p.around.nodes, p.around.events, p.stage.endpoints, p.stage.scalers} {
		if err := w.refused(); err != nil {
			out = append(out, fmt.Sprintf("%s cannot be shown: %v", w.title(), err))
		}
	}
	return out
}

// servingAddresses are the addresses that the Services' EndpointSlices hold as ready.
func (p *Port) servingAddresses() map[string]bool {
	mine := map[string]bool{}
	for _, f := range p.stage.fronts() {
		mine[f.Name] = true
	}
	out := map[string]bool{}
	for _, e := range p.stage.endpoints.all() {
		if !mine[e.Labels[discoveryv1.LabelServiceName]] {
			continue
		}
		for _, end := range e.Endpoints {
			if end.Conditions.Ready == nil || *end.Conditions.Ready {
				for _, a := range end.Addresses {
					out[a] = true
				}
			}
		}
	}
	return out
}

func (p *Port) podView(pod *corev1.Pod, serving map[string]bool) console.Pod {
	version := p.sight.versionOfPod(pod)
	i := observe(pod, version)
	v := console.Pod{
		Name: pod.Name, Release: cmp.Or(version, unrecorded), Workload: p.sight.nameOf(slotOf(pod)), Phase: phaseOf(pod, i), Reason: i.Reason,
		Restarts: i.Restarts, Node: pod.Spec.NodeName, IP: pod.Status.PodIP, CreatedAt: pod.CreationTimestamp.Time,
		Traffic: serving[pod.Status.PodIP] && pod.Status.PodIP != "",
	}
	for _, c := range pod.Spec.Containers {
		v.Containers = append(v.Containers, containerView(c, pod.Status.ContainerStatuses))
	}
	for _, c := range v.Containers {
		if c.Ready {
			v.Ready++
		}
	}
	return v
}

// phaseOf is the pod's state in the word that kubectl has for it.
func phaseOf(pod *corev1.Pod, i rollout.Instance) string {
	switch {
	case pod.DeletionTimestamp != nil:
		return "Terminating"
	case pod.Status.Reason != "":
		return pod.Status.Reason
	case i.State == rollout.BackOff || i.State == rollout.Starting:
		if word, _, _ := strings.Cut(i.Reason, ":"); i.Reason != "" && !strings.Contains(word, " ") {
			return word
		}
	}
	return string(pod.Status.Phase)
}

func containerView(c corev1.Container, all []corev1.ContainerStatus) console.Container {
	v := console.Container{Name: c.Name, Image: c.Image, State: "waiting"}
	at := slices.IndexFunc(all, func(s corev1.ContainerStatus) bool { return s.Name == c.Name })
	if at < 0 {
		return v
	}
	s := all[at]
	v.Ready, v.Restarts, v.ImageID = s.Ready, int(s.RestartCount), s.ImageID
	switch {
	case s.State.Running != nil:
		v.State = "running"
	case s.State.Terminated != nil:
		v.State, v.Reason = "terminated", s.State.Terminated.Reason
	case s.State.Waiting != nil:
		v.Reason = s.State.Waiting.Reason
	}
	for _, t := range []*corev1.ContainerStateTerminated{s.State.Terminated, s.LastTerminationState.Terminated} {
		if t != nil {
			v.ExitCode, v.EndedAt = int(t.ExitCode), t.FinishedAt.Time
			break
		}
	}
	return v
}

func nodeView(n *corev1.Node, pods int) console.Node {
	v := console.Node{Name: n.Name, Cordoned: n.Spec.Unschedulable, Pods: pods, Version: n.Status.NodeInfo.KubeletVersion}
	for _, c := range n.Status.Conditions {
		switch {
		case c.Type == corev1.NodeReady:
			v.Ready = c.Status == corev1.ConditionTrue
		case c.Status == corev1.ConditionTrue:
			v.Conditions = append(v.Conditions, string(c.Type))
		}
	}
	return v
}

func scalerView(h *autoscalingv2.HorizontalPodAutoscaler) console.Scaler {
	v := console.Scaler{
		Name: h.Name, Target: h.Spec.ScaleTargetRef.Kind + "/" + h.Spec.ScaleTargetRef.Name, Min: 1, Max: int(h.Spec.MaxReplicas),
		Current: int(h.Status.CurrentReplicas), Desired: int(h.Status.DesiredReplicas),
	}
	if h.Spec.MinReplicas != nil {
		v.Min = int(*h.Spec.MinReplicas)
	}
	for _, m := range h.Status.CurrentMetrics {
		if m.Resource != nil && m.Resource.Current.AverageUtilization != nil {
			v.Metrics = append(v.Metrics, fmt.Sprintf("%s %d%%%s", m.Resource.Name, *m.Resource.Current.AverageUtilization, targetOf(h, m.Resource.Name)))
		}
	}
	for _, c := range h.Status.Conditions {
		if c.Status == corev1.ConditionFalse && (c.Type == autoscalingv2.ScalingActive || c.Type == autoscalingv2.AbleToScale) {
			v.Reason = c.Reason + ": " + c.Message
		}
	}
	return v
}

func targetOf(h *autoscalingv2.HorizontalPodAutoscaler, name corev1.ResourceName) string {
	for _, m := range h.Spec.Metrics {
		if m.Resource != nil && m.Resource.Name == name && m.Resource.Target.AverageUtilization != nil {
			return fmt.Sprintf(" of %d%%", *m.Resource.Target.AverageUtilization)
		}
	}
	return ""
}

// concerns reports whether an event is about the service: its Deployments, or what they and their Services made.
func (p *Port) concerns(e *corev1.Event) bool {
	name := e.InvolvedObject.Name
	for _, own := range []string{p.at.Deployment, second(p.at.Deployment)} {
		if name == own || strings.HasPrefix(name, own+"-") {
			return true
		}
	}
	for _, f := range p.stage.fronts() {
		if name == f.Name {
			return true
		}
	}
	return false
}

func eventView(e *corev1.Event) console.ClusterEvent {
	at := e.LastTimestamp.Time
	for _, t := range []time.Time{e.EventTime.Time, e.FirstTimestamp.Time, e.CreationTimestamp.Time} {
		if at.IsZero() {
			at = t
		}
	}
	count := int(e.Count)
	if e.Series != nil {
		count, at = int(e.Series.Count), e.Series.LastObservedTime.Time
	}
	return console.ClusterEvent{
		At: at, Count: max(count, 1), Warning: e.Type == corev1.EventTypeWarning, Object: e.InvolvedObject.Kind + "/" + e.InvolvedObject.Name,
		Reason: e.Reason, Message: e.Message, From: cmp.Or(e.ReportingController, e.Source.Component),
	}
}

// Targets implements console.Cluster.
func (p *Port) Targets(ctx context.Context) (console.Targets, error) {
	t := console.Targets{
		Context: p.at.Context, Namespace: p.at.Namespace, Service: p.at.Deployment, Namespaces: []string{}, Services: []string{},
		Production: Production(p.at.Context, p.at.Namespace),
	}
	var err error
	if t.Contexts, err = p.target.contexts(); err != nil {
		return t, err
	}
	list := &corev1.NamespaceList{}
	if err := p.client.list(ctx, namespaces, list); err != nil {
		t.Hidden = fmt.Sprintf("the namespaces cannot be listed: %v", err)
	}
	for _, n := range list.Items {
		t.Namespaces = append(t.Namespaces, n.Name)
	}
	all, err := p.client.on(deployments).List(ctx, metav1.ListOptions{Limit: 500, LabelSelector: "!" + labelKind})
	if err != nil {
		return t, inWords("list the Deployments", err)
	}
	for _, o := range all.Items {
		t.Services = append(t.Services, o.GetName())
	}
	return t, nil
}

// Switch opens another target with the same options.
func (p *Port) Switch(ctx context.Context, to console.TargetRef) (console.Port, error) {
	t := p.target
	if to.Context != "" && to.Context != p.at.Context {
		t = Target{Kubeconfig: t.Kubeconfig, Context: to.Context}
	}
	if to.Namespace != "" {
		t.Namespace, t.Deployment, t.Service = to.Namespace, "", ""
	}
	if to.Deployment != "" {
		t.Deployment, t.Service = to.Deployment, ""
	}
	return Open(ctx, t, p.options)
}
