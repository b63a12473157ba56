package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/covetpy/covet/internal/adminclient"
	"github.com/covetpy/covet/internal/backupcmd"
	"github.com/covetpy/covet/internal/render"
	"github.com/covetpy/covet/ops/console"
	"github.com/covetpy/covet/ops/health"
	"github.com/covetpy/covet/ops/rollout"
)

func (a *app) statusCommand() *cobra.Command {
	var watch bool
	c := &cobra.Command{
		Use: "status", Short: "Show the service at a glance", Args: none,
		Long:    "Show what serves, how well, the rollout under way, and open incidents. It works from covetd's journal when covetd is down.",
		Example: "covetctl status\ncovetctl status --watch\ncovetctl status -o json",
		RunE: func(c *cobra.Command, _ []string) error {
			if watch {
				return a.watchStatus(c.Context())
			}
			return a.status(c.Context())
		},
	}
	c.Flags().BoolVarP(&watch, "watch", "w", false, "show it again whenever it changes, until Ctrl-C")
	return c
}

func (a *app) status(ctx context.Context) error {
	st, err := a.askStatus(ctx)
	if err != nil {
		return errors.Join(err, a.noteRestores(a.backupHost().UnderWay(nil)))
	}
	st.Restores, st.Recovery = a.backupHost().UnderWay(st.Restores), a.glance(ctx, st)
	return a.show(answer{value: st, names: []string{st.Stable}, page: func(p *page) { p.status(st) }})
}

func (a *app) askStatus(ctx context.Context) (console.Status, error) {
	port, _, err := a.connectAnyhow(ctx)
	if err != nil {
		return console.Status{}, err
	}
	return ask[console.Status](ctx, a, port, console.GetStatus, console.Query{})
}

// open is covetctl without a command: the TUI for a person at a terminal, the status otherwise.
func (a *app) open(ctx context.Context) error {
	if a.parts.tui == nil || !a.human() || !a.terminal(a.out) {
		return a.status(ctx)
	}
	if t, ok, err := a.target(); ok || err != nil {
		return a.openOnCluster(ctx, t, err)
	}
	socket, _ := a.socket()
	port := adminclient.New(socket)
	a.adoptRepository() // before the console needs it: a covetd that dies meanwhile tells nothing any more
	return a.parts.tui(ctx, port, tuiOptions{
		Recovery: backupcmd.Desk{Host: a.backupHost(), Port: port, Seen: a.positions}, Socket: socket, NoColor: !a.style(a.out).Color, ASCII: a.flags.ascii, Accessible: a.flags.accessible, Theme: a.flags.theme,
	})
}

func (p *page) status(st console.Status) {
	p.line("%s", p.title(st))
	p.line("%s", p.verdict(st))
	for _, problem := range st.Problems {
		p.line("%s", p.Mark(render.Warn, render.Clean(problem)))
	}
	if st.Stopped != nil {
		p.line("%s", p.Mark(render.Bad, render.Clean(stoppedText(st.Stopped))))
	}
	for _, r := range st.Restores {
		p.restore(r)
	}
	if len(st.Releases) > 0 {
		p.line("")
		p.releases(st)
	}
	if st.Recovery != nil {
		p.line("")
		p.recovery(st.Recovery)
	}
	if r := st.Rollout; r != nil {
		p.line("")
		p.line("%s", p.progress(*r, st.At))
		if r.Message != "" {
			p.line("  %s", render.Clean(r.Message))
		}
	} else if r := st.Last; r != nil {
		p.line("")
		p.line("last rollout %s: %s %s %s %s, %s, %s", r.ID, r.Strategy, orNothing(r.From), p.Arrow(), r.To,
			p.phase(*r), p.age(r.EndedAt))
	}
	if len(st.Incidents) > 0 {
		p.line("")
		p.incidents(st.Incidents)
	}
}

func (p *page) title(st console.Status) string {
	parts := []string{p.Strong(st.Service)}
	if st.Environment != "" {
		parts = append(parts, st.Environment)
	}
	parts = append(parts, st.Platform)
	covetd := "covetd " + st.Version
	if st.Platform == "kubernetes" {
		covetd = "covetctl " + st.Version // there is no covetd to ask
	} else if st.Offline {
		covetd = "covetd is not running"
	} else if !st.StartedAt.IsZero() {
		covetd += ", up " + render.Span(p.now.Sub(st.StartedAt))
	}
	return strings.Join(append(parts, covetd), " · ")
}

// verdict is the service's health in one line.
func (p *page) verdict(st console.Status) string {
	switch {
	case st.Offline:
		return p.Mark(render.Idle, "nothing is known of the traffic: this is what its journal says")
	case st.Stable == "" && st.Rollout == nil:
		return p.Mark(render.Idle, "no release serves yet: covetctl release add, then covetctl rollout start")
	}
	line := p.judgement(st)
	switch t := st.Traffic; t.Measured {
	case console.MeasuredNothing:
		line += " · requests are not measured now"
	case console.MeasuredRequests:
		line += fmt.Sprintf(" · %s req/s · errors %s", render.Rate(t.RequestRate), render.Percent(t.ErrorRate))
	default:
		line += fmt.Sprintf(" · %s req/s · errors %s · p50 %s p95 %s p99 %s · %d in flight", render.Rate(t.RequestRate),
			render.Percent(t.ErrorRate), render.Millis(t.P50), render.Millis(t.P95), render.Millis(t.P99), t.Connections)
	}
	for _, b := range st.Burn {
		if b.Rate < 0.05 {
			continue // shows as nothing
		}
		line += fmt.Sprintf(" · burn %.1f (%s)", b.Rate, b.Window)
	}
	return line
}

// judgement is the worst that is known: what is wrong with the service now, else with the candidate, else what nobody has
// closed yet.
func (p *page) judgement(st console.Status) string {
	h := st.Health
	switch {
	case h.Service != health.None:
		return p.Mark(severityTone(h.Service), strings.TrimSpace(fmt.Sprintf("%s %s", h.Service, render.Clean(h.Decision.Service.Reason))))
	case h.Candidate != health.None:
		return p.Mark(severityTone(h.Candidate), strings.TrimSpace(fmt.Sprintf("candidate %s %s", h.Candidate, render.Clean(h.Decision.Candidate.Reason))))
	case len(st.Incidents) > 0:
		worst := st.Incidents[0]
		return p.Mark(severityTone(worst.Severity), fmt.Sprintf("incident %s open (%s)", worst.ID, worst.Severity))
	}
	if st.Stopped != nil {
		return p.Mark(render.Bad, "stopped")
	}
	switch ready, wanted := capacity(st); {
	case wanted > 0 && ready == 0:
		return p.Mark(render.Bad, "no instance is ready")
	case ready < wanted:
		return p.Mark(render.Warn, fmt.Sprintf("%d of %d instances ready", ready, wanted))
	}
	return p.Mark(render.Good, "healthy")
}

// capacity is how many of the instances are ready that have traffic. No severity is decided on in the first seconds of an
// outage, but nobody may be told meanwhile that all is well.
func capacity(st console.Status) (ready, wanted int) {
	for _, r := range st.Releases {
		if r.Weight > 0 {
			ready, wanted = ready+r.Ready, wanted+r.Wanted
		}
	}
	return ready, wanted
}

func (p *page) releases(st console.Status) {
	if st.Offline {
		t := p.newTable("RELEASE", "ROLE", ">WEIGHT", ">INSTANCES")
		for _, r := range st.Releases {
			t.Row(r.Version, p.Mark(roleTone(r.Role), string(r.Role)), fmt.Sprintf("%d%%", st.Weights[r.Version]), itoa(r.Wanted))
		}
		p.table(t)
		return
	}
	columns := []string{"RELEASE", "ROLE", ">WEIGHT", ">READY", ">RST", ">REQ/S", ">ERR", ">P95", ">CPU", ">MEMORY"}
	shown := measuredColumns(st)
	t := p.newTable(columns[:shown]...)
	for _, r := range st.Releases {
		tr := r.Traffic
		cells := []string{r.Version, p.Mark(roleTone(r.Role), string(r.Role)), fmt.Sprintf("%d%%", r.Weight), p.ready(r),
			itoa(r.Restarts), render.Rate(tr.RequestRate), render.Percent(tr.ErrorRate),
			render.Millis(tr.P95), fmt.Sprintf("%.2f", tr.CPU), render.Bytes(tr.RSS)}
		if tr.Measured == console.MeasuredNothing {
			cells[5], cells[6] = "-", "-"
		}
		t.Row(cells[:shown]...)
	}
	p.table(t)
}

// measuredColumns is how many columns of the releases tell something.
func measuredColumns(st console.Status) int {
	const nothing, requests, all = 5, 7, 10
	shown := nothing
	for _, r := range st.Releases {
		switch r.Traffic.Measured {
		case console.MeasuredAll:
			return all
		case console.MeasuredRequests:
			shown = requests
		case console.MeasuredNothing:
		}
	}
	return shown
}

func (p *page) ready(r console.ReleaseStatus) string {
	switch {
	case r.Wanted > 0 && r.Ready == 0:
		return p.Paint(render.Bad, r.Count())
	case r.Ready < r.Wanted:
		return p.Paint(render.Warn, r.Count())
	}
	return r.Count()
}

func roleTone(r console.Role) render.Tone {
	switch r {
	case console.RoleStable:
		return render.Good
	case console.RoleCandidate:
		return render.Busy
	}
	return render.Idle
}

func severityTone(s health.Severity) render.Tone {
	switch s {
	case health.P0, health.P1:
		return render.Bad
	case health.P2:
		return render.Warn
	}
	return render.Idle
}

// watchStatus shows the status again and again.
func (a *app) watchStatus(ctx context.Context) error {
	port, err := a.connect(ctx)
	if err != nil {
		return err
	}
	w := statusWatch{app: a}
	s := &stream{app: a, port: port, take: func(u console.Update) (bool, error) {
		if u.Status == nil {
			return false, nil
		}
		return false, w.show(*u.Status)
	}}
	if s.after, err = a.head(ctx, port); err != nil {
		return err
	}
	return s.run(ctx)
}

type statusWatch struct {
	app  *app
	last string
}

// show redraws the terminal, or, where there is none, adds a line when what matters has changed.
func (w *statusWatch) show(st console.Status) error {
	a := w.app
	if !a.human() {
		return a.emit(st)
	}
	p := a.page()
	if a.terminal(a.out) {
		p.b.WriteString("\x1b[H\x1b[J")
		p.status(st)
		return p.flush(a.out)
	}
	brief := briefly(st)
	if brief == w.last {
		return nil
	}
	w.last = brief
	p.line("%s  %s", st.At.Format("15:04:05"), brief)
	return p.flush(a.out)
}

// briefly is what matters of a status, without what changes all the time.
func briefly(st console.Status) string {
	var parts []string
	for _, v := range slices.Sorted(maps.Keys(st.Weights)) {
		parts = append(parts, fmt.Sprintf("%s %d%%", v, st.Weights[v]))
	}
	for _, r := range st.Releases {
		parts = append(parts, fmt.Sprintf("%s ready %s", r.Version, r.Count()))
	}
	if r := st.Rollout; r != nil {
		parts = append(parts, fmt.Sprintf("%s %s, step %d of %d", r.ID, state(*r), r.Step+1, len(r.Steps)))
	}
	if st.Health.Service != health.None {
		parts = append(parts, fmt.Sprintf("%s %s", st.Health.Service, render.Clean(st.Health.Decision.Service.Reason)))
	}
	if n := len(st.Incidents); n > 0 {
		parts = append(parts, fmt.Sprintf("incidents %d", n))
	}
	return strings.Join(parts, ", ")
}

// state is a rollout's phase, and that it is paused.
func state(r rollout.Rollout) string {
	words := strings.ReplaceAll(string(r.Phase), "_", " ")
	if r.Paused && !r.Phase.Ended() {
		words = "paused while " + words
	}
	if r.Contained && !r.Phase.Ended() {
		words += ", contained"
	}
	return words
}
