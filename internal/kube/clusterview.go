package kube

import (
	"cmp"
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/covetpy/covet/ops/console"
	"github.com/covetpy/covet/ops/rollout"
)

// View implements console.Cluster.
func (p *Port) View(context.Context) (console.ClusterView, error) {
	p.surround()
	fronts := frontNames(p.stage.fronts())
	v := console.ClusterView{
		At: now(), Context: p.at.Context, Namespace: p.at.Namespace, Deployment: p.at.Deployment, Traffic: p.trafficBy(),
		Nodes: []console.Node{}, Scalers: []console.Scaler{}, Events: p.around.happened(p.at.Deployment, fronts), Partial: !p.around.known(),
	}
	var on map[string]int
	v.Pods, on = p.podViews(fronts)
	for _, n := range p.around.nodes.all() {
		if view := n.view; on[n.name] > 0 {
			view.Pods = on[n.name]
			v.Nodes = append(v.Nodes, view)
		}
	}
	for _, h := range p.stage.scalers.all() {
		if name := h.Spec.ScaleTargetRef.Name; name == p.at.Deployment || name == second(p.at.Deployment) {
			v.Scalers = append(v.Scalers, scalerView(h))
		}
	}
	v.Warnings = append(p.client.warnings.all(), p.unreadable()...)
	return v, nil
}

// podViews are the pods, of which only those that have changed are made anew, and how many there are on each node.
func (p *Port) podViews(fronts []string) ([]*console.Pod, map[string]int) {
	all, version := p.stage.pods.all(), p.sight.versions()
	serving := p.around.serving(p.stage.endpoints, fronts)
	views, on := make([]*console.Pod, 0, len(all)), map[string]int{}
	for _, pod := range all {
		on[pod.node]++
		views = append(views, pod.in(cmp.Or(version(pod), unrecorded), p.sight.nameOf(slotOf(pod)), pod.view.IP != "" && serving[pod.view.IP]))
	}
	return views, on
}

func frontNames(fronts []*corev1.Service) []string {
	var out []string
	for _, f := range fronts {
		out = append(out, f.Name)
	}
	return out
}

// ViewChanged implements console.Cluster.
func (p *Port) ViewChanged() <-chan struct{} { return p.stage.bell.changed() }

// around is what only the pages about the cluster need: it is watched from the first time that somebody looks.
type around struct {
	nodes  *shelf[*node]
	events *shelf[*event]

	mu     sync.Mutex
	said   made[[]*console.ClusterEvent]
	served made[map[string]bool]
}

// made is something made of a shelf and of some Services, for as long as they stay as they are.
type made[T any] struct {
	is      bool
	version uint64
	fronts  []string
	of      T
}

func (m *made[T]) again(version uint64, fronts []string, make func() T) T {
	if !m.is || m.version != version || !slices.Equal(m.fronts, fronts) {
		*m = made[T]{true, version, fronts, make()}
	}
	return m.of
}

// serving are the addresses that the Services' EndpointSlices hold as ready.
func (a *around) serving(all *shelf[*endpoints], fronts []string) map[string]bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.served.again(all.seen(), fronts, func() map[string]bool { return addresses(all.all(), fronts...) })
}

// eventsKept bounds the events: a cluster that scales up by ten thousand pods says five things of each of them.
const eventsKept = 5000

// happened are the events about the service, newest first.
func (a *around) happened(deployment string, fronts []string) []*console.ClusterEvent {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.said.again(a.events.seen(), fronts, func() []*console.ClusterEvent {
		out := []*console.ClusterEvent{}
		for _, e := range a.events.all() {
			if concerns(e.about, deployment) || slices.Contains(fronts, e.about) {
				out = append(out, e.view)
			}
		}
		slices.SortStableFunc(out, func(a, b *console.ClusterEvent) int { return b.At.Compare(a.At) })
		return out
	})
}

// known reports whether nodes and events have been listed once, or cannot be.
func (a *around) known() bool {
	for _, synced := range []chan struct{}{a.nodes.synced, a.events.synced} {
		select {
		case <-synced:
		default:
			return false
		}
	}
	return true
}

// surround begins to watch nodes and events.
func (p *Port) surround() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.around != nil {
		return
	}
	ring, w := p.stage.bell.ring, &p.stage.words
	p.around = &around{nodes: newShelf[*node]("nodes", ring), events: newShelf[*event]("events", ring)}
	p.around.nodes.slim = func(o any) *node {
		n := o.(*corev1.Node)
		return &node{meta: meta{name: n.Name, version: n.ResourceVersion}, view: nodeView(n)}
	}
	p.around.nodes.alike = func(a, b *node) bool { return reflect.DeepEqual(a.view, b.view) } // a node tells every few seconds that it lives
	p.around.events.slim = func(o any) *event { return slimEvent(w, o.(*corev1.Event)) }
	p.around.events.fits = func(e *event) bool {
		_, front := p.stage.services.get(e.about)
		return front || concerns(e.about, p.at.Deployment)
	}
	p.around.events.limit = eventsKept
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

// podView is what is shown of a pod, but for what the rest of the cluster says of it.
func podView(w *words, pod *corev1.Pod, i sighting) *console.Pod {
	v := &console.Pod{
		Name: pod.Name, Phase: w.one(phaseOf(pod, i)), Reason: i.reason, Restarts: i.restarts, Node: w.one(pod.Spec.NodeName), IP: pod.Status.PodIP,
		CreatedAt: pod.CreationTimestamp.Time, Containers: make([]console.Container, 0, len(pod.Spec.Containers)),
	}
	for n := range pod.Spec.Containers {
		c := containerView(w, &pod.Spec.Containers[n], pod.Status.ContainerStatuses)
		if c.Ready {
			v.Ready++
		}
		v.Containers = append(v.Containers, c)
	}
	return v
}

// phaseOf is the pod's state in the word that kubectl has for it.
func phaseOf(pod *corev1.Pod, i sighting) string {
	switch {
	case pod.DeletionTimestamp != nil:
		return "Terminating"
	case pod.Status.Reason != "":
		return pod.Status.Reason
	case i.state == rollout.BackOff || i.state == rollout.Starting:
		if word, _, _ := strings.Cut(i.reason, ":"); i.reason != "" && !strings.Contains(word, " ") {
			return word
		}
	}
	return string(pod.Status.Phase)
}

func containerView(w *words, c *corev1.Container, all []corev1.ContainerStatus) console.Container {
	v := console.Container{Name: w.one(c.Name), Image: w.one(c.Image), State: "waiting"}
	at := slices.IndexFunc(all, func(s corev1.ContainerStatus) bool { return s.Name == c.Name })
	if at < 0 {
		return v
	}
	s := &all[at]
	v.Ready, v.Restarts, v.ImageID = s.Ready, int(s.RestartCount), w.one(s.ImageID)
	switch {
	case s.State.Running != nil:
		v.State = "running"
	case s.State.Terminated != nil:
		v.State, v.Reason = "terminated", w.one(s.State.Terminated.Reason)
	case s.State.Waiting != nil:
		v.Reason = w.one(s.State.Waiting.Reason)
	}
	for _, t := range []*corev1.ContainerStateTerminated{s.State.Terminated, s.LastTerminationState.Terminated} {
		if t != nil {
			v.ExitCode, v.EndedAt = int(t.ExitCode), t.FinishedAt.Time
			break
		}
	}
	return v
}

func nodeView(n *corev1.Node) console.Node {
	v := console.Node{Name: n.Name, Cordoned: n.Spec.Unschedulable, Version: n.Status.NodeInfo.KubeletVersion}
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

// concerns reports whether an object of that name is one of the service's Deployments, or of what they made.
func concerns(name, deployment string) bool {
	rest, ok := strings.CutPrefix(name, deployment)
	return ok && (rest == "" || rest[0] == '-') // the second Deployment's name begins with the first one's
}

func eventView(w *words, e *corev1.Event) *console.ClusterEvent {
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
	return &console.ClusterEvent{
		At: at, Count: max(count, 1), Warning: e.Type == corev1.EventTypeWarning, Object: e.InvolvedObject.Kind + "/" + e.InvolvedObject.Name,
		Reason: w.one(e.Reason), Message: e.Message, From: w.one(cmp.Or(e.ReportingController, e.Source.Component)),
	}
}
