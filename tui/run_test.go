package tui

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/covetpy/covet/ops/console"
	"github.com/covetpy/covet/ops/journal"
	"github.com/covetpy/covet/ops/rollout"
	"github.com/covetpy/covet/test/vterm"
)

func TestLostConnectionComesBack(t *testing.T) {
	t.Parallel()
	port := canary()
	s := show(t, port, 100, 30, nil)
	s.loaded()
	s.has("live", "needs a human 1")
	port.change(func() { port.down = errNoSocket })
	s.has("STALE", "v1.0.0", "connection lost", "needs a human 1")
	port.change(func() {
		port.down = nil
		port.status.Stable, port.status.Seq = "v1.1.0", 10
		port.events = append(port.events, journal.Event{Seq: 10, At: t0, By: "bob", Kind: rollout.RolloutPaused, Subject: "r-3"})
	})
	s.has("live")
	s.press("8")
	s.has("bob", "audit log 10")
}

func TestFirstFrameNeedsNoService(t *testing.T) {
	t.Parallel()
	port := canary()
	port.down = errNoSocket
	s := show(t, port, 80, 24, nil)
	s.has("no connection", "connect: no", "such file or directory", "start it with covetd", "r tries", "READ-ONLY", "local:/run/covet")
	port.change(func() { port.down = nil })
	s.press("r")
	s.has("PRODUCTION", "vitals")
}

func TestHungServiceDoesNotHoldTheScreen(t *testing.T) {
	t.Parallel()
	port := canary()
	port.mu.Lock() // nobody gets an answer
	defer port.mu.Unlock()
	s := show(t, port, 80, 24, nil)
	s.has("connecting")
	s.press("?")
	s.has("Pages and actions")
	s.press("\x03")
}

func TestQuitSaysWhatGoesOn(t *testing.T) {
	t.Parallel()
	s := show(t, canary(), 80, 24, nil)
	s.loaded()
	s.press("q")
	s.has("rollout r-3 to v1.1.0 goes on without this console")
	if err := s.ended(); err != nil {
		t.Fatal(err)
	}
	if s.term.Alternate() {
		t.Error("the terminal was left on the alternate screen")
	}
}

func TestEndOfInputEndsTheConsole(t *testing.T) {
	t.Parallel()
	s := show(t, canary(), 80, 24, nil)
	s.has("vitals")
	if err := s.keys.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.ended(); !errors.Is(err, errTerminalGone) {
		t.Fatalf("ended with %v", err)
	}
}

func TestHangupEndsTheConsole(t *testing.T) {
	in, keys := io.Pipe()
	t.Cleanup(func() { _ = keys.Close() })
	out := &buffer{}
	ended := make(chan error, 1)
	go func() {
		ended <- Run(context.Background(), Options{Port: canary(), Accessible: true, ReadOnly: true, In: in, Out: out, Now: func() time.Time { return t0 }})
	}()
	out.until(t, "shop in PRODUCTION")
	if err := syscall.Kill(syscall.Getpid(), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		if !errors.Is(err, errTerminalGone) {
			t.Fatalf("ended with %v", err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("SIGHUP did not end it")
	}
}

func TestColoursAreOnlyThoseAskedFor(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		change func(*Options)
		bad    func(sgr string) bool
	}{
		{"NO_COLOR", func(o *Options) { o.Env = append(o.Env, "NO_COLOR=1") }, func(s string) bool { return s >= "3" && len(s) > 1 }},
		{"16", func(o *Options) { o.Env = []string{"TERM=xterm"}; o.Theme = "16" }, func(s string) bool { return s == "38" || s == "48" }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := show(t, canary(), 100, 30, c.change)
			s.loaded()
			s.has("vitals")
			for sgr := range s.term.Styles() {
				if c.bad(sgr) {
					t.Errorf("the terminal was sent colour %s", sgr)
				}
			}
		})
	}
}

func TestLogsFollow(t *testing.T) {
	t.Parallel()
	port := canary()
	for i := range 100 {
		port.lines = append(port.lines, console.LogLine{At: t0.Add(time.Duration(i) * time.Millisecond), Instance: "v1.1.0-2", Release: "v1.1.0", Stream: "stderr", Text: fmt.Sprintf("line %d \x1b[2J\x1b]0;owned\x07of it", i)})
	}
	s := show(t, port, 100, 30, nil)
	s.loaded()
	s.press("2l")
	s.has("log of v1.1.0-2", "line 99 of it", "following")
	s.press("kkk")
	s.has("3 lines back")
	port.change(func() {
		port.lines = append(port.lines, console.LogLine{At: t0.Add(time.Second), Instance: "v1.1.0-2", Text: "the newest"})
	})
	s.has("4 lines back")
	s.press("G")
	s.has("the newest", "following")
	s.press("/line 42\r")
	s.has("line 42 of it", "1 line")
}

// buffer is what a plain console wrote.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) until(t *testing.T, text string) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		b.mu.Lock()
		s := b.b.String()
		b.mu.Unlock()
		if strings.Contains(s, text) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("it never wrote %q, but:\n%s", text, s)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func TestPlainConsole(t *testing.T) {
	t.Parallel()
	in, keys := io.Pipe()
	out := &buffer{}
	port := rehearsed()
	ended := make(chan error, 1)
	go func() {
		ended <- Run(context.Background(), Options{Port: port, Target: "local:test", ReadOnly: true, In: in, Out: out, Env: []string{"TERM=dumb"}, Now: func() time.Time { return t0 }})
	}()
	typed := func(line, answer string) {
		t.Helper()
		if _, err := io.WriteString(keys, line+"\n"); err != nil {
			t.Fatal(err)
		}
		out.until(t, answer)
	}
	out.until(t, "Release v1.1.0, candidate: 10 percent")
	typed("rollout abort", "Not done: read-only: type write first")
	typed("write", "Write mode is on for 15m in production shop")
	typed("rollout abort", "Type production/shop to run it")
	typed("yes", "Left. Nothing was done.")
	typed("rollout abort", "Plan 9f3c2a77b1d0: undo r-3")
	typed("production/shop", "Accepted: accepted: rollout.abort")
	typed("instances", "v1.1.0-2 of v1.1.0: backoff, 2 restarts")
	typed("make coffee", `"make coffee" is not known here`)
	port.change(func() {
		port.status.Seq = 10
		port.events = append(port.events, journal.Event{Seq: 10, At: t0, By: "bob", Kind: rollout.RolloutPaused, Subject: "r-3"})
	})
	out.until(t, "14:02:11 r-3: paused (bob)")
	port.change(func() { port.down = errNoSocket })
	out.until(t, "Connection lost")
	port.change(func() { port.down = nil })
	out.until(t, "Connected again.")
	typed("quit", "goes on without this console")
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if strings.ContainsFunc(out.b.String(), func(r rune) bool { return r < ' ' && r != '\n' || r > '~' }) {
		t.Error("more than plain ASCII was written")
	}
}

func TestUnknownThemeIsAnError(t *testing.T) {
	t.Parallel()
	err := Run(context.Background(), Options{Port: canary(), Theme: "pink"})
	if err == nil || !strings.Contains(err.Error(), "colour-blind") {
		t.Fatalf("got %v", err)
	}
}

func TestOptionsFollowTheEnvironment(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		env              []string
		ascii, no, plain bool
	}{
		{[]string{"TERM=xterm", "LANG=de_DE.UTF-8"}, false, false, false},
		{[]string{"TERM=xterm", "LANG=de_DE.UTF-8", "LC_ALL=ja_JP.eucJP"}, true, false, false},
		{[]string{"TERM=linux"}, true, false, false},
		{[]string{"TERM=dumb", "NO_COLOR=1"}, false, true, true},
		{[]string{"TERM=xterm", "NO_COLOR="}, false, false, false},
	} {
		o := Options{Env: c.env}.normalize()
		if o.ASCII != c.ascii || o.NoColor != c.no || o.Accessible != c.plain {
			t.Errorf("%v: ASCII %v, NoColor %v, Accessible %v", c.env, o.ASCII, o.NoColor, o.Accessible)
		}
	}
}

// BenchmarkKeyToScreen10000 is the time from a key's bytes to the changed screen's, through Bubble Tea and its frames,
// with 10,000 instances at 200x60.
func BenchmarkKeyToScreen10000(b *testing.B) {
	in, keys := io.Pipe()
	term := vterm.New(200, 60)
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	o := Options{Port: crowd(10_000), ReadOnly: true, Now: func() time.Time { return t0 }, In: in, Out: term, Env: []string{"TERM=xterm-256color", "COLORTERM=truecolor"}}
	go func() { _, _ = runScreen(ctx, cancel, o.normalize(), sized(200, 60)) }()
	write := func(k string) {
		if _, err := io.WriteString(keys, k); err != nil {
			b.Fatal(err)
		}
	}
	for !strings.Contains(term.Text(), "instances 10000") {
		write("2")
		time.Sleep(100 * time.Millisecond)
	}
	time.Sleep(time.Second)
	var took []time.Duration
	for b.Loop() {
		before := term.Written()
		start := time.Now()
		write("j")
		for term.Written() == before {
			time.Sleep(100 * time.Microsecond)
		}
		took = append(took, time.Since(start))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)*95/100].Microseconds())/1000, "p95-ms")
}

// BenchmarkFirstFrame is the time from the start of the console to its first frame, with no service at all.
func BenchmarkFirstFrame(b *testing.B) {
	for b.Loop() {
		in, keys := io.Pipe()
		term := vterm.New(200, 60)
		ctx, cancel := context.WithCancelCause(context.Background())
		port := canary()
		port.down = errNoSocket
		o := Options{Port: port, ReadOnly: true, Now: func() time.Time { return t0 }, In: in, Out: term, Env: []string{"TERM=xterm-256color"}}
		ended := make(chan error, 1)
		go func() { _, err := runScreen(ctx, cancel, o.normalize(), sized(200, 60)); ended <- err }()
		for !strings.Contains(term.Text(), "READ-ONLY") {
			time.Sleep(100 * time.Microsecond)
		}
		b.StopTimer()
		cancel(nil)
		<-ended
		if err := keys.Close(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}
