package kube

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/covetpy/covet/ops/console"
	"github.com/covetpy/covet/ops/rollout"
)

func TestBlueGreenSwitchesOnceAllAreReady(t *testing.T) {
	w := newWorld(t)
	p := w.open()
	w.add(p, "v1.1.0", "reg.local/web:v1.1.0")
	in := quick("v1.1.0", rollout.BlueGreen)
	in.NoKeep, in.Keep = false, 0
	ack := w.do(p, console.StartRollout, in)
	for {
		r, ok := p.state().Find(ack.Rollout.ID)
		serving := w.serving("web")
		if serving["reg.local/web:v1.0.0"] > 0 && serving["reg.local/web:v1.1.0"] > 0 {
			t.Fatalf("both releases have traffic: %v", serving)
		}
		if n := serving["reg.local/web:v1.0.0"] + serving["reg.local/web:v1.1.0"]; n < 4 {
			t.Fatalf("only %v serve", serving)
		}
		if ok && r.Phase.Ended() {
			break
		}
	}
	w.ends(p, ack.Rollout.ID, rollout.Succeeded)
	if got := w.serving("web"); got["reg.local/web:v1.1.0"] != 4 {
		t.Fatalf("after it %v serve", got)
	}
	// While the old set is warm, going back takes no time.
	began := time.Now()
	back := w.do(p, console.Rollback, console.RollbackRequest{})
	for w.selector("web")["covet.dev/slot"] == candidate {
		if time.Since(began) > 10*time.Second {
			t.Fatal("the traffic did not go back")
		}
	}
	took := time.Since(began)
	t.Logf("back after %s", took)
	if got := w.image("web"); got != "reg.local/web:v1.0.0" || took > 5*time.Second {
		t.Errorf("back after %s, at %s", took, got)
	}
	w.ends(p, back.Rollout.ID, rollout.Succeeded)
	w.tidied(p)
}

func TestCanaryByNumberOfInstances(t *testing.T) {
	w := newWorld(t)
	p := w.open()
	w.add(p, "v1.1.0", "reg.local/web:v1.1.0")
	in := quick("v1.1.0", rollout.Canary)
	in.Weights = []int{10, 50, 100}
	if plan := w.plan(p, in); !says(plan, "10% is 1 of 5, really 20%") {
		t.Errorf("the plan does not say what the weights come to: %q", plan.Warnings)
	}
	in.Approve = []int{10}
	ack := w.do(p, console.StartRollout, in)
	w.eventually("it waits at 10%", func() bool { return p.state().Active != nil && p.state().Active.Phase == rollout.Waiting })
	if got := w.serving("web"); got["reg.local/web:v1.0.0"] != 4 || got["reg.local/web:v1.1.0"] != 1 {
		t.Fatalf("at 10%% %v serve", got)
	}
	if got := (live{p}).Snapshot().Weights; got["v1.1.0"] != 20 || got["v1.0.0"] != 80 {
		t.Errorf("one of five is shown as %v", got)
	}
	w.do(p, console.Promote, console.Target{})
	w.ends(p, ack.Rollout.ID, rollout.Succeeded)
	w.tidied(p)
	if got := w.serving("web"); got["reg.local/web:v1.1.0"] != 4 || len(got) != 1 {
		t.Fatalf("after it %v serve", got)
	}
}

func TestRollingUpdateIsKubernetesOwn(t *testing.T) {
	w := newWorld(t)
	p := w.open()
	w.add(p, "v1.1.0", "reg.local/web:v1.1.0")
	plan := w.plan(p, quick("v1.1.0", rollout.Rolling))
	if !says(plan, "maxSurge makes 1 more and maxUnavailable lets 0 be missing") {
		t.Errorf("the plan does not say how: %q", plan.Warnings)
	}
	w.ends(p, w.do(p, console.StartRollout, quick("v1.1.0", rollout.Rolling)).Rollout.ID, rollout.Succeeded)
	if got := w.serving("web"); got["reg.local/web:v1.1.0"] != 4 || len(got) != 1 || !w.gone(deployments, "web-covet") {
		t.Fatalf("after it %v serve", got)
	}
	w.do(p, console.Rollback, console.RollbackRequest{})
	w.within(10*time.Second, "the template is the old release's", func() bool { return strings.HasPrefix(w.image("web"), "reg.local/web:v1.0.0") })
	w.ends(p, "", rollout.Succeeded)
	w.tidied(p)
}

const httpRoute = `
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: web, annotations: {team: shop}}
spec:
  parentRefs: [{name: edge}]
  rules:
  - name: api
    matches: [{path: {type: PathPrefix, value: /api}}]
    filters: [{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: x-from, value: edge}]}}]
    backendRefs: [{name: web, port: 80, weight: 7}]
    timeouts: {request: 5s}
  - backendRefs: [{name: web, port: 80}, {name: legacy, port: 80, weight: 0}]
`

const virtualService = `
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web}
spec:
  hosts: [web.example.com]
  http:
  - name: all
    retries: {attempts: 2, perTryTimeout: 2s}
    route: [{destination: {host: web, port: {number: 80}}, headers: {response: {set: {x-a: b}}}}]
`

func TestCanaryByRoutes(t *testing.T) {
	for _, c := range []struct {
		name, manifest string
		d              dialect
		header         string
	}{
		{"HTTPRoute", httpRoute, gateway, `"headers":[{"name":"x-canary","type":"Exact","value":"true"}]`},
		{"VirtualService", virtualService, istio, `"headers":{"x-canary":{"exact":"true"}}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorldOf(t, settings, webDeployment, webService, c.manifest)
			p := w.open()
			before := w.get(c.d.gvr, "web").Object["spec"]
			w.add(p, "v1.1.0", "reg.local/web:v1.1.0")
			in := quick("v1.1.0", rollout.Canary)
			in.Weights, in.Approve = []int{10, 100}, []int{10, 100}
			if plan := w.plan(p, in); !says(plan, c.name+" web splits the traffic by weight") {
				t.Errorf("the plan does not say what splits the traffic: %q", plan.Warnings)
			}
			ack := w.do(p, console.StartRollout, in)
			waits := func(weight int) func() bool {
				return func() bool {
					a := p.state().Active
					return a != nil && a.Phase == rollout.Waiting && a.Weight == weight
				}
			}
			w.eventually("it waits at 10%", waits(10))
			o := w.get(c.d.gvr, "web")
			raw, err := json.Marshal(o.Object["spec"])
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(string(raw), c.header) || !strings.Contains(string(raw), "web-covet") {
				t.Errorf("at 10%% the route is %s", raw)
			}
			if got := w.serving("web"); got["reg.local/web:v1.1.0"] != 0 {
				t.Errorf("the stable Service serves the candidate: %v", got)
			}
			if got := w.serving("web-covet"); got["reg.local/web:v1.1.0"] == 0 || len(got) != 1 {
				t.Errorf("the candidate's Service serves %v", got)
			}
			w.do(p, console.Promote, console.Target{})
			w.eventually("it waits at 100%", waits(100))
			if got := w.serving("web"); got["reg.local/web:v1.1.0"] != 4 || len(got) != 1 {
				t.Errorf("at 100%% %v serve", got)
			}
			w.do(p, console.Promote, console.Target{})
			w.ends(p, ack.Rollout.ID, rollout.Succeeded)
			w.tidied(p)
			if after := w.get(c.d.gvr, "web"); !reflect.DeepEqual(after.Object["spec"], before) || after.GetAnnotations()[annWrote] != "" {
				t.Errorf("the route is not as it was:\n%v\n%v", after.Object, before)
			}
		})
	}
}

func TestAbortedCanaryLeavesTheRouteAsItWas(t *testing.T) {
	w := newWorldOf(t, settings, webDeployment, webService, httpRoute)
	p := w.open()
	before := w.get(httpRoutes, "web").Object["spec"]
	w.add(p, "v1.1.0", "reg.local/web:v1.1.0")
	in := quick("v1.1.0", rollout.Canary)
	in.Weights, in.Approve = []int{50, 100}, []int{50}
	ack := w.do(p, console.StartRollout, in)
	w.eventually("it waits", func() bool { return p.state().Active != nil && p.state().Active.Phase == rollout.Waiting })
	began := time.Now()
	w.do(p, console.AbortRollout, console.Target{})
	w.eventually("the candidate has no weight", func() bool {
		list, _, _ := unstructured.NestedSlice(w.get(httpRoutes, "web").Object, "spec", "rules")
		raw, _ := json.Marshal(list)
		return !strings.Contains(string(raw), "web-covet")
	})
	t.Logf("the candidate had no weight after %s", time.Since(began))
	w.ends(p, ack.Rollout.ID, rollout.RolledBack)
	w.tidied(p)
	if after := w.get(httpRoutes, "web").Object["spec"]; !reflect.DeepEqual(after, before) {
		t.Errorf("%v\nwant %v", after, before)
	}
}
