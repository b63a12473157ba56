package kube

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"

	"github.com/covetpy/covet/ops/console"
	"github.com/covetpy/covet/ops/journal"
	"github.com/covetpy/covet/ops/rollout"
)

// world is a namespace of its own in a real cluster, with a service in it.
type world struct {
	t          *testing.T
	kubeconfig string
	namespace  string
	client     *client // as an administrator
	opened     []*Port
}

const webDeployment = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: 4
  progressDeadlineSeconds: 30
  strategy: {type: RollingUpdate, rollingUpdate: {maxSurge: 1, maxUnavailable: 0}}
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - name: web
        image: reg.local/web:v1.0.0
        envFrom: [{configMapRef: {name: settings}}]
        ports: [{containerPort: 8080}]
        readinessProbe: {httpGet: {path: /health/ready, port: 8080}}
        lifecycle: {preStop: {sleep: {seconds: 1}}}
        resources: {requests: {cpu: 100m}}
`

const webService = `
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{name: http, port: 80, targetPort: 8080}]}
`

const settings = `
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {GREETING: hello}
`

// newWorld makes a namespace with a Deployment of four ready pods behind a Service.
func newWorld(t *testing.T) *world {
	t.Helper()
	return newWorldOf(t, settings, webDeployment, webService)
}

func newWorldOf(t *testing.T, manifests ...string) *world {
	t.Helper()
	t.Parallel()
	return worldIn(t, testCluster(t), manifests...)
}

// worldIn is newWorldOf in another cluster.
func worldIn(t *testing.T, kubeconfig string, manifests ...string) *world {
	t.Helper()
	w := &world{t: t, kubeconfig: kubeconfig}
	w.namespace = fmt.Sprintf("t%d-%d", os.Getpid(), time.Now().UnixNano()%1e9)
	at, err := Target{Kubeconfig: w.kubeconfig, Namespace: w.namespace}.resolve()
	if err != nil {
		t.Fatal(err)
	}
	if w.client, err = newClient(at); err != nil {
		t.Fatal(err)
	}
	ns := w.client.dyn.Resource(namespaces)
	o := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": w.namespace}}}
	if _, err := ns.Create(t.Context(), o, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := ns.Delete(ctx, w.namespace, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
			t.Logf("the namespace %s stays: %v", w.namespace, err)
		}
	})
	for _, m := range manifests {
		w.apply(m)
	}
	w.eventually("the service's pods are ready", func() bool {
		d := w.deployment("web")
		n, _, _ := unstructured.NestedInt64(d.Object, "spec", "replicas")
		ready, _, _ := unstructured.NestedInt64(d.Object, "status", "readyReplicas")
		return ready == n
	})
	return w
}

var kindsOf = map[string]schema.GroupVersionResource{
	"Deployment": deployments, "Service": services, "ConfigMap": configMaps, "Secret": secrets, "HTTPRoute": httpRoutes,
	"VirtualService": virtualSvcs, "HorizontalPodAutoscaler": scalers, "ResourceQuota": quotas, "PodDisruptionBudget": budgets,
	"Role":        {Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "roles"},
	"RoleBinding": {Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "rolebindings"},
}

// apply is kubectl apply by somebody who is not Covet.
func (w *world) apply(manifest string) object {
	w.t.Helper()
	return w.applyAs("tester", manifest)
}

func (w *world) applyAs(who, manifest string) object {
	w.t.Helper()
	raw, err := yaml.YAMLToJSON([]byte(manifest))
	if err != nil {
		w.t.Fatal(err)
	}
	o := &unstructured.Unstructured{}
	if err := unmarshal(raw, &o.Object); err != nil {
		w.t.Fatal(err)
	}
	var out object
	err = nil
	for deadline := time.Now().Add(patient); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		out, err = w.client.on(kindsOf[o.GetKind()]).Apply(w.t.Context(), o.GetName(), o, metav1.ApplyOptions{FieldManager: who, Force: true})
		if !apierrors.IsNotFound(err) { // a cluster that has just begun may not serve the routes' kinds yet
			break
		}
	}
	if err != nil {
		w.t.Fatalf("apply %s %s: %v", o.GetKind(), o.GetName(), err)
	}
	return out
}

// patch changes an object as somebody else.
func (w *world) patch(kind schema.GroupVersionResource, name, patch string, sub ...string) {
	w.t.Helper()
	_, err := w.client.on(kind).Patch(w.t.Context(), name, types.MergePatchType, []byte(patch), metav1.PatchOptions{FieldManager: "somebody-else"}, sub...)
	if err != nil {
		w.t.Fatalf("patch %s: %v", name, err)
	}
}

func (w *world) get(kind schema.GroupVersionResource, name string) object {
	w.t.Helper()
	o, err := w.client.on(kind).Get(w.t.Context(), name, metav1.GetOptions{})
	if err != nil {
		w.t.Fatalf("get %s: %v", name, err)
	}
	return o
}

func (w *world) gone(kind schema.GroupVersionResource, name string) bool {
	_, err := w.client.on(kind).Get(w.t.Context(), name, metav1.GetOptions{})
	return apierrors.IsNotFound(err)
}

func (w *world) deployment(name string) object { return w.get(deployments, name) }

func (w *world) image(deployment string) string {
	return templateOf(w.deployment(deployment)).images()["web"]
}

func (w *world) selector(service string) map[string]string {
	m, _, _ := unstructured.NestedStringMap(w.get(services, service).Object, "spec", "selector")
	return m
}

// pods lists the names of the pods that the Service selects now and that are ready.
func (w *world) serving(service string) map[string]int {
	w.t.Helper()
	list := &corev1.PodList{}
	opts := &metav1.ListOptions{LabelSelector: metav1.FormatLabelSelector(&metav1.LabelSelector{MatchLabels: w.selector(service)})}
	if err := w.client.typed.Get().AbsPath(w.client.path(pods)...).VersionedParams(opts, metav1.ParameterCodec).Do(w.t.Context()).Into(list); err != nil {
		w.t.Fatal(err)
	}
	out := map[string]int{}
	for i := range list.Items {
		if p := &list.Items[i]; slimPod(&words{}, p).ready {
			image, _, _ := strings.Cut(p.Spec.Containers[0].Image, "@")
			out[image]++
		}
	}
	return out
}

// patient is how long a busy machine may take for what takes seconds.
const patient = 60 * time.Second

func (w *world) eventually(what string, ok func() bool) {
	w.t.Helper()
	w.within(patient, what, ok)
}

func (w *world) within(limit time.Duration, what string, ok func() bool) {
	w.t.Helper()
	for deadline := time.Now().Add(limit); ; time.Sleep(25 * time.Millisecond) {
		if ok() {
			return
		}
		if time.Now().After(deadline) {
			for _, p := range w.opened {
				w.t.Log(w.story(p))
			}
			w.t.Fatalf("waited %s, and still not: %s", limit, what)
		}
	}
}

// open is covetctl on the service.
func (w *world) open() *Port {
	w.t.Helper()
	p, err := w.tryOpen(Target{})
	if err != nil {
		w.t.Fatal(err)
	}
	return p
}

func (w *world) tryOpen(t Target) (*Port, error) {
	if t.Kubeconfig == "" {
		t.Kubeconfig = w.kubeconfig
	}
	t.Namespace = w.namespace
	if t.Deployment == "" {
		t.Deployment = "web"
	}
	p, err := Open(w.t.Context(), t, Options{Version: "test", Holder: fmt.Sprintf("test %d", time.Now().UnixNano())})
	if err != nil {
		return nil, err
	}
	w.opened = append(w.opened, p)
	w.t.Cleanup(func() {
		if err := p.Close(); err != nil {
			w.t.Logf("close: %v", err)
		}
	})
	return p, nil
}

// do gives a command that must be taken.
func (w *world) do(p *Port, op console.Op, in any) console.Ack {
	w.t.Helper()
	var ack console.Ack
	if err := p.Do(w.t.Context(), op, in, &ack); err != nil {
		w.t.Fatalf("%s: %v", op, err)
	}
	return ack
}

// refused gives a command that must be refused with the code, and words.
func (w *world) refused(p *Port, op console.Op, in any, code console.Code, words ...string) {
	w.t.Helper()
	err := p.Do(w.t.Context(), op, in, nil)
	var e *console.Error
	if !errors.As(err, &e) || e.Code != code {
		w.t.Fatalf("%s: %v, want %s", op, err, code)
	}
	for _, word := range words {
		if !strings.Contains(e.Error(), word) {
			w.t.Errorf("%s: %q does not say %q", op, e.Error(), word)
		}
	}
}

func (w *world) plan(p *Port, in console.StartRequest) console.Plan {
	w.t.Helper()
	var plan console.Plan
	in.Plan = true
	if err := p.Do(w.t.Context(), console.StartRollout, in, &plan); err != nil {
		w.t.Fatalf("plan: %v", err)
	}
	return plan
}

func says(plan console.Plan, words string) bool {
	for _, l := range plan.Warnings {
		if strings.Contains(l, words) {
			return true
		}
	}
	return false
}

// add records a release of an image.
func (w *world) add(p *Port, version, image string) rollout.Release {
	w.t.Helper()
	var r rollout.Release
	if err := p.Do(w.t.Context(), console.AddRelease, console.AddReleaseRequest{Version: version, Images: []string{image}, Unpinned: true}, &r); err != nil {
		w.t.Fatalf("add %s: %v", version, err)
	}
	return r
}

// quick tunes a rollout for tests.
func quick(to string, s rollout.Strategy) console.StartRequest {
	return console.StartRequest{To: to, Tuning: rollout.Tuning{Strategy: s, Bake: journal.Duration(200 * time.Millisecond), NoKeep: true}}
}

// ends waits for a rollout's end.
func (w *world) ends(p *Port, id string, phase rollout.Phase) rollout.Rollout {
	w.t.Helper()
	var r rollout.Rollout
	w.eventually("rollout "+id+" ends", func() bool {
		found, ok := p.state().Find(id)
		r = found
		return ok && found.Phase.Ended()
	})
	if r.Phase != phase {
		w.t.Fatalf("rollout %s ended as %s: %s; want %s\n%s", id, r.Phase, r.Message, phase, w.story(p))
	}
	return r
}

// story is the journal in words.
func (w *world) story(p *Port) string {
	var b strings.Builder
	var list []console.AuditEntry
	if err := p.Ask(context.Background(), console.GetAudit, console.Query{Limit: 60}, &list); err != nil {
		return err.Error()
	}
	for i := len(list) - 1; i >= 0; i-- {
		fmt.Fprintf(&b, "%s %s %s\n", list[i].At.Format("15:04:05.000"), list[i].Kind, list[i].Text)
	}
	return b.String() + strings.Join(p.problems(), "\n")
}

// tidied waits until nothing of Covet's is left beside the service.
func (w *world) tidied(p *Port) {
	w.t.Helper()
	w.eventually("everything is put in order", func() bool { return !p.hand.untidy() && p.state().Active == nil })
	if got := w.selector("web"); len(got) != 1 || got["app"] != "web" {
		w.t.Errorf("the Service's selector is %v at rest", got)
	}
	if !w.gone(deployments, "web-covet") || !w.gone(services, "web-covet") {
		w.t.Error("the candidate's Deployment or Service is still there")
	}
}

func yamlToJSON(manifest string) ([]byte, error) { return yaml.YAMLToJSON([]byte(manifest)) }
