package workers

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestTally(t *testing.T) {
	t.Parallel()
	p := Probe{SuccessThreshold: 2, FailureThreshold: 2, StartTimeout: time.Minute}.withDefaults()
	start := time.Unix(1000, 0)
	tl := newTally(p, 30*time.Second, start)
	bad := errors.New("answered 500")
	steps := []struct {
		err  error
		want change
	}{
		{bad, unchanged}, {nil, unchanged}, {bad, unchanged}, {nil, unchanged}, {nil, becameReady}, {nil, unchanged},
		{bad, unchanged}, {nil, unchanged}, {bad, unchanged}, {bad, becameUnready}, {bad, unchanged},
		{nil, unchanged}, {nil, becameReady},
	}
	now := start
	for i, s := range steps {
		now = now.Add(time.Second)
		if got := tl.observe(s.err, now); got != s.want {
			t.Errorf("step %d: %v, want %v", i, got, s.want)
		}
	}
	if _, limited := tl.left(now); limited {
		t.Error("a ready instance has a time limit")
	}
	tl.observe(bad, now)
	tl.observe(bad, now)
	if d, ok := tl.left(now.Add(10 * time.Second)); !ok || d != 20*time.Second {
		t.Errorf("left %s, %v; want 20s", d, ok)
	}
}

func TestOverdueReasons(t *testing.T) {
	t.Parallel()
	p := Probe{}.withDefaults()
	cases := map[string]error{
		"was not ready within 1m0s: GET /health/ready had no answer":      nil,
		"did not listen on 127.0.0.1:1 within 1m0s":                       syscall.ECONNREFUSED,
		"was not ready within 1m0s: GET /health/ready timed out after 2s": errors.New("timed out after 2s"),
	}
	for want, err := range cases {
		tl := newTally(p, time.Minute, time.Now())
		tl.last = err
		if got := tl.overdue("127.0.0.1:1"); !strings.HasPrefix(got, want) {
			t.Errorf("%v: %q, want %q", err, got, want)
		}
	}
}

func TestBackoff(t *testing.T) {
	t.Parallel()
	b := Backoff{}.withDefaults()
	want := []time.Duration{200, 400, 800, 1600, 3200, 6400, 12800, 25600, 30000, 30000}
	for i, ms := range want {
		if got := b.delay(i+1, 0.5); got != ms*time.Millisecond {
			t.Errorf("death %d: %s, want %s", i+1, got, ms*time.Millisecond)
		}
	}
	for _, spread := range []float64{0, 0.99} {
		if d := b.delay(1, spread); d < 160*time.Millisecond || d > 240*time.Millisecond {
			t.Errorf("spread %v: %s", spread, d)
		}
		if d := b.delay(1000, spread); d > b.Max || d < b.Max*8/10 {
			t.Errorf("spread %v: %s", spread, d)
		}
	}
	if b.next(7, 59*time.Second) != 8 || b.next(7, time.Minute) != 1 {
		t.Error("being ready for a minute does not forget the deaths, or less does")
	}
}

func TestSurplus(t *testing.T) {
	t.Parallel()
	all := []candidate{{0, StateReady, 1}, {1, StateBackoff, 2}, {2, StateReady, 3}, {3, StateStarting, 4}, {4, StateUnready, 5}, {5, StateFailed, 6}}
	cases := map[int][]int{6: nil, 9: nil, 5: {5}, 3: {5, 1, 3}, 2: {5, 1, 3, 4}, 1: {5, 1, 3, 4, 2}, 0: {5, 1, 3, 4, 2, 0}}
	for n, want := range cases {
		if got := surplus(all, n); !slices.Equal(got, want) {
			t.Errorf("down to %d: %v, want %v", n, got, want)
		}
	}
}

func TestPace(t *testing.T) {
	t.Parallel()
	p := Probe{}.withDefaults()
	if pace(p, true, 3) != time.Second || pace(p, false, 0) != 20*time.Millisecond || pace(p, false, 3) != 160*time.Millisecond {
		t.Error("wrong pace")
	}
	for _, done := range []int{5, 10, 1000, 1 << 40} {
		if got := pace(p, false, done); got != 500*time.Millisecond {
			t.Errorf("after %d probes: %s", done, got)
		}
	}
}

func TestSpecFaults(t *testing.T) {
	t.Parallel()
	_, err := Spec{
		Release: "../v1", Digest: "abc", Probe: Probe{Path: "ready"}, Env: map[string]string{"A=": "b"},
	}.normalize()
	for _, want := range []string{"plain file name", "no command", "sha256", "begin with /", `"A="`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in %v", want, err)
		}
	}
	s, err := Spec{Release: "v1.0.0", Command: []string{"shop"}, Digest: "sha256:" + strings.Repeat("A", 64)}.normalize()
	if err != nil || s.Digest != strings.Repeat("a", 64) || s.StopGrace != 10*time.Second || s.DrainTimeout != 30*time.Second {
		t.Errorf("got %+v, %v", s, err)
	}
}

func TestParseStat(t *testing.T) {
	t.Parallel()
	line := "42 (a) b (c) S 7 42 40 0 -1 4194304 1 2 3 4 10 20 30 40 20 0 5 0 99999 1000 250 18446744073709551615 1 1"
	p, err := parseStat([]byte(line))
	want := proc{pid: 42, ppid: 7, sid: 40, start: 99999, ticks: 100, rss: 250}
	if err != nil || p != want {
		t.Errorf("got %+v, %v; want %+v", p, err, want)
	}
	dead, err := parseStat([]byte(strings.Replace(strings.Replace(line, ") S", ") Z", 1), " 5 0 99999", " 1 0 99999", 1)))
	if err != nil || !dead.zombie {
		t.Errorf("got %+v, %v; want a zombie", dead, err)
	}
	leader, err := parseStat([]byte(strings.Replace(line, ") S", ") Z", 1)))
	if err != nil || leader.zombie {
		t.Errorf("got %+v, %v; its threads run on", leader, err)
	}
	for _, bad := range []string{"", "1 (x", "1 (x) S 2", "x (x) S" + strings.Repeat(" 1", 25), "1 (x) S" + strings.Repeat(" y", 25)} {
		if _, err := parseStat([]byte(bad)); err == nil {
			t.Errorf("%q was read", bad)
		}
	}
}

func FuzzParseStat(f *testing.F) {
	f.Add([]byte("42 (a) b (c) S 7 42 40 0 -1 4194304 1 2 3 4 10 20 30 40 20 0 5 0 99999 1000 250 18446744073709551615 1 1"))
	f.Fuzz(func(_ *testing.T, b []byte) { _, _ = parseStat(b) }) // must not panic
}

func TestMark(t *testing.T) {
	t.Parallel()
	a := owner{state: "ffffffffffffffff", pid: 1<<22 - 1, start: 1}
	b := owner{state: "0123456789abcdef", pid: 70, start: 1}
	m := a.mark(maxInstances - 1)
	if !m.valid() || uint64(m) >= 1<<63 || m.pid() != a.pid || m.state() != a.stateMark() || !m.sameOwner(a) || m.sameOwner(b) {
		t.Errorf("mark %x", uint64(m))
	}
	if b.mark(1) == b.mark(2) || !b.mark(1).sameOwner(b) {
		t.Error("instances' marks")
	}
	if mark(0).valid() || mark(^uint64(0)).valid() {
		t.Error("no limit, and an unlimited one, are marks")
	}
	got, err := parseOwner(b.String())
	if err != nil || got != b {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestMarkIsReadFromTheFileToo(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.ensure(b.spec("v1"), 1)
	b.untilState(1, StateReady)
	pid := b.Instances()[0].PID
	if m := markOf(pid); m == 0 || m != mark(limitFromFile(pid)) {
		t.Errorf("marks %x and %x", uint64(m), limitFromFile(pid))
	}
	if markOf(os.Getpid()) != 0 {
		t.Error("the supervisor itself is marked")
	}
}

func TestResolve(t *testing.T) {
	t.Parallel()
	dir, other := t.TempDir(), t.TempDir()
	for _, file := range []string{filepath.Join(dir, "shop"), filepath.Join(other, "tool")} {
		if err := os.WriteFile(file, nil, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(other, "plain"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	cases := map[string]string{"./shop": dir + "/shop", "shop": dir + "/shop", "tool": other + "/tool", other + "/tool": other + "/tool"}
	for argv0, want := range cases {
		if got, err := resolve(argv0, dir, "/nowhere:"+other); err != nil || got != want {
			t.Errorf("%s: %q, %v; want %q", argv0, got, err, want)
		}
	}
	for argv0, want := range map[string]string{"plain": "is not executable", "./tool": "does not exist", "nothing": "neither in PATH", ".": "is a directory", "./": "is a directory"} {
		if _, err := resolve(argv0, dir, other); !errors.Is(err, ErrCommand) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", argv0, err, want)
		}
	}
}

func TestDigestIsReadAgainAfterAChange(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "shop")
	const sumA = "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb" // of "a"
	if err := os.WriteFile(file, []byte("a"), 0o700); err != nil {
		t.Fatal(err)
	}
	var d digests
	for range 2 {
		if err := d.verify(file, sumA); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(file, []byte("b"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := d.verify(file, sumA); !errors.Is(err, ErrCommand) {
		t.Errorf("the changed file: %v", err)
	}
}

func TestPorts(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	a, err := openPorts(dir, 31000, 31003)
	if err != nil {
		t.Fatal(err)
	}
	defer a.close()
	b, err := openPorts(dir, 31000, 31003) // another covetd over the same state
	if err != nil {
		t.Fatal(err)
	}
	defer b.close()
	busy := listen(t, 31002)
	defer busy.Close()
	var got []int
	for range 2 {
		port, err := a.take()
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, port)
	}
	port, err := b.take()
	if err != nil {
		t.Fatal(err)
	}
	got = append(got, port)
	slices.Sort(got)
	if !slices.Equal(got, []int{31000, 31001, 31003}) {
		t.Errorf("got %v", got)
	}
	if port, err := a.take(); err == nil || !strings.Contains(err.Error(), "31000-31003") {
		t.Errorf("got %d, %v; want none free", port, err)
	}
	if err := b.release(port); err != nil {
		t.Fatal(err)
	}
	if again, err := a.take(); err != nil || again != port {
		t.Errorf("got %d, %v; want %s", again, err, strconv.Itoa(port))
	}
}
