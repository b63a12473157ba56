package kube

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/covetpy/covet/ops/console"
	"github.com/covetpy/covet/ops/journal"
	"github.com/covetpy/covet/ops/rollout"
)

// warm is a service after a blue-green rollout to v1.1.0, whose old release is kept warm in the primary.
func warm(t *testing.T) (*world, *Port) {
	t.Helper()
	w := newWorld(t)
	p := w.open()
	w.add(p, "v1.1.0", "reg.local/web:v1.1.0")
	w.add(p, "v1.2.0", "reg.local/web:v1.2.0")
	in := quick("v1.1.0", rollout.BlueGreen)
	in.NoKeep, in.Keep = false, journal.Duration(time.Hour)
	w.ends(p, w.do(p, console.StartRollout, in).Rollout.ID, rollout.Succeeded)
	return w, p
}

// alwaysServes watches until a rollout ends that the Service never has fewer ready pods than it needs.
func (w *world) alwaysServes(p *Port, id string, least int) {
	w.t.Helper()
	for deadline := time.Now().Add(2 * patient); ; time.Sleep(20 * time.Millisecond) {
		n := 0
		for _, ready := range w.serving("web") {
			n += ready
		}
		if n < least {
			w.t.Fatalf("only %d pods serve\n%s", n, w.story(p))
		}
		if r, ok := p.state().Find(id); ok && r.Phase.Ended() {
			return
		}
		if time.Now().After(deadline) {
			w.t.Fatalf("it does not end\n%s", w.story(p))
		}
	}
}

func TestNextRolloutBringsHomeWhatIsKeptWarm(t *testing.T) {
	for _, s := range []rollout.Strategy{rollout.Rolling, rollout.Canary} {
		t.Run(string(s), func(t *testing.T) {
			w, p := warm(t)
			in := quick("v1.2.0", s)
			if s == rollout.Canary {
				in.Weights = []int{50, 100}
			}
			plan := w.plan(p, in)
			if !strings.HasPrefix(plan.Steps[0].Do, "first: let go of v1.0.0") || !strings.Contains(plan.Steps[1].Do, "bring v1.1.0 home") {
				t.Errorf("the plan does not begin with what comes first: %+v", plan.Steps)
			}
			ack := w.do(p, console.StartRollout, in)
			w.alwaysServes(p, ack.Rollout.ID, 4)
			w.ends(p, ack.Rollout.ID, rollout.Succeeded)
			w.once(p, ack.Rollout.ID)
			w.tidied(p)
			if got := w.serving("web"); got["reg.local/web:v1.2.0"] != 4 || len(got) != 1 {
				t.Errorf("after it %v serve", got)
			}
		})
	}
}

// The driver dies while it brings the release home: the next one goes on, and the rollout after that begins.
func TestDriverKilledWhileItBringsHome(t *testing.T) {
	w, p := warm(t)
	ack := w.do(p, console.StartRollout, quick("v1.2.0", rollout.Rolling))
	w.eventually("the primary takes v1.1.0 over", func() bool { return strings.HasPrefix(w.image("web"), "reg.local/web:v1.1.0") })
	p.killed()
	q := w.open()
	q.driver.wake(true)
	w.alwaysServes(q, ack.Rollout.ID, 4)
	w.ends(q, ack.Rollout.ID, rollout.Succeeded)
	w.tidied(q)
}

func TestRollbackWhileItBringsHome(t *testing.T) {
	w, p := warm(t)
	ack := w.do(p, console.StartRollout, quick("v1.2.0", rollout.Rolling))
	w.eventually("it settles", func() bool { return p.state().Active != nil && p.state().Active.Phase == rollout.Settling })
	w.do(p, console.Rollback, console.RollbackRequest{})
	w.ends(p, ack.Rollout.ID, rollout.RolledBack)
	w.tidied(p)
	if got := w.serving("web"); got["reg.local/web:v1.1.0"] != 4 || p.state().Stable != "v1.1.0" {
		t.Errorf("%s is stable, %v serve", p.state().Stable, got)
	}
}

// A driver is not dead but slow: its write of the candidate's weight is on its way while another takes over, goes back, and is done.
// When the write arrives it is refused.
func TestSlowDriverIsFencedOff(t *testing.T) {
	w := newWorldOf(t, settings, webDeployment, webService, httpRoute)
	l := newBadLine(w)
	p, err := w.tryOpen(Target{Kubeconfig: l.kubeconfig})
	if err != nil {
		t.Fatal(err)
	}
	w.add(p, "v1.1.0", "reg.local/web:v1.1.0")
	sent := make(chan struct{}, 10)
	l.set(func(r *http.Request) fault {
		if r.Method == http.MethodPatch && strings.Contains(r.URL.Path, "httproutes") && r.URL.Query().Get("dryRun") == "" {
			sent <- struct{}{}
			return fault{delay: 6 * time.Second}
		}
		return fault{}
	})
	in := quick("v1.1.0", rollout.Canary)
	in.Weights = []int{10, 100}
	ack := w.do(p, console.StartRollout, in)
	<-sent
	q := w.open()
	began := time.Now()
	w.do(q, console.Rollback, console.RollbackRequest{})
	w.ends(q, ack.Rollout.ID, rollout.RolledBack)
	for time.Since(began) < 9*time.Second {
		if raw, _ := w.get(httpRoutes, "web").MarshalJSON(); strings.Contains(string(raw), "web-covet") {
			t.Fatalf("%s after the rollback the slow driver's weight is in force", time.Since(began))
		}
		time.Sleep(50 * time.Millisecond)
	}
	w.tidied(q)
}

// While a rollout of a Deployment from before Covet has its Service closed the driver dies, and somebody deploys with kubectl: the
// Service still finds pods.
func TestServiceFindsWhatIsDeployedWhileTheDriverIsDead(t *testing.T) {
	w := newWorldOf(t, settings, webDeployment, webService, httpRoute)
	p := w.open()
	first := map[string]bool{}
	for _, pod := range p.stage.pods.all() {
		first[pod.name] = true
	}
	w.add(p, "v1.1.0", "reg.local/web:v1.1.0")
	in := quick("v1.1.0", rollout.Canary)
	in.Weights, in.Approve = []int{10, 100}, []int{10}
	w.do(p, console.StartRollout, in)
	w.eventually("it waits at 10%", func() bool { return p.state().Active != nil && p.state().Active.Phase == rollout.Waiting })
	for _, pod := range p.stage.pods.all() {
		if slotOf(pod) == primary && !first[pod.name] {
			t.Errorf("%s is new: the label restarted the service", pod.name)
		}
	}
	p.killed()
	w.applyAs("kubectl", strings.Replace(webDeployment, "web:v1.0.0", "web:v2.0.0", 1))
	for deadline := time.Now().Add(patient); w.serving("web")["reg.local/web:v2.0.0"] < 4; time.Sleep(20 * time.Millisecond) {
		n := 0
		for _, ready := range w.serving("web") {
			n += ready
		}
		if n < 4 {
			t.Fatalf("the Service finds %d pods", n)
		}
		if time.Now().After(deadline) {
			t.Fatalf("%v serve", w.serving("web"))
		}
	}
	q := w.open()
	w.do(q, console.Rollback, console.RollbackRequest{})
	w.ends(q, "r-1", rollout.RolledBack)
}
