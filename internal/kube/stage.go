package kube

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/cache"

	"github.com/covetpy/covet/ops/console"
)

// object is anything as the API server has it.
type object = *unstructured.Unstructured

// stage is everything of one service that is watched: one list and one watch for each kind, and nothing asked again.
type stage struct {
	client   *client
	at       located
	once     bool   // an API server that is away is not waited for
	selector string // of the primary's pods, and so of the candidate's

	first, second *shelf[object] // the primary, the candidate
	sets          *shelf[object]
	head          *shelf[object] // the journal's head
	routes        map[string]*shelf[object]
	pods          *shelf[*pod]
	services      *shelf[*corev1.Service]
	endpoints     *shelf[*endpoints]
	scalers       *shelf[*autoscalingv2.HorizontalPodAutoscaler]

	bell    bell // rings at every change
	shape   bell // only where a Deployment, its ReplicaSets or the journal changed
	words   words
	running sync.WaitGroup
	stop    context.CancelFunc
}

// dialects are the routes that are looked for, in the order of preference.
var dialects = []dialect{gateway, istio}

// openStage finds the service and begins to watch it. It returns once everything is known.
func openStage(ctx context.Context, c *client, at located, once bool) (*stage, error) {
	s := &stage{client: c, at: at, once: once, routes: map[string]*shelf[object]{}}
	o, err := s.find(ctx)
	if err != nil {
		return nil, err
	}
	s.at.Deployment = o.GetName()
	if s.selector, err = selectorOf(o); err != nil {
		return nil, err
	}
	watching, stop := context.WithCancel(context.WithoutCancel(ctx))
	s.stop = stop
	s.watchAll(watching)
	if err := s.synced(ctx); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func (s *stage) close() {
	s.stop()
	s.running.Wait()
}

// ask asks once where whoever opened the service tries again, and otherwise again and again for a while.
func (s *stage) ask(ctx context.Context, do func(context.Context) error) error {
	if !s.once {
		return patiently(ctx, requestTimeout, do)
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	return do(ctx)
}

// find is the Deployment that the service is.
func (s *stage) find(ctx context.Context) (object, error) {
	if s.at.Deployment != "" {
		var o object
		err := s.ask(ctx, func(ctx context.Context) (err error) {
			o, err = s.client.on(deployments).Get(ctx, s.at.Deployment, metav1.GetOptions{})
			return err
		})
		if err != nil {
			return nil, s.unfound(ctx, err)
		}
		return o, nil
	}
	var list []unstructured.Unstructured
	err := s.ask(ctx, func(ctx context.Context) (err error) {
		list, err = s.client.everything(ctx, deployments, "!"+labelKind)
		return err
	})
	if err != nil {
		return nil, inWords("list the Deployments of namespace "+s.at.Namespace, err)
	}
	return s.only(ctx, list)
}

// only is the one Deployment that can be meant.
func (s *stage) only(ctx context.Context, all []unstructured.Unstructured) (object, error) {
	if s.at.Service != "" {
		svc := &corev1.Service{}
		err := s.ask(ctx, func(ctx context.Context) error {
			return s.client.typed.Get().AbsPath(append(s.client.path(services), s.at.Service)...).Do(ctx).Into(svc)
		})
		if err != nil {
			return nil, inWords(fmt.Sprintf("find Service %s in namespace %s", s.at.Service, s.at.Namespace), err)
		}
		var behind []unstructured.Unstructured
		for _, o := range all {
			if selects(baseSelector(svc), templateOf(&o).labels()) {
				behind = append(behind, o)
			}
		}
		all = behind
	}
	switch len(all) {
	case 1:
		return &all[0], nil
	case 0:
		return nil, &console.Error{Code: console.CodeNotFound, Message: fmt.Sprintf("there is no Deployment in namespace %s of context %s", s.at.Namespace, s.at.Context),
			Hint: "name another with --namespace, or make one: kubectl apply -f deploy/kubernetes"}
	}
	return nil, &console.Error{Code: console.CodeUsage, Message: fmt.Sprintf("namespace %s has %d Deployments: which one is meant?", s.at.Namespace, len(all)),
		Hint: "say --deployment NAME (or COVET_DEPLOYMENT), one of: " + names(all)}
}

func names(all []unstructured.Unstructured) string {
	var out []string
	for i, o := range all {
		if i == 10 {
			out = append(out, "…")
			break
		}
		out = append(out, o.GetName())
	}
	return strings.Join(out, ", ")
}

func (s *stage) unfound(ctx context.Context, err error) error {
	e := inWords(fmt.Sprintf("find Deployment %s in namespace %s of context %s", s.at.Deployment, s.at.Namespace, s.at.Context), err)
	var known *console.Error
	if errors.As(e, &known) && known.Code == console.CodeNotFound {
		if kind := s.client.otherKind(ctx, s.at.Deployment); kind != "" {
			known.Message = fmt.Sprintf("%s in namespace %s is %s: Covet rolls out Deployments alone", s.at.Deployment, s.at.Namespace, kind)
		}
		if list, err := s.client.on(deployments).List(ctx, metav1.ListOptions{Limit: 500}); err == nil && len(list.Items) > 0 {
			known.Hint = "there are: " + names(list.Items)
		}
	}
	return e
}

func selectorOf(o object) (string, error) {
	m, _, err := unstructured.NestedMap(o.Object, "spec", "selector")
	if err != nil {
		return "", fmt.Errorf("read the selector of Deployment %s: %w", o.GetName(), err)
	}
	var sel metav1.LabelSelector
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(m, &sel); err != nil {
		return "", fmt.Errorf("read the selector of Deployment %s: %w", o.GetName(), err)
	}
	return metav1.FormatLabelSelector(&sel), nil
}

func (s *stage) watchAll(ctx context.Context) {
	name, ring := s.at.Deployment, s.bell.ring
	shaped := func() { s.shape.ring(); ring() }
	s.first = watchJSON(ctx, s, "Deployment", shaped, s.client.asJSON(deployments, selection{name: name}))
	s.second = watchJSON(ctx, s, "Deployment", shaped, s.client.asJSON(deployments, selection{name: second(name)}))
	s.sets = watchJSON(ctx, s, "ReplicaSets", shaped, s.client.asJSON(replicaSets, selection{labels: s.selector}))
	s.head = watchJSON(ctx, s, "the journal", shaped, s.client.asJSON(configMaps, selection{name: newJournal(s.client, name).headName()}))
	for _, d := range dialects {
		s.routes[d.kind] = watchJSON(ctx, s, d.kind+"s", ring, s.client.asJSON(d.gvr, selection{}))
	}
	s.pods = newShelf[*pod]("pods", ring)
	s.pods.slim = func(o any) *pod { return slimPod(&s.words, o.(*corev1.Pod)) }
	s.keep(func() {
		s.pods.keep(ctx, &corev1.Pod{}, s.client.asTyped(pods, selection{labels: s.selector}, func() runtime.Object { return &corev1.PodList{} }))
	})
	s.services = newShelf[*corev1.Service]("Services", ring)
	s.keep(func() {
		s.services.keep(ctx, &corev1.Service{}, s.client.asTyped(services, selection{}, func() runtime.Object { return &corev1.ServiceList{} }))
	})
	s.endpoints = newShelf[*endpoints]("EndpointSlices", ring)
	s.endpoints.slim = func(o any) *endpoints { return slimSlice(&s.words, o.(*discoveryv1.EndpointSlice)) }
	s.keep(func() {
		s.endpoints.keep(ctx, &discoveryv1.EndpointSlice{}, s.client.asTyped(sliceKind, selection{}, func() runtime.Object { return &discoveryv1.EndpointSliceList{} }))
	})
	s.scalers = newShelf[*autoscalingv2.HorizontalPodAutoscaler]("HorizontalPodAutoscalers", ring)
	s.keep(func() {
		s.scalers.keep(ctx, &autoscalingv2.HorizontalPodAutoscaler{}, s.client.asTyped(scalers, selection{}, func() runtime.Object { return &autoscalingv2.HorizontalPodAutoscalerList{} }))
	})
}

func (s *stage) keep(do func()) { s.running.Go(do) }

func watchJSON(ctx context.Context, s *stage, kind string, ring func(), lw cache.ListWatch) *shelf[object] {
	shelf := newShelf[object](kind, ring)
	s.keep(func() { shelf.keep(ctx, &unstructured.Unstructured{}, lw) })
	return shelf
}

// watched is what a shelf can say of itself.
type watched interface {
	title() string
	known() <-chan struct{}
	refused() error
	trouble() error
}

func (s *shelf[T]) title() string          { return s.name }
func (s *shelf[T]) known() <-chan struct{} { return s.synced }
func (s *shelf[T]) refused() error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.denied
}

// shelves lists everything that is watched; the first ones must be readable.
func (s *stage) shelves() (needed, useful []watched) {
	needed = []watched{s.first, s.second, s.sets, s.pods, s.services, s.head}
	useful = []watched{s.endpoints, s.scalers}
	for _, d := range dialects {
		useful = append(useful, s.routes[d.kind])
	}
	return needed, useful
}

// openPatience is how long an API server may take to tell what is there.
const openPatience = 30 * time.Second

// synced waits until everything is known, or known not to be.
func (s *stage) synced(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, openPatience)
	defer cancel()
	needed, useful := s.shelves()
	for _, w := range append(needed, useful...) {
		select {
		case <-w.known():
		case <-ctx.Done():
			if err := w.trouble(); err != nil {
				return inWords("read "+w.title(), err)
			}
			return &console.Error{Code: console.CodeUnreachable, Message: fmt.Sprintf("read %s: the API server at %s does not answer", w.title(), s.at.server),
				Hint: "kubectl cluster-info tells whether it is up; the traffic stays as it is meanwhile"}
		}
	}
	for _, w := range needed {
		if err := w.refused(); err != nil {
			return inWords("read "+w.title()+" in namespace "+s.at.Namespace, err)
		}
	}
	return nil
}

// troubles says what may not be up to date.
func (s *stage) troubles() []string {
	var out []string
	needed, useful := s.shelves()
	for _, w := range append(needed, useful...) {
		if err := w.trouble(); err != nil {
			out = append(out, fmt.Sprintf("%s may be out of date: %v", w.title(), err))
		}
	}
	return out
}

// deployment is the Deployment of a slot.
func (s *stage) deployment(slot string) (object, bool) {
	if slot == candidate {
		return s.second.get(second(s.at.Deployment))
	}
	return s.first.get(s.at.Deployment)
}

// shelve puts the answer of a write where the next look finds it.
func (s *stage) shelve(slot string, o object) {
	if slot == candidate {
		s.second.put(o)
		return
	}
	s.first.put(o)
}
