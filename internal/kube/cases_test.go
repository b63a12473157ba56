package kube

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/covetpy/covet/ops/console"
	"github.com/covetpy/covet/ops/journal"
	"github.com/covetpy/covet/ops/rollout"
)

// What the suites of Argo Rollouts, Flagger and kubectl rollout look at, here.

// waitsAt waits until the rollout asks for approval at a weight.
func (w *world) waitsAt(p *Port, weight int) {
	w.t.Helper()
	w.eventually("it waits for approval", func() bool {
		a := p.state().Active
		return a != nil && a.Phase == rollout.Waiting && a.Weight == weight
	})
}

func canaryAt(weights ...int) console.StartRequest {
	in := quick("v1.1.0", rollout.Canary)
	in.Weights, in.Approve = weights, []int{weights[0]}
	return in
}

func TestPausedRolloutStaysInItsStep(t *testing.T) {
	w := newWorldOf(t, settings, webDeployment, webService, httpRoute)
	p := w.open()
	w.add(p, "v1.1.0", "reg.local/web:v1.1.0")
	in := quick("v1.1.0", rollout.Canary)
	in.Weights, in.Bake = []int{10, 100}, journal.Duration(1500*time.Millisecond)
	ack := w.do(p, console.StartRollout, in)
	w.eventually("10% is set", func() bool { return p.state().Active != nil && p.state().Active.Phase == rollout.Baking })
	w.do(p, console.PauseRollout, console.Target{})
	before := digest(w.get(httpRoutes, "web").Object["spec"])
	time.Sleep(4 * time.Second)
	if a := p.state().Active; a == nil || !a.Paused || a.Weight != 10 || digest(w.get(httpRoutes, "web").Object["spec"]) != before {
		t.Fatalf("paused, and it went on: %+v", a)
	}
	w.do(p, console.ResumeRollout, console.Target{})
	w.ends(p, ack.Rollout.ID, rollout.Succeeded)
	w.once(p, ack.Rollout.ID)
	w.tidied(p)
}

func TestAbortDuringTheSurge(t *testing.T) {
	w := newWorld(t)
	p := w.open()
	w.add(p, "v1.1.0", "reg.local/web:slow")
	ack := w.do(p, console.StartRollout, quick("v1.1.0", rollout.Rolling))
	w.eventually("the first new pod is there", func() bool {
		n, _, _ := unstructured.NestedInt64(w.deployment("web").Object, "status", "updatedReplicas")
		return n > 0 && strings.HasPrefix(w.image("web"), "reg.local/web:slow")
	})
	w.do(p, console.AbortRollout, console.Target{})
	w.alwaysServes(p, ack.Rollout.ID, 4)
	w.ends(p, ack.Rollout.ID, rollout.RolledBack)
	w.tidied(p)
	if got := w.serving("web"); got["reg.local/web:v1.0.0"] != 4 || len(got) != 1 {
		t.Errorf("%v serve", got)
	}
}

func TestDeploymentScaledToNothing(t *testing.T) {
	w := newWorldOf(t, settings, strings.Replace(webDeployment, "replicas: 4", "replicas: 0", 1), webService)
	p := w.open()
	w.add(p, "v1.1.0", "reg.local/web:v1.1.0")
	w.refused(p, console.StartRollout, quick("v1.1.0", rollout.BlueGreen), console.CodeRefused, "scaled to 0", "--strategy rolling")
	w.ends(p, w.do(p, console.StartRollout, quick("v1.1.0", rollout.Rolling)).Rollout.ID, rollout.Succeeded)
	n, _, _ := unstructured.NestedInt64(w.deployment("web").Object, "spec", "replicas")
	if !strings.HasPrefix(w.image("web"), "reg.local/web:v1.1.0") || n != 0 {
		t.Errorf("%s with %d replicas", w.image("web"), n)
	}
	w.ends(p, w.do(p, console.Rollback, console.RollbackRequest{}).Rollout.ID, rollout.Succeeded)
	w.patch(deployments, "web", `{"spec":{"replicas":2}}`, "scale")
	w.eventually("it serves again", func() bool { return w.serving("web")["reg.local/web:v1.0.0"] == 2 })
	w.tidied(p)
}

// An autoscaler makes more of the stable release while the canary waits: what takes over matches it.
func TestScaledUpInTheMiddle(t *testing.T) {
	w := newWorldOf(t, settings, webDeployment, webService, httpRoute)
	p := w.open()
	w.add(p, "v1.1.0", "reg.local/web:v1.1.0")
	ack := w.do(p, console.StartRollout, canaryAt(25, 100))
	w.waitsAt(p, 25)
	w.patch(deployments, "web", `{"spec":{"replicas":6}}`, "scale")
	w.eventually("six serve", func() bool { return w.serving("web")["reg.local/web:v1.0.0"] == 6 })
	w.do(p, console.Promote, console.Target{})
	w.alwaysServes(p, ack.Rollout.ID, 6)
	w.ends(p, ack.Rollout.ID, rollout.Succeeded)
	w.tidied(p)
	w.eventually("six of the new serve", func() bool { return w.serving("web")["reg.local/web:v1.1.0"] == 6 })
}

func TestDeploymentPausedByAnotherInTheMiddle(t *testing.T) {
	w := newWorld(t)
	p := w.open()
	w.add(p, "v1.1.0", "reg.local/web:slow")
	in := quick("v1.1.0", rollout.Rolling)
	in.Deadline = journal.Duration(8 * time.Second)
	ack := w.do(p, console.StartRollout, in)
	w.eventually("the update has begun", func() bool { return strings.HasPrefix(w.image("web"), "reg.local/web:slow") })
	w.patch(deployments, "web", `{"spec":{"paused":true}}`)
	w.alwaysServes(p, ack.Rollout.ID, 4)
	w.ends(p, ack.Rollout.ID, rollout.RolledBack)
	if paused, _, _ := unstructured.NestedBool(w.deployment("web").Object, "spec", "paused"); paused || !strings.HasPrefix(w.image("web"), "reg.local/web:v1.0.0") {
		t.Errorf("paused %v, image %s", paused, w.image("web"))
	}
}

// A pod that is ready counts only once it has been for minReadySeconds.
func TestMinReadySeconds(t *testing.T) {
	w := newWorldOf(t, settings, strings.Replace(webDeployment, "progressDeadlineSeconds", "minReadySeconds: 5\n  progressDeadlineSeconds", 1), webService)
	p := w.open()
	w.add(p, "v1.1.0", "reg.local/web:v1.1.0")
	in := quick("v1.1.0", rollout.BlueGreen)
	ack := w.do(p, console.StartRollout, in)
	var ready time.Time
	for w.selector("web")["covet.dev/slot"] != candidate {
		if o, ok := p.stage.deployment(candidate); ok && ready.IsZero() {
			if n, _, _ := unstructured.NestedInt64(o.Object, "status", "readyReplicas"); n == 4 {
				ready = time.Now()
			}
		}
		if r, _ := p.state().Find(ack.Rollout.ID); r.Phase.Ended() {
			t.Fatal("it ended without the traffic having moved")
		}
	}
	if waited := time.Since(ready); ready.IsZero() || waited < 3*time.Second {
		t.Errorf("the traffic moved %s after the last pod was ready", waited)
	}
	w.ends(p, ack.Rollout.ID, rollout.Succeeded)
	w.tidied(p)
}

const twoPorts = `
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  selector: {app: web}
  ports:
  - {name: http, port: 80, targetPort: 8080, appProtocol: http}
  - {name: grpc, port: 9000, targetPort: http, protocol: TCP}
  - {name: dns, port: 53, targetPort: 5353, protocol: UDP}
`

func TestServiceWithSeveralPorts(t *testing.T) {
	w := newWorldOf(t, settings, strings.Replace(webDeployment, "containerPort: 8080", "name: http, containerPort: 8080", 1), twoPorts, httpRoute)
	p := w.open()
	before, _, _ := unstructured.NestedSlice(w.get(services, "web").Object, "spec", "ports")
	w.add(p, "v1.1.0", "reg.local/web:v1.1.0")
	ack := w.do(p, console.StartRollout, canaryAt(10, 100))
	w.waitsAt(p, 10)
	aside, _, _ := unstructured.NestedSlice(w.get(services, "web-covet").Object, "spec", "ports")
	if digest(aside) != digest(before) {
		t.Errorf("the candidate's Service has the ports %v, want %v", aside, before)
	}
	w.do(p, console.Promote, console.Target{})
	w.ends(p, ack.Rollout.ID, rollout.Succeeded)
	w.tidied(p)
	if after, _, _ := unstructured.NestedSlice(w.get(services, "web").Object, "spec", "ports"); digest(after) != digest(before) {
		t.Errorf("the Service has the ports %v, had %v", after, before)
	}
}

// deletePods deletes the candidate's pods by hand.
func (w *world) deletePods(slot string) int {
	w.t.Helper()
	list := &corev1.PodList{}
	opts := &metav1.ListOptions{LabelSelector: labelSlot + "=" + slot}
	if err := w.client.typed.Get().AbsPath(w.client.path(pods)...).VersionedParams(opts, metav1.ParameterCodec).Do(w.t.Context()).Into(list); err != nil {
		w.t.Fatal(err)
	}
	for i := range list.Items {
		if err := w.client.on(pods).Delete(w.t.Context(), list.Items[i].Name, metav1.DeleteOptions{}); err != nil {
			w.t.Fatal(err)
		}
	}
	return len(list.Items)
}

func TestCandidatesPodsDeletedByHand(t *testing.T) {
	w := newWorldOf(t, settings, webDeployment, webService, httpRoute)
	p := w.open()
	w.add(p, "v1.1.0", "reg.local/web:v1.1.0")
	ack := w.do(p, console.StartRollout, canaryAt(50, 100))
	w.waitsAt(p, 50)
	if n := w.deletePods(candidate); n != 2 {
		t.Errorf("%d pods of the candidate", n)
	}
	w.do(p, console.Promote, console.Target{})
	w.alwaysServes(p, ack.Rollout.ID, 4)
	w.ends(p, ack.Rollout.ID, rollout.Succeeded)
	w.tidied(p)
}

func TestCandidatesReplicaSetDeletedByHand(t *testing.T) {
	w := newWorldOf(t, settings, webDeployment, webService, httpRoute)
	p := w.open()
	w.add(p, "v1.1.0", "reg.local/web:v1.1.0")
	ack := w.do(p, console.StartRollout, canaryAt(50, 100))
	w.waitsAt(p, 50)
	sets, err := w.client.on(replicaSets).List(t.Context(), metav1.ListOptions{LabelSelector: labelSlot + "=" + candidate})
	if err != nil || len(sets.Items) != 1 {
		t.Fatalf("%v, %v", sets, err)
	}
	if err := w.client.on(replicaSets).Delete(t.Context(), sets.Items[0].GetName(), metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	w.do(p, console.Promote, console.Target{})
	w.alwaysServes(p, ack.Rollout.ID, 4)
	w.ends(p, ack.Rollout.ID, rollout.Succeeded)
	w.tidied(p)
}

// Somebody changes the candidate's own Deployment: it is Covet's, and is put right before it gets any more traffic.
func TestCandidateEditedByAnother(t *testing.T) {
	w := newWorldOf(t, settings, webDeployment, webService, httpRoute)
	p := w.open()
	w.add(p, "v1.1.0", "reg.local/web:v1.1.0")
	ack := w.do(p, console.StartRollout, canaryAt(50, 100))
	w.waitsAt(p, 50)
	w.patch(deployments, "web-covet", `{"spec":{"template":{"spec":{"terminationGracePeriodSeconds":77}}}}`)
	w.eventually("it is put right", func() bool {
		n, _, _ := unstructured.NestedInt64(w.deployment("web-covet").Object, "spec", "template", "spec", "terminationGracePeriodSeconds")
		return n != 77
	})
	w.do(p, console.Promote, console.Target{})
	w.ends(p, ack.Rollout.ID, rollout.Succeeded)
	w.tidied(p)
}

// A rollout to what runs already, under another name, is no restart.
func TestSameTemplateUnderAnotherName(t *testing.T) {
	w := newWorld(t)
	p := w.open()
	w.add(p, "v1.1.0", "reg.local/web:v1.1.0")
	w.ends(p, w.do(p, console.StartRollout, quick("v1.1.0", rollout.Rolling)).Rollout.ID, rollout.Succeeded)
	r, err := w.client.on(deployments).Patch(t.Context(), "web", "application/merge-patch+json", []byte(`{"spec":{"template":{"metadata":{"annotations":{"kubectl.kubernetes.io/restartedAt":"2026-01-01T00:00:00Z"}}}}}`), metav1.PatchOptions{FieldManager: "kubectl-rollout"})
	if err != nil {
		t.Fatal(err)
	}
	w.eventually("kubectl rollout restart is done", func() bool {
		n, _, _ := unstructured.NestedInt64(w.deployment("web").Object, "status", "observedGeneration")
		l := p.sight.layout(now())
		return n >= r.GetGeneration() && l.slots[primary].complete
	})
	if s := p.state(); s.Stable != "v1.1.0" || len(s.Releases) != 2 || len(p.problems()) > 0 {
		t.Errorf("a restart became another release: %s of %d, %q", s.Stable, len(s.Releases), p.problems())
	}
}
