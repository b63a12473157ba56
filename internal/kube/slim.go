package kube

import (
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/covetpy/covet/ops/console"
	"github.com/covetpy/covet/ops/rollout"
)

// meta is the metadata of what is kept of an object. A reflector asks for no more than its name and its version; the interface
// is embedded because it has thirty methods, and to call another one is a mistake that panics.
type meta struct {
	metav1.Object
	name, version string
}

func (m *meta) GetName() string            { return m.name }
func (m *meta) GetNamespace() string       { return "" }
func (m *meta) GetResourceVersion() string { return m.version }

// words keeps one copy of each text that many objects have in common: a thousand pods name the same image.
type words struct {
	mu    sync.Mutex
	known map[string]string
}

// wordsKept bounds them: what is forgotten is only kept twice.
const wordsKept = 4096

func (w *words) one(text string) string {
	if text == "" {
		return ""
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if same, ok := w.known[text]; ok {
		return same
	}
	if w.known == nil || len(w.known) >= wordsKept {
		w.known = map[string]string{}
	}
	w.known[text] = text
	return text
}

// pod is what is kept of a pod: what is shown and decided by, in a sixth of the memory. It never changes, but for view.
type pod struct {
	meta
	uid      string
	owner    string // the ReplicaSet that made it
	slot     string // by its label, which pods from before Covet lack
	hash     string // that its ReplicaSet gave it
	named    string // the release, by its annotation
	speaker  string // the container whose log is meant where none is named
	node     string
	ip       string
	made     time.Time
	ready    bool
	readyAt  time.Time // since when, if so
	deleting bool
	seen     sighting
	lives    []life

	mu   sync.Mutex
	view *console.Pod // with the release, the Deployment and the traffic that it was last shown with; never changed, but replaced
}

// sighting is what a pod does.
type sighting struct {
	state              rollout.InstanceState
	reason             string
	since, started     time.Time
	restarts, failures int
}

// life is what a container does and has done.
type life struct {
	name, image, imageID string
	init                 bool
	ready                bool
	placed               bool // it was ever made
	begun                bool // it has ever run
	waits, ended         bool // now; in the life before
	restarts             int
}

func slimPod(w *words, p *corev1.Pod) *pod {
	out := &pod{
		meta: meta{name: p.Name, version: p.ResourceVersion}, uid: string(p.UID), owner: w.one(owner(p)),
		slot: w.one(p.Labels[labelSlot]), hash: w.one(p.Labels[podHash]), named: w.one(p.Annotations[annVersion]), speaker: w.one(speaker(p)),
		node: w.one(p.Spec.NodeName), ip: p.Status.PodIP, made: p.CreationTimestamp.Time, deleting: p.DeletionTimestamp != nil, seen: observe(p),
	}
	c := condition(p, corev1.PodReady)
	if out.ready = c != nil && c.Status == corev1.ConditionTrue && !out.deleting; out.ready {
		out.readyAt = c.LastTransitionTime.Time
	}
	out.seen.reason = w.one(out.seen.reason)
	for i := range p.Status.InitContainerStatuses {
		out.lives = append(out.lives, lifeOf(w, &p.Status.InitContainerStatuses[i], true))
	}
	for i := range p.Status.ContainerStatuses {
		out.lives = append(out.lives, lifeOf(w, &p.Status.ContainerStatuses[i], false))
	}
	out.view = podView(w, p, out.seen)
	return out
}

func lifeOf(w *words, c *corev1.ContainerStatus, init bool) life {
	return life{
		name: w.one(c.Name), image: w.one(c.Image), imageID: w.one(c.ImageID), init: init, ready: c.Ready, restarts: int(c.RestartCount),
		placed: c.ContainerID != "" || c.RestartCount > 0 || c.State.Waiting == nil,
		begun:  c.State.Running != nil || c.State.Terminated != nil || c.LastTerminationState.Terminated != nil,
		waits:  c.State.Waiting != nil, ended: c.LastTerminationState.Terminated != nil,
	}
}

// speaker is the container of a pod that has the most to say.
func speaker(p *corev1.Pod) string {
	if name := p.Annotations["kubectl.kubernetes.io/default-container"]; name != "" {
		return name
	}
	if len(p.Spec.Containers) > 0 {
		return p.Spec.Containers[0].Name
	}
	return ""
}

// readyFor is how long the pod has been ready; less than nothing where it is not.
func (p *pod) readyFor(now time.Time) time.Duration {
	if !p.ready {
		return -1
	}
	return max(0, now.Sub(p.readyAt))
}

// in is the pod as one of a release, behind a Deployment, with or without traffic.
func (p *pod) in(release, workload string, traffic bool) *console.Pod {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s := p.view; s.Release != release || s.Workload != workload || s.Traffic != traffic {
		v := *s
		v.Release, v.Workload, v.Traffic = release, workload, traffic
		p.view = &v
	}
	return p.view
}

// instance is the pod as ops/rollout sees it.
func (p *pod) instance(release string) rollout.Instance {
	s := &p.seen
	return rollout.Instance{
		ID: p.name, Release: release, State: s.state, Reason: s.reason, Since: s.since, StartedAt: s.started, Restarts: s.restarts, StartFailures: s.failures,
	}
}

// endpoints is what is kept of an EndpointSlice.
type endpoints struct {
	meta
	service string
	ready   []string // addresses
	behind  []string // the pods of these, by name: a pod may have two addresses, and two pods of a node's own network one
	unready []string // the pods of the others, by name
}

func slimSlice(w *words, e *discoveryv1.EndpointSlice) *endpoints {
	out := &endpoints{meta: meta{name: e.Name, version: e.ResourceVersion}, service: w.one(e.Labels[discoveryv1.LabelServiceName])}
	for _, end := range e.Endpoints {
		switch {
		case end.Conditions.Ready == nil || *end.Conditions.Ready:
			out.ready = append(out.ready, end.Addresses...)
			if end.TargetRef != nil {
				out.behind = append(out.behind, end.TargetRef.Name)
			} else {
				out.behind = append(out.behind, end.Addresses...)
			}
		case end.TargetRef != nil:
			out.unready = append(out.unready, end.TargetRef.Name)
		}
	}
	return out
}

// node is what is kept of a Node.
type node struct {
	meta
	view console.Node // without the number of pods
}

// event is what is kept of an Event.
type event struct {
	meta
	about string // the name of the object
	view  *console.ClusterEvent
}

func slimEvent(w *words, e *corev1.Event) *event {
	return &event{meta: meta{name: e.Name, version: e.ResourceVersion}, about: e.InvolvedObject.Name, view: eventView(w, e)}
}
