package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/charmbracelet/x/term"

	"github.com/covetpy/covet/internal/backupcmd"
	"github.com/covetpy/covet/internal/render"
	"github.com/covetpy/covet/ops/console"
)

// app is one run of covetctl.
type app struct {
	args     []string
	in       io.Reader
	out, err io.Writer
	env      func(string) string
	parts    parts
	flags    globals
	sources  backupcmd.Sources // where the settings of backups are from
	now      func() time.Time
	begun    bool                    // the command line was understood
	terminal func(io.Writer) bool    // whether a person looks at it
	wait     func() <-chan time.Time // paces the attempts to reconnect
	columns  func(w io.Writer) int   // of the terminal
	cluster  console.Port            // on Kubernetes, once it was opened
}

// globals are the flags that every command has.
type globals struct {
	socket, dataDir, output string
	noColor, quiet, ascii   bool
	accessible              bool
	theme                   string
	timeout                 time.Duration
	cluster                 clusterFlags
}

func newApp(args []string, in io.Reader, out, err io.Writer, env func(string) string, p parts) *app {
	return &app{
		args: args, in: in, out: out, err: err, env: env, parts: p, now: time.Now,
		terminal: func(w io.Writer) bool { return render.IsTerminal(w) }, columns: columns,
		wait: func() <-chan time.Time { return time.After(reconnectEvery) },
	}
}

// columns is the terminal's width, or 80 where it does not say.
func columns(w io.Writer) int {
	if f, ok := w.(*os.File); ok {
		if n, _, err := term.GetSize(f.Fd()); err == nil && n > 0 {
			return n
		}
	}
	return 80
}

// style is what may be shown on w.
func (a *app) style(w io.Writer) render.Style {
	colour := !a.flags.noColor && a.env("NO_COLOR") == "" && a.env("TERM") != "dumb" && a.terminal(w)
	return render.Style{Color: colour, ASCII: a.flags.ascii}
}

// human reports whether answers are for a person.
func (a *app) human() bool { return a.flags.output == "table" }

// answer is what a command has to say: a value for programs, words for people, names for -q.
type answer struct {
	value any
	page  func(*page)
	names []string
}

// show writes the answer in the form that was asked for.
func (a *app) show(ans answer) error {
	switch a.flags.output {
	case "json":
		return render.JSON(a.out, ans.value)
	case "yaml":
		return render.YAML(a.out, ans.value)
	}
	p := a.page()
	if a.flags.quiet {
		for _, n := range ans.names {
			p.line("%s", n)
		}
	} else {
		ans.page(p)
	}
	return p.flush(a.out)
}

// emit writes one item of a stream for programs.
func (a *app) emit(v any) error {
	if a.flags.output == "yaml" {
		if _, err := io.WriteString(a.out, "---\n"); err != nil {
			return err
		}
		return render.YAML(a.out, v)
	}
	return render.Line(a.out, v)
}

// note tells a person what goes on beside the answer.
func (a *app) note(t render.Tone, format string, args ...any) error {
	if a.flags.quiet {
		return nil
	}
	_, err := fmt.Fprintln(a.err, a.style(a.err).Mark(t, fmt.Sprintf(format, args...)))
	return err
}

// tell writes an error: what, why, and what to do.
func (a *app) tell(err error) error {
	message, hint, tone := err.Error(), "", render.Bad
	var e *console.Error
	var i *interrupted
	switch {
	case errors.As(err, &e):
		message, hint = e.Message, e.Hint
		if e.Code == console.CodeWaiting {
			tone = render.Warn
		}
	case errors.As(err, &i):
		message, hint, tone = i.message, i.hint, render.Warn
	}
	style := a.style(a.err)
	lines := strings.Split(message, "\n")
	for n := range lines {
		lines[n] = render.Clean(lines[n])
	}
	text := style.Mark(tone, strings.Join(lines, "\n  ")) + "\n"
	if hint != "" {
		text += "  " + style.Arrow() + " " + render.Clean(hint) + "\n"
	}
	_, werr := io.WriteString(a.err, text)
	return werr
}

// within bounds a request by --timeout.
func (a *app) within(ctx context.Context) (context.Context, context.CancelFunc) {
	if a.flags.timeout <= 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, a.flags.timeout)
}

// ask asks one question.
func ask[T any](ctx context.Context, a *app, port console.Port, op console.Op, q console.Query) (T, error) {
	ctx, cancel := a.within(ctx)
	defer cancel()
	var out T
	err := port.Ask(ctx, op, q, &out)
	return out, err
}

// command gives one command.
func command[T any](ctx context.Context, a *app, port console.Port, op console.Op, in any) (T, error) {
	ctx, cancel := a.within(ctx)
	defer cancel()
	var out T
	err := port.Do(ctx, op, in, &out)
	return out, err
}
