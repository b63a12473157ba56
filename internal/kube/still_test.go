package kube

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/covetpy/covet/ops/console"
	"github.com/covetpy/covet/ops/rollout"
)

const webScaler = `
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: web}
spec: {minReplicas: 2, maxReplicas: 6, scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}}
`

const webBudget = `
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: web}
spec: {minAvailable: 3, selector: {matchLabels: {app: web}}}
`

func (w *world) replicas(deployment string) int { return replicasOf(w.deployment(deployment)) }

// podsLeft counts all that are there, ending or not.
func (w *world) podsLeft() int {
	list, err := w.client.on(pods).List(w.t.Context(), metav1.ListOptions{LabelSelector: "app=web"})
	if err != nil {
		w.t.Fatal(err)
	}
	return len(list.Items)
}

// stopped waits until nothing runs.
func (w *world) stopped(p *Port) {
	w.t.Helper()
	w.eventually("nothing runs", func() bool {
		var st console.Status
		if err := p.Ask(w.t.Context(), console.GetStatus, console.Query{}, &st); err != nil {
			w.t.Fatal(err)
		}
		return w.replicas("web") == 0 && w.podsLeft() == 0 && len(st.Releases) == 0 && st.Stopped != nil
	})
}

// The service is scaled to nothing with its autoscaler and its budget in place; another person, from elsewhere, brings it back
// with an older release: no pod of the newer one is made on the way, and the number of replicas is what it was.
func TestServiceStopsAndStartsWithAnotherRelease(t *testing.T) {
	w := newWorldOf(t, settings, webDeployment, webService, webScaler, webBudget)
	p := w.open()
	w.add(p, "v1.1.0", "reg.local/web:v1.1.0")
	w.ends(p, w.do(p, console.StartRollout, quick("v1.1.0", rollout.Rolling)).Rollout.ID, rollout.Succeeded)
	w.tidied(p)
	var plan console.Plan
	if err := p.Do(t.Context(), console.StopService, console.Target{Common: console.Common{Plan: true}}, &plan); err != nil {
		t.Fatal(err)
	}
	for _, words := range []string{"scaled from 4 to 0", "HorizontalPodAutoscaler web leaves the Deployment alone", "PodDisruptionBudget web limits evictions"} {
		if !says(plan, words) {
			t.Errorf("the plan does not say %q: %v", words, plan.Warnings)
		}
	}
	w.do(p, console.StopService, console.Target{ID: "rs-1"})
	w.stopped(p)
	w.refused(p, console.StartService, console.Target{}, console.CodeRefused, "rs-1", "not finished")
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	other := w.open()
	w.do(other, console.Rollback, console.RollbackRequest{To: "v1.0.0", Force: true})
	if n, image := w.replicas("web"), w.image("web"); n != 0 {
		t.Errorf("%d replicas of %s before it is started", n, image)
	}
	seen := map[string]int{}
	w.do(other, console.StartService, console.Target{ID: "rs-1"})
	w.eventually("v1.0.0 serves", func() bool {
		for image, n := range w.serving("web") {
			seen[image] = max(seen[image], n)
		}
		return w.serving("web")["reg.local/web:v1.0.0"] == 4
	})
	if len(seen) != 1 {
		t.Errorf("on the way there were %v", seen)
	}
	if _, marked := w.deployment("web").GetAnnotations()[annStill]; marked || other.state().Stable != "v1.0.0" || other.state().Instances != 4 {
		t.Errorf("left: %v, state %+v", w.deployment("web").GetAnnotations(), other.state())
	}
	w.tidied(other)
}

// Who scales the Deployment up while it is stopped is overruled, and told of.
func TestStoppedServiceStaysStopped(t *testing.T) {
	w := newWorld(t)
	p := w.open()
	w.do(p, console.StopService, console.Target{ID: "rs-1"})
	w.stopped(p)
	w.patch(deployments, "web", `{"spec":{"replicas":2}}`, "scale")
	w.eventually("it is scaled to nothing again", func() bool { return w.replicas("web") == 0 })
	w.stopped(p)
	w.do(p, console.StartService, console.Target{ID: "rs-1"})
	w.eventually("it serves as before", func() bool { return w.serving("web")["reg.local/web:v1.0.0"] == 4 })
}

// What was wanted while the service was stopped is not done to one that has been started since: nobody would give it its replicas back.
func TestStartIsNotUndoneByWhatWasWantedBefore(t *testing.T) {
	w := newWorld(t)
	p := w.open()
	w.do(p, console.StopService, console.Target{ID: "rs-1"})
	w.stopped(p)
	w.do(p, console.StartService, console.Target{ID: "rs-1"})
	late := &Platform{hand: p.hand, logs: newLastWords(p)}
	for range 50 {
		if err := late.Ensure(t.Context(), rollout.Desired{}); err != nil {
			t.Fatal(err)
		}
	}
	w.eventually("it serves as before", func() bool { return w.serving("web")["reg.local/web:v1.0.0"] == 4 })
}

// Stopped in the middle of a canary, both Deployments are; the release that is chosen gets all the traffic.
func TestStoppedInTheMiddleOfACanary(t *testing.T) {
	w := newWorld(t)
	p := w.open()
	w.add(p, "v1.1.0", "reg.local/web:v1.1.0")
	in := quick("v1.1.0", rollout.Canary)
	in.Weights, in.Approve = []int{50, 100}, []int{50}
	w.do(p, console.StartRollout, in)
	w.eventually("it waits", func() bool { a := p.state().Active; return a != nil && a.Phase == rollout.Waiting })
	w.do(p, console.StopService, console.Target{ID: "rs-1"})
	w.eventually("both are stopped", func() bool { return w.replicas("web") == 0 && w.replicas("web-covet") == 0 && w.podsLeft() == 0 })
	w.do(p, console.Rollback, console.RollbackRequest{To: "v1.0.0", Force: true})
	if a := p.state().Active; a != nil {
		t.Errorf("%s is still under way", a.ID)
	}
	w.do(p, console.StartService, console.Target{ID: "rs-1"})
	w.eventually("v1.0.0 serves alone", func() bool {
		got := w.serving("web")
		return got["reg.local/web:v1.0.0"] == 4 && len(got) == 1
	})
	w.tidied(p)
}

// What was noted of a restore is found by whoever opens the service next.
func TestRestoreIsFoundInTheCluster(t *testing.T) {
	w := newWorld(t)
	p := w.open()
	note := rollout.Restoring{ID: "rs-1", Place: "/srv/data", Host: "db1", Target: "the latest", State: rollout.RestoreRuns, Step: "copy", Record: []byte(`{"id":"rs-1"}`)}
	w.do(p, console.NoteRestore, note)
	other := w.open()
	var found []rollout.Restoring
	if err := other.Ask(t.Context(), console.GetRestores, console.Query{}, &found); err != nil || len(found) != 1 || found[0].ID != "rs-1" || string(found[0].Record) != `{"id":"rs-1"}` {
		t.Fatalf("%v %+v", err, found)
	}
	note.State = rollout.RestoreDone
	w.do(other, console.NoteRestore, note)
	w.eventually("it is over", func() bool { return len(p.state().Restores) == 0 })
	if story := w.story(p); !strings.Contains(story, "restore of /srv/data on db1 to the latest done") {
		t.Errorf("the audit log: %s", story)
	}
	w.refused(p, console.NoteRestore, rollout.Restoring{ID: "rs-2", State: "lost"}, console.CodeUsage, "states")
}

func TestStillMark(t *testing.T) {
	t.Parallel()
	o := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{"replicas": int64(0)}}}
	if _, marked := stillMark(o); marked || replicasOf(o) != 0 {
		t.Error("a Deployment that its owner scaled to nothing is taken for one that Covet stopped")
	}
	o.SetAnnotations(map[string]string{annStill: "7"})
	if n, marked := stillMark(o); !marked || n != 7 {
		t.Errorf("%d %v", n, marked)
	}
	if n := replicasOf(&unstructured.Unstructured{Object: map[string]any{}}); n != 1 {
		t.Errorf("without a number there are %d", n)
	}
}
