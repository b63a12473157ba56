package e2e

import (
	"strings"
	"testing"
	"time"

	"github.com/covetpy/covet/ops/console"
	"github.com/covetpy/covet/ops/rollout"
)

func TestTwoConsolesDoNotGetInEachOthersWay(t *testing.T) {
	t.Parallel()
	p := serving(t, 2)
	p.shop("v1.1.0", 2)
	p.shop("v1.2.0", 2)
	p.must(0, "rollout", "start", "v1.1.0", "--strategy", "canary", "--weights", "50,100", "--bake", "10m", "--reason", "mine")
	a := p.must(7, "rollout", "start", "v1.2.0")
	if !a.says("r-1", "v1.1.0", "started by", "covetctl rollout watch r-1") {
		t.Errorf("the second console is not told who holds the rollout: %s", a)
	}
	p.await(30*time.Second, "the step is watched", func() bool {
		r := p.status().Rollout
		return r != nil && r.Phase == rollout.Baking
	})
	answers := make(chan answer, 2)
	for _, args := range [][]string{{"rollout", "abort", "--reason", "wrong build", "--watch"}, {"rollout", "promote"}} {
		go func() { answers <- p.run(args...) }()
	}
	for range 2 { // whichever comes first; the other is told why it came too late
		a := <-answers
		if a.code != 0 && !(a.code == 1 && (a.says("going back already") || a.says("nothing to promote yet") || a.says("no rollout is under way"))) {
			t.Errorf("abort against promote: %s", a)
		}
	}
	if r := p.awaitRollout("r-1", 30*time.Second); r.Phase != rollout.RolledBack {
		t.Errorf("abort against promote ended as %s, want rolled_back", r.Phase)
	}
	p.must(0, "rollout", "start", "v1.1.0", "--strategy", "canary", "--weights", "50,100", "--bake", "10m")
	p.must(0, "rollout", "start", "v1.2.0", "--strategy", "blue-green", "--bake", "0s", "--keep", "0s", "--supersede", "--watch")
	p.awaitOne("v1.2.0")
}

func TestAPlanThatIsOutOfDateIsNotCarriedOut(t *testing.T) {
	t.Parallel()
	p := serving(t, 1)
	p.shop("v1.1.0", 1)
	p.shop("v1.2.0", 1)
	plan := decode[console.Plan](t, p.must(0, "rollout", "start", "v1.1.0", "--strategy", "rolling", "--bake", "0s", "--plan", "-o", "json"))
	if n := len(p.history()); n != 0 {
		t.Fatalf("--plan began %d rollouts", n)
	}
	p.must(0, "rollout", "start", "v1.2.0", "--strategy", "rolling", "--bake", "0s", "--watch")
	a := p.must(3, "rollout", "start", "v1.1.0", "--strategy", "rolling", "--bake", "0s", "--plan-hash", plan.Hash)
	if !a.says(plan.Hash, "out of date") {
		t.Errorf("the plan's hash is not named: %s", a)
	}
	again := decode[console.Plan](t, p.must(0, "rollout", "start", "v1.1.0", "--strategy", "rolling", "--bake", "0s", "--plan", "-o", "json"))
	p.must(0, "rollout", "start", "v1.1.0", "--strategy", "rolling", "--bake", "0s", "--plan-hash", again.Hash, "--watch")
	p.awaitOne("v1.1.0")
}

func TestAnApprovalIsWaitedFor(t *testing.T) {
	t.Parallel()
	p := serving(t, 1)
	p.shop("v1.1.0", 1)
	a := p.must(4, "rollout", "start", "v1.1.0", "--strategy", "canary", "--weights", "50,100", "--bake", "100ms", "--keep", "0s", "--approve", "50", "--watch")
	if !a.says("approval", "covetctl rollout promote") {
		t.Errorf("what to do is not said: %s", a)
	}
	if w := p.status().Weights; w["v1.1.0"] != 50 {
		t.Errorf("while it waits the weights are %v, want half and half", w)
	}
	p.kill() // the wait survives whoever waits
	p.start()
	p.awaitReady()
	p.must(4, "rollout", "watch")
	p.must(0, "rollout", "promote", "--reason", "looks fine", "--watch")
	p.awaitOne("v1.1.0")
}

// With covetd dead its journal still takes a rollback, and the bad release is never started again.
func TestARollbackWithoutCovetd(t *testing.T) {
	t.Parallel()
	p := serving(t, 2)
	p.shop("v1.1.0", 2)
	p.must(0, "rollout", "start", "v1.1.0", "--strategy", "blue-green", "--bake", "0s", "--watch")
	p.must(0, "rollout", "start", "v1.0.0", "--strategy", "rolling", "--bake", "0s", "--watch")
	p.shop("v1.2.0", 2)
	p.must(0, "rollout", "start", "v1.2.0", "--strategy", "canary", "--weights", "50,100", "--bake", "10m")
	p.await(30*time.Second, "v1.2.0 has traffic", func() bool { return p.status().Weights["v1.2.0"] == 50 })
	p.kill()
	if a := p.must(6, "rollout", "start", "v1.1.0"); !a.says("covetd", "start") {
		t.Errorf("without covetd: %s", a)
	}
	if a := p.must(0, "rollback", "--to", "v1.1.0", "--reason", "v1.2.0 took covetd down"); !a.says("v1.1.0", "when it starts") {
		t.Errorf("a rollback without covetd: %s", a)
	}
	started := len(p.log.String())
	p.start()
	p.awaitReady()
	p.awaitOne("v1.1.0")
	if a := p.run("logs", "--release", "v1.2.0", "-o", "json"); strings.Count(a.out, "started process") > 2 {
		t.Errorf("the bad release was started again:\n%s", a)
	}
	if said := p.log.String()[started:]; strings.Contains(said, "v1.2.0") {
		t.Errorf("covetd says something of v1.2.0:\n%s", said)
	}
}

func TestWithoutCovetdTheWayOutIsSaid(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	for _, args := range [][]string{{"status"}, {"rollback"}, {"rollout", "start", "v1.1.0"}, {"release", "add", "v1.1.0", "--", "sh"}} {
		a := p.must(6, args...)
		if !a.says("covetd") || !a.says("→") {
			t.Errorf("covetctl %v has no hint: %s", args, a)
		}
	}
}

// From the command to the last request that the bad release answered.
func TestARollbackIsQuick(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, keep string }{{"warm", "10m"}, {"cold", "0s"}} {
		t.Run(c.name, func(t *testing.T) {
			p := serving(t, 4)
			p.shop("v1.1.0", 4)
			p.must(0, "rollout", "start", "v1.1.0", "--strategy", "blue-green", "--bake", "0s", "--keep", c.keep, "--watch")
			if c.keep == "0s" {
				p.awaitOne("v1.1.0")
			}
			l := p.crowd("v1.1.0")
			p.await(10*time.Second, "the load has reached it", func() bool { return !l.lastServedBy().IsZero() })
			begun := time.Now()
			p.must(0, "rollback", "--reason", "measured")
			told := time.Since(begun)
			p.await(10*time.Second, "the load goes on", func() bool { return l.requests.Load() > 400 })
			last := l.lastServedBy().Sub(begun)
			l.stop()
			t.Logf("bench rollback_%s last_bad_request_ms=%d command_ms=%d", c.name, last.Milliseconds(), told.Milliseconds())
			if last > 10*time.Second {
				t.Errorf("the last request was served by the bad release %s after the command", last)
			}
		})
	}
}
