package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/covetpy/covet/ops/console"
	"github.com/covetpy/covet/ops/journal"
	"github.com/covetpy/covet/ops/rollout"
)

func TestBadCandidatesFailEarlyInTheirOwnWords(t *testing.T) {
	for tag, words := range map[string]string{"missing": "ImagePullBackOff", "crash": "CrashLoopBackOff", "notready": "not ready within"} {
		for _, s := range rollout.Strategies() {
			t.Run(tag+" "+string(s), func(t *testing.T) {
				w := newWorld(t)
				p := w.open()
				w.add(p, "v1.1.0", "reg.local/web:"+tag)
				in := quick("v1.1.0", s)
				in.Deadline = journal.Duration(time.Minute) // which what fails in its own words does not wait for
				if tag == "notready" {
					in.Deadline = journal.Duration(6 * time.Second)
				}
				ack := w.do(p, console.StartRollout, in)
				for {
					if n := w.serving("web")["reg.local/web:v1.0.0"]; n < 4 {
						t.Fatalf("%d old instances serve", n)
					}
					if r, ok := p.state().Find(ack.Rollout.ID); ok && r.Phase.Ended() {
						break
					}
				}
				r := w.ends(p, ack.Rollout.ID, rollout.RolledBack)
				if !strings.Contains(r.Message, words) {
					t.Errorf("the reason is %q, which does not say %q", r.Message, words)
				}
				w.tidied(p)
				if got := w.image("web"); !strings.HasPrefix(got, "reg.local/web:v1.0.0") {
					t.Errorf("the Deployment is left with %s", got)
				}
			})
		}
	}
}

func TestProgressDeadlineIsActedOn(t *testing.T) {
	w := newWorldOf(t, settings, strings.Replace(webDeployment, "progressDeadlineSeconds: 30", "progressDeadlineSeconds: 3", 1), webService)
	p := w.open()
	w.add(p, "v1.1.0", "reg.local/web:notready")
	ack := w.do(p, console.StartRollout, quick("v1.1.0", rollout.Rolling))
	if r := w.ends(p, ack.Rollout.ID, rollout.RolledBack); !strings.Contains(r.Message, "ProgressDeadlineExceeded") {
		t.Errorf("the reason is %q", r.Message)
	}
}

func TestPausedDeploymentIsLetGoInTheSameWrite(t *testing.T) {
	w := newWorld(t)
	p := w.open()
	w.add(p, "v1.1.0", "reg.local/web:v1.1.0")
	w.ends(p, w.do(p, console.StartRollout, quick("v1.1.0", rollout.Rolling)).Rollout.ID, rollout.Succeeded)
	w.patch(deployments, "web", `{"spec":{"paused":true}}`)
	w.eventually("the pause is seen", func() bool { return p.sight.layout(now()).slots[primary].paused })
	if !says(console.Plan{Warnings: p.problems()}, "Deployment web is paused") {
		t.Errorf("nobody is told of the pause: %q", p.problems())
	}
	ack := w.do(p, console.Rollback, console.RollbackRequest{})
	w.ends(p, ack.Rollout.ID, rollout.Succeeded)
	if paused, _, _ := unstructured.NestedBool(w.deployment("web").Object, "spec", "paused"); paused || !strings.HasPrefix(w.image("web"), "reg.local/web:v1.0.0") {
		t.Errorf("paused %v, image %s", paused, w.image("web"))
	}
}

const scaler = `
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: web}
spec: {minReplicas: 1, maxReplicas: 8, scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}, metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 70}}}]}
`

// While the candidate has the traffic, the autoscaler lets the idle stable release shrink. It must grow again first.
func TestShrunkStableReleaseGrowsBeforeTrafficReturns(t *testing.T) {
	w := newWorldOf(t, settings, webDeployment, webService, scaler)
	p := w.open()
	w.add(p, "v1.1.0", "reg.local/web:v1.1.0")
	in := quick("v1.1.0", rollout.BlueGreen)
	in.NoKeep, in.Keep = false, journal.Duration(time.Hour)
	if plan := w.plan(p, in); !says(plan, "HorizontalPodAutoscaler web owns the replicas") {
		t.Errorf("the plan does not speak of the autoscaler: %q", plan.Warnings)
	}
	w.ends(p, w.do(p, console.StartRollout, in).Rollout.ID, rollout.Succeeded)
	for _, m := range w.deployment("web").GetManagedFields() {
		if m.Manager == manager && strings.Contains(m.FieldsV1.GetRawString(), `"f:replicas"`) && m.Subresource == "" && strings.Contains(m.FieldsV1.GetRawString(), `"f:spec"`) {
			t.Errorf("Covet owns the autoscaler's replicas: %s", m.FieldsV1.GetRawString())
		}
	}
	w.patch(deployments, "web", `{"spec":{"replicas":1}}`, "scale")
	w.eventually("the stable release has shrunk", func() bool { return p.sight.layout(now()).slots[primary].ready == 1 })
	ack := w.do(p, console.Rollback, console.RollbackRequest{})
	for w.selector("web")["covet.dev/slot"] == candidate {
		if r, ok := p.state().Find(ack.Rollout.ID); ok && r.Phase.Ended() {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	n, _, _ := unstructured.NestedInt64(w.deployment("web").Object, "spec", "replicas")
	if got := w.serving("web"); n < 4 || got["reg.local/web:v1.0.0"] < 2 {
		t.Errorf("the traffic went back to %v of %d", got, n)
	}
	w.ends(p, ack.Rollout.ID, rollout.Succeeded)
}

func TestThirdReleaseSupersedesOnlyWhenToldTo(t *testing.T) {
	w := newWorldOf(t, settings, webDeployment, webService, httpRoute)
	p := w.open()
	w.add(p, "v1.1.0", "reg.local/web:v1.1.0")
	w.add(p, "v1.2.0", "reg.local/web:v1.2.0")
	in := quick("v1.1.0", rollout.Canary)
	in.Weights, in.Approve = []int{10, 100}, []int{10}
	w.do(p, console.StartRollout, in)
	w.eventually("it waits at 10%", func() bool { return p.state().Active != nil && p.state().Active.Phase == rollout.Waiting })
	next := quick("v1.2.0", rollout.Canary)
	next.Weights = []int{50, 100}
	w.refused(p, console.StartRollout, next, console.CodeLocked, "r-1", "--supersede")
	next.Supersede = true
	ack := w.do(p, console.StartRollout, next)
	// The second Service turns to the third release only once nothing goes through it.
	w.eventually("the third release has the second Deployment", func() bool {
		if w.gone(deployments, "web-covet") {
			return true
		}
		raw, _ := json.Marshal(w.get(httpRoutes, "web").Object["spec"])
		image := w.image("web-covet")
		if image == "reg.local/web:v1.2.0" {
			return true
		}
		if strings.Contains(string(raw), `"name":"web-covet","port":80,"weight":50`) {
			t.Fatalf("weight 50 while the candidate is %s", image)
		}
		return false
	})
	w.ends(p, ack.Rollout.ID, rollout.Succeeded)
	w.tidied(p)
	if got := w.serving("web"); got["reg.local/web:v1.2.0"] != 4 {
		t.Errorf("%v serve", got)
	}
}

// Everything that a rollback with kubectl depends on is taken away: the ReplicaSet, the ConfigMap, and Covet's own process.
func TestRollbackNeedsOnlyItsOwnRecord(t *testing.T) {
	w := newWorld(t)
	first := w.open()
	w.add(first, "v1.1.0", "reg.local/web:v1.1.0")
	w.ends(first, w.do(first, console.StartRollout, quick("v1.1.0", rollout.Rolling)).Rollout.ID, rollout.Succeeded)
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	w.patch(deployments, "web", `{"spec":{"revisionHistoryLimit":0}}`)
	w.applyAs("tester", strings.Replace(settings, "hello", "CHANGED", 1))
	if err := w.client.on(configMaps).Delete(t.Context(), "settings", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	w.eventually("the old ReplicaSet is gone", func() bool {
		list, err := w.client.on(replicaSets).List(t.Context(), metav1.ListOptions{})
		return err == nil && len(list.Items) == 1
	})
	p := w.open()
	ack := w.do(p, console.Rollback, console.RollbackRequest{To: "v1.0.0"})
	w.ends(p, ack.Rollout.ID, rollout.Succeeded)
	refs := templateOf(w.deployment("web")).config()
	if len(refs) != 1 || refs[0].name == "settings" {
		t.Fatalf("the pods are configured by %v", refs)
	}
	data, _, _ := unstructured.NestedStringMap(w.get(configMaps, refs[0].name).Object, "data")
	if data["GREETING"] != "hello" || !strings.HasPrefix(w.image("web"), "reg.local/web:v1.0.0") {
		t.Errorf("%s with %v", w.image("web"), data)
	}
	if n := len(p.state().Releases); n != 2 {
		t.Errorf("going back made %d releases of 2", n)
	}
}

func TestQuotaFailsEarlyAndIsSeenInThePlan(t *testing.T) {
	w := newWorldOf(t, settings, webDeployment, webService, httpRoute)
	p := w.open()
	w.add(p, "v1.1.0", "reg.local/web:v1.1.0")
	in := quick("v1.1.0", rollout.Canary)
	in.Weights, in.Approve = []int{10, 100}, []int{10}
	ack := w.do(p, console.StartRollout, in)
	w.eventually("it waits at 10%", func() bool { return p.state().Active != nil && p.state().Active.Phase == rollout.Waiting })
	w.apply("apiVersion: v1\nkind: ResourceQuota\nmetadata: {name: small}\nspec: {hard: {pods: \"5\"}}\n")
	w.eventually("the quota is counted", func() bool {
		used, _, _ := unstructured.NestedString(w.get(quotas, "small").Object, "status", "used", "pods")
		return used == "5"
	})
	w.do(p, console.Promote, console.Target{})
	if r := w.ends(p, ack.Rollout.ID, rollout.RolledBack); !strings.Contains(r.Message, "exceeded quota") {
		t.Errorf("the reason is %q", r.Message)
	}
	if got := w.serving("web"); got["reg.local/web:v1.0.0"] != 4 {
		t.Errorf("%v serve", got)
	}
	w.tidied(p)
	w.eventually("the quota is counted", func() bool {
		used, _, _ := unstructured.NestedString(w.get(quotas, "small").Object, "status", "used", "pods")
		return used == "4"
	})
	w.refused(p, console.StartRollout, quick("v1.1.0", rollout.BlueGreen), console.CodeRefused, "ResourceQuota small leaves 1 of pods, and 4 more pods need 4")
}

func TestPlanSaysWhatIsUnusual(t *testing.T) {
	odd := strings.NewReplacer("replicas: 4", "replicas: 1", "rollingUpdate: {maxSurge: 1, maxUnavailable: 0}", "rollingUpdate: {maxSurge: 25%, maxUnavailable: 25%}",
		"seconds: 1}", "seconds: 25}", "        resources:", "        env: [{name: SHUTDOWN_TIMEOUT, value: 30s}]\n        resources:").Replace(webDeployment)
	w := newWorldOf(t, settings, odd, webService, "apiVersion: policy/v1\nkind: PodDisruptionBudget\nmetadata: {name: web}\nspec: {minAvailable: 1, selector: {matchLabels: {app: web}}}\n")
	p := w.open()
	w.add(p, "v1.1.0", "reg.local/web:v1.1.0")
	plan := w.plan(p, quick("v1.1.0", rollout.Rolling))
	for _, words := range []string{
		"with 1 replicas, maxSurge makes 1 more and maxUnavailable lets 0 be missing: at least 1 serve",
		"PodDisruptionBudget web limits evictions, not this rollout",
		"preStop 25s and drain 30s do not fit into terminationGracePeriodSeconds 30",
		"is not pinned by a digest",
	} {
		if !says(plan, words) {
			t.Errorf("the plan does not say %q: %s", words, strings.Join(plan.Warnings, "\n"))
		}
	}
	if !differs(plan.Changes, "spec.containers[web].image", "reg.local/web:v1.1.0") {
		t.Errorf("the plan's differences are %+v", plan.Changes)
	}
}

func differs(all []rollout.Change, field, to string) bool {
	for _, c := range all {
		if c.Field == field && c.To == to {
			return true
		}
	}
	return false
}

// What the API server would refuse halfway is refused before anything is touched.
func TestRefusedBeforeAnythingIsTouched(t *testing.T) {
	w := newWorld(t)
	p := w.open()
	other := strings.ReplaceAll(webDeployment, "metadata: {labels: {app: web}}", "metadata: {labels: {app: other}}")
	err := p.Do(t.Context(), console.AddRelease, console.AddReleaseRequest{Version: "v1.1.0", Template: asJSON(t, other), Unpinned: true}, nil)
	if err == nil || !strings.Contains(err.Error(), "selector") {
		t.Errorf("a template that the immutable selector does not choose: %v", err)
	}
	err = p.Do(t.Context(), console.AddRelease, console.AddReleaseRequest{Version: "v1.1.0", Images: []string{"web=reg.local/web:v1.1.0", "nginx=x"}, Unpinned: true}, nil)
	if err == nil || !strings.Contains(err.Error(), `no container "nginx"`) {
		t.Errorf("an image of no container: %v", err)
	}
	err = p.Do(t.Context(), console.AddRelease, console.AddReleaseRequest{Version: "v1.1.0", Images: []string{"reg.invalid/web:v1.1.0"}}, nil)
	if err == nil || !strings.Contains(err.Error(), "cannot be pinned") {
		t.Errorf("an image without a digest: %v", err)
	}
	if len(p.state().Releases) != 1 {
		t.Errorf("%d releases", len(p.state().Releases))
	}
}

func asJSON(t *testing.T, manifest string) json.RawMessage {
	t.Helper()
	raw, err := yamlToJSON(manifest)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// A GitOps controller that reverts what a rollout does is named, and not fought.
func TestAnotherManagerIsNamedAndNotFought(t *testing.T) {
	w := newWorld(t)
	p := w.open()
	w.add(p, "v1.1.0", "reg.local/web:v1.1.0")
	in := quick("v1.1.0", rollout.Rolling)
	in.Approve = []int{100}
	ack := w.do(p, console.StartRollout, in)
	w.eventually("it waits", func() bool { return p.state().Active != nil && p.state().Active.Phase == rollout.Waiting })
	w.applyAs("argocd-controller", webDeployment)
	w.eventually("the rollout is paused", func() bool { return p.state().Active != nil && p.state().Active.Paused })
	if m := p.state().Active.Message; !strings.Contains(m, "argocd-controller has changed the pod template of Deployment web") {
		t.Errorf("the message is %q", m)
	}
	generation := w.deployment("web").GetGeneration()
	time.Sleep(3 * time.Second)
	if now := w.deployment("web").GetGeneration(); now != generation {
		t.Errorf("it was fought: generation %d became %d", generation, now)
	}
	w.do(p, console.ResumeRollout, console.Target{}) // a person overrules it, once
	w.eventually("the candidate is back", func() bool { return strings.HasPrefix(w.image("web"), "reg.local/web:v1.1.0") })
	w.applyAs("argocd-controller", webDeployment)
	// It may not stay so: where the other one's template has left the candidate without a pod, it rolls back by itself.
	w.eventually("it is paused again", func() bool { return strings.Count(w.story(p), "paused: argocd-controller") == 2 })
	if err := p.Do(t.Context(), console.AbortRollout, console.Target{}, nil); err != nil && p.state().Active != nil {
		t.Error(err)
	}
	w.ends(p, ack.Rollout.ID, rollout.RolledBack)
}

func TestBadRollbackTargetIsQuarantined(t *testing.T) {
	w := newWorld(t)
	p := w.open()
	w.add(p, "bad", "reg.local/web:crash")
	w.add(p, "v1.1.0", "reg.local/web:v1.1.0")
	w.ends(p, w.do(p, console.StartRollout, quick("v1.1.0", rollout.Rolling)).Rollout.ID, rollout.Succeeded)
	ack := w.do(p, console.Rollback, console.RollbackRequest{To: "bad"})
	r := w.ends(p, ack.Rollout.ID, rollout.Failed)
	if !strings.Contains(r.Message, "CrashLoopBackOff") {
		t.Errorf("the reason is %q", r.Message)
	}
	w.eventually("what served serves again", func() bool {
		return strings.HasPrefix(w.image("web"), "reg.local/web:v1.1.0") && w.serving("web")["reg.local/web:v1.1.0"] == 4
	})
	w.refused(p, console.Rollback, console.RollbackRequest{To: "bad"}, console.CodeRefused, "quarantined")
}

// A driver that dies, or rests, between the end of a failed rolling update and the write that gives the Deployment back would
// leave the bad release there for good.
func TestWhatAFailedRollingUpdateLeftIsPutRight(t *testing.T) {
	w := newWorld(t)
	p := w.open()
	w.add(p, "bad", "reg.local/web:crash")
	w.add(p, "v1.1.0", "reg.local/web:v1.1.0")
	w.ends(p, w.do(p, console.StartRollout, quick("v1.1.0", rollout.Rolling)).Rollout.ID, rollout.Succeeded)
	p.killed()
	q := w.open()
	if err := q.hand.do(t.Context(), move{put, primary, "bad", 4}); err != nil {
		t.Fatal(err)
	}
	w.eventually("it is said", func() bool {
		return says(console.Plan{Warnings: q.problems()}, "was left with bad, and v1.1.0 is in charge")
	})
	w.do(q, console.ResumeRollout, console.Target{})
	w.eventually("it drives, once the dead one's lease is over", func() bool { self, _ := q.Drives(t.Context()); return self })
	if left, err := q.Finish(t.Context()); err != nil || left != "" {
		t.Errorf("left %q, %v", left, err)
	}
	if got := w.image("web"); !strings.HasPrefix(got, "reg.local/web:v1.1.0") {
		t.Errorf("it ended with %s", got)
	}
	if says(console.Plan{Warnings: q.problems()}, "was left with") {
		t.Errorf("it is still said: %q", q.problems())
	}
}

func TestAbortWinsOverPromote(t *testing.T) {
	w := newWorld(t)
	p, q := w.open(), w.open()
	w.add(p, "v1.1.0", "reg.local/web:v1.1.0")
	in := quick("v1.1.0", rollout.BlueGreen)
	in.Approve = []int{0}
	ack := w.do(p, console.StartRollout, in)
	for _, port := range []*Port{p, q} {
		w.eventually("both see it wait", func() bool { return port.state().Active != nil && port.state().Active.Phase == rollout.Waiting })
	}
	var both sync.WaitGroup
	var aborted error
	both.Go(func() { aborted = p.Do(t.Context(), console.AbortRollout, console.Target{}, nil) })
	both.Go(func() { _ = q.Do(t.Context(), console.Promote, console.Target{}, nil) })
	both.Wait()
	if aborted != nil {
		t.Fatal(aborted)
	}
	w.ends(p, ack.Rollout.ID, rollout.RolledBack)
	w.tidied(p)
}

// Two consoles: the second is told who holds the rollout, and sees all of it.
func TestSecondConsoleIsToldWhoHoldsTheRollout(t *testing.T) {
	w := newWorld(t)
	p, q := w.open(), w.open()
	w.add(p, "v1.1.0", "reg.local/web:v1.1.0")
	in := quick("v1.1.0", rollout.BlueGreen)
	in.Approve = []int{0}
	ack := w.do(p, console.StartRollout, in)
	w.eventually("the second sees it", func() bool { return q.state().Active != nil })
	w.refused(q, console.StartRollout, quick("v1.1.0", rollout.Canary), console.CodeLocked, "started by")
	w.eventually("the first drives", func() bool { self, who := q.Drives(t.Context()); return !self && who == p.options.Holder })
	w.do(q, console.AbortRollout, console.Target{})
	w.ends(q, ack.Rollout.ID, rollout.RolledBack)
}

// Like kubectl rollout undo, on a Deployment that Covet has never seen, in the middle of a bad update.
func TestRollbackOfWhatCovetHasNeverSeen(t *testing.T) {
	w := newWorld(t)
	w.applyAs("tester", strings.Replace(webDeployment, "web:v1.0.0", "web:crash", 1))
	w.eventually("the bad update is stuck", func() bool {
		u, _, _ := unstructured.NestedInt64(w.deployment("web").Object, "status", "unavailableReplicas")
		return u > 0
	})
	p := w.open()
	var list []rollout.Release
	if err := p.Ask(t.Context(), console.GetReleases, console.Query{}, &list); err != nil || len(list) != 2 {
		t.Fatalf("%v, %v", list, err)
	}
	if !w.gone(configMaps, "covet-web-journal") {
		t.Fatal("looking has written something")
	}
	ack := w.do(p, console.Rollback, console.RollbackRequest{})
	r := w.ends(p, ack.Rollout.ID, rollout.Succeeded)
	if r.To != "v1.0.0" || !strings.HasPrefix(w.image("web"), "reg.local/web:v1.0.0") {
		t.Errorf("went back to %s, %s", r.To, w.image("web"))
	}
	w.tidied(p)
}

func TestWhatSomebodyElseDeployedIsTakenUp(t *testing.T) {
	w := newWorld(t)
	p := w.open()
	w.add(p, "v1.1.0", "reg.local/web:v1.1.0")
	w.ends(p, w.do(p, console.StartRollout, quick("v1.1.0", rollout.Rolling)).Rollout.ID, rollout.Succeeded)
	w.patch(deployments, "web", `{"spec":{"template":{"spec":{"$setElementOrder/containers":[{"name":"web"}]}}}}`)
	w.applyAs("kubectl", strings.Replace(webDeployment, "web:v1.0.0", "web:v2.0.0", 1))
	w.eventually("it is seen", func() bool { return p.state().Stable == "v2.0.0" })
	ack := w.do(p, console.Rollback, console.RollbackRequest{})
	if r := w.ends(p, ack.Rollout.ID, rollout.Succeeded); r.To != "v1.1.0" {
		t.Errorf("went back to %s", r.To)
	}
}

func TestOwnedDeploymentIsNotTouched(t *testing.T) {
	w := newWorld(t)
	p := w.open()
	w.add(p, "v1.1.0", "reg.local/web:v1.1.0")
	owner := w.get(configMaps, "settings")
	w.patch(deployments, "web", fmt.Sprintf(`{"metadata":{"ownerReferences":[{"apiVersion":"v1","kind":"ConfigMap","name":"settings","uid":%q,"controller":true}]}}`, owner.GetUID()))
	w.eventually("it is seen", func() bool { o, _ := p.stage.deployment(primary); return len(o.GetOwnerReferences()) > 0 })
	w.refused(p, console.StartRollout, quick("v1.1.0", rollout.Rolling), console.CodeRefused, "belongs to ConfigMap settings")
}

func TestJournalSealsWhatIsOld(t *testing.T) {
	w := newWorld(t)
	j := newJournal(w.client, "long")
	j.limit = 2000
	var last journal.Seq
	for i := range 60 {
		var err error
		last, err = j.Append(t.Context(), last, journal.New(time.Now(), "tester", "noted", fmt.Sprint(i), map[string]string{"text": strings.Repeat("x", 100)}))
		if err != nil {
			t.Fatal(err)
		}
	}
	n := journal.Seq(0)
	for e, err := range newJournal(w.client, "long").Read(t.Context(), 1) {
		if n++; err != nil || e.Seq != n || e.Subject != fmt.Sprint(n-1) {
			t.Fatalf("event %d is %+v, %v", n, e, err)
		}
	}
	h, err := j.readHead(t.Context())
	if n != 60 || err != nil || len(h.segments) < 3 || len(h.lines) > 2500 {
		t.Fatalf("%d events, %d segments, %d bytes in the head, %v", n, len(h.segments), len(h.lines), err)
	}
	if _, err := j.Append(t.Context(), last, journal.New(time.Now(), "x", "big", "", strings.Repeat("x", maxAppend))); err == nil {
		t.Error("an append that the API server cannot hold was taken")
	}
	if _, err := j.readSegment(context.Background(), h.segments[0]); err != nil {
		t.Error(err)
	}
}
