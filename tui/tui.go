// Package tui is covetctl's interactive console: pages over the live stream of a service, and everything that can be
// done to it, behind plans and typed confirmations.
//
// It asks and tells the service through a console.Port and nothing else. Update and View perform no I/O; goroutines read
// the stream into snapshots (package store) and wake the screen at most four times a second.
package tui

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/colorprofile"
	"github.com/charmbracelet/x/term"

	"github.com/covetpy/covet/ops/console"
	"github.com/covetpy/covet/tui/store"
	"github.com/covetpy/covet/tui/theme"
)

// DefaultWriteFor is how long write mode lasts where nothing else was asked for.
const DefaultWriteFor = 15 * time.Minute

// Options is how the console is to look and what it talks to.
type Options struct {
	Port       console.Port
	Recovery   console.Recovery // of the service's database; nil: its backups cannot be looked at from here
	Returned   Returned         // gives Recovery to the console that has come back to where it began; nil: it stays without
	Target     string           // what is talked to, as shown: "local:/run/covet/covetd.sock"
	User       string           // who asks, as shown
	ReadOnly   bool             // nothing can be changed until w is pressed; false begins in write mode
	WriteFor   time.Duration    // how long write mode lasts; DefaultWriteFor if 0
	ASCII      bool             // only ASCII characters
	NoColor    bool             // no colours; the environment's NO_COLOR does the same
	Accessible bool             // no full screen: lines are appended, for screen readers and dumb terminals
	Theme      string           // one of theme.Names; empty chooses by the terminal
	Now        func() time.Time
	In         io.Reader          // os.Stdin if nil
	Out        io.Writer          // os.Stdout if nil
	Copy       func(string) error // puts text on the clipboard; the terminal is asked to (OSC 52) if nil
	Env        []string           // the environment; os.Environ if nil

	recoveryOf string // whose backups Recovery has or had
}

// Returned makes what is known of the database's backups anew, for a port to the target whose they are.
type Returned func(console.Port) console.Recovery

func (o Options) normalize() Options {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.In == nil {
		o.In = os.Stdin
	}
	if o.Out == nil {
		o.Out = os.Stdout
	}
	if o.Env == nil {
		o.Env = os.Environ()
	}
	if o.WriteFor <= 0 {
		o.WriteFor = DefaultWriteFor
	}
	if getenv(o.Env, "NO_COLOR") != "" {
		o.NoColor = true
	}
	t := getenv(o.Env, "TERM")
	if t == "dumb" {
		o.Accessible = true
	}
	if t == "linux" || notUTF8(o.Env) {
		o.ASCII = true // the console's font has no braille, and other character sets have none of our signs
	}
	return o
}

// getenv is the last value of a name, as a shell would have it.
func getenv(env []string, name string) string {
	value := ""
	for _, e := range env {
		if v, ok := strings.CutPrefix(e, name+"="); ok {
			value = v
		}
	}
	return value
}

// notUTF8 reports whether the locale names a character set that is not UTF-8. A locale that names none may be anything.
func notUTF8(env []string) bool {
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		v := strings.ToLower(getenv(env, name))
		if v == "" {
			continue
		}
		_, charset, named := strings.Cut(v, ".")
		return named && !strings.HasPrefix(charset, "utf-8") && !strings.HasPrefix(charset, "utf8")
	}
	return false
}

func (o Options) glyphs() theme.Glyphs {
	if o.ASCII {
		return theme.ASCII()
	}
	return theme.Unicode()
}

// Run shows the console until it is left, the context ends, or the terminal is gone. Leaving stops nothing that the
// service is doing.
func Run(ctx context.Context, o Options) error {
	o = o.normalize()
	if _, err := theme.New(o.Theme); err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := hangup(cancel)
	defer stop()
	if o.Accessible || !isTerminal(o.Out) {
		return runPlain(ctx, o)
	}
	return runTargets(ctx, cancel, o)
}

// runTargets shows one target after another, as the person goes from one to the next. Each has a console of its own, so nothing
// is carried over that was meant for the one before.
func runTargets(ctx context.Context, cancel context.CancelCauseFunc, o Options, more ...tea.ProgramOption) error {
	given := o.Port
	if o.Recovery != nil {
		o.recoveryOf = o.Target
	}
	for {
		next, err := runScreen(ctx, cancel, o, more...)
		if err != nil || next == nil {
			if o.Port != given {
				err = errors.Join(err, leave(o.Port))
			}
			return err
		}
		if err := leave(o.Port); err != nil {
			return errors.Join(fmt.Errorf("leave %s: %w", o.Target, err), leave(next))
		}
		o = o.onTo(next)
	}
}

// errTerminalGone is why the console ends when nobody can see it any more.
var errTerminalGone = errors.New("the terminal is gone")

// hangup ends the console on SIGHUP, which Bubble Tea leaves to its default even where that is to ignore it.
func hangup(cancel context.CancelCauseFunc) (stop func()) {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGHUP)
	done := make(chan struct{})
	go func() {
		select {
		case <-c:
			cancel(errTerminalGone)
		case <-done:
		}
	}()
	return func() {
		signal.Stop(c)
		close(done)
	}
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(interface{ Fd() uintptr })
	return ok && term.IsTerminal(f.Fd())
}

// leaveWithin is how long the screen may take to be put back once the console was told to end: a terminal that takes no
// more bytes must not keep the process.
const leaveWithin = 2 * time.Second

// runScreen shows one target, and returns the one that the person goes on to, if that is how it ended.
func runScreen(ctx context.Context, cancel context.CancelCauseFunc, o Options, more ...tea.ProgramOption) (console.Port, error) {
	var program *tea.Program
	wake := func() { program.Send(newsMsg{}) }
	feed := store.NewFeed(o.Port, o.Now, wake).WithRecovery(o.Recovery)
	reading, stop := context.WithCancel(ctx)
	defer stop()
	m := newModel(reading, o, feed, wake)
	program = tea.NewProgram(m, append(screenOptions(ctx, cancel, o), more...)...)
	done := make(chan error, 1)
	go func() {
		_, err := program.Run()
		done <- err
	}()
	go feed.Run(reading)
	err := waitFor(ctx, done)
	if err == nil && m.next != nil {
		return m.next, nil
	}
	cancel(nil)
	if errors.Is(context.Cause(ctx), errTerminalGone) {
		return nil, errTerminalGone
	}
	if err == nil || errors.Is(err, tea.ErrInterrupted) || errors.Is(err, context.Canceled) {
		return nil, farewell(o.Out, feed.Snapshot())
	}
	return nil, fmt.Errorf("show the console: %w", err)
}

func waitFor(ctx context.Context, done <-chan error) error {
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	select {
	case err := <-done:
		return err
	case <-time.After(leaveWithin):
		return context.Cause(ctx)
	}
}

// framesPerSecond is how often the screen may be drawn: a key waits for the next frame, and an idle console wakes for each.
const framesPerSecond = 70

func screenOptions(ctx context.Context, cancel context.CancelCauseFunc, o Options) []tea.ProgramOption {
	options := []tea.ProgramOption{
		tea.WithContext(ctx), tea.WithFPS(framesPerSecond), tea.WithEnvironment(o.Env),
		tea.WithInput(watchedInput(o.In, cancel)), tea.WithOutput(watchedOutput(o.Out, cancel)),
	}
	if o.NoColor {
		options = append(options, tea.WithColorProfile(colorprofile.ASCII))
	}
	return options
}

// farewell tells what goes on without the console.
func farewell(out io.Writer, s *store.Snapshot) error {
	a := s.Active()
	if a == nil {
		return nil
	}
	_, err := fmt.Fprintf(out, "rollout %s to %s goes on without this console: covetctl attach takes it up again\n", a.ID, a.To)
	return err
}
