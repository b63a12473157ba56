package tui

import (
	"context"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/covetpy/covet/ops/console"
	"github.com/covetpy/covet/test/vterm"
)

var update = flag.Bool("update", false, "write the screens as they are to testdata")

// shown is a console that runs in an emulated terminal.
type shown struct {
	t    *testing.T
	term *vterm.Screen
	keys *io.PipeWriter
	end  <-chan error
}

// show runs the real console, from the port to the bytes, in a terminal of w by h.
func show(t *testing.T, s *scripted, w, h int, change func(*Options)) *shown {
	t.Helper()
	in, keys := io.Pipe()
	term := vterm.New(w, h)
	o := Options{
		Port: s, Target: "local:/run/covet/covetd.sock", User: "ada", ReadOnly: true, Now: func() time.Time { return t0 }, Theme: "dark",
		In: in, Out: term, Env: []string{"TERM=xterm-256color", "COLORTERM=truecolor", "LANG=C.UTF-8"},
	}
	if change != nil {
		change(&o)
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	ended := make(chan error, 1)
	go func() { _, err := runScreen(ctx, cancel, o.normalize(), sized(w, h)); ended <- err }()
	t.Cleanup(func() { cancel(nil) })
	return &shown{t: t, term: term, keys: keys, end: ended}
}

// placed is a port that knows how it and who asks are called.
type placed interface {
	console.Port
	Where() string
	Who() string
}

// showAll is show for a console that may go on to other targets.
func showAll(t *testing.T, c placed, w, h int) *shown {
	t.Helper()
	in, keys := io.Pipe()
	term := vterm.New(w, h)
	o := Options{
		Port: c, Target: c.Where(), User: c.Who(), ReadOnly: true, Now: func() time.Time { return t0 }, Theme: "dark",
		In: in, Out: term, Env: []string{"TERM=xterm-256color", "COLORTERM=truecolor", "LANG=C.UTF-8"},
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- runTargets(ctx, cancel, o.normalize(), sized(w, h)) }()
	t.Cleanup(func() { cancel(nil) })
	return &shown{t: t, term: term, keys: keys, end: ended}
}

// ended waits for the console to end by itself.
func (s *shown) ended() error {
	s.t.Helper()
	select {
	case err := <-s.end:
		return err
	case <-time.After(20 * time.Second):
		s.t.Fatal("the console did not end")
		return nil
	}
}

func sized(w, h int) tea.ProgramOption { return tea.WithWindowSize(w, h) }

func (s *shown) press(keys string) {
	s.t.Helper()
	if _, err := s.keys.Write([]byte(keys)); err != nil {
		s.t.Fatalf("press %q: %v", keys, err)
	}
}

// until waits for the screen to be as wanted.
func (s *shown) until(what string, ok func(screen string) bool) string {
	s.t.Helper()
	deadline := time.Now().Add(15 * time.Second)
	for {
		screen := s.term.Text()
		if ok(screen) {
			return screen
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("the screen never showed %s; it shows:\n%s", what, screen)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func (s *shown) has(texts ...string) string {
	s.t.Helper()
	return s.until(strings.Join(texts, ", "), func(screen string) bool {
		for _, text := range texts {
			if !strings.Contains(screen, text) {
				return false
			}
		}
		return true
	})
}

// golden waits for the screen to be as the file has it.
func (s *shown) golden(name string) {
	s.t.Helper()
	path := filepath.Join("testdata", name+".txt")
	if *update {
		time.Sleep(time.Second)
		if err := os.WriteFile(path, []byte(s.term.Text()), 0o644); err != nil {
			s.t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		s.t.Fatal(err)
	}
	s.until(path+" (go test ./tui -run TestScreen -update, after looking):\n"+string(want), func(screen string) bool { return screen == string(want) })
	if len(s.term.Unknown()) > 0 {
		s.t.Errorf("the terminal was sent what it does not know: %q", s.term.Unknown())
	}
}
