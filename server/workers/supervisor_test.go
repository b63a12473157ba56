package workers

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestInstancesBecomeReadyAndScale(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	spec := b.spec("v1")
	b.ensure(spec, 3)
	b.untilState(3, StateReady)
	b.ensure(spec, 3) // again: nothing changes
	before := b.Instances()
	if addrs := b.tr.addrs(); len(addrs) != 3 {
		t.Fatalf("in the traffic: %v, want 3", addrs)
	}
	b.ensure(spec, 1)
	b.untilState(1, StateReady)
	if left := b.Instances()[0]; left.ID != "v1-1" || left.PID != before[0].PID {
		t.Errorf("left %+v, want the oldest, %+v, untouched", left, before[0])
	}
	if addrs := b.tr.addrs(); len(addrs) != 1 {
		t.Errorf("in the traffic: %v, want 1", addrs)
	}
	b.ensure(spec, 0)
	b.until("no instance", func(all []Instance) bool { return len(all) == 0 })
	gone(t, before[0].PID)
}

func TestChangedSpecIsRefused(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	spec := b.spec("v1")
	b.ensure(spec, 1)
	spec.Env = map[string]string{"A": "b"}
	if err := b.Ensure(context.Background(), spec, 2); !errors.Is(err, ErrSpecChanged) {
		t.Errorf("got %v, want ErrSpecChanged", err)
	}
	b.ensure(spec, 0)
}

func TestWorkerEnvironment(t *testing.T) {
	t.Setenv("JWT_SECRET_KEY", "covetd's own")
	t.Setenv("TZ", "Europe/Berlin")
	b := newBench(t, func(o *Options) { o.Env = map[string]string{"COMMON": "1", "TZ": "UTC"} })
	spec := b.spec("v1", "environ")
	spec.Env = map[string]string{"COMMON": "2", "PORT": "1"}
	b.ensure(spec, 1)
	b.untilState(1, StateReady)
	env := strings.Split(body("http://"+b.tr.addrs()[0]+"/environ"), "\n")
	want := map[string]string{
		"COMMON": "2", "TZ": "UTC", "HOST": "127.0.0.1", "COVET_RELEASE": "v1", "COVET_INSTANCE": "v1-1",
		"PORT": strconv.Itoa(b.Instances()[0].Port), "JWT_SECRET_KEY": "", "PATH": os.Getenv("PATH"),
	}
	for name, value := range want {
		if got := lookup(env, name); got != value {
			t.Errorf("%s=%q, want %q", name, got, value)
		}
	}
}

// Each release that can't work gets the error that says why.
func TestBadReleases(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	plain := filepath.Join(dir, "plain")
	if err := os.WriteFile(plain, []byte("no program"), 0o600); err != nil {
		t.Fatal(err)
	}
	lost := filepath.Join(dir, "lost")
	if err := os.WriteFile(lost, []byte("#!/nowhere/python\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	b := newBench(t)
	short := func(s *Spec) { s.Probe.StartTimeout, s.Probe.Timeout = 2*time.Second, 400*time.Millisecond }
	cases := []struct {
		name   string
		change func(*Spec)
		modes  []string
		want   []string
	}{
		{"exits", nil, []string{"exit=3"}, []string{"exited with status 3 before it was ready"}},
		{"deaf", short, []string{"deaf"}, []string{"did not listen on 127.0.0.1:", "within 2s", "$PORT"}},
		{"hangs", short, []string{"hang"}, []string{"was not ready within 2s", "GET /health/ready timed out after 400ms"}},
		{"refuses", func(s *Spec) { short(s); s.Probe.Path = "/ready-file" }, []string{"refuse=/"},
			[]string{"was not ready within 2s: GET /ready-file answered 500: database is away"}},
		{"missing", func(s *Spec) { s.Command = []string{"/nowhere/shop"} }, nil, []string{"/nowhere/shop does not exist"}},
		{"unknown", func(s *Spec) { s.Command = []string{"no-such-command"} }, nil, []string{`"no-such-command" is neither in PATH`}},
		{"unexecutable", func(s *Spec) { s.Command = []string{plain} }, nil, []string{plain + " is not executable", "chmod"}},
		{"interpreter", func(s *Spec) { s.Command = []string{lost} }, nil, []string{"interpreter"}},
		{"nodir", func(s *Spec) { s.Dir = "/nowhere" }, nil, []string{"working directory /nowhere does not exist"}},
		{"digest", func(s *Spec) { s.Digest = strings.Repeat("0", 64) }, nil, []string{"has sha256 ", "but the release was added with 000"}},
	}
	for _, c := range cases {
		spec := b.spec(c.name, c.modes...)
		if c.change != nil {
			c.change(&spec)
		}
		b.ensure(spec, 1)
	}
	for _, c := range cases {
		b.until(c.name+" has failed three times", func(all []Instance) bool { return byRelease(all, c.name).StartFailures >= 3 })
		b.until(c.name+" is failed", func(all []Instance) bool { return byRelease(all, c.name).State == StateFailed })
		i := byRelease(b.Instances(), c.name)
		for _, want := range c.want {
			if !strings.Contains(i.LastExit.Reason, want) {
				t.Errorf("%s: reason %q, want %q in it", c.name, i.LastExit.Reason, want)
			}
		}
		if !i.LastExit.BeforeReady {
			t.Errorf("%s: %+v is not said to be before it was ready", c.name, i.LastExit)
		}
	}
	if i := byRelease(b.Instances(), "exits"); i.LastExit.Code != 3 || !slices.Contains(i.LastLog, "cannot read the configuration") {
		t.Errorf("exits: code %d, log %q", i.LastExit.Code, i.LastLog)
	}
	if addrs := b.tr.addrs(); len(addrs) != 0 || len(b.tr.heard()) != 0 {
		t.Errorf("bad releases were in the traffic: %v", b.tr.heard())
	}
}

func byRelease(all []Instance, release string) Instance {
	for _, i := range all {
		if i.Release == release {
			return i
		}
	}
	return Instance{}
}

func TestDeathIsNoticedBeforeAnyProbe(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	spec := b.spec("v1", "die")
	spec.Probe.ReadyInterval = time.Hour
	b.ensure(spec, 1)
	b.untilState(1, StateReady)
	first := b.Instances()[0]
	began := time.Now()
	if _, err := http.Get("http://" + b.tr.addrs()[0] + "/die"); err == nil {
		t.Fatal("the worker answered its death")
	}
	b.until("a restart", func(all []Instance) bool {
		return len(all) == 1 && all[0].State == StateReady && all[0].PID != first.PID
	})
	t.Logf("ready again after %s", time.Since(began))
	i := b.Instances()[0]
	if i.Restarts != 1 || i.StartFailures != 0 || i.LastExit.Code != 3 || i.LastExit.BeforeReady {
		t.Errorf("instance %+v with exit %+v", i, i.LastExit)
	}
	if want := []string{"join v1-1", "suspend v1-1", "join v1-1"}; !slices.Equal(b.tr.heard(), want) {
		t.Errorf("the traffic heard %v, want %v", b.tr.heard(), want)
	}
}

func TestUnreadyComesBackAndIsRestartedIfItDoesNot(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(o *Options) { o.UnreadyRestart = 300 * time.Millisecond })
	file := filepath.Join(t.TempDir(), "refuse")
	spec := b.spec("v1", "refuse="+file)
	spec.Probe.Path = "/ready-file"
	b.ensure(spec, 1)
	b.untilState(1, StateReady)
	pid := b.Instances()[0].PID
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	b.untilState(1, StateUnready)
	if got := b.Instances()[0].ProbeError; got != "answered 500: database is away" {
		t.Errorf("probe error %q", got)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	b.untilState(1, StateReady)
	if got := b.Instances()[0]; got.PID != pid || got.ProbeError != "" {
		t.Errorf("came back as %+v, want process %d", got, pid)
	}
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	b.until("a restart", func(all []Instance) bool { return all[0].Restarts == 1 })
	if got := b.Instances()[0].LastExit.Reason; !strings.Contains(got, "was unready for 300ms: answered 500: database is away") {
		t.Errorf("reason %q", got)
	}
}

func TestStubbornWorkerIsKilled(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	spec := b.spec("v1", "ignoreterm")
	spec.StopGrace = 100 * time.Millisecond
	b.ensure(spec, 1)
	b.until("started", func(all []Instance) bool { return all[0].PID != 0 })
	pid := b.Instances()[0].PID
	b.ensure(spec, 0)
	gone(t, pid)
	b.until("no instance", func(all []Instance) bool { return len(all) == 0 })
}

// A request in flight is finished: first by the drain, then, when that is cut, by the worker's own graceful stop.
func TestStopFinishesRequests(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	b := newBench(t)
	b.tr.block = func(ctx context.Context) error {
		select {
		case <-release:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	spec := b.spec("v1", "slow=300ms")
	b.ensure(spec, 1)
	b.untilState(1, StateReady)
	pid := b.Instances()[0].PID
	answer := make(chan string, 1)
	url := "http://" + b.tr.addrs()[0] + "/slow"
	go func() { answer <- body(url) }()
	b.until("a request in flight", func(all []Instance) bool { return slices.Contains(all[0].LastLog, "slow begins") })
	b.ensure(spec, 0)
	b.untilState(1, StateDraining)
	if _, err := readProc(pid); err != nil {
		t.Fatal("the process ended while requests were in flight")
	}
	close(release)
	if got := <-answer; got != "finished" {
		t.Errorf("the request in flight got %q", got)
	}
	gone(t, pid)
}

func TestCloseIsBoundedByItsContext(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.tr.block = func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
	spec := b.spec("v1", "stubborn", "child="+filepath.Join(t.TempDir(), "pid"))
	b.ensure(spec, 4)
	b.untilState(4, StateReady)
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	began := time.Now()
	err := b.Close(ctx)
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "4 had to be killed") {
		t.Errorf("got %v", err)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("took %s", took)
	}
	if left := marked(b.owner); len(left) > 0 {
		t.Errorf("processes %v are left", left)
	}
	if err := b.Ensure(context.Background(), spec, 1); !errors.Is(err, ErrClosed) {
		t.Errorf("Ensure after Close: %v, want ErrClosed", err)
	}
}

// Requests that never end keep nobody from being told to end in time, neither when there is a limit to the drain nor when
// Close has less time than that.
func TestRequestsThatNeverEndAreLeftToTheApplication(t *testing.T) {
	t.Parallel()
	for name, limit := range map[string]struct{ drain, close time.Duration }{
		"the drain time-out": {100 * time.Millisecond, time.Hour},
		"Close's deadline":   {time.Hour, time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			cut := make(chan bool, 1)
			b.tr.block = func(ctx context.Context) error {
				<-ctx.Done()
				end, ok := ctx.Deadline()
				cut <- ok && time.Now().After(end)
				return ctx.Err()
			}
			spec := b.spec("v1")
			spec.DrainTimeout, spec.StopGrace = limit.drain, 59*time.Second
			b.ensure(spec, 1)
			b.untilState(1, StateReady)
			ctx, cancel := context.WithTimeout(context.Background(), limit.close)
			defer cancel()
			if err := b.Close(ctx); err != nil {
				t.Errorf("got %v: it was to end by itself", err)
			}
			if <-cut {
				t.Error("the requests were cut before the process was told to end")
			}
		})
	}
}

func TestWatchWakesEveryListener(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	a, c := b.Watch(t.Context()), b.Watch(t.Context())
	b.ensure(b.spec("v1"), 1)
	for _, w := range []<-chan struct{}{a, c} {
		select {
		case <-w:
		case <-time.After(patience):
			t.Fatal("not woken")
		}
	}
}

func TestUsageOfAllProcessesOfAnInstance(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.ensure(b.spec("v1", "child="+filepath.Join(t.TempDir(), "pid")), 1)
	b.untilState(1, StateReady)
	pid := b.Instances()[0].PID
	b.until("memory of two processes", func(all []Instance) bool {
		own, err := readProc(pid)
		return err == nil && all[0].RSS > own.rss*uint64(os.Getpagesize()) && all[0].CPU > 0
	})
}

func TestKilledFromOutside(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.ensure(b.spec("v1"), 1)
	b.untilState(1, StateReady)
	if err := syscall.Kill(b.Instances()[0].PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	b.until("an exit", func(all []Instance) bool { return all[0].LastExit != nil })
	if e := b.Instances()[0].LastExit; e.Signal != "killed" || e.Code != -1 || !strings.Contains(e.Reason, "SIGKILL") {
		t.Errorf("exit %+v", e)
	}
}
