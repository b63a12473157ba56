package e2e

import (
	"context"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/covetpy/covet/ops/console"
	"github.com/covetpy/covet/ops/rollout"
)

// rounds is how often covetd is killed: COVET_E2E_ROUNDS, or a few.
func rounds(t *testing.T) int {
	t.Helper()
	v := os.Getenv("COVET_E2E_ROUNDS")
	if v == "" {
		return 8
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < 1 {
		t.Fatalf("COVET_E2E_ROUNDS=%q is not a number above 0", v)
	}
	return n
}

// One covetd dies again and again in the middle of rollouts of every kind. Each time it must come up alone, and bring what
// it was about to an end.
func TestARolloutSurvivesTheDeathOfCovetd(t *testing.T) {
	t.Parallel()
	p := serving(t, 2)
	p.shop("v1.1.0", 2)
	p.shop("v1.2.0", 2, "SHOP_ERROR_RATE=1")
	p.shop("v1.3.0", 2, "SHOP_EXIT_AT_START=3")
	strategies := [][]string{
		{"--strategy", "rolling", "--bake", "600ms"},
		{"--strategy", "blue-green", "--bake", "900ms", "--keep", "0s"},
		{"--strategy", "canary", "--weights", "30,60,100", "--bake", "600ms", "--keep", "0s"},
	}
	n := rounds(t)
	for i := range n {
		from := p.status().Stable
		to := []string{other(from), "v1.2.0", other(from), "v1.3.0"}[i%4]
		args := append([]string{"rollout", "start", to, "--force"}, strategies[i%3]...)
		if i%8 == 6 {
			args = []string{"rollback", "--to", to, "--detach"}
		}
		if to == "v1.2.0" { // it must not get through before there were enough requests to judge it by
			args = append(args, "--bake", "10s")
		}
		p.killedDuring(i, from, to, args)
	}
	t.Logf("%d rounds, %d rollouts", n, len(p.history()))
}

func other(version string) string {
	if version == "v1.0.0" {
		return "v1.1.0"
	}
	return "v1.0.0"
}

// killedDuring starts a rollout, kills covetd at a random moment of it, starts it again, and sees to the end.
func (p *place) killedDuring(round int, from, to string, args []string) {
	p.t.Helper()
	a := p.must(0, append(args, "-o", "json")...)
	id := decode[console.Ack](p.t, a).Rollout.ID
	span := 2500 * time.Millisecond
	if args[0] == "rollback" || to == "v1.3.0" {
		span = 500 * time.Millisecond // these are over soon
	}
	moment := rand.N(span)
	knock := p.knock() // a candidate is judged by its traffic
	time.Sleep(moment)
	dead := p.cmd.Process.Pid
	p.kill()
	knock()
	before := p.offline(id)
	p.start()
	p.awaitReady()
	if left := startedBy(dead, workersOf(p.dir)); len(left) > 0 {
		p.t.Errorf("round %d: %d workers of the dead covetd are left once the new one serves", round, len(left))
	}
	p.await(5*time.Second, "the weights are as journalled", func() bool {
		st := p.status()
		return st.Rollout == nil || st.Weights[to] == st.Rollout.Weight && st.Weights[from] == 100-st.Rollout.Weight
	})
	knock = p.knock()
	end := p.awaitRollout(id, 60*time.Second)
	knock()
	p.t.Logf("round %d: %s → %s by %s, killed after %s in %s at %d%%: %s", round, from, to, end.Strategy,
		moment.Round(time.Millisecond), before.Phase, before.Weight, end.Phase)
	if before.Phase.Ended() && end.Phase != before.Phase {
		p.t.Errorf("round %d: the journal said %s, now it is %s", round, before.Phase, end.Phase)
	}
	want, phase := to, rollout.Succeeded
	if to == "v1.2.0" || to == "v1.3.0" {
		want, phase = from, rollout.RolledBack
	}
	if end.Phase != phase {
		p.t.Errorf("round %d: it ended as %s, want %s: %s", round, end.Phase, phase, end.Message)
	}
	p.awaitOne(want)
}

// offline is what the journal of a dead covetd says of a rollout.
func (p *place) offline(id string) rollout.Rollout {
	p.t.Helper()
	return decode[console.Timeline](p.t, p.must(0, "rollout", "status", id, "-o", "json")).Rollout
}

// knock sends a hundred requests a second until it is told to stop.
func (p *place) knock() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for ctx.Err() == nil {
			p.get("/")
			<-tick.C
		}
	}()
	return func() { cancel(); <-done }
}

// awaitRollout waits for the end of a rollout.
func (p *place) awaitRollout(id string, within time.Duration) rollout.Rollout {
	p.t.Helper()
	var r rollout.Rollout
	p.await(within, "rollout "+id+" has ended", func() bool {
		for _, h := range p.history() {
			if h.ID == id {
				r = h
			}
		}
		return r.Phase.Ended()
	})
	return r
}

// awaitOne waits until one release serves alone, with exactly its instances, and nothing else runs.
func (p *place) awaitOne(version string) {
	p.t.Helper()
	var st console.Status
	p.await(60*time.Second, version+" serves alone", func() bool {
		st = p.status()
		return st.Stable == version && st.Rollout == nil && maps.Equal(st.Weights, rollout.Weights{version: 100}) &&
			len(st.Releases) == 1 && st.Releases[0].Ready == st.Releases[0].Wanted
	})
	if n := len(workersOf(p.dir)); n != st.Releases[0].Wanted {
		p.t.Errorf("%d worker processes run, want %d", n, st.Releases[0].Wanted)
	}
	if got := p.get("/"); got != http.StatusOK {
		p.t.Errorf("%s answers %d", version, got)
	}
}

// What covetd leaves when it is killed must be gone at once: what workers started as well, however they tried to get away.
func TestNoOrphanSurvivesCovetd(t *testing.T) {
	t.Parallel()
	p := serving(t, 2)
	script := `sleep 1000 & (setsid sleep 1001 &) ; exec ` + built.shop
	p.must(0, "release", "add", "v1.1.0", "--instances", "2", "--env", "SHOP_VERSION=v1.1.0", "--", "sh", "-c", script)
	p.must(0, "rollout", "start", "v1.1.0", "--strategy", "blue-green", "--bake", "0s", "--watch")
	all := workersOf(p.dir)
	if len(all) != 8 {
		t.Fatalf("%d processes of workers run, want 2 warm ones and 2 with 2 children each: %v", len(all), all)
	}
	begun := time.Now()
	p.kill()
	p.awaitNoWorkers(2 * time.Second)
	t.Logf("bench orphans_gone_after_kill ms=%d processes=%d", time.Since(begun).Milliseconds(), len(all))
	p.start()
	p.awaitReady()
	p.await(10*time.Second, "both sets run again", func() bool { return len(workersOf(p.dir)) == 8 })
	p.signal(syscall.SIGTERM)
	if code := p.awaitEnd(40 * time.Second); code != 0 {
		t.Errorf("covetd ended with %d after SIGTERM", code)
	}
	p.awaitNoWorkers(time.Second)
	if a := p.run("status"); a.code != 0 || !a.says("not running") {
		t.Errorf("status without covetd: %s", a)
	}
}
