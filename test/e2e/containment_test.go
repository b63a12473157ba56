package e2e

import (
	"testing"
	"time"

	"github.com/covetpy/covet/ops/health"
	"github.com/covetpy/covet/ops/rollout"
)

// A release of which one answer in twenty is an error loses its traffic at once, and then a person decides.
func TestAP1TakesTheTrafficAndAsks(t *testing.T) {
	t.Parallel()
	p := serving(t, 2)
	p.shop("v1.1.0", 2, "SHOP_ERROR_RATE=0.06")
	l := p.crowd("v1.1.0")
	begin := []string{"rollout", "start", "v1.1.0", "--strategy", "canary", "--weights", "50,100", "--bake", "10m", "--watch"}
	if a := p.must(4, begin...); !a.says("P1", "traffic was taken from v1.1.0", "covetctl rollout abort") {
		t.Errorf("what happened is not said: %s", a)
	}
	p.await(10*time.Second, "the old release has all the traffic", func() bool { return p.status().Weights["v1.0.0"] == 100 })
	st := p.status()
	if st.Rollout == nil || st.Rollout.Phase != rollout.Waiting || !st.Rollout.Contained {
		t.Errorf("the rollout does not wait for a person: %+v", st.Rollout)
	}
	if len(st.Incidents) != 1 {
		t.Fatalf("%d incidents are open, want one: %+v", len(st.Incidents), st.Incidents)
	}
	i := st.Incidents[0]
	due := i.Deadline.Sub(i.OpenedAt)
	if i.Severity != health.P1 || i.Approver != "on-call lead" || i.Release != "v1.1.0" || due < 14*time.Minute || due > 15*time.Minute {
		t.Errorf("want a P1 of v1.1.0 that the on-call lead decides on within 15 minutes: %+v", i)
	}
	if a := p.must(0, "incident", "show", i.ID); !a.says("P1", "on-call lead", "rollback within 15 minutes", "v1.1.0") {
		t.Errorf("incident show: %s", a)
	}
	served := l.lastServedBy()
	p.must(0, "incident", "ack", i.ID, "--reason", "looking")
	p.must(4, "rollout", "watch")
	if l.lastServedBy() != served {
		t.Error("v1.1.0 got requests while it was contained")
	}
	p.must(4, "rollout", "promote", "--reason", "it may have been the network", "--watch")
	p.must(0, "rollout", "abort", "--reason", "it was not", "--watch")
	p.must(0, "incident", "close", i.ID, "--reason", "rolled back")
	p.awaitOne("v1.0.0")
	l.stop()
	if n := len(p.status().Incidents); n != 0 {
		t.Errorf("%d incidents are still open", n)
	}
}

// A service of which nothing is left is a P0, and comes back by itself when it can.
func TestAServiceThatIsDownIsAP0(t *testing.T) {
	t.Parallel()
	p := empty(t)
	folder := t.TempDir()
	gate := folder + "/gate"
	writeFile(t, gate, "", 0o600)
	script := "test -e " + gate + " || { echo the gate is shut; exit 9; }; exec " + built.shop
	p.must(0, "release", "add", "v1.0.0", "--instances", "2", "--env", "SHOP_VERSION=v1.0.0", "--", "sh", "-c", script)
	p.must(0, "rollout", "start", "v1.0.0", "--bake", "0s", "--watch")
	remove(t, gate)
	for _, w := range workersOf(p.dir) {
		kill(t, w.pid)
	}
	p.await(60*time.Second, "the service is a P0", func() bool {
		in := p.status().Incidents
		return len(in) > 0 && in[0].Severity == health.P0 && in[0].Approver == "any engineer"
	})
	if a := p.must(0, "status"); !a.says("P0", "0/2") {
		t.Errorf("status does not say that nothing serves: %s", a)
	}
	if a := p.must(0, "logs", "--release", "v1.0.0"); !a.says("the gate is shut") {
		t.Errorf("the log does not say why: %s", a)
	}
	writeFile(t, gate, "", 0o600)
	p.await(60*time.Second, "it serves again", func() bool { return p.get("/") == 200 })
}
