package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/covetpy/covet/ops/rollout"
)

// Five hundred instances are started, shown, replaced and stopped; what that costs is printed.
func TestFiveHundredInstances(t *testing.T) {
	const many = 500
	p := newPlace(t, "APP_COMMAND="+built.tiny, "APP_VERSION=v1.0.0", fmt.Sprintf("APP_WORKERS=%d", many), "APP_ENV=GOMAXPROCS=1")
	begun := time.Now()
	p.start()
	p.await(120*time.Second, "all of them are ready", func() bool {
		st, ok := p.trying()
		return ok && len(st.Releases) == 1 && st.Releases[0].Ready == many
	})
	t.Logf("bench many_start instances=%d ms=%d", many, time.Since(begun).Milliseconds())
	p.awaitReady()
	begun = time.Now()
	if a := p.must(0, "status"); !a.says("500/500") {
		t.Errorf("status: %s", a)
	}
	took := time.Since(begun)
	if all := decode[[]rollout.Instance](t, p.must(0, "instances", "-o", "json")); len(all) != many || all[0].State != rollout.Ready {
		t.Errorf("instances lists %d, want %d that are ready", len(all), many)
	}
	cpu, rss := p.cost(t, 4*time.Second)
	t.Logf("bench many_idle instances=%d status_ms=%d cpu_percent=%.1f rss_mb=%d", many, took.Milliseconds(), cpu, rss>>20)

	p.must(0, "release", "add", "v1.1.0", "--instances", fmt.Sprint(many), "--env", "GOMAXPROCS=1", "--", built.tiny)
	begun = time.Now()
	p.must(0, "rollout", "start", "v1.1.0", "--strategy", "blue-green", "--bake", "0s", "--keep", "0s", "--watch")
	t.Logf("bench many_rollout instances=%d ms=%d", many, time.Since(begun).Milliseconds())
	p.awaitOne("v1.1.0")
	begun = time.Now()
	p.kill()
	p.awaitNoWorkers(10 * time.Second)
	t.Logf("bench many_gone_after_kill instances=%d ms=%d", many, time.Since(begun).Milliseconds())
}

// cost is the share of one core that covetd uses over some time, in percent, and its memory in bytes.
func (p *place) cost(t *testing.T, over time.Duration) (cpu float64, rss int64) {
	t.Helper()
	before := ticks(t, p.cmd.Process.Pid)
	time.Sleep(over)
	used := ticks(t, p.cmd.Process.Pid) - before
	const hertz = 100 // USER_HZ, which is 100 on every Linux that Go runs on
	return 100 * float64(used) / hertz / over.Seconds(), resident(t, p.cmd.Process.Pid)
}

// ticks is the processor time of a process: fields 14 and 15 of /proc/PID/stat (proc(5)).
func ticks(t *testing.T, pid int) int64 {
	t.Helper()
	raw := readProc(t, pid, "stat")
	fields := strings.Fields(raw[strings.LastIndexByte(raw, ')')+1:])
	return number(t, fields[11]) + number(t, fields[12])
}

func resident(t *testing.T, pid int) int64 {
	t.Helper()
	return number(t, strings.Fields(readProc(t, pid, "statm"))[1]) * int64(os.Getpagesize())
}

func readProc(t *testing.T, pid int, name string) string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), name))
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func number(t *testing.T, s string) int64 {
	t.Helper()
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
