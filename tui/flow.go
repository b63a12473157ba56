package tui

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/covetpy/covet/ops/console"
	"github.com/covetpy/covet/ops/health"
	"github.com/covetpy/covet/ops/journal"
	"github.com/covetpy/covet/ops/rollout"
	"github.com/covetpy/covet/tui/action"
	"github.com/covetpy/covet/tui/dialog"
	"github.com/covetpy/covet/tui/theme"
)

// answerWithin is how long a command may take to be answered.
const answerWithin = 20 * time.Second

// flow is one command on its way from the key to the answer.
type flow struct {
	action action.Action
	build  func(console.Common) any // the request
	line   string                   // the command that equals it
	plan   *dialog.Plan

	// Of what is not asked of the service: instead of build.
	ask    func(ctx context.Context) (console.Plan, error)
	do     func(ctx context.Context, c console.Common) (message string, err error)
	within time.Duration // answerWithin if 0
}

func (f *flow) limit() time.Duration { return cmp.Or(f.within, answerWithin) }

type planMsg struct {
	flow   *flow
	plan   console.Plan
	notice string
	err    error
}

type doneMsg struct {
	flow    *flow
	message string
	err     error
}

// begin does an action, or the first step towards it; or says why it cannot be done.
func (m *model) begin(a action.Action) tea.Cmd {
	state := m.state()
	if ok, why := a.Enabled(state); !ok {
		m.say(theme.Warn, fmt.Sprintf("%s %s: %s", m.g.Bad, a.Title, why))
		return nil
	}
	switch {
	case a.ID == "logs":
		return m.logs()
	case a.ID == "logs.release":
		return m.releaseLogs()
	case a.ID == "logs.previous":
		return m.previousLogs()
	case a.ID == "target":
		return m.askTargets()
	case a.On != "":
		return m.recover(a)
	case a.Kind == action.Look:
		m.visit(a.Page())
		return nil
	}
	switch a.Op {
	case console.StartRollout:
		m.chooseRelease(a)
	case console.Rollback:
		return m.chooseTarget(a)
	case console.AbortRollout:
		return m.destroy(m.onRollout(a, m.snap.Active().ID))
	case console.RetryRollout:
		return m.destroy(m.onRollout(a, m.retried()))
	case console.PauseRollout, console.ResumeRollout:
		return m.send(m.onRollout(a, m.snap.Active().ID), console.Common{})
	case console.Promote:
		m.confirmPromote(a)
	case console.OpenIncident:
		m.chooseSeverity(a)
	case console.AckIncident, console.CloseIncident:
		m.noteIncident(a)
	}
	return nil
}

// retried is the rollout that a retry is about: the selected one, or the last that ended.
func (m *model) retried() string {
	if sel := m.selection().Rollout; sel != "" {
		return sel
	}
	return m.snap.Status.Last.ID
}

func (m *model) onRollout(a action.Action, id string) *flow {
	return &flow{
		action: a, line: a.Line(m.state()),
		build: func(c console.Common) any { return console.Target{ID: id, Common: c} },
	}
}

// chooseRelease asks what to roll out, and then how.
func (m *model) chooseRelease(a action.Action) {
	var versions []string
	var items []dialog.Item
	stable := m.snap.Status.Stable
	for _, r := range m.snap.Releases {
		if r.Version == stable {
			continue
		}
		versions = append(versions, r.Version)
		items = append(items, dialog.Item{Label: r.Version, Note: m.known(r)})
	}
	c := dialog.NewChoice("roll out which release?", fmt.Sprintf("%s serves now.", orNone(stable)), false, items)
	m.open(c, func() tea.Cmd {
		m.chooseStrategy(a, versions[c.Index()])
		return nil
	})
}

// known says what is known of a release: whether it ever ran, and when it was added.
func (m *model) known(r rollout.Release) string {
	note := "new"
	for _, old := range m.snap.Rollouts {
		if old.To == r.Version || old.From == r.Version {
			note = "ran before"
			if old.To == r.Version && old.Phase == rollout.RolledBack {
				note = "was rolled back"
			}
			break
		}
	}
	if r.Version == m.snap.Status.Previous {
		note = "the one before"
	}
	return fmt.Sprintf("%s, added %s ago by %s", note, short(m.o.Now().Sub(r.AddedAt)), r.AddedBy)
}

func (m *model) chooseStrategy(a action.Action, version string) {
	notes := map[rollout.Strategy]string{
		rollout.Canary:    "a growing share of the traffic, watched at each step",
		rollout.Rolling:   "one instance at a time",
		rollout.BlueGreen: "a full second set, checked, then one switch",
	}
	var items []dialog.Item
	for _, s := range rollout.Strategies() {
		items = append(items, dialog.Item{Label: string(s), Note: notes[s]})
	}
	c := dialog.NewChoice("how is "+version+" to be rolled out?", "", false, items)
	m.open(c, func() tea.Cmd {
		in := console.StartRequest{To: version, Tuning: rollout.Tuning{Strategy: rollout.Strategies()[c.Index()]}}
		f := &flow{
			action: a, line: a.Line(m.state(), version, "--strategy", string(in.Strategy)),
			build: func(c console.Common) any { in.Common = c; return in },
		}
		return m.destroy(f)
	})
}

// chooseTarget asks which release to go back to, unless there is only one.
func (m *model) chooseTarget(a action.Action) tea.Cmd {
	st := m.snap.Status
	var targets []string
	var items []dialog.Item
	def := st.Previous
	if r := st.Rollout; r != nil {
		def = r.From
		if r.Purpose == rollout.Rollback {
			def = "" // it leads back already: undoing it is a choice to be made by name
		}
	}
	if def != "" {
		to := def
		if st.Rollout != nil {
			to = "" // undoes it, whatever it came from
		}
		targets = append(targets, to)
		items = append(items, dialog.Item{Label: def, Note: "the one before"})
	}
	for _, r := range m.snap.Releases {
		active := st.Rollout != nil && st.Rollout.To == r.Version
		if r.Version == st.Stable && st.Rollout == nil || r.Version == def || active {
			continue
		}
		targets = append(targets, r.Version)
		items = append(items, dialog.Item{Label: r.Version, Note: m.known(r)})
	}
	build := func(to string) tea.Cmd {
		var more []string
		if to != "" {
			more = []string{"--to", to}
		}
		return m.destroy(&flow{
			action: a, line: a.Line(m.state(), more...),
			build: func(c console.Common) any { return console.RollbackRequest{To: to, Common: c} },
		})
	}
	switch len(targets) {
	case 0:
		m.say(theme.Warn, "there is no other release to go back to")
		return nil
	case 1:
		return build(targets[0])
	}
	c := dialog.NewChoice("roll back to which release?", "", false, items)
	m.open(c, func() tea.Cmd { return build(targets[c.Index()]) })
	return nil
}

// destroy shows the plan of a command and lets it be run.
func (m *model) destroy(f *flow) tea.Cmd {
	f.plan = dialog.NewPlan("plan: "+f.action.Title, f.line, f.action.Kind == action.Plan)
	m.open(f.plan, func() tea.Cmd {
		if !m.write() {
			m.shut()
			m.say(theme.Bad, "write mode is over: nothing was done")
			return nil
		}
		f.plan.Running()
		return m.send(f, console.Common{PlanHash: f.plan.Current().Hash, Reason: f.plan.Reason()})
	})
	m.flow = f
	return m.ask(f, "")
}

// ask has the service work out the plan.
func (m *model) ask(f *flow, notice string) tea.Cmd {
	port, parent := m.o.Port, m.ctx
	return func() tea.Msg {
		ctx, cancel := context.WithTimeout(parent, f.limit())
		defer cancel()
		out := planMsg{flow: f, notice: notice}
		if f.ask != nil {
			out.plan, out.err = f.ask(ctx)
			return out
		}
		out.err = port.Do(ctx, f.action.Op, f.build(console.Common{Plan: true}), &out.plan)
		return out
	}
}

// planned shows a plan that has come, if it is still wanted.
func (m *model) planned(msg planMsg) {
	if m.flow != msg.flow {
		return
	}
	if msg.err != nil {
		m.failed(msg.flow, msg.err)
		return
	}
	msg.flow.plan.Show(msg.plan, msg.notice)
	m.openedAt = m.o.Now()
}

// send gives the command to the service.
func (m *model) send(f *flow, c console.Common) tea.Cmd {
	port, parent := m.o.Port, m.ctx
	return func() tea.Msg {
		ctx, cancel := context.WithTimeout(parent, f.limit())
		defer cancel()
		out := doneMsg{flow: f}
		if f.do != nil {
			out.message, out.err = f.do(ctx, c)
			return out
		}
		switch f.action.Op {
		case console.OpenIncident, console.AckIncident, console.CloseIncident:
			var i health.Incident
			out.err = port.Do(ctx, f.action.Op, f.build(c), &i)
			out.message = fmt.Sprintf("incident %s: %s", i.ID, i.Reason)
		default:
			var ack console.Ack
			out.err = port.Do(ctx, f.action.Op, f.build(c), &ack)
			out.message = ack.Message
		}
		return out
	}
}

// done tells what became of a command; a plan that was out of date is made again.
func (m *model) done(msg doneMsg) tea.Cmd {
	mine := m.flow == msg.flow
	var e *console.Error
	switch {
	case msg.err == nil:
		if mine {
			m.shut()
		}
		m.say(theme.OK, m.g.OK+" "+msg.message)
		if msg.flow.action.Op == console.StartRollout || msg.flow.action.Op == console.Rollback {
			m.visit("rollouts")
		}
	case errors.As(msg.err, &e) && e.Code == console.CodeStalePlan && mine && msg.flow.plan != nil:
		msg.flow.plan.Replan()
		return m.ask(msg.flow, "Things changed since the plan was made, so nothing was done. This is the plan as it is now: read it again.")
	default:
		m.failed(msg.flow, msg.err)
	}
	return nil
}

// failed shows why a command was not done, and the way out.
func (m *model) failed(f *flow, err error) {
	rows := []string{err.Error()}
	var e *console.Error
	if errors.As(err, &e) {
		rows = []string{e.Message}
		if e.Hint != "" {
			rows = append(rows, "", m.g.Arrow+" "+e.Hint)
		}
		if e.Code == console.CodeUnreachable {
			rows = append(rows, "", "It may or may not have been accepted: look at the audit log (8) before trying again.")
		}
	}
	rows = append(rows, "", "same as: "+f.line)
	m.shut()
	m.open(dialog.NewNotice(f.action.Title, m.g.Bad+" not done", theme.Bad, rows...), nil)
}

func (m *model) confirmPromote(a action.Action) {
	r := m.snap.Active()
	next := "It is the last step: " + r.To + " becomes the stable release."
	if r.Step+1 < len(r.Steps) {
		next = "The next step: " + r.Steps[r.Step+1].Describe() + "."
	}
	lines := []string{
		fmt.Sprintf("%s to %s is at %d%% and %s. Promoting it goes on without waiting any longer.", r.ID, r.To, r.Weight, r.Phase), next,
	}
	if v := m.snap.Status.Health.Candidate; v != health.None {
		lines = append(lines, fmt.Sprintf("%s The candidate is judged %s.", m.g.Warn, v))
	}
	m.prompt(m.onRollout(a, r.ID), dialog.Prompt{Title: "promote " + r.ID + " in " + m.service(), Lines: lines, Label: "reason (optional)", Do: "promotes it"})
}

// prompt asks, and sends what was typed as the command's reason.
func (m *model) prompt(f *flow, p dialog.Prompt) {
	d := dialog.NewPrompt(p)
	m.open(d, func() tea.Cmd {
		reason := d.Value()
		m.shut()
		if !m.write() {
			m.say(theme.Bad, "write mode is over: nothing was done")
			return nil
		}
		m.say(theme.Info, f.action.Title+m.g.Ellipsis)
		return m.send(f, console.Common{Reason: reason})
	})
}

func (m *model) noteIncident(a action.Action) {
	id := m.selection().Incident
	if id == "" {
		id = m.snap.Status.Incidents[0].ID
	}
	do := map[console.Op]string{console.AckIncident: "acknowledges it", console.CloseIncident: "closes it"}[a.Op]
	f := &flow{
		action: a, line: a.Line(m.state()),
		build: func(c console.Common) any { return console.Target{ID: id, Common: c} },
	}
	m.prompt(f, dialog.Prompt{Title: a.Title + " " + id, Lines: []string{m.reasonOf(id)}, Label: "note (optional)", Do: do})
}

func (m *model) reasonOf(id string) string {
	for _, i := range m.snap.Status.Incidents {
		if i.ID == id {
			return string(i.Severity) + ": " + i.Reason
		}
	}
	return ""
}

func (m *model) chooseSeverity(a action.Action) {
	severities := []health.Severity{health.P0, health.P1, health.P2, health.P3}
	meanings := []string{"the service is down", "major functionality is broken", "minor, and there is a workaround", "cosmetic"}
	var items []dialog.Item
	for i, s := range severities {
		items = append(items, dialog.Item{Label: string(s), Note: meanings[i]})
	}
	c := dialog.NewChoice("how bad is it?", "", false, items)
	m.open(c, func() tea.Cmd {
		i := c.Index()
		f := &flow{
			action: a, line: a.Line(m.state(), "--severity", string(severities[i]), "--reason", "..."),
			build: func(c console.Common) any {
				return console.IncidentRequest{Severity: severities[i], Reason: c.Reason}
			},
		}
		lines := []string{fmt.Sprintf("%s in %s: %s.", severities[i], m.service(), meanings[i])}
		m.prompt(f, dialog.Prompt{Title: "declare an incident", Lines: lines, Label: "what is wrong, for example: checkout answers 500", Need: true, Do: "declares it"})
		return nil
	})
}

func orNone(version string) string {
	if version == "" {
		return "nothing"
	}
	return version
}

// short writes a length of time without its small units.
func short(d time.Duration) string {
	if d > time.Minute {
		d = d.Round(time.Minute)
	}
	return journal.Duration(d.Round(time.Second)).String()
}
