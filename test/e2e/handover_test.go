package e2e

import (
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A rollout does not notice that it has another driver, and neither does anybody else.
func TestAHandOverInTheMiddleOfARollout(t *testing.T) {
	t.Parallel()
	p := serving(t, 2, "HANDOVER_DRAIN=10s")
	p.shop("v1.1.0", 2)
	l := p.crowd()
	watched := make(chan answer, 1)
	go func() {
		watched <- p.run("rollout", "start", "v1.1.0", "--strategy", "canary", "--weights", "25,50,100", "--bake", "1500ms", "--keep", "0s", "--watch")
	}()
	p.await(30*time.Second, "a quarter of the traffic has moved", func() bool { return p.status().Weights["v1.1.0"] == 25 })
	p.handOver()
	if a := <-watched; a.code != 0 {
		t.Errorf("the console that watched was told: %s", a)
	}
	l.stop()
	p.awaitOne("v1.1.0")
}

// A new program that cannot take over changes nothing.
func TestAHandOverThatFailsChangesNothing(t *testing.T) {
	t.Parallel()
	program := filepath.Join(t.TempDir(), "covetd")
	raw, err := os.ReadFile(built.covetd)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, program, string(raw), 0o700)
	p := newPlace(t, "APP_COMMAND="+built.shop, "APP_VERSION=v1.0.0", "APP_WORKERS=2", "APP_ENV=SHOP_VERSION=v1.0.0", "HANDOVER_TIMEOUT=3s")
	p.program = program
	p.start()
	p.awaitReady()
	l := p.crowd()
	for _, c := range []struct{ script, says string }{
		{"#!/bin/sh\necho broken build >&2; exit 3\n", "exit status 3"},
		{"#!/bin/sh\nexec sleep 60\n", "HANDOVER_TIMEOUT"},
		{"no program", "exec format error"},
	} {
		remove(t, program)
		writeFile(t, program, c.script, 0o700)
		from := len(p.log.String())
		p.signal(syscall.SIGUSR2)
		p.await(30*time.Second, "the failure is logged: "+c.says, func() bool { return strings.Contains(p.log.String()[from:], c.says) })
	}
	p.await(30*time.Second, "the operations API answers", func() bool { _, ok := p.trying(); return ok })
	p.shop("v1.1.0", 2)
	p.must(0, "rollout", "start", "v1.1.0", "--strategy", "rolling", "--bake", "0s", "--watch")
	l.stop()
	p.awaitOne("v1.1.0")
}

// Whichever of the two is killed, at whatever moment: never are there two in charge, and what is left can go on.
func TestAHandOverSurvivesADeath(t *testing.T) {
	t.Parallel()
	p := serving(t, 2, "HANDOVER_DRAIN=3s")
	for i := range max(4, rounds(t)/2) {
		old := p.status().PID
		p.signal(syscall.SIGUSR2)
		time.Sleep(rand.N(200 * time.Millisecond))
		victim := old
		if i%2 == 1 {
			victim = 0
			for _, pid := range covetdsOf(p.dir) {
				if pid != old {
					victim = pid
				}
			}
		}
		if victim != 0 {
			kill(t, victim)
		}
		var left []int
		p.await(60*time.Second, "one covetd serves, or none is left", func() bool {
			left = covetdsOf(p.dir)
			return len(left) == 0 || len(left) == 1 && p.servedBy(left[0])
		})
		t.Logf("round %d: killed %s, %d left", i, map[bool]string{true: "the old one", false: "the new one"}[i%2 == 0], len(left))
		if len(left) == 0 {
			<-p.ended
			p.start()
		} else {
			p.adopt(left[0])
		}
		p.awaitReady()
		p.awaitOne("v1.0.0")
	}
}

// servedBy reports whether covetd serves, and is the process given.
func (p *place) servedBy(pid int) bool {
	st, ok := p.trying()
	return ok && !st.Offline && st.PID == pid && p.get("/health/ready") == http.StatusOK
}

// A covetd that does not answer any more is told from one that is gone.
func TestAFrozenCovetdIsSaidToBeSo(t *testing.T) {
	t.Parallel()
	p := serving(t, 1)
	p.shop("v1.1.0", 1)
	p.must(0, "rollout", "start", "v1.1.0", "--strategy", "rolling", "--bake", "0s", "--watch")
	p.signal(syscall.SIGSTOP)
	if a := p.must(6, "status", "--timeout", "1s"); !a.says("did not answer in time", p.dir, "stopped or overloaded") {
		t.Errorf("status of a frozen covetd: %s", a)
	}
	if a := p.must(6, "rollback", "--to", "v1.0.0", "--timeout", "1s"); !a.says("did not answer in time", "may have been accepted", "covetctl audit") {
		t.Errorf("a command to a frozen covetd: %s", a)
	}
	p.signal(syscall.SIGCONT)
	p.awaitReady()
	p.must(0, "rollout", "watch") // the first rollout, or the rollback that was waiting in the socket
	p.awaitOne(p.status().Stable)
}
