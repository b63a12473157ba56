package tui

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/covetpy/covet/ops/console"
	"github.com/covetpy/covet/ops/journal"
	"github.com/covetpy/covet/tui/action"
	"github.com/covetpy/covet/tui/store"
	"github.com/covetpy/covet/tui/widget"
)

// plain is the console without a screen: it appends lines and reads lines. Nothing is ever drawn over, so a screen reader
// or a terminal that can do nothing else has it all.
type plain struct {
	ctx  context.Context
	o    Options
	feed source
	out  io.Writer
	err  error // of writing

	seq        journal.Seq // the newest event that was told
	link       store.LinkState
	reached    bool
	writeUntil time.Time
	pending    *pending
}

// pending is a plan that was told and waits to be confirmed.
type pending struct {
	op    console.Op
	build func(console.Common) any
	plan  console.Plan
}

func runPlain(ctx context.Context, o Options) error {
	o.ASCII = true
	news := make(chan struct{}, 1)
	feed := store.NewFeed(o.Port, o.Now, func() {
		select {
		case news <- struct{}{}:
		default:
		}
	})
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go feed.Run(ctx)
	p := &plain{ctx: ctx, o: o, feed: feed, out: o.Out}
	if !o.ReadOnly {
		p.writeUntil = o.Now().Add(o.WriteFor)
	}
	p.say("covetctl: connecting to %s. Type help for what can be asked, quit to leave.", o.Target)
	lines := readLines(ctx, o.In)
	for p.err == nil {
		select {
		case <-ctx.Done():
			if errors.Is(context.Cause(ctx), errTerminalGone) {
				return errTerminalGone
			}
			return farewell(o.Out, feed.Snapshot())
		case <-news:
			p.news()
		case line, ok := <-lines:
			if !ok || line == "quit" || line == "q" {
				return farewell(o.Out, feed.Snapshot())
			}
			p.command(line)
		}
	}
	return fmt.Errorf("write to the terminal: %w", p.err)
}

// readLines reads until the input ends. The goroutine that waits for a line cannot be called back, and ends with the
// process.
func readLines(ctx context.Context, in io.Reader) <-chan string {
	lines := make(chan string)
	go func() {
		defer close(lines)
		for s := bufio.NewScanner(in); s.Scan(); {
			select {
			case lines <- strings.TrimSpace(s.Text()):
			case <-ctx.Done():
				return
			}
		}
	}()
	return lines
}

// say appends a line. What a service says cannot move the cursor or change colours: it goes through the same grid as the
// screen does.
func (p *plain) say(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	for _, line := range widget.Wrap(text, 100) {
		s := widget.NewSurface(100, 1)
		s.Plain(true)
		s.All().Put(0, 0, 0, line)
		if _, err := fmt.Fprintln(p.out, s.Lines()[0]); err != nil && p.err == nil {
			p.err = err
		}
	}
}

// news tells what has changed since the last time.
func (p *plain) news() {
	s := p.feed.Snapshot()
	if s.Link.State != p.link || !p.reached && s.Link.Message != "" && s.Link.Attempt == 1 {
		p.linkChanged(s)
	}
	if s.Status == nil {
		return
	}
	if !p.reached {
		p.reached = true
		p.seq = s.Seq()
		p.status(s)
		return
	}
	for i := len(s.Audit) - 1; i >= 0; i-- {
		if e := s.Audit[i]; e.Seq > p.seq {
			p.seq = e.Seq
			p.say("%s %s: %s (%s)", e.At.UTC().Format("15:04:05"), e.Subject, e.Text, e.By)
		}
	}
}

func (p *plain) linkChanged(s *store.Snapshot) {
	switch {
	case s.Link.State == store.Live && p.reached:
		p.say("Connected again.")
	case s.Link.State == store.Lost:
		p.say("Connection lost: %s. Trying again; the last values are from %s.", s.Link.Message, s.Link.HeardAt.UTC().Format("15:04:05"))
	case s.Link.Message != "":
		p.say("Not connected: %s. %s", s.Link.Message, s.Link.Hint)
		p.say("Trying again until it answers. covetctl rollback works without covetd too.")
	}
	p.link = s.Link.State
}

// command does what a line asks for.
func (p *plain) command(line string) {
	if p.pending != nil {
		p.confirm(line)
		return
	}
	s := p.feed.Snapshot()
	words := strings.Fields(strings.TrimPrefix(line, "covetctl "))
	if len(words) == 0 {
		return
	}
	if words[0] == "help" {
		p.help(s)
		return
	}
	if s.Status == nil {
		p.say("Nothing is known of the service yet.")
		return
	}
	switch words[0] {
	case "status":
		p.status(s)
	case "instances":
		p.instances(s)
	case "audit":
		for _, e := range s.Audit[:min(len(s.Audit), 20)] {
			p.say("%s %s: %s (%s)", e.At.UTC().Format("Jan _2 15:04:05"), e.Subject, e.Text, e.By)
		}
	case "incidents":
		p.incidents(s)
	case "write":
		p.writeUntil = p.o.Now().Add(p.o.WriteFor)
		p.say("Write mode is on for %s in %s %s.", short(p.o.WriteFor), s.Status.Environment, s.Status.Service)
	default:
		p.act(s, words)
	}
}

func (p *plain) help(s *store.Snapshot) {
	p.say("status, instances, incidents, audit, write, help, quit. And these, in write mode:")
	for _, a := range action.All() {
		if a.Kind != action.Change || arguments(a.Op) == "" && a.Op != console.AbortRollout {
			continue
		}
		text := a.Command + " " + strings.TrimSpace(arguments(a.Op)) + ": " + a.Title
		if ok, why := a.Enabled(action.State{Snap: s, Write: p.o.Now().Before(p.writeUntil)}); !ok {
			text += ". Not now: " + why
		}
		p.say("%s", text)
	}
}

func (p *plain) status(s *store.Snapshot) {
	st := s.Status
	t := st.Traffic
	said := "Requests are not measured now"
	switch t.Measured {
	case console.MeasuredAll:
		said = fmt.Sprintf("%s requests per second, %s errors, p50 %s, p95 %s, p99 %s",
			widget.Short(t.RequestRate), widget.Percent(t.ErrorRate), widget.Millis(t.P50), widget.Millis(t.P95), widget.Millis(t.P99))
	case console.MeasuredRequests:
		said = fmt.Sprintf("%s requests per second, %s errors", widget.Short(t.RequestRate), widget.Percent(t.ErrorRate))
	case console.MeasuredNothing:
	}
	p.say("%s in %s. %s.", st.Service, strings.ToUpper(or(st.Environment, "no environment")), said)
	for _, r := range st.Releases {
		p.say("Release %s, %s: %d percent of the traffic, %d of %d instances ready.", r.Version, r.Role, r.Weight, r.Ready, r.Wanted)
	}
	if a := st.Rollout; a != nil {
		paused := ""
		if a.Paused {
			paused = ", paused by " + a.PausedBy
		}
		p.say("Rollout %s from %s to %s: step %d of %d, %s%s, %d percent.", a.ID, orNone(a.From), a.To, a.Step+1, len(a.Steps), a.Phase, paused, a.Weight)
	}
	p.incidents(s)
}

func (p *plain) incidents(s *store.Snapshot) {
	if len(s.Status.Incidents) == 0 {
		p.say("No incident is open.")
	}
	for _, i := range s.Status.Incidents {
		p.say("%s incident %s: %s. Do: %s. Who may: %s.", i.Severity, i.ID, i.Reason, i.Action, i.Approver)
	}
}

func (p *plain) instances(s *store.Snapshot) {
	for _, i := range s.Instances {
		p.say("%s of %s: %s, %d restarts, cpu %s, memory %s, %s requests per second. %s", i.ID, i.Release, i.State, i.Restarts,
			widget.Short(i.CPU), widget.Bytes(i.RSS), widget.Short(i.RequestRate), i.Reason)
	}
}

func or(s, other string) string {
	if s == "" {
		return other
	}
	return s
}
