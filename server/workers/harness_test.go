package workers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"
)

const patience = 20 * time.Second

// eventually waits until what is looked for is there; look says what it sees instead.
func eventually(t testing.TB, what string, look func() (bool, any)) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		ok, seen := look()
		if ok {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s; seen: %+v", patience, what, seen)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// traffic records what it is told.
type traffic struct {
	mu     sync.Mutex
	in     map[string]string // address by instance that may get requests
	events []string
	block  func(ctx context.Context) error // what Leave does
}

func (t *traffic) Join(id, _, addr string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.in[id] = addr
	t.events = append(t.events, "join "+id)
}

func (t *traffic) Suspend(id string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.in, id)
	t.events = append(t.events, "suspend "+id)
}

func (t *traffic) Leave(ctx context.Context, id string) error {
	t.mu.Lock()
	delete(t.in, id)
	t.events = append(t.events, "leave "+id)
	t.mu.Unlock()
	if t.block != nil {
		return t.block(ctx)
	}
	return nil
}

func (t *traffic) addrs() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var out []string
	for _, a := range t.in {
		out = append(out, a)
	}
	return out
}

func (t *traffic) heard() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.events)
}

// bench is a supervisor under test.
type bench struct {
	testing.TB
	*Supervisor
	tr *traffic
}

func newBench(t testing.TB, change ...func(*Options)) *bench {
	t.Helper()
	tr := &traffic{in: map[string]string{}}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	quick := "GORACE=atexit_sleep_ms=0" // the race detector lets a process sleep before it exits
	o := Options{
		Env: map[string]string{"GORACE": "atexit_sleep_ms=0"}, Guard: []string{"/usr/bin/env", quick, exe, "guard"},
		Traffic: tr, StateDir: t.TempDir(), Backoff: Backoff{Min: 10 * time.Millisecond, Max: 100 * time.Millisecond},
		Logger: slog.New(slog.NewTextHandler(testWriter{t}, nil)),
	}
	for _, c := range change {
		c(&o)
	}
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{TB: t, Supervisor: s, tr: tr}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := s.Close(ctx); err != nil {
			t.Errorf("Close: %v", err)
		}
		if left := marked(s.owner); len(left) > 0 {
			t.Errorf("processes %v are left after Close", left)
		}
	})
	return b
}

type testWriter struct{ t testing.TB }

func (w testWriter) Write(b []byte) (int, error) {
	w.t.Logf("%s", b)
	return len(b), nil
}

// spec is a release whose workers have the modes.
func (b *bench) spec(release string, modes ...string) Spec {
	b.Helper()
	exe, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	return Spec{
		Release: release, Command: append([]string{exe, "worker"}, modes...), StopGrace: 5 * time.Second,
		Probe: Probe{Interval: 20 * time.Millisecond, ReadyInterval: 20 * time.Millisecond},
	}
}

func (b *bench) ensure(spec Spec, n int) {
	b.Helper()
	if err := b.Ensure(context.Background(), spec, n); err != nil {
		b.Fatal(err)
	}
}

// until waits until the instances satisfy ok.
func (b *bench) until(what string, ok func([]Instance) bool) {
	b.Helper()
	eventually(b.TB, what, func() (bool, any) { all := b.Instances(); return ok(all), all })
}

func (b *bench) untilState(n int, s State) {
	b.Helper()
	b.until(fmt.Sprintf("%d instances %s", n, s), func(all []Instance) bool {
		return len(all) == n && !slices.ContainsFunc(all, func(i Instance) bool { return i.State != s })
	})
}

// body gets a page, or the error's text.
func body(url string) string {
	resp, err := http.Get(url)
	if err != nil {
		return err.Error()
	}
	b, err := io.ReadAll(resp.Body)
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		return err.Error()
	}
	return string(b)
}

// marked finds all living processes that carry an owner's marks.
func marked(o owner) []int {
	var left []int
	w := ward{owner: o}
	err := suspects(func(s suspect) {
		if !s.zombie && w.prey(s) {
			left = append(left, s.pid)
		}
	})
	if err != nil {
		panic(err)
	}
	return left
}

func pidIn(t *testing.T, file string) int {
	t.Helper()
	var pid int
	eventually(t, "a pid in "+file, func() (bool, any) {
		b, err := os.ReadFile(file)
		if err != nil {
			return false, err
		}
		pid, err = strconv.Atoi(string(b))
		return err == nil, err
	})
	return pid
}

// gone waits until a process has ended and been reaped.
func gone(t *testing.T, pid int) {
	t.Helper()
	eventually(t, fmt.Sprintf("process %d gone", pid), func() (bool, any) {
		p, err := readProc(pid)
		return err != nil, p
	})
}

// dead waits until a process has ended. When covetd is dead too, reaping it is up to whoever adopted it.
func dead(t *testing.T, pid int) {
	t.Helper()
	eventually(t, fmt.Sprintf("process %d dead", pid), func() (bool, any) {
		p, err := readProc(pid)
		return err != nil || p.zombie, p
	})
}

func listen(t *testing.T, port int) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	return l
}
