package e2e

import (
	"syscall"
	"testing"
	"time"
)

// Every way in which traffic moves, one after the other, under every kind of request.
func TestNoRequestFailsWhateverMovesTheTraffic(t *testing.T) {
	t.Parallel()
	p := empty(t)
	for _, v := range []string{"v1.0.0", "v1.1.0"} {
		p.shop(v, 3, "--drain-timeout=4s", "--stop-grace=5s")
	}
	p.shop("v1.2.0", 3, "SHOP_ERROR_RATE=0.5", "--drain-timeout=4s", "--stop-grace=5s")
	p.must(0, "rollout", "start", "v1.0.0", "--bake", "0s", "--watch")
	l := p.crowd("v1.2.0")
	l.longOnes()

	p.must(0, "rollout", "start", "v1.1.0", "--strategy", "rolling", "--bake", "200ms", "--watch")
	p.must(0, "rollout", "start", "v1.0.0", "--strategy", "blue-green", "--bake", "500ms", "--keep", "0s", "--watch")
	p.must(0, "rollout", "start", "v1.1.0", "--strategy", "canary", "--weights", "10,50,100", "--bake", "500ms", "--keep", "0s", "--watch")
	p.must(0, "rollout", "start", "v1.0.0", "--strategy", "canary", "--weights", "50,100", "--bake", "10m")
	p.await(30*time.Second, "half of the traffic has moved", func() bool { return p.status().Weights["v1.0.0"] == 50 })
	p.must(0, "rollout", "abort", "--reason", "changed my mind", "--watch")
	if a := p.run("rollout", "start", "v1.2.0", "--strategy", "canary", "--weights", "50,100", "--bake", "30s", "--watch"); a.code != 5 || !a.says("P0") {
		t.Errorf("a release of which half of the answers are errors: %s", a)
	}
	p.must(0, "rollback", "--to", "v1.0.0", "--reason", "test")
	p.handOver()
	p.must(0, "rollout", "start", "v1.1.0", "--strategy", "rolling", "--bake", "0s", "--watch")
	l.stop()
	if got := p.status().Stable; got != "v1.1.0" {
		t.Errorf("%s serves in the end, want v1.1.0", got)
	}
}

// handOver makes a new covetd take over from the one that runs, and waits until the old one has ended.
func (p *place) handOver() {
	p.t.Helper()
	before := p.status().PID
	p.signal(syscall.SIGUSR2)
	p.await(60*time.Second, "a new covetd has taken over", func() bool {
		st, ok := p.trying()
		return ok && !st.Offline && st.PID != 0 && st.PID != before
	})
	if code := p.awaitEnd(90 * time.Second); code != 0 {
		p.t.Errorf("the old covetd ended with %d", code)
	}
	p.adopt(p.status().PID)
}
