package tui

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/covetpy/covet/ops/console"
	"github.com/covetpy/covet/ops/journal"
)

// clustered is a scripted service on Kubernetes.
type clustered struct {
	*scripted
	context  string
	view     console.ClusterView
	targets  console.Targets
	previous []console.LogLine
	open     func(ctx context.Context, to console.TargetRef) (console.Port, error)

	mu     sync.Mutex
	closed bool
}

func (c *clustered) View(context.Context) (console.ClusterView, error) { return c.view, nil }
func (c *clustered) ViewChanged() <-chan struct{}                      { return make(chan struct{}) }
func (c *clustered) Targets(context.Context) (console.Targets, error)  { return c.targets, nil }
func (c *clustered) Where() string                                     { return "kubernetes:" + c.context + "/shop/shop" }
func (c *clustered) Who() string                                       { return "ada@example.com" }

func (c *clustered) PodLogs(_ context.Context, q console.PodLogQuery) iter.Seq2[console.LogLine, error] {
	return func(yield func(console.LogLine, error) bool) {
		for _, l := range c.previous {
			if q.Previous && l.Instance == q.Pod && !yield(l, nil) {
				return
			}
		}
	}
}

func (c *clustered) Switch(ctx context.Context, to console.TargetRef) (console.Port, error) {
	return c.open(ctx, to)
}

func (c *clustered) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	return nil
}

func (c *clustered) isClosed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closed
}

// onKubernetes is the canary of the other tests with pods, of which some are in trouble.
func onKubernetes(context string) *clustered {
	s := rehearsed()
	s.status.Platform, s.status.Environment = "kubernetes", context
	c := &clustered{scripted: s, context: context}
	c.view = console.ClusterView{At: t0, Context: context, Namespace: "shop", Deployment: "shop", Traffic: "HTTPRoute shop"}
	for i := range 9 {
		p := &console.Pod{
			Name: fmt.Sprintf("shop-6c9f7d5b8-%05d", i), Release: "v1.0.0", Workload: "shop", Phase: "Running", Ready: 1, Node: fmt.Sprintf("node-%d", i%3),
			IP: fmt.Sprintf("10.244.0.%d", i+2), CreatedAt: t0.Add(-3 * time.Hour), Traffic: true,
			Containers: []console.Container{{Name: "shop", Image: "registry.example/shop:v1.0.0", ImageID: "registry.example/shop@sha256:4f1c", Ready: true, State: "running"}},
		}
		switch i {
		case 4:
			p.Name, p.Release, p.Phase, p.Ready, p.Traffic, p.Restarts = "shop-canary-7d4b-x2x9q", "v1.1.0", "CrashLoopBackOff", 0, false, 4
			p.Reason = "CrashLoopBackOff: back-off 40s restarting failed container"
			p.Containers = []console.Container{{Name: "shop", Image: "registry.example/shop:v1.1.0", State: "waiting", Reason: "CrashLoopBackOff", Restarts: 4, ExitCode: 1, EndedAt: t0.Add(-20 * time.Second)}}
		case 7:
			p.Phase, p.Traffic = "Terminating", false
		}
		c.view.Pods = append(c.view.Pods, p)
	}
	c.view.Events = []*console.ClusterEvent{
		{At: t0.Add(-20 * time.Second), Count: 4, Warning: true, Object: "Pod/shop-canary-7d4b-x2x9q", Reason: "BackOff", Message: "Back-off restarting failed container shop", From: "kubelet"},
		{At: t0.Add(-time.Minute), Count: 1, Object: "Deployment/shop-canary", Reason: "ScalingReplicaSet", Message: "Scaled up replica set shop-canary-7d4b to 1", From: "deployment-controller"},
	}
	c.view.Nodes = []console.Node{{Name: "node-0", Ready: true, Pods: 3, Version: "v1.36.3"}, {Name: "node-1", Ready: true, Cordoned: true, Pods: 3, Version: "v1.36.3"},
		{Name: "node-2", Ready: true, Pods: 3, Version: "v1.35.1", Conditions: []string{"MemoryPressure"}}}
	c.view.Scalers = []console.Scaler{{Name: "shop", Target: "Deployment/shop", Min: 3, Max: 10, Current: 8, Desired: 10, Metrics: []string{"cpu 83% of 70%"}}}
	c.view.Warnings = []string{"spec.template.spec.containers[0].env[3]: hides previous definition"}
	c.targets = console.Targets{
		Context: context, Namespace: "shop", Service: "shop", Namespaces: []string{"default", "shop"}, Services: []string{"shop", "worker"},
		Contexts: []console.TargetContext{{Name: context, Cluster: "one"}, {Name: "prod-eu", Cluster: "two", Production: true}},
	}
	c.previous = []console.LogLine{{At: t0, Instance: "shop-canary-7d4b-x2x9q", Text: "panic: no database"}}
	return c
}

func (c *clustered) show(t *testing.T, w, h int) *shown {
	t.Helper()
	return show(t, c.scripted, w, h, func(o *Options) { o.Port, o.Target = c, c.Where() })
}

func TestClusterScreens(t *testing.T) {
	t.Parallel()
	for _, size := range []struct{ w, h int }{{80, 24}, {200, 60}, {40, 10}} {
		for key, name := range map[string]string{"2": "pods", "e": "cluster"} {
			t.Run(fmt.Sprintf("%s-%dx%d", name, size.w, size.h), func(t *testing.T) {
				t.Parallel()
				s := onKubernetes("staging").show(t, size.w, size.h)
				s.has("STAGING")
				if size.h > 10 {
					s.loaded()
				}
				s.press(key)
				s.golden(fmt.Sprintf("%s-%dx%d", name, size.w, size.h))
			})
		}
	}
}

func TestPodIsOpenedWithItsReasonAndEvents(t *testing.T) {
	t.Parallel()
	s := onKubernetes("staging").show(t, 100, 40)
	s.loaded()
	s.press("2")
	s.has("shop-canary-7d4b-x2x9q", "CrashLoopBackOff")
	s.press("\r")
	s.has("last exit 1", "back-off 40s", "Back-off restarting failed container shop", "no EndpointSlice")
	s.press("v")
	s.has("panic: no database", "the life before this one")
}

func TestPodsAreFiltered(t *testing.T) {
	t.Parallel()
	s := onKubernetes("staging").show(t, 100, 40)
	s.loaded()
	s.press("2")
	s.has("9")
	s.press("/node-2\r")
	s.has("3 of 9")
}

// What is armed in one place is never carried to another: write mode, a plan, a typed confirmation.
func TestSwitchingCarriesNothingOver(t *testing.T) {
	t.Parallel()
	d := sit(t, rehearsed(), func(o *Options) { o.ReadOnly = false })
	d.src.snap.Status.Rollout = nil
	there := onKubernetes("prod-eu")
	here := onKubernetes("staging")
	here.open = func(context.Context, console.TargetRef) (console.Port, error) { return there, nil }
	d.m.o.Port = here
	if !d.m.write() {
		t.Fatal("it did not begin in write mode")
	}
	cmd := d.m.goTo(console.TargetRef{Context: "prod-eu"})
	if d.m.write() {
		t.Error("it may still write while another target is being opened")
	}
	d.press("w")
	if d.m.dialog != nil {
		d.press("enter")
	}
	if d.m.write() {
		t.Error("write mode was turned on while another target is being opened")
	}
	d.do(cmd)
	if d.m.next != console.Port(there) {
		t.Fatal("the console did not go on to the other target")
	}
	o := d.m.o.onTo(d.m.next)
	if !o.ReadOnly || o.Target != there.Where() || o.User != there.Who() {
		t.Errorf("the other console is %+v", o)
	}
}

// returning is a target that is the one with which the console began.
type returning struct{ *clustered }

func (returning) AtHome() bool    { return true }
func (returning) Flags() []string { return []string{"--context", "staging"} }

// Backups belong to where the console began: elsewhere it says whose they are, and back there they are there again.
func TestBackupsAreThereAgainAfterComingBack(t *testing.T) {
	t.Parallel()
	home := returning{onKubernetes("staging")}
	o := Options{Port: home, Target: home.Where(), Recovery: &vault{}, Returned: func(console.Port) console.Recovery { return &vault{} }}
	away := o.onTo(onKubernetes("prod-eu"))
	if away.Recovery != nil {
		t.Fatal("the backups of one service are shown at another")
	}
	d := sit(t, rehearsed(), func(o *Options) { o.Port, o.recoveryOf = away.Port, away.recoveryOf })
	d.press("4")
	if !strings.Contains(d.m.said.text, "those of staging/shop/shop are known") {
		t.Errorf("about the backups it says %q", d.m.said.text)
	}
	if back := away.onTo(home); back.Recovery == nil {
		t.Error("back where it began there are no backups")
	}
}

// What is copied must mean the same service in a shell whose environment names another.
func TestCopiedCommandNamesTheTarget(t *testing.T) {
	t.Parallel()
	d := sit(t, rehearsed(), func(o *Options) { o.Port = returning{onKubernetes("staging")} })
	if got := d.m.line(); got != "covetctl status --context staging" {
		t.Errorf("the command is %q", got)
	}
}

// A number that nobody has measured is not a good one: 0% errors would let a person go on.
func TestUnmeasuredIsNotShownAsGood(t *testing.T) {
	t.Parallel()
	c := onKubernetes("staging")
	for i := range c.status.Releases {
		c.status.Releases[i].Traffic = console.Point{Measured: console.MeasuredNothing}
	}
	c.status.Traffic = console.Point{Measured: console.MeasuredNothing}
	s := c.show(t, 80, 24)
	s.has("shop")
	s.press("3")
	screen := s.has("old against new", "not measured")
	if strings.Contains(screen, " same  ") || strings.Contains(screen, " 0% ") {
		t.Errorf("what was not measured looks good:\n%s", screen)
	}
}

func TestTargetThatDoesNotAnswerLeavesTheConsoleWhereItIs(t *testing.T) {
	t.Parallel()
	d := sit(t, rehearsed(), nil)
	d.src.snap.Status.Rollout = nil
	here := onKubernetes("staging")
	here.open = func(context.Context, console.TargetRef) (console.Port, error) {
		return nil, errors.New("dial tcp: no route to host")
	}
	d.m.o.Port = here
	d.do(d.m.goTo(console.TargetRef{Context: "prod-eu"}))
	if d.m.next != nil || d.quit || d.m.switching || !strings.Contains(d.m.said.text, "no route to host") {
		t.Errorf("next %v, quit %v, said %q", d.m.next, d.quit, d.m.said.text)
	}
}

func TestSwitchingWaitsForARolloutThatMayNeedThisConsole(t *testing.T) {
	t.Parallel()
	d := sit(t, rehearsed(), nil)
	d.m.o.Port = onKubernetes("staging")
	if cmd := d.m.goTo(console.TargetRef{Context: "prod-eu"}); cmd != nil || d.m.switching {
		t.Error("it left a rollout alone")
	}
}

// The whole way: 0, a name, enter; and the other target is shown, named as production, read-only, and the first one is closed.
func TestGoToAnotherContext(t *testing.T) {
	t.Parallel()
	here, there := onKubernetes("staging"), onKubernetes("prod-eu")
	here.status.Rollout = nil
	here.open = func(_ context.Context, to console.TargetRef) (console.Port, error) {
		if to != (console.TargetRef{Context: "prod-eu"}) {
			return nil, fmt.Errorf("asked for %+v", to)
		}
		return there, nil
	}
	s := showAll(t, here, 120, 40)
	s.has("STAGING", "kubernetes:staging/shop/shop")
	s.press("0")
	s.has("go where?", "context prod-eu", "PRODUCTION")
	s.press("prod-eu")
	s.press("\r")
	s.has("PRODUCTION", "kubernetes:prod-eu/shop/shop", "READ-ONLY", "ada@example.com")
	if !here.isClosed() {
		t.Error("the target that was left is still open")
	}
}

// dead is a service in a cluster that does not answer, of which only the kubeconfig is known.
type dead struct {
	*clustered
	asked chan struct{} // closed: the cluster's own answer, which is an error, may come
}

func (d *dead) Nearby() (console.Targets, error) {
	near := d.targets
	near.Services, near.Namespaces = nil, []string{"shop"}
	return near, nil
}

func (d *dead) Targets(ctx context.Context) (console.Targets, error) {
	select {
	case <-d.asked:
	case <-ctx.Done():
	}
	return console.Targets{}, errors.New("dial tcp: no route to host")
}

func (d *dead) Watch(context.Context, journal.Seq) iter.Seq2[console.Update, error] {
	return func(yield func(console.Update, error) bool) {
		yield(console.Update{}, &console.Error{Code: console.CodeUnreachable, Message: "dial tcp: no route to host"})
	}
}

// The whole way from a cluster that never answered: the contexts are there at once, and a namespace can be typed.
func TestDeadClusterIsLeft(t *testing.T) {
	t.Parallel()
	here, there := &dead{clustered: onKubernetes("prod-eu"), asked: make(chan struct{})}, onKubernetes("staging")
	went := make(chan console.TargetRef, 1)
	here.open = func(_ context.Context, to console.TargetRef) (console.Port, error) {
		went <- to
		return there, nil
	}
	s := showAll(t, here, 120, 40)
	s.has("the service is not reached", "no route to host", "PRODUCTION", "0 goes to another context")
	s.press("0")
	s.has("go where?", "context prod-eu", "you are here", "is being asked")
	close(here.asked)
	s.has("no route to host", "namespace shop")
	s.press("other-place")
	s.has("enter goes to namespace other-place of prod-eu")
	s.press("\r")
	s.has("STAGING", "READ-ONLY")
	if to := <-went; to != (console.TargetRef{Namespace: "other-place"}) {
		t.Errorf("it went to %+v", to)
	}
}

func TestProductionIsNamedByAnyWordOfTheContext(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]bool{"prod-eu-1": true, "gke_acme_production": true, "LIVE": true, "staging": false, "products": false, "delivery": false, "": false} {
		if got := production(&console.Status{Environment: name}); got != want {
			t.Errorf("production(%q) = %v", name, got)
		}
	}
}

// podCrowd is a service of n pods.
func podCrowd(n int) *clustered {
	c := onKubernetes("staging")
	some := c.view.Pods
	c.view.Pods = nil
	for i := range n {
		p := new(console.Pod)
		*p = *some[i%len(some)]
		p.Name = fmt.Sprintf("shop-%05d", i)
		c.view.Pods = append(c.view.Pods, p)
	}
	return c
}

// BenchmarkPodKey10000 is a key and the frame that answers it, with 10,000 pods at 200x60.
func BenchmarkPodKey10000(b *testing.B) {
	c := podCrowd(10_000)
	d := sit(b, c.scripted, func(o *Options) { o.Port = c })
	d.src.snap.Cluster, d.src.snap.ClusterVersion = &c.view, 1
	d.m.setSize(200, 60)
	d.press("2")
	keys := []string{"j", "j", "pgdown", "k"}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		d.m.Update(keyOf(keys[i%len(keys)]))
		d.m.View()
	}
}

// BenchmarkPodNews10000 is a new view of 10,000 pods and the frame that shows it.
func BenchmarkPodNews10000(b *testing.B) {
	c := podCrowd(10_000)
	d := sit(b, c.scripted, func(o *Options) { o.Port = c })
	d.src.snap.Cluster = &c.view
	d.m.setSize(200, 60)
	d.press("2")
	for b.Loop() {
		d.src.snap.ClusterVersion++
		d.m.Update(newsMsg{})
		d.m.View()
	}
}
