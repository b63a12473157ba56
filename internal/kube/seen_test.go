package kube

import (
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/covetpy/covet/ops/console"
	"github.com/covetpy/covet/ops/rollout"
	"github.com/covetpy/covet/test/kubetest"
)

// A status that is older than the spec says nothing of the spec.
func TestStatusOfAnOlderGenerationIsIgnored(t *testing.T) {
	w := newWorld(t)
	o := w.deployment("web")
	must(unstructured.SetNestedSlice(o.Object, []any{map[string]any{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}}, "status", "conditions"))
	g := &sight{state: func() rollout.State { return rollout.State{} }}
	if got := g.workload(rollout.State{}, o, nil, primary); got.failure == "" || !got.complete {
		t.Fatalf("%+v", got)
	}
	o.SetGeneration(o.GetGeneration() + 1)
	if got := g.workload(rollout.State{}, o, nil, primary); got.failure != "" || got.complete || got.current {
		t.Fatalf("an old status was believed: %+v", got)
	}
}

// The Deployment's controller stands still: the status says that all is done, of the spec before.
func TestNothingIsDoneBeforeTheControllerHasSeenIt(t *testing.T) {
	t.Parallel()
	cluster := kubetest.Start(t, kubetest.Options{Nodes: 1})
	w := worldIn(t, cluster.Kubeconfig, settings, webDeployment, webService)
	p := w.open()
	w.add(p, "v1.1.0", "reg.local/web:v1.1.0")
	if err := cluster.Tell("freeze", "kube-controller-manager"); err != nil {
		t.Fatal(err)
	}
	ack := w.do(p, console.StartRollout, quick("v1.1.0", rollout.Rolling))
	w.eventually("the template is written", func() bool { return strings.HasPrefix(w.image("web"), "reg.local/web:v1.1.0") })
	time.Sleep(4 * time.Second)
	d := w.deployment("web")
	seen, _, _ := unstructured.NestedInt64(d.Object, "status", "observedGeneration")
	if r, _ := p.state().Find(ack.Rollout.ID); seen >= d.GetGeneration() || r.Phase != rollout.Scaling {
		t.Fatalf("generation %d of %d was seen, and the rollout is %s", seen, d.GetGeneration(), r.Phase)
	}
	if err := cluster.Tell("thaw", "kube-controller-manager"); err != nil {
		t.Fatal(err)
	}
	w.ends(p, ack.Rollout.ID, rollout.Succeeded)
	if got := w.serving("web"); got["reg.local/web:v1.1.0"] != 4 || len(got) != 1 {
		t.Errorf("%v serve", got)
	}
}

// A tag is moved in its registry: a pod that is replaced runs something else. That is said, and going back runs what was recorded.
func TestMovedTagIsSeen(t *testing.T) {
	w := newWorld(t)
	p := w.open()
	w.add(p, "v1.1.0", "reg.local/web:v1.1.0")
	recorded := p.state().Releases["v1.0.0"].Manifest.Workload.Images["web"]
	if digestOf(recorded) == "" {
		t.Fatalf("what runs was recorded as %s", recorded)
	}
	before := map[string]bool{}
	for _, pod := range p.stage.pods.all() {
		before[pod.name] = true
	}
	for name := range before {
		if err := w.client.on(pods).Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		break
	}
	moved := "sha256:" + strings.Repeat("b", 64)
	w.eventually("the new pod runs what the tag means now", func() bool {
		for _, pod := range p.stage.pods.all() {
			if !before[pod.name] {
				w.patch(pods, pod.name, `{"metadata":{"annotations":{"kube.covet.test/digest":"`+moved+`"}}}`)
				return true
			}
		}
		return false
	})
	w.eventually("it is said", func() bool {
		return strings.Contains(strings.Join(p.problems(), "\n"), "pods of v1.0.0 run another image than it was recorded with")
	})
	w.ends(p, w.do(p, console.StartRollout, quick("v1.1.0", rollout.Rolling)).Rollout.ID, rollout.Succeeded)
	w.ends(p, w.do(p, console.Rollback, console.RollbackRequest{}).Rollout.ID, rollout.Succeeded)
	if got := w.image("web"); got != recorded {
		t.Errorf("went back to %s, recorded was %s", got, recorded)
	}
}

// What fills the EndpointSlices has not seen the label yet by which a Service is to be closed: the Service stays open until it has. The
// controllers are stopped between the templates and the pods; where they were faster, it is tried again.
func TestServiceIsNotClosedToALabelThatNobodyHasSeen(t *testing.T) {
	t.Parallel()
	cluster := kubetest.Start(t, kubetest.Options{Nodes: 1})
	for range 5 {
		if closesBlindly(t, cluster) {
			return
		}
	}
	t.Fatal("the controllers were faster than they could be stopped, five times")
}

// closesBlindly begins a blue-green rollout of a service from before Covet, one of whose pods lacks a label of its template, under
// controllers that are stopped on the way. It reports whether they were in time for that.
func closesBlindly(t *testing.T, cluster *kubetest.Cluster) (tried bool) {
	w := worldIn(t, cluster.Kubeconfig, settings, strings.Replace(webDeployment, "metadata: {labels: {app: web}}", "metadata: {labels: {app: web, team: shop}}", 1), webService)
	p := w.open()
	w.add(p, "v1.1.0", "reg.local/web:v1.1.0")
	w.patch(pods, p.stage.pods.all()[0].name, `{"metadata":{"labels":{"team":null}}}`)
	set := p.stage.sets.all()[0].GetName()
	w.eventually("the label is missed", func() bool { return unlabelled(w.get(replicaSets, set)) == 1 })
	ack := w.do(p, console.StartRollout, quick("v1.1.0", rollout.BlueGreen))
	w.eventually("the template of the pods to come has the label", func() bool {
		o, _ := p.stage.sets.get(set)
		return templateOf(o).labels()[labelSlot] == primary
	})
	if err := cluster.Tell("freeze", "kube-controller-manager"); err != nil {
		t.Fatal(err)
	}
	w.eventually("the pods have the label", func() bool {
		return !slices.ContainsFunc(p.stage.pods.all(), func(p *pod) bool { return p.slot == "" })
	})
	tried = unlabelled(w.get(replicaSets, set)) != 1
	time.Sleep(2 * time.Second)
	if got := w.selector("web"); tried && len(got) != 1 {
		t.Errorf("the Service is closed by %v", got)
	}
	if err := cluster.Tell("thaw", "kube-controller-manager"); err != nil {
		t.Fatal(err)
	}
	w.ends(p, ack.Rollout.ID, rollout.Succeeded)
	return tried
}

// The pods of the release before are ready again, and what fills the EndpointSlices does not know: the traffic stays until it does.
func TestTrafficGoesBackOnlyToPodsThatTheControllersHaveSeen(t *testing.T) {
	t.Parallel()
	cluster := kubetest.Start(t, kubetest.Options{Nodes: 1})
	w := worldIn(t, cluster.Kubeconfig, settings, webDeployment, webService)
	p := w.open()
	w.add(p, "v1.1.0", "reg.local/web:v1.1.0")
	in := quick("v1.1.0", rollout.BlueGreen)
	in.NoKeep, in.Keep = false, 0
	w.ends(p, w.do(p, console.StartRollout, in).Rollout.ID, rollout.Succeeded)
	turn := func(status string) {
		patch := `{"status":{"conditions":[{"type":"Ready","status":"` + status + `","lastTransitionTime":"2026-01-02T03:04:05Z"}]}}`
		for _, pod := range p.stage.pods.all() {
			if slotOf(pod) == primary {
				w.patch(pods, pod.name, patch, "status")
			}
		}
	}
	turn("False")
	w.eventually("the controllers know that none is ready", func() bool { return p.sight.layout(now()).slots[primary].noted == 0 })
	if err := cluster.Tell("freeze", "kube-controller-manager"); err != nil {
		t.Fatal(err)
	}
	turn("True")
	w.eventually("the pods are ready", func() bool { return p.sight.layout(now()).slots[primary].ready == 4 })
	back := w.do(p, console.Rollback, console.RollbackRequest{})
	time.Sleep(2 * time.Second)
	if got := w.selector("web")[labelSlot]; got != candidate {
		t.Errorf("the Service is closed to %q", got)
	}
	if err := cluster.Tell("thaw", "kube-controller-manager"); err != nil {
		t.Fatal(err)
	}
	w.ends(p, back.Rollout.ID, rollout.Succeeded)
}
