package kube

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/covetpy/covet/ops/console"
	"github.com/covetpy/covet/ops/journal"
	"github.com/covetpy/covet/ops/rollout"
)

// hostAddress is an address of this machine that is not the loopback's: the API server connects to no pod there.
func hostAddress(t *testing.T) string {
	t.Helper()
	all, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range all {
		if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil && n.IP.IsGlobalUnicast() && !n.IP.IsLoopback() {
			return n.IP.String()
		}
	}
	t.Skip("this machine has no address but the loopback's, and the API server's proxy goes to none of those")
	return ""
}

// counting stands for what the pods of one release show: a counter that grows by so many requests a second.
type counting struct {
	port   int
	failed atomic.Int64 // of 100 requests
	dead   atomic.Bool
	other  atomic.Bool // it is not covetd
}

func newCounting(t *testing.T, host string) *counting {
	t.Helper()
	c := &counting{}
	began := time.Now()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) {
		if c.dead.Load() {
			http.Error(w, "down", http.StatusServiceUnavailable)
			return
		}
		if c.other.Load() {
			fmt.Fprintln(w, "nginx_requests 5")
			return
		}
		n := int64(100 * time.Since(began).Seconds())
		bad := n * c.failed.Load() / 100
		fmt.Fprintf(w, "covetpy_active_connections 1\ncovetpy_requests_total{method=\"GET\",endpoint=\"/\",status=\"200\"} %d\ncovetpy_requests_total{method=\"GET\",endpoint=\"/\",status=\"500\"} %d\n", n-bad, bad)
	})
	ln, err := net.Listen("tcp", host+":0")
	if err != nil {
		t.Fatal(err)
	}
	s := &httptest.Server{Listener: ln, Config: &http.Server{Handler: mux}}
	s.Start()
	t.Cleanup(s.Close)
	c.port = ln.Addr().(*net.TCPAddr).Port
	return c
}

// measured is a service whose pods are at this machine's address and show metrics, and a release v1.1.0 of it.
func measured(t *testing.T) (w *world, p *Port, stable, candidate *counting) {
	t.Helper()
	host := hostAddress(t)
	stable, candidate = newCounting(t, host), newCounting(t, host)
	at := func(port int, image string) string {
		return strings.NewReplacer("metadata: {labels: {app: web}}\n    spec", fmt.Sprintf("metadata: {labels: {app: web}, annotations: {prometheus.io/port: \"%d\"}}\n    spec", port), "web:v1.0.0", image).Replace(webDeployment)
	}
	w = newWorldOf(t, settings, at(stable.port, "web:v1.0.0"), webService, httpRoute)
	go w.movePods(host)
	p = w.open()
	var r rollout.Release
	in := console.AddReleaseRequest{Version: "v1.1.0", Template: asJSON(t, at(candidate.port, "web:v1.1.0")), Unpinned: true}
	if err := p.Do(t.Context(), console.AddRelease, in, &r); err != nil {
		t.Fatal(err)
	}
	w.eventually("the pods have moved", func() bool {
		for _, pod := range p.stage.pods.all() {
			if pod.ip != host {
				return false
			}
		}
		return true
	})
	return w, p, stable, candidate
}

// movePods says of every pod that it is at an address, until the test ends.
func (w *world) movePods(host string) {
	patch := fmt.Appendf(nil, `{"status":{"podIP":%q,"podIPs":[{"ip":%q}]}}`, host, host)
	for ctx := w.t.Context(); ctx.Err() == nil; time.Sleep(100 * time.Millisecond) {
		list := &corev1.PodList{}
		if w.client.typed.Get().AbsPath(w.client.path(pods)...).Do(ctx).Into(list) != nil {
			continue
		}
		for i := range list.Items {
			if p := &list.Items[i]; p.Status.PodIP != "" && p.Status.PodIP != host {
				_, _ = w.client.on(pods).Patch(ctx, p.Name, types.StrategicMergePatchType, []byte(strings.Replace(string(patch), `"podIPs":[`, `"podIPs":[{"$patch":"replace"},`, 1)), metav1.PatchOptions{}, "status")
			}
		}
	}
}

func measuredCanary() console.StartRequest {
	in := quick("v1.1.0", rollout.Canary)
	in.Weights, in.Bake = []int{50, 100}, journal.Duration(15*time.Second)
	return in
}

func TestCanaryThatAnswersErrorsIsRolledBack(t *testing.T) {
	w, p, _, candidate := measured(t)
	candidate.failed.Store(50)
	if plan := w.plan(p, measuredCanary()); !says(plan, "the candidate is judged by its requests: all 4 pods of v1.0.0") {
		t.Errorf("the plan does not say how it is judged: %q", plan.Warnings)
	}
	ack := w.do(p, console.StartRollout, measuredCanary())
	r := w.ends(p, ack.Rollout.ID, rollout.RolledBack)
	if !strings.Contains(r.Message, "of its requests failed") {
		t.Errorf("the reason is %q", r.Message)
	}
	w.tidied(p)
}

func TestCanaryThatAnswersGoesThrough(t *testing.T) {
	w, p, _, _ := measured(t)
	in := measuredCanary()
	in.Bake = journal.Duration(5 * time.Second)
	ack := w.do(p, console.StartRollout, in)
	w.eventually("its requests are measured", func() bool {
		_, by := live{p}.Points()
		return by["v1.1.0"].RequestRate > 50
	})
	w.ends(p, ack.Rollout.ID, rollout.Succeeded)
	w.tidied(p)
}

// If the stable release fails as well, it is no fault of the candidate's: nothing is rolled back.
func TestStableThatFailsAsWell(t *testing.T) {
	w, p, stable, candidate := measured(t)
	candidate.failed.Store(50)
	stable.failed.Store(50)
	w.do(p, console.StartRollout, measuredCanary())
	w.eventually("it is paused", func() bool { a := p.state().Active; return a != nil && a.Paused })
	if m := p.state().Active.Message; !strings.Contains(m, "this looks like the infrastructure") {
		t.Errorf("the message is %q", m)
	}
}

// Metrics that were there and are not any more: the candidate does not pass for healthy, and a person decides.
func TestMetricsThatCannotBeRead(t *testing.T) {
	w, p, _, candidate := measured(t)
	candidate.dead.Store(true)
	in := measuredCanary()
	in.Bake = journal.Duration(time.Second)
	ack := w.do(p, console.StartRollout, in)
	w.waitsAt(p, 50)
	if m := p.state().Active.Message; !strings.Contains(m, "v1.1.0 cannot be judged by its requests: ") || !strings.Contains(m, "pods cannot be read") {
		t.Errorf("the message is %q", m)
	}
	if got := strings.Join(p.problems(), "\n"); !strings.Contains(got, "v1.1.0 cannot be judged by its requests") {
		t.Errorf("the status says %q", got)
	}
	w.do(p, console.Promote, console.Target{})
	w.waitsAt(p, 100)
	candidate.dead.Store(false)
	w.do(p, console.Promote, console.Target{})
	w.ends(p, ack.Rollout.ID, rollout.Succeeded)
}

func TestWhereMetricsAre(t *testing.T) {
	parse := func(spec string) podTemplate {
		var o podTemplate
		if err := unmarshal(asJSON(t, spec), (*map[string]any)(&o)); err != nil {
			t.Fatal(err)
		}
		return o
	}
	const probed = "spec: {containers: [{name: a, ports: [{name: web, containerPort: 8000}], readinessProbe: {httpGet: {path: /r, port: web}}}]}"
	for _, c := range []struct {
		template, setting, want string
		sure, found             bool
	}{
		{"metadata: {annotations: {prometheus.io/port: \"9090\", prometheus.io/path: m}}", "", "9090/m", true, true},
		{"metadata: {annotations: {prometheus.io/port: \"9090\", prometheus.io/scrape: \"false\"}}", "", "", false, false},
		{"metadata: {annotations: {prometheus.io/port: \"9090\"}}", "7000/own", "7000/own", true, true},
		{"spec: {containers: [{name: a, ports: [{name: metrics, containerPort: 9100}]}]}", "", "9100/metrics", true, true},
		{probed, "", "8000/metrics", false, true},
		{probed, "/stats", "8000/stats", true, true},
		{probed, MetricsOff, "", false, false},
		{"spec: {containers: [{name: a}]}", "", "", false, false},
	} {
		e, found := endpointOf(parse(c.template), c.setting)
		if found != c.found || found && (fmt.Sprintf("%d%s", e.port, e.path) != c.want || e.sure != c.sure) {
			t.Errorf("%s with %q: %+v, %v", c.template, c.setting, e, found)
		}
	}
	for _, bad := range []string{"x", "0", "70000", "x/metrics"} {
		if ParseMetrics(bad) == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}
